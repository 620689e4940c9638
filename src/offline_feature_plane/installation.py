"""What is installed and who uses it: the code release, the zone rules, the user."""

from __future__ import annotations

import getpass
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path

from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.identity import code_release_id

PACKAGE = Path(__file__).parent


@cache
def installed_release() -> str:
    """Version and digest of the installed package's files, taken once per process (`decisions.md` D11)."""
    files = sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".sql", ".json"})
    return code_release_id(version("offline-feature-plane"),
                           [(path.relative_to(PACKAGE).as_posix(), sha256_of(path.read_bytes())) for path in files])


@cache
def installed_version(name: str) -> str:
    """The version of an installed package; none changes under a process."""
    return version(name)


def zone_rules() -> str:
    """The version of the zone rules."""
    return installed_version("tzdata")


def current_user() -> str:
    """The user of this process, by name if there is one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name
        return f"uid {os.getuid()}"
