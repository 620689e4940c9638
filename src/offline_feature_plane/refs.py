"""Refs: file paths in intents, which must lead to files beneath one of the plane's roots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from offline_feature_plane.errors import RefInvalid, RefScopeInvalid


def resolve_ref(ref: str, folder: Path, roots: Sequence[str], place: str) -> Path:
    """The file behind a ref, links followed.

    Args:
        ref: as it was written.
        folder: what it is relative to.
        roots: the folders that it may lead into.
        place: where it was written, for the error.

    Raises:
        RefInvalid: it is not a path. RefScopeInvalid: it points outside the roots.
    """
    if "://" in ref or "\0" in ref or not ref.strip():
        raise RefInvalid(f"{ref!r} is not a path.", path=place, fix="Refs are file paths, relative to the intent.")
    path = (folder / ref).resolve()
    if not any(path.is_relative_to(Path(root).resolve()) for root in roots):
        raise RefScopeInvalid(f"{ref} resolves to {path}, outside of the plane's roots.", path=place,
                              fix=f"Move it below {' or '.join(roots)}, or add its folder to `roots:` in plane.yaml.")
    return path
