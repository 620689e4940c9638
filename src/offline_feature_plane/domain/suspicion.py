"""When a column predicts a target suspiciously well on its own, and when its values moved between splits (`decisions.md` D26).

The *area* of a column is the share of pairs of a positive and a negative row in which the positive has the larger value, ties counting
half: 0.5 says nothing, 0 or 1 decides the target. A null is one value beyond all others, at the end where it separates better. The order of
*codes* means nothing: text, and whole numbers of at most 100 different values. They are ordered by the share of positives that each has
in the same rows, a null as one more of them, so that their area is never below 0.5.

An area proves nothing where chance gives the same. So the target is dealt anew to the same rows, some times, and a column
is suspicious only if no deal comes as far from 0.5.

The *distance* of two splits is the largest difference in the share of rows below any threshold (two-sample Kolmogorov-Smirnov), of text
that of rows within any set of values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from offline_feature_plane.errors import SchemaInvalid

__all__ = ["ALL", "MOST_CODES", "Probe", "area", "furthest", "is_suspicious", "key", "threshold"]

ALL = 2**64
_FIX = "Leave it out to use the default."
MOST_CODES = 100  # different values of a whole number that may be a code


@dataclass(frozen=True)
class Probe:
    """How closely an audit looks.

    Args:
        seed: decides the sample and how targets are dealt.
        permutations: how often the target is dealt anew.
        most_rows: about how many rows of a split are examined; all, if it has no more.
        suspicious: an area at or above this, or at or below 1 minus this, is suspicious.
        drifted: a distance at or above this is called drift.

    Raises:
        SchemaInvalid: a value that says nothing.
    """

    seed: str = "1"
    permutations: int = 20
    most_rows: int = 1_000_000
    suspicious: float = 0.95
    drifted: float = 0.2

    def __post_init__(self) -> None:
        if not isinstance(self.seed, str) or not self.seed.isprintable():  # a half of a character is not printable
            raise SchemaInvalid(f"seed is {self.seed!a}, and must be a text of printable characters.", path="seed", fix=_FIX)
        for name, kind, least, most in (("permutations", int, 1, 1_000), ("most_rows", int, 1, ALL),
                                        ("suspicious", float | int, 0.5, 1), ("drifted", float | int, 0, 1)):
            value = getattr(self, name)
            if not isinstance(value, kind) or not least <= value <= most:
                bounds = f"{'a whole number ' if kind is int else ''}{'of at least 1' if most == ALL else f'from {least} to {most}'}"
                raise SchemaInvalid(f"{name} is {value!r}, and must be {bounds}.", path=name, fix=_FIX)


def key(seed: str, purpose: str) -> int:
    """The number in [0, 2⁶⁴) that rows are mixed with: the first 8 bytes, big-endian, of SHA-256(`ofs.audit.v1` ‖ 0 ‖ seed ‖ 0 ‖ purpose).

    >>> key("1", "sample") == key("1", "sample"), key("1", "sample") == key("2", "sample")
    (True, False)
    """
    return int.from_bytes(hashlib.sha256(b"\0".join((b"ofs.audit.v1", seed.encode(), purpose.encode()))).digest()[:8], "big")


def threshold(rows: int, most_rows: int) -> int:
    """Rows whose number in [0, 2⁶⁴) is below this are examined.

    >>> threshold(10, 20) == ALL, threshold(40, 20) == ALL // 2
    (True, True)
    """
    return ALL if rows <= most_rows else most_rows * ALL // rows


def area(doubled_wins: int, positives: int, negatives: int) -> float | None:
    """The area from twice the number of pairs that the positive wins; None without both classes.

    >>> area(7, 2, 2), area(0, 0, 4)
    (0.875, None)
    """
    pairs = positives * negatives
    return doubled_wins / (2 * pairs) if pairs else None


def furthest(areas: Sequence[float]) -> float:
    """The area that separates best, in either direction; the first of equals.

    >>> furthest([0.6, 0.3, 0.7])
    0.3
    """
    return max(areas, key=lambda one: round(abs(one - 0.5), 12))


def is_suspicious(found: float, dealt: Sequence[float], at_least: float) -> bool:
    """Is an area beyond the limit, and further from 0.5 than every area by chance?

    >>> is_suspicious(0.04, [0.4, 0.6], 0.95), is_suspicious(0.99, [0.99], 0.95), is_suspicious(0.9, [], 0.95)
    (True, False, False)
    """
    far = abs(found - 0.5)
    return max(found, 1 - found) >= at_least and all(abs(one - 0.5) < far for one in dealt)
