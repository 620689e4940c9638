"""From Arrow record batches of any shape to leaf digests: batches become settled chunks of our own types, chunks become leaves.

An engine may hand over slices, dictionaries, large or view strings, instants of any unit and zone, or wider integers; one dataset has one
type per column (`arrow_types.settled_type`), and the declared type decides (`decisions.md` F). What cannot be carried exactly is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.arrow_types import settled_schema, settled_type
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.content import LEAF_ROWS, Leaf
from offline_feature_plane.errors import ResourceExceeded
from offline_feature_plane.kernels import leafhash

# Two leaves: what is settled, hashed and written at once, and a row group of a data file.
CHUNK_ROWS = 2 * LEAF_ROWS
MOST_TEXT_BYTES = 2**31 - 2  # in a column of a chunk: what 32-bit offsets reach


class ColumnsBroken(ValueError):
    """Columns that do not match their declaration; the caller decides whose fault that is."""


def chunks_of(columns: Sequence[Column], batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Regroup batches into tables of exactly `rows` rows (the last one may be shorter, none is empty), without copying.

    Raises:
        ColumnsBroken: a batch has other columns.
    """
    names = [column.name for column in columns]
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if batch.schema.names != names:
            raise ColumnsBroken(f"a batch has the columns {batch.schema.names}; declared are {names}")
        start = 0
        while start < batch.num_rows:
            taken = batch.slice(start, min(rows - count, batch.num_rows - start))
            held.append(taken)
            start, count = start + taken.num_rows, count + taken.num_rows
            if count == rows:
                yield _joined(columns, held)
                held, count = [], 0
    if held:
        yield _joined(columns, held)


def settle(columns: Sequence[Column], chunk: pa.Table) -> pa.RecordBatch:
    """One chunk as contiguous arrays of exactly the types of `settled_type`.

    Raises:
        ColumnsBroken: a type that cannot carry the declared one, a value that does not fit, or a null in a column that has none.
        ResourceExceeded: as `refuse_long_texts`.
    """
    arrays = [_settled(column, chunk.column(index)) for index, column in enumerate(columns)]
    return pa.RecordBatch.from_arrays(arrays, schema=settled_schema(columns))


def refuse_long_texts(name: str, values: pa.ChunkedArray) -> None:
    """Refuse texts, plain or over a dictionary, that are too many bytes for one array.

    Raises:
        ResourceExceeded: with the column's name.
    """
    needed = sum(_text_bytes(chunk) for chunk in values.chunks)
    if needed > MOST_TEXT_BYTES:
        raise ResourceExceeded(f"the texts of {name} take {needed:,} bytes in {len(values):,} rows; the most that so many rows may have is "
                               f"{MOST_TEXT_BYTES:,}.", path=name,
                               fix="Shorten the texts before, let a list have fewer values, or leave the column out of the feature set.")


def leaves_of(columns: Sequence[Column], chunk: pa.RecordBatch, leaf_rows: int = LEAF_ROWS) -> list[Leaf]:
    """The leaves of a settled chunk that begins at a leaf's first row.

    Raises:
        ColumnsBroken: NaN, an infinity, or a decimal with too many digits.
    """
    return [Leaf(part.num_rows, tuple(_digest(column, part.column(index)) for index, column in enumerate(columns)))
            for part in (chunk.slice(start, leaf_rows) for start in range(0, chunk.num_rows, leaf_rows))]


def _joined(columns: Sequence[Column], held: list[pa.RecordBatch]) -> pa.Table:
    """Slices side by side; types may differ between batches (dictionary or plain), so columns are settled before they are joined."""
    if len({batch.schema for batch in held}) > 1:
        held = [settle(columns, pa.Table.from_batches([batch])) for batch in held]
    return pa.Table.from_batches(held)


