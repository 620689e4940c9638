"""Exact sums and correctly rounded quotients over ranges of slots (`decisions.md` D28).

Sums are differences of prefix sums. A prefix is one 64-bit limb that may wrap: its differences are right whenever the window's own sum
fits, whatever came before. Only if a key's events could exceed 64 bits is a high limb kept, and differences are exact in 128 bits.
A quotient is the float64 nearest to the exact ratio of integers, ties to even: one hardware division if both are at most 2⁵³, long
division otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.slots import BOOLS, FLOATS, INT32S, INT64S, Bools, Int32s, Int64s

LEAST, GREATEST = -2**63, 2**63 - 1
_ONE, _ZERO, _HALF, _TOP = np.uint64(1), np.uint64(0), np.uint64(32), np.uint64(63)
_LOW_HALF = np.uint64(2**32 - 1)
_EXACT = np.uint64(2**53)


class SumOverflow(ArithmeticError):
    """A window's sum leaves its limits: `feature` (index into the requests), `position` of the row, exact `total`, `limit`."""

    def __init__(self, feature: int, position: int, total: int, limit: int) -> None:
        super().__init__(f"the sum {total} at position {position} exceeds ±{limit}")
        self.feature, self.position, self.total, self.limit = feature, position, total, limit


@compiled(types.void(INT64S, INT64S, INT64S))
def add_up(values: Any, low: Any, high: Any) -> None:
    """Prefix sums: `low[i]`, and `high[i]` if it is not empty, hold the sum of `values[:i]` as limbs of a 128-bit integer."""
    wide = high.shape[0] > 0
    below, above = _ZERO, np.int64(0)
    for i in range(values.shape[0]):
        low[i] = np.int64(below)
        if wide:
            high[i] = above
        value = values[i]
        after = below + np.uint64(value)
        if after < below:
            above += 1
        if value < 0:
            above -= 1
        below = after
    low[values.shape[0]] = np.int64(below)
    if wide:
        high[values.shape[0]] = above


@compiled(types.void(BOOLS, INT32S))
def count_up(marks: Any, counts: Any) -> None:
    """Prefix counts of marks: `counts[i]` of `marks[:i]`."""
    total = np.int32(0)
    for i in range(marks.shape[0]):
        counts[i] = total
        if marks[i]:
            total += np.int32(1)
    counts[marks.shape[0]] = total


@compiled(types.void(INT32S, INT32S, INT32S, INT64S))
def count_ranges(counts: Any, hi: Any, lo: Any, out: Any) -> None:
    """How many events, or marked ones if `counts` is not empty, lie in each range."""
    for r in range(hi.shape[0]):
        out[r] = counts[hi[r]] - counts[lo[r]] if counts.shape[0] > 0 else hi[r] - lo[r]


@register_jitable
def _between(low: Any, high: Any, hi: Any, lo: Any) -> Any:
    """The sum of a range as (high limb, low limb)."""
    upper, lower = np.uint64(low[hi]), np.uint64(low[lo])
    difference = upper - lower
    if high.shape[0] == 0:
        return np.int64(difference) >> 63, difference
    borrow = np.int64(1) if upper < lower else np.int64(0)
    return high[hi] - high[lo] - borrow, difference


@compiled(types.int64(INT64S, INT64S, INT32S, INT32S, types.int64, types.int64, INT64S))
def sum_ranges(low: Any, high: Any, hi: Any, lo: Any, least: Any, greatest: Any, out: Any) -> Any:
    """Sum each range; returns the first row whose sum is outside of `least … greatest`, or -1."""
    offender: Any = np.int64(-1)
    for r in range(hi.shape[0]):
        above, below = _between(low, high, hi[r], lo[r])
        total = np.int64(below)
        if (above != total >> 63 or total < least or total > greatest) and offender < 0:
            offender = r
        out[r] = total
    return offender


