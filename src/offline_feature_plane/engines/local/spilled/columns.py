"""Columns as flat files in the work folder: appended to, and read by range with plain reads.

No file stays open and none is mapped: what is read is memory of ours, and pages of a map would count as ours too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.errors import StorageIoFailure

_TEXTS = 1 << 16  # texts of one Arrow array, whose offsets have 32 bits
_CALL = 1 << 30   # bytes that one call of the system is asked for


class NumberColumn:
    """`n` values of one fixed width."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self.path, self.dtype, self.n = path, np.dtype(dtype), 0

    @property
    def size_bytes(self) -> int:
        """What it takes on disk."""
        return self.n * self.dtype.itemsize

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add values of the column's type. Raises StorageIoFailure."""
        rest = _bytes_of(np.ascontiguousarray(values, self.dtype))
        with _scratch(self.path), self.path.open("ab", buffering=0) as file:
            while rest:
                rest = rest[file.write(rest[:_CALL]):]
        self.n += len(values)

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """The values of a range. Raises StorageIoFailure."""
        found = np.empty(stop - start, self.dtype)
        rest = _bytes_of(found)
        if rest:
            with _scratch(self.path), self.path.open("rb", buffering=0) as file:
                file.seek(start * self.dtype.itemsize)
                while rest:
                    count = file.readinto(rest[:_CALL])
                    if not count:
                        raise OSError(0, "it is shorter than it was written")
                    rest = rest[count:]
        return found

    def remove(self) -> None:
        """Give its space back."""
        self.path.unlink(missing_ok=True)
        self.n = 0


class ValueColumn:
    """Values that may be null; which are there is written from the first null on."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self._data, self._valid = NumberColumn(path, dtype), NumberColumn(path.with_name(f"{path.name}.valid"), np.bool_)

    @property
    def size_bytes(self) -> int:
        """What it takes on disk."""
        return self._data.size_bytes + self._valid.size_bytes

    def append(self, data: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None) -> None:
        """Add values; `valid` None: none is null. Raises StorageIoFailure."""
        if valid is not None and not self._valid.n:
            for start in range(0, self._data.n, _TEXTS):
                self._valid.append(np.ones(min(_TEXTS, self._data.n - start), np.bool_))
        if valid is not None or self._valid.n:
            self._valid.append(np.ones(len(data), np.bool_) if valid is None else valid)
        self._data.append(data)

    def read(self, start: int, stop: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
        """The values of a range, and which are there (None: all). Raises StorageIoFailure."""
        valid = self._valid.read(start, stop) if self._valid.n else None
        return self._data.read(start, stop), None if valid is None or valid.all() else valid

    def remove(self) -> None:
        """Give its space back."""
        self._data.remove()
        self._valid.remove()


class TextColumn:
    """`n` texts without nulls: where each ends, and their bytes."""

    def __init__(self, path: Path) -> None:
        self._ends = NumberColumn(path.with_name(f"{path.name}.ends"), np.int64)
        self._bytes = NumberColumn(path.with_name(f"{path.name}.bytes"), np.uint8)

    @property
    def n(self) -> int:
        """How many."""
        return self._ends.n

    @property
    def size_bytes(self) -> int:
        """What it takes on disk."""
        return self._ends.size_bytes + self._bytes.size_bytes

    def append(self, texts: pa.Array) -> None:
        """Add the texts of a string array. Raises StorageIoFailure."""
        if len(texts):
            _, offsets, data = texts.buffers()
            ends = np.frombuffer(offsets, np.int32)[texts.offset:texts.offset + len(texts) + 1].astype(np.int64)
            self._ends.append(ends[1:] - ends[0] + self._bytes.n)
            if data is not None:
                self._bytes.append(np.frombuffer(data, np.uint8)[ends[0]:ends[-1]])

    def read(self, start: int, stop: int) -> pa.ChunkedArray:
        """The texts of a range. Raises StorageIoFailure."""
        parts = [self._read(at, min(at + _TEXTS, stop)) for at in range(start, stop, _TEXTS)]
        return pa.chunked_array(parts, pa.string())

    def _read(self, start: int, stop: int) -> pa.Array:
        ends = self._ends.read(start - 1, stop) if start else np.concatenate(([0], self._ends.read(0, stop)))
        data = self._bytes.read(int(ends[0]), int(ends[-1]))
        return pa.Array.from_buffers(pa.string(), stop - start, [None, pa.py_buffer((ends - ends[0]).astype(np.int32)), pa.py_buffer(data)])

    def remove(self) -> None:
        """Give its space back."""
        self._ends.remove()
        self._bytes.remove()


def scratch_folder(path: Path) -> Path:
    """A new folder for files of the build. Raises StorageIoFailure."""
    with _scratch(path):
        path.mkdir(mode=0o700)
    return path


def _bytes_of(values: npt.NDArray[Any]) -> memoryview:
    return memoryview(values.reshape(-1).view(np.uint8).data)


@contextmanager
def _scratch(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        raise StorageIoFailure(f"a scratch file of the build failed: {path}: {wrong.strerror or wrong}.", path=str(path),
                               fix="Free space there, or set `work` in plane.yaml to a larger disk, then run again.") from wrong
