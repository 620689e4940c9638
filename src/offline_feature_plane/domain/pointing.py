"""A place in a text, shown to a reader: the text, and carets under the part that is meant."""

from __future__ import annotations

import unicodedata

__all__ = ["point_at"]

WIDEST = 100
_BEFORE = 40


def point_at(text: str, start: int, end: int) -> str:
    """The text on one line and carets under `[start, end)` on the next, both indented; of a long text the part around the place.

    >>> print(point_at("amont > 0", 0, 5))
        amont > 0
        ^^^^^
    """
    end = max(end, start + 1)
    first = max(0, min(start - _BEFORE, len(text) - WIDEST)) if len(text) > WIDEST else 0
    last = min(len(text), first + WIDEST)
    left, right = ("…" if first else ""), ("…" if last < len(text) else "")
    shown = "".join(" " if character.isspace() else character for character in text[first:last])
    before = _columns(left + shown[:start - first])
    carets = max(1, _columns(shown[start - first:end - first]))
    return f"    {left}{shown}{right}\n    {' ' * before}{'^' * carets}"


def _columns(text: str) -> int:
    """How many columns a terminal gives a text."""
    return sum(0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
