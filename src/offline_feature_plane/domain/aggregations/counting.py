"""Numbers of events, of values and of matches."""

from __future__ import annotations

from fractions import Fraction
from itertools import takewhile

from offline_feature_plane.domain.aggregation_kind import NO_EVIDENCE, AggregationKind, Result, WindowContents
from offline_feature_plane.domain.aggregations.registry import FLOAT64, INT64, register


@register
class Count(AggregationKind):
    """`count()` is the number of events; `count(x)` of those whose x is not null."""

    name, argument, zero_when_empty, gives = "count", "optional", True, INT64
    algebra = "A sum of ones; subtractable."

    def meaning(self, window: WindowContents) -> Result:
        """How many."""
        return len(window.values) if window.call.argument else len(window.events)


@register
class CountIf(AggregationKind):
    """`count_if(condition)` is the number of events for which the condition is true."""

    name, argument, takes, zero_when_empty, gives = "count_if", "none", "condition", True, INT64
    null_rule = "A condition that is unknown is not true."
    algebra = "A sum of matches; subtractable."

    def meaning(self, window: WindowContents) -> Result:
        """How many are true."""
        return len(window.values)


@register
class Ratio(AggregationKind):
    """`ratio(condition)` is the share of the window's events for which the condition is true."""

    name, argument, takes, gives = "ratio", "none", "condition", FLOAT64
    null_rule = "A condition that is unknown is not true; its event divides."
    algebra = "A sum of matches and a count; subtractable. One correctly rounded division."

    def meaning(self, window: WindowContents) -> Result:
        """Matches ÷ n, rounded once."""
        return float(Fraction(len(window.values), len(window.events))) if window.events else NO_EVIDENCE


@register
class Distinct(AggregationKind):
    """`distinct(x)` is the number of different non-null values of x."""

    name, zero_when_empty, gives = "distinct", True, INT64
    algebra = "A multiset of values; subtractable by counting occurrences."

    def meaning(self, window: WindowContents) -> Result:
        """How many different ones."""
        return len(set(window.values))


@register
class Streak(AggregationKind):
    """`streak(condition)` counts the latest events of the window for which the condition is true, up to the first for which it is not."""

    name, argument, takes, zero_when_empty, gives = "streak", "none", "condition", True, INT64
    null_rule = "A condition that is unknown is not true; it ends the streak."
    algebra = "The right one, and where it is its whole half, the left one too; not subtractable, but cut by the window's lower end."

    def meaning(self, window: WindowContents) -> Result:
        """How many are true from the latest event back."""
        return sum(1 for _ in takewhile(lambda event: event.value is not None, reversed(window.events)))