def _settled(column: Column, values: pa.ChunkedArray) -> pa.Array:
    wanted = settled_type(column.type)
    if not _carries(column.type, values.type):
        raise ColumnsBroken(f"column {column.name} came as {values.type}; {column.type} is declared")
    if column.type.kind == "string":
        refuse_long_texts(column.name, values)
    try:
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_timestamp(values.type) and values.type != wanted:
            # An instant without a zone is UTC already, and a zone is only a way to show it: the count is what stays.
            microseconds = values.cast(pa.timestamp("us", values.type.tz))
            values = pa.chunked_array([piece.view(pa.int64()).view(wanted) for piece in microseconds.chunks], wanted)
        carried = values.cast(wanted)
        settled = carried.chunk(0) if carried.num_chunks == 1 else carried.combine_chunks()  # one piece is never copied
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as wrong:
        raise ColumnsBroken(f"column {column.name} cannot be carried as {column.type}: {wrong}") from wrong
    if settled.null_count and not column.nullable:
        raise ColumnsBroken(f"column {column.name} holds {settled.null_count} nulls; it is declared without")
    return settled


def _carries(kind: ColumnType, given: pa.DataType) -> bool:
    if pa.types.is_dictionary(given):
        given = given.value_type
    if kind.is_integer:
        return bool(pa.types.is_integer(given))
    if kind.kind == "string":
        return bool(pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given))
    if kind.kind == "decimal":
        return bool(pa.types.is_decimal(given))
    if kind.kind == "timestamp":
        return bool(pa.types.is_timestamp(given))
    return bool(given == settled_type(kind))


def _text_bytes(values: pa.Array) -> int:
    """Of an array's texts, each as often as it occurs; exact where it may matter."""
    if not pa.types.is_dictionary(values.type):
        return _span(values)
    texts, n = values.dictionary, len(values)
    if n * _span(texts) <= MOST_TEXT_BYTES:  # each row the whole dictionary
        return n * _span(texts)
    ends, codes = _offsets(texts), _numbers(values.indices.drop_null().cast(pa.int64()), np.int64)
    return int((ends[codes + 1] - ends[codes]).sum(dtype=np.int64))


def _span(texts: pa.Array) -> int:
    """From the first byte of an array's texts to the last."""
    if pa.types.is_string_view(texts.type):
        texts = texts.cast(pa.large_string())
    if not len(texts):
        return 0
    ends = _offsets(texts)
    return int(ends[-1]) - int(ends[0])


def _offsets(texts: pa.Array) -> npt.NDArray[Any]:
    kind = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    return np.frombuffer(texts.buffers()[1], kind)[texts.offset:texts.offset + len(texts) + 1]


def _digest(column: Column, values: pa.Array) -> str:
    kind, valid = column.type.kind, _validity(values)
    try:
        if kind == "string":
            return leafhash.hash_strings(*_text_buffers(values), valid)
        if kind == "decimal":
            return leafhash.hash_decimals(_numbers(values, np.int64), column.type.precision, valid)
        if kind == "float64":
            return leafhash.hash_floats(_numbers(values, np.float64), valid)
        if kind == "bool":
            return leafhash.hash_fixed(_bits(values.buffers()[1], values.offset, len(values)), valid)
        return leafhash.hash_fixed(_numbers(values, np.int64 if kind == "timestamp" else np.dtype(kind)), valid)
    except ValueError as wrong:
        raise ColumnsBroken(f"column {column.name}: {wrong}") from wrong


def _validity(values: pa.Array) -> npt.NDArray[np.bool_] | None:
    return _bits(values.buffers()[0], values.offset, len(values)) if values.null_count else None


def _bits(buffer: pa.Buffer, offset: int, n: int) -> npt.NDArray[np.bool_]:
    first = offset // 8
    packed = np.frombuffer(buffer, dtype=np.uint8)[first:(offset + n + 7) // 8]
    return np.unpackbits(packed, bitorder="little")[offset - 8 * first:offset - 8 * first + n].view(np.bool_)


def _numbers(values: pa.Array, kind: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.frombuffer(values.buffers()[1], dtype=kind)[values.offset:values.offset + len(values)]


def _text_buffers(values: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    _, offsets, data = values.buffers()
    text = np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)
    return np.frombuffer(offsets, dtype=np.int32)[values.offset:values.offset + len(values) + 1], text
