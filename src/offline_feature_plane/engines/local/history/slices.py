"""Slices of time: which events are in memory at once, and for which of them rows are computed.

```
              warm          start                stop
   ───────────(─────────────[────────────────────)──────▶
               ◀── reach ──▶ rows of this slice
```
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from offline_feature_plane.domain.closure import Group
from offline_feature_plane.domain.footprint import event_bytes, group_bytes
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.domain.windows import reach_us
from offline_feature_plane.engines.local.history.events import StoredEvents
from offline_feature_plane.engines.local.sizes import Sizes

__all__ = ["Slice", "Slicing", "slice_history"]

_WORTH = 4  # times that events may be laid out again until parts of keys, whose columns go through files, are cheaper


@dataclass(frozen=True)
class Slice:
    """Rows at positions `start … stop − 1` are computed from the events at `warm … stop − 1`."""

    warm: int
    start: int
    stop: int


@dataclass(frozen=True)
class Slicing:
    """How a build is cut: `by_keys` groups go by parts of their keys, the others by these slices of time."""

    by_keys: tuple[Group, ...]
    slices: tuple[Slice, ...]


def slice_history(history: StoredEvents, task: Task, sizes: Sizes) -> Slicing:
    """Cut a history so that each piece fits; bounded groups go by time as long as there is more to compute in a slice than to repeat.

    A history that fits as a whole is one slice.
    """
    closure, visibility = task.closure, task.visibility
    each = event_bytes(closure, visibility)
    if history.n * each <= sizes.data:
        return Slicing((), (Slice(0, 0, history.n),))
    by_keys = [group for group in closure.groups if reach_us(group) is None]
    by_time = sorted((group for group in closure.groups if reach_us(group) is not None), key=_reach)
    each -= sum(group_bytes(closure, group, visibility) for group in by_keys)
    while by_time and _WORTH * history.most_within(_reach(by_time[-1])) > (_WORTH - 1) * sizes.data // each:
        each -= group_bytes(closure, by_time[-1], visibility)
        by_keys.append(by_time.pop())
    most = max(1, sizes.data // each)
    return Slicing(tuple(by_keys), tuple(_slices(history, by_time, most, sizes.block)))


def _slices(history: StoredEvents, by_time: Sequence[Group], most: int, block: int) -> Iterator[Slice]:
    """Slices that end where blocks do, so that the pieces of the output are the same whatever the memory."""
    reach = max(map(_reach, by_time), default=0)
    start = 0
    while start < history.n:
        first = int(history.instants_at(np.array([start]))[0])
        warm = history.position_after(first - reach) if by_time else start
        warm = min(warm, start)
        stop = min(max(warm + most, start + block) // block * block, history.n)
        yield Slice(warm, start, stop)
        start = stop


def _reach(group: Group) -> int:
    return reach_us(group) or 0
