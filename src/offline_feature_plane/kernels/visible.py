"""What rows see by arrival, as ranges of slots of which only what had arrived counts (`decisions.md` D21, D32).

```
   slots of a key   [·][×][·][·][×][·]──▶ time       × arrived after the row
                        ▲lo            ▲hi           the last three of what is visible, or as far back as its pauses are short
```

Windows that are told by time are what `kernels.windows` says, whatever is hidden. The others are found in the order of arrival, in which
what is visible only grows: a tree of counts tells places among it, and runs of short pauses only grow together. Each takes log n steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.ranks import count_value, rank_at
from offline_feature_plane.kernels.slots import INT32S, INT64S, Bools, Int32s, Int64s, build_slots, freeze
from offline_feature_plane.kernels.windows import Latest, Session, Sliding, Window, Windows

__all__ = ["Ranges", "Visible"]

_BLOCK = 1 << 15


@register_jitable
def _count_before(tree: Any, base: Any, end: Any) -> Any:
    """How much is counted of the first `end` ranks."""
    total, place = np.int64(0), np.int64(end)
    while place > 0:
        total += tree[base + place - 1]
        place -= place & -place
    return total


@register_jitable
def _find_run(run: Any, slot: Any) -> Any:
    """The first slot of a slot's run; the way there becomes shorter."""
    begin = slot
    while run[begin] != begin:
        run[begin] = run[run[begin]]
        begin = run[begin]
    return begin


@compiled(types.void(INT32S, INT32S, INT32S, INT32S, INT64S, INT64S, INT32S, INT32S, INT64S, types.int64, types.int64, INT32S, INT32S,
                     INT32S))
def find_lower_ends(key: Any, hi: Any, until: Any, floor: Any, since: Any, order: Any,  # noqa: C901 - one walk, one kernel
                    first: Any, by_arrival: Any, slot_ts: Any, most: Any, gap: Any, tree: Any, run: Any, out: Any) -> None:
    """Write where the latest `most` visible slots before `hi` begin, or, if `most` is 0, those with pauses shorter than `gap`.

    Rows come in `order`, by key and then `until`: how far the slots `by_arrival` have arrived. A run begins at `floor` or after; it is over
    if its last slot is older than `since`. `tree` is 0 and `run` is each slot itself.
    """
    last_key, arrived = np.int32(-1), np.int64(0)
    for place in range(order.shape[0]):
        r = order[place]
        k = key[r]
        base, size = np.int64(first[k]), np.int64(first[k + 1]) - np.int64(first[k])
        if k != last_key:
            last_key, arrived = k, base
        while arrived < until[r]:
            slot = np.int64(by_arrival[arrived])
            arrived += 1
            if most == 0:
                before = _count_before(tree, base, slot - base)
                if before > 0:
                    other = base + rank_at(tree, base, size, before - 1)
                    if slot_ts[slot] - slot_ts[other] < gap:
                        run[slot] = _find_run(run, other)
                if before < arrived - 1 - base:
                    other = base + rank_at(tree, base, size, before)
                    if slot_ts[other] - slot_ts[slot] < gap:
                        run[other] = slot
            count_value(tree, base, size, slot - base, np.int32(1))
        out[r] = hi[r]
        visible = _count_before(tree, base, np.int64(hi[r]) - base)
        if visible > 0 and most > 0:
            out[r] = base + rank_at(tree, base, size, max(visible - most, np.int64(0)))
        elif visible > 0:
            last = base + rank_at(tree, base, size, visible - 1)
            if last >= floor[r] and slot_ts[last] >= since[r]:
                out[r] = max(np.int64(floor[r]), _find_run(run, last))


@dataclass(frozen=True)
class Ranges:
    """One window of some rows: slots `lo` … `hi` − 1 of `key`, as far as they are among the slots by arrival before `until`.

    `own`: is the row's own event, which is then the last of both, inside?
    """

    key: Int32s
    lo: Int32s
    hi: Int32s
    until: Int32s
    own: Bools

    @property
    def past(self) -> Ranges:
        """The same without the row's own event."""
        return replace(self, hi=self.hi - self.own, until=self.until - self.own, own=np.zeros_like(self.own))


