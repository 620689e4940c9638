"""Groups whose windows reach back without bound: one part of the keys after the other, over the whole time.

```
   parts      ┌──────────────── time ────────────────▶
   keys ≡ 0   │ ▒▒ laid out, computed, its columns kept in files
   keys ≡ 1   │ ▒▒ then these, in the same memory
              ▼
   row by row each asks for its part: the next value of that part's file is its own
```
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.closure import Group
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.footprint import group_bytes
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.events import Arrivals, Events, History, Key, Values
from offline_feature_plane.engines.local.features import Advancing, open_group
from offline_feature_plane.engines.local.history.memory import give_back
from offline_feature_plane.engines.local.history.places import Place, ValueColumn
from offline_feature_plane.engines.local.keys import encode_keys, parts_of
from offline_feature_plane.engines.local.labels import ResolvedLabels, ResolvedType
from offline_feature_plane.engines.local.selection import Chosen
from offline_feature_plane.engines.local.sizes import Sizes

__all__ = ["KeptGroup", "compute_by_keys"]

Bools = npt.NDArray[np.bool_]
_EVENT, _FIELD = 24, 9
_HIDDEN = ""  # no column has this name


class KeptGroup:
    """The columns of one group, kept: per part of the keys the values of its rows, in the total order."""

    def __init__(self, place: Place, task: Task, group: Group, parts: int, most: int) -> None:
        self.parts = parts
        self._place, self._task, self._group, self._most = place, task, group, most
        self._columns: dict[tuple[int, str], ValueColumn] = {}
        self._shapes: dict[str, Values] = {}
        self._next = [0] * parts

    @property
    def size_bytes(self) -> int:
        """What they take."""
        return sum(column.size_bytes for column in self._columns.values())

    def keep(self, part: int, columns: Mapping[str, Values], hidden: Bools | None) -> None:
        """Add the next rows of a part."""
        marks = {} if hidden is None else {_HIDDEN: Values(ColumnType("bool"), hidden.astype(np.int64))}
        for name, values in {**columns, **marks}.items():
            if (part, name) not in self._columns:
                self._columns[part, name] = ValueColumn(self._place, f"{len(self._columns)}", values.data.dtype, self._most)
            self._columns[part, name].append(values.data, values.valid)
            self._shapes[name] = Values(values.type, values.data[:0], None, values.dictionary)

    def among(self, events: Events, is_row: Bools) -> Advancing:
        """What gives the columns of the rows among some events; rows are asked for once each, in their order."""
        return _Fetching(self, events, is_row)

    def fetch(self, parts: npt.NDArray[np.uint64]) -> dict[str, Values]:
        """The columns of the next rows, which belong to these parts of the keys."""
        found = {name: replace(shape, data=np.empty(len(parts), shape.data.dtype)) for name, shape in self._shapes.items()}
        valid = {name: np.ones(len(parts), np.bool_) for name in found}
        for part in range(self.parts):
            mine = np.flatnonzero(parts == part)
            start = self._next[part]
            self._next[part] += len(mine)
            for name in found if len(mine) else ():
                data, known = self._columns[part, name].read(start, start + len(mine))
                found[name].data[mine] = data
                if known is not None:
                    valid[name][mine] = known
        return {name: replace(values, valid=None if valid[name].all() else valid[name]) for name, values in found.items()}

    def parts_of(self, events: Events) -> npt.NDArray[np.uint64]:
        """The part of every event's key."""
        group = self._group
        return parts_of(events, group, self._task.closure.place(group.source), self._task.subject, self.parts)

    @property
    def key_fields(self) -> set[Key]:
        """The fields that hold keys."""
        return {(source, name) for source in (self._group.source, self._task.subject) for name in self._group.key}


class _Fetching:
    """One group's kept columns for the rows among some events."""

    def __init__(self, kept: KeptGroup, events: Events, is_row: Bools) -> None:
        self._kept, self._events, self._is_row = kept, events, is_row
        self.hidden: Bools | None = None

    def advance(self, start: int, stop: int) -> dict[str, Values]:
        """As `Advancing.advance`."""
        rows = self._is_row[start:stop]
        columns = self._kept.fetch(self._kept.parts_of(self._events.window(start, stop, self._kept.key_fields))[rows])
        self.hidden = columns.pop(_HIDDEN).data != 0 if _HIDDEN in columns else None
        return columns


