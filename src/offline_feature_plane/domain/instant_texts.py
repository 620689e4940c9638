"""Instants in the texts that logs are full of, read quickly; anything else is left to `domain.instants`."""

from __future__ import annotations

from functools import lru_cache

from offline_feature_plane.domain.instants import US_PER_SECOND, format_instant, parse_offset_instant

_SECOND_US = {f":{second:02}": second * US_PER_SECOND for second in range(60)}


def read_instant(text: str) -> int:
    """What `parse_offset_instant` gives or raises; quick for `YYYY-MM-DDThh:mm:ssZ` with six fraction digits or none.

    >>> read_instant("1970-01-02T00:00:01.000005Z") == parse_offset_instant("1970-01-02T00:00:01.000005Z")
    True
    """
    if text[10:11] == "T" and text[-1] == "Z":
        try:
            if len(text) == 27 and text[19] == "." and (fraction := text[20:26]).isdigit() and fraction.isascii():
                return _minute_us(text[:16]) + _SECOND_US[text[16:19]] + int(fraction)
            if len(text) == 20:
                return _minute_us(text[:16]) + _SECOND_US[text[16:19]]
        except (ValueError, KeyError):
            pass  # the message of the slow path shows the whole text
    return parse_offset_instant(text)


def canonical_instant(text: str, us: int) -> str:
    """The canonical text of an instant that was read from this text: mostly the same."""
    return text if len(text) == 27 and text[10] == "T" and text[26] == "Z" else format_instant(us)


@lru_cache(maxsize=65_536)  # logs are nearly in order: a few minutes are in use at a time
def _minute_us(minute: str) -> int:
    return parse_offset_instant(f"{minute}:00Z")
