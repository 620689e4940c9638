"""The aggregations of the feature language: one small class each, found by name (`features.md` Numbers, `decisions.md` D23, D27–D31).

A class says what an aggregation accepts, what it gives, and its meaning as a naive function over the events of one window. Engines compute
the same values faster: `kernels.catalog` names the reducer of each. `@register` makes one findable.
"""

from __future__ import annotations

import difflib
import math
from fractions import Fraction
from typing import Any, ClassVar

from offline_feature_plane.domain.aggregation_kind import NO_EVIDENCE, AggregationKind, Result, WindowContents, WindowEvent
from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS, ColumnType
from offline_feature_plane.domain.extraction import Value
from offline_feature_plane.domain.instants import US_PER_SECOND
from offline_feature_plane.errors import AggregationUnsupported, NumericOverflow

__all__ = ["NO_EVIDENCE", "AggregationKind", "Result", "WindowContents", "WindowEvent", "aggregation_kind", "register",
           "registered", "unregister"]

_REGISTRY: dict[str, AggregationKind] = {}


def register(kind: type[AggregationKind]) -> type[AggregationKind]:
    """Make an aggregation findable by its name."""
    _REGISTRY[kind.name] = kind()
    return kind


def unregister(name: str) -> None:
    """Take back what was registered under a name; KeyError if nothing was."""
    del _REGISTRY[name]


def registered() -> dict[str, AggregationKind]:
    """Every aggregation by name, in the order of the reference."""
    return dict(_REGISTRY)


def aggregation_kind(name: str) -> AggregationKind:
    """The aggregation of this name.

    Raises:
        AggregationUnsupported: there is none; with the nearest name.
    """
    if name in _REGISTRY:
        return _REGISTRY[name]
    close = difflib.get_close_matches(name, _REGISTRY, 1)
    raise AggregationUnsupported(f"there is no aggregation {name!r}.",
                                 fix=f"Did you mean {close[0]}?" if close else f"Known: {', '.join(_REGISTRY)}.")


INT64, FLOAT64 = ColumnType("int64"), ColumnType("float64")


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

    name, argument, takes_condition, zero_when_empty, gives = "count_if", "none", True, True, INT64
    null_rule = "A condition that is unknown is not true."
    algebra = "A sum of matches; subtractable."

    def meaning(self, window: WindowContents) -> Result:
        """How many are true."""
        return len(window.values)


@register
class Ratio(AggregationKind):
    """`ratio(condition)` is the share of the window's events for which the condition is true."""

    name, argument, takes_condition, gives = "ratio", "none", True, FLOAT64
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


class _Summing(AggregationKind):
    """Adds values up exactly; whatever must be rounded is rounded once, at the end (`decisions.md` D27, D28)."""

    is_arithmetic = True

    def output(self, argument: ColumnType | None) -> ColumnType:
        """What it gives, or else int64 of integers, decimal(18, s) of decimals, float64 of floats."""
        if argument is not None and argument.is_exact_number:
            return self.gives or (ColumnType("decimal", MAX_DECIMAL_DIGITS, argument.scale) if _is_decimal(argument) else INT64)
        if argument is not None and argument.kind == "float64":
            return FLOAT64
        raise AggregationUnsupported(f"{self.name} over {argument} is not defined.", fix="It takes numbers.")


@register
class Sum(_Summing):
    """`sum(x)` is the exact sum; 0 over no values. Of floats it is rounded once. Beyond int64, 18 digits or float64: NUMERIC_OVERFLOW."""

    name, zero_when_empty = "sum", True
    algebra = "An exact sum, as an integer of as many bits as it needs; subtractable. Only the final value must fit."

    def meaning(self, window: WindowContents) -> Result:
        """The sum; scaled for decimals."""
        if _is_float(window.argument):
            return _rounded(sum(map(Fraction, window.values), Fraction()), window)
        total: int = sum(window.values)
        fits = abs(total) < 10**MAX_DECIMAL_DIGITS if _is_decimal(window.argument) else -2**63 <= total < 2**63
        if not fits:
            width = "18 digits" if _is_decimal(window.argument) else "int64"
            raise NumericOverflow(f"{window.call.function}({window.call.argument}) is {total}, which exceeds {width}.",
                                  fix="Use a shorter window, a smaller scale, or mean.")
        return total


@register
class SumIf(Sum):
    """`sum_if(x, condition)` is the sum of x over the events for which the condition is true."""

    name, takes_condition = "sum_if", True
    null_rule = "Null values are ignored, as are events whose condition is false or unknown."


def _rounded(total: Fraction, window: WindowContents) -> float:
    try:
        return float(total)
    except OverflowError:
        raise NumericOverflow(f"{window.call.text} is beyond float64.", fix="Use a shorter window, or mean.") from None


