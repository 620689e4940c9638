"""Record batches that are kept in the order in which they come, in memory or in a file of the work folder, and read again once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from offline_feature_plane.errors import StorageIoFailure
from offline_feature_plane.scratch_files import PACKED, scratch_failed

__all__ = ["Batches", "FileBatches", "HeldBatches", "read_file"]



class Batches(Protocol):
    """Record batches of one schema."""

    def append(self, batch: pa.RecordBatch) -> None:
        """Add one. Raises StorageIoFailure."""

    def read(self) -> Iterator[pa.RecordBatch]:
        """All of them, in order; nothing is added any more. Raises StorageIoFailure."""

    def remove(self) -> None:
        """Give their space back."""


class HeldBatches:
    """In memory."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []

    def append(self, batch: pa.RecordBatch) -> None:
        """As `Batches.append`."""
        self._batches.append(batch)

    def read(self) -> Iterator[pa.RecordBatch]:
        """As `Batches.read`."""
        yield from self._batches

    def remove(self) -> None:
        """As `Batches.remove`."""
        self._batches = []


class FileBatches:
    """In one file, an Arrow stream, packed by what takes least time: instants, offsets and numbers are mostly zeros."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: pa.OSFile | None = None
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._is_empty = True

    def append(self, batch: pa.RecordBatch) -> None:
        """As `Batches.append`."""
        try:
            if self._writer is None:
                self._file = pa.OSFile(str(self._path), "wb")
                self._writer = pa.ipc.new_stream(self._file, batch.schema, options=PACKED)
                self._is_empty = False
            self._writer.write_batch(batch)
        except OSError as wrong:
            raise scratch_failed(self._path, wrong) from wrong

    def read(self) -> Iterator[pa.RecordBatch]:
        """As `Batches.read`."""
        self.close()
        if not self._is_empty:
            yield from read_file(self._path)

    def remove(self) -> None:
        """As `Batches.remove`."""
        with suppress(StorageIoFailure):
            self.close()
        with suppress(OSError):  # or its space comes back with the work folder
            self._path.unlink()

    def close(self) -> None:
        """Nothing is added any more. Raises StorageIoFailure."""
        try:
            if self._writer is not None and self._file is not None:
                self._writer.close()
                self._file.close()
        except OSError as wrong:
            raise scratch_failed(self._path, wrong) from wrong
        finally:
            self._writer = self._file = None


def read_file(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of a file that is complete, in order. Raises StorageIoFailure."""
    try:
        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as reader:
            yield from reader
    except (OSError, pa.ArrowInvalid) as wrong:
        raise scratch_failed(path, wrong) from wrong
