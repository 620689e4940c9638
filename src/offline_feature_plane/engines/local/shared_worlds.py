"""What many rows see of a key, in worlds that they share (`decisions.md` D21): n log n on the hottest key.

```
   events of a key, in the order of arrival     0 1 2 3 4 5 6 7 8 9 …
   worlds: blocks of 8, 4, 2, 1                 [0 ········· 7]
                                                [0 ·· 3]        [8 ·…
   a row that arrived after 11 events sees      [0 ········· 7][8 9][10]     one block per bit of 11
```

In a block nothing is hidden from those rows, so the kernels compute it in one walk for all of them; a row's columns follow from its blocks
(`kernels.merging`). An event lies in one block of each size, and a row asks one block of each size at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.kernels.grouprun import FeatureRequest, GroupRun, LabelChanges
from offline_feature_plane.kernels.merging import Merged, Part, Sought, Whole, finish_each, is_told_by_time, resolved_of, take_apart
from offline_feature_plane.kernels.slots import Bools, Int64s
from offline_feature_plane.kernels.windows import Window

__all__ = ["SharedWorlds", "Walked"]

Column = tuple[npt.NDArray[Any], Bools | None]
_MERGES: dict[str, np.ufunc] = {"add": np.add, "min": np.minimum, "max": np.maximum}


@dataclass(frozen=True)
class Walked:
    """A group as the kernels know it: what `GroupRun` takes, and in which place events arrived."""

    ts: Int64s
    key: npt.NDArray[np.int32]
    arrived: Int64s
    is_event: Bools
    current: bool
    delay_us: int
    windows: Sequence[Window]
    labels: Mapping[Any, LabelChanges]


class SharedWorlds:
    """The columns of a group that can be had from shared worlds; `holds` are the places of their requests.

    Args:
        walked: the group.
        requests: all of its columns.
        whole: what its parts are computed over.
    """

    def __init__(self, walked: Walked, requests: Sequence[FeatureRequest], whole: Whole) -> None:
        found = {index: take_apart(request, whole) for index, request in enumerate(requests)
                 if is_told_by_time(walked.windows[request.window])}
        self._merged: dict[int, Merged] = {index: merged for index, merged in found.items() if merged is not None}
        self.holds = frozenset(self._merged)
        self._places: dict[Any, int] = {}
        self._parts: list[Part] = []
        for merged in self._merged.values():
            for part in merged.parts:
                if _same(part) not in self._places:
                    self._places[_same(part)] = len(self._parts)
                    self._parts.append(part)
        labels = dict(walked.labels) | {("resolved", name): resolved_of(changes) for name, changes in walked.labels.items()}
        self._walked = replace(walked, labels=labels)

    @property
    def row_bytes(self) -> int:
        """What the merged parts of one row take."""
        return 9 * len(self._parts)

    def columns(self, rows: Int64s, seen: Int64s) -> Mapping[int, Column]:
        """The columns of some rows, by the places of their requests.

        Args:
            rows: ascending positions, each with a key.
            seen: events of these keys, by key and then position: all that the rows' windows reach, whether visible or not.

        Raises:
            SumOverflow: a sum leaves its limits: the earliest such row, then the first such feature.
        """
        arrived, key = self._walked.arrived, self._walked.key
        seen = seen[np.lexsort((arrived[seen], key[seen]))]
        first = np.searchsorted(key[seen], key[rows]).astype(np.int64)
        rank = np.arange(len(seen)) - np.searchsorted(key[seen], key[seen])
        most = int(arrived.max(initial=0)) + 1
        before = np.searchsorted(key[seen] * np.int64(most) + arrived[seen], key[rows] * np.int64(most) + arrived[rows]) - first
        merging = _Merging(self._parts, len(rows))
        for level in range(int(before.max(initial=0)).bit_length()):
            asking = np.flatnonzero(before >> level & 1)
            world = first[asking] + (((before[asking] >> level) - 1) << level)   # a block is named after its first event
            is_asked = np.zeros(len(seen), np.bool_)
            is_asked[world] = True
            block = np.arange(len(seen)) - (rank & ((1 << level) - 1))
            held = np.flatnonzero(is_asked[block])
            code = np.cumsum(is_asked) - 1
            merging.add(asking, self._walk(seen[held], code[block[held]], rows[asking], code[world]), own=False)
        if self._walked.current:
            asking = np.flatnonzero(self._walked.is_event[rows])
            merging.add(asking, self._look(rows[asking]), own=True)
        return finish_each(self._merged, lambda part: merging.columns[self._places[_same(part)]], Sought(rows, self._walked.ts))

    def _walk(self, events: Int64s, event_world: Int64s, rows: Int64s, row_world: Int64s) -> list[Column]:
        """All parts for rows of some worlds; a row is no event of its world."""
        position = np.concatenate([events, rows])
        order = np.argsort(position, kind="stable")
        is_row = order >= len(events)
        return self._run(position[order], np.concatenate([event_world, row_world])[order], ~is_row, is_row, current=False)

    def _look(self, rows: Int64s) -> list[Column]:
        """All parts for rows which see their own event only."""
        every = np.ones(len(rows), np.bool_)
        return self._run(rows, np.arange(len(rows)), every, every, current=True)

    def _run(self, position: Int64s, world: Int64s, is_event: Bools, is_row: Bools, *, current: bool) -> list[Column]:
        whole, taken = self._walked, _Taken(position)
        requests = [replace(one, values=taken(one.values), valid=taken(one.valid)) for one in (part.request for part in self._parts)]
        labels = {name: _moved(whole.labels[name], position, is_event) for name in {one.label for one in requests} - {None}}
        run = GroupRun(ts=whole.ts[position], key=world.astype(np.int32), n_keys=int(world.max(initial=-1)) + 1, is_event=is_event,
                       is_row=is_row, current=current, delay_us=whole.delay_us, windows=whole.windows, label_changes=labels,
                       features=requests)
        return run.advance(0, len(position))


class _Merging:
    """The merged parts of some rows so far."""

    def __init__(self, parts: Sequence[Part], rows: int) -> None:
        self._parts = parts
        self.columns = [(np.zeros(rows, np.int64 if one.merge == "add" or one.request.values is None else one.request.values.dtype),
                         np.full(rows, one.merge == "add")) for one in parts]

    def add(self, at: Int64s, found: Sequence[Column], *, own: bool) -> None:
        """Take in what one world told each of the rows at some places; `own`: it holds the row's own event."""
        for part, (data, valid), (values, known) in zip(self._parts, self.columns, found, strict=True):
            if own and part.past_only:
                continue
            more = slice(None) if known is None else known
            where, new = at[more], values[more]
            data[where] = np.where(valid[where], _MERGES[part.merge](data[where], new), new)
            valid[where] = True


class _Taken:
    """Columns at some positions, each taken once, so that requests share what they shared."""

    def __init__(self, position: Int64s) -> None:
        self._position = position
        self._made: dict[int, npt.NDArray[Any]] = {}

    def __call__(self, column: npt.NDArray[Any] | None) -> Any:
        if column is None:
            return None
        if id(column) not in self._made:
            self._made[id(column)] = column[self._position]
        return self._made[id(column)]


def _same(part: Part) -> tuple[Any, ...]:
    one = part.request
    return one.function, one.window, id(one.values), id(one.valid), one.label, part.merge, part.past_only


def _moved(changes: LabelChanges, position: Int64s, is_event: Bools) -> LabelChanges:
    """The changes of the events at some positions, told by their places among these."""
    place = np.flatnonzero(is_event)
    at = np.searchsorted(position[place], changes.event_position)
    there = np.flatnonzero(at < len(place))
    there = there[position[place[at[there]]] == changes.event_position[there]]
    return LabelChanges(place[at[there]], changes.at_us[there], changes.matched[there], changes.resolved[there])
