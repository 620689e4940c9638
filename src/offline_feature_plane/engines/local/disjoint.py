"""Splits without a common entity: which events are of an entity that belongs to an earlier split (`docs/decisions/0031`).

```
   anna     ●──────●────│──────○─────│─────○        ○ an earlier split has her
   ben                  │      ●──●──│─────○
          train         │    tune    │   test
```

An entity belongs to the split of its first event that is a subject, passes `where` and lies in a split. No label has a say in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.events import History, Values
from offline_feature_plane.engines.local.history.places import Numbers, Place
from offline_feature_plane.engines.local.keys import encode, mix
from offline_feature_plane.engines.local.row_access import pick
from offline_feature_plane.engines.local.selection import Strays, find_candidates

__all__ = ["find_strays"]

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
    parts = max(1, -(-history.n * _EVENT // data))
    kept = [_find(history, task, place.numbers(f"strays{part}", np.int64, history.n), part, parts, block) for part in range(parts)]
    return _Kept(kept).among


def _find(history: History, task: Task, into: Numbers, part: int, parts: int, block: int) -> Numbers:
    """The positions of the strays of one part of the entities, ascending."""
    assert task.disjoint_by is not None  # noqa: S101 - whoever calls has asked
    names = {task.disjoint_by, *(() if task.where is None else task.where.names())}
    wanted = {(task.subject, field.name) for field in task.closure.source(task.subject).fields if field.name in names}
    found: list[tuple[Int64s, npt.NDArray[np.int16], Values]] = []
    for start in range(0, history.n, block):
        events = history.window(start, min(start + block, history.n), wanted)
        rows, split = find_candidates(events, task)
        values = pick(events.fields[task.subject, task.disjoint_by], rows)
        if parts > 1:
            mine = mix(np.zeros(len(rows), np.uint64), values) % np.uint64(parts) == part
            rows, split, values = rows[mine], split[mine], pick(values, np.flatnonzero(mine))
        found.append((rows + start, split, values))
    if found:
        split = np.concatenate([one for _, one, _ in found])
        into.append(np.concatenate([rows for rows, _, _ in found])[_stray(split, _side_by_side([values for _, _, values in found]))])
    return into


def _stray(split: npt.NDArray[np.int16], values: Values) -> Bools:
    """Which events stand in another split than the first one of the same value; null is a value like any other."""
    codes, count = encode(values, nulls_count=True)
    home = np.empty(count, np.int16)
    home[codes[::-1]] = split[::-1]  # of equal codes the last one assigned stays: the first event
    stray: Bools = split != home[codes]
    return stray


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
