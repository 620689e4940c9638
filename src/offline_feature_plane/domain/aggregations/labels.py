"""Labels of events, as they were known at the row (`decisions.md` D22, D23)."""

from __future__ import annotations

from fractions import Fraction

from offline_feature_plane.domain.aggregation_kind import NO_EVIDENCE, AggregationKind, Result, WindowContents
from offline_feature_plane.domain.aggregations.registry import FLOAT64, INT64, register


@register
class LabelCount(AggregationKind):
    """`label_count(type, VALUE…)` is the number of events whose label, as known at the row, is one of the values."""

    name, argument, zero_when_empty, gives = "label_count", "label", True, INT64
    null_rule = "NOT_FOUND and CONFLICT do not match."
    algebra = "A sum of matches; subtractable, but an event's match changes as labels become known."

    def meaning(self, window: WindowContents) -> Result:
        """How many match."""
        return sum(event.label in window.call.values for event in window.events)


@register
class LabelRate(AggregationKind):
    """`label_rate(type, VALUE…)` divides the matching events by all events of the window; with `of: resolved` by the resolved ones."""

    name, argument, takes_of_resolved, gives = "label_rate", "label", True, FLOAT64
    null_rule = "NOT_FOUND and CONFLICT do not match; they divide unless `of: resolved`."
    algebra = "Two sums of matches; subtractable, but an event's match changes as labels become known. One correctly rounded division."

    def meaning(self, window: WindowContents) -> Result:
        """Matches ÷ n, rounded once."""
        counted = [event for event in window.events if event.label is not None or not window.call.of_resolved]
        matched = sum(event.label in window.call.values for event in counted)
        return float(Fraction(matched, len(counted))) if counted else NO_EVIDENCE
