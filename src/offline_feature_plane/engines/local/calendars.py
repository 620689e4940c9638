"""What calendars and clocks show, for whole columns of instants: `domain.evaluation.read_clock` and `domain.periods` of each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.periods import Period, first_day, first_instant, next_day
from offline_feature_plane.domain.zones import offset_at

__all__ = ["boundaries", "read_clocks"]

Ints = npt.NDArray[np.int64]

_MINUTE_US = 60_000_000
_DAY_US = 1440 * _MINUTE_US
_SLOT_US = 15 * _MINUTE_US


def read_clocks(function: str, at_us: Ints, zone: str, valid: npt.NDArray[np.bool_] | None = None) -> Ints:
    """What a calendar or clock in `zone` shows at each instant: hour, minute, weekday (Monday 0), day_of_month, month, as int64.

    Args:
        function: which hand.
        at_us: instants, µs.
        zone: an IANA name. Offsets are looked up once per quarter of an hour that occurs.
        valid: False where there is no instant; such rows hold anything.
    """
    if valid is not None:
        at_us = np.where(valid, at_us, 0)
    local = at_us if zone == "UTC" else at_us + _offsets(at_us, zone)
    match function:
        case "hour":
            return local // (60 * _MINUTE_US) % 24
        case "minute":
            return local // _MINUTE_US % 60
        case "weekday":
            return (local // _DAY_US + 3) % 7  # 1970-01-01 was a Thursday
    days: npt.NDArray[np.datetime64] = local.astype("datetime64[us]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    if function == "month":
        return months.astype(np.int64) % 12 + 1
    since_first: Ints = (days - months.astype("datetime64[D]")).astype(np.int64)
    return since_first + 1


def boundaries(at_us: Ints, period: Period, zone: str) -> Ints:
    """Where the local periods that hold one of these instants begin and end, and some around them; both ascend, µs.

    Between an instant in none of these periods and the last of them before it there is thus a boundary.
    No zone is a whole day from UTC, so the local day of an instant is that of UTC or one beside it. A zone is asked once per day.
    """
    days = at_us // _DAY_US
    last = np.append(days[1:] != days[:-1], np.ones(min(1, len(days)), np.bool_))
    near = {int(day) + shift for day in days[last] for shift in (-1, 0, 1)}
    first = {first_day(day, period) for day in near}
    first |= {next_day(day, period) for day in first}
    return np.unique(np.array([first_instant(day, zone) for day in sorted(first)], dtype=np.int64))


def _offsets(at_us: Ints, zone: str) -> Ints:
    """How far the wall clock is ahead of UTC at each instant, µs."""
    slots = at_us // _SLOT_US
    first = int(slots.min(initial=0))
    span = int(slots.max(initial=first)) - first + 1
    if span <= 8 * len(slots) + 1000:  # dense: a table instead of a sort
        seen = np.zeros(span, dtype=np.bool_)
        seen[slots - first] = True
        distinct = np.flatnonzero(seen) + first
        places = np.cumsum(seen)[slots - first] - 1
    else:
        distinct, places = np.unique(slots, return_inverse=True)
    begin = np.array([_offset(zone, int(slot) * _SLOT_US) for slot in distinct], dtype=np.int64)
    end = np.array([_offset(zone, int(slot) * _SLOT_US + _SLOT_US - 1) for slot in distinct], dtype=np.int64)
    found: Ints = begin[places]
    for row in np.flatnonzero((begin != end)[places]):  # the clock is changed within this quarter of an hour
        found[row] = _offset(zone, int(at_us[row]))
    return found


@lru_cache(maxsize=1 << 17)
def _offset(zone: str, at_us: int) -> int:
    return offset_at(at_us, zone)
