"""Files that are written and read again by one build: how rows are packed in them, and what is said when one fails."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa

from offline_feature_plane.errors import StorageIoFailure

__all__ = ["PACKED", "scratch_failed"]

PACKED: Final = pa.ipc.IpcWriteOptions(compression="lz4" if pa.Codec.is_available("lz4") else None, use_threads=False)
"""By what takes least time: instants, offsets and numbers are mostly zeros."""


def scratch_failed(path: Path, wrong: Exception) -> StorageIoFailure:
    """The error about a scratch file, or the folder that it is in."""
    return StorageIoFailure(f"a scratch file of the build failed: {path}: {getattr(wrong, 'strerror', None) or wrong}.", path=str(path),
                            fix="Free space there, or set `work` in plane.yaml to a larger disk, then run again.")
