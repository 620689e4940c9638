"""Which events each kind of window holds, how profiles spell windows, and which rows are cold."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.domain.accounting import is_cold
from offline_feature_plane.domain.closure import Group, Window
from offline_feature_plane.domain.closure_documents import closure_from, describe
from offline_feature_plane.domain.instants import US_PER_DAY as DAY
from offline_feature_plane.domain.instants import parse_duration, parse_instant
from offline_feature_plane.domain.window_texts import parse_window
from offline_feature_plane.domain.windows import Place, begin, choose, farthest, sees, warm_from
from offline_feature_plane.errors import OfsError

HOUR = DAY // 24
FIELDS = {"card": "string", "amount": "int64"}


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.booleans())
def test_what_a_row_sees(row_ts, event_ts, row_rank, event_rank, delay, current):
    """With a delay ts ≤ T − d, whoever stands first; without one what stands before the row, or the row itself under `current`."""
    group = Group("g", "v1", "s", ("k",), None, current, delay, "skip", ())
    expected = event_ts <= row_ts - delay if delay else event_rank < row_rank or (current and event_rank == row_rank)
    assert sees(group, Place(row_ts, row_rank), Place(event_ts, event_rank)) == expected


small = st.integers(1, 12)
windows = st.one_of(
    small.map(lambda length: Window("sliding", "w", length)), st.just(Window("lifetime", "lifetime")),
    small.map(lambda count: Window("last", "w", count=count)), small.map(lambda length: Window("tumbling", "w", length)),
    st.tuples(small, st.integers(0, 9)).map(lambda pair: Window("session", "w", sum(pair), gap_us=pair[0])))


@settings(max_examples=400, deadline=None)
@given(windows, st.lists(st.integers(-20, 20), max_size=12).map(sorted), st.integers(0, 9))
def test_windows_hold_what_their_law_says(window, seen, later):
    """Of the events that a row sees, each is inside or outside by what its kind says of it alone.

    ```
     sliding    (T-d-w ──────────── T-d]        tumbling   [k·w ─── (k+1)·w) ≤ T-d
     last       the n latest                    session    every pause up to T-d shorter than the gap, within the maximum
    ```
    """
    upper = (seen[-1] if seen else 0) + later
    pauses = [after - before for before, after in pairwise([*seen, upper])]
    inside = {
        "sliding": lambda i: seen[i] > upper - window.length_us, "lifetime": lambda _: True,
        "last": lambda i: len(seen) - i <= window.count,
        "tumbling": lambda i: seen[i] // window.length_us == upper // window.length_us - 1,
        "session": lambda i: max(pauses[i:]) < window.gap_us and seen[i] > upper - window.length_us}[window.kind]
    assert seen[choose(window, upper, seen)] == [at for i, at in enumerate(seen) if inside(i)]


def test_a_calendar_window_is_closed_at_the_first_instant_of_its_period():
    """What happens at midnight belongs to the day that begins; a delayed window is to date of the day of T − d.

    ```
     Berlin   ────● 23:59:59.999999 │● 00:00  ● 09:00 ────▶
     day                            [───────────────]
    ```
    """
    midnight = parse_instant("2026-03-28T23:00:00Z")
    seen = [midnight - 1, midnight, midnight + 9 * HOUR]
    window = parse_window("calendar(day, Europe/Berlin)")
    assert seen[choose(window, midnight + 9 * HOUR, seen)] == seen[1:]
    assert seen[:1][choose(window, midnight - 1, seen[:1])] == seen[:1]
    assert begin(window, midnight + 9 * HOUR) == midnight
    assert begin(window, midnight + 22 * HOUR) == midnight
    assert begin(window, midnight + 23 * HOUR) == midnight + 23 * HOUR  # clocks went forward: this day has 23 hours


SPELLED = [
    ("7d", Window("sliding", "7d", 7 * DAY)), ("lifetime", Window("lifetime", "lifetime")), (" last_5", Window("last", "last5", count=5)),
    ("calendar(month, Europe/Paris)", Window("calendar", "month", period="month", zone="Europe/Paris")),
    ("calendar(day,'UTC')", Window("calendar", "day", period="day", zone="UTC")),
    ("tumbling( 1d )", Window("tumbling", "tumbling1d", DAY)), ("session(30m, max: 12h)", Window("session", "session30m", DAY // 2,
                                                                                               gap_us=HOUR // 2)),
    ("session(1h,max:1h)", Window("session", "session1h", HOUR, gap_us=HOUR))]


@pytest.mark.parametrize(("text", "window"), SPELLED, ids=[text for text, _ in SPELLED])
def test_windows_are_spelled(text, window):
    """A window's text says its kind; its label is what column names end in, without an underscore."""
    assert parse_window(text) == window
    assert "_" not in window.label


