"""Which rows a sample keeps: a keyed hash of the row's unit against its class's rate (`decisions.md` D13).

A unit is kept or not whatever other rows there are, and a higher rate keeps what a lower one kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from fractions import Fraction

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extraction import Value
from offline_feature_plane.domain.instants import format_instant

__all__ = ["draw", "keeps", "keeps_each", "threshold", "unit_text", "weight"]

_NAME = b"ofs.sample.v1"
_ALL = 2**64


def keeps(seed: str, unit: str, rate: str) -> bool:
    """Does a sample of this rate keep the unit?

    Args:
        seed: the intent's seed.
        unit: text of the raw event id, or of the value of `by:` (`unit_text`).
        rate: a decimal number in [0, 1] as text.

    Raises:
        ValueError: the rate is not a number in [0, 1].

    >>> keeps("s", "1", "1"), keeps("s", "1", "0")
    (True, False)
    """
    return draw(seed, unit) < threshold(rate)


def keeps_each(seed: str, units: Iterable[bytes], rate: str) -> Iterator[bool]:
    """`keeps` of each unit, given as UTF-8.

    Raises:
        ValueError: the rate is not a number in [0, 1].
    """
    below = threshold(rate)
    if below == _ALL:
        return (True for _ in units)
    start, limit, mix = b"\0".join((_NAME, seed.encode(), b"")), below.to_bytes(8, "big"), hashlib.sha256
    return (mix(start + unit).digest() < limit for unit in units)  # bytes compare as big-endian numbers; equal at 8 means not below


def draw(seed: str, unit: str) -> int:
    """The unit's number in [0, 2⁶⁴): the first 8 bytes, big-endian, of SHA-256(`ofs.sample.v1` ‖ 0 ‖ seed ‖ 0 ‖ unit)."""
    return int.from_bytes(hashlib.sha256(b"\0".join((_NAME, seed.encode(), unit.encode()))).digest()[:8], "big")


def threshold(rate: str) -> int:
    """floor(rate × 2⁶⁴): units that drew less are kept.

    Raises:
        ValueError: the rate is not a number in [0, 1].
    """
    return int(_exact(rate) * _ALL)


def weight(rate: str) -> float:
    """How many rows a kept one represents: 1 / rate, rounded once; 0 where nothing is kept.

    Raises:
        ValueError: the rate is not a number in [0, 1].

    >>> weight("0.1")
    10.0
    """
    share = _exact(rate)
    return float(1 / share) if share else 0.0


def unit_text(value: Value, kind: ColumnType) -> str:
    """The text of a value that rows are sampled by, one text for each value of a type; an unknown one is the empty text.

    >>> unit_text(-1250, ColumnType("decimal", 12, 2)), unit_text(7, ColumnType("int64")), unit_text(None, ColumnType("string"))
    ('-12.50', '7', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool) or kind.kind == "bool":
        return "true" if value else "false"
    if kind.kind == "timestamp":
        return format_instant(int(value))
    if kind.kind == "decimal" and kind.scale:
        digits = str(abs(int(value))).rjust(kind.scale + 1, "0")
        return f"{'-' if int(value) < 0 else ''}{digits[:-kind.scale]}.{digits[-kind.scale:]}"
    return str(value)


def _exact(rate: str) -> Fraction:
    share = Fraction(rate)
    if not 0 <= share <= 1:
        raise ValueError(f"a sampling rate of {rate} is outside 0 to 1")
    return share
