"""Rows without a context that they must have (`docs/decisions/0043`).

```
   customer anna   ────────■────────────────────▶     ■ what is known about her
   payments           ○         ●     ●               ○ no ■ stands before it: missing_context
```

Whether there is one is asked of the group itself, which counts instead of telling the latest, before rows are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.events import History
from offline_feature_plane.engines.local.history.keys import KeptGroup, compute_by_keys
from offline_feature_plane.engines.local.history.places import Place
from offline_feature_plane.engines.local.labels import ResolvedLabels
from offline_feature_plane.engines.local.selection import Marked
from offline_feature_plane.engines.local.sizes import Sizes

__all__ = ["find_lacking"]

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]


def find_lacking(history: History, task: Task, labels: ResolvedLabels, place: Place, sizes: Sizes) -> Marked | None:
    """Find the subject's events that lack a context which every row must have; None if the task demands none.

    Args:
        history: all admitted events.
        task: its closure says what is demanded.
        labels: as resolved; no context looks at them.
        place: where counts are kept.
        sizes: how much is worked on at once.

    Raises:
        NumericOverflow: a context's `where` leaves its type. StorageIoFailure: the work folder failed.
    """
    demanded = task.closure.demanded()
    if not demanded:
        return None
    subjects = _Subjects(history, task.closure.place(task.subject))
    return _Counted(subjects, [compute_by_keys(history, task, group.presence(), labels, subjects, place.inside(f"{number}"), sizes)
                               for number, group in enumerate(demanded)]).among


class _Subjects:
    """All events of the subject, as rows that are asked about."""

    def __init__(self, history: History, source: int) -> None:
        self.history, self._source = history, source

    def positions(self, start: int, stop: int) -> Int64s:
        """Those among the events at positions `start … stop − 1`, counted from `start`."""
        return np.flatnonzero(self.history.window(start, stop, ()).source == self._source)


class _Counted:
    """How many events each demanded context has, for the subject's events. They are asked for from the first to the last."""

    def __init__(self, subjects: _Subjects, kept: Sequence[KeptGroup]) -> None:
        self._subjects, self._kept = subjects, kept
        self._fields = frozenset[tuple[str, str]]().union(*(one.key_fields for one in kept))

    def among(self, start: int, stop: int) -> Bools:
        """Which of the events at positions `start … stop − 1` lack one of them."""
        found: Bools = np.zeros(stop - start, np.bool_)
        rows = self._subjects.positions(start, stop)
        if len(rows):
            events = self._subjects.history.window(start, stop, self._fields)
            is_row: Bools = np.zeros(events.n, np.bool_)
            is_row[rows] = True
            for one in self._kept:
                for counted in one.among(events, is_row).advance(0, events.n).values():
                    there = counted.data > 0
                    found[rows] |= ~(there if counted.valid is None else there & counted.valid)
        return found
