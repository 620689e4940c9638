"""How far reading is, as it is told: of all inputs together, and where a log has several holders, of what each of them has."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from offline_feature_plane.engines.stepwise import Progress
from offline_feature_plane.ports.inputs import EventInput, HeldApart, PlainTable

__all__ = ["Telling"]


class Telling:
    """Tells `replay`, and beside it `archive` and `bus`, whose parts of a log are read in turns, partition by partition.

    Args:
        tell: is told.
        inputs: of a build. Logs are read first, by topic.
        most: so many rows and records come at most.
    """

    def __init__(self, tell: Progress, inputs: Sequence[EventInput], most: int) -> None:
        self._tell, self._most = tell, most
        logs = sorted((one for one in inputs if not isinstance(one, PlainTable)), key=lambda one: one.topic.encode())
        self._parts = [part for one in logs for part in (one.holders if isinstance(one, HeldApart) else [("", one.rows)])]
        self._ends = list(accumulate(count for _, count in self._parts))
        self._totals = Counter[str]()
        self._before = list[Counter[str]]()
        for name, count in self._parts:
            self._before.append(self._totals.copy())
            self._totals[name] += count
        self._are_told = len(self._totals) > 1

    def read(self, done: int) -> None:
        """So many rows and records have been read."""
        self._tell("replay", done, max(done, self._most))
        if self._are_told and done:
            at = min(bisect_left(self._ends, done), len(self._ends) - 1)
            name, count = self._parts[at]
            so_far = self._before[at] + Counter({name: min(count, done - self._ends[at] + count)})
            for one in sorted(filter(None, self._totals)):
                self._tell(one, so_far[one], self._totals[one])
