"""Entities that labels speak of: which of them have events, and what each event carries by effective time (`domain.entity_labels`).

Labels stay with their entities, and events look them up block by block, so that an active entity costs no memory:

```
   assertions ──▶ steps by effective time, a few for each entity
                                  │ the last with at ≤ ts
   events, a block at a time ─────┴──▶ what holds of each of them
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.engines.local.events import Events, History, Key
from offline_feature_plane.engines.local.label_steps import Steps

Int64s = npt.NDArray[np.int64]

_PIECE = 1 << 20


@dataclass(frozen=True)
class Entities:
    """The entities that have both assertions and events: ascending `codes` of what the field `key` of the events holds.

    A code is the number itself, or the place of a text in the field's dictionary. An entity's number is its place in `codes`; `firsts`
    are the positions of the first event of each.
    """

    history: History
    key: Key
    codes: Int64s
    firsts: Int64s

    @property
    def n(self) -> int:
        """How many."""
        return len(self.codes)


@dataclass(frozen=True)
class Eras:
    """What events carry: the steps of their entities by number, then effective time.

    `instants` are the distinct times of steps, and `ends` each step's entity and place in `instants`, as one number, ascending.
    """

    entities: Entities
    steps: Steps
    instants: Int64s
    ends: Int64s

    @classmethod
    def of(cls, entities: Entities, steps: Steps) -> Eras:
        """Steps whose positions are numbers of entities."""
        instants = np.unique(steps.at)
        return cls(entities, steps, instants, steps.position * (len(instants) + 1) + np.searchsorted(instants, steps.at) + 1)

    def over(self, start: int, stop: int) -> Steps:
        """What the events at positions `start … stop − 1` carry, counted from there: the last step of its entity that is not after it."""
        events = self.entities.history.window(start, stop, (self.entities.key,))
        position, code = _codes_of(events, self.entities.key)
        entity, met = _find(self.entities.codes, code)
        position, entity = position[met], entity[met]
        asked = entity * (len(self.instants) + 1) + np.searchsorted(self.instants, events.ts[position], "right")
        place = np.searchsorted(self.ends, asked, "right") - 1
        carries = place >= 0
        carries[carries] = self.steps.position[place[carries]] == entity[carries]
        return replace(self.steps.take(place[carries]), position=position[carries])


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
    wanted = np.unique(asserted)
    first = np.full(len(wanted), history.n, np.int64)
    for start in range(0, history.n, _PIECE):
        position, code = _codes_of(history.window(start, min(start + _PIECE, history.n), (key,)), key)
        entity, met = _find(wanted, code)
        np.minimum.at(first, entity[met], start + position[met])
    there = first < history.n
    found = Entities(history, key, wanted[there], first[there])
    number, met = _find(found.codes, asserted)
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


def _find(ordered: Int64s, codes: Int64s) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Places of codes in an ascending array, and which of them are there."""
    if not len(ordered):
        return np.zeros(len(codes), np.int64), np.zeros(len(codes), np.bool_)
    place = np.minimum(np.searchsorted(ordered, codes), len(ordered) - 1)
    return place, ordered[place] == codes
