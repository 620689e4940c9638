"""Raw columns lowered to plain numbers, many values at a time, by the scalar law of `domain.extraction`.

Whole batches take a vectorised way where it provably gives what the scalar law gives; what that path cannot decide, or would refuse, goes
through the scalar law once per distinct value. Only what that law refuses raises `Suspect`: the reader then lets it name the offender.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.extraction import MAX_FLOAT_INTEGER, convert, missing_value
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US
from offline_feature_plane.errors import OfsError
from offline_feature_plane.wall_clocks import wall_to_utc

Numbers = npt.NDArray[Any]  # int64 or float64, as the field's type says
Valid = npt.NDArray[np.bool_] | None

_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
_REGEX_INTEGER = r"^-?[0-9]{1,18}$"
_REGEX_FLOAT = r"^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,5})?$"
_REGEX_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"


class Suspect(Exception):
    """Something in this batch is refused by the scalar law."""


class _Undecided(Exception):
    """The vectorised way cannot decide."""


def plain(array: pa.Array) -> pa.Array:
    """An array without the dictionaries, views, large texts and small decimals that would only multiply cases."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return plain(array.dictionary_decode())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return array.cast(pa.string())
    if pa.types.is_decimal(kind) and kind.bit_width < 128:
        return array.cast(pa.decimal128(kind.precision, kind.scale))
    return array


def as_numpy(array: pa.Array, kind: Any) -> npt.NDArray[Any]:
    """A fixed-width array without nulls as a view of its buffer (`to_numpy` would import pandas where it is installed)."""
    return np.frombuffer(array.buffers()[1], kind)[array.offset:array.offset + len(array)]


def as_arrow(values: npt.NDArray[np.int64]) -> pa.Array:
    """int64 values as an Arrow array over the same memory (`pa.array` would import pandas)."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def python_values(array: pa.Array) -> list[Any]:
    """Values as the scalar law takes them; times as text, so that no digit and no year is beyond Python."""
    array = plain(array)
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp(array.type.unit, None if array.type.tz is None else "UTC")).cast(pa.string())
    values: list[Any] = array.to_pylist()
    return values


def mask_of(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Where an array holds a value."""
    found: npt.NDArray[np.bool_] = as_numpy(array.is_valid().cast(pa.uint8()), np.uint8).view(np.bool_)
    return found


def lower(raw: pa.Array | list[Any], field: Field, zone: str | None) -> tuple[Numbers, Valid]:
    """Lower a batch of raw values of a field that is not a string.

    Returns:
        int64 (bool, integers, scaled decimals, µs) or float64, and a mask of the values that are there (None: all); other slots hold 0.

    Raises:
        Suspect: a value is refused, or a required one is absent.
    """
    if isinstance(raw, list):
        return _by_scalar_law(raw, field, zone)
    array = plain(raw)
    if array.null_count:
        known, kept = mask_of(array), array.drop_null()
        spread: Numbers = np.zeros(len(array), _dtype(field))
        if len(kept):
            spread[known] = _present(kept, field, zone)
        return stand_in(spread, known, field)
    return (_present(array, field, zone) if len(array) else np.empty(0, _dtype(field))), None


def stand_in(values: Numbers, valid: npt.NDArray[np.bool_], field: Field) -> tuple[Numbers, Valid]:
    """Put the field's `missing:` where nothing is there, or leave it null if it may be. Raises Suspect if it must not be absent."""
    if field.missing is not None:
        value = missing_value(field)
        values[~valid] = value
        return values, None
    if not field.nullable:
        raise Suspect
    return values, valid


def _dtype(field: Field) -> type[np.float64 | np.int64]:
    return np.float64 if field.type.kind == "float64" else np.int64


def _present(array: pa.Array, field: Field, zone: str | None) -> Numbers:
    try:
        return _LOWERERS.get(field.type.kind, _integers)(array, field, zone)
    except (_Undecided, Suspect, pa.ArrowInvalid):
        encoded = array.dictionary_encode()
        values, _ = _by_scalar_law(python_values(encoded.dictionary), field, zone)
        return values.take(as_numpy(encoded.indices, np.int32))


def _by_scalar_law(raw: Sequence[Any], field: Field, zone: str | None) -> tuple[Numbers, Valid]:
    values: Numbers = np.zeros(len(raw), _dtype(field))
    try:
        for row, value in enumerate(raw):
            if value is not None:
                values[row] = convert(value, field.type, field.round, zone, field.name)
    except OfsError as wrong:
        raise Suspect from wrong
    valid = np.fromiter((value is not None for value in raw), np.bool_, len(raw))
    return (values, None) if valid.all() else stand_in(values, valid, field)


def _integers(array: pa.Array, field: Field, zone: str | None) -> Numbers:  # noqa: ARG001 - one signature for all kinds
    values = _whole(array)
    bits = int(field.type.kind[3:])
    if bits < 64 and (values.min() < -(1 << (bits - 1)) or values.max() >= 1 << (bits - 1)):
        raise Suspect
    return values


def _whole(array: pa.Array) -> npt.NDArray[np.int64]:
    """Integers, or text that plainly is one, as int64."""
    if pa.types.is_string(array.type):
        _must_match(array, _REGEX_INTEGER)
    elif not pa.types.is_integer(array.type):
        raise Suspect
    found: npt.NDArray[np.int64] = as_numpy(array.cast(pa.int64()), np.int64)
    return found


