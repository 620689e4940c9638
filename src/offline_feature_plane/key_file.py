"""The token key file: the secret behind identifier tokens (`decisions.md` D12)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from offline_feature_plane.domain.rows import TokenKey
from offline_feature_plane.domain.tokens import key_id
from offline_feature_plane.errors import SettingsInvalid, StorageIoFailure
from offline_feature_plane.plain_files import read_small

KEY_BYTES = 32
MAX_BYTES = 4_096  # no key is longer


def read_key(path: Path, store: str) -> TokenKey | None:
    """The key in a file; None if there is no file.

    Args:
        path: the file.
        store: where datasets are kept; the key may not lie there.

    Raises:
        SettingsInvalid: the file is unreadable, of an invalid length, inside of the store, or everybody may write it.
    """
    if path.is_relative_to(store):
        raise SettingsInvalid(f"the token key {path} is inside the store.", path="tokens.key_file",
                              fix="Keep it elsewhere: otherwise whoever reads datasets could reverse their tokens.")
    try:
        if path.stat().st_mode & stat.S_IWOTH:
            raise SettingsInvalid(f"the token key {path} can be written by every user of this machine.", path="tokens.key_file",
                                  fix="Whoever chooses the key can reverse the tokens: make a new one with `ofs key`.")
        secret = read_small(path, MAX_BYTES).strip()
    except FileNotFoundError:
        return None
    except OSError as wrong:
        raise SettingsInvalid(f"the token key {path} cannot be read: {wrong.strerror}.", path="tokens.key_file",
                              fix="Point `tokens.key_file` at a file that this user may read.") from wrong
    if not 1 <= len(secret) <= KEY_BYTES:
        raise SettingsInvalid(f"the token key {path} has {len(secret)} bytes; 1 to {KEY_BYTES} are allowed.", path="tokens.key_file",
                              fix="Make a new one with `ofs key`.")
    return TokenKey(key_id(secret), secret)


def is_exposed(path: Path) -> bool:
    """Can every user of this machine read the key?"""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def make_key(path: Path) -> str:
    """Write a new token key, readable by its owner only, and return its id.

    Raises:
        SettingsInvalid: there is a file already. StorageIoFailure: it cannot be written.
    """
    secret = os.urandom(KEY_BYTES // 2).hex().encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsInvalid(f"the token key {path} already exists.", fix="Keep it: another key gives other tokens.") from None
    except OSError as wrong:
        raise StorageIoFailure(f"the token key {path} cannot be written: {wrong.strerror}.", path=str(path)) from wrong
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret + b"\n")
    return key_id(secret)
