"""Prefix sums of a column's values, or of their products with another's, as integers of as many limbs as they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.limbs import UINT64S, UInt64s, add_shifted, times
from offline_feature_plane.kernels.reducing import Argument
from offline_feature_plane.kernels.slots import INT32S, INT64S, Int32s, Int64s, raise_to

_ZERO = np.uint64(0)
_PRECISION = 53   # bits of a float64


@compiled(types.void(INT64S, INT32S, INT64S, INT32S, types.int64, UINT64S))
def add_up_limbs(mantissa: Any, shift: Any, other: Any, further: Any, size: Any, sums: Any) -> None:
    """Prefix sums of `mantissa · 2^shift`, times `other · 2^further` unless that is empty; an empty shift is 0.

    `sums[i · size …]` is that of the first i values.
    """
    sums[:size] = _ZERO
    for i in range(mantissa.shape[0]):
        at = (i + 1) * size
        for j in range(size):
            sums[at + j] = sums[at - size + j]
        value, negative = mantissa[i], mantissa[i] < 0
        low, high = np.uint64(-value) if negative else np.uint64(value), _ZERO
        places = np.int64(shift[i]) if shift.shape[0] > 0 else np.int64(0)
        if other.shape[0] > 0:
            factor = other[i]
            high, low = times(low, np.uint64(-factor) if factor < 0 else np.uint64(factor))
            negative = negative != (factor < 0)
            places += np.int64(further[i]) if further.shape[0] > 0 else np.int64(0)
        add_shifted(sums, at, size, high, low, places, negative)


@dataclass(frozen=True)
class Parts:
    """A column of slots as integers: `mantissa` · 2^(`least` + `shift`), an empty shift being 0; no mantissa · 2^shift has more `bits`."""

    mantissa: Int64s
    shift: Int32s
    least: int
    bits: int


def parts_of(argument: Argument, *, floats: bool) -> Parts:
    """The values of an argument, 0 where null, as integers with the fewest bits."""
    return split_values(raise_to(argument.values, np.dtype(np.float64)) if floats else argument.values)


def split_values(values: npt.NDArray[Any]) -> Parts:
    """Values, int64 or float64, as integers with the fewest bits."""
    if values.dtype != np.float64:
        return Parts(values, _NO_SHIFTS, 0, max(abs(int(values.min(initial=0))), abs(int(values.max(initial=0)))).bit_length())
    fraction, exponent = np.frexp(values)
    mantissa = np.ldexp(fraction, _PRECISION).astype(np.int64)
    known = mantissa != 0
    low = np.where(known, mantissa & -mantissa, 1)
    zeros = np.frexp(low.astype(np.float64))[1] - 1
    mantissa >>= zeros
    place = exponent.astype(np.int64) - _PRECISION + zeros
    least = int(place[known].min(initial=2**20)) if known.any() else 0
    highest = int(exponent[known].max(initial=-2**20)) if known.any() else 0
    return Parts(mantissa, np.where(known, place - least, 0).astype(np.int32), least, max(0, highest - least))


_NO_FACTORS, _NO_SHIFTS = np.empty(0, np.int64), np.empty(0, np.int32)


class LimbSums:
    """Prefix sums of a column's values, or of their products with another's, wide enough for every window."""

    def __init__(self, parts: Parts, fullest: int, by: Parts | None = None) -> None:
        self.least = parts.least + (by.least if by else 0)
        bits = parts.bits + (by.bits if by else 0)
        self.size = max(1, -(-(bits + fullest.bit_length() + 1) // 64))
        self.sums: UInt64s = np.empty((parts.mantissa.shape[0] + 1) * self.size, np.uint64)
        other, further = (by.mantissa, by.shift) if by else (_NO_FACTORS, _NO_SHIFTS)
        add_up_limbs(parts.mantissa, parts.shift, other, further, self.size, self.sums)

    def total(self, hi: int, lo: int) -> int:
        """One range's exact sum, in units of 2^`least`."""
        upper, lower = (sum(int(limb) << 64 * place for place, limb in enumerate(self.sums[at * self.size:(at + 1) * self.size]))
                        for at in (hi, lo))
        found = (upper - lower) % (1 << 64 * self.size)
        return found - (1 << 64 * self.size) if found >> (64 * self.size - 1) else found


def shifted(number: int, places: int) -> int:
    """Number · 2^places, rounded towards −∞ to an integer."""
    return number << places if places >= 0 else number >> -places
