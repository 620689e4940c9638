"""One id, one event: equal rows of one id are one event, different rows are a conflict (`decisions.md` D14)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.identity import told_bytes
from offline_feature_plane.engines.local.connection import Database, foreign_errors
from offline_feature_plane.engines.local.dictionaries import ranks
from offline_feature_plane.engines.local.lowering import as_arrow, as_numpy, mask_of, plain
from offline_feature_plane.errors import ReplayEventIdConflict
from offline_feature_plane.filesets import Batch, read_batches
from offline_feature_plane.ports.inputs import PlainTable

Rows = npt.NDArray[np.int64]
_SHOWN = 5


def marks_of(database: Database, ids: npt.NDArray[np.int64] | pa.ChunkedArray) -> npt.NDArray[Any]:
    """64 bits for each id, the same for equal ids: integers themselves, a hash of texts."""
    if isinstance(ids, np.ndarray):
        return ids
    with foreign_errors("hashing event ids"), database.cursor() as own:  # several inputs look for theirs at once
        own.register("ofs_ids", pa.table({"id": ids}))
        marks: npt.NDArray[Any] = own.execute("SELECT hash(id) AS mark FROM ofs_ids").fetchnumpy()["mark"]
        return marks


def rows_to_drop(table: PlainTable, ids: npt.NDArray[np.int64] | pa.ChunkedArray, suspects: Rows) -> Rows:
    """Of the rows that share an id, all but the first, if they are equal in every column of the file.

    Args:
        table: where they stand.
        ids: those of the suspects.
        suspects: rows that may share an id, ascending.

    Raises:
        ReplayEventIdConflict: two rows of one id differ.
    """
    if not len(suspects):
        return suspects
    keys = ranks(ids) if isinstance(ids, pa.ChunkedArray) else ids
    order = np.lexsort((suspects, keys))
    starts = np.concatenate(([True], keys[order][1:] != keys[order][:-1]))
    first_of = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    others, firsts = order[~starts], first_of[~starts]
    if table.form == "jsonl" and _same_lines(table, suspects, firsts, others):
        return np.sort(suspects[others])
    for column, values in _columns_at(table, suspects):
        same = _equal(values, firsts, others)
        if not same.all():
            unlike = np.sort(others[~same])
            where = unlike[np.sort(np.unique(keys[unlike], return_index=True)[1])][:_SHOWN]  # one row of each id
            shown = ids.take(as_arrow(where)).to_pylist() if isinstance(ids, pa.ChunkedArray) else ids[where].tolist()
            texts = [str(value) for value in shown]
            count = len(np.unique(keys[unlike]))
            raise ReplayEventIdConflict(
                f"{table.topic}: {count} event id{'s carry' if count > 1 else ' carries'} rows that differ in {column}: {', '.join(texts)}"
                f"{' …' if count > _SHOWN else ''}.", path=column, count=count, ids=texts,
                fix=f"Keep one row per {table.id_column}, or map a column that is unique.")
    return np.sort(suspects[others])


def _same_lines(table: PlainTable, rows: Rows, firsts: Rows, others: Rows) -> bool:
    """Are lines that share an id equal in every column? Read once, and held as 16 bytes a line: a digest of what events say.

    False may also mean that two values are equal though they are written differently (`[true]` and `[1]`): the columns then decide.
    """
    digests: list[bytes] = []
    for batch, inside in _inside(table, [name for name, _ in table.columns], rows):
        lines = list(zip(*batch.values(), strict=True))
        digests += [hashlib.blake2b(told_bytes(lines[row]), digest_size=16).digest() for row in inside.tolist()]
    pairs = np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)
    return bool((pairs[firsts] == pairs[others]).all())


def _columns_at(table: PlainTable, rows: Rows) -> Iterator[tuple[str, pa.Array | list[Any]]]:
    """Every column with its values at some rows: one at a time from Parquet, all in one pass from text, which is parsed whole anyway."""
    names = [name for name, _ in table.columns]
    for columns in [[name] for name in names] if table.form == "parquet" else [names]:
        found: dict[str, list[Any]] = {name: [] for name in columns}
        for batch, inside in _inside(table, columns, rows):
            for name, values in batch.items():
                found[name].append([values[row] for row in inside.tolist()] if isinstance(values, list)
                                   else plain(values).take(as_arrow(inside)))
        for name, parts in found.items():
            yield name, [value for part in parts for value in part] if isinstance(parts[0], list) else pa.concat_arrays(parts)


def _inside(table: PlainTable, columns: list[str], rows: Rows) -> Iterator[tuple[Batch, Rows]]:
    """Batches of the files in order, with the places of the wanted rows in each; rows are counted over all files."""
    start = 0
    for file in table.files:
        for batch in read_batches(file, table.form, columns):
            count = len(next(iter(batch.values())))
            inside = rows[np.searchsorted(rows, start):np.searchsorted(rows, start + count)] - start
            if len(inside):
                yield batch, inside
            start += count


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
    return np.fromiter((are_alike(values[one], values[other]) for one, other in pairs), np.bool_, len(firsts))


def are_alike(one: Any, other: Any) -> bool:
    """Are two values of a column the same, as Python has them?"""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)  # in Python 1 == True
