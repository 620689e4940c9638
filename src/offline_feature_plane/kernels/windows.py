"""All kinds of windows as ranges of slots: what each is in numbers, and how a located range is narrowed to it (`decisions.md` D32).

```
   slots of a key    ──[·  ·][·  ·  ·][·  ·]──▶ time      cut into runs: sessions by their pauses, periods by their boundaries
                             ▲lo'     ▲lo  ▲hi            lo … hi is the run of the last visible slot, unless it is over
                                                          lo' … lo is the whole period before it: a tumbling window
```

`kernels.sliding` finds what is visible and how far back a window may reach. The rest needs no cursor: it looks at the last visible slot.
Tumbling windows end earlier than the others, so they are located as rows of their own: whoever reads one state reads one end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.sliding import LONGEST_US, Located, Locator
from offline_feature_plane.kernels.slots import INT32S, INT64S, Bools, Int32s, Int64s, Slots

__all__ = ["Latest", "Located", "Session", "Since", "Sliding", "Tumbling", "Window", "Windows"]

_BLOCK = 1 << 20
_LONG_AGO = -LONGEST_US
_MOST_EVENTS = 2**31 - 1


@dataclass(frozen=True)
class Sliding:
    """T − d − length < ts ≤ T − d, in µs; no length: everything before."""

    length_us: int | None

    def __post_init__(self) -> None:
        _refuse(self, unless=self.length_us is None or self.length_us > 0)


@dataclass(frozen=True)
class Latest:
    """The latest `events` of what is visible."""

    events: int

    def __post_init__(self) -> None:
        _refuse(self, unless=0 < self.events <= _MOST_EVENTS)


@dataclass(frozen=True, eq=False)
class Since:
    """From the last of the instants `starts`, ascending, that is not after T − d; closed. Before the first of them all is one period."""

    starts: Int64s

    def __post_init__(self) -> None:
        _refuse(self, unless=not (self.starts[1:] <= self.starts[:-1]).any())


@dataclass(frozen=True)
class Tumbling:
    """The last whole span [k · length, (k + 1) · length) that ends at T − d or before."""

    length_us: int

    def __post_init__(self) -> None:
        _refuse(self, unless=0 < self.length_us <= LONGEST_US)


@dataclass(frozen=True)
class Session:
    """Back from T − d as long as every pause is shorter than `gap_us`, to T − d − most < ts at the farthest."""

    gap_us: int
    most_us: int

    def __post_init__(self) -> None:
        _refuse(self, unless=0 < self.gap_us <= self.most_us)


Window = Sliding | Latest | Since | Tumbling | Session
Narrowing = Callable[[Located, Int32s], Located | None]   # writes a window's `lo`; rows of its own if it ends elsewhere


@compiled(types.void(INT32S, INT32S, INT64S, INT32S, INT64S, INT32S))
def enter_run(hi: Any, floor: Any, slot_ts: Any, run: Any, since: Any, out: Any) -> None:
    """Write where the run of the slot before `hi` begins, not before `floor`; `hi` itself if that slot is none or older than `since`.

    `run` holds for each slot the first slot of its run. `out` may be `floor`.
    """
    n = hi.shape[0]
    for r in range(n):
        last = hi[r] - np.int32(1)
        out[r] = max(floor[r], run[last]) if last >= floor[r] and slot_ts[last] >= since[r] else hi[r]


class Windows:
    """The windows of one group; `locate` must be called with blocks of at most `block` positions, each key's in their order.

    `ends[w]` is the place, among the rows that `locate` gives, of those to read window `w` from.
    """

    def __init__(self, slots: Slots, *, current: bool, delay_us: int, windows: Sequence[Window], block: int) -> None:
        self._locator = Locator(slots, current=current, delay_us=delay_us, windows=[_reach(one) for one in windows], block=block)
        delay_us = min(delay_us, LONGEST_US)
        self._narrowings = [(line, found) for line, one in enumerate(windows)
                            if (found := _narrowing(one, slots, delay_us, block)) is not None]
        elsewhere = [line for line, one in enumerate(windows) if isinstance(one, Tumbling)]
        self.ends = [elsewhere.index(line) + 1 if line in elsewhere else 0 for line in range(len(windows))]

    def locate(self, ts: Int64s, key: Int32s, is_event: Bools, is_row: Bools) -> list[Located]:
        """Locate the windows of one block of positions (read-only arrays), once per upper end; valid until the next call."""
        rows = self._locator.locate(ts, key, is_event, is_row)
        return [rows, *(found for line, narrow in self._narrowings if (found := narrow(rows, rows.lo[line, :rows.n])) is not None)]


def _reach(window: Window) -> int | None:
    """How far back a window reaches at most, before it is narrowed."""
    match window:
        case Sliding(length_us=length_us):
            return length_us
        case Session(most_us=most_us):
            return most_us
    return None


def _narrowing(window: Window, slots: Slots, delay_us: int, block: int) -> Narrowing | None:
    match window:
        case Latest(events=events):
            return _narrow_to_latest(events)
        case Since(starts=starts):
            return _narrow_to_period(np.concatenate([np.array([_LONG_AGO], np.int64), starts]), slots, delay_us)
        case Session(gap_us=gap_us):
            return _narrow_to_session(gap_us, slots, delay_us)
        case Tumbling(length_us=length_us):
            return _narrow_to_last_whole(length_us, slots, delay_us, block)
    return None


def _narrow_to_latest(events: int) -> Narrowing:
    def narrow(rows: Located, lo: Int32s) -> None:
        np.maximum(lo, rows.hi - np.int32(events), out=lo)
    return narrow


def _narrow_to_period(starts: Int64s, slots: Slots, delay_us: int) -> Narrowing:
    run = _link_runs(slots, lambda ts: np.diff(np.searchsorted(starts, ts, side="right")) != 0)

    def narrow(rows: Located, lo: Int32s) -> None:
        enter_run(rows.hi, lo, slots.ts, run, starts[np.searchsorted(starts, rows.ts - delay_us, side="right") - 1], lo)
    return narrow


def _narrow_to_session(gap_us: int, slots: Slots, delay_us: int) -> Narrowing:
    run = _link_runs(slots, lambda ts: np.diff(ts) >= gap_us)

    def narrow(rows: Located, lo: Int32s) -> None:
        enter_run(rows.hi, lo, slots.ts, run, rows.ts - (delay_us + gap_us - 1), lo)
    return narrow


def _narrow_to_last_whole(length_us: int, slots: Slots, delay_us: int, block: int) -> Narrowing:
    """The period before the one in which T − d lies: first to its end, then to its beginning. It never holds the row's own event."""
    run = _link_runs(slots, lambda ts: np.diff(ts // length_us) != 0)
    end, own = np.empty(block, np.int32), np.zeros(block, np.bool_)

    def narrow(rows: Located, lo: Int32s) -> Located:
        hi, until = end[:rows.n], (rows.ts - delay_us) // length_us * length_us
        enter_run(rows.hi, lo, slots.ts, run, until, hi)
        enter_run(hi, lo, slots.ts, run, until - length_us, lo)
        return replace(rows, hi=hi, own=own[:rows.n])
    return narrow


def _link_runs(slots: Slots, begins: Callable[[Int64s], Bools]) -> Int32s:
    """Per slot the first slot of its run; `begins` tells of adjacent instants whether a run begins at the later one."""
    edges = np.zeros(slots.n, np.bool_)
    for start in range(0, slots.n - 1, _BLOCK):
        part = slots.ts[start:start + _BLOCK + 1]
        edges[start + 1:start + len(part)] = begins(part)
    edges[slots.first[:-1][slots.first[1:] > slots.first[:-1]]] = True
    run = np.arange(slots.n, dtype=np.int32)
    run[~edges] = 0
    return np.maximum.accumulate(run, out=run)


def _refuse(window: Window, *, unless: bool | np.bool_) -> None:
    """Raise ValueError for what no caller may ask: kernels check no bounds."""
    if not unless:
        raise ValueError(f"there is no such window as {window}")
