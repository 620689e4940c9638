"""Files of archives while they are read: what was hashed, and nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from offline_feature_plane.errors import ReplayBasisMismatch, SourceUnreadable
from offline_feature_plane.filesets import stamp_as_hashed
from offline_feature_plane.ports.inputs import PinnedFile

__all__ = ["unchanged"]


@contextmanager
def unchanged(file: PinnedFile) -> Iterator[None]:
    """The file that was hashed is read during the block. Raises SourceUnreadable, ReplayBasisMismatch."""
    before = stamp_as_hashed(file)
    try:
        yield
    except (OSError, EOFError, zlib.error) as wrong:
        said = getattr(wrong, "strerror", None) or wrong
        raise SourceUnreadable(f"{file.path} cannot be read: {said}.", path=file.relative, fix="Restore the segment.") from wrong
    if stamp_as_hashed(file) != before:
        raise ReplayBasisMismatch(f"{file.relative} changed while it was read.", path=file.relative)
