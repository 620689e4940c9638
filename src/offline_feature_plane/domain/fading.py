"""Weights that halve with age, as integers: what `ewma` multiplies by (`docs/decisions/0028`).

```
   half-lives since 1970    ts ÷ h  =  exponent + phase ÷ 2³²          phase: 32 bits, rounded down
   weight                   mantissa · 2^exponent,  mantissa ≈ 2^(31 + phase ÷ 2³²)
```

Only quotients of weights matter, so they are counted from 1970 and not from the row: a weight depends on its own event alone. Everything
is integer arithmetic in a fixed order, so every machine finds the same ones.
"""

from __future__ import annotations

from itertools import accumulate, repeat
from math import isqrt

__all__ = ["FADED", "LONGEST_HALF_LIFE_US", "POWERS", "fading_weight"]

LONGEST_HALF_LIFE_US = 1_000 * 86_400 * 1_000_000
#: An event this many half-lives older than the latest one of its window, or more, has no weight.
FADED = 64
_FINE, _POINT = 128, 62


def _powers() -> tuple[int, ...]:
    """⌊2^62 · 2^(b ÷ 256^(k+1))⌋ at place 256 · k + b, from roots of 2 with 128 bits, each rounded down."""
    roots = list(accumulate(repeat(2 << _FINE, 33), lambda root, _: isqrt(root << _FINE)))[1:]
    found = []
    for part in range(4):
        for byte in range(256):
            power = 1 << _FINE
            for bit in range(8):
                if byte >> (7 - bit) & 1:
                    power = power * roots[8 * part + bit] >> _FINE
            found.append(power >> _FINE - _POINT)
    return tuple(found)


#: Powers of two for each byte of a phase, from the highest: 4 · 256 integers of 63 bits.
POWERS = _powers()


def fading_weight(ts_us: int, half_life_us: int) -> tuple[int, int]:
    """The weight of an event as (mantissa of 32 bits, exponent).

    >>> fading_weight(0, 10), fading_weight(-10, 10), fading_weight(5, 10)
    ((2147483648, 0), (2147483648, -1), (3037000499, 0))
    """
    exponent, rest = divmod(ts_us, half_life_us)
    phase = (rest << 32) // half_life_us
    product = POWERS[phase >> 24]
    for part, place in ((1, 16), (2, 8), (3, 0)):
        product = product * POWERS[256 * part + (phase >> place & 255)] >> _POINT
    return product >> _POINT - 31, exponent
