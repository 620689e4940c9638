"""Records as JSON documents, and their payloads told: `domain.admission.decode` for whole batches, where nothing is unusual.

Members of a record are given by where their values stand; the columns of a table of records stand in the same form. `status` is 0 for a
record that the kernels vouch for, and 1 for one that the law must see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from offline_feature_plane.kernels.byte_spans import BYTES, INT64_ROWS, KINDS, READ_BYTES, compared, put
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.json_kinds import ABSENT, OTHER, TEXT
from offline_feature_plane.kernels.json_numbers import number
from offline_feature_plane.kernels.json_texts import key_end, plain_text
from offline_feature_plane.kernels.jsontext import skip_space, tell
from offline_feature_plane.kernels.slots import INT64S, READ_INT64

__all__ = ["read_documents", "read_payloads", "write_said"]

_QUOTE, _COMMA, _COLON, _OPEN, _CLOSE, _MINUS, _ZERO, _NINE = 34, 44, 58, 123, 125, 45, 48, 57
_STRANGE = 24  # members of a record that nobody knows
_STATUS = types.uint8[::1]


@compiled(types.void(READ_BYTES, READ_INT64, READ_INT64, READ_BYTES, READ_INT64, types.int64, types.int64, READ_INT64, READ_BYTES,
                     READ_INT64, READ_INT64, BYTES, INT64_ROWS, INT64_ROWS, INT64S, KINDS, INT64_ROWS, INT64_ROWS, KINDS, INT64_ROWS,
                     INT64_ROWS, INT64S, INT64S, _STATUS))
def read_documents(data: Any, begins: Any, stops: Any, names: Any,  # noqa: C901, PLR0912, PLR0915 - one walk, one kernel
                   name_bounds: Any, payload: Any, needed: Any, edges: Any, keys: Any, bounds: Any, slots: Any, out: Any, stack: Any,
                   members: Any, order: Any, kinds: Any, starts: Any, ends: Any,
                   member_kinds: Any, member_starts: Any, member_ends: Any, told: Any, told_ends: Any, status: Any) -> None:
    """Find the members of every document, and tell its payload.

    `names` are those of the members, whose values are found in the rows of `member_…`; the one at `payload` is told, to `out[told …
    told_ends]`. The first `needed` members must be there. The others are as in `tell`.
    """
    strange = np.empty((_STRANGE, 2), np.int64)
    known = name_bounds.shape[0] - 1
    usual = np.full(known + _STRANGE + 1, -1, np.int64)  # which member stood at each place of the document before: mostly it does again
    pos = 0
    for row in range(begins.shape[0]):
        status[row] = 1
        begin, end = begins[row], stops[row]
        told[row] = told_ends[row] = pos
        at = skip_space(data, begin, end)
        if at >= end or data[at] != _OPEN:
            continue
        at += 1
        seen, others, place, is_sound, first = 0, 0, 0, False, True
        here = pos  # where a member that is thrown away is written
        while True:
            at = skip_space(data, at, end)
            if at < end and data[at] == _CLOSE and first:
                break
            if at >= end or data[at] != _QUOTE:
                break
            first = False
            key = at + 1
            which = usual[place]
            at = key + name_bounds[which + 1] - name_bounds[which] if which >= 0 else end
            if at >= end or data[at] != _QUOTE or compared(data, key, at, names, name_bounds[which], name_bounds[which + 1]) != 0:
                at = key_end(data, key, end)
                if at >= end:
                    break
                which = -1
                for i in range(known):
                    if name_bounds[i + 1] - name_bounds[i] == at - key and compared(
                            data, key, at, names, name_bounds[i], name_bounds[i + 1]) == 0:
                        which = i
                        break
                usual[place] = which
            place += 1
            if which >= 0:
                if seen >> which & 1:
                    break
                seen |= 1 << which
            else:
                twice = others == _STRANGE
                for i in range(others):
                    twice = twice or compared(data, key, at, data, strange[i, 0], strange[i, 1]) == 0
                if twice:
                    break
                strange[others, 0], strange[others, 1] = key, at
                others += 1
            at = skip_space(data, at + 1, end)
            if at >= end or data[at] != _COLON:
                break
            at = skip_space(data, at + 1, end)
            if at >= end:
                break
            value, c = at, data[at]
            if which == payload and c == _OPEN:
                told[row] = pos
                at, pos = tell(data, at, end, 0, edges, keys, bounds, slots, out, pos, stack, members, order, kinds, starts, ends, row)
                if at < 0:
                    break
                told_ends[row] = here = pos
                member_kinds[which, row], member_starts[which, row], member_ends[which, row] = OTHER, value, at
            elif which >= 0 and c == _QUOTE:
                at = plain_text(data, value + 1, end)
                if at < 0 or at >= end or data[at] != _QUOTE or which == payload:
                    break
                member_kinds[which, row], member_starts[which, row], member_ends[which, row] = TEXT, value + 1, at
                at += 1
            elif which >= 0 and (c == _MINUS or _ZERO <= c <= _NINE):
                at, _, kind = number(data, value, end, out, here)
                if at < 0 or which == payload:
                    break
                member_kinds[which, row], member_starts[which, row], member_ends[which, row] = kind, value, at
            else:
                if which >= 0 and c != 110:  # neither null, which is as good as absent, nor what any member is
                    break
                at, _ = tell(data, at, end, -1, edges, keys, bounds, slots, out, here, stack, members, order, kinds, starts, ends, row)
                if at < 0:
                    break
            at = skip_space(data, at, end)
            if at >= end:
                break
            if data[at] == _CLOSE:
                is_sound = skip_space(data, at + 1, end) == end
                break
            if data[at] != _COMMA:
                break
            at += 1
        for i in range(needed):
            is_sound = is_sound and member_kinds[i, row] != ABSENT
        if is_sound and seen >> payload & 1:
            status[row] = 0


@compiled(types.void(READ_BYTES, READ_INT64, READ_INT64, READ_INT64, READ_BYTES, READ_INT64, READ_INT64, BYTES, INT64_ROWS, INT64_ROWS,
                     INT64S, KINDS, INT64_ROWS, INT64_ROWS, INT64S, INT64S, _STATUS))
def read_payloads(data: Any, begins: Any, stops: Any, edges: Any, keys: Any, bounds: Any, slots: Any, out: Any, stack: Any, members: Any,
                  order: Any, kinds: Any, starts: Any, ends: Any, told: Any, told_ends: Any, status: Any) -> None:
    """Tell the payloads that begin somewhere (−1: there is none), to `out[told … told_ends]`; the others are as in `tell`."""
    pos = 0
    for row in range(begins.shape[0]):
        told[row] = told_ends[row] = pos
        status[row] = 0
        if begins[row] < 0:
            continue
        at, end = skip_space(data, begins[row], stops[row]), stops[row]
        status[row] = 1
        if at < end and data[at] == _OPEN:
            at, pos = tell(data, at, end, 0, edges, keys, bounds, slots, out, pos, stack, members, order, kinds, starts, ends, row)
            if at >= 0 and skip_space(data, at, end) == end:
                told_ends[row] = pos
                status[row] = 0
            else:
                pos = told[row]


@compiled(types.void(READ_BYTES, READ_INT64, INT64_ROWS, INT64_ROWS, types.uint8[:, ::1], READ_BYTES, READ_INT64, READ_INT64, READ_BYTES,
                     READ_INT64, BYTES, INT64S, _STATUS))
def write_said(data: Any, which: Any, starts: Any, ends: Any, moments: Any, told: Any, told_starts: Any, told_ends: Any, parts: Any,
               part_bounds: Any, out: Any, bounds: Any, status: Any) -> None:
    """Write what every record says: parts and members in turn, `out[bounds[row] … bounds[row + 1]]`, nothing where `status` is not 0.

    `which` are the rows of the members: filled texts that stand for themselves in JSON, or the record is for the law; −1 is what was told,
    or null if nothing was; −2 is the row's text among `moments`.
    """
    pos = 0
    for row in range(status.shape[0]):
        bounds[row] = pos
        if status[row] != 0:
            continue
        for i in range(which.shape[0]):
            pos = put(parts, part_bounds[i], part_bounds[i + 1], out, pos)
            member = which[i]
            if member >= 0:
                start, end = starts[member, row], ends[member, row]
                if end <= start or plain_text(data, start, end) != end:
                    status[row] = 1
                    break
                pos = put(data, start, end, out, pos)
            elif member == -2:
                for j in range(moments.shape[1]):
                    out[pos + j] = moments[row, j]
                pos += moments.shape[1]
            elif told_ends[row] > told_starts[row]:
                pos = put(told, told_starts[row], told_ends[row], out, pos)
            else:
                out[pos], out[pos + 1], out[pos + 2], out[pos + 3] = 110, 117, 108, 108
                pos += 4
        if status[row] != 0:
            pos = bounds[row]
            continue
        pos = put(parts, part_bounds[which.shape[0]], part_bounds[which.shape[0] + 1], out, pos)
    bounds[status.shape[0]] = pos
