"""Exact sums of whatever numbers, as integers of as many limbs as they need, and quotients of them rounded once (`decisions.md` D27, D28).

```
   value            mantissa · 2^(least + shift)        least: the lowest bit that any value of the column has
   prefix sums      `size` limbs of 64 bits a slot, modulo 2^(64 · size): differences are exact, for every window's own sum fits
   result           the float64 nearest to the exact one, ties to even
```

Nothing is added as float64, so no result depends on an order, or on what lay in a window before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.reducing import Argument
from offline_feature_plane.kernels.slots import BOOLS, FLOATS, INT32S, INT64S, Int32s, Int64s, raise_to

UINT64S = types.uint64[::1]
UInt64s = npt.NDArray[np.uint64]
_ZERO, _ONE, _HALF, _LIMB = np.uint64(0), np.uint64(1), np.uint64(32), np.uint64(64)
_LOW = np.uint64(2**32 - 1)
_TEN = np.uint64(10)
_NOTHING_LEFT = False
_PRECISION, _LOWEST = 53, -1074   # bits of a float64, and the exponent of its least one
_POINT = 4                        # limbs below the point: enough to round by, for no divisor of a variance has 192 bits


# --- adding up ----------------------------------------------------------------------------------------------


@register_jitable
def times(one: Any, other: Any) -> Any:
    """The product of two uint64 as (high, low)."""
    a, b, c, d = one >> _HALF, one & _LOW, other >> _HALF, other & _LOW
    low, left, right = b * d, a * d, b * c
    middle = (low >> _HALF) + (left & _LOW) + (right & _LOW)
    return a * c + (left >> _HALF) + (right >> _HALF) + (middle >> _HALF), (middle << _HALF) | (low & _LOW)


@register_jitable
def add_shifted(limbs: Any, at: Any, size: Any, high: Any, low: Any, places: Any, negative: Any) -> None:
    """Add (high · 2⁶⁴ + low) · 2^places to the number at `limbs[at … at + size]`, or subtract it if it is `negative`."""
    word, bit = places >> 6, np.uint64(places & 63)
    first, second, third = low, high, _ZERO
    if bit != _ZERO:
        first, second, third = low << bit, (high << bit) | (low >> (_LIMB - bit)), high >> (_LIMB - bit)
    carry = _ZERO
    for j in range(word, size):
        part = first if j == word else second if j == word + 1 else third if j == word + 2 else _ZERO
        before = limbs[at + j]
        if negative:
            less = before - part
            limbs[at + j] = less - carry
            carry = _ONE if before < part or less < carry else _ZERO
        else:
            more = before + part
            limbs[at + j] = more + carry
            carry = _ONE if more < part or more + carry < carry else _ZERO


@compiled(types.void(INT64S, INT32S, types.int64, types.int64, UINT64S))
def add_up_limbs(mantissa: Any, shift: Any, power: Any, size: Any, sums: Any) -> None:
    """Prefix sums of `(mantissa · 2^shift) ** power`, power 1 or 2: `sums[i · size …]` is that of the first i values; no shift means 0."""
    sums[:size] = _ZERO
    for i in range(mantissa.shape[0]):
        at = (i + 1) * size
        for j in range(size):
            sums[at + j] = sums[at - size + j]
        value = mantissa[i]
        low, high = np.uint64(-value) if value < 0 else np.uint64(value), _ZERO
        if power == 2:
            high, low = times(low, low)
        places = np.int64(shift[i]) * power if shift.shape[0] > 0 else np.int64(0)
        add_shifted(sums, at, size, high, low, places, value < 0 and power == 1)


@register_jitable
def positive(limbs: Any, at: Any, size: Any) -> Any:
    """Turn the number at `limbs[at …]` into its magnitude; True if it was negative."""
    if limbs[at + size - 1] >> np.uint64(63) == _ZERO:
        return False
    carry = _ONE
    for j in range(size):
        limbs[at + j] = ~limbs[at + j] + carry
        carry = _ONE if carry == _ONE and limbs[at + j] == _ZERO else _ZERO
    return True


@register_jitable
def _window(sums: Any, size: Any, hi: Any, lo: Any, out: Any, at: Any) -> Any:
    """Write the magnitude of a window's sum to `out[at …]`; True if the sum is negative."""
    borrow = _ZERO
    for j in range(size):
        upper, lower = sums[np.int64(hi) * size + j], sums[np.int64(lo) * size + j]
        less = upper - lower
        out[at + j] = less - borrow
        borrow = _ONE if upper < lower or less < borrow else _ZERO
    return positive(out, at, size)


# --- rounding -----------------------------------------------------------------------------------------------


@register_jitable
def _bits(limbs: Any, size: Any) -> Any:
    """How many bits a number has."""
    for j in range(size - 1, -1, -1):
        if limbs[j] != _ZERO:
            top, count = limbs[j], np.int64(0)
            while top != _ZERO:
                top >>= _ONE
                count += 1
            return 64 * np.int64(j) + count
    return np.int64(0)


