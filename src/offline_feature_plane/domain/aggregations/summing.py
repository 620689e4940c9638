"""Exact sums of values, and what follows from them (`decisions.md` D27, D28)."""

from __future__ import annotations

import math
from fractions import Fraction

from offline_feature_plane.domain.aggregation_kind import NO_EVIDENCE, AggregationKind, Result, WindowContents
from offline_feature_plane.domain.aggregations.registry import FLOAT64, INT64, no_number, register
from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS, ColumnType
from offline_feature_plane.errors import NumericOverflow


class Summing(AggregationKind):
    """Adds values up exactly; whatever must be rounded is rounded once, at the end (`decisions.md` D27, D28)."""

    is_arithmetic = True

    def output(self, argument: ColumnType | None) -> ColumnType:
        """What it gives, or else int64 of integers, decimal(18, s) of decimals, float64 of floats."""
        if argument is not None and argument.is_exact_number:
            return self.gives or (ColumnType("decimal", MAX_DECIMAL_DIGITS, argument.scale) if _is_decimal(argument) else INT64)
        if argument is not None and argument.kind == "float64":
            return FLOAT64
        raise no_number(self.name, argument)


@register
class Sum(Summing):
    """`sum(x)` is the exact sum; 0 over no values. Of floats it is rounded once. Beyond int64, 18 digits or float64: NUMERIC_OVERFLOW."""

    name, zero_when_empty = "sum", True
    algebra = "An exact sum, as an integer of as many bits as it needs; subtractable. Only the final value must fit."

    def meaning(self, window: WindowContents) -> Result:
        """The sum; scaled for decimals."""
        if _is_float(window.argument):
            return rounded(sum(map(Fraction, window.values), Fraction()), window)
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

    name, takes = "sum_if", "condition"
    null_rule = "Null values are ignored, as are events whose condition is false or unknown."


#: What to do about a sum or a slope that no float64 holds.
BEYOND_FLOATS = "Leave values of that size out by the group's `where`, or use mean or median, which never leave float64."


def rounded(total: Fraction, window: WindowContents) -> float:
    """The nearest float64. Raises NumericOverflow: it is beyond all of them."""
    try:
        return float(total)
    except OverflowError:
        raise NumericOverflow(f"{window.call.text} is beyond float64.", fix=BEYOND_FLOATS) from None


@register
class Mean(Summing):
    """`mean(x)` is the float64 nearest to the exact sum divided by the number of non-null values."""

    name, gives = "mean", FLOAT64
    algebra = "An exact sum and a count; subtractable. One correctly rounded division at the end."

    def meaning(self, window: WindowContents) -> Result:
        """Σ / (n · 10^scale), rounded once."""
        values = window.values
        scale = window.argument.scale if window.argument else 0
        return float(sum(map(Fraction, values)) / (len(values) * 10**scale)) if values else NO_EVIDENCE


@register
class Stddev(Summing):
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


def _is_float(argument: ColumnType | None) -> bool:
    return argument is not None and argument.kind == "float64"


def _is_decimal(argument: ColumnType | None) -> bool:
    return argument is not None and argument.kind == "decimal"