@register
class Mean(_Summing):
    """`mean(x)` is the float64 nearest to the exact sum divided by the number of non-null values."""

    name, gives = "mean", FLOAT64
    algebra = "An exact sum and a count; subtractable. One correctly rounded division at the end."

    def meaning(self, window: WindowContents) -> Result:
        """Σ / (n · 10^scale), rounded once."""
        values = window.values
        scale = window.argument.scale if window.argument else 0
        return float(sum(map(Fraction, values)) / (len(values) * 10**scale)) if values else NO_EVIDENCE


@register
class Stddev(_Summing):
    """`stddev(x)` is the sample standard deviation of the non-null values: the exact variance, rounded once, then its root."""

    name, gives = "stddev", FLOAT64
    null_rule = "Null values are ignored; null for fewer than two."
    algebra = "Exact sums of the values and of their squares, and a count; subtractable. (n · Σx² − (Σx)²) ÷ (n · (n − 1)) at the end."

    def meaning(self, window: WindowContents) -> Result:
        """√((n · Σx² − (Σx)²) ÷ (n · (n − 1)))."""
        scale = window.argument.scale if window.argument else 0
        values = [Fraction(value) / 10**scale for value in window.values]
        n = len(values)
        if n < 2:
            return NO_EVIDENCE
        return nearest_root((n * sum(value * value for value in values) - sum(values) ** 2) / (n * (n - 1)))


def nearest_root(square: Fraction) -> float:
    """The root of a number that was rounded to 53 bits, whatever its size.

    >>> nearest_root(Fraction(9, 4)), nearest_root(Fraction(4) ** 700) == 2.0**700
    (1.5, True)
    """
    if not square:
        return 0.0
    half = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(float(square / Fraction(4) ** half)), half)


@register
class Quantile(AggregationKind):
    """`quantile(x, q)` is the value below which the share q of the non-null values lies, between two of them in proportion."""

    name, takes_share, is_arithmetic, gives = "quantile", True, True, FLOAT64
    algebra = "A multiset of values; subtractable by rank. The exact value at place (n − 1) · q is rounded once."

    def output(self, argument: ColumnType | None) -> ColumnType:
        """float64 of numbers."""
        if argument is None or not (argument.is_exact_number or argument.kind == "float64"):
            raise AggregationUnsupported(f"{self.name} over {argument} is not defined.", fix="It takes numbers.")
        return FLOAT64

    def meaning(self, window: WindowContents) -> Result:
        """x₍ₖ₎ + (h − k) · (x₍ₖ₊₁₎ − x₍ₖ₎) with h = (n − 1) · q and k = ⌊h⌋."""
        ordered = sorted(map(Fraction, window.values))
        if not ordered:
            return NO_EVIDENCE
        place = (len(ordered) - 1) * Fraction(window.call.share or "0.5")
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        exact = ordered[below] + (place - below) * (ordered[above] - ordered[below])
        return float(exact / 10**(window.argument.scale if window.argument else 0))


@register
class Median(Quantile):
    """`median(x)` is the middle one of the non-null values, or the mean of the two in the middle."""

    name, takes_share = "median", False
    algebra = "quantile(x, 0.5)."


class _Extreme(AggregationKind):
    """Minimum and maximum share everything but the direction."""

    keeps_values = True
    place: ClassVar[int]

    def output(self, argument: ColumnType | None) -> ColumnType:
        """The field's own type."""
        if argument is None or argument.kind == "bool":
            raise AggregationUnsupported(f"{self.name} over {argument} is not defined.",
                                         fix="Count them instead: use a group with `where`.")
        return argument

    def meaning(self, window: WindowContents) -> Result:
        """The extreme of the non-null values; texts by UTF-8 bytes."""
        ordered: list[Value] = sorted(window.values, key=_order)
        return ordered[self.place] if ordered else NO_EVIDENCE


@register
class Min(_Extreme):
    """`min(x)` is the smallest non-null value; texts by UTF-8 bytes."""

    name, place = "min", 0
    algebra = "The smaller of two; not subtractable (a monotone queue slides it)."


@register
class Max(_Extreme):
    """`max(x)` is the largest non-null value; texts by UTF-8 bytes."""

    name, place = "max", -1
    algebra = "The larger of two; not subtractable (a monotone queue slides it)."


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


def _order(value: Any) -> Any:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def _is_float(argument: ColumnType | None) -> bool:
    return argument is not None and argument.kind == "float64"


def _is_decimal(argument: ColumnType | None) -> bool:
    return argument is not None and argument.kind == "decimal"