@register_jitable
def nearest(limbs: Any, size: Any, exponent: Any, more: Any) -> Any:
    """The float64 nearest to `limbs · 2^exponent`, ties to even; `more` says that the exact value is a little greater.

    Infinite where it is beyond all float64. With `more` there must be bits to round by.
    """
    bits = _bits(limbs, size)
    if bits == 0:
        return 0.0
    kept_bits = min(np.int64(_PRECISION), bits + exponent - _LOWEST)
    drop = bits - kept_bits
    if kept_bits < 0:
        return 0.0
    if drop <= 0:
        return math.ldexp(float(limbs[0]), exponent)
    word, bit = drop >> 6, np.uint64(drop & 63)
    kept = limbs[word] >> bit if word < size else _ZERO
    if bit != _ZERO and word + 1 < size:
        kept |= limbs[word + 1] << (_LIMB - bit)
    word, bit = (drop - 1) >> 6, np.uint64((drop - 1) & 63)
    if (limbs[word] >> bit) & _ONE != _ZERO:
        rest = more or limbs[word] & ((_ONE << bit) - _ONE) != _ZERO
        for j in range(word):
            rest = rest or limbs[j] != _ZERO
        if rest or kept & _ONE != _ZERO:
            kept += _ONE
    return math.ldexp(float(kept), exponent + drop)


@register_jitable
def split(limbs: Any, size: Any, by: Any) -> Any:
    """Divide a number in place by `by`, below 2³²; True if something is left."""
    rest = _ZERO
    for j in range(size - 1, -1, -1):
        limb = limbs[j]
        upper = (rest << _HALF) | (limb >> _HALF)
        above = upper // by
        lower = ((upper - above * by) << _HALF) | (limb & _LOW)
        below = lower // by
        rest = lower - below * by
        limbs[j] = (above << _HALF) | below
    return rest != _ZERO


@compiled(types.int64(UINT64S, types.int64, types.int64, INT32S, INT32S, UINT64S, FLOATS))
def round_sums(sums: Any, size: Any, least: Any, hi: Any, lo: Any, scratch: Any, out: Any) -> Any:
    """Each range's sum as the nearest float64; returns the first row that is beyond all of them, or -1."""
    offender: Any = np.int64(-1)
    for r in range(hi.shape[0]):
        negative = _window(sums, size, hi[r], lo[r], scratch, 0)
        total = nearest(scratch, size, least, _NOTHING_LEFT)
        if math.isinf(total) and offender < 0:
            offender = r
        out[r] = -total if negative else total
    return offender


@compiled(types.void(UINT64S, types.int64, types.int64, INT32S, INT32S, INT32S, UINT64S, FLOATS, BOOLS))
def round_means(sums: Any, size: Any, least: Any, counts: Any, hi: Any, lo: Any, scratch: Any, out: Any, valid: Any) -> None:
    """Each range's sum ÷ its events, or marked ones if `counts` is not empty; null without any."""
    for r in range(hi.shape[0]):
        count = counts[hi[r]] - counts[lo[r]] if counts.shape[0] > 0 else hi[r] - lo[r]
        valid[r] = count > 0
        out[r] = 0.0
        if count > 0:
            scratch[0] = scratch[1] = _ZERO  # two limbs below the point: enough to round by, for a count has at most 31 bits
            negative = _window(sums, size, hi[r], lo[r], scratch, 2)
            used = size + 2
            while used > 2 and scratch[used - 1] == _ZERO:
                used -= 1
            more = split(scratch, used, np.uint64(count))
            mean = nearest(scratch, used, least - 128, more)
            out[r] = -mean if negative and mean != 0.0 else mean


@register_jitable
def _multiple(sums: Any, size: Any, hi: Any, lo: Any, by: Any, out: Any, at: Any) -> None:
    """Write a window's sum, which is not negative, times `by` to `size` + 1 limbs of `out[at …]`."""
    borrow = carry = _ZERO
    for j in range(size):
        upper, lower = sums[np.int64(hi) * size + j], sums[np.int64(lo) * size + j]
        less = upper - lower
        limb = less - borrow
        borrow = _ONE if upper < lower or less < borrow else _ZERO
        above, below = times(limb, by)
        out[at + j] = below + carry
        carry = above + (_ONE if below + carry < below else _ZERO)
    out[at + size] = carry


@register_jitable
def _less_square(limbs: Any, at: Any, end: Any, root: Any, size: Any) -> None:
    """Subtract from the number at `limbs[at … end]` the square of the `size` limbs at `limbs[root …]`."""
    for i in range(size):
        carry = _ZERO
        for place in range(at + i, end):
            part = carry
            carry = _ZERO
            if place < at + i + size:
                above, below = times(limbs[root + i], limbs[root + place - at - i])
                carry = above + (_ONE if below + part < below else _ZERO)
                part += below
            before = limbs[place]
            limbs[place] = before - part
            if before < part:
                carry += _ONE


