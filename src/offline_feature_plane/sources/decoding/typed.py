"""Wanted values of decoded records as columns of their types: the law of extraction, by kernels where it is plain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.arrow_types import arrow_type, bitmap, decimal_array
from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extraction import MAX_FLOAT_INTEGER, missing_value
from offline_feature_plane.domain.extractors import Extractor
from offline_feature_plane.kernels.instant_texts import read_instants
from offline_feature_plane.kernels.json_kinds import ABSENT, INTEGER, NUMBER, TEXT
from offline_feature_plane.kernels.typed_texts import read_bools, read_decimals, read_integers
from offline_feature_plane.sources.decoding.decoded import Found, mask_array
from offline_feature_plane.sources.decoding.texts import text_column
from offline_feature_plane.sources.decoding.wanted import Int64s

__all__ = ["typed_column", "value_array"]

Bools = npt.NDArray[np.bool_]


def typed_column(field: Field, extracted: Extractor, found: Found, slot: int, rows: Int64s,
                 payload: Callable[[int], Mapping[str, Any]]) -> pa.Array:
    """A field of some records.

    Args:
        field: what is wanted.
        extracted: the law of it, for one payload.
        found: where the batch has the wanted values.
        slot: in which row of it this one.
        rows: records with payloads.
        payload: the payload of a record, for the law.

    Raises:
        OfsError: as `domain.extraction.extract`.
    """
    kinds, starts, ends = found.kinds[slot].take(rows), found.starts[slot].take(rows), found.ends[slot].take(rows)
    if field.type.kind == "string":
        return _texts(field, extracted, found, (kinds, starts, ends), rows, payload)
    values, asks = _numbers(field.type, found, kinds, starts, ends)
    valid = _absent(field, kinds, values, asks)
    for at in np.flatnonzero(asks).tolist():
        value = extracted(payload(int(rows[at])))
        if value is None:
            valid = np.ones(len(rows), np.bool_) if valid is None else valid
            valid[at] = False
        else:
            values[at] = value
    return value_array(values, valid, field.type)


def value_array(values: npt.NDArray[Any], valid: Bools | None, kind: ColumnType) -> pa.Array:
    """Values as `domain.extraction` has them, int64 or float64, as an Arrow array of their type."""
    if kind.kind == "decimal":
        return decimal_array(values, kind, valid)
    held = pa.float64() if kind.kind == "float64" else pa.int64()
    array = pa.Array.from_buffers(held, len(values), [bitmap(valid), pa.py_buffer(np.ascontiguousarray(values))])
    return array.cast(arrow_type(kind))


def _numbers(kind: ColumnType, found: Found, kinds: npt.NDArray[np.int8], starts: Int64s, ends: Int64s) -> tuple[npt.NDArray[Any], Bools]:
    """The values of a type that are plain, and which rows the law must see."""
    asks = np.zeros(len(kinds), np.bool_)
    if kind.kind == "float64":
        return _floats(found, kinds, starts, ends)
    values = np.zeros(len(kinds), np.int64)
    match kind.kind:
        case "bool":
            read_bools(kinds, values, asks)
        case "decimal":
            read_decimals(found.data, kinds, starts, ends, kind.scale, 10**kind.precision, values, asks)
        case "timestamp":
            read_instants(found.data, kinds, starts, ends, values, asks)
        case _:
            bound = min(1 << (int(kind.kind[3:]) - 1), 1 << 62)
            read_integers(found.data, kinds, starts, ends, bound, False, values, asks)  # noqa: FBT003 - kernels have no keywords
    return values, asks


def _floats(found: Found, kinds: npt.NDArray[np.int8], starts: Int64s, ends: Int64s) -> tuple[npt.NDArray[Any], Bools]:
    """Numbers as the nearest doubles; integers that a double may not hold, and what overflows, are for the law."""
    values, asks = np.zeros(len(kinds), np.float64), (kinds != ABSENT) & (kinds != INTEGER) & (kinds != NUMBER)
    rows = np.flatnonzero((kinds == INTEGER) | (kinds == NUMBER))
    try:
        doubles = pc.cast(text_column(found.data, starts[rows], ends[rows]), pa.float64())
    except pa.ArrowInvalid:  # a spelling that only JSON has
        asks[rows] = True
        return values, asks
    read = np.frombuffer(doubles.buffers()[1], np.float64, len(rows), 8 * doubles.offset) + 0.0  # −0.0 becomes 0.0
    values[rows] = read
    asks[rows] = ~np.isfinite(read) | ((kinds[rows] == INTEGER) & (np.abs(read) >= MAX_FLOAT_INTEGER))
    return values, asks


def _absent(field: Field, kinds: npt.NDArray[np.int8], values: npt.NDArray[Any], asks: Bools) -> Bools | None:
    """Let a stand-in, null, or the law answer for what is absent; which values are there, None: all."""
    absent: Bools = kinds == ABSENT
    if not absent.any():
        return None
    if field.missing is not None:
        values[absent] = missing_value(field)
    elif field.nullable:
        return ~absent
    else:
        asks |= absent
    return None


def _texts(field: Field, extracted: Extractor, found: Found, places: tuple[npt.NDArray[np.int8], Int64s, Int64s], rows: Int64s,
           payload: Callable[[int], Mapping[str, Any]]) -> pa.Array:
    kinds, starts, ends = places
    integers = kinds == INTEGER
    if integers.any():
        integers &= found.data.take(starts, mode="clip") != ord("-")  # −0 is written as 0
    plain = (kinds == TEXT) | integers
    absent = kinds == ABSENT
    asks = ~plain & ~absent
    if field.missing is not None or not field.nullable:
        asks |= absent
    column = text_column(found.data, starts, np.where(plain, ends, starts), None if plain.all() else plain)
    if not asks.any():
        return column
    said = [extracted(payload(row)) for row in rows[asks].tolist()]
    return pc.replace_with_mask(column, mask_array(asks), pa.array(said, pa.string()))
