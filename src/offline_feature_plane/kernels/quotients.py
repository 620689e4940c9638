"""Quotients of integers of many limbs, as float64 rounded once.

```
   above   ▒▒▒▒▒▒▒▒▒▒ ···      its leading 320 bits, and whether anything follows
   below   ▒▒▒▒▒▒▒▒            as 256 bits, the highest of them set
   ratio   ▒▒ + rest           64 or 65 bits and what is left: enough to round by
```

Long division by digits of 32 bits. Each is guessed from two digits of the divisor, is then at most one too great, and is put right by
adding the divisor back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from offline_feature_plane.kernels.limbs import bits_of, nearest, times

WORK = 22             # limbs that `ratio` works with
WIDEST_DIVISOR = 256  # bits
_ABOVE, _BELOW = 11, 8
_ZERO, _ONE, _HALF, _LIMB = np.uint64(0), np.uint64(1), np.uint64(32), np.uint64(64)
_LOW, _BASE = np.uint64(2**32 - 1), np.uint64(2**32)


@register_jitable
def _lead(limbs: Any, at: Any, size: Any, bits: Any, digits: Any, work: Any, to: Any) -> Any:
    """Write the leading 32 · `digits` of a number's `bits` bits to `work[to …]`, zeros after its last; True if a lower bit is set."""
    drop = bits - 32 * np.int64(digits)
    for digit in range(digits):
        place = drop + 32 * digit
        word, bit = place >> 6, np.uint64(place & 63)
        found = limbs[at + word] >> bit if word >= 0 else _ZERO
        if bit > _HALF and word >= -1 and word + 1 < size:
            found |= limbs[at + word + 1] << (_LIMB - bit)
        work[to + digit] = found & _LOW
    rest = False
    if drop > 0:
        word = drop >> 6
        for j in range(word):
            rest = rest or limbs[at + j] != _ZERO
        rest = rest or limbs[at + word] & ((_ONE << np.uint64(drop & 63)) - _ONE) != _ZERO
    return rest


@register_jitable
def _guess(above: Any, lead: Any, second: Any, third: Any) -> Any:
    """A digit of the quotient from the leading two digits of the rest and the divisor's first and second; at most one too great."""
    digit, left = above // lead, above % lead
    while digit >= _BASE or digit * second > ((left << _HALF) | third):
        digit -= _ONE
        left += lead
        if left >= _BASE:
            break
    return digit


@register_jitable
def ratio(limbs: Any, above: Any, above_size: Any, below: Any, below_size: Any, exponent: Any, work: Any) -> Any:
    """The float64 nearest to above · 2^`exponent` ÷ below: magnitudes at their places in `limbs`, below not 0 and of at most 256 bits.

    Infinite where it is beyond all float64. `work` has `WORK` limbs.
    """
    above_bits, below_bits = bits_of(limbs, above, above_size), bits_of(limbs, below, below_size)
    if above_bits == 0:
        return 0.0
    rest, divisor = 3, 3 + _ABOVE
    more = _lead(limbs, above, above_size, above_bits, _ABOVE - 1, work, rest)
    work[rest + _ABOVE - 1] = _ZERO
    _lead(limbs, below, below_size, below_bits, _BELOW, work, divisor)
    lead, second = work[divisor + _BELOW - 1], work[divisor + _BELOW - 2]
    for j in range(2, -1, -1):
        top = rest + j + _BELOW
        digit = _guess((work[top] << _HALF) | work[top - 1], lead, second, work[top - 2])
        carry = _ZERO
        for i in range(_BELOW):
            product = digit * work[divisor + i] + carry
            low, before = product & _LOW, work[rest + j + i]
            work[rest + j + i] = (before - low) & _LOW
            carry = (product >> _HALF) + (_ONE if before < low else _ZERO)
        before = work[top]
        work[top] = (before - carry) & _LOW
        if before < carry:
            digit -= _ONE
            carry = _ZERO
            for i in range(_BELOW):
                total = work[rest + j + i] + work[divisor + i] + carry
                work[rest + j + i] = total & _LOW
                carry = total >> _HALF
            work[top] = (work[top] + carry) & _LOW
        work[j] = digit
    for i in range(_BELOW):
        more = more or work[rest + i] != _ZERO
    work[0] |= work[1] << _HALF
    work[1] = work[2]
    places = above_bits - 32 * (_ABOVE - 1) - below_bits + 32 * _BELOW
    return nearest(work, 2, exponent + places, more)


@register_jitable
def grow(limbs: Any, at: Any, size: Any, by: Any) -> None:
    """Multiply the number at `limbs[at … at + size]` by a limb, in place; it must have room."""
    carry = _ZERO
    for j in range(at, at + size):
        above, below = times(limbs[j], by)
        limbs[j] = below + carry
        carry = above + (_ONE if limbs[j] < below else _ZERO)
