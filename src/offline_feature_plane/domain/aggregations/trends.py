"""How values move with time: slopes, and means that forget (`docs/decisions/0028`)."""

from __future__ import annotations

from fractions import Fraction

from offline_feature_plane.domain.aggregation_kind import NO_EVIDENCE, Result, WindowContents
from offline_feature_plane.domain.aggregations.registry import FLOAT64, register
from offline_feature_plane.domain.aggregations.summing import Summing, rounded
from offline_feature_plane.domain.fading import FADED, fading_weight
from offline_feature_plane.domain.instants import US_PER_DAY


@register
class Trend(Summing):
    """`trend(x)` is the slope, per day, of the least-squares line through the non-null values at their instants.

    A day is 86,400 s. A slope beyond float64: NUMERIC_OVERFLOW.
    """

    name, gives = "trend", FLOAT64
    null_rule = "Null values are ignored; null for fewer than two different instants."
    algebra = "Exact sums of x, t, t · x and t², and a count; subtractable. (n · Σtx − Σt · Σx) ÷ (n · Σt² − (Σt)²) at the end."

    def meaning(self, window: WindowContents) -> Result:
        """Σ(t − t̄)(x − x̄) ÷ Σ(t − t̄)², t in days, rounded once."""
        scale = window.argument.scale if window.argument else 0
        points = [(Fraction(event.ts_us, US_PER_DAY), Fraction(event.value) / 10**scale)
                  for event in window.events if event.value is not None]
        if len({at for at, _ in points}) < 2:
            return NO_EVIDENCE
        middle, mean = (sum(column) / len(points) for column in zip(*points, strict=True))
        return rounded(sum((at - middle) * (value - mean) for at, value in points) / sum((at - middle) ** 2 for at, _ in points), window)


@register
class Ewma(Summing):
    """`ewma(x, half_life: h)` is the mean of the non-null values, an event h older than another weighing half as much.

    h is from 1s to 1000d. Ages count from the latest value, so nothing changes while no event comes. What is 64 half-lives older than that
    value, or more, has no weight. Weights are integers, the same on every machine, off from 2^(−age ÷ h) at the tenth digit.
    """

    name, takes, gives = "ewma", "half_life", FLOAT64
    algebra = "Exact sums of weights, and of values times weights; subtractable. One correctly rounded division at the end."

    def meaning(self, window: WindowContents) -> Result:
        """Σwx ÷ Σw, weights as integers, rounded once."""
        scale, half_life_us = window.argument.scale if window.argument else 0, window.call.half_life_us or 1
        latest = max((event.ts_us for event in window.events if event.value is not None), default=0)
        above, below = Fraction(), Fraction()
        for event in window.events:
            if event.value is not None and latest - event.ts_us < FADED * half_life_us:
                mantissa, exponent = fading_weight(event.ts_us, half_life_us)
                weight = mantissa * Fraction(2) ** (exponent - latest // half_life_us)
                above += weight * Fraction(event.value)
                below += weight
        return float(above / below / 10**scale) if below else NO_EVIDENCE
