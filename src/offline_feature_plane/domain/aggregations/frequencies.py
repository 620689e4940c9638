"""What is frequent among values, and how evenly they are spread (`docs/decisions/0028`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from offline_feature_plane.domain.aggregation_kind import NO_EVIDENCE, AggregationKind, Result, WindowContents
from offline_feature_plane.domain.aggregations.registry import FLOAT64, register
from offline_feature_plane.domain.logarithms import POINT, log2_of

__all__ = ["MOST_VALUES"]

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
