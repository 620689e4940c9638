"""Which stretches of a basis are missing now: what `gaps: as_found` in a short intent is filled with (`decisions.md` G)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from offline_feature_plane.contracts.intent import RangeBasis, SelectorBasis
from offline_feature_plane.contracts.model import sound
from offline_feature_plane.domain.basis import Range, canonical_basis
from offline_feature_plane.domain.completeness import combine
from offline_feature_plane.domain.gaps import DeclaredGap, describe_gaps, to_declare
from offline_feature_plane.ports.inputs import PinnedEvents

__all__ = ["find_gaps", "found_since"]


def find_gaps(entries: Sequence[Any], events: Mapping[str, PinnedEvents]) -> tuple[Mapping[str, Any], ...]:
    """What is missing of a basis, as entries of `gaps`.

    Args:
        entries: the basis as it was written or filled in; what is unsound in it is told elsewhere.
        events: the pinned topics.

    Raises:
        OfsError: as resolving a selector, or asking a bus.
    """
    found: list[Range] = []
    for entry in entries:
        if (span := sound(SelectorBasis, entry)) and not span.faults() and span.topic in events:
            found += events[span.topic].resolve(span.to_selector())
        elif (stated := sound(RangeBasis, entry)) and not stated.faults() and stated.topic in events:
            found.append(stated.to_range())
    if not found:
        return ()
    ranges = canonical_basis(found)
    return tuple(describe_gaps(to_declare(combine([one.completeness(ranges) for one in events.values()]).routes)))


def found_since(gaps: Sequence[DeclaredGap], events: Mapping[str, PinnedEvents]) -> tuple[DeclaredGap, ...]:
    """The declared gaps that somebody has by now; each topic is asked once. Raises OfsError as asking a bus."""
    found: set[DeclaredGap] = set()
    for topic, one in events.items():
        mine = [gap for gap in gaps if gap.is_left_out and gap.stretch.topic == topic]
        if mine:
            routes = one.completeness([gap.stretch for gap in mine]).routes
            found |= {gap for gap, way in zip(mine, routes, strict=True) if not way.gaps}
    return tuple(gap for gap in gaps if gap in found)