@register_jitable
def _split_by_pairs(limbs: Any, size: Any, count: Any, tens: Any) -> Any:
    """Divide a number in place by count · (count − 1) · 10^`tens`; True if something is left."""
    more = False
    divisor = count * (count - _ONE)
    if divisor > _LOW:
        more = split(limbs, size, count)
        divisor = count - _ONE
    while tens > 0:
        if divisor * _TEN > _LOW:
            more = split(limbs, size, divisor) or more
            divisor = _ONE
        divisor *= _TEN
        tens -= 1
    return split(limbs, size, divisor) or more


@compiled(types.void(UINT64S, types.int64, UINT64S, types.int64, types.int64, types.int64, INT32S, INT32S, INT32S, UINT64S, FLOATS, BOOLS))
def round_deviations(sums: Any, size: Any, squares: Any, wide: Any, least: Any, scale: Any,
                     counts: Any, hi: Any, lo: Any, scratch: Any, out: Any, valid: Any) -> None:
    """Each range's sample standard deviation of values scaled by 10^`scale`; null for fewer than two.

    The variance (n · Σx² − (Σx)²) ÷ (n · (n − 1) · 10^(2 · scale)) is rounded once to 53 bits, then its root is taken.
    `scratch` has room for `deviation_limbs`.
    """
    point = _POINT
    end = point + max(2 * size, wide + 1)
    for r in range(hi.shape[0]):
        count = counts[hi[r]] - counts[lo[r]] if counts.shape[0] > 0 else hi[r] - lo[r]
        valid[r] = count > 1
        out[r] = 0.0
        if count <= 1:
            continue
        scratch[:end] = _ZERO
        _multiple(squares, wide, hi[r], lo[r], np.uint64(count), scratch, point)
        _window(sums, size, hi[r], lo[r], scratch, end)
        _less_square(scratch, point, end, end, size)
        used = end
        while used > point and scratch[used - 1] == _ZERO:
            used -= 1
        if used > point:
            more = _split_by_pairs(scratch, used, np.uint64(count), 2 * scale)
            exponent = 2 * least - 64 * point
            half = (_bits(scratch, used) + exponent) >> 1  # an even power of two brings the variance to about 1
            out[r] = math.ldexp(math.sqrt(nearest(scratch, used, exponent - 2 * half, more)), half)


def deviation_limbs(size: int, wide: int) -> int:
    """The limbs that `round_deviations` works with, for sums of `size` and squares of `wide` limbs."""
    return _POINT + max(2 * size, wide + 1) + size


# --- a column's sums ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """A column of slots as integers: `mantissa` · 2^(`least` + `shift`), an empty shift being 0; no mantissa · 2^shift has more `bits`."""

    mantissa: Int64s
    shift: Int32s
    least: int
    bits: int


def parts_of(argument: Argument, *, floats: bool) -> Parts:
    """The values of an argument, 0 where null, as integers with the fewest bits."""
    values = argument.values
    if not floats:
        return Parts(values, np.empty(0, np.int32), 0, max(abs(int(values.min(initial=0))), abs(int(values.max(initial=0)))).bit_length())
    fraction, exponent = np.frexp(raise_to(values, np.dtype(np.float64)))
    mantissa = np.ldexp(fraction, _PRECISION).astype(np.int64)
    known = mantissa != 0
    low = np.where(known, mantissa & -mantissa, 1)
    zeros = np.frexp(low.astype(np.float64))[1] - 1
    mantissa >>= zeros
    place = exponent.astype(np.int64) - _PRECISION + zeros
    least = int(place[known].min(initial=2**20)) if known.any() else 0
    highest = int(exponent[known].max(initial=-2**20)) if known.any() else 0
    return Parts(mantissa, np.where(known, place - least, 0).astype(np.int32), least, max(0, highest - least))


class LimbSums:
    """Prefix sums of a column's values, or of their squares, wide enough for every window."""

    def __init__(self, parts: Parts, fullest: int, power: int = 1) -> None:
        self.least = parts.least
        self.size = max(1, -(-(parts.bits * power + fullest.bit_length() + 1) // 64))
        self.sums: UInt64s = np.empty((parts.mantissa.shape[0] + 1) * self.size, np.uint64)
        add_up_limbs(parts.mantissa, parts.shift, power, self.size, self.sums)

    def total(self, hi: int, lo: int) -> int:
        """One range's exact sum, in units of 2^`least`."""
        upper, lower = (sum(int(limb) << 64 * place for place, limb in enumerate(self.sums[at * self.size:(at + 1) * self.size]))
                        for at in (hi, lo))
        found = (upper - lower) % (1 << 64 * self.size)
        return found - (1 << 64 * self.size) if found >> (64 * self.size - 1) else found
