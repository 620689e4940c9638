"""Refs: file paths in intents, which must lead to files beneath one of the plane's roots (R15)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from offline_feature_plane.contracts.model import shown
from offline_feature_plane.documents import MAX_BYTES
from offline_feature_plane.domain.path_texts import path_fault
from offline_feature_plane.errors import OfsError, RefInvalid, RefScopeInvalid
from offline_feature_plane.plain_files import open_in_place, read_small, resolved


def read_ref(ref: str, folder: Path, roots: Sequence[str], place: str, absent: type[OfsError]) -> tuple[Path, bytes]:
    """The document behind a ref: its path, links followed as long as they stay in the roots, and its bytes.

    Args:
        ref: as it was written.
        folder: what it is relative to.
        roots: the folders that it may lead into.
        place: where it was written, for the error.
        absent: the error if no file can be read there.

    Raises:
        RefInvalid: it is not a path. RefScopeInvalid: it points outside the roots. ResourceExceeded: the file is too long.
        OfsError: `absent`.
    """
    if (fault := path_fault(ref)) is not None:
        raise RefInvalid(f"{shown(ref)} is not a valid ref: {fault}.", path=place,
                         fix="Write a file path with `/` between its folders, relative to the intent.")
    try:
        path = resolved(folder / ref)
        if any(path.is_relative_to(resolved(Path(root))) for root in roots):
            return path, read_small(path, MAX_BYTES, open_in_place)
    except OSError as wrong:
        raise absent(f"{ref} cannot be read: {wrong.strerror}.", path=place, fix="Write the path relative to the intent.") from wrong
    raise RefScopeInvalid(f"{ref} resolves to {path}, outside of the plane's roots.", path=place,
                          fix=f"Move it below {' or '.join(roots)}, or add its folder to `roots:` in plane.yaml.")