def _bools(array: pa.Array, field: Field, zone: str | None) -> Numbers:  # noqa: ARG001 - one signature for all kinds
    if pa.types.is_boolean(array.type):
        return as_numpy(array.cast(pa.uint8()), np.uint8).astype(np.int64)
    if pa.types.is_string(array.type):
        raise _Undecided
    values = _whole(array)
    if values.min() < 0 or values.max() > 1:
        raise Suspect
    return values


def _floats(array: pa.Array, field: Field, zone: str | None) -> Numbers:  # noqa: ARG001 - one signature for all kinds
    kind = array.type
    if pa.types.is_integer(kind):
        whole: npt.NDArray[np.int64] = _whole(array)
        if whole.max() > MAX_FLOAT_INTEGER or whole.min() < -MAX_FLOAT_INTEGER:
            raise Suspect
        return whole.astype(np.float64)
    if pa.types.is_string(kind):
        _must_match(array, _REGEX_FLOAT)
    elif not pa.types.is_floating(kind):
        raise _Undecided
    values: npt.NDArray[np.float64] = as_numpy(array.cast(pa.float64()), np.float64) + 0.0  # −0.0 becomes 0.0
    if not np.isfinite(values).all():
        raise Suspect
    return values


def _decimals(array: pa.Array, field: Field, zone: str | None) -> Numbers:  # noqa: ARG001 - one signature for all kinds
    kind, precision, scale = array.type, field.type.precision, field.type.scale
    if pa.types.is_floating(kind):
        if field.round == "exact":
            raise Suspect
        return _rounded(as_numpy(array.cast(pa.float64()), np.float64), field)
    if pa.types.is_integer(kind):
        whole, bound = _whole(array), 10 ** (precision - scale)
        if whole.max() >= bound or whole.min() <= -bound:
            raise Suspect
        scaled: npt.NDArray[np.int64] = whole * 10**scale
        return scaled
    if pa.types.is_string(kind):
        _must_match(array, rf"^-?[0-9]{{1,{max(precision - scale, 1)}}}" + (rf"(\.[0-9]{{1,{scale}}})?$" if scale else "$"))
    elif not pa.types.is_decimal(kind):
        raise _Undecided
    cast = array.cast(pa.decimal128(38, scale))
    limbs = np.frombuffer(cast.buffers()[1], np.int64)[2 * cast.offset:2 * (cast.offset + len(cast))]
    values: npt.NDArray[np.int64] = limbs[::2].copy()
    if (limbs[1::2] != values >> 63).any() or values.max() >= 10**precision or values.min() <= -(10**precision):
        raise Suspect
    return values


def _rounded(values: npt.NDArray[np.float64], field: Field) -> Numbers:
    """Floats to decimals, half-even of the exact binary value.

    The product with 10^s is off by at most half a unit of its last place, so rounding it is right unless it is that close to a tie.
    """
    if not np.isfinite(values).all() or (np.abs(values) >= 10.0 ** (field.type.precision - field.type.scale) * (1 + 1e-9)).any():
        raise Suspect
    scaled = values * 10.0**field.type.scale
    rounded = np.rint(scaled)
    unsafe = (np.abs(np.abs(scaled - rounded) - 0.5) <= 2 * np.spacing(np.abs(scaled))) | (np.abs(scaled) >= 2.0**52)
    found = np.where(unsafe, 0.0, rounded).astype(np.int64)
    if unsafe.any():
        exact, _ = _by_scalar_law(values[unsafe].tolist(), field, None)
        found[unsafe] = exact
    bound = 10**field.type.precision
    if found.max() >= bound or found.min() <= -bound:
        raise Suspect
    return found


def _instants(array: pa.Array, field: Field, zone: str | None) -> Numbers:  # noqa: ARG001 - one signature for all kinds
    kind = array.type
    if pa.types.is_string(kind):
        zulu = bool(pc.all(pc.match_substring_regex(array, _REGEX_TIME + "Z$")).as_py())
        if not zulu:
            _must_match(array, _REGEX_TIME + "$")
        local = as_numpy((pc.utf8_slice_codeunits(array, 0, -1) if zulu else array).cast(pa.timestamp("us")), np.int64)
        return _within(local if zulu else _to_utc(_within(local), zone))
    if not pa.types.is_timestamp(kind):
        raise Suspect
    ticks = as_numpy(array, np.int64) if kind.unit != "ns" else _from_nanoseconds(array)
    per = _PER_UNIT.get(kind.unit, 1)
    if ticks.min() < -(2**62 // per) or ticks.max() > 2**62 // per:
        raise Suspect
    values = _within(ticks * per if per > 1 else ticks)
    return values if kind.tz else _within(_to_utc(values, zone))


def _within(us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if us.min() < EARLIEST_US or us.max() > LATEST_US:
        raise Suspect
    return us


def _from_nanoseconds(array: pa.Array) -> npt.NDArray[np.int64]:
    ticks: npt.NDArray[np.int64] = as_numpy(array, np.int64)
    whole, rest = ticks // 1_000, ticks % 1_000
    if rest.any():
        raise Suspect
    return whole


def _to_utc(local: npt.NDArray[np.int64], zone: str | None) -> npt.NDArray[np.int64]:
    """Wall-clock readings of a zone as instants; readings that occur twice or never are suspect."""
    if zone is None:
        raise Suspect
    instants, doubted = wall_to_utc(local, zone)
    if doubted.any():
        raise Suspect
    return instants


_LOWERERS: dict[str, Callable[[pa.Array, Field, str | None], Numbers]] = {
    "bool": _bools, "float64": _floats, "decimal": _decimals, "timestamp": _instants}


def _must_match(array: pa.Array, pattern: str) -> None:
    if not pc.all(pc.match_substring_regex(array, pattern)).as_py():
        raise _Undecided
