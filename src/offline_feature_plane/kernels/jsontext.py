"""JSON bytes read and told in one pass: the value of `domain.identity.told_bytes` where nothing is unusual.

```
   {"b": 1.50, "a": "x"}   ──tell──▶   {"a":"s:x","b":"n:15e-1"}      and the places of what was wanted, for typing
```

A kernel here vouches for what it gives and for nothing else: a key with escapes or beyond ASCII, a half surrogate, a key that comes
twice, a number of hundreds of digits, deep nesting, and whatever is no JSON, all give −1, and the caller asks the law. Equality is a law
with a test.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.json_kinds import ABSENT, ESCAPED, FALSE, INTEGER, NUMBER, OTHER, TEXT, TRUE
from offline_feature_plane.kernels.slots import INT64S, READ_INT64

__all__ = ["BYTES", "INT64_ROWS", "KINDS", "MEMBERS", "READ_BYTES", "STACK", "decode_text", "number", "plain_text", "skip_space", "tell"]

READ_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
BYTES = types.uint8[::1]
INT64_ROWS = types.int64[:, ::1]
KINDS = types.int8[:, ::1]
_tuple: Any = types.UniTuple
PAIR, TRIPLE = _tuple(types.int64, 2), _tuple(types.int64, 3)

STACK = 32          # levels of nesting
MEMBERS = 2_048     # of all objects that are open at once
_SORTED = 256       # members of one object that are put in order
_NUMBER = 300       # characters
_EXPONENT = 6       # digits

_QUOTE, _BACKSLASH, _COMMA, _COLON, _MINUS, _PLUS, _POINT, _SLASH = 34, 92, 44, 58, 45, 43, 46, 47
_ZERO, _NINE, _OPEN, _CLOSE, _BEGIN, _STOP = 48, 57, 123, 125, 91, 93
_LOWER_E, _UPPER_E, _N, _S, _T, _F, _U = 101, 69, 110, 115, 116, 102, 117


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def skip_space(data: Any, at: Any, end: Any) -> Any:
    """The first place from `at` on that is no white space of JSON."""
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def rune(data: Any, at: Any, end: Any) -> Any:
    """How many bytes the character beyond ASCII at `at` has in well-formed UTF-8; 0 if it is none."""
    lead = data[at]
    if 0xC2 <= lead <= 0xDF:
        size = 2
    elif 0xE0 <= lead <= 0xEF:
        size = 3
    elif 0xF0 <= lead <= 0xF4:
        size = 4
    else:
        return 0
    if at + size > end:
        return 0
    for i in range(1, size):
        if data[at + i] & 0xC0 != 0x80:
            return 0
    second = data[at + 1]
    if (lead == 0xE0 and second < 0xA0) or (lead == 0xED and second > 0x9F) or (lead == 0xF0 and second < 0x90) or (
            lead == 0xF4 and second > 0x8F):
        return 0
    return size


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def plain_text(data: Any, at: Any, end: Any) -> Any:
    """Where a text ends whose bytes stand for themselves in JSON: before the first quote, backslash or control character; −1: no UTF-8."""
    while at < end:
        c = data[at]
        if c < 32 or c in (_QUOTE, _BACKSLASH):
            return at
        if c < 128:
            at += 1
        else:
            size = rune(data, at, end)
            if size == 0:
                return -1
            at += size
    return at


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def hex4(data: Any, at: Any, end: Any) -> Any:
    """The number that four hexadecimal digits stand for; −1 if they are none."""
    if at + 4 > end:
        return -1
    code = 0
    for i in range(4):
        c = data[at + i]
        if _ZERO <= c <= _NINE:
            code = code * 16 + c - 48
        elif 97 <= c <= 102:
            code = code * 16 + c - 87
        elif 65 <= c <= 70:
            code = code * 16 + c - 55
        else:
            return -1
    return code


@compiled(types.int64(types.int64, BYTES, types.int64))
def put_rune(code: Any, out: Any, pos: Any) -> Any:
    """Write a character of the basic plane as UTF-8; the place behind it."""
    if code < 0x80:
        out[pos] = code
        return pos + 1
    if code < 0x800:
        out[pos], out[pos + 1] = 0xC0 | code >> 6, 0x80 | code & 0x3F
        return pos + 2
    out[pos], out[pos + 1], out[pos + 2] = 0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F
    return pos + 3


@compiled(types.int64(types.int64, BYTES, types.int64))
def put_escaped(code: Any, out: Any, pos: Any) -> Any:
    """Write a character that came by its number in its canonical spelling; the place behind it."""
    if code in (_QUOTE, _BACKSLASH):
        out[pos], out[pos + 1] = _BACKSLASH, code
        return pos + 2
    if code >= 32:
        return put_rune(code, out, pos)
    out[pos] = _BACKSLASH
    short = 0
    if code == 8:
        short = 98
    elif code == 9:
        short = _T
    elif code == 10:
        short = _N
    elif code == 12:
        short = _F
    elif code == 13:
        short = 114
    if short:
        out[pos + 1] = short
        return pos + 2
    digit = code & 15
    out[pos + 1], out[pos + 2], out[pos + 3], out[pos + 4] = _U, _ZERO, _ZERO, _ZERO + (code >> 4)
    out[pos + 5] = digit + (48 if digit < 10 else 87)
    return pos + 6


@compiled(PAIR(READ_BYTES, types.int64, types.int64, BYTES, types.int64))
def tell_text(data: Any, at: Any, end: Any, out: Any, pos: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 - one walk, one kernel
    """Write what follows an opening quote canonically, up to the closing one; the place behind that, or −1, and where writing ended."""
    while at < end:
        c = data[at]
        if c == _QUOTE:
            return at + 1, pos
        if c < 32:
            return -1, pos
        if c == _BACKSLASH:
            if at + 1 >= end:
                return -1, pos
            e = data[at + 1]
            if e == _U:
                code = hex4(data, at + 2, end)
                if code < 0 or 0xD800 <= code <= 0xDFFF:
                    return -1, pos
                pos = put_escaped(code, out, pos)
                at += 6
                continue
            if e == _SLASH:
                out[pos] = _SLASH
                pos += 1
            elif e in (_QUOTE, _BACKSLASH, 98, _F, _N, 114, _T):
                out[pos], out[pos + 1] = _BACKSLASH, e
                pos += 2
            else:
                return -1, pos
            at += 2
        elif c < 128:
            out[pos] = c
            pos += 1
            at += 1
        else:
            size = rune(data, at, end)
            if size == 0:
                return -1, pos
            for i in range(size):
                out[pos + i] = data[at + i]
            pos += size
            at += size
    return -1, pos


@compiled(types.int64(READ_BYTES, types.int64, types.int64, BYTES, types.int64))
def decode_text(data: Any, at: Any, end: Any, out: Any, pos: Any) -> Any:
    """Write the characters that the inside of a sound JSON text stands for; the place behind them."""
    while at < end:
        c = data[at]
        if c != _BACKSLASH:
            out[pos] = c
            pos += 1
            at += 1
            continue
        e = data[at + 1]
        if e == _U:
            pos = put_rune(hex4(data, at + 2, end), out, pos)
            at += 6
            continue
        if e == 98:
            e = np.uint8(8)
        elif e == _F:
            e = np.uint8(12)
        elif e == _N:
            e = np.uint8(10)
        elif e == 114:
            e = np.uint8(13)
        elif e == _T:
            e = np.uint8(9)
        out[pos] = e
        pos += 1
        at += 2
    return pos


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
    if at - begin > _NUMBER:
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


@compiled(types.int64(READ_BYTES, types.int64, types.int64, READ_BYTES, types.int64, types.int64))
def compared(data: Any, start: Any, end: Any, other: Any, other_start: Any, other_end: Any) -> Any:
    """Below, equal to or above 0 as some bytes are below, equal to or above others."""
    size, other_size = end - start, other_end - other_start
    for i in range(min(size, other_size)):
        difference = np.int64(data[start + i]) - np.int64(other[other_start + i])
        if difference:
            return difference
    return size - other_size


@compiled(types.int64(READ_BYTES, INT64_ROWS, INT64S, types.int64, types.int64, BYTES, types.int64))
def put_in_order(data: Any, members: Any, order: Any, first: Any, top: Any, out: Any,  # noqa: C901, PLR0912 - one walk, one kernel
                 pos: Any) -> Any:
    """Sort the members `first … top − 1` of an object by key, and so their texts, which end at `pos`; 0, or −1 if a key comes twice."""
    ascending = True
    for i in range(first + 1, top):
        difference = compared(data, members[i - 1, 0], members[i - 1, 1], data, members[i, 0], members[i, 1])
        if difference == 0:
            return -1
        if difference > 0:
            ascending = False
            break
    if ascending:
        return 0
    count = top - first
    if count > _SORTED:
        return -1
    for i in range(count):
        at = i
        while at > 0:
            before = first + order[at - 1]
            difference = compared(data, members[before, 0], members[before, 1], data, members[first + i, 0], members[first + i, 1])
            if difference == 0:
                return -1
            if difference < 0:
                break
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
    start, scratch = members[first, 2], pos
    for i in range(count):
        one = first + order[i]
        stop = members[one + 1, 2] - 1 if one + 1 < top else pos
        if i:
            out[scratch] = _COMMA
            scratch += 1
        for j in range(members[one, 2], stop):
            out[scratch] = out[j]
            scratch += 1
    for j in range(pos - start):
        out[start + j] = out[pos + j]
    return 0


@compiled(types.int64(READ_BYTES, types.int64, types.int64, types.int64, READ_INT64, READ_BYTES, READ_INT64))
def child_of(data: Any, start: Any, end: Any, node: Any, edges: Any, keys: Any, bounds: Any) -> Any:
    """Which node the key of a member leads to from a node; −1 if nothing there is wanted. Edges are (node, child) pairs, keys beside."""
    for i in range(bounds.shape[0] - 1):
        if edges[2 * i] == node and bounds[i + 1] - bounds[i] == end - start and compared(
                data, start, end, keys, bounds[i], bounds[i + 1]) == 0:
            return edges[2 * i + 1]
    return -1


@compiled(PAIR(READ_BYTES, types.int64, types.int64, types.int64, READ_INT64, READ_BYTES, READ_INT64, READ_INT64, BYTES, types.int64,
               INT64_ROWS, INT64_ROWS, INT64S, KINDS, INT64_ROWS, INT64_ROWS, types.int64))
def tell(data: Any, at: Any, end: Any, node: Any, edges: Any, keys: Any, bounds: Any,  # noqa: C901, PLR0911, PLR0912, PLR0915 - one walk
         slots: Any, out: Any, pos: Any, stack: Any, members: Any, order: Any, kinds: Any, starts: Any, ends: Any, row: Any) -> Any:
    """Write the value at `at`: the place behind it, or −1, and where writing ended.

    `out` has room for four bytes of each byte that is read, twice; `node` is where wanted paths begin, −1: nothing is wanted. What is
    found for a slot stands in its row of `kinds`, `starts` and `ends`, in the column `row`; texts without their quotes.
    """
    depth, top = 0, 0
    while True:
        at = skip_space(data, at, end)  # a value begins here
        if at >= end:
            return -1, pos
        c = data[at]
        slot = slots[node] if node >= 0 else -1
        begin, kind = at, ABSENT
        opened = False
        if c == _QUOTE:
            out[pos], out[pos + 1], out[pos + 2] = _QUOTE, _S, _COLON
            written = pos + 3
            at, pos = tell_text(data, at + 1, end, out, written)
            if at < 0:
                return -1, pos
            out[pos] = _QUOTE
            pos += 1
            if slot >= 0:
                kind = ESCAPED if plain_text(data, begin + 1, at - 1) != at - 1 else TEXT
                kinds[slot, row], starts[slot, row], ends[slot, row] = kind, begin + 1, at - 1
        elif c == _MINUS or _ZERO <= c <= _NINE:
            at, pos, kind = number(data, at, end, out, pos)
            if at < 0:
                return -1, pos
            if slot >= 0:
                kinds[slot, row], starts[slot, row], ends[slot, row] = kind, begin, at
        elif c in (_OPEN, _BEGIN):
            if depth == STACK:
                return -1, pos
            if slot >= 0:
                kinds[slot, row] = OTHER
            stack[depth, 0], stack[depth, 1], stack[depth, 2] = c, node, top
            depth += 1
            out[pos] = c
            pos += 1
            at += 1
            opened = True
        else:
            size = 0
            if c == _T and end - at >= 4 and data[at + 1] == 114 and data[at + 2] == _U and data[at + 3] == _LOWER_E:
                size, kind = 4, TRUE
            elif c == _F and end - at >= 5 and data[at + 1] == 97 and data[at + 2] == 108 and data[at + 3] == _S and (
                    data[at + 4] == _LOWER_E):
                size, kind = 5, FALSE
            elif c == _N and end - at >= 4 and data[at + 1] == _U and data[at + 2] == 108 and data[at + 3] == 108:
                size = 4
            if size == 0:
                return -1, pos
            for i in range(size):
                out[pos + i] = data[at + i]
            pos += size
            at += size
            if slot >= 0:
                kinds[slot, row] = kind
        while True:  # what follows: containers close until one goes on
            if depth == 0:
                return at, pos
            at = skip_space(data, at, end)
            if at >= end:
                return -1, pos
            c = data[at]
            is_object = stack[depth - 1, 0] == _OPEN
            if c == (_CLOSE if is_object else _STOP):
                depth -= 1
                if is_object:
                    first = stack[depth, 2]
                    if put_in_order(data, members, order, first, top, out, pos) < 0:
                        return -1, pos
                    top = first
                out[pos] = c
                pos += 1
                at += 1
                opened = False
                continue
            if not opened:
                if c != _COMMA:
                    return -1, pos
                out[pos] = _COMMA
                pos += 1
                at += 1
            node = -1
            if is_object:
                at = skip_space(data, at, end)
                if at >= end or data[at] != _QUOTE or top == MEMBERS:
                    return -1, pos
                key = at + 1
                at = key
                while at < end and data[at] != _QUOTE and data[at] != _BACKSLASH and 32 <= data[at] < 128:
                    at += 1
                if at >= end or data[at] != _QUOTE:
                    return -1, pos
                members[top, 0], members[top, 1], members[top, 2] = key, at, pos
                top += 1
                for i in range(key - 1, at + 1):
                    out[pos] = data[i]
                    pos += 1
                out[pos] = _COLON
                pos += 1
                if stack[depth - 1, 1] >= 0:
                    node = child_of(data, key, at, stack[depth - 1, 1], edges, keys, bounds)
                at = skip_space(data, at + 1, end)
                if at >= end or data[at] != _COLON:
                    return -1, pos
                at += 1
            break
