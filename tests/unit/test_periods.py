"""Local days, weeks and months against a walk through time, wherever clocks are changed."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, format_instant, parse_instant
from offline_feature_plane.domain.instants import US_PER_DAY as DAY
from offline_feature_plane.domain.periods import PERIODS, first_day, first_instant, next_day, period_around
from offline_feature_plane.domain.zones import offset_at
from offline_feature_plane.engines.local.calendars import boundaries

MINUTE = 60_000_000
CHANGES = {  # a day on which clocks do something odd
    "America/Sao_Paulo": "2018-11-04",    # no midnight: from the end of the day before to 01:00
    "America/St_Johns": "2006-10-29",     # one minute after midnight back to 23:01
    "America/Havana": "2020-11-01",       # at 01:00 back to midnight
    "Pacific/Apia": "2011-12-30",         # a day that is left out
    "Pacific/Kwajalein": "1993-08-21",    # another
    "Europe/Berlin": "2026-03-29", "Australia/Lord_Howe": "2026-04-05", "Asia/Gaza": "2011-08-01", "America/Asuncion": "2024-03-24",
    "Africa/Cairo": "2014-09-26", "Asia/Beirut": "2022-03-27", "Asia/Kathmandu": "1986-01-01", "UTC": "2026-01-01",
}


def walked(zone, day):
    """The first instant at which a zone's calendar shows this day or a later one, by looking at every minute from two days before."""
    at = (day - 2) * DAY
    while (at + offset_at(at, zone)) // DAY < day:
        at += MINUTE
    return at


@pytest.mark.parametrize("zone", CHANGES)
def test_days_begin_at_their_first_instant(zone):
    """Around each change of clocks every day begins where a walk through time finds it first.

    ```
     São Paulo     23:58  23:59 │ 01:00  01:01                          no midnight
     St. John's    23:59 │ 00:00 00:01→23:01  23:02 … 23:59  00:00      the first of two midnights
    ```
    """
    middle = parse_instant(CHANGES[zone]) // DAY
    days = range(middle - 2, middle + 3)
    assert [format_instant(first_instant(day, zone)) for day in days] == [format_instant(walked(zone, day)) for day in days]


def test_known_beginnings():
    """Written out: a skipped midnight, a skipped day, two midnights, and days of 23 and 25 hours."""
    spans = {("America/Sao_Paulo", "2018-11-04T12:00:00Z"): ("2018-11-04T03:00:00", "2018-11-05T02:00:00"),
             ("Pacific/Apia", "2011-12-30T09:59:59Z"): ("2011-12-29T10:00:00", "2011-12-30T10:00:00"),
             ("America/St_Johns", "2006-10-29T03:00:00Z"): ("2006-10-29T02:30:00", "2006-10-30T03:30:00"),
             ("America/Havana", "2020-11-01T04:30:00Z"): ("2020-11-01T04:00:00", "2020-11-02T05:00:00"),
             ("Europe/Berlin", "2026-03-29T12:00:00Z"): ("2026-03-28T23:00:00", "2026-03-29T22:00:00"),
             ("Europe/Berlin", "2026-10-25T12:00:00Z"): ("2026-10-24T22:00:00", "2026-10-25T23:00:00")}
    for (zone, at), span in spans.items():
        assert tuple(format_instant(one)[:19] for one in period_around(parse_instant(at), "day", zone)) == span


def test_weeks_begin_on_monday_and_months_on_their_first():
    """Of every day of some years, and of the years 0 and 10000, which a wall may show at the ends of time."""
    for day in range(-400, 800):
        when = date(1970, 1, 1) + timedelta(days=day)
        assert first_day(day, "week") == day - when.weekday()
        assert first_day(day, "month") == day - when.day + 1
        assert next_day(first_day(day, "month"), "month") - day in range(1, 32)
    ends = (EARLIEST_US // DAY - 1, LATEST_US // DAY + 1)
    assert [first_day(day, "month") for day in ends] == [ends[0] - 30, ends[1]]


zones = st.sampled_from([*CHANGES, "America/Juneau", "Asia/Manila", "Africa/Monrovia", "Pacific/Kiritimati", "America/New_York"])
instants = st.one_of(st.integers(EARLIEST_US, LATEST_US), st.integers(parse_instant("1840-01-01"), parse_instant("2040-01-01")),
                     st.sampled_from([EARLIEST_US, LATEST_US]),
                     st.tuples(st.sampled_from(sorted(CHANGES.values())), st.integers(-2 * DAY, 2 * DAY)).map(
                         lambda pair: parse_instant(pair[0]) + pair[1]))


@settings(max_examples=300, deadline=None)
@given(instants, st.sampled_from(PERIODS), zones)
def test_periods_follow_each_other_without_hole_or_overlap(at, period, zone):
    """Every instant is in one period; the instants beside its ends are in the neighbours; it is about as long as its name says."""
    start, end = period_around(at, period, zone)
    assert start <= at < end
    assert period_around(start, period, zone) == period_around(end - 1, period, zone) == (start, end)
    assert period_around(start - 1, period, zone)[1] == start
    assert period_around(end, period, zone)[0] == end
    least, most = {"day": (1, 1), "week": (7, 7), "month": (28, 31)}[period]
    assert least * DAY - DAY <= end - start <= most * DAY + DAY  # a calendar may leave a day out, or have it twice


@settings(max_examples=100, deadline=None)
@given(st.lists(instants, max_size=6).map(sorted), st.sampled_from(PERIODS), zones)
def test_the_fast_boundaries_are_those_of_the_law(found, period, zone):
    """For a whole column of instants, the last boundary not after each is where its period begins, the next is its end."""
    starts = boundaries(np.array(found, np.int64), period, zone)
    places = np.searchsorted(starts, np.array(found, np.int64), side="right")
    assert [(int(starts[place - 1]), int(starts[place])) for place in places] == [period_around(at, period, zone) for at in found]
    assert all(period_around(int(at), period, zone)[0] == at for at in starts)
