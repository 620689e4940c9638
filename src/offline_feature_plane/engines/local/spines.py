"""What a spine must be: it asks for an entity at most once at an instant (`docs/decisions/0036`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.rows import Task
from offline_feature_plane.domain.spines import asked_again
from offline_feature_plane.engines.local.by_entity import parts_of
from offline_feature_plane.engines.local.events import Events, History

__all__ = ["check_spine"]

Int64s = npt.NDArray[np.int64]


def check_spine(history: History, task: Task, data: int, block: int) -> None:
    """Refuse a spine that asks for an entity twice at one instant; arguments as of `find_strays`. Raises SpineInvalid."""
    if task.entity is None:
        return
    again: list[Int64s] = []
    for part in parts_of(history, task, task.entity, data, block, _asked):
        order = np.argsort(part.codes, kind="stable")  # of one entity the events stay in the order of time
        ts, codes = part.marks[order], part.codes[order]
        again.append(ts[1:][(codes[1:] == codes[:-1]) & (ts[1:] == ts[:-1])])
    repeated = np.concatenate(again) if again else np.empty(0, np.int64)
    if len(repeated):
        raise asked_again(task, len(repeated), int(repeated.min()))


def _asked(events: Events, task: Task) -> tuple[Int64s, Int64s]:
    """All events of the subject, in whatever split, and their instants."""
    rows = np.flatnonzero(events.source == task.closure.place(task.subject))
    return rows, events.ts[rows]
