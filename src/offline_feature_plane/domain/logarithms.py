"""Binary logarithms of integers, as integers: the same on every machine (`docs/decisions/0028`)."""

from __future__ import annotations

__all__ = ["POINT", "log2_of"]

#: Bits after the point.
POINT = 56
_MANTISSA = 62


def log2_of(number: int) -> int:
    """log₂ of a number from 1 to 2³¹, in units of 2^−56, rounded down bit by bit.

    The mantissa is squared for each bit, and kept to 62 bits after the point.

    >>> log2_of(8) >> POINT, log2_of(10) / 2**POINT
    (3, 3.321928094887362)
    """
    whole = number.bit_length() - 1
    mantissa, found = number << _MANTISSA - whole, whole
    for _ in range(POINT):
        mantissa = mantissa * mantissa >> _MANTISSA
        found <<= 1
        if mantissa >> _MANTISSA + 1:
            mantissa >>= 1
            found |= 1
    return found
