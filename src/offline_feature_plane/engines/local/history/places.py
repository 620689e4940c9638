"""Where columns are kept: in memory, or as flat files in the work folder. They are appended to, and read by range.

Files are read with plain reads, and none stays open: pages of a map would count as memory of ours, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.engines.local.history.batches import Batches, FileBatches, HeldBatches
from offline_feature_plane.scratch_files import scratch_failed

__all__ = ["Folder", "Memory", "Numbers", "Place", "Texts", "ValueColumn"]

_TEXTS = 1 << 16  # texts of one Arrow array, whose offsets have 32 bits
_CALL = 1 << 30   # bytes that one call of the system is asked for


class Numbers(Protocol):
    """`n` values of one fixed width."""

    n: int

    @property
    def size_bytes(self) -> int:
        """What they take."""

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add values of the column's type, which nobody changes afterwards. Raises StorageIoFailure."""

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """The values of a range, not to be changed. Raises StorageIoFailure."""

    def remove(self) -> None:
        """Give their space back."""


class Texts(Protocol):
    """`n` texts without nulls."""

    n: int

    @property
    def size_bytes(self) -> int:
        """What they take."""

    def append(self, texts: pa.Array) -> None:
        """Add the texts of a string array. Raises StorageIoFailure."""

    def read(self, start: int, stop: int) -> pa.ChunkedArray:
        """The texts of a range. Raises StorageIoFailure."""

    def remove(self) -> None:
        """Give their space back."""


class Place(Protocol):
    """Where columns are kept."""

    def inside(self, name: str) -> Place:
        """A new place within this one. Raises StorageIoFailure."""

    def numbers(self, name: str, dtype: npt.DTypeLike, most: int) -> Numbers:
        """A new column, which will have at most so many values; more of them cost a copy."""

    def texts(self, name: str) -> Texts:
        """A new column."""

    def batches(self, name: str) -> Batches:
        """Room for record batches."""


class Memory:
    """Columns in memory: what is read is what was kept, without a copy."""

    def inside(self, name: str) -> Memory:  # noqa: ARG002 - folders have names
        """As `Place.inside`."""
        return self

    def numbers(self, name: str, dtype: npt.DTypeLike, most: int) -> Numbers:  # noqa: ARG002 - files have names
        """As `Place.numbers`."""
        return _HeldNumbers(dtype, most)

    def texts(self, name: str) -> Texts:  # noqa: ARG002 - files have names
        """As `Place.texts`."""
        return _HeldTexts()

    def batches(self, name: str) -> Batches:  # noqa: ARG002 - files have names
        """As `Place.batches`."""
        return HeldBatches()


