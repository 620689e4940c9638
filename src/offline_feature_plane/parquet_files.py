"""Parquet files of others: described by their footer, and decoded within a budget.

A footer is only a claim: what a page decodes to is known when it is decoded. So small files, among which are the bombs, are decoded with
care: texts as dictionaries, which hold each value once, and few rows at a time where that cannot be.
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

_ROWS = 131_072
_FEW_ROWS = 256
_SMALL = 16 << 20


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


def parquet_batches(path: Path, columns: Sequence[str], dictionary: Sequence[str]) -> Iterator[dict[str, pa.Array]]:
    """Some columns, in batches; text columns named in `dictionary` are dictionary-encoded, unless they are stored as differences.

    Raises:
        ResourceExceeded: it decodes to more than its budget. OSError, ValueError, pa.ArrowException: it is broken.
    """
    with open_in_place(path) as stream:
        budget = _budget(path, stream)
        coded, rows = _ways(stream, columns, dictionary)
        with pq.ParquetFile(stream, read_dictionary=coded, pre_buffer=True) as file:
            for batch in file.iter_batches(batch_size=rows, columns=list(columns), use_threads=rows == _ROWS):
                found: dict[str, Any] = {name: batch.column(name) for name in columns}
                budget.take(sum(map(_decoded_size, found.values())) + batch.num_rows * ROW_BYTES)
                yield {name: array.dictionary_decode() if name in coded and name not in dictionary else array
                       for name, array in found.items()}


def _budget(path: Path, stream: BinaryIO) -> Budget:
    return Budget(path, os.fstat(stream.fileno()).st_size)


def _ways(stream: BinaryIO, columns: Sequence[str], dictionary: Sequence[str]) -> tuple[list[str], int]:
    """How a file is decoded: which of its columns as dictionaries, and how many rows at a time.

    Texts that are stored as differences cannot be read as dictionaries; nothing bounds them, nor nested values, before they are decoded.
    """
    with pq.ParquetFile(stream) as file:
        kinds = {field.name: field.type for field in file.schema_arrow}
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
        differences = columns_of_differences(data)
    if os.fstat(stream.fileno()).st_size > _SMALL:
        return [name for name in dictionary if name not in differences], _ROWS
    texts = [name for name in columns if _is_text(kinds[name])]
    unbounded = any(name in differences for name in texts) or not all(_is_plain(kinds[name]) for name in columns)
    return [name for name in texts if name not in differences], _FEW_ROWS if unbounded else _ROWS


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_binary(kind) or types.is_large_string(kind) or types.is_large_binary(kind)
                or types.is_string_view(kind) or types.is_binary_view(kind))


def _is_plain(kind: pa.DataType) -> bool:
    """One small value a row."""
    types = pa.types
    return bool(_is_text(kind) or types.is_primitive(kind) or types.is_decimal(kind) or types.is_dictionary(kind) or types.is_null(kind))


def _decoded_size(array: pa.Array) -> int:
    """Its bytes, each row's text for itself."""
    if not pa.types.is_dictionary(array.type) or not _is_text(array.type.value_type):
        return int(array.nbytes)
    lengths = pc.binary_length(array.dictionary).take(array.indices)
    return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)