@pytest.mark.parametrize(("text", "said"), [
    ("0d", "not a duration"), ("3y", "not a duration"), ("d", "is not a window"), ("", "is not a window"), ("Lifetime", "is not a window"),
    ("hourly", "is not a window"), ("last_0", "a whole number from 1"), ("last_05", "a whole number from 1"), ("last5", "write last_5"),
    ("last_1000000000", "a whole number from 1"), ("last_-1", "is not a window"), ("rolling(7d)", "no window 'rolling'"),
    ("calendar(day", "put quotes"), ("Europe/Paris)", "put quotes"), ("calendar(year, UTC)", "day, week, month"),
    ("calendar()", "day, week, month"), ("calendar(day)", "needs one zone"), ("calendar(day, )", "needs one zone"),
    ("calendar(day, UTC, UTC)", "needs one zone"), ("calendar(day, Mars/Base)", "not a known time zone"),
    ("calendar(day, europe/paris)", "not a known time zone"), ("calendar(day, ../UTC)", "not a known time zone"),
    ("tumbling(0d)", "not a duration"), ("tumbling()", "not a duration"), ("tumbling(1d, UTC)", "needs one length"),
    ("session(30m)", "needs a declared maximum"), ("session(30m, 12h)", "needs a declared maximum"),
    ("session(30m, max: )", "not a duration"), ("session(30m, max: 29m)", "shorter than its gap"),
    ("session(0m, max: 1h)", "not a duration"),
    ("session(30m, max: 1h, 2h)", "needs a declared maximum"), ("session()", "not a duration")])
def test_what_is_no_window_is_refused_with_a_sentence(text, said):
    """Zero, an unknown unit, kind, period or zone, a session without a maximum or with one below its gap: each is told, none guessed."""
    with pytest.raises((ValueError, OfsError)) as caught:
        parse_window(text)
    assert said in str(caught.value)


def problems(windows):
    """What is wrong with a group's windows: sentences by place."""
    try:
        read_profile({"fields": FIELDS, "groups": {"use": {"key": "card", "windows": windows, "features": {"n": "count()"}}}}, rows="pay")
    except OfsError as wrong:
        return {one.path: one.sentence for one in wrong.problems} | {"code": wrong.code}
    return {}


@pytest.mark.parametrize(("windows", "said"), [
    (["1d", "24h"], "appears twice, as 1d"), (["lifetime", "lifetime"], "appears twice"), (["last_5", " last_5"], "appears twice"),
    (["tumbling(1d)", "tumbling(24h)"], "appears twice, as tumbling(1d)"), (["calendar(day, UTC)", "calendar(day,'UTC')"], "appears twice"),
    (["session(1h, max: 1d)", "session(60m, max: 24h)"], "appears twice, as session(1h, max: 1d)"),
    (["calendar(day, UTC)", "calendar(day, Europe/Paris)"], "would both end in _day; give one of them a group of its own"),
    (["session(1h, max: 1d)", "session(1h, max: 2d)"], "would both end in _session1h"),
    (["1d", "last_0"], "a whole number from 1"), (["1d", "calendar(day, Nowhere)"], "not a known time zone")])
def test_windows_of_one_meaning_or_one_ending_are_refused_where_they_stand(windows, said):
    """Two spellings of one window, and two windows whose columns would have one name, are told at the second."""
    found = problems(windows)
    assert said in found["$.groups.use.windows[1]"]
    assert found["code"] == "FEATURE_PROFILE_INVALID"


def test_a_list_in_brackets_cuts_a_window_at_its_comma():
    """YAML reads `[calendar(day, UTC)]` as two texts and `- session(1h, max: 2h)` as a mapping; both are told what to do."""
    assert all("put quotes" in problems(["calendar(day", "UTC)"])[f"$.groups.use.windows[{place}]"] for place in (0, 1))
    assert "put quotes" in problems([{"session(1h, max": "2h)"}])["$.groups.use.windows[0]"]


def closure_of(*windows):
    """The closure of a group with these windows."""
    document = {"fields": FIELDS, "groups": {"use": {"key": "card", "windows": list(windows), "features": {"n": "count()"}}}}
    return read_profile(document, rows="pay").closure("default@v1", "pay")


def test_columns_end_in_their_windows():
    """The suffixes that D32 names, and nothing else, tell windows apart."""
    found = closure_of("7d", "last_5", "lifetime", "calendar(day, Europe/Paris)", "tumbling(1d)", "session(30m, max: 12h)")
    assert [column.name.rpartition("_")[2] for column in found.columns()] == ["7d", "last5", "lifetime", "day", "tumbling1d", "session30m"]
    assert [column.meaning.removeprefix("count() of pay events of the same card ") for column in found.columns()] == [
        "in the 7d before the row", "among the latest 5 up to the row", "in all the time before the row",
        "in the local day (Europe/Paris) up to the row", "in the last whole 1d, counted from 1970, up to the row",
        "in the session up to the row (every pause below 30m, at most 12h)"]