class Folder:
    """Columns as files in an existing folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def inside(self, name: str) -> Folder:
        """As `Place.inside`."""
        path = self._path / name
        with _scratch(path):
            path.mkdir(mode=0o700)
        return Folder(path)

    def numbers(self, name: str, dtype: npt.DTypeLike, most: int) -> Numbers:  # noqa: ARG002 - files grow
        """As `Place.numbers`."""
        return _FileNumbers(self._path / name, dtype)

    def texts(self, name: str) -> Texts:
        """As `Place.texts`."""
        return _FileTexts(self._path / name)

    def batches(self, name: str) -> Batches:
        """As `Place.batches`."""
        return FileBatches(self._path / name)


class ValueColumn:
    """Values that may be null; which are there is kept from the first null on. Arguments as `Place.numbers`."""

    def __init__(self, place: Place, name: str, dtype: npt.DTypeLike, most: int) -> None:
        self._data, self._valid = place.numbers(name, dtype, most), place.numbers(f"{name}.valid", np.bool_, most)

    @property
    def size_bytes(self) -> int:
        """What they take."""
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
        """Give their space back."""
        self._data.remove()
        self._valid.remove()


class _HeldNumbers:
    def __init__(self, dtype: npt.DTypeLike, most: int) -> None:
        self.n, self._dtype, self._most = 0, np.dtype(dtype), most
        self._values: npt.NDArray[Any] = np.empty(0, self._dtype)

    @property
    def size_bytes(self) -> int:
        return self.n * self._dtype.itemsize

    def append(self, values: npt.NDArray[Any]) -> None:
        end = self.n + len(values)
        if len(values) == self._most and not self.n:
            self._values = values.astype(self._dtype, copy=False)
        elif len(values):
            if end > len(self._values):
                held = self._values[:self.n]
                self._values = np.empty(self._most if end <= self._most else 2 * end, self._dtype)
                self._values[:self.n] = held
            self._values[self.n:end] = values
        self.n = end

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        return self._values[start:stop]

    def remove(self) -> None:
        self.n, self._values = 0, self._values[:0].copy()


class _HeldTexts:
    def __init__(self) -> None:
        self.n, self.size_bytes = 0, 0
        self._chunks: list[pa.Array] = []

    def append(self, texts: pa.Array) -> None:
        self._chunks.append(texts)
        self.n, self.size_bytes = self.n + len(texts), self.size_bytes + texts.nbytes

    def read(self, start: int, stop: int) -> pa.ChunkedArray:
        return pa.chunked_array(self._chunks, pa.string()).slice(start, stop - start)

    def remove(self) -> None:
        self.n, self._chunks = 0, []


class _FileNumbers:
    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self._path, self._dtype, self.n = path, np.dtype(dtype), 0

    @property
    def size_bytes(self) -> int:
        return self.n * self._dtype.itemsize

    def append(self, values: npt.NDArray[Any]) -> None:
        rest = _bytes_of(np.ascontiguousarray(values, self._dtype))
        with _scratch(self._path), self._path.open("ab", buffering=0) as file:
            while rest:
                rest = rest[file.write(rest[:_CALL]):]
        self.n += len(values)

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        found = np.empty(stop - start, self._dtype)
        rest = _bytes_of(found)
        if rest:
            with _scratch(self._path), self._path.open("rb", buffering=0) as file:
                file.seek(start * self._dtype.itemsize)
                while rest:
                    count = file.readinto(rest[:_CALL])
                    if not count:
                        raise OSError(0, "it is shorter than it was written")
                    rest = rest[count:]
        return found

    def remove(self) -> None:
        with suppress(OSError):  # or its space comes back with the work folder
            self._path.unlink()
        self.n = 0


class _FileTexts:
    """Where each text ends, and the bytes of all."""

    def __init__(self, path: Path) -> None:
        self._ends = _FileNumbers(path.with_name(f"{path.name}.ends"), np.int64)
        self._bytes = _FileNumbers(path.with_name(f"{path.name}.bytes"), np.uint8)
        self.n = 0

    @property
    def size_bytes(self) -> int:
        return self._ends.size_bytes + self._bytes.size_bytes

    def append(self, texts: pa.Array) -> None:
        if len(texts):
            _, offsets, data = texts.buffers()
            ends = np.frombuffer(offsets, np.int32)[texts.offset:texts.offset + len(texts) + 1].astype(np.int64)
            self._ends.append(ends[1:] - ends[0] + self._bytes.n)
            if data is not None:
                self._bytes.append(np.frombuffer(data, np.uint8)[ends[0]:ends[-1]])
            self.n += len(texts)

    def read(self, start: int, stop: int) -> pa.ChunkedArray:
        return pa.chunked_array([self._read(at, min(at + _TEXTS, stop)) for at in range(start, stop, _TEXTS)], pa.string())

    def _read(self, start: int, stop: int) -> pa.Array:
        ends = self._ends.read(start - 1, stop) if start else np.concatenate(([0], self._ends.read(0, stop)))
        data = self._bytes.read(int(ends[0]), int(ends[-1]))
        return pa.Array.from_buffers(pa.string(), stop - start, [None, pa.py_buffer((ends - ends[0]).astype(np.int32)), pa.py_buffer(data)])

    def remove(self) -> None:
        self._ends.remove()
        self._bytes.remove()
        self.n = 0


def _bytes_of(values: npt.NDArray[Any]) -> memoryview:
    return memoryview(values.reshape(-1).view(np.uint8).data)


@contextmanager
def _scratch(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        raise scratch_failed(path, wrong) from wrong
