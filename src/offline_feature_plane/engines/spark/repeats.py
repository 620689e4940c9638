"""Rows of a plain table that share an id: fetched again with all of their columns, and compared (`decisions.md` D14)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.engines.local.duplicates import are_alike
from offline_feature_plane.engines.local.lowering import as_arrow, plain
from offline_feature_plane.engines.spark.row_texts import row_text, row_values
from offline_feature_plane.engines.spark.shares import Reading, TableShare
from offline_feature_plane.engines.spark.wire import Shape, gather, make_batch, numbers
from offline_feature_plane.errors import EngineFailed
from offline_feature_plane.filesets import Batch, read_pinned

RAW: Shape = (("inp", "int"), ("num", "long"), ("id", "string"), ("row", "long"), ("said", "string"))
COMPARED: Shape = (("inp", "int"), ("num", "long"), ("id", "string"), ("row", "long"), ("differs", "int"))
_ROWS = 1 << 14


def fetch(reading: Reading, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows of (`inp`, `num`, `id`, `row`, `share`), by share and row, each with everything that the file says in it."""
    wanted = _Wanted(batches)
    while (number := wanted.share) is not None:
        share = reading.shares[number]
        if not isinstance(share, TableShare):
            raise EngineFailed("a record was taken for a row of a table.", fix="Please report this.")
        names = [name for name, _ in share.table.columns]
        start = share.first_row
        for batch in read_pinned((share.table.files[share.file],), share.table.form, names):
            count = len(next(iter(batch.values())))
            for found in wanted.take(number, start + count):
                said = [row_text(row) for row in _rows(batch, names, numbers(found["row"])[0] - start)]
                yield make_batch(RAW, len(said), {**{name: found[name] for name in ("inp", "num", "id", "row")}, "said": said})
            start += count


class _Wanted:
    """Which rows are asked for, as they come: in the order of shares and rows."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._tables = gather(batches, _ROWS)
        self._held: pa.Table | None = next(self._tables, None)

    @property
    def share(self) -> int | None:
        """The share of the next row."""
        return None if self._held is None else self._held["share"][0].as_py()

    def take(self, share: int, end: int) -> Iterator[pa.Table]:
        """The next rows, as far as they are of a share and before a row."""
        while self._held is not None:
            mine = (numbers(self._held["share"], np.int32)[0] == share) & (numbers(self._held["row"])[0] < end)
            count = len(mine) if mine.all() else int(np.argmin(mine))
            if count:
                yield self._held.slice(0, count)
            if count < len(mine):
                self._held = self._held.slice(count)
                return
            self._held = next(self._tables, None)


def _rows(batch: Batch, names: list[str], at: npt.NDArray[np.int64]) -> list[tuple[Any, ...]]:
    columns = [_values(batch[name], at) for name in names]
    return list(zip(*columns, strict=True))


def _values(column: pa.Array | list[Any], at: npt.NDArray[np.int64]) -> list[Any]:
    """Values that are equal as Python says iff they are equal in the file: floats by their bits, so that NaN equals itself."""
    if isinstance(column, list):
        return [column[row] for row in at.tolist()]
    taken = plain(column).take(as_arrow(at))
    if pa.types.is_floating(taken.type):
        bits, known = taken.cast(pa.float64()).fill_null(0), taken.is_valid().to_pylist()
        return [value.tobytes() if there else None for value, there in zip(bits.to_numpy(zero_copy_only=False), known, strict=True)]
    if pa.types.is_timestamp(taken.type) or pa.types.is_duration(taken.type) or pa.types.is_time64(taken.type):
        return list(taken.cast(pa.int64()).to_pylist())
    return list(taken.to_pylist())


def compare(_: None, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows of RAW by id and row: each but the first of an id, with the first column in which it differs from that (−1: in none)."""
    first: tuple[Any, ...] | None = None
    told: tuple[Any, ...] = ()
    for batch in batches:
        kept, differs = [], []
        for place, (*key, _row, said) in enumerate(zip(*(column.to_pylist() for column in batch.columns), strict=True)):
            row = row_values(said)
            if tuple(key) != first:
                first, told = tuple(key), row
                continue
            kept.append(place)
            unlike = (column for column, (one, other) in enumerate(zip(told, row, strict=True)) if not are_alike(one, other))
            differs.append(next(unlike, -1))
        if kept:
            some = batch.take(pa.array(kept, pa.int64()))
            yield make_batch(COMPARED, len(kept), {**{name: some.column(name) for name in ("inp", "num", "id", "row")},
                                                   "differs": np.array(differs, np.int32)})
