"""Values that stand in columns, written as the payload that they make: what `jsontext.tell` writes of JSON, without JSON in between.

```
   amount  1.50  2.00          {"amount":"n:15e-1","card":"s:x"}
   card    x     null   ──▶    {"amount":"n:2e0"}                    a null is left out, or is null, as the caller says
```

A column is given by what its values are and where they stand in `data`, as `jsontext` gives what it finds: texts as they are, numbers by
their digits. A value that is TOLD already, a nested one, is copied. A row that a kernel does not vouch for is marked in `asks`.
"""

from __future__ import annotations

from typing import Any

from numba import types

from offline_feature_plane.kernels.byte_spans import BYTES, INT64_ROWS, KINDS, READ_BYTES, put
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.json_kinds import ABSENT, FALSE, INTEGER, NUMBER, TEXT, TOLD, TRUE
from offline_feature_plane.kernels.json_numbers import number
from offline_feature_plane.kernels.json_texts import tell_raw
from offline_feature_plane.kernels.slots import BOOLS, INT64S, READ_BOOL, READ_INT64

__all__ = ["enclose", "frame"]

_READ_KINDS = types.Array(types.int8, 1, "C", readonly=True)
_QUOTE, _COMMA, _COLON, _OPEN, _CLOSE, _BEGIN, _STOP = 34, 44, 58, 123, 125, 91, 93
_A, _E, _F, _L, _N, _R, _S, _T, _U = 97, 101, 102, 108, 110, 114, 115, 116, 117


@compiled(types.int64(READ_BYTES, types.int8, types.int64, types.int64, BYTES, types.int64))
def tell_one(data: Any, kind: Any, start: Any, end: Any, out: Any, pos: Any) -> Any:  # noqa: PLR0911 - one kind after the other
    """Write one value; the place behind it, or −1."""
    if kind == TEXT:
        out[pos], out[pos + 1], out[pos + 2] = _QUOTE, _S, _COLON
        pos = tell_raw(data, start, end, out, pos + 3)
        if pos < 0:
            return -1
        out[pos] = _QUOTE
        return pos + 1
    if kind in (INTEGER, NUMBER):
        at, pos, _ = number(data, start, end, out, pos)
        return pos if at == end else -1
    if kind == TOLD:
        return put(data, start, end, out, pos)
    if kind == ABSENT:
        out[pos], out[pos + 1], out[pos + 2], out[pos + 3] = _N, _U, _L, _L
        return pos + 4
    if kind == TRUE:
        out[pos], out[pos + 1], out[pos + 2], out[pos + 3] = _T, _R, _U, _E
        return pos + 4
    if kind == FALSE:
        out[pos], out[pos + 1], out[pos + 2], out[pos + 3], out[pos + 4] = _F, _A, _L, _S, _E
        return pos + 5
    return -1


@compiled(types.void(READ_BYTES, KINDS, INT64_ROWS, INT64_ROWS, READ_BYTES, READ_INT64, types.boolean, READ_BOOL, BYTES, INT64S, INT64S,
                     BOOLS))
def frame(data: Any, kinds: Any, starts: Any, ends: Any, keys: Any, bounds: Any, skips_nulls: Any, present: Any, out: Any, told: Any,
          told_ends: Any, asks: Any) -> None:
    """Write the object that a row's columns make, to `out[told … told_ends]`; nothing for rows that are not `present`.

    `keys` are those of the columns, in their order, each quoted and with its colon.
    """
    pos = 0
    for row in range(present.shape[0]):
        told[row] = told_ends[row] = pos
        if not present[row] or asks[row]:
            continue
        begin = pos
        out[pos] = _OPEN
        pos += 1
        for i in range(kinds.shape[0]):
            kind = kinds[i, row]
            if kind == ABSENT and skips_nulls:
                continue
            if pos > begin + 1:
                out[pos] = _COMMA
                pos += 1
            pos = put(keys, bounds[i], bounds[i + 1], out, pos)
            pos = tell_one(data, kind, starts[i, row], ends[i, row], out, pos)
            if pos < 0:
                break
        if pos < 0:
            asks[row] = True
            pos = begin
            continue
        out[pos] = _CLOSE
        pos += 1
        told_ends[row] = pos


@compiled(types.void(READ_BYTES, _READ_KINDS, READ_INT64, READ_INT64, READ_INT64, READ_INT64, READ_BOOL, READ_BOOL, BYTES, INT64S, INT64S,
                     BOOLS))
def enclose(data: Any, kinds: Any, starts: Any, ends: Any, firsts: Any, stops: Any, doubted: Any, present: Any, out: Any, told: Any,
            told_ends: Any, asks: Any) -> None:
    """Write the array of the values `firsts … stops` of a row; one that has a `doubted` value is for the law. Else as `frame`."""
    pos = 0
    for row in range(present.shape[0]):
        told[row] = told_ends[row] = pos
        if not present[row]:
            continue
        begin = pos
        out[pos] = _BEGIN
        pos += 1
        for i in range(firsts[row], stops[row]):
            if i > firsts[row]:
                out[pos] = _COMMA
                pos += 1
            pos = -1 if doubted[i] else tell_one(data, kinds[i], starts[i], ends[i], out, pos)
            if pos < 0:
                break
        if pos < 0:
            asks[row] = True
            pos = begin
            continue
        out[pos] = _STOP
        pos += 1
        told_ends[row] = pos
