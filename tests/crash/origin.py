"""A plane that was never built, to be copied for each case, and what becomes of it undisturbed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import Processes
from small_plane import make_plane

import offline_feature_plane as ofs
from offline_feature_plane.corridor.publish import read_manifest

BUILD = ("build", "intent.yaml", "--json")


@dataclass(frozen=True)
class Origin:
    """The plane's folder, all of whose writing goes below `disk`; the core of its dataset; the calls of a build that change the disk."""

    folder: Path
    core: Mapping[str, Any]
    calls: Sequence[str]

    def copy(self, folder: Path) -> Path:
        """A plane to build, in a new folder."""
        return Path(shutil.copytree(self.folder, folder))


def make_origin(folder: Path, processes: Processes) -> Origin:
    """Make one below a folder, and build it once."""
    made = make_plane(folder / "origin")
    made.plane |= {"store": "disk/store", "ledger": "disk/ledger.sqlite", "work": "disk/work"}
    made.documents()
    undisturbed = Path(shutil.copytree(made.folder, folder / "origin-undisturbed"))
    calls = processes.stopped(undisturbed, *BUILD, under="disk").calls
    return Origin(made.folder, core_of(undisturbed), calls)


def core_of(folder: Path) -> dict[str, Any]:
    """The core of the one dataset of a plane."""
    plane = ofs.open(folder / "plane.yaml")
    (key,) = plane.store.list(f"{plane.settings.run_scope}/ofs/manifests")
    core: dict[str, Any] = read_manifest(plane.store.get(key)).document["core"]
    return core
