"""What is frequent among values, and how evenly they are spread (`docs/decisions/0028`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from offline_feature_plane.domain.aggregation_kind import NO_EVIDENCE, AggregationKind, Result, WindowContents
from offline_feature_plane.domain.aggregations.registry import FLOAT64, register
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.list_texts import list_text
from offline_feature_plane.domain.logarithms import POINT, log2_of

__all__ = ["MOST_VALUES"]

#: The greatest k of `top_k`.
MOST_VALUES = 20


def _most_frequent(values: Sequence[Any]) -> list[Any]:
    """Every value once, the most frequent first, of equally frequent ones the one seen last."""
    seen = {value: place for place, value in enumerate(values)}
    counts = Counter(values)
    return sorted(seen, key=lambda value: (counts[value], seen[value]), reverse=True)


@register
class Mode(AggregationKind):
    """`mode(x)` is the most frequent non-null value of x; of several, the one that was seen last in the total order."""

    name, keeps_values = "mode", True
    algebra = "A multiset of values, and the latest place of each; subtractable by counting occurrences."

    def meaning(self, window: WindowContents) -> Result:
        """The first of the most frequent."""
        values = window.values
        return _most_frequent(values)[0] if values else NO_EVIDENCE


@register
class TopK(AggregationKind):
    """`top_k(x, k)` is a JSON list of the k most frequent non-null values of x, as a text; of equally frequent ones the last seen first.

    k is at most 20. There are fewer where the window has fewer different values. Integers, floats and booleans stand bare; decimals with
    all their digits, instants and texts are quoted: `["10.00","7.25"]`.
    """

    name, takes, spells_values, gives = "top_k", "most", True, ColumnType("string")
    algebra = Mode.algebra

    def meaning(self, window: WindowContents) -> Result:
        """The first k of the most frequent, spelled."""
        values, argument = window.values, window.argument or ColumnType("string")
        return list_text(_most_frequent(values)[:window.call.most], argument) if values else NO_EVIDENCE


@register
class Entropy(AggregationKind):
    """`entropy(x)` is the Shannon entropy, in bits, of how often each non-null value of x occurs; 0 where all are the same."""

    name, gives = "entropy", FLOAT64
    algebra = "A multiset of values, and the sum of c · log₂ c over their counts, as an integer; subtractable by counting occurrences."

    def meaning(self, window: WindowContents) -> Result:
        """(n · log₂ n − Σ c · log₂ c) ÷ n, logarithms as integers, rounded once."""
        counts = Counter(window.values)
        n = counts.total()
        if not n:
            return NO_EVIDENCE
        return float(Fraction(n * log2_of(n) - sum(c * log2_of(c) for c in counts.values()), n << POINT))
