"""JSON documents of other tools: their members found by path, and the payload told that they have, or are.

```
 {"offset": 7, "value": {"b": 1, "a": "x"}}      the payload a member      ──▶  {"a":"s:x","b":"n:1e0"}
 {"offset": 7, "b": 1, "a": "x", "c": null}      the payload all the rest  ──▶  {"a":"s:x","b":"n:1e0"}
```
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from offline_feature_plane.kernels.byte_spans import BYTES, INT64_ROWS, KINDS, READ_BYTES, compared, put
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.json_members import child_of
from offline_feature_plane.kernels.json_texts import key_end
from offline_feature_plane.kernels.jsontext import skip_space, tell
from offline_feature_plane.kernels.slots import BOOLS, INT64S, READ_INT64

__all__ = ["are_blank", "read_mapped"]

_MEMBERS = 512  # of one document
_QUOTE, _COMMA, _COLON, _OPEN, _CLOSE, _N = 34, 44, 58, 123, 125, 110
_STATUS = types.uint8[::1]
_READ_FLAGS = types.Array(types.boolean, 1, "C", readonly=True)


@compiled(types.void(READ_BYTES, READ_INT64, READ_INT64, BOOLS))
def are_blank(data: Any, begins: Any, stops: Any, blank: Any) -> None:
    """Which lines hold nothing but white space."""
    for i in range(begins.shape[0]):
        at = begins[i]
        while at < stops[i] and (data[at] == 32 or 9 <= data[at] <= 13):
            at += 1
        blank[i] = at == stops[i]


@compiled(types.int64(READ_BYTES, types.int64, types.int64, READ_BYTES, READ_INT64))
def which_name(data: Any, start: Any, end: Any, names: Any, bounds: Any) -> Any:
    """Which of some names a key is; −1: none."""
    for i in range(bounds.shape[0] - 1):
        if bounds[i + 1] - bounds[i] == end - start and compared(data, start, end, names, bounds[i], bounds[i + 1]) == 0:
            return i
    return -1


@compiled(types.int64(READ_BYTES, INT64_ROWS, types.int64, INT64S))
def put_in_line(data: Any, members: Any, top: Any, order: Any) -> Any:
    """Let the member `top` take its place in the order of keys; −1: there is one of this key."""
    at = top
    while at > 0:
        before = order[at - 1]
        difference = compared(data, members[before, 0], members[before, 1], data, members[top, 0], members[top, 1])
        if difference == 0:
            return -1
        if difference < 0:
            break
        order[at] = before
        at -= 1
    order[at] = top
    return 0


@compiled(types.void(READ_BYTES, READ_INT64, READ_INT64, READ_BYTES, READ_INT64, types.boolean, READ_INT64, READ_BYTES, READ_INT64,
                     READ_INT64, BYTES, INT64_ROWS, INT64_ROWS, INT64S, KINDS, INT64_ROWS, INT64_ROWS, INT64S, INT64S, _STATUS))
def read_mapped(data: Any, begins: Any, stops: Any, names: Any, name_bounds: Any, takes_rest: Any,  # noqa: C901, PLR0912, PLR0915 - one walk
                edges: Any, keys: Any, bounds: Any, slots: Any, out: Any, stack: Any, members: Any, order: Any, kinds: Any, starts: Any,
                ends: Any, told: Any, told_ends: Any, status: Any) -> None:
    """Find the wanted values of every document, and tell its payload to `out[told … told_ends]`.

    With `takes_rest` the payload is every member that is not null and has none of the `names`; else the member that has the only one of
    them. The others are as in `jsontext.tell`, for the document as a whole.
    """
    mine, line = np.empty((_MEMBERS, 5), np.int64), np.empty(_MEMBERS, np.int64)  # key, what was told, whether it is of the payload
    pos = 0
    for row in range(begins.shape[0]):
        status[row] = 1
        end, here, top, is_sound = stops[row], pos, 0, False
        told[row] = told_ends[row] = here
        at = skip_space(data, begins[row], end)
        if at >= end or data[at] != _OPEN:
            continue
        at = skip_space(data, at + 1, end)
        if at < end and data[at] == _CLOSE:
            continue
        while top < _MEMBERS and at < end and data[at] == _QUOTE:
            key = at + 1
            at = key_end(data, key, end)
            if at >= end:
                break
            mine[top, 0], mine[top, 1], mine[top, 2] = key, at, pos
            if put_in_line(data, mine, top, line) < 0:
                break
            is_named = which_name(data, key, at, names, name_bounds) >= 0
            node = child_of(data, key, at, 0, edges, keys, bounds)
            at = skip_space(data, at + 1, end)
            if at >= end or data[at] != _COLON:
                break
            at = skip_space(data, at + 1, end)
            is_null = at < end and data[at] == _N
            at, pos = tell(data, at, end, node, edges, keys, bounds, slots, out, pos, stack, members, order, kinds, starts, ends, row)
            if at < 0:
                break
            mine[top, 3] = pos
            mine[top, 4] = not is_null and is_named != takes_rest
            top += 1
            at = skip_space(data, at, end)
            if at >= end:
                break
            if data[at] == _CLOSE:
                is_sound = skip_space(data, at + 1, end) == end
                break
            if data[at] != _COMMA:
                break
            at = skip_space(data, at + 1, end)
        written = pos
        if is_sound and takes_rest:
            out[written] = _OPEN
            written += 1
        for i in range(top if is_sound else 0):
            one = line[i]
            if not mine[one, 4]:
                continue
            if takes_rest:
                if written > pos + 1:
                    out[written] = _COMMA
                    written += 1
                written = put(data, mine[one, 0] - 1, mine[one, 1] + 1, out, written)
                out[written] = _COLON
                written += 1
            written = put(out, mine[one, 2], mine[one, 3], out, written)
        if is_sound and takes_rest:
            out[written] = _CLOSE
            written += 1
        pos = put(out, pos, written, out, here)
        if is_sound:
            told_ends[row] = pos
            status[row] = 0
