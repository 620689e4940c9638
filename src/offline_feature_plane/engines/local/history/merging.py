"""Sorted runs become one sequence in the total order.

```
   run 1   ──●──●─●────●──▶│        of every run that goes on, the last row at hand bounds what can be said:
   run 2        ●──●─●─●───│──●─●   rows up to the least of them (│) are complete; they are ordered and handed on
   run 3     ●───●──●──────│─●──●
   run 4                   │     ╷●──●─▶   not opened yet: it begins later
```
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.engines.local.columns import Integers, Loaded
from offline_feature_plane.engines.local.history.runs import Recode, Run
from offline_feature_plane.engines.local.ordering import order_keys, topic_ranks, total_order, whole_arrival

__all__ = ["Pieces", "merged"]

_NO_ARRIVAL = -1 << 63  # before any


@dataclass(frozen=True)
class Pieces:
    """Rows of several runs that follow all rows before them, side by side, and the permutation that puts them in the total order."""

    loaded: tuple[Loaded, ...]
    order: Integers | None

    def joined(self, values: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Arrays, one for each, as one in the total order."""
        whole = values[0] if len(values) == 1 else np.concatenate(values)
        return whole if self.order is None else whole.take(self.order)


def merged(runs: Sequence[Run], recodes: Sequence[Recode], rows: Callable[[int], int]) -> Iterator[Pieces]:
    """All rows of some runs in the total order.

    A run is opened when it is its turn: those of a log follow each other in time, so that few of many are open at once.

    Args:
        runs: sorted runs.
        recodes: what their codes become.
        rows: how many of each run are at hand, if so many are open at once.
    """
    topics = topic_ranks(run.shape for run in runs)
    spans = [run.span for run in runs]
    at_hand = rows(_most_open([span for span in spans if span is not None]))
    waiting = deque(sorted((span[0], place) for place, span in enumerate(spans) if span is not None))
    cursors: list[_Cursor] = []
    while (cursors := [cursor for cursor in cursors if cursor.fill()]) or waiting:
        while waiting and not any(cursor.first < waiting[0][0] for cursor in cursors):  # nothing at hand comes before the next run
            place = waiting.popleft()[1]
            cursor = _Cursor(runs[place], recodes[place], topics[runs[place].shape.standing, runs[place].shape.topic], at_hand)
            cursors += [cursor] if cursor.fill() else []
        begins = [(waiting[0][0], _NO_ARRIVAL)] if waiting else []
        cut = min([*(cursor.last for cursor in cursors if cursor.goes_on), *begins], default=None)
        loaded = tuple(piece for cursor in cursors if (piece := cursor.take_until(cut)) is not None)
        starts = np.cumsum([0, *(piece.n for piece in loaded)])
        ts = loaded[0].ts if len(loaded) == 1 else np.concatenate([piece.ts for piece in loaded])
        yield Pieces(loaded, None if len(loaded) == 1 else total_order(
            ts, partial(order_keys, loaded, starts, whole_arrival(loaded))))


def _most_open(spans: Sequence[tuple[int, int]]) -> int:
    """How many of some spans of time have an instant in common, at most."""
    edges = sorted([(start, 0) for start, _ in spans] + [(end, 1) for _, end in spans])
    return int(np.cumsum([1 - 2 * is_end for _, is_end in edges]).max(initial=0))


_Place = tuple[int, int, int, int, int, Any]


class _Cursor:
    """Where merging stands in a run, with the rows that it has at hand."""

    def __init__(self, run: Run, recode: Recode, topic: int, rows: int) -> None:
        self._run, self._recode, self._topic, self._rows = run, recode, topic, rows
        self._next = 0
        self._held = run.read(0, 0, recode)

    @property
    def goes_on(self) -> bool:
        """Are there rows beyond those at hand?"""
        return self._next < self._run.n

    @property
    def first(self) -> int:
        """The instant of the first row at hand."""
        return int(self._held.ts[0])

    @property
    def last(self) -> _Place:
        """The place in the total order of the last row at hand."""
        return self._place(self._held.n - 1)

    def fill(self) -> bool:
        """Have rows at hand, if any are left."""
        if not self._held.n and self.goes_on:
            stop = min(self._next + self._rows, self._run.n)
            self._held = self._run.read(self._next, stop, self._recode)
            self._next = stop
        return self._held.n > 0

    def take_until(self, cut: tuple[Any, ...] | None) -> Loaded | None:
        """The rows at hand that stand no later than `cut`; None if there are none."""
        held = self._held
        count = held.n if cut is None else bisect.bisect_right(
            range(int(np.searchsorted(held.ts, cut[0], "right"))), cut, lo=int(np.searchsorted(held.ts, cut[0])), key=self._place)
        self._held = _cut(held, count, held.n)
        return _cut(held, 0, count) if count else None

    def _place(self, row: int) -> _Place:
        held = self._held
        arrival, partition, offset = (0 if values is None else int(values[row]) for values in (held.arrival, held.partition, held.offset))
        one = held.ids[row]
        return int(held.ts[row]), arrival, self._topic, partition, offset, one.as_py().encode() if isinstance(one, pa.Scalar) else int(one)


def _cut(one: Loaded, start: int, stop: int) -> Loaded:
    fields: dict[str, Any] = {name: (values[0][start:stop], None if values[1] is None else values[1][start:stop])
                              for name, values in one.fields.items()}
    partition, offset, arrival = (None if values is None else values[start:stop] for values in (one.partition, one.offset, one.arrival))
    return replace(one, ts=one.ts[start:stop], ids=one.ids[start:stop], partition=partition, offset=offset, arrival=arrival, fields=fields)
