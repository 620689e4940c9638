"""Time zones by pinned rules: those of the installed `tzdata` wheel, never the host's (`decisions.md` D11)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, US_PER_DAY
from offline_feature_plane.errors import SettingsInvalid

_NAME = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,3}")

CYCLE_US = 146_097 * US_PER_DAY  # 400 years, after which days of months and weeks repeat
MARGIN_US = 3 * 366 * US_PER_DAY


@cache
def named_zone(zone: str) -> ZoneInfo:
    """The zone of this IANA name, spelled exactly.

    Raises:
        SettingsInvalid: there is none.

    >>> named_zone("Europe/Paris").key
    'Europe/Paris'
    """
    unknown = SettingsInvalid(f"{zone!r} is not a known time zone.", path="zone", fix="Use an IANA name such as Europe/Paris, or UTC.")
    if not _NAME.fullmatch(zone):
        raise unknown
    try:
        with resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as rules:
            return ZoneInfo.from_file(rules, key=zone)
    except (ValueError, OSError) as wrong:
        raise unknown from wrong


def wall_at(at_us: int, zone: str) -> datetime:
    """What calendar and clock of a zone show at an instant, with its offset.

    Near the ends of the years 1 to 9999, where a wall time may be outside them, the year is 400 nearer to the present: all else is the same
    there, for days repeat, and so do the rules of zones so far from the times in which they were changed.

    >>> wall_at(LATEST_US, "Asia/Tokyo").isoformat()
    '9600-01-01T08:59:59.999999+09:00'
    """
    if at_us > LATEST_US - MARGIN_US:
        at_us -= CYCLE_US
    elif at_us < EARLIEST_US + MARGIN_US:
        at_us += CYCLE_US
    return (_epoch() + timedelta(microseconds=at_us)).astimezone(named_zone(zone))


def offset_at(at_us: int, zone: str) -> int:
    """How far the wall clock of a zone is ahead of UTC at an instant, µs."""
    return (wall_at(at_us, zone).utcoffset() or timedelta()) // timedelta(microseconds=1)


@cache
def _epoch() -> datetime:
    return datetime(1970, 1, 1, tzinfo=named_zone("UTC"))