@register_jitable
def divide_wide(above: Any, below: Any, count: Any, unit: Any) -> Any:
    """The float64 nearest to (above · 2⁶⁴ + below) ÷ (count · unit), for a magnitude below 2¹²⁷ and 0 < count < 2³¹, unit < 2⁶⁰."""
    if above == 0 and below == _ZERO:
        return 0.0
    negative = above < 0
    n_high, n_low = np.uint64(above), np.uint64(below)
    if negative:
        n_low = ~n_low + _ONE
        n_high = ~n_high + (_ONE if n_low == _ZERO else _ZERO)
    part = count * (unit & _LOW_HALF)
    d_low = count * unit
    d_high = (count * (unit >> _HALF) + (part >> _HALF)) >> _HALF
    if n_high == _ZERO and d_high == _ZERO and n_low <= _EXACT and d_low <= _EXACT:
        ratio = float(n_low) / float(d_low)
        return -ratio if negative else ratio
    exponent: Any = -52
    while True:  # shift until denominator ≤ numerator < 2 · denominator
        twice_high, twice_low = (d_high << _ONE) | (d_low >> _TOP), d_low << _ONE
        if n_high < twice_high or (n_high == twice_high and n_low < twice_low):
            break
        d_high, d_low = twice_high, twice_low
        exponent += 1
    while n_high < d_high or (n_high == d_high and n_low < d_low):
        n_high, n_low = (n_high << _ONE) | (n_low >> _TOP), n_low << _ONE
        exponent -= 1
    bits = _ZERO
    for _ in range(54):  # 53 bits of the result and one to round by; what is left of the numerator says whether more follow
        bits <<= _ONE
        if n_high > d_high or (n_high == d_high and n_low >= d_low):
            n_high -= d_high + (_ONE if n_low < d_low else _ZERO)
            n_low -= d_low
            bits |= _ONE
        n_high, n_low = (n_high << _ONE) | (n_low >> _TOP), n_low << _ONE
    kept = bits >> _ONE
    if bits & _ONE != _ZERO and (n_high != _ZERO or n_low != _ZERO or kept & _ONE != _ZERO):
        kept += _ONE
    ratio = math.ldexp(float(kept), exponent)
    return -ratio if negative else ratio


@compiled(types.void(INT64S, INT64S, INT32S, INT32S, INT32S, types.int64, FLOATS, BOOLS))
def mean_ranges(low: Any, high: Any, counts: Any, hi: Any, lo: Any, unit: Any, out: Any, valid: Any) -> None:
    """The mean of each range: its sum ÷ (its events, or marked ones, × unit), correctly rounded; null without any."""
    for r in range(hi.shape[0]):
        count = counts[hi[r]] - counts[lo[r]] if counts.shape[0] > 0 else hi[r] - lo[r]
        valid[r] = count > 0
        if count > 0:
            above, below = _between(low, high, hi[r], lo[r])
            out[r] = divide_wide(above, below, np.uint64(count), np.uint64(unit))
        else:
            out[r] = 0.0


@compiled(types.void(INT64S, INT64S, INT64S, types.int64, FLOATS))
def divide_each(above: Any, below: Any, count: Any, unit: Any, out: Any) -> None:
    """The float64 nearest to each (above · 2⁶⁴ + below) ÷ (count · unit); `below` holds unsigned bits, 0 < count < 2³¹."""
    for r in range(above.shape[0]):
        out[r] = divide_wide(above[r], np.uint64(below[r]), np.uint64(count[r]), np.uint64(unit))


class Sums:
    """Prefix sums of one column of slots, wide only where a key's events could leave 64 bits."""

    def __init__(self, values: Int64s, fullest: int) -> None:
        """Add up `values` (0 where null); `fullest` is the greatest number of events of one key."""
        self.bound = max(abs(int(values.min(initial=0))), abs(int(values.max(initial=0)))) * fullest
        self.low = np.empty(values.shape[0] + 1, np.int64)
        self.high = np.empty(values.shape[0] + 1 if self.bound > GREATEST else 0, np.int64)
        add_up(values, self.low, self.high)

    def sum(self, hi: Int32s, lo: Int32s, limit: int | None, out: Int64s) -> int:
        """Write each range's sum and return the first row beyond ±`limit` (beyond int64 if None), or -1."""
        least, greatest = (LEAST, GREATEST) if limit is None else (-limit, limit)
        return int(sum_ranges(self.low, self.high, hi, lo, least, greatest, out))

    def total(self, hi: int, lo: int) -> int:
        """One range's exact sum."""
        low = (int(self.low[hi]) - int(self.low[lo])) % 2**64
        if not self.high.size:
            return low - 2**64 if low > GREATEST else low
        borrow = int(self.low[hi]) % 2**64 < int(self.low[lo]) % 2**64
        return ((int(self.high[hi]) - int(self.high[lo]) - borrow) << 64) + low

    def mean(self, hi: Int32s, lo: Int32s, counts: Int32s, scale: int, out: npt.NDArray[np.float64], valid: Bools) -> None:
        """Write each range's mean of values scaled by 10**`scale`."""
        mean_ranges(self.low, self.high, counts, hi, lo, 10**scale, out, valid)
