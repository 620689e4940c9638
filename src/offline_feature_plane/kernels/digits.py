"""Exact sums that come together from pieces: each value as digits of 32 bits, which are summed apart, and joined once they are whole.

```
   value            Σ digit[d] · 2^(least + 32 · d)         all digits of a value have its sign
   sum over A and B  Σ (ΣA digit[d] + ΣB digit[d]) · 2^…     a digit's sum stays in int64, for fewer than 2³¹ events
   result           one row's limbs after those of nothing, rounded by the kernels that round differences of prefix sums
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.limbs import UINT64S, UInt64s, add_shifted, times
from offline_feature_plane.kernels.limbsums import shifted, split_values
from offline_feature_plane.kernels.slots import INT32S, INT64S, Int64s

__all__ = ["Digits", "Joined", "digits_of", "join"]

_ZERO, _HALF, _LOW, _LOWEST = np.uint64(0), np.uint64(32), np.uint64(2**32 - 1), np.int64(2**32 - 1)


@compiled(types.void(INT64S, INT32S, types.boolean, UINT64S, types.int64[:, ::1]))
def write_digits(mantissa: Any, shift: Any, squared: Any, limbs: Any, digits: Any) -> None:
    """Write the digits of each `mantissa · 2^shift`, or of its square; an empty shift is 0. `limbs` has one for each two digits."""
    for i in range(mantissa.shape[0]):
        negative = mantissa[i] < 0
        high, low = _ZERO, np.uint64(-mantissa[i]) if negative else np.uint64(mantissa[i])
        places = np.int64(shift[i]) if shift.shape[0] > 0 else np.int64(0)
        if squared:
            high, low = times(low, low)
            places, negative = 2 * places, False
        limbs[:] = _ZERO
        add_shifted(limbs, 0, limbs.shape[0], high, low, places, False)  # noqa: FBT003 - kernels have no keywords
        for j in range(limbs.shape[0]):
            lower, upper = np.int64(limbs[j] & _LOW), np.int64(limbs[j] >> _HALF)
            digits[2 * j, i] = -lower if negative else lower
            digits[2 * j + 1, i] = -upper if negative else upper


@compiled(types.void(types.int64[:, ::1], types.int64, UINT64S))
def join_digits(digits: Any, size: Any, sums: Any) -> None:
    """Write each row's digits as one number of `size` limbs to `sums[(row + 1) · size …]`; there is room for the last carry."""
    sums[:size] = _ZERO
    for r in range(digits.shape[1]):
        carry = np.int64(0)
        for j in range(2 * size):
            total = carry + (digits[j, r] if j < digits.shape[0] else 0)
            part = np.uint64(total & _LOWEST)
            carry = total >> 32
            at = (r + 1) * size + j // 2
            sums[at] = part if j % 2 == 0 else sums[at] | (part << _HALF)


@dataclass(frozen=True)
class Digits:
    """A column's values, or their squares, by digits, the lowest first, in units of 2^`least`."""

    columns: tuple[Int64s, ...]
    least: int


@dataclass(frozen=True)
class Joined:
    """Sums of rows, laid out after 0: to kernels of prefix sums row r is what lies between 0 and r + 1."""

    sums: UInt64s
    size: int
    least: int

    def total(self, row: int) -> int:
        """One row's exact sum, rounded towards −∞ to an integer."""
        found = sum(int(limb) << 64 * place for place, limb in enumerate(self.sums[(row + 1) * self.size:(row + 2) * self.size]))
        found -= (1 << 64 * self.size) if found >> (64 * self.size - 1) else 0
        return shifted(found, self.least)


def digits_of(values: npt.NDArray[Any], *, squared: bool) -> Digits:
    """Values, int64 or float64, by digits."""
    parts = split_values(values)
    bits, least = (2 * parts.bits, 2 * parts.least) if squared else (parts.bits, parts.least)
    limbs = np.empty(max(1, -(-bits // 64)), np.uint64)
    digits = np.empty((2 * len(limbs), len(values)), np.int64)
    write_digits(parts.mantissa, parts.shift, squared, limbs, digits)
    used = max(1, -(-bits // 32))
    return Digits(tuple(digits[:used]), least)


def join(digits: Sequence[Int64s], least: int) -> Joined:
    """Sums of digits over each row's events as sums of what they are digits of."""
    size = len(digits) // 2 + 1
    sums = np.empty((len(digits[0]) + 1) * size, np.uint64)
    join_digits(np.ascontiguousarray(np.stack(digits)), size, sums)
    return Joined(sums, size, least)
