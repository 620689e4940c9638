"""Rows that a calendar makes: who is there, from when on, and pieces of events for period after period (`docs/decisions/0036`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.calendars import Calendar
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.columns import Loaded
from offline_feature_plane.engines.local.lowering import as_arrow, as_numpy

__all__ = ["FirstSeen"]

Int64s = npt.NDArray[np.int64]
_Span = tuple[int, str, int, int]  # a period's last instant and first day; entities from one place to before another


class FirstSeen:
    """The entities of the calendar's source, each with the instant of its first event; known when every event has been seen."""

    def __init__(self, task: Task, calendar: Calendar, entity: str) -> None:
        self._calendar, self._entity, self._subject = calendar, entity, task.subject
        self._source, self._own = task.closure.place(calendar.source), task.closure.place(task.subject)
        self._kind = pa.string() if task.closure.source(task.subject).field(entity).type.kind == "string" else pa.int64()
        self._held: list[pa.Table] = []

    def look(self, piece: Loaded) -> None:
        """Take note of who is in a piece of events. Repeats of events change nothing, so they may still be among them."""
        if piece.source != self._source or not piece.n:
            return
        values = piece.fields[self._entity]
        who = values if isinstance(values, pa.ChunkedArray) else pa.array(values[0], mask=None if values[1] is None else ~values[1])
        self._held.append(_first_of_each(pa.table({"who": who, "at": as_arrow(piece.ts)}).filter(pc.is_valid(who))))
        if len(self._held) > 1 and sum(map(len, self._held[1:])) > len(self._held[0]):
            self._held = [_first_of_each(pa.concat_tables(self._held))]

    def rows(self, most: int) -> Iterator[Loaded]:
        """What the calendar makes, in pieces of at most `most` rows, ascending; at least one piece, which may be empty."""
        seen = _first_of_each(pa.concat_tables(self._held)).sort_by("at") if self._held else pa.table({"who": [], "at": []})
        who = pa.chunked_array([seen["who"].combine_chunks()], self._kind) if self._held else pa.chunked_array([], self._kind)
        first = as_numpy(seen["at"].combine_chunks(), np.int64) if self._held else np.empty(0, np.int64)
        waiting: list[_Span] = []
        room = most
        for at_us, day in self._calendar.ends().items():
            start, there = 0, int(np.searchsorted(first, at_us, "right"))
            while start < there:
                taken = min(there - start, room)
                waiting.append((at_us, day, start, start + taken))
                start, room = start + taken, room - taken
                if not room:
                    yield self._piece(who, waiting)
                    waiting, room = [], most
        yield self._piece(who, waiting)

    def _piece(self, who: pa.ChunkedArray, spans: list[_Span]) -> Loaded:
        """Some entities at the ends of some periods."""
        asked = pa.chunked_array([chunk for _, _, start, stop in spans for chunk in who.slice(start, stop - start).chunks], self._kind)
        ids = pa.chunked_array([pc.binary_join_element_wise(chunk.cast(pa.string()), day, "@")
                                for _, day, start, stop in spans for chunk in who.slice(start, stop - start).chunks], pa.string())
        ts = np.repeat(np.array([at_us for at_us, *_ in spans], np.int64), [stop - start for _, _, start, stop in spans])
        values = asked if self._kind == pa.string() else (as_numpy(asked.combine_chunks(), np.int64), None)
        return Loaded(self._subject, self._own, ts, ids, None, None, {self._entity: values}, None, standing=1)


def _first_of_each(seen: pa.Table) -> pa.Table:
    return seen.group_by("who").aggregate([("at", "min")]).select(["who", "at_min"]).rename_columns(["who", "at"])
