"""Segment files as they are written: JSON Lines packed by zstd, or Parquet; one at a time, and no more in memory than a batch."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.errors import StorageIoFailure
from offline_feature_plane.sources.decoding.stored import Rows, SegmentForm
from offline_feature_plane.sources.decoding.stored_rows import STORED_SCHEMA

__all__ = ["SegmentFile"]

ROWS: Final = 16_384  # in a row group
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _Sink(io.RawIOBase):
    """Takes what Arrow writes to a file, as long as anybody wants it: a stream of Arrow's that is given up writes its rest all the same."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.is_wanted = True

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """The next bytes. Raises OSError."""
        return self._file.write(data) if self.is_wanted else len(data)

    def tell(self) -> int:
        """How far the file is."""
        return self._file.tell() if self.is_wanted else 0


class SegmentFile:
    """One segment on its way, as a context: a new file at a path.

    Args:
        path: where.
        form: what it is written as.
    """

    def __init__(self, path: Path, form: SegmentForm) -> None:
        self.path, self.form = path, form
        self.size, self.sha256 = 0, ""
        self.text_bytes = 0
        self._held: list[pa.Table] = []
        self._rows = 0

    def __enter__(self) -> Self:
        """Open it. Raises StorageIoFailure."""
        try:
            self._file = os.fdopen(os.open(self.path, _NEW, 0o644), "wb")
            self._sink = _Sink(self._file)
            if self.form == "parquet":
                self._parquet = pq.ParquetWriter(pa.PythonFile(self._sink, "w"), STORED_SCHEMA, compression="zstd")
            else:
                self._text = self._file if self.form == "jsonl" else pa.CompressedOutputStream(pa.PythonFile(self._sink, "w"), "zstd")
        except OSError as wrong:
            raise self._no_room(wrong) from wrong
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file; what is not finished is nothing, so nobody need find room for the rest of it."""
        self._sink.is_wanted = False
        with suppress(OSError):
            self._file.close()

    def add(self, rows: Rows) -> None:
        """Some more. Raises StorageIoFailure."""
        self.text_bytes += rows.text_bytes
        try:
            if rows.table is None:
                self._text.write(rows.lines)
                return
            self._held.append(rows.table)
            self._rows += rows.n
            if self._rows >= ROWS:
                self._flush(self._rows - self._rows % ROWS)
        except OSError as wrong:
            raise self._no_room(wrong) from wrong

    def finish(self) -> None:
        """Write the rest, sync it, and know its size and digest. Raises StorageIoFailure."""
        try:
            if self.form == "parquet":
                self._flush(self._rows)
                self._parquet.close()
            elif self.form == "jsonl.zst":
                self._text.close()
            if not self._file.closed:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
            with self.path.open("rb") as file:
                self.sha256 = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
                self.size = os.fstat(file.fileno()).st_size
                os.fsync(file.fileno())
        except OSError as wrong:
            raise self._no_room(wrong) from wrong

    def _flush(self, count: int) -> None:
        """Write so many of the rows that are held, in row groups."""
        if count:
            held = pa.concat_tables(self._held)
            for start in range(0, count, ROWS):
                self._parquet.write_table(held.slice(start, min(ROWS, count - start)).combine_chunks(), row_group_size=ROWS)
            self._held = [held.slice(count)] if self._rows > count else []
            self._rows -= count

    def _no_room(self, wrong: OSError) -> StorageIoFailure:
        return StorageIoFailure(f"{self.path} cannot be written: {wrong.strerror or wrong}.", path=str(self.path),
                                fix="Free space there, and give this user the right to write.")
