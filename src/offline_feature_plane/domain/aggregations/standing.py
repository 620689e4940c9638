"""Events by their place in the total order: what they say, and how long ago they were."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from offline_feature_plane.domain.aggregation_kind import NO_EVIDENCE, AggregationKind, Result, WindowContents
from offline_feature_plane.domain.aggregations.registry import FLOAT64, register
from offline_feature_plane.domain.instants import US_PER_SECOND


class _Standing(AggregationKind):
    """Takes the value of one event by its place in the total order, even if that value is null."""

    null_rule = "The event's value is taken even if it is null."
    keeps_values = True
    place: ClassVar[int]

    def meaning(self, window: WindowContents) -> Result:
        """The value of that event."""
        seen = [event for event in window.events if not (self.past_only and event.own)]
        return seen[self.place].value if seen else NO_EVIDENCE


@register
class First(_Standing):
    """`first(x)` is x of the window's earliest event in the total order, even if null."""

    name, place, witness = "first", 0, "seconds_since_first"
    algebra = "The left one; slides with the window's lower end."


@register
class Last(_Standing):
    """`last(x)` is x of the window's latest event, even if null; the row's own under `current: included`."""

    name, place, witness = "last", -1, "seconds_since_first"
    algebra = "The right one; slides with the window's upper end."


@register
class Previous(_Standing):
    """`previous(x)` is x of the window's latest event other than the row's own, whatever `current` says."""

    name, place, past_only, witness = "previous", -1, True, "seconds_since_last"
    algebra = "The right one, without the row's own event."


class _Elapsed(AggregationKind):
    """Seconds from one event of the window to the row."""

    argument, gives = "none", FLOAT64
    null_rule = "It has no argument."
    place: ClassVar[int]

    def meaning(self, window: WindowContents) -> Result:
        """µs ÷ 10⁶, rounded once."""
        seen = [event for event in window.events if not (self.past_only and event.own)]
        return float(Fraction(window.row_us - seen[self.place].ts_us, US_PER_SECOND)) if seen else NO_EVIDENCE


@register
class SecondsSinceFirst(_Elapsed):
    """`seconds_since_first()` is the time from the window's earliest event to the row."""

    name, place = "seconds_since_first", 0
    algebra = "The smallest instant; slides with the window's lower end."


@register
class SecondsSinceLast(_Elapsed):
    """`seconds_since_last()` is the time from the window's latest event other than the row's own to the row."""

    name, place, past_only = "seconds_since_last", -1, True
    algebra = "The largest instant, without the row's own event."
