"""One id, one event: equal rows of one id are one event, unlike rows are a conflict (`decisions.md` D14)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.engines.local.connection import foreign_errors
from offline_feature_plane.engines.local.dictionaries import ranks
from offline_feature_plane.engines.local.lowering import as_arrow, as_numpy, mask_of, plain
from offline_feature_plane.errors import ReplayEventIdConflict
from offline_feature_plane.filesets import read_batches
from offline_feature_plane.ports import PlainTable

Rows = npt.NDArray[np.int64]
_SHOWN = 5


def repeated_rows(connection: duckdb.DuckDBPyConnection, ids: npt.NDArray[np.int64] | pa.ChunkedArray) -> Rows:
    """The rows (ascending) whose id may stand on another row too; texts are compared by a 64-bit hash, so a few may be single."""
    marks: npt.NDArray[Any]
    if isinstance(ids, pa.ChunkedArray):
        with foreign_errors("hashing event ids"), connection.cursor() as own:  # several inputs look for theirs at once
            own.register("ofs_ids", pa.table({"id": ids}))
            marks = own.execute("SELECT hash(id) AS mark FROM ofs_ids").fetchnumpy()["mark"]
    else:
        marks = ids
    if len(marks) < 2 or (marks[1:] > marks[:-1]).all():
        return np.empty(0, np.int64)
    ordered = np.sort(marks)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(marks, np.unique(twice))) if len(twice) else np.empty(0, np.int64)


def rows_to_drop(table: PlainTable, ids: npt.NDArray[np.int64] | pa.ChunkedArray, suspects: Rows) -> Rows:
    """Of the rows that share an id, all but the first, if they are equal in every column of the file.

    Raises:
        ReplayEventIdConflict: two rows of one id differ.
    """
    if not len(suspects):
        return suspects
    keys = ranks(ids.take(as_arrow(suspects))) if isinstance(ids, pa.ChunkedArray) else ids[suspects]
    order = np.lexsort((suspects, keys))
    starts = np.concatenate(([True], keys[order][1:] != keys[order][:-1]))
    first_of = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    others, firsts = order[~starts], first_of[~starts]
    for column, _ in table.columns:
        same = _equal(_values_at(table, column, suspects), firsts, others)
        if not same.all():
            where = suspects[np.unique(others[~same])][:_SHOWN]
            shown = ids.take(as_arrow(where)).to_pylist() if isinstance(ids, pa.ChunkedArray) else ids[where].tolist()
            texts = [str(value) for value in shown]
            count = len(np.unique(keys[others[~same]]))
            raise ReplayEventIdConflict(
                f"{table.topic}: {count} event id{'s carry' if count > 1 else ' carries'} rows that differ in {column}: {', '.join(texts)}"
                f"{' …' if count > _SHOWN else ''}.", path=column, count=count, ids=texts,
                fix=f"Keep one row per {table.id_column}, or map a column that is unique.")
    return np.sort(suspects[others])


def _values_at(table: PlainTable, column: str, rows: Rows) -> pa.Array | list[Any]:
    """A column's values at some rows, counted over all files in order."""
    found: list[Any] = []
    start = 0
    for batch in _batches(table, column):
        inside = rows[np.searchsorted(rows, start):np.searchsorted(rows, start + len(batch))] - start
        if len(inside):
            found.append([batch[row] for row in inside.tolist()] if isinstance(batch, list) else plain(batch).take(as_arrow(inside)))
        start += len(batch)
    return [value for part in found for value in part] if isinstance(found[0], list) else pa.concat_arrays(found)


def _batches(table: PlainTable, column: str) -> Iterator[pa.Array | list[Any]]:
    for file in table.files:
        for batch in read_batches(file, table.form, [column]):
            yield batch[column]


def _equal(values: pa.Array | list[Any], firsts: Rows, others: Rows) -> npt.NDArray[np.bool_]:
    if not isinstance(values, list):
        kind = values.type
        if pa.types.is_floating(kind):
            whole = values.cast(pa.float64())
            bits, known = as_numpy(whole.fill_null(0), np.int64), mask_of(whole)  # as bits, NaN equals itself
            alike: npt.NDArray[np.bool_] = (bits[firsts] == bits[others]) & (known[firsts] == known[others])
            return alike
        if not pa.types.is_nested(kind):
            left, right = values.take(as_arrow(firsts)), values.take(as_arrow(others))
            equal = pc.fill_null(pc.equal(left, right), pa.scalar(value=False))
            both = pc.or_(equal, pc.and_(pc.is_null(left), pc.is_null(right)))
            return as_numpy(both.cast(pa.uint8()), np.uint8).view(np.bool_)
        values = values.to_pylist()
    pairs = zip(firsts.tolist(), others.tolist(), strict=True)
    return np.fromiter((_alike(values[one], values[other]) for one, other in pairs), np.bool_, len(firsts))


def _alike(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)  # in Python 1 == True
