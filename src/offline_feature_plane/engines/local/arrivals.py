"""A group's columns where rows see only what had arrived (`domain.visibility`, `decisions.md` D21).

```
   one group     windows as they happened ──▶ columns of all rows
                 latest arrival in each   ──▶ rows with hidden events ─┐
                 labels known between row and arrival ─────────────────┤
                                                                       ▼
                              each of these rows again, from worlds in which nothing is hidden
```

A world of its own is what one row can see: the visible events of its key, under a key that no other row has, and then the row. The same
kernels compute it, so every aggregation means the same; what it costs is the events of these rows' windows. Where that is much, worlds are
shared (`shared_worlds`) for all that can be put together from parts, and only what cannot is computed row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.closure import Feature, Group, Window
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.domain.windows import reach_us
from offline_feature_plane.engines.local.asofs import asofs_at
from offline_feature_plane.engines.local.events import Arrivals, Events, Values
from offline_feature_plane.engines.local.groups import GroupColumns
from offline_feature_plane.engines.local.keys import Codes
from offline_feature_plane.engines.local.label_steps import Steps
from offline_feature_plane.engines.local.labels import ResolvedType
from offline_feature_plane.engines.local.lists import is_list, part_name
from offline_feature_plane.engines.local.one_by_one import OneByOne
from offline_feature_plane.engines.local.row_access import BLOCK, pick
from offline_feature_plane.engines.local.shared_worlds import SharedWorlds, Walked
from offline_feature_plane.errors import NumericOverflow
from offline_feature_plane.kernels.grouprun import FeatureRequest, GroupRun, SumOverflow
from offline_feature_plane.kernels.merging import Sought, Whole
from offline_feature_plane.kernels.visible import Ranges, Visible

__all__ = ["ArrivedColumns"]

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
_MOST = 1 << 19    # events of worlds that are computed at once
_BYTES = 1 << 26   # of merged parts that are held at once
_WORTH = 1         # so many times larger are worlds of their own where worlds are shared


class ArrivedColumns:
    """One group's columns under `visibility: arrival`; arguments as `GroupColumns`, when events arrived, and the task.

    `hidden` bool tells of the rows of the last `advance` which have an event in a window that arrived after them.
    """

    def __init__(self, events: Events, group: Group, place: int, keys: tuple[Codes, int], is_row: Bools,
                 labels: Mapping[str, ResolvedType], arrivals: Arrivals, task: Task) -> None:
        self._events, self._group, self._place, self._key, self._is_row, self._labels = events, group, place, keys[0], is_row, labels
        self._task = task
        self._whole = GroupColumns(events, group, place, keys, is_row, labels)
        self._arrivals = arrivals
        self._reach = reach_us(group)
        at = np.flatnonzero(self._whole.is_event & (keys[0] >= 0))
        self._slots = at[np.argsort(keys[0][at], kind="stable")]
        self._order = _pair(keys[0][self._slots], self._slots, events.n)
        types = dict.fromkeys(name for feature in group.features if (name := feature.aggregation.label_type) is not None)
        self._histories = {name: _History(labels[name], steps, keys[0]) for name in types if (steps := labels[name].changes) is not None}
        self._late = self._find_late(keys[1])
        self._again, self._is_spent = self._late, False
        self._n_keys, self._windows = keys[1], list(dict.fromkeys(feature.window for feature in group.features))
        self._parts = Whole(events.n, self._whole.is_event)
        self._visible: Visible | None = None
        self._one_by_one: OneByOne | None = None
        self._shared: SharedWorlds | None = None
        self._ahead: tuple[Int64s, dict[str, Values]] = np.zeros(0, np.int64), {}
        self.hidden: Bools = np.zeros(0, np.bool_)

    def advance(self, start: int, stop: int) -> dict[str, Values]:
        """The group's columns, by name, for the rows of the next positions. Raises NumericOverflow: a sum leaves its type."""
        rows = start + np.flatnonzero(self._is_row[start:stop])
        self.hidden = self._late[rows]
        columns: dict[str, Values] = {}
        try:
            columns = {} if self._is_spent else self._whole.advance(start, stop)
        except NumericOverflow:  # perhaps only with what is hidden; the run is spent
            self._is_spent, self._again = True, self._is_row
        again, learns, has_key = self._again[rows], self._learns(rows), self._key[rows] >= 0
        shared = self._find_shared(start, stop)
        columns |= {name: _put(columns.get(name), values, np.flatnonzero(again & has_key), len(rows)) for name, values in shared.items()}
        left = [feature for feature in self._group.features if feature.column not in shared]
        labelled = [feature for feature in self._group.features if feature.column in shared and feature.aggregation.label_type is not None]
        wanted = (again & bool(left)) | (learns & bool(left or labelled))
        at = np.flatnonzero(wanted & has_key)
        seen = self._look(rows[at]) if len(at) else []
        followed = self._follow(rows[at], seen, self._shared.holds if shared and self._shared is not None else frozenset())
        columns |= {name: _put(columns.get(name), values, at, len(rows)) for name, values in followed.items()}
        for features, which in ((left, wanted), (labelled, learns)):
            for window, alone in _by_window(feature for feature in features if not _is_among(feature, followed)):
                low, high = np.zeros((2, len(rows)), np.int64)
                if len(at):
                    low[at], high[at] = seen[self._windows.index(window)].lo, seen[self._windows.index(window)].hi
                for some in _batches(low, high, np.flatnonzero(which)):
                    mine = self._worlds(rows[some], low[some], high[some], replace(self._group, features=alone))
                    columns |= {name: _put(columns.get(name), values, some, len(rows)) for name, values in mine.items()}
        return columns

    def _look(self, rows: Int64s) -> list[Ranges]:
        """What some rows with a key see, by windows; they come after those of the last call."""
        whole = self._whole
        if self._visible is None:
            self._visible = Visible(self._events.ts, self._key, self._n_keys, self._arrivals.place, whole.is_event,
                                    current=self._group.current, delay_us=self._group.delay_us, windows=whole.windows)
        return self._visible.ranges(rows)

    def _follow(self, rows: Int64s, seen: Sequence[Ranges], shared: frozenset[int]) -> dict[str, Values]:
        """Columns of some rows which can follow single events, where that is less than worlds of their own."""
        if self._visible is None or not len(rows):
            return {}
        if self._one_by_one is None:
            self._one_by_one = OneByOne(self._visible, self._key, self._whole.requests, self._parts)
        try:
            return self._whole.named(self._one_by_one.columns(Sought(rows, self._events.ts), seen, _WORTH, shared), self._key[rows])
        except SumOverflow as wrong:
            raise self._whole.overflow(wrong) from wrong

    def _find_late(self, n_keys: int) -> Bools:
        """Per position: is it a row which has an event in a window that arrived after it?"""
        found, whole = np.zeros(self._events.n, np.bool_), self._whole
        latest = GroupRun(ts=self._events.ts, key=self._key, n_keys=n_keys, is_event=whole.is_event, is_row=self._is_row,
                          current=self._group.current, delay_us=self._group.delay_us, windows=whole.windows, label_changes={},
                          features=[FeatureRequest("max", window, self._arrivals.place) for window in range(len(whole.windows))])
        for start in range(0, self._events.n, BLOCK):
            stop = min(start + BLOCK, self._events.n)
            rows = start + np.flatnonzero(self._is_row[start:stop])
            for place, valid in latest.advance(start, stop):
                found[rows] |= (place > self._arrivals.place[rows]) & (valid if valid is not None else True)
        return found

    def _find_shared(self, start: int, stop: int) -> dict[str, Values]:
        """Columns of the rows with a key that are computed again, as far as shared worlds hold them and are the cheaper ones."""
        wanted = start + np.flatnonzero(self._again[start:stop] & (self._key[start:stop] >= 0))
        if not len(wanted) or (self._shared is not None and not self._shared.holds):
            return {}
        rows, columns = self._ahead
        if not len(rows) or not rows[0] <= wanted[0] <= wanted[-1] <= rows[-1]:
            rows = self._next_rows(wanted)
            columns = self._share(rows)
            self._ahead = rows, columns
        low, high = np.searchsorted(rows, (start, stop)).tolist()
        return {name: values.slice(low, high) for name, values in columns.items()}

    def _next_rows(self, wanted: Int64s) -> Int64s:
        """The wanted rows and those after them, so many at once that the passed history is not walked for few of them."""
        most = _BYTES // max(1, self._shared.row_bytes) if self._shared is not None else len(wanted)
        rows = int(wanted[0]) + np.flatnonzero(self._again[wanted[0]:] & (self._key[wanted[0]:] >= 0))
        return rows[:max(most, len(wanted))]

    def _share(self, rows: Int64s) -> dict[str, Values]:
        """What shared worlds hold of some rows; nothing where worlds of their own are smaller."""
        low, high = self._spans(rows)
        order = np.argsort(self._key[rows], kind="stable")
        ends = np.flatnonzero(np.diff(self._key[rows][order], append=-1))
        low, high, volume = low[order][np.concatenate([[0], ends[:-1] + 1])], high[order][ends], int((high - low + 1).sum())
        if volume <= _WORTH * (int((high - low).sum()) + len(rows)) * int((high - low).max()).bit_length():
            return {}
        if self._shared is None:
            whole = self._whole
            self._shared = SharedWorlds(Walked(self._events.ts, self._key, self._arrivals.place, whole.is_event, self._group.current,
                                               self._group.delay_us, whole.windows, whole.label_changes), whole.requests, self._parts)
        try:
            return self._whole.named(self._shared.columns(rows, self._slots[_ranges(low, high)]), self._key[rows])
        except SumOverflow as wrong:
            raise self._whole.overflow(wrong) from wrong

    def _learns(self, rows: Int64s) -> Bools:
        """Did a label of the row's key change between its instant and until when it sees labels?"""
        found = np.zeros(len(rows), np.bool_)
        for history in self._histories.values():
            found |= history.differs(self._key[rows], self._events.ts[rows], self._knows_until(rows))
        return found

    def _knows_until(self, rows: Int64s) -> Int64s:
        """Up to when each row sees labels: its arrival, or its as-of if that is earlier."""
        return np.minimum(self._arrivals.at[rows], asofs_at(self._events.ts[rows], self._task))

    def _spans(self, rows: Int64s) -> tuple[Int64s, Int64s]:
        """Per row the slots that its windows cannot reach beyond; its own event is not among them."""
        key, ts, instant = self._key[rows], self._events.ts, self._events.ts[rows]
        upper = rows if not self._group.delay_us else np.searchsorted(ts, instant - self._group.delay_us, "right")
        lower = np.zeros_like(rows) if self._reach is None else np.searchsorted(ts, instant - self._reach, "right")
        ends = np.searchsorted(self._order, _pair(key, upper, self._events.n))
        return np.minimum(np.searchsorted(self._order, _pair(key, lower, self._events.n)), ends), ends

    def _worlds(self, rows: Int64s, low: Int64s, high: Int64s, group: Group) -> dict[str, Values]:
        """A group's columns of some rows (ascending), each from its own world: what it sees of the slots from `low` to `high` − 1."""
        world = np.repeat(np.arange(len(rows)), high - low)
        seen = self._slots[_ranges(low, high)]
        visible = self._arrivals.place[seen] < self._arrivals.place[rows][world]
        position, world = np.concatenate([seen[visible], rows]), np.concatenate([world[visible], np.arange(len(rows))])
        order = np.argsort(position, kind="stable")
        is_row = order >= np.count_nonzero(visible)
        position, world = position[order], world[order]
        key = np.where(self._key[rows][world] < 0, -1, world).astype(np.int32)
        cut = self._knows_until(rows)
        events = _taken(self._events, group, position)
        labels = {name: history.as_of(position, events.ts, cut[world]) for name, history in self._histories.items()}
        columns = GroupColumns(events, group, self._place, (key, len(rows)), is_row, {**self._labels, **labels})
        return columns.advance(0, len(position))


