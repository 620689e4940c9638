"""Windows as edits of one another: what a row sees from what another one saw, by the events that came and went.

```
   rows of a key, cut by arrival into blocks, each walked by time, every other one backwards

   arrival ▲  ·  →  →  ↴        a row sees the slots lo … hi − 1 that arrived before `until`: from row to row each of the three bounds moves
           │  ↰  ←  ←  ·        a little, and each step of one is an event that enters or leaves, or one that is hidden
           │  ·  →  →  ↴
           └─────────────▶ time
```

Blocks of √n rows make n·√n steps of whatever n rows; of widths 1, 4, 16 … the one with the fewest steps is taken, so that where events are
late by L others, there are about n·√L.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.edits import Edits
from offline_feature_plane.kernels.slots import INT32S, INT64S, Int64s
from offline_feature_plane.kernels.visible import Ranges, Visible

__all__ = ["Order", "order_rows", "write_edits"]

_LEAST_ROOM = 1 << 20   # edits that are written at once


class Order(NamedTuple):
    """In which order to walk rows, and how many steps that takes."""

    rows: Int64s
    steps: int


@compiled(types.int64(INT32S, INT32S, INT32S, INT32S, INT64S, types.int64, INT32S, INT32S, INT32S, INT64S, INT32S, INT64S))
def walk_rows(key: Any, low: Any, high: Any, until: Any, order: Any, at: Any,  # noqa: C901, PLR0912 - one walk, one kernel
              first: Any, by_arrival: Any, rank: Any, state: Any, edits: Any, ends: Any) -> Any:
    """Write the edits of the rows from `order[at]` on, as many as have room; returns the next place in `order`.

    `state` holds the key, `lo`, `hi` and `until` of the row before; a key that is left is left empty.
    """
    start, used, room = at, np.int64(0), edits.shape[0]
    while at < order.shape[0] and at - start < ends.shape[0]:
        r = order[at]
        k = np.int64(key[r])
        lo, hi, seen = state[1], state[2], state[3]
        if used + (hi - lo if k != state[0] else 0) + 3 * (np.int64(first[k + 1]) - np.int64(first[k])) > room:
            break
        if k != state[0]:
            for slot in range(lo, hi):
                if rank[slot] < seen:
                    edits[used] = -np.int32(slot + 1)
                    used += 1
            lo, hi, seen = np.int64(low[r]), np.int64(low[r]), np.int64(until[r])
            state[0], state[1], state[2], state[3] = k, lo, hi, seen
        while hi < high[r]:
            if rank[hi] < seen:
                edits[used] = np.int32(hi + 1)
                used += 1
            hi += 1
        while lo > low[r]:
            lo -= 1
            if rank[lo] < seen:
                edits[used] = np.int32(lo + 1)
                used += 1
        while hi > high[r]:
            hi -= 1
            if rank[hi] < seen:
                edits[used] = -np.int32(hi + 1)
                used += 1
        while lo < low[r]:
            if rank[lo] < seen:
                edits[used] = -np.int32(lo + 1)
                used += 1
            lo += 1
        while seen < until[r]:
            slot = by_arrival[seen]
            if lo <= slot < hi:
                edits[used] = np.int32(slot + 1)
                used += 1
            seen += 1
        while seen > until[r]:
            seen -= 1
            slot = by_arrival[seen]
            if lo <= slot < hi:
                edits[used] = -np.int32(slot + 1)
                used += 1
        state[1], state[2], state[3] = lo, hi, seen
        ends[at - start] = used
        at += 1
    return at


def order_rows(ranges: Ranges) -> Order:
    """The shortest walk, of those by blocks of 1, 4, 16 … rows in the order of arrival."""
    by_arrival = np.lexsort((ranges.until, ranges.key))
    key = ranges.key[by_arrival].astype(np.int64)
    rank = np.arange(len(key)) - np.searchsorted(key, key)
    best, width = Order(by_arrival, _steps(ranges, by_arrival)), 4
    while width < 4 * len(key):
        block = rank // width
        hi = ranges.hi[by_arrival].astype(np.int64)
        rows = by_arrival[np.lexsort((np.where(block % 2 == 0, hi, -hi), block, key))]
        best = min(best, Order(rows, _steps(ranges, rows)), key=lambda order: order.steps)
        width *= 4
    return best


def _steps(ranges: Ranges, rows: Int64s) -> int:
    """How far the three bounds move; from key to key, as if every window were filled anew."""
    same = np.diff(ranges.key[rows]) == 0
    moved = sum(np.abs(np.diff(bound[rows].astype(np.int64))) for bound in (ranges.lo, ranges.hi, ranges.until))
    filled = 2 * (ranges.hi[rows].astype(np.int64) - ranges.lo[rows])
    return int(np.where(same, moved, filled[1:]).sum()) + int(filled[:1].sum())


def write_edits(ranges: Ranges, by: Visible, order: Int64s) -> Iterator[Edits]:
    """What rows see, in the given order, in parts that are valid until the next."""
    room = max(_LEAST_ROOM, 4 * by.slots.fullest)
    slots, ends, state = np.empty(room, np.int32), np.empty(min(len(order), _LEAST_ROOM), np.int64), np.array([-1, 0, 0, 0], np.int64)
    at = 0
    while at < len(order):
        after = int(walk_rows(ranges.key, ranges.lo, ranges.hi, ranges.until, order, at, by.slots.first, by.by_arrival, by.rank, state,
                              slots, ends))
        yield Edits(slots[:ends[after - at - 1]], ends[:after - at])
        at = after
