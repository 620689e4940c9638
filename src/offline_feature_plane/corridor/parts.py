"""The data files of a dataset: Parquet parts under pinned writer settings, hashed as they are written, and read back as declared.

The settings are part of the release: one release writes equal bytes for equal rows (`decisions.md` A3). Numbers are split by byte, instants
and ids are stored as differences, other texts by dictionary; decimals are stored as integers; every page has a checksum. The file
carries our own Arrow types and no metadata of the writer's besides its name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.arrow_types import arrow_schema, settled_schema
from offline_feature_plane.domain.columns import Column
from offline_feature_plane.errors import DigestMismatch, OfsError, RefNotFound, StorageIoFailure
from offline_feature_plane.leaves import CHUNK_ROWS
from offline_feature_plane.plain_files import sync_folder

# Rows of one part at most: 64 leaves.
PART_ROWS = 32 * CHUNK_ROWS
_BUFFER = 1 << 20


@dataclass(frozen=True)
class StagedPart:
    """One finished data file: its path, SHA-256, size in bytes, and rows `[first_row, first_row + rows)` of the dataset."""

    path: Path
    sha256: str
    size_bytes: int
    rows: int
    first_row: int


class PartWriter:
    """Writes settled chunks as parts `part-00000.parquet`, … into a folder; one ends with the chunk that reaches `part_rows` rows.

    A dataset without rows gets one part without rows, so that its schema is there to read. Not for several threads at once.
    """

    def __init__(self, columns: Sequence[Column], folder: Path, *, part_rows: int = PART_ROWS) -> None:
        self._columns = columns
        self._folder = folder
        self._part_rows = part_rows
        self._open: _OpenPart | None = None
        self._parts: list[StagedPart] = []
        self._rows = 0

    def write(self, chunk: pa.RecordBatch) -> None:
        """Append a settled chunk as one row group; a part ends when it is full.

        Raises:
            StorageIoFailure: the folder cannot be written.
        """
        self._guard(lambda: self._append(chunk))

    def finish(self) -> tuple[StagedPart, ...]:
        """Close the last part durably and return all of them in row order. Raises StorageIoFailure."""
        self._guard(self._finish)
        return tuple(self._parts)

    def discard(self) -> None:
        """Give up: remove every part written so far, best effort, for an error is already on its way."""
        paths = [part.path for part in self._parts]
        if self._open is not None:
            paths.append(self._open.path)
            self._open.abandon()
            self._open = None
        for path in paths:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _append(self, chunk: pa.RecordBatch) -> None:
        if self._open is None:
            self._open = _OpenPart(self._columns, self._folder / f"part-{len(self._parts):05}.parquet")
        self._open.append(chunk)
        if self._open.rows >= self._part_rows:
            self._close()

    def _finish(self) -> None:
        if self._open is None and not self._parts:
            self._open = _OpenPart(self._columns, self._folder / "part-00000.parquet")
        if self._open is not None:
            self._close()
        sync_folder(self._folder)

    def _close(self) -> None:
        part = self._open
        if part is not None:
            sha256, size = part.close()
            self._parts.append(StagedPart(part.path, sha256, size, part.rows, self._rows))
            self._rows += part.rows
            self._open = None

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as wrong:
            raise StorageIoFailure(f"cannot write to {self._folder}: {wrong.strerror or wrong}.", path=str(self._folder),
                                   fix="Free space there or choose another work folder, then run again.") from wrong


class _OpenPart:
    """A part being written: the file hashes what passes through it."""

    def __init__(self, columns: Sequence[Column], path: Path) -> None:
        self.path = path
        self.rows = 0
        self._tee = _Tee(path)
        try:
            self._stream = pa.BufferedOutputStream(pa.PythonFile(self._tee, mode="w"), _BUFFER)
            self._writer = pq.ParquetWriter(self._stream, settled_schema(columns), **_writer_settings(columns))
        except BaseException:
            self._tee.abandon()
            with suppress(OSError):
                path.unlink()
            raise

    def append(self, chunk: pa.RecordBatch) -> None:
        self._writer.write_table(pa.Table.from_batches([chunk]), row_group_size=max(chunk.num_rows, 1))
        self.rows += chunk.num_rows

    def close(self) -> tuple[str, int]:
        self._writer.close()
        self._stream.close()
        return self._tee.settle()

    def abandon(self) -> None:
        self._tee.abandon()
        with suppress(OSError, pa.ArrowException):  # it still wants to write a footer, and cannot if a row group was cut
            self._writer.close()


class _Tee:
    """A new file that feeds a hash with every byte it takes, as Arrow wants files to be."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._abandoned = False
        self.closed = False

    def write(self, data: Any) -> int:
        if self._abandoned:
            return len(data)
        self._sha256.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest):]
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True  # the writer is done; the file is closed when it is settled

    def settle(self) -> tuple[str, int]:
        """Sync and close; the digest and the size of what was written."""
        os.fsync(self._file.fileno())
        self._file.close()
        return f"sha256:{self._sha256.hexdigest()}", self._size

    def abandon(self) -> None:
        self._abandoned = True
        self._file.close()


def read_parts(columns: Sequence[Column], paths: Sequence[Path], *, only: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of data files, in order, as settled Arrow batches of at most two leaves. Hash the files first; pages are checked again.

    With `only`, some of their columns.

    Raises:
        DigestMismatch: a file is damaged or does not have exactly these columns.
        RefNotFound: a file is gone. StorageIoFailure: the disk failed.
    """
    schema = arrow_schema(columns)
    for path in paths:
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                if not file.schema_arrow.equals(schema):
                    raise _damaged(path, f"it has the columns {file.schema_arrow.to_string()}; declared are {schema.to_string()}")
                yield from file.iter_batches(batch_size=CHUNK_ROWS, columns=None if only is None else list(only))
        except FileNotFoundError as gone:
            raise RefNotFound(f"the data file {path} is missing.", path=str(path), fix="Restore it from a copy of the store.") from gone
        except (OSError, pa.ArrowException) as wrong:
            if isinstance(wrong, OSError) and wrong.errno:  # the disk's error, not Arrow's: nothing was seen, so nothing can be said
                raise StorageIoFailure(f"cannot read {path}: {wrong}.", path=str(path),
                                       fix="Check the disk, then run again.") from wrong
            raise _damaged(path, f"it cannot be decoded: {wrong}") from wrong


def _damaged(path: Path, what: str) -> OfsError:
    return DigestMismatch(f"the data file {path} is not as published: {what}.", path=str(path), fix="Restore it from a copy of the store.")


def _writer_settings(columns: Sequence[Column]) -> dict[str, Any]:
    texts = [column.name for column in columns if column.type.kind == "string" and column.role != "id"]
    encodings = {column.name: encoding for column in columns if (encoding := _encoding(column)) is not None}
    return {"version": "2.6", "data_page_version": "1.0", "compression": "zstd", "compression_level": 1, "use_dictionary": texts,
            "column_encoding": encodings or None, "write_statistics": True, "write_page_checksum": True, "store_schema": False,
            "store_decimal_as_integer": True}


def _encoding(column: Column) -> str | None:
    kind = column.type.kind
    if kind == "timestamp" or (column.type.is_integer and column.role == "id"):
        return "DELTA_BINARY_PACKED"
    if kind == "string":
        return "DELTA_BYTE_ARRAY" if column.role == "id" else None
    return None if kind == "bool" else "BYTE_STREAM_SPLIT"
