"""Entities that labels speak of: which of them have events, and what each event carries by effective time (`domain.entity_labels`).

Labels stay with their entities, and events look them up block by block, so that an active entity costs no memory:

```
   assertions ──▶ steps by effective time, a few for each entity
                                  │ the last with at ≤ ts
   events, a block at a time ─────┴──▶ what holds of each of them
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.asofs import asofs_at
from offline_feature_plane.engines.local.events import Events, History, Key
from offline_feature_plane.engines.local.label_steps import Steps, joined_steps

Int64s = npt.NDArray[np.int64]

_PIECE = 1 << 20
_SPARE = 1_000_000  # places of a table beyond four for each code


@dataclass(frozen=True)
class Codes:
    """Ascending codes, numbered from 0: by a table from the first code to the last if that is not much longer than they are."""

    ordered: Int64s
    table: npt.NDArray[np.int32] | None

    @classmethod
    def of(cls, ordered: Int64s) -> Codes:
        """Numbers for codes that ascend."""
        n = len(ordered)
        if not n or int(ordered[-1]) - int(ordered[0]) >= 4 * n + _SPARE:
            return cls(ordered, None)
        table = np.full(int(ordered[-1] - ordered[0]) + 1, -1, np.int32)
        table[ordered - ordered[0]] = np.arange(n, dtype=np.int32)
        return cls(ordered, table)

    def find(self, codes: Int64s) -> tuple[Int64s, npt.NDArray[np.bool_]]:
        """Numbers of some codes, and which of them have one."""
        if not len(self.ordered):
            return np.zeros(len(codes), np.int64), np.zeros(len(codes), np.bool_)
        if self.table is None:
            place = np.minimum(np.searchsorted(self.ordered, codes), len(self.ordered) - 1)
            return place, self.ordered[place] == codes
        inside = (codes >= self.ordered[0]) & (codes <= self.ordered[-1])
        number = self.table[np.where(inside, codes - self.ordered[0], 0)].astype(np.int64)
        return number, inside & (number >= 0)


@dataclass(frozen=True)
class Entities:
    """The entities that have both assertions and events: `codes` of what the field `key` of the events holds.

    A code is the number itself, or the place of a text in the field's dictionary. `firsts` are the positions of the first event of each.
    """

    history: History
    key: Key
    codes: Codes
    firsts: Int64s

    @property
    def n(self) -> int:
        """How many."""
        return len(self.firsts)


@dataclass(frozen=True)
class Era:
    """What is carried as of one as-of: steps of entities by number, then effective time; those of entity e begin at `starts[e]`."""

    steps: Steps
    starts: Int64s

    def find(self, entity: Int64s, ts: Int64s) -> tuple[Int64s, npt.NDArray[np.bool_]]:
        """The place of the last step of each entity that is not after an instant, and whether there is one; what is left is halved."""
        low, high = self.starts[entity], self.starts[entity + 1]
        while (left := low < high).any():
            middle = (low + high) // 2
            passed = left & (self.steps.at[np.minimum(middle, len(self.steps.at) - 1)] <= ts)
            low, high = np.where(passed, middle + 1, low), np.where(left & ~passed, middle, high)
        return low - 1, low > self.starts[entity]


@dataclass(frozen=True)
class Eras:
    """What events carry, by the as-of of their split: the steps of their entities up to then."""

    entities: Entities
    task: Task
    by_asof: Mapping[int, Era]

    @classmethod
    def of(cls, entities: Entities, task: Task, resolve: Callable[[int], Steps]) -> Eras:
        """`resolve` gives the steps of an as-of, whose positions are numbers of entities."""
        found = {}
        for asof_us in task.asofs_us:
            steps = resolve(asof_us)
            found[asof_us] = Era(steps, np.searchsorted(steps.position, np.arange(entities.n + 1)))
        return cls(entities, task, found)

    @property
    def latest(self) -> Steps:
        """The steps of the latest as-of."""
        return self.by_asof[self.task.latest_asof_us].steps

    def over(self, start: int, stop: int) -> Steps:
        """What the events at positions `start … stop − 1` carry, counted from there: the last step of its entity that is not after it."""
        events = self.entities.history.window(start, stop, (self.entities.key,))
        position, code = _codes_of(events, self.entities.key)
        entity, met = self.entities.codes.find(code)
        position, entity = position[met], entity[met]
        ts, found = events.ts[position], []
        asofs = asofs_at(ts, self.task)
        for asof_us, era in self.by_asof.items():
            own = asofs == asof_us
            place, carries = era.find(entity[own], ts[own])
            found.append(replace(era.steps.take(place[carries]), position=position[own][carries]))
        return joined_steps(found)


def find_entities(history: History, key: Key, subjects: Int64s | pa.Array) -> tuple[Entities, Int64s, Int64s]:
    """The entities of some assertions that have events.

    Args:
        history: all events.
        key: the source and the field that holds the entity.
        subjects: the entity of each assertion, as the field has it.

    Returns:
        The entities; the places of the assertions about them, ascending; and beside each the number of its entity.
    """
    asserted = subjects if isinstance(subjects, np.ndarray) else _places_in(history, key, subjects)
    wanted = Codes.of(np.unique(asserted))
    first = np.full(len(wanted.ordered), history.n, np.int64)
    for start in range(0, history.n, _PIECE):
        position, code = _codes_of(history.window(start, min(start + _PIECE, history.n), (key,)), key)
        entity, met = wanted.find(code)
        np.minimum.at(first, entity[met], start + position[met])
    there = first < history.n
    found = Entities(history, key, Codes.of(wanted.ordered[there]), first[there])
    number, met = found.codes.find(asserted)
    return found, np.flatnonzero(met), number[met]


def entities_at(history: History, key: Key, positions: Sequence[int]) -> list[int | str | None]:
    """What a field of a few events holds."""
    found: list[int | str | None] = []
    for at in positions:
        event = history.window(at, at + 1, (key,))
        texts, (_, code) = event.fields[key].dictionary, _codes_of(event, key)
        found.append(None if not len(code) else int(code[0]) if texts is None else texts[int(code[0])].as_py())
    return found


def _places_in(history: History, key: Key, subjects: pa.Array) -> Int64s:
    """The places of texts in a field's dictionary, −1 for those that no event has."""
    dictionary = history.window(0, 0, (key,)).fields[key].dictionary
    if dictionary is None:
        return np.full(len(subjects), -1, np.int64)
    places = pc.fill_null(pc.index_in(subjects, value_set=dictionary.cast(subjects.type)), -1)
    return np.asarray(places.to_numpy(zero_copy_only=False), np.int64)


def _codes_of(events: Events, key: Key) -> tuple[Int64s, Int64s]:
    """Positions and codes of the events that have an entity."""
    values = events.fields[key]
    there = values.valid if values.valid is not None else np.ones(events.n, np.bool_)
    if values.type.kind == "string":
        there = there & (values.data >= 0)
    position = np.flatnonzero(there)
    return position, values.data[position].astype(np.int64)
