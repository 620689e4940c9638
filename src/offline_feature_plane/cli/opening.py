"""Which plane a command uses: the one that is named, the one beside the intent, or the one in the current folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from offline_feature_plane.cli.output import complain
from offline_feature_plane.errors import RefNotFound

if TYPE_CHECKING:
    from offline_feature_plane.plane import Plane

PLANE_FILE = "plane.yaml"


def open_plane(plane_path: Path | None, intent: Path | None = None) -> Plane:
    """The plane that a command uses. Raises RefNotFound, with what can be done, where there is none."""
    look_past_pandas()
    from offline_feature_plane.key_file import is_exposed
    from offline_feature_plane.plane import open_plane as opened

    if plane_path is None:
        beside = intent.parent / PLANE_FILE if intent is not None else Path(PLANE_FILE)
        plane_path = beside if beside.exists() else Path(PLANE_FILE)
    try:
        plane = opened(plane_path)
    except RefNotFound as wrong:
        wrong.what = f"there is no {PLANE_FILE} here." if plane_path == Path(PLANE_FILE) else wrong.what
        wrong.fix = "Go to the folder of your plane.yaml, name it with --plane, or start a plane with `ofs init`."
        raise
    key = Path(plane.settings.tokens.key_file)
    if is_exposed(key):
        complain(f"warning: every user of this machine can read the token key {key}, and reverse tokens with it: chmod 600 it")
    return plane


class _WithoutPandas:
    """An import system in which there is no pandas."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def look_past_pandas() -> None:
    """Let pyarrow find no pandas when it first looks for it, at the first list that becomes an array: 0.2 s that no command needs.

    It looks again where a frame is asked for.
    """
    import pyarrow as pa

    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _WithoutPandas)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(_WithoutPandas)
