"""Entities over the whole time: which events are of one that belongs to an earlier split, and what a spine asks for twice.

```
   anna     ●──────●────│──────○─────│─────○        ○ an earlier split has her
   ben                  │      ●──●──│─────○
          train         │    tune    │   test
```

An entity belongs to the split of its first event that is a subject, passes `where` and lies in a split. No label has a say in it
(`docs/decisions/0031`). A spine asks for an entity at most once at an instant (`docs/decisions/0036`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.rows import Task
from offline_feature_plane.domain.spines import asked_again
from offline_feature_plane.engines.local.events import Events, History, Values
from offline_feature_plane.engines.local.features import place_of
from offline_feature_plane.engines.local.history.places import Numbers, Place
from offline_feature_plane.engines.local.keys import encode, mix
from offline_feature_plane.engines.local.row_access import pick
from offline_feature_plane.engines.local.selection import Strays, find_candidates

__all__ = ["check_spine", "find_strays"]

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
_EVENT = 40  # bytes at hand for each event of a part: its value, code, position and split, and what they were put together from


def find_strays(history: History, task: Task, place: Place, data: int, block: int) -> Strays | None:
    """Find the events that stand in another split than their entity; None if the task asks for no such thing.

    One part of the entities after the other is looked at over the whole time, so that about `data` bytes are enough.

    Args:
        history: all admitted events.
        task: which field names entities, and which events could be rows.
        place: where the positions of strays are kept.
        data: bytes that may be at hand.
        block: how many events are looked at at once.

    Raises:
        NumericOverflow: `subject.where` leaves its type.
        StorageIoFailure: the work folder failed.
    """
    if task.disjoint_by is None:
        return None
    kept: list[Numbers] = []
    for part in _entities(history, task, task.disjoint_by, data, block, find_candidates):
        kept.append(place.numbers(f"strays{len(kept)}", np.int64, history.n))
        home = np.empty(part.count, np.int16)
        home[part.codes[::-1]] = part.marks[::-1]  # of equal codes the last one assigned stays: the first event
        kept[-1].append(part.positions[part.marks != home[part.codes]])
    return _Kept(kept).among


def check_spine(history: History, task: Task, data: int, block: int) -> None:
    """Refuse a spine that asks for an entity twice at one instant; arguments as of `find_strays`. Raises SpineInvalid."""
    if task.entity is None:
        return
    again: list[Int64s] = []
    for part in _entities(history, task, task.entity, data, block, _asked):
        order = np.argsort(part.codes, kind="stable")  # of one entity the events stay in the order of time
        ts, codes = part.marks[order], part.codes[order]
        again.append(ts[1:][(codes[1:] == codes[:-1]) & (ts[1:] == ts[:-1])])
    repeated = np.concatenate(again) if again else np.empty(0, np.int64)
    if len(repeated):
        raise asked_again(task, len(repeated), int(repeated.min()))


@dataclass(frozen=True)
class _Part:
    """Some entities over the whole time: events at ascending positions, what was chosen with them, and the codes of their entities.

    Codes are dense, below `count`; null has one, too.
    """

    positions: Int64s
    marks: npt.NDArray[Any]
    codes: npt.NDArray[np.int32]
    count: int


def _entities(history: History, task: Task, by: str, data: int, block: int,
              choose: Callable[[Events, Task], tuple[Int64s, npt.NDArray[Any]]]) -> Iterator[_Part]:
    """The chosen events of the subject, each with a mark, one part of the entities after the other, each of about `data` bytes."""
    parts = max(1, -(-history.n * _EVENT // data))
    names = {by, *(() if task.where is None else task.where.names())}
    wanted = {(task.subject, field.name) for field in task.closure.source(task.subject).fields if field.name in names}
    for part in range(parts):
        found: list[tuple[Int64s, npt.NDArray[Any], Values]] = []
        for start in range(0, history.n, block):
            events = history.window(start, min(start + block, history.n), wanted)
            rows, marks = choose(events, task)
            values = pick(events.fields[task.subject, by], rows)
            if parts > 1:
                mine = np.flatnonzero(mix(np.zeros(len(rows), np.uint64), values) % np.uint64(parts) == part)
                rows, marks, values = rows[mine], marks[mine], pick(values, mine)
            found.append((rows + start, marks, values))
        if found:
            codes, count = encode(_side_by_side([values for _, _, values in found]), nulls_count=True)
            yield _Part(np.concatenate([rows for rows, _, _ in found]), np.concatenate([marks for _, marks, _ in found]), codes, count)


def _asked(events: Events, task: Task) -> tuple[Int64s, Int64s]:
    """All events of the subject, in whatever split, and their instants."""
    rows = np.flatnonzero(events.source == place_of(task, task.subject))
    return rows, events.ts[rows]


def _side_by_side(found: list[Values]) -> Values:
    valid = None if all(one.valid is None for one in found) else np.concatenate(
        [np.ones(len(one.data), np.bool_) if one.valid is None else one.valid for one in found])
    return Values(found[0].type, np.concatenate([one.data for one in found]), valid, found[0].dictionary)


class _Kept:
    """The strays of each part. They are asked for from the first event to the last."""

    def __init__(self, parts: list[Numbers]) -> None:
        self._parts, self._next = parts, [0] * len(parts)

    def among(self, start: int, stop: int) -> Bools:
        """Which of the events at positions `start … stop − 1` are strays."""
        found = np.zeros(stop - start, np.bool_)
        for place, positions in enumerate(self._parts):
            first = self._next[place]
            some = positions.read(first, min(first + stop - start, positions.n))
            some = some[:np.searchsorted(some, stop)]
            found[some - start] = True
            self._next[place] += len(some)
        return found