class _Changes:
    """Changes of labels, looked up by who owns them (an event, or a key) and by when they became known."""

    def __init__(self, owner: npt.NDArray[Any], at: Int64s) -> None:
        self._instants = np.unique(at)
        self._sorted = np.sort(self._pair(owner, at))

    def until(self, owner: npt.NDArray[Any], at: Int64s) -> Int64s:
        """Per question the number of changes, in the order of owners and instants, up to this owner's last one at or before `at`."""
        found: Int64s = np.searchsorted(self._sorted, self._pair(owner, at), "right")
        return found

    def _pair(self, owner: npt.NDArray[Any], at: Int64s) -> Int64s:
        return _pair(owner, np.searchsorted(self._instants, at, "right"), len(self._instants))


class _History:
    """One label type's changes, as rows of a group ask for them."""

    def __init__(self, resolved: ResolvedType, steps: Steps, key: Codes) -> None:
        self._resolved, self._steps = resolved, steps
        self._of_event, self._of_key = _Changes(steps.position, steps.at), _Changes(key[steps.position], steps.at)

    def differs(self, key: Codes, one: Int64s, other: Int64s) -> Bools:
        """Per row: did a label of its key change after one of two instants, and not after the other?"""
        found: Bools = (key >= 0) & (self._of_key.until(key, one) != self._of_key.until(key, other))
        return found

    def as_of(self, position: Int64s, ts: Int64s, cut: Int64s) -> ResolvedType:
        """The labels of some events, each at its own cut, as if known from the event on."""
        last = self._of_event.until(position, cut) - 1
        place = np.flatnonzero(last >= 0)
        place = place[self._steps.position[last[place]] == position[place]]
        steps = self._steps.take(last[place])
        return replace(self._resolved, changes=replace(steps, position=place, at=ts[place]))


