"""Instants are whole microseconds, read strictly and written in one form."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_feature_plane.domain.instants import (
    EARLIEST_US,
    LATEST_US,
    LONGEST_DURATION_US,
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
    parse_offset_instant,
)

INSTANTS = st.integers(EARLIEST_US, LATEST_US)


@given(INSTANTS)
def test_writing_then_reading_gives_the_instant(us):
    """Every µs of the years 1 to 9999 survives its text, which orders as the instants do."""
    text = format_instant(us)
    assert len(text) == 27
    assert parse_instant(text) == parse_offset_instant(text) == us
    if us < LATEST_US:
        assert text < format_instant(us + 1)


@given(INSTANTS)
def test_the_calendar_is_that_of_python(us):
    """Text and µs agree with the standard library's calendar, to the microsecond, before and after 1970.

    1969-12-31T23:59:59.999999Z = -1
    ──────────────────┤ epoch = 0 ├──────────────────▶
    """
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    assert format_instant(us) == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert parse_instant(moment) == us


@given(INSTANTS.filter(lambda us: EARLIEST_US + 10**11 < us < LATEST_US - 10**11), st.integers(-1439, 1439))
def test_an_offset_moves_the_clock_not_the_instant(us, minutes):
    """The same instant written at any offset reads as the same µs.

    12:00 ──────┬───── Z
    14:00 ──────┤      +02:00
    06:30 ──────┘      -05:30
    """
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_offset_instant(local.isoformat(timespec="microseconds")) == us
    assert parse_offset_instant(local.isoformat(sep=" ", timespec="microseconds")) == us


@pytest.mark.parametrize(("spelled", "us"), [
    ("1970-01-01", 0), ("1970-01-02", 86_400_000_000), (date(1970, 1, 2), 86_400_000_000), ("1970-01-01T00:00:00Z", 0),
    ("1970-01-01T00:00:00+00:00", 0), ("1970-01-01T00:00:00.1Z", 100_000), ("1970-01-01T00:00:00.000001Z", 1),
    ("1969-12-31T23:59:59.999999Z", -1), ("0001-01-01", EARLIEST_US), ("9999-12-31T23:59:59.999999Z", LATEST_US),
    ("2000-02-29", 951_782_400_000_000), (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1_000_000),
])
def test_pinned_spellings(spelled, us):
    """A bare date is its first instant; Z and +00:00 are UTC; a fraction has one to six digits."""
    assert parse_instant(spelled) == us


@pytest.mark.parametrize("spelled", [
    "", "2026", "2026-1-1", "2026-09-01T00:00:00", "2026-09-01T00:00:00+02:00", "2026-09-01T00:00:00-00:00", "2026-09-01 00:00:00Z",
    "2026-09-01t00:00:00Z", "2026-09-01T00:00:00z", "2026-09-01T00:00Z", "2026-09-01T24:00:00Z", "2026-09-01T00:60:00Z",
    "2026-09-01T23:59:60Z", "2026-09-01T00:00:61Z", "2026-09-01T00:00:00.Z", "2026-09-01T00:00:00.1234567Z", "2026-09-01T00:00:00.1234560Z",
    "2026-09-01T00:00:00,5Z", "2026-02-29", "2026-13-01", "0000-01-01", "10000-01-01", "2026-09-01Z", " 2026-09-01", "2026-09-01\n",
    "2026-09-01T00:00:00Z\n", "\u0662\u0660\u0662\u0666-09-01", "2026-09-01T00:00:00.\u0665Z", "20260901", "now", "-2026-09-01",
    datetime(2026, 9, 1), datetime(2026, 9, 1, tzinfo=timezone(timedelta(hours=2))),  # noqa: DTZ001 - the naive one is the point
])
def test_unclear_instants_are_refused(spelled):
    """Whatever is not UTC, not a day, finer than a µs or spelled otherwise is refused with a sentence."""
    with pytest.raises(ValueError, match=" "):
        parse_instant(spelled)


@pytest.mark.parametrize("spelled", [
    "2026-09-01", "2026-09-01T00:00:00", "2026-09-01T00:00:00+0200", "2026-09-01T00:00:00+24:00", "2026-09-01T00:00:00+02:60",
    "2026-09-01T00:00:00.0000001Z", "2026-09-01T00:00:00 UTC", "2026-06-30T23:59:60Z", "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01", "2026-09-01T00:00:00ZZ", "2026-09-01T00:00:00+02:00\n",
])
def test_unclear_data_instants_are_refused(spelled):
    """Data needs an explicit, possible offset, whole microseconds, and an instant within the years 1 to 9999."""
    with pytest.raises(ValueError, match=" "):
        parse_offset_instant(spelled)


def test_trailing_zeros_are_no_precision():
    """Nanosecond digits that are zero lose nothing and are read; -00:00 is UTC with an unknown place, and data may say so."""
    assert parse_offset_instant("1970-01-01T00:00:00.000001000Z") == 1
    assert parse_offset_instant("1970-01-01T00:00:00-00:00") == 0


@pytest.mark.parametrize("us", [EARLIEST_US - 1, LATEST_US + 1])
def test_text_ends_with_the_calendar(us):
    """Instants outside the years 1 to 9999 have no text."""
    with pytest.raises(ValueError, match="years"):
        format_instant(us)


@given(st.integers(1, LONGEST_DURATION_US // 10**6))
def test_durations_survive_their_text(seconds):
    """Every whole number of seconds has one text, in the largest unit that divides it."""
    text = format_duration(seconds * 10**6)
    assert parse_duration(text) == seconds * 10**6
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize("spelled", ["", "7", "d", "0d", "07d", "-1d", "+1d", "1.5d", "1 d", "1D", "1d ", "1d\n", "1y", "\u0667d",
                                     "999999d", "1" * 30 + "s"])
def test_other_durations_are_refused(spelled):
    """A duration is a positive whole number and one of s m h d w, below 2^53 µs."""
    with pytest.raises(ValueError, match=" "):
        parse_duration(spelled)


@pytest.mark.parametrize("us", [0, -1_000_000, 1, 1_500_000])
def test_uneven_durations_have_no_text(us):
    """Only positive whole seconds are written."""
    with pytest.raises(ValueError, match="whole number of seconds"):
        format_duration(us)
