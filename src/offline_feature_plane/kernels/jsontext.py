"""JSON bytes read and told in one pass: the value of `domain.identity.told_bytes` where nothing is unusual.

```
   {"b": 1.50, "a": "x"}   ──tell──▶   {"a":"s:x","b":"n:15e-1"}      and the places of what was wanted, for typing
```

A kernel here vouches for what it gives and for nothing else: a key with escapes or beyond U+D7FF, a half surrogate, a key that comes
twice, a number of hundreds of digits, deep nesting, and whatever is no JSON, all give −1, and the caller asks the law. Equality is a law
with a test.
"""

from __future__ import annotations

from typing import Any

from numba import types

from offline_feature_plane.kernels.byte_spans import BYTES, INT64_ROWS, KINDS, PAIR, READ_BYTES, put
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.json_kinds import ABSENT, ESCAPED, FALSE, OTHER, TEXT, TRUE
from offline_feature_plane.kernels.json_members import child_of, put_in_order
from offline_feature_plane.kernels.json_numbers import number
from offline_feature_plane.kernels.json_texts import key_end, plain_text, tell_text
from offline_feature_plane.kernels.slots import INT64S, READ_INT64

__all__ = ["MEMBERS", "STACK", "skip_space", "tell"]

STACK = 32          # levels of nesting
MEMBERS = 2_048     # of all objects that are open at once

_QUOTE, _COMMA, _COLON, _MINUS, _ZERO, _NINE = 34, 44, 58, 45, 48, 57
_OPEN, _CLOSE, _BEGIN, _STOP = 123, 125, 91, 93
_LOWER_E, _N, _S, _T, _F, _U = 101, 110, 115, 116, 102, 117


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def skip_space(data: Any, at: Any, end: Any) -> Any:
    """The first place from `at` on that is no white space of JSON."""
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@compiled(PAIR(READ_BYTES, types.int64, types.int64, types.int64, READ_INT64, READ_BYTES, READ_INT64, READ_INT64, BYTES, types.int64,
               INT64_ROWS, INT64_ROWS, INT64S, KINDS, INT64_ROWS, INT64_ROWS, types.int64))
def tell(data: Any, at: Any, end: Any, node: Any, edges: Any, keys: Any, bounds: Any,  # noqa: C901, PLR0911, PLR0912, PLR0915 - one walk
         slots: Any, out: Any, pos: Any, stack: Any, members: Any, order: Any, kinds: Any, starts: Any, ends: Any, row: Any) -> Any:
    """Write the value at `at`: the place behind it, or −1, and where writing ended.

    `out` has room for four bytes of each byte that is read, twice; `node` is where wanted paths begin, −1: nothing is wanted. What is
    found for a slot stands in its row of `kinds`, `starts` and `ends`, in the column `row`; texts without their quotes, containers whole.
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
                kinds[slot, row], starts[slot, row] = OTHER, begin
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
            pos = put(data, at, at + size, out, pos)
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
                if stack[depth, 1] >= 0 and slots[stack[depth, 1]] >= 0:
                    ends[slots[stack[depth, 1]], row] = at
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
                at = key_end(data, key, end)
                if at >= end:
                    return -1, pos
                members[top, 0], members[top, 1], members[top, 2] = key, at, pos
                top += 1
                pos = put(data, key - 1, at + 1, out, pos)
                out[pos] = _COLON
                pos += 1
                if stack[depth - 1, 1] >= 0:
                    node = child_of(data, key, at, stack[depth - 1, 1], edges, keys, bounds)
                at = skip_space(data, at + 1, end)
                if at >= end or data[at] != _COLON:
                    return -1, pos
                at += 1
            break
