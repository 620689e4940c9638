"""Columns on their way through Spark: values in the inner form, under names of our own (`docs/decisions/0027`).

    long     bool 0/1, integers, scaled decimals, µs        double    float64
    string   texts, UTF-8                                   f0, f1 …  the fields of all sources, in the closure's order

So no Spark type has a say in what a value means, and no name or text of a user ever stands in a statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.dictionaries import encode, shared_names
from offline_feature_plane.engines.local.events import Events, Values
from offline_feature_plane.engines.local.lowering import as_numpy, mask_of, plain
from offline_feature_plane.leaves import refuse_long_texts

Shape = tuple[tuple[str, str], ...]
"""Names and types of columns, as Spark calls these."""

Key = tuple[str, str]
"""A source and one of its fields."""

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NOTE: Shape = (("note", "string"),)
"""What a task counted or refused, in a last row whose other columns are null."""

_ARROW = {"int": pa.int32(), "long": pa.int64(), "double": pa.float64(), "string": pa.string(), "boolean": pa.bool_(),
          "binary": pa.binary(), "array<long>": pa.list_(pa.int64()), "array<int>": pa.list_(pa.int32()),
          "array<string>": pa.list_(pa.string())}


def declared(shape: Shape) -> str:
    """The shape as Spark wants it."""
    return ", ".join(f"{name} {kind}" for name, kind in shape)


def field_columns(closure: Closure) -> dict[Key, tuple[str, ColumnType]]:
    """Column and type of every field of every source."""
    every = [(source.name, field) for source in closure.sources for field in source.fields]
    return {(source, field.name): (f"f{place}", field.type) for place, (source, field) in enumerate(every)}


def kind_of(column: ColumnType) -> str:
    """How values of a type travel.

    >>> kind_of(ColumnType("decimal", 12, 2)), kind_of(ColumnType("float64"))
    ('long', 'double')
    """
    return {"string": "string", "float64": "double"}.get(column.kind, "long")


def make_batch(shape: Shape, n: int, columns: Mapping[str, Any]) -> pa.RecordBatch:
    """`n` rows of a shape from Arrow arrays, numpy arrays, lists or single values; columns that are not named are null."""
    arrays = []
    for name, kind in shape:
        wanted, found = _ARROW[kind], columns.get(name)
        if found is None:
            arrays.append(pa.nulls(n, wanted))
        elif isinstance(found, pa.ChunkedArray | pa.Array):
            arrays.append(whole(found).cast(wanted))
        elif isinstance(found, np.ndarray | list):
            arrays.append(pa.array(found, wanted))
        else:
            arrays.append(pa.repeat(pa.scalar(found, wanted), n))
    return pa.RecordBatch.from_arrays(arrays, names=[name for name, _ in shape])


def travelling(name: str, values: Values) -> pa.Array:
    """A column of the inner form as it travels. Raises ResourceExceeded: its texts are too many bytes for one array."""
    null = None if values.valid is None else ~values.valid
    if values.type.kind == "string":
        codes = pa.array(values.data.astype(np.int32, copy=False), mask=null)
        texts = pa.array([], pa.string()) if values.dictionary is None else values.dictionary
        coded = pa.DictionaryArray.from_arrays(codes, texts, safe=False)
        refuse_long_texts(name, pa.chunked_array([coded]))
        return coded.cast(pa.string())
    if values.type.kind == "float64":
        return pa.array(values.data.astype(np.float64, copy=False), mask=null)
    return pa.array(values.data.astype(np.int64, copy=False), mask=null)


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One array, of plain types."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return plain(column)


def numbers(column: pa.ChunkedArray | pa.Array, kind: Any = np.int64) -> tuple[npt.NDArray[Any], Bools | None]:
    """A column's numbers, 0 where it is null, and where it is not (None: everywhere)."""
    array = whole(column)
    if not array.null_count:
        return as_numpy(array, kind), None
    return as_numpy(array.fill_null(0), kind), mask_of(array)


def flags(column: pa.ChunkedArray | pa.Array) -> Bools:
    """A column of truth values; null is False."""
    return as_numpy(pc.fill_null(whole(column), pa.scalar(value=False)).cast(pa.uint8()), np.uint8).view(np.bool_)


def one_value(column: pa.ChunkedArray, kind: ColumnType) -> Values:
    """A column that travelled, in the inner form."""
    if kind.kind == "string":
        return texts_of([column])[0]
    return Values(kind, *numbers(column, np.float64 if kind.kind == "float64" else np.int64))


def texts_of(columns: Sequence[pa.ChunkedArray]) -> list[Values]:
    """Text columns over one dictionary."""
    coded, dictionary = encode([pa.chunked_array([whole(column)], pa.string()) for column in columns])
    return [Values(ColumnType("string"), codes, None if (codes >= 0).all() else codes >= 0, dictionary) for codes in coded]


def read_fields(table: pa.Table, wanted: Mapping[Key, tuple[str, ColumnType]], task: Task) -> dict[Key, Values]:
    """Fields that travelled; texts that one comparison looks at share a dictionary, as everywhere."""
    found: dict[Key, Values] = {}
    together: dict[str, list[Key]] = {}
    home = shared_names(task)
    for key, (column, kind) in wanted.items():
        if kind.kind == "string":
            together.setdefault(home[key[1]], []).append(key)
        else:
            found[key] = one_value(table[column], kind)
    for keys in together.values():
        found.update(zip(keys, texts_of([table[wanted[key][0]] for key in keys]), strict=True))
    return found


def read_events(table: pa.Table, wanted: Mapping[Key, tuple[str, ColumnType]], task: Task, id_type: ColumnType) -> Events:
    """Rows that travelled as events: `ts`, `src`, the ids if they are there, and some fields."""
    ids = table["num" if id_type.is_integer else "id"] if "num" in table.column_names else pa.chunked_array([pa.nulls(len(table))])
    source = numbers(table["src"], np.int32)[0].astype(np.int8)
    return Events(len(table), numbers(table["ts"])[0], source, pa.chunked_array([whole(ids)]), id_type,
                  read_fields(table, wanted, task))


def gather(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of at least `rows` rows, but for the last one, which is not empty."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        if count >= rows:
            yield pa.Table.from_batches(held)
            held, count = [], 0
    if count:
        yield pa.Table.from_batches(held)
