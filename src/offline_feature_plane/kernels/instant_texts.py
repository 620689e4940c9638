"""Times as texts: instants read and written, and what a calendar or a clock on the wall shows (`domain.instants`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from offline_feature_plane.kernels.byte_spans import PAIR, READ_BYTES
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.json_kinds import ABSENT, TEXT
from offline_feature_plane.kernels.slots import BOOLS, INT64S, READ_INT64

__all__ = ["read_instants", "read_walls", "write_clocks", "write_dates", "write_instants", "write_walls"]

_KINDS = types.int8[::1]
_TEXTS = types.uint8[:, ::1]
_ROW = types.uint8[::1]
_ZERO, _NINE, _MINUS, _PLUS, _POINT, _COLON, _T, _Z = 48, 57, 45, 43, 46, 58, 84, 90
_DAY_US = 86_400_000_000
_BAD = np.int64(-(2**63))
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def digits(data: Any, at: Any, end: Any) -> Any:
    """The number that some bytes spell; −1 if one of them is no digit."""
    value = np.int64(0)
    for i in range(at, end):
        digit = np.int64(data[i]) - _ZERO
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@compiled(types.int64(types.int64, types.int64, types.int64))
def day_of(year: Any, month: Any, day: Any) -> Any:
    """Days since 1970-01-01, of the Gregorian calendar."""
    year -= month <= 2
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


@compiled(PAIR(READ_BYTES, types.int64, types.int64))
def wall(data: Any, at: Any, end: Any) -> Any:
    """µs of `YYYY-MM-DDThh:mm:ss` and up to six digits of a fraction, and the place behind; `_BAD` for all else."""
    if end - at < 19 or data[at + 4] != _MINUS or data[at + 7] != _MINUS or data[at + 13] != _COLON or data[at + 16] != _COLON:
        return _BAD, at
    year, month, day = digits(data, at, at + 4), digits(data, at + 5, at + 7), digits(data, at + 8, at + 10)
    hour, minute, second = digits(data, at + 11, at + 13), digits(data, at + 14, at + 16), digits(data, at + 17, at + 19)
    if year < 1 or month < 1 or month > 12 or day < 1 or day > 31 or hour < 0 or hour > 23 or minute < 0 or minute > 59 or (
            second < 0 or second > 59):
        return _BAD, at
    if day > 28:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        if month == 2 and day > (29 if leap else 28):
            return _BAD, at
        if day > 30 and month in (4, 6, 9, 11):
            return _BAD, at
    us = (((day_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000
    at += 19
    if at < end and data[at] == _POINT:
        begin = at = at + 1
        while at < end and _ZERO <= data[at] <= _NINE:
            at += 1
        size = at - begin
        if size == 0 or size > 6:
            return _BAD, at
        fraction = digits(data, begin, at)
        for _ in range(6 - size):
            fraction *= 10
        us += fraction
    return us, at


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def instant(data: Any, at: Any, end: Any) -> Any:
    """µs of what `wall` reads, with a `T`, and `Z` or an offset; `_BAD` for all else."""
    if end - at < 20 or data[at + 10] != _T:
        return _BAD
    us, at = wall(data, at, end)
    if us == _BAD or at >= end:
        return _BAD
    if data[at] == _Z:
        return us if at + 1 == end else _BAD
    if end - at != 6 or (data[at] != _PLUS and data[at] != _MINUS) or data[at + 3] != _COLON:
        return _BAD
    hours, minutes = digits(data, at + 1, at + 3), digits(data, at + 4, at + 6)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return _BAD
    shift = (hours * 60 + minutes) * 60_000_000
    us = us - shift if data[at] == _PLUS else us + shift
    return us if _FIRST_US <= us <= _LAST_US else _BAD


@compiled(types.void(READ_BYTES, _KINDS, READ_INT64, READ_INT64, INT64S, BOOLS))
def read_instants(data: Any, kinds: Any, starts: Any, ends: Any, values: Any, asks: Any) -> None:
    """Texts of instants with an offset as µs."""
    for i in range(kinds.shape[0]):
        asks[i] = kinds[i] != ABSENT
        if kinds[i] == TEXT:
            us = instant(data, starts[i], ends[i])
            if us != _BAD:
                values[i], asks[i] = us, False


@compiled(types.void(READ_BYTES, _KINDS, READ_INT64, READ_INT64, INT64S, BOOLS, BOOLS))
def read_walls(data: Any, kinds: Any, starts: Any, ends: Any, values: Any, asks: Any, walls: Any) -> None:
    """Of the texts that still are asked for those without an offset, as µs on a wall; where this answers, `walls` says so."""
    for i in range(kinds.shape[0]):
        walls[i] = False
        if asks[i] and kinds[i] == TEXT and ends[i] - starts[i] >= 19 and data[starts[i] + 10] in (_T, 32):
            us, at = wall(data, starts[i], ends[i])
            if us != _BAD and at == ends[i]:
                values[i], asks[i], walls[i] = us, False, True


@compiled(types.void(_ROW, types.int64, types.int64, types.int64))
def put_digits(out: Any, at: Any, size: Any, value: Any) -> None:
    """Write a number with leading zeros."""
    for i in range(size - 1, -1, -1):
        out[at + i] = _ZERO + value % 10
        value //= 10


@compiled(types.void(_ROW, types.int64))
def put_date(out: Any, days: Any) -> None:
    """Write the date that lies some days after 1970-01-01, ten characters."""
    shifted = days + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_shifted = (5 * day_of_year + 2) // 153
    month = month_shifted + (3 if month_shifted < 10 else -9)
    put_digits(out, 0, 4, year_of_era + era * 400 + (month <= 2))
    put_digits(out, 5, 2, month)
    put_digits(out, 8, 2, day_of_year - (153 * month_shifted + 2) // 5 + 1)
    out[4] = out[7] = _MINUS


@compiled(types.int64(_ROW, types.int64, types.int64, types.boolean))
def put_clock(out: Any, at: Any, us: Any, always: Any) -> Any:
    """Write a time of day; its fraction only if there is one, or always. The place behind it."""
    seconds, fraction = us // 1_000_000, us % 1_000_000
    put_digits(out, at, 2, seconds // 3_600)
    put_digits(out, at + 3, 2, seconds // 60 % 60)
    put_digits(out, at + 6, 2, seconds % 60)
    out[at + 2] = out[at + 5] = _COLON
    if fraction == 0 and not always:
        return at + 8
    out[at + 8] = _POINT
    put_digits(out, at + 9, 6, fraction)
    return at + 15


@compiled(types.void(READ_INT64, _TEXTS))
def write_instants(us: Any, out: Any) -> None:
    """The canonical texts of instants of the years 1 to 9999, 27 bytes each."""
    for i in range(us.shape[0]):
        days = us[i] // _DAY_US
        row = out[i]
        put_date(row, days)
        put_clock(row, 11, us[i] - days * _DAY_US, True)  # noqa: FBT003 - kernels have no keywords
        row[10], row[26] = _T, _Z


@compiled(types.void(READ_INT64, _TEXTS, INT64S))
def write_walls(us: Any, out: Any, sizes: Any) -> None:
    """Readings of a wall in the years 1 to 9999, up to 26 bytes each: `YYYY-MM-DDThh:mm:ss`, and six digits if there is a fraction."""
    for i in range(us.shape[0]):
        days = us[i] // _DAY_US
        row = out[i]
        put_date(row, days)
        row[10] = _T
        sizes[i] = put_clock(row, 11, us[i] - days * _DAY_US, False)  # noqa: FBT003 - kernels have no keywords


@compiled(types.void(READ_INT64, _TEXTS))
def write_dates(days: Any, out: Any) -> None:
    """Dates of the years 1 to 9999, ten bytes each."""
    for i in range(days.shape[0]):
        put_date(out[i], days[i])


@compiled(types.void(READ_INT64, _TEXTS, INT64S))
def write_clocks(us: Any, out: Any, sizes: Any) -> None:
    """Times of day, up to 15 bytes each: `hh:mm:ss`, and six digits if there is a fraction."""
    for i in range(us.shape[0]):
        sizes[i] = put_clock(out[i], 0, us[i], False)  # noqa: FBT003 - kernels have no keywords