class Visible:
    """The events of a group in two orders, and what rows see of them.

    Args:
        ts: int64[N] instants.
        key: int32[N], below `n_keys`.
        n_keys: how many keys there are.
        arrived: int64[N], in which place each position arrived.
        is_event: bool[N], the group's events.
        current: whether a row's own event is inside its windows.
        delay_us: how long before the row's instant windows end.
        windows: of any kind.

    `by_arrival` holds the slots of each key in the order of arrival, `rank` each slot's place there.
    """

    def __init__(self, ts: Int64s, key: Int32s, n_keys: int, arrived: Int64s, is_event: Bools, *, current: bool, delay_us: int,
                 windows: Sequence[Window]) -> None:
        self._ts, self._key, self._arrived, self._is_event = freeze(ts), freeze(key), arrived, freeze(is_event)
        self._delay, self._kinds, self._next = delay_us, windows, 0
        self.slots = slots = build_slots(self._ts, self._key, self._is_event, n_keys)
        place = slots.gather(arrived, None)
        owner = np.repeat(np.arange(n_keys), np.diff(slots.first))
        self.by_arrival: Int32s = np.lexsort((place, owner)).astype(np.int32)
        self.rank = np.empty(slots.n, np.int32)
        self.rank[self.by_arrival] = np.arange(slots.n, dtype=np.int32)
        self._most = int(arrived.max(initial=0)) + 1
        self._places = owner * np.int64(self._most) + place[self.by_arrival]
        self._windows = Windows(slots, current=current, delay_us=delay_us, windows=[_by_time(one) for one in windows], block=_BLOCK)

    def ranges(self, rows: Int64s) -> list[Ranges]:
        """What some rows see, by windows. Rows are ascending positions with a key, after those of the last call."""
        ends, own = np.empty((1 + max(self._windows.ends, default=0), len(rows)), np.int32), np.empty(len(rows), np.bool_)
        lo, at, stop = np.empty((len(self._kinds), len(rows)), np.int32), 0, int(rows[-1]) + 1 if len(rows) else self._next
        for start in range(self._next, stop, _BLOCK):
            part = slice(start, min(start + _BLOCK, stop))
            is_row = np.zeros(part.stop - start, np.bool_)
            is_row[rows[slice(*np.searchsorted(rows, (start, part.stop)))] - start] = True
            located = self._windows.locate(self._ts[part], self._key[part], self._is_event[part], freeze(is_row))
            block = slice(at, at + located[0].n)
            for end, one in zip(ends, located, strict=True):
                end[block] = one.hi
            lo[:, block], own[block] = located[0].lo[:, :located[0].n], located[0].own
            at = block.stop
        self._next = stop
        key = self._key[rows]
        until = (np.searchsorted(self._places, key * np.int64(self._most) + self._arrived[rows]) + own).astype(np.int32)
        nothing = np.zeros_like(own)
        found = []
        for line, (window, place) in enumerate(zip(self._kinds, self._windows.ends, strict=True)):
            begins = self._begin(window, rows, key, until, lo[line], ends[place])
            found.append(Ranges(key, begins, ends[place], until, nothing if place else own))
        return found

    def _begin(self, window: Window, rows: Int64s, key: Int32s, until: Int32s, floor: Int32s, hi: Int32s) -> Int32s:
        """Where each row's window begins."""
        match window:
            case Latest(events=events):
                most, gap = events, 0
            case Session(gap_us=gap_us):
                most, gap = 0, gap_us
            case _:
                return floor
        since, out = self._ts[rows] - (self._delay + gap - 1), np.empty(len(rows), np.int32)
        find_lower_ends(key, hi, until, floor, since, np.lexsort((until, key)), self.slots.first, self.by_arrival, self.slots.ts, most, gap,
                        np.zeros(self.slots.n, np.int32), np.arange(self.slots.n, dtype=np.int32), out)
        return out


def _by_time(window: Window) -> Window:
    """How far back a window may reach, whatever is visible."""
    match window:
        case Latest():
            return Sliding(None)
        case Session(most_us=most_us):
            return Sliding(most_us)
    return window
