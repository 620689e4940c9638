r"""Records written as they are archived: the bytes of `domain.record_texts` for whole batches, where nothing is unusual.

```
   {"b": 1.50, "a": "\u00e9"}   ──compact──▶   {"b":1.50,"a":"é"}      keys in their order, digits as they are
```

As with `jsontext`, a kernel vouches for what it gives and for nothing else: a number that `Decimal` would spell otherwise is for the law.
"""

from __future__ import annotations

from typing import Any

from numba import types

from offline_feature_plane.kernels.byte_spans import BYTES, INT64_ROWS, READ_BYTES, put
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.json_texts import tell_text
from offline_feature_plane.kernels.slots import INT64S, READ_INT64

__all__ = ["compact_payloads", "write_lines"]

_QUOTE, _MINUS, _POINT, _ZERO, _NINE, _LOWER_E, _UPPER_E = 34, 45, 46, 48, 57, 101, 69
_TINY = 6  # zeros behind the point from which on a decimal is spelled with an exponent
_STATUS = types.uint8[::1]


@compiled(types.int64(READ_BYTES, types.int64, types.int64))
def spelled(data: Any, at: Any, end: Any) -> Any:
    """Where a number ends that is spelled as Python spells what it reads from it; −1 if it is not."""
    begin, digit, point, nonzero = at, at + (data[at] == _MINUS), -1, -1
    at = digit
    while at < end and (_ZERO <= data[at] <= _NINE or data[at] == _POINT):
        if data[at] == _POINT:
            point = at
        elif nonzero < 0 and data[at] != _ZERO:
            nonzero = at
        at += 1
    if at < end and (data[at] == _LOWER_E or data[at] == _UPPER_E):
        return -1
    if point < 0:
        return at if nonzero >= 0 or digit == begin else -1  # a negative zero is 0
    zeros = (nonzero if nonzero >= 0 else at) - point - 1
    return at if zeros < _TINY or (nonzero < 0 and zeros == _TINY) else -1


@compiled(types.int64(READ_BYTES, types.int64, types.int64, BYTES, types.int64))
def compact(data: Any, at: Any, end: Any, out: Any, pos: Any) -> Any:
    """Write sound JSON that keys, texts and levels were checked of, without blanks, never longer; the place behind it, or −1."""
    while at < end:
        c = data[at]
        if c == _QUOTE:
            out[pos] = _QUOTE
            at, pos = tell_text(data, at + 1, end, out, pos + 1)
            if at < 0:
                return -1
            out[pos] = _QUOTE
            pos += 1
        elif c == _MINUS or _ZERO <= c <= _NINE:
            stop = spelled(data, at, end)
            if stop < 0:
                return -1
            pos = put(data, at, stop, out, pos)
            at = stop
        else:
            if c > 32:
                out[pos] = c
                pos += 1
            at += 1
    return pos


@compiled(types.void(READ_BYTES, READ_INT64, READ_INT64, BYTES, INT64S, _STATUS))
def compact_payloads(data: Any, starts: Any, ends: Any, out: Any, bounds: Any, status: Any) -> None:
    """Write payloads side by side, `out[bounds[row] … bounds[row + 1]]`; nothing where `starts` is −1, or `status` not 0, or becomes so."""
    pos = 0
    for row in range(status.shape[0]):
        bounds[row] = pos
        if status[row] == 0 and starts[row] >= 0:
            behind = compact(data, starts[row], ends[row], out, pos)
            if behind < 0:
                status[row] = 1
            else:
                pos = behind
    bounds[status.shape[0]] = pos


@compiled(types.void(READ_BYTES, INT64_ROWS, INT64_ROWS, types.int64, READ_BYTES, READ_INT64, BYTES, INT64S, _STATUS))
def write_lines(data: Any, starts: Any, ends: Any, payload: Any, parts: Any, part_bounds: Any, out: Any, bounds: Any,
                status: Any) -> None:
    """Write records as lines: parts and members in turn, `out[bounds[row] … bounds[row + 1]]`, nothing where `status` is not 0.

    Members are texts that stand for themselves in JSON, or null where `starts` is −1; the one in the row `payload` is written compactly.
    """
    pos = 0
    for row in range(status.shape[0]):
        bounds[row] = pos
        if status[row] != 0:
            continue
        for i in range(starts.shape[0]):
            pos = put(parts, part_bounds[i], part_bounds[i + 1], out, pos)
            start, end = starts[i, row], ends[i, row]
            if start < 0:
                out[pos], out[pos + 1], out[pos + 2], out[pos + 3] = 110, 117, 108, 108
                pos += 4
            elif i == payload:
                pos = compact(data, start, end, out, pos)
                if pos < 0:
                    status[row] = 1
                    break
            else:
                out[pos] = _QUOTE
                pos = put(data, start, end, out, pos + 1)
                out[pos] = _QUOTE
                pos += 1
        if status[row] != 0:
            pos = bounds[row]
            continue
        pos = put(parts, part_bounds[starts.shape[0]], part_bounds[starts.shape[0] + 1], out, pos)
    bounds[status.shape[0]] = pos
