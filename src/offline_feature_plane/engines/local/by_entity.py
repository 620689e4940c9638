"""Events of a source, one part of their entities after the other over the whole time, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.events import Events, History, Values
from offline_feature_plane.engines.local.keys import encode, mix
from offline_feature_plane.engines.local.row_access import pick

__all__ = ["Part", "parts_of"]

Int64s = npt.NDArray[np.int64]
_EVENT = 40  # bytes at hand for each event of a part: its value, code, position and mark, and what they were put together from


@dataclass(frozen=True)
class Part:
    """Some entities over the whole time: events at ascending positions, what was chosen with them, and the codes of their entities.

    Codes are dense, below `count`; null has one, too.
    """

    positions: Int64s
    marks: npt.NDArray[Any]
    codes: npt.NDArray[np.int32]
    count: int


def parts_of(history: History, task: Task, by: str, data: int, block: int,
             choose: Callable[[Events, Task], tuple[Int64s, npt.NDArray[Any]]]) -> Iterator[Part]:
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
            yield Part(np.concatenate([rows for rows, _, _ in found]), np.concatenate([marks for _, marks, _ in found]), codes, count)


def _side_by_side(found: list[Values]) -> Values:
    valid = None if all(one.valid is None for one in found) else np.concatenate(
        [np.ones(len(one.data), np.bool_) if one.valid is None else one.valid for one in found])
    return Values(found[0].type, np.concatenate([one.data for one in found]), valid, found[0].dictionary)
