"""Quotients of integers of many limbs, as float64 rounded once.

```
   below   ▒▒▒▒▒▒▒▒            as digits of 32 bits, the highest bit set
   above   ▒▒▒▒▒▒▒▒▒▒ ···      two digits more, the highest bit set, and whether anything follows
   ratio   ▒▒ + rest           64 or 65 bits and what is left: enough to round by
```

Long division by digits. Each is guessed from two digits of the divisor, is then at most one too great, and is put right by
adding the divisor back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from offline_feature_plane.kernels.limbs import bits_of, nearest, times

WIDEST = 8            # digits of 32 bits: the greatest divisor of `ratio`
WORK = 2 * WIDEST + 6 # limbs that it works with
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
    digit = above // lead
    left = above - digit * lead
    while digit >= _BASE or digit * second > ((left << _HALF) | third):
        digit -= _ONE
        left += lead
        if left >= _BASE:
            break
    return digit


@register_jitable
def ratio(limbs: Any, above: Any, above_size: Any, below: Any, below_size: Any, exponent: Any, work: Any) -> Any:
    """The float64 nearest to above · 2^`exponent` ÷ below: magnitudes at their places in `limbs`, below not 0.

    Infinite where it is beyond all float64. `work` has `WORK` limbs, for divisors of up to `WIDEST` digits.
    """
    above_bits, below_bits = bits_of(limbs, above, above_size), bits_of(limbs, below, below_size)
    if above_bits == 0:
        return 0.0
    digits = max(np.int64(2), (below_bits + 31) >> 5)
    rest, divisor = np.int64(3), digits + 6
    more = _lead(limbs, above, above_size, above_bits, digits + 2, work, rest)
    work[rest + digits + 2] = _ZERO
    _lead(limbs, below, below_size, below_bits, digits, work, divisor)
    lead, second = work[divisor + digits - 1], work[divisor + digits - 2]
    for j in range(2, -1, -1):
        top = rest + j + digits
        digit = _guess((work[top] << _HALF) | work[top - 1], lead, second, work[top - 2])
        carry = _ZERO
        for i in range(digits):
            product = digit * work[divisor + i] + carry
            low, before = product & _LOW, work[rest + j + i]
            work[rest + j + i] = (before - low) & _LOW
            carry = (product >> _HALF) + (_ONE if before < low else _ZERO)
        before = work[top]
        work[top] = (before - carry) & _LOW
        if before < carry:
            digit -= _ONE
            carry = _ZERO
            for i in range(digits):
                total = work[rest + j + i] + work[divisor + i] + carry
                work[rest + j + i] = total & _LOW
                carry = total >> _HALF
            work[top] = (work[top] + carry) & _LOW
        work[j] = digit
    for i in range(digits):
        more = more or work[rest + i] != _ZERO
    work[0] |= work[1] << _HALF
    work[1] = work[2]
    return nearest(work, 2, exponent + above_bits - below_bits - 64, more)


@register_jitable
def grow(limbs: Any, at: Any, size: Any, by: Any) -> None:
    """Multiply the number at `limbs[at … at + size]` by a limb, in place; it must have room."""
    carry = _ZERO
    for j in range(at, at + size):
        above, below = times(limbs[j], by)
        limbs[j] = below + carry
        carry = above + (_ONE if limbs[j] < below else _ZERO)
