"""A group's columns where rows see only what had arrived (`domain.visibility`, `decisions.md` D21).

```
   one group     windows as they happened ──▶ columns of all rows
                 latest arrival in each   ──▶ rows with hidden events ─┐
                 labels known between row and arrival ─────────────────┤
                                                                       ▼
                                    each of these rows again, in a world of its own
```

A world of its own is what one row can see: the visible events of its key, under a key that no other row has, and then the row. The same
kernels compute it, so every aggregation means the same; what it costs is the events of these rows' windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.closure import Group
from offline_feature_plane.domain.windows import reach_us
from offline_feature_plane.engines.local.events import Arrivals, Events, Values
from offline_feature_plane.engines.local.groups import GroupColumns, in_numbers
from offline_feature_plane.engines.local.keys import Codes
from offline_feature_plane.engines.local.label_steps import Steps
from offline_feature_plane.engines.local.labels import ResolvedType
from offline_feature_plane.engines.local.row_access import pick
from offline_feature_plane.errors import NumericOverflow
from offline_feature_plane.kernels.grouprun import FeatureRequest, GroupRun

__all__ = ["ArrivedColumns"]

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
_MOST = 1 << 22  # events of worlds that are computed at once


class ArrivedColumns:
    """One group's columns under `visibility: arrival`; arguments as `GroupColumns`, when events arrived, and the label as-of in µs.

    `hidden` bool tells of the rows of the last `advance` which have an event in a window that arrived after them.
    """

    def __init__(self, events: Events, group: Group, place: int, keys: tuple[Codes, int], is_row: Bools,
                 labels: Mapping[str, ResolvedType], arrivals: Arrivals, asof_us: int) -> None:
        self._events, self._group, self._place, self._key, self._is_row, self._labels = events, group, place, keys[0], is_row, labels
        self._asof = asof_us
        self._all: GroupColumns | None = GroupColumns(events, group, place, keys, is_row, labels)
        self._arrivals = arrivals
        windows = list(dict.fromkeys(feature.window for feature in group.features))
        self._latest = GroupRun(ts=events.ts, key=keys[0], n_keys=keys[1], is_event=self._all.is_event, is_row=is_row,
                                current=group.current, delay_us=group.delay_us, windows=[in_numbers(one, events) for one in windows],
                                label_changes={},
                                features=[FeatureRequest("max", window, arrivals.place) for window in range(len(windows))])
        self._reach = reach_us(group)
        at = np.flatnonzero(self._all.is_event & (keys[0] >= 0))
        self._slots = at[np.argsort(keys[0][at], kind="stable")]
        self._order = _pair(keys[0][self._slots], self._slots, events.n)
        types = dict.fromkeys(name for feature in group.features if (name := feature.aggregation.label_type) is not None)
        self._histories = {name: _History(labels[name], steps, keys[0]) for name in types if (steps := labels[name].changes) is not None}
        self.hidden: Bools = np.zeros(0, np.bool_)

    def advance(self, start: int, stop: int) -> dict[str, Values]:
        """The group's columns, by name, for the rows of the next positions. Raises NumericOverflow: a sum leaves its type."""
        rows = start + np.flatnonzero(self._is_row[start:stop])
        self.hidden = np.zeros(len(rows), np.bool_)
        for latest, valid in self._latest.advance(start, stop):
            self.hidden |= (latest > self._arrivals.place[rows]) & (valid if valid is not None else True)
        again, columns = self.hidden | self._learns(rows), {}
        try:
            columns = self._all.advance(start, stop) if self._all is not None else {}
        except NumericOverflow:  # perhaps only with what is hidden; the run is spent
            self._all = None
        if self._all is None:
            again = np.ones(len(rows), np.bool_)
        for some in self._batches(rows, np.flatnonzero(again)):
            mine = self._worlds(rows[some])
            columns = {name: _put(columns.get(name), values, some, len(rows)) for name, values in mine.items()}
        return columns

    def _learns(self, rows: Int64s) -> Bools:
        """Did a label of the row's key change between its instant and its arrival?"""
        found = np.zeros(len(rows), np.bool_)
        for history in self._histories.values():
            found |= history.differs(self._key[rows], self._events.ts[rows], self._arrivals.at[rows])
        return found

    def _spans(self, rows: Int64s) -> tuple[Int64s, Int64s]:
        """Per row the slots that its windows cannot reach beyond; its own event is not among them."""
        key, ts, instant = self._key[rows], self._events.ts, self._events.ts[rows]
        upper = rows if not self._group.delay_us else np.searchsorted(ts, instant - self._group.delay_us, "right")
        lower = np.zeros_like(rows) if self._reach is None else np.searchsorted(ts, instant - self._reach, "right")
        ends = np.searchsorted(self._order, _pair(key, upper, self._events.n))
        return np.minimum(np.searchsorted(self._order, _pair(key, lower, self._events.n)), ends), ends

    def _batches(self, rows: Int64s, wanted: Int64s) -> Iterator[Int64s]:
        """The places of the wanted rows, so many at once that their worlds stay small."""
        low, high = self._spans(rows[wanted])
        volume = np.cumsum(high - low + 1)
        at = 0
        while at < len(wanted):
            end = max(at + 1, int(np.searchsorted(volume, (volume[at - 1] if at else 0) + _MOST, "right")))
            yield wanted[at:end]
            at = end

    def _worlds(self, rows: Int64s) -> dict[str, Values]:
        """The columns of some rows (ascending), each from its own world."""
        low, high = self._spans(rows)
        counts = high - low
        world = np.repeat(np.arange(len(rows)), counts)
        slots = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(low, counts)
        seen = self._slots[slots]
        visible = self._arrivals.place[seen] < self._arrivals.place[rows][world]
        position, world = np.concatenate([seen[visible], rows]), np.concatenate([world[visible], np.arange(len(rows))])
        order = np.argsort(position, kind="stable")
        is_row = order >= np.count_nonzero(visible)
        position, world = position[order], world[order]
        key = np.where(self._key[rows][world] < 0, -1, world).astype(np.int32)
        cut = np.minimum(self._arrivals.at[rows], self._asof)
        events = _taken(self._events, self._group, position)
        labels = {name: history.as_of(position, events.ts, cut[world]) for name, history in self._histories.items()}
        columns = GroupColumns(events, self._group, self._place, (key, len(rows)), is_row, {**self._labels, **labels})
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
