"""Parquet files of others: described by their footer, and decoded within a budget.

A footer is only a claim: what a page decodes to is known when it is decoded. So the first rows are decoded a few at a time, and more at a
time as long as they turn out to be small.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_feature_plane.budgets import ROW_BYTES, Budget
from offline_feature_plane.parquet_footers import columns_of_differences
from offline_feature_plane.plain_files import open_in_place

MOST_ROWS = 131_072
_FIRST_ROWS, _BATCH_BYTES = 8, 64 << 20
_DEEPEST = 16  # levels of structs whose members have names


def describe_parquet(path: Path) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Rows and columns (name, Arrow type text) as the footer has them.

    Raises:
        ResourceExceeded: more rows than so few bytes can mean. OSError, ValueError, pa.ArrowException: it is broken.
    """
    with open_in_place(path) as stream, pq.ParquetFile(stream) as file:
        rows = file.metadata.num_rows
        groups = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
        if min(groups, default=0) < 0 or sum(groups) != rows:
            raise ValueError(f"its footer counts {rows} rows, its row groups {sum(groups)}")
        _budget(path, stream).take(rows * ROW_BYTES)
        return rows, tuple((field.name, str(field.type)) for field in file.schema_arrow)


def parquet_members(path: Path) -> tuple[tuple[str, str], ...]:
    """What lies inside of a file's structs: dotted name (`merchant.country`) and Arrow type text, in the order of the file.

    Raises:
        OSError, ValueError, pa.ArrowException: it is broken.
    """
    with open_in_place(path) as stream, pq.ParquetFile(stream) as file:
        return tuple((name, str(kind)) for name, (_, kind) in _members(file.schema_arrow).items())


def rows_of_groups(path: Path) -> tuple[int, ...]:
    """How many rows each row group has, as the footer says; `describe_parquet` holds that against the rows of the file.

    Raises:
        OSError, ValueError, pa.ArrowException: it is broken.
    """
    with open_in_place(path) as stream, pq.ParquetFile(stream) as file:
        return tuple(file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups))


def parquet_batches(path: Path, columns: Sequence[str], dictionary: Sequence[str],
                    most: int = MOST_ROWS, groups: Sequence[int] | None = None) -> Iterator[dict[str, pa.Array]]:
    """Some columns, in batches of at most so many rows, of all row groups or of some.

    Text columns named in `dictionary` are dictionary-encoded, unless they are stored as differences. A dotted name that no
    column has is what lies inside of a struct; it is null where the struct is.

    Raises:
        ResourceExceeded: it decodes to more than its budget. OSError, ValueError, pa.ArrowException: it is broken.
    """
    with open_in_place(path) as stream:
        budget, schema = _budget(path, stream), _schema(stream)
        names: dict[str, tuple[str, ...]] = {name: (name,) for name in schema.names}
        if any(name not in names for name in columns):
            names |= {name: way for name, (way, _) in _members(schema).items()}
        if missing := [name for name in (*columns, *dictionary) if name not in names]:
            raise ValueError(f"it has no column {missing[0]}")
        # what is buffered ahead would stay until the file is closed: all of it
        with pq.ParquetFile(stream, read_dictionary=_codable(stream, dictionary), pre_buffer=False) as file:
            rows = _FIRST_ROWS
            for batch in file.iter_batches(batch_size=rows, columns=list(columns), use_threads=True,
                                           row_groups=None if groups is None else list(groups)):
                found: dict[str, Any] = {name: _followed(batch, names[name]) for name in columns}
                size = sum(map(_decoded_size, found.values())) + batch.num_rows * ROW_BYTES
                budget.take(size)
                rows = max(1, min(4 * rows, most, _BATCH_BYTES * batch.num_rows // max(size, 1)))
                file.reader.set_batch_size(rows)
                yield found


def _schema(stream: BinaryIO) -> pa.Schema:
    with pq.ParquetFile(stream) as file:
        return file.schema_arrow


def _members(schema: pa.Schema) -> dict[str, tuple[tuple[str, ...], pa.DataType]]:
    """Way and type of everything inside of structs, by dotted name; what a column is called is that column."""
    found: dict[str, tuple[tuple[str, ...], pa.DataType]] = {}
    waiting: list[tuple[tuple[str, ...], pa.DataType]] = [((field.name,), field.type) for field in reversed(schema)]
    while waiting:
        way, kind = waiting.pop()
        if len(way) > 1 and (name := ".".join(way)) not in schema.names:
            found.setdefault(name, (way, kind))
        if pa.types.is_struct(kind) and len(way) < _DEEPEST:
            waiting += [((*way, kind.field(place).name), kind.field(place).type) for place in reversed(range(kind.num_fields))]
    return found


def _followed(batch: pa.RecordBatch, way: tuple[str, ...]) -> pa.Array:
    array = batch.column(way[0])
    return pc.struct_field(array, list(way[1:])) if len(way) > 1 else array


def _budget(path: Path, stream: BinaryIO) -> Budget:
    return Budget(path, os.fstat(stream.fileno()).st_size)


def _codable(stream: BinaryIO, dictionary: Sequence[str]) -> list[str]:
    """Of some text columns those that Arrow can hand out as dictionaries: it cannot where they are stored as differences."""
    if not dictionary:
        return []
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
        differences = columns_of_differences(data)
    return [name for name in dictionary if name not in differences]


def _decoded_size(array: pa.Array) -> int:
    """Its bytes; of a dictionary, as if each row had its text for itself."""
    if not pa.types.is_dictionary(array.type) or not _is_text(array.type.value_type):
        return int(array.nbytes)
    lengths = pc.binary_length(array.dictionary).take(array.indices)
    return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))
