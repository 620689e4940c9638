"""Values by their order: quantiles and extremes."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar, Literal

from offline_feature_plane.domain.aggregation_kind import NO_EVIDENCE, AggregationKind, Result, WindowContents
from offline_feature_plane.domain.aggregations.registry import FLOAT64, no_number, register
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extraction import Value
from offline_feature_plane.errors import AggregationUnsupported


@register
class Quantile(AggregationKind):
    """`quantile(x, q)` is the value below which the share q of the non-null values lies, between two of them in proportion."""

    name, is_arithmetic, gives = "quantile", True, FLOAT64
    takes: ClassVar[Literal["condition", "share", "half_life", "most"] | None] = "share"
    algebra = "A multiset of values; subtractable by rank. The exact value at place (n − 1) · q is rounded once."

    def output(self, argument: ColumnType | None) -> ColumnType:
        """float64 of numbers."""
        if argument is None or not (argument.is_exact_number or argument.kind == "float64"):
            raise no_number(self.name, argument)
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

    name, takes = "median", None
    algebra = "quantile(x, 0.5)."


class _Extreme(AggregationKind):
    """Minimum and maximum share everything but the direction."""

    keeps_values = True
    place: ClassVar[int]

    def output(self, argument: ColumnType | None) -> ColumnType:
        """The field's own type."""
        if argument is None or argument.kind == "bool":
            raise AggregationUnsupported(f"{self.name} over {argument} is not defined.",
                                         fix="Count the true ones instead: `count_if(x)`.")
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


def _order(value: Any) -> Any:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
