"""What a source of a bus is asked for beyond what every source of events is: how far its partitions reach, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.cutover import Watermarks
from offline_feature_plane.errors import OfsError, SourceUnreadable
from offline_feature_plane.ports.inputs import PinnedEvents
from offline_feature_plane.sources.logs.chosen import ChosenStretch, Wanted
from offline_feature_plane.sources.logs.records import LogRecords

__all__ = ["PinnedBus", "says_there_is_none"]


class PinnedBus(PinnedEvents, Protocol):
    """One topic of a bus, pinned: what its partitions held when they were asked."""

    @property
    def watermarks(self) -> tuple[Watermarks, ...]:
        """What each partition said of itself, in the order of partitions."""

    def reading(self, ranges: Sequence[Range], sources: Sequence[Source]) -> LogRecords:
        """As `PinnedEvents.reading`, of any ranges between its watermarks."""

    def some_of(self, wanted: Range, choice: Wanted) -> ChosenStretch:
        """One range, of which a choice says which records are decoded."""

    def first_at(self, marks: Watermarks, moment_us: int) -> int | None:
        """The first offset of a partition whose log time is not before a moment; None: it has no such record yet.

        Raises:
            SelectorUnresolved: the bus cannot tell.
        """

    def kept_until_us(self, wanted: Range, offset: int) -> int | None:
        """As `ports.inputs.KeptForAWhile`."""


def says_there_is_none(error: OfsError) -> bool:
    """Is an error the answer of a bus that it has no such topic? It is another thing than silence: what was there is gone."""
    return isinstance(error, SourceUnreadable) and error.fields.get("absent") == "topic"
