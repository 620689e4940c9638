"""Values in JSON bytes as typed columns: the scalar law of `domain.extraction`, where it is plain.

Each kernel takes the row of what was found for one wanted value (`jsontext.tell`), writes values, and says in `asks` which rows the law
must see: whatever it might refuse, and whatever the kernel does not know. Rows without a value are left to the caller.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from offline_feature_plane.kernels.byte_spans import BYTES, READ_BYTES, put
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.json_kinds import ABSENT, ESCAPED, FALSE, INTEGER, NUMBER, TEXT, TRUE
from offline_feature_plane.kernels.json_texts import decode_text, plain_text
from offline_feature_plane.kernels.slots import BOOLS, INT64S, READ_INT64

__all__ = ["are_sound", "gather", "lay_out", "read_bools", "read_decimals", "read_instants", "read_integers", "same_text", "unescape",
           "write_instants"]

_KINDS = types.int8[::1]
_ZERO, _NINE, _MINUS, _PLUS, _POINT, _COLON, _T, _Z = 48, 57, 45, 43, 46, 58, 84, 90
_LONGEST = 18  # digits that surely fit
_DAY_US = 86_400_000_000
_BAD = np.int64(-(2**63))
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999


@compiled(types.void(READ_BYTES, _KINDS, READ_INT64, READ_INT64, types.int64, types.boolean, INT64S, BOOLS))
def read_integers(data: Any, kinds: Any, starts: Any, ends: Any, bound: Any, strict: Any, values: Any, asks: Any) -> None:
    """Integers, or texts of digits, in [−bound, bound − 1]; `strict`: no sign, no leading zeros."""
    for i in range(kinds.shape[0]):
        kind = kinds[i]
        asks[i] = kind != ABSENT
        if kind not in (INTEGER, TEXT):
            continue
        at, end = starts[i], ends[i]
        negative = at < end and data[at] == _MINUS
        if negative:
            at += 1
        if at == end or end - at > _LONGEST or (strict and (negative or (data[at] == _ZERO and end - at > 1))):
            continue
        value, sound = np.int64(0), True
        for j in range(at, end):
            digit = np.int64(data[j]) - _ZERO
            if digit < 0 or digit > 9:
                sound = False
            value = value * 10 + digit
        if negative:
            value = -value
        if sound and -bound <= value < bound:
            values[i], asks[i] = value, False


@compiled(types.void(READ_BYTES, _KINDS, READ_INT64, READ_INT64, types.int64, types.int64, INT64S, BOOLS))
def read_decimals(data: Any, kinds: Any, starts: Any, ends: Any, scale: Any, bound: Any,  # noqa: C901 - one walk, one kernel
                  values: Any, asks: Any) -> None:
    """Plain decimal numbers or texts, scaled, whose digits all fit and whose value is within ±(bound − 1)."""
    for i in range(kinds.shape[0]):
        kind = kinds[i]
        asks[i] = kind != ABSENT
        if kind not in (INTEGER, NUMBER, TEXT):
            continue
        at, end = starts[i], ends[i]
        negative = at < end and data[at] == _MINUS
        if negative:
            at += 1
        value, digits, point, sound = np.int64(0), 0, np.int64(-1), end > at and end - at <= _LONGEST
        if not sound:
            continue
        for j in range(at, end):
            c = data[j]
            if _ZERO <= c <= _NINE:
                value = value * 10 + (np.int64(c) - _ZERO)
                digits += 1
            elif c == _POINT and point < 0 and j > at and j + 1 < end:
                point = np.int64(j)
            else:
                sound = False
                break
        short = scale - (0 if point < 0 else end - point - 1)
        if not sound or short < 0 or digits + short > _LONGEST:
            continue
        for _ in range(short):
            value *= 10
        if value < bound:
            values[i], asks[i] = -value if negative else value, False


@compiled(types.void(_KINDS, INT64S, BOOLS))
def read_bools(kinds: Any, values: Any, asks: Any) -> None:
    """True and false."""
    for i in range(kinds.shape[0]):
        kind = kinds[i]
        asks[i] = kind not in (ABSENT, TRUE, FALSE)
        values[i] = kind == TRUE


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


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def instant(data: Any, at: Any, end: Any) -> Any:  # noqa: C901, PLR0911 - one walk, one kernel
    """µs of `YYYY-MM-DDThh:mm:ss`, up to six digits of a fraction, and `Z` or an offset; `_BAD` for all else."""
    if end - at < 20 or data[at + 4] != _MINUS or data[at + 7] != _MINUS or data[at + 10] != _T or data[at + 13] != _COLON or (
            data[at + 16] != _COLON):
        return _BAD
    year, month, day = digits(data, at, at + 4), digits(data, at + 5, at + 7), digits(data, at + 8, at + 10)
    hour, minute, second = digits(data, at + 11, at + 13), digits(data, at + 14, at + 16), digits(data, at + 17, at + 19)
    if year < 1 or month < 1 or month > 12 or day < 1 or day > 31 or hour < 0 or hour > 23 or minute < 0 or minute > 59 or (
            second < 0 or second > 59):
        return _BAD
    if day > 28:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        if month == 2 and day > (29 if leap else 28):
            return _BAD
        if day > 30 and month in (4, 6, 9, 11):
            return _BAD
    us = (((day_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000
    at += 19
    if data[at] == _POINT:
        begin = at = at + 1
        while at < end and _ZERO <= data[at] <= _NINE:
            at += 1
        size = at - begin
        if size == 0 or size > 6 or at >= end:
            return _BAD
        fraction = digits(data, begin, at)
        for _ in range(6 - size):
            fraction *= 10
        us += fraction
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


@compiled(types.void(BYTES, types.int64, types.int64, types.int64))
def put_digits(out: Any, at: Any, size: Any, value: Any) -> None:
    """Write a number with leading zeros."""
    for i in range(size - 1, -1, -1):
        out[at + i] = _ZERO + value % 10
        value //= 10


@compiled(types.void(READ_INT64, types.uint8[:, ::1]))
def write_instants(us: Any, out: Any) -> None:
    """The canonical texts of instants of the years 1 to 9999, 27 bytes each."""
    for i in range(us.shape[0]):
        days = us[i] // _DAY_US
        rest = us[i] - days * _DAY_US
        shifted = days + 719_468
        era = shifted // 146_097
        day_of_era = shifted - era * 146_097
        year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
        day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
        month_shifted = (5 * day_of_year + 2) // 153
        day = day_of_year - (153 * month_shifted + 2) // 5 + 1
        month = month_shifted + (3 if month_shifted < 10 else -9)
        year = year_of_era + era * 400 + (month <= 2)
        seconds = rest // 1_000_000
        row = out[i]
        put_digits(row, 0, 4, year)
        put_digits(row, 5, 2, month)
        put_digits(row, 8, 2, day)
        put_digits(row, 11, 2, seconds // 3_600)
        put_digits(row, 14, 2, seconds // 60 % 60)
        put_digits(row, 17, 2, seconds % 60)
        put_digits(row, 20, 6, rest % 1_000_000)
        row[4], row[7], row[10], row[13], row[16], row[19], row[26] = _MINUS, _MINUS, _T, _COLON, _COLON, _POINT, _Z


@compiled(types.int64(READ_INT64, READ_INT64, types.Array(types.int32, 1, "C")))
def lay_out(starts: Any, ends: Any, offsets: Any) -> Any:
    """Where texts end up side by side: `offsets` as Arrow has them; how many bytes that are, −1 if too many."""
    total = np.int64(0)
    offsets[0] = 0
    for i in range(starts.shape[0]):
        total += ends[i] - starts[i]
        if total > 2_147_483_647:
            return -1
        offsets[i + 1] = total
    return total


@compiled(types.void(READ_BYTES, READ_INT64, READ_INT64, BYTES))
def gather(data: Any, starts: Any, ends: Any, out: Any) -> None:
    """Write texts side by side."""
    pos = 0
    for i in range(starts.shape[0]):
        pos = put(data, starts[i], ends[i], out, pos)


@compiled(types.int64(READ_BYTES, _KINDS, INT64S, INT64S, BYTES, types.int64, types.int64))
def unescape(data: Any, kinds: Any, starts: Any, ends: Any, out: Any, pos: Any, shift: Any) -> Any:
    """Write the texts with escapes plainly, from `pos` on, and let their places, `shift` further, stand for them; the place behind."""
    for i in range(kinds.shape[0]):
        if kinds[i] == ESCAPED:
            start = pos
            pos = decode_text(data, starts[i], ends[i], out, pos)
            starts[i], ends[i] = start + shift, pos + shift
    return pos


@compiled(types.void(READ_BYTES, READ_INT64, READ_INT64, READ_BYTES, BOOLS))
def same_text(data: Any, starts: Any, ends: Any, text: Any, same: Any) -> None:
    """Which texts are this one."""
    size = text.shape[0]
    for i in range(starts.shape[0]):
        alike = ends[i] - starts[i] == size
        if alike:
            for j in range(size):
                if data[starts[i] + j] != text[j]:
                    alike = False
                    break
        same[i] = alike


@compiled(types.void(READ_BYTES, READ_INT64, READ_INT64, BOOLS))
def are_sound(data: Any, starts: Any, ends: Any, sound: Any) -> None:
    """Which texts are not empty and stand for themselves in JSON."""
    for i in range(starts.shape[0]):
        sound[i] = ends[i] > starts[i] and plain_text(data, starts[i], ends[i]) == ends[i]
