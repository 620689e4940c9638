"""Our column types as Arrow types: what leaves an engine, what a data file holds (`decisions.md` F)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.errors import SourceTypeMismatch

_PLAIN: dict[str, pa.DataType] = {
    "bool": pa.bool_(), "int8": pa.int8(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(),
    "float64": pa.float64(), "string": pa.string(), "timestamp": pa.timestamp("us", "UTC"),
}


def arrow_type(kind: ColumnType) -> pa.DataType:
    """The one Arrow type of a column type: decimals as decimal128, instants as µs in UTC."""
    return pa.decimal128(kind.precision, kind.scale) if kind.kind == "decimal" else _PLAIN[kind.kind]


def carries(kind: pa.DataType, wanted: ColumnType) -> bool:
    """Can a raw column of this Arrow type ever hold values of a column type?

    >>> carries(pa.string(), ColumnType("timestamp")), carries(pa.date32(), ColumnType("timestamp"))
    (True, False)
    """
    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    match wanted.kind:
        case "bool":
            fits = types.is_boolean(kind) or types.is_integer(kind)
        case "float64" | "decimal":
            fits = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        case "timestamp":
            fits = types.is_timestamp(kind)
        case _:
            fits = types.is_integer(kind)
    return bool(text or fits or types.is_null(kind))


def refuse_type(topic: str, column: str, kind: pa.DataType, name: str, wanted: ColumnType) -> None:
    """Refuse a raw column whose type can never carry what the field `name` is declared as.

    Raises:
        SourceTypeMismatch: naming the column, both types and the remedy.
    """
    if carries(kind, wanted):
        return
    numbers = (ColumnType("int64"), ColumnType("float64"), ColumnType("decimal", 18, 2))
    others = [one for one in (ColumnType("bool"), *numbers, ColumnType("timestamp")) if carries(kind, one)]
    if pa.types.is_struct(kind) and kind.num_fields:
        fix = f"Name one of the things that lie inside, such as `path: {column}.{kind.field(0).name}`."
    elif pa.types.is_date(kind) and wanted.kind == "string":
        fix = "Write the days as text, such as 2026-03-01."
    elif pa.types.is_date(kind) and wanted.kind == "timestamp":
        fix = "A day is not an instant. If its first moment is meant, cast the column to a timestamp of the zone that is meant."
    elif others:
        fix = f"Declare {name} as {' or '.join(one.kind for one in others)}, or convert the column."
    else:
        fix = f"Convert the column to one that carries {wanted}."
    raise SourceTypeMismatch(f"{topic}: column {column} is {kind}, which cannot be read as {wanted}.", path=column, fix=fix)


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of a dataset's columns."""
    return pa.schema([pa.field(column.name, arrow_type(column.type), nullable=column.nullable) for column in columns])


def settled_type(kind: ColumnType) -> pa.DataType:
    """What carries a column on its way through a build: the type of `arrow_type`, but decimals in 64 bits, as data files have them."""
    return pa.decimal64(kind.precision, kind.scale) if kind.kind == "decimal" else _PLAIN[kind.kind]


def settled_schema(columns: Sequence[Column]) -> pa.Schema:
    """The schema of a dataset's columns on their way through a build."""
    return pa.schema([pa.field(column.name, settled_type(column.type), nullable=column.nullable) for column in columns])


def settled_decimals(scaled: npt.NDArray[np.int64], kind: ColumnType, valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Scaled integers as a decimal64 array, without a copy; arguments as `decimal_array`."""
    return pa.Array.from_buffers(settled_type(kind), len(scaled), [bitmap(valid), pa.py_buffer(scaled)])


def bitmap(valid: npt.NDArray[np.bool_] | None) -> pa.Buffer | None:
    """What an Arrow array keeps of where it is not null; None if it is nowhere."""
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def decimal_array(scaled: npt.NDArray[np.int64], kind: ColumnType, valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Scaled integers as a decimal128 array, without a Python object per value.

    Args:
        scaled: int64 multiples of 10^-scale.
        kind: the decimal type.
        valid: False where null; None if nothing is.
    """
    words = np.empty((len(scaled), 2), dtype=np.int64)
    words[:, 0] = scaled
    words[:, 1] = scaled >> 63
    return pa.Array.from_buffers(pa.decimal128(kind.precision, kind.scale), len(scaled), [bitmap(valid), pa.py_buffer(words)])


def scaled_integers(decimals: pa.Array) -> npt.NDArray[np.int64]:
    """The scaled integers of a decimal128 array of at most 18 digits; values under a null are arbitrary."""
    words = np.frombuffer(decimals.buffers()[1], dtype=np.int64).reshape(-1, 2)
    low: npt.NDArray[np.int64] = words[decimals.offset:decimals.offset + len(decimals), 0]
    return low


def decimals_as_floats(decimals: pa.Array) -> pa.Array:
    """Decimals as the nearest float64: one division of two integers, exact below 2^53.

    >>> from decimal import Decimal
    >>> decimals_as_floats(pa.array([Decimal("0.10"), None], pa.decimal128(12, 2))).to_pylist()
    [0.1, None]
    """
    values = scaled_integers(decimals) / np.float64(10 ** decimals.type.scale)
    return pa.array(values, mask=decimals.is_null().to_numpy(zero_copy_only=False))
