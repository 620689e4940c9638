"""Which assertions speak of an event, and what they say of it together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offline_feature_plane.domain.entity_labels import resolve_event
from offline_feature_plane.domain.resolution import Assertion, Resolution, resolve

if TYPE_CHECKING:
    from offline_feature_plane.engines.oracle.meaning import Event

__all__ = ["AssumedAssertion", "EntityAssertion", "label_of", "speaks_of"]


@dataclass(frozen=True)
class AssumedAssertion(Assertion):
    """An assertion that became known a fixed time after its event: it is about events of its id at that instant only."""

    event_us: int = 0


@dataclass(frozen=True)
class EntityAssertion(Assertion):
    """An assertion about an entity: it is about the events of a source that hold its subject in a field (`docs/decisions/0035`)."""

    held_by: tuple[str, str] = ("", "")


def speaks_of(assertion: Assertion, event: Event) -> bool:
    """Is an assertion about an event? It is about every one that carries its id, in whatever source, or about those of its entity."""
    if isinstance(assertion, EntityAssertion):
        source, field = assertion.held_by
        return event.source == source and event.values[field] == assertion.subject
    return assertion.subject == event.event_id and (not isinstance(assertion, AssumedAssertion) or assertion.event_us == event.ts_us)


def label_of(event: Event, label_type: str, assertions: Iterable[Assertion], cut_us: int, rule: str) -> Resolution:
    """What is known about an event's label at a cut. Raises as `resolve`."""
    about = [one for one in assertions if one.label_type == label_type and speaks_of(one, event)]
    if any(isinstance(one, EntityAssertion) for one in about):  # all assertions of a type are about entities, or none is
        return resolve_event(about, event.ts_us, cut_us, rule)
    return resolve(about, cut_us, rule)
