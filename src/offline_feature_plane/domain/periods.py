"""Local days, weeks and months as spans of instants, whatever clocks do (`decisions.md` D32).

```
   instants   ──────●─────────────────────●─────────────────────●──▶
                    first instant of      of Tuesday            of Wednesday
                    Monday                [start ─────────── end)
```

A period begins at the first instant at which the local calendar has come to its first day. It is midnight where there is one, the first
instant after the gap where clocks skip it, and the first of two midnights. Periods follow each other without hole or overlap: what clocks
show a second time after a new period has begun belongs to the new period.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Literal

from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, US_PER_DAY
from offline_feature_plane.domain.zones import CYCLE_US, MARGIN_US, named_zone, offset_at

__all__ = ["PERIODS", "Period", "first_day", "first_instant", "next_day", "period_around"]

Period = Literal["day", "week", "month"]
PERIODS: tuple[Period, ...] = ("day", "week", "month")

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_CYCLE_DAYS = CYCLE_US // US_PER_DAY
_EARLIEST_DAY, _LATEST_DAY = (EARLIEST_US + MARGIN_US) // US_PER_DAY, (LATEST_US - MARGIN_US) // US_PER_DAY


@lru_cache(maxsize=1 << 14)
def period_around(at_us: int, period: Period, zone: str) -> tuple[int, int]:
    """The local period that holds an instant, as `start ≤ at < end` in µs.

    Days of São Paulo: in 2018 clocks went from the end of November 3 to 01:00 of November 4.

    >>> from offline_feature_plane.domain.instants import format_instant, parse_instant
    >>> [format_instant(one) for one in period_around(parse_instant("2018-11-04T12:00:00Z"), "day", "America/Sao_Paulo")]
    ['2018-11-04T03:00:00.000000Z', '2018-11-05T02:00:00.000000Z']
    """
    day = first_day((at_us + offset_at(at_us, zone)) // US_PER_DAY, period)
    start, day = first_instant(day, zone), next_day(day, period)
    while (end := first_instant(day, zone)) <= at_us:  # clocks went back over the beginning of a period that had begun
        start, day = end, next_day(day, period)
    return start, end


@lru_cache(maxsize=1 << 14)
def first_instant(day: int, zone: str) -> int:
    """The first instant, µs, at which the calendar of a zone shows a day, or a later one where the day is left out; days since 1970-01-01.

    >>> first_instant(0, "Asia/Tokyo") == -9 * 3_600_000_000
    True
    """
    if day > _LATEST_DAY:
        return first_instant(day - _CYCLE_DAYS, zone) + CYCLE_US
    if day < _EARLIEST_DAY:
        return first_instant(day + _CYCLE_DAYS, zone) - CYCLE_US
    midnight_us, wall = day * US_PER_DAY, datetime.fromordinal(day + _EPOCH_ORDINAL).replace(tzinfo=named_zone(zone))
    before, after = (_us(wall.replace(fold=fold)) for fold in (0, 1))  # the offsets around a change of clocks, equal if there is none
    if before >= after:
        return midnight_us - before
    still, changed = midnight_us - after - 1, midnight_us - before  # midnight is skipped: at which instant?
    while changed - still > 1:
        middle = (still + changed) // 2
        still, changed = (middle, changed) if offset_at(middle, zone) < after else (still, middle)
    return changed


def first_day(day: int, period: Period) -> int:
    """The first day of the period that holds a day, in days since 1970-01-01, a Thursday; weeks begin on Monday.

    >>> first_day(0, "week"), first_day(40, "month")
    (-3, 31)
    """
    if period == "day":
        return day
    if period == "week":
        return day - (day + 3) % 7
    near, cycles = _near(day)
    return near - date.fromordinal(near + _EPOCH_ORDINAL).day + 1 + cycles


def next_day(day: int, period: Period) -> int:
    """The first day of the period after the one that begins with `day`."""
    return day + (1 if period == "day" else 7) if period != "month" else first_day(day + 31, "month")


def _near(day: int) -> tuple[int, int]:
    """A day of the same place in month and week within the years 1 to 9999, and how many days were left out."""
    cycles = _CYCLE_DAYS if day > _LATEST_DAY else -_CYCLE_DAYS if day < _EARLIEST_DAY else 0
    return day - cycles, cycles


def _us(wall: datetime) -> int:
    return (wall.utcoffset() or timedelta()) // timedelta(microseconds=1)