def _pair(owner: npt.NDArray[Any], part: Int64s, most: int) -> Int64s:
    """Two numbers as one that orders as they do; `part` is 0 … `most`."""
    found: Int64s = owner.astype(np.int64) * (most + 1) + part
    return found


def _ranges(low: Int64s, high: Int64s) -> Int64s:
    """The numbers low … high − 1 of each pair, one after the other."""
    counts = high - low
    found: Int64s = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts - low, counts)
    return found


def _by_window(features: Iterable[Feature]) -> Iterator[tuple[Window, tuple[Feature, ...]]]:
    """Features, and which window they look at."""
    found: dict[Window, list[Feature]] = {}
    for feature in features:
        found.setdefault(feature.window, []).append(feature)
    return ((window, tuple(those)) for window, those in found.items())


def _is_among(feature: Feature, columns: Mapping[str, Values]) -> bool:
    return (part_name(feature, 0) if is_list(feature) else feature.column) in columns


def _batches(low: Int64s, high: Int64s, wanted: Int64s) -> Iterator[Int64s]:
    """The places of the wanted rows, so many at once that their worlds stay small."""
    volume = np.cumsum(high[wanted] - low[wanted] + 1)
    at = 0
    while at < len(wanted):
        end = max(at + 1, int(np.searchsorted(volume, (volume[at - 1] if at else 0) + _MOST, "right")))
        yield wanted[at:end]
        at = end


def _taken(events: Events, group: Group, position: Int64s) -> Events:
    """Some positions as events of their own, with the fields that the group reads."""
    read = group.reads()
    fields = {(source, name): pick(values, position) for (source, name), values in events.fields.items()
              if source == group.source and name in read}
    return replace(events, n=len(position), ts=events.ts[position], source=events.source[position], fields=fields)


def _put(before: Values | None, values: Values, at: Int64s, rows: int) -> Values:
    """A column with some of its values replaced; without a column before, the others are not known yet."""
    if before is None:
        before = replace(values, data=np.zeros(rows, values.data.dtype), valid=np.zeros(rows, np.bool_))
    data, valid = before.data.copy(), np.ones(rows, np.bool_) if before.valid is None else before.valid.copy()
    data[at] = values.data
    valid[at] = True if values.valid is None else values.valid
    return replace(before, data=data, valid=None if valid.all() else valid)
