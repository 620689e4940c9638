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

__all__ = ["are_sound", "gather", "lay_out", "read_bools", "read_decimals", "read_integers", "same_text", "unescape"]

_KINDS = types.int8[::1]
_ZERO, _NINE, _MINUS, _POINT = 48, 57, 45, 46
_LONGEST = 18  # digits that surely fit


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
