"""Numbers of JSON, written by their exact value: `"n:<digits>e<exponent>"`, one text per value."""

from __future__ import annotations

from typing import Any

from numba import types

from offline_feature_plane.kernels.byte_spans import BYTES, READ_BYTES, TRIPLE
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.json_kinds import INTEGER, NUMBER

__all__ = ["number"]

_CHARACTERS, _EXPONENT = 300, 6  # digits of an exponent

_QUOTE, _COLON, _MINUS, _PLUS, _POINT, _ZERO, _NINE = 34, 58, 45, 43, 46, 48, 57
_LOWER_E, _UPPER_E, _N = 101, 69, 110


@compiled(types.int64(types.int64, BYTES, types.int64))
def put_integer(value: Any, out: Any, pos: Any) -> Any:
    """Write an integer; the place behind it."""
    if value < 0:
        out[pos] = _MINUS
        pos += 1
        value = -value
    size, rest = 1, value // 10
    while rest:
        size += 1
        rest //= 10
    for i in range(size - 1, -1, -1):
        out[pos + i] = _ZERO + value % 10
        value //= 10
    return pos + size


@compiled(TRIPLE(READ_BYTES, types.int64, types.int64, BYTES, types.int64))
def number(data: Any, at: Any, end: Any, out: Any, pos: Any) -> Any:  # noqa: C901, PLR0912, PLR0915 - one walk, one kernel
    """Write a number as `"n:<digits>e<exponent>"`: the place behind it, or −1; where writing ended; INTEGER or NUMBER."""
    begin, negative = at, data[at] == _MINUS
    if negative:
        at += 1
    whole = at
    while at < end and _ZERO <= data[at] <= _NINE:
        at += 1
    whole_end = at
    if whole_end == whole or (data[whole] == _ZERO and whole_end - whole > 1):
        return -1, pos, 0
    fraction = fraction_end = at
    kind = INTEGER
    if at < end and data[at] == _POINT:
        kind = NUMBER
        at += 1
        fraction = at
        while at < end and _ZERO <= data[at] <= _NINE:
            at += 1
        fraction_end = at
        if fraction_end == fraction:
            return -1, pos, 0
    exponent = 0
    if at < end and (data[at] == _LOWER_E or data[at] == _UPPER_E):
        kind = NUMBER
        at += 1
        down = at < end and data[at] == _MINUS
        if at < end and (data[at] == _MINUS or data[at] == _PLUS):
            at += 1
        digits = at
        while at < end and _ZERO <= data[at] <= _NINE:
            exponent = exponent * 10 + data[at] - 48
            at += 1
            if at - digits > _EXPONENT:
                return -1, pos, 0
        if at == digits:
            return -1, pos, 0
        if down:
            exponent = -exponent
    if at - begin > _CHARACTERS:
        return -1, pos, 0
    out[pos], out[pos + 1], out[pos + 2] = _QUOTE, _N, _COLON
    pos += 3
    start = pos
    if negative:
        out[pos] = _MINUS
        pos += 1
    first = pos
    for i in range(whole, whole_end):
        if data[i] != _ZERO or pos > first:
            out[pos] = data[i]
            pos += 1
    for i in range(fraction, fraction_end):
        if data[i] != _ZERO or pos > first:
            out[pos] = data[i]
            pos += 1
    exponent -= fraction_end - fraction
    while pos > first and out[pos - 1] == _ZERO:
        pos -= 1
        exponent += 1
    if pos == first:  # zero has neither sign nor exponent
        pos = start
        out[pos] = _ZERO
        pos += 1
        exponent = 0
    out[pos] = _LOWER_E
    pos = put_integer(exponent, out, pos + 1)
    out[pos] = _QUOTE
    return at, pos + 1, kind
