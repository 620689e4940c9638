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
from offline_feature_plane.engines.local.by_entity import parts_of
from offline_feature_plane.engines.local.events import History
from offline_feature_plane.engines.local.history.places import Numbers, Place
from offline_feature_plane.engines.local.selection import Marked, find_candidates

__all__ = ["find_strays"]

Bools = npt.NDArray[np.bool_]


def find_strays(history: History, task: Task, place: Place, data: int, block: int) -> Marked | None:
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
    for part in parts_of(history, task, task.disjoint_by, data, block, find_candidates):
        kept.append(place.numbers(f"strays{len(kept)}", np.int64, history.n))
        home = np.empty(part.count, np.int16)
        home[part.codes[::-1]] = part.marks[::-1]  # of equal codes the last one assigned stays: the first event
        kept[-1].append(part.positions[part.marks != home[part.codes]])
    return _Kept(kept).among


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