def test_windows_survive_their_document_and_old_ones_keep_their_bytes():
    """A closure read back from its document is the same; members that came later are absent where they say nothing."""
    found = closure_of("7d", "last_5", "lifetime", "calendar(day, Europe/Paris)", "tumbling(1d)", "session(30m, max: 12h)")
    document = describe(found)
    assert describe(closure_from(document, "pay")) == document
    assert [one.window for one in closure_from(document, "pay").groups[0].features] == [one.window for one in found.groups[0].features]
    told = [one["window"] for one in document["groups"][0]["features"]]
    assert told[0] == {"kind": "sliding", "label": "7d", "length_us": 7 * DAY}
    assert told[2] == {"kind": "lifetime", "label": "lifetime", "length_us": None}
    assert told[3] == {"kind": "calendar", "label": "day", "length_us": None, "period": "day", "zone": "Europe/Paris"}


def test_a_closure_names_the_zones_of_its_windows():
    """The version of the zone rules is identity only if a zone other than UTC is named (D11)."""
    assert closure_of("calendar(day, UTC)", "1d").zones() == frozenset()
    assert closure_of("calendar(day, Asia/Tokyo)").zones() == {"Asia/Tokyo"}


# --- cold rows ----------------------------------------------------------------------------------------------

deep = st.one_of(windows, st.sampled_from(["day", "week", "month"]).flatmap(lambda period: st.sampled_from(
    ["UTC", "America/Sao_Paulo", "Pacific/Apia"]).map(lambda zone: Window("calendar", period, period=period, zone=zone))))


@settings(max_examples=200, deadline=None)
@given(deep, st.sampled_from([0, 1, 5, DAY]),
       st.sampled_from([0, parse_instant("2018-11-04T03:00:00Z"), parse_instant("2011-12-30T10:00:00Z")]),
       st.integers(-15, 15), st.sampled_from([0, 0, 1, DAY, 31 * DAY]), st.integers(-15, 15))
def test_rows_are_cold_until_their_window_begins_in_the_known_history(window, delay, origin, start, days, row):
    """`warm_from` is the first instant whose window does not begin before the history; lifetime and last_N have no beginning (D19).

    ```
     history      ├──────────────────────▶
     sliding     (────┤ cold    (────┤ warm
    ```
    """
    start, row = origin + start, origin + days + row
    warm = warm_from(window, delay, start)
    cold = is_cold(row, {"pay": ((window, delay),)}, {"pay": start})
    assert cold == (warm is not None and row < warm)
    assert (warm is None) == (window.kind in ("lifetime", "last"))
    if warm is not None:
        assert [is_cold(at, {"pay": ((window, delay),)}, {"pay": start}) for at in (warm - 1, warm)] == [True, False]


@settings(max_examples=200, deadline=None)
@given(deep, st.integers(-20, 20), st.sampled_from([0, parse_instant("2018-11-04T03:00:00Z"), parse_instant("1867-10-20T12:00:00Z")]))
def test_no_window_reaches_farther_than_it_says(window, upper, origin):
    """What is `farthest` or longer before T − d is in no window; only lifetime and last_N hold whatever is seen."""
    reach, upper = farthest(window), origin + upper
    assert (reach is None) == (window.kind in ("lifetime", "last"))
    if reach is not None:
        seen = [upper - reach, upper - reach + 1, upper]
        assert 0 not in range(3)[choose(window, upper, seen)]
        assert begin(window, upper) >= upper - reach


def test_how_deep_each_kind_reaches():
    """A session reaches its declared maximum, a calendar window to the beginning of its period, a tumbling one a length before its end."""
    noon = parse_instant("2026-03-04T12:00:00Z")  # a Wednesday
    assert [warm_from(parse_window(text), delay, noon) for text, delay in (
        ("session(30m, max: 6h)", 0), ("calendar(day, UTC)", 0), ("calendar(week, UTC)", HOUR), ("tumbling(1d)", 0), ("2h", HOUR))] == [
        noon + 6 * HOUR, noon + 12 * HOUR, noon + 109 * HOUR, noon + 36 * HOUR, noon + 3 * HOUR]
    assert warm_from(parse_window("tumbling(12h)"), 0, noon) == noon + parse_duration("12h")
    assert warm_from(parse_window("calendar(day, UTC)"), 0, noon - 12 * HOUR) == noon - 12 * HOUR