def compute_by_keys(history: History, task: Task, group: Group, labels: ResolvedLabels, rows: Chosen, place: Place,
                    sizes: Sizes) -> KeptGroup:
    """Compute one group for all rows, part by part of its keys, and keep its columns in a new place.

    Raises:
        NumericOverflow: as `GroupColumns`. StorageIoFailure: the work folder failed.
    """
    fields = _fields_of(task, group)
    each = _EVENT + _FIELD * len(fields) + group_bytes(task.closure, group, task.visibility)
    kept = KeptGroup(place, task, group, -(-history.n * each // sizes.data), history.n)
    source = task.closure.place(group.source)
    for part in range(kept.parts):
        events, is_row, known = _gather(history, task, group, labels, rows, kept, part, sizes.block)
        columns = open_group(events, group, task, encode_keys(events, group, source, task.subject), is_row, known)
        for start in range(0, events.n, sizes.block):
            kept.keep(part, columns.advance(start, min(start + sizes.block, events.n)), columns.hidden)
        del events, is_row, known, columns
        give_back()
    return kept


def _fields_of(task: Task, group: Group) -> set[Key]:
    """What a group reads: at its own events keys, arguments and its condition, at rows of another source their keys."""
    names = {field.name for field in task.closure.source(group.source).fields}
    return {(group.source, name) for name in {*group.key, *(names & group.reads())}} | {(task.subject, name) for name in group.key}


def _gather(history: History, task: Task, group: Group, labels: ResolvedLabels, rows: Chosen, kept: KeptGroup, part: int,
            block: int) -> tuple[Events, Bools, dict[str, ResolvedType]]:
    """The events of a part of the keys side by side, which of them are rows, and how their labels change."""
    place, fields = task.closure.place(group.source), sorted(_fields_of(task, group))
    found: list[Events] = []
    chosen: list[Bools] = []
    changes: dict[str, list[Any]] = {one.aggregation.label_type: [] for one in group.features if one.aggregation.label_type is not None}
    count = 0
    for start, stop in _spans(history.n, block):
        events = history.window(start, stop, fields)
        is_row = np.zeros(events.n, np.bool_)
        is_row[rows.positions(start, stop)] = True
        mine = (kept.parts_of(events) == part) & (is_row | (events.source == place))
        found.append(_compressed(events, mine))
        chosen.append(is_row[mine])
        for name, steps in changes.items():
            all_steps = labels.types[name].steps_within(start, stop)
            own = all_steps.take(mine[all_steps.position])
            steps.append(replace(own, position=count + np.cumsum(mine)[own.position] - 1))
        count += found[-1].n
    return _side_by_side(found, fields), np.concatenate(chosen), {name: labels.types[name].only_changes(steps)
                                                                  for name, steps in changes.items()}


def _spans(n: int, block: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, block):
        yield start, min(start + block, n)


def _compressed(events: Events, mine: Bools) -> Events:
    fields = {key: replace(values, data=values.data[mine], valid=None if values.valid is None else values.valid[mine])
              for key, values in events.fields.items()}
    return Events(int(np.count_nonzero(mine)), events.ts[mine], events.source[mine], _NO_IDS, _NO_ID, fields,
                  None if events.arrivals is None else events.arrivals.take(mine))


def _side_by_side(found: Sequence[Events], keys: Sequence[Key]) -> Events:
    fields = {}
    for key in keys:
        parts = [events.fields[key] for events in found]
        valid = None if all(one.valid is None for one in parts) else np.concatenate(
            [np.ones(len(one.data), np.bool_) if one.valid is None else one.valid for one in parts])
        fields[key] = replace(parts[0], data=np.concatenate([one.data for one in parts]), valid=valid)
    return Events(sum(events.n for events in found), np.concatenate([events.ts for events in found]),
                  np.concatenate([events.source for events in found]), _NO_IDS, _NO_ID, fields, _joined(found))


def _joined(found: Sequence[Events]) -> Arrivals | None:
    known = [events.arrivals for events in found if events.arrivals is not None]
    return Arrivals(np.concatenate([one.at for one in known]), np.concatenate([one.place for one in known])) if known else None


_NO_IDS, _NO_ID = pa.chunked_array([], pa.int64()), ColumnType("int64")
