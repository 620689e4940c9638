"""Which rows a declared gap matters to, by the events beside it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.closure import Aggregation, Closure, Feature, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.ends import Ends, joined
from offline_feature_plane.domain.gap_reach import reach_of
from offline_feature_plane.domain.gaps import DeclaredGap
from offline_feature_plane.domain.instants import US_PER_DAY
from offline_feature_plane.domain.windows import choose
from offline_feature_plane.sources.logs.ends_seen import EndsSeen

INT = ColumnType("int64")
WINDOWS = {"sliding": Window("sliding", "7u", 7), "tumbling": Window("tumbling", "tumbling8u", 8),
           "session": Window("session", "session", 9, gap_us=9), "lifetime": Window("lifetime", "lifetime"),
           "last": Window("last", "last2", count=2)}


def lane(start, end, partition=0, topic="tx"):
    """A stretch of the log."""
    return Range(topic, partition, "kafka_offset", "log", str(start), str(end))


def closure(*groups):
    """Features over transactions: of each group its window and delay, and whether it is a context."""
    made = (Group(f"g{place}", "v1", "tx", ("card",), None, False, delay, "skip",
                  (Feature(f"f{place}", Aggregation("count"), window, INT),), "null" if context else None)
            for place, (window, delay, context) in enumerate(groups))
    return Closure("p", "1", "s", "v1", (Source("tx", ("tx",), ()),), tuple(made), (), ())


GAP = DeclaredGap(lane(50, 100), "archive_gap")


def ends(*found):
    """The events at the ends of stretches: start, end, and the instants of the first and the last."""
    return [Ends(lane(start, end), (start, first), (end - 1, last)) for start, end, first, last in found]


@given(st.sampled_from(["sliding", "tumbling", "session"]), st.integers(0, 3), st.integers(20, 60), st.integers(1, 20))
def test_every_row_that_could_have_seen_a_missing_event_is_counted(kind, delay, begin, length):
    """A missing event may have any instant between those beside it; no row that it could have counted for is left out, and few others.

    before ● ~~~~ missing ~~~~ ● behind
           begin             begin + length        rows   (………)
    """
    window, end = WINDOWS[kind], begin + length
    reach = reach_of(GAP, ends((0, 50, 0, begin), (100, 200, end, 200)), closure((window, delay, False)))
    (first, last), = reach.bounded
    for row in range(120):
        sees = any(missing <= row - delay and len(range(1)[choose(window, row - delay, [missing])]) for missing in range(begin + 1, end))
        assert not sees or first <= row < last, row
    assert first > begin
    assert last <= end + delay + 2 * (window.length_us or 0)


def test_days_are_those_of_their_zone():
    """A window of a calendar day reaches over a gap from its begin to the end of the day in which it ended.

    Mon 22:00 ~~~ gap ~~~ Tue 03:00        rows of Mon 22:00 … Tue 24:00
    """
    day = Window("calendar", "day", period="day", zone="UTC")
    begin, end = 22 * US_PER_DAY // 24, US_PER_DAY + 3 * US_PER_DAY // 24
    reach = reach_of(GAP, ends((0, 50, 0, begin), (100, 200, end, end)), closure((day, 0, False)))
    assert reach.bounded == ((begin + 1, 2 * US_PER_DAY),)


@pytest.mark.parametrize(("found", "between"), [
    ([(0, 50, 0, 30), (100, 200, 40, 90)], (30, 40)), ([(100, 200, 40, 90)], (None, 40)), ([(0, 50, 0, 30)], (30, None)),
    ([], (None, None)), ([(0, 20, 0, 10), (30, 40, 12, 14), (110, 120, 60, 70), (120, 200, 70, 80)], (14, 60))])
def test_the_nearest_events_of_the_partition_say_when_it_was(found, between):
    """Other partitions say nothing of it; where there is no event on a side, it reaches as far as time does."""
    others = [Ends(lane(0, 50, partition=1), (0, 1), (49, 2)), Ends(lane(100, 150, topic="other"), (100, 3), (149, 4))]
    reach = reach_of(GAP, [*ends(*found), *others], closure((WINDOWS["sliding"], 0, False)))
    begin, end = between
    assert (reach.begin_us, reach.end_us) == between
    assert reach.bounded == ((None if begin is None else begin + 1, None if end is None else end + 7),)


def test_windows_without_a_beginning_and_contexts_may_lack_it_ever_after():
    """They are counted apart: all rows behind the gap, which says little."""
    beside = ends((0, 50, 0, 30), (100, 200, 40, 90))
    last = WINDOWS["last"]
    for groups in ([(WINDOWS["lifetime"], 2, False)], [(last, 2, False)], [(last, 2, True), (last, 5, True)]):
        reach = reach_of(GAP, beside, closure(*groups))
        assert (reach.bounded, reach.lasting) == ((), ((33, None),))
    assert reach_of(GAP, beside, closure((WINDOWS["sliding"], 0, False))).lasting == ()
    other = DeclaredGap(lane(50, 100, topic="other"), "archive_gap")
    assert reach_of(other, beside, closure((WINDOWS["lifetime"], 0, False))).lasting == ()


def test_rows_of_several_windows_are_counted_once():
    """What two windows reach is one stretch; a delay moves it, and may part it from the other."""
    beside = ends((0, 50, 0, 30), (100, 200, 40, 90))
    week = Window("sliding", "20u", 20)
    short = WINDOWS["sliding"], 0, False
    assert reach_of(GAP, beside, closure(short, (week, 0, False))).bounded == ((31, 60),)
    assert reach_of(GAP, beside, closure(short, (WINDOWS["sliding"], 100, False))).bounded == ((31, 47), (131, 147))


def test_ends_travel_and_are_joined_whoever_read_which_part():
    """Offsets of every kind survive a document; of the parts of one range the outermost events count."""
    far = Range("tx", 0, "kinesis_sequence", "log", "1" * 56, "2" * 56)
    one, two = Ends(far, (int("11" * 28), 5), (int("12" * 28), 9)), Ends(far, (int("13" * 28), 7), (int("14" * 28), 8))
    assert [Ends.from_document(told.document()) for told in (one, two)] == [one, two]
    assert joined([two, one]) == joined([one, two]) == (Ends(far, one.first, two.last),)


@pytest.mark.parametrize("kind", [np.int64, object])
def test_ends_are_seen_in_batches_as_one_by_one(kind):
    """Records come by offset, in batches that may hold several ranges, and of which some are not counted; numbers may be of any size.

    offsets     0 1 2 3 4 | 5 6 7 8 9        ranges [1, 3) [6, 9)        not counted: 1, 8
    """
    far = 10**60 if kind is object else 0
    ranges = [replace(lane(far + start, far + end), offset_kind="kinesis_sequence") for start, end in ((1, 3), (6, 9), (20, 30))]
    key = ("tx", 0, "kinesis_sequence", "log")
    counted = np.array([n not in {1, 8} for n in range(10)], np.bool_)
    alone, many = EndsSeen(ranges), EndsSeen(ranges)
    for n in np.flatnonzero(counted).tolist():
        alone.see(key, (far + n, 100 + n))
    for part in (slice(0, 5), slice(5, 5), slice(5, 10)):
        many.see_all(key, np.array([far + n for n in range(10)], kind)[part], np.arange(100, 110)[part], counted[part])
    assert joined(many.told()) == joined(alone.told()) == (
        Ends(ranges[0], (far + 2, 102), (far + 2, 102)), Ends(ranges[1], (far + 6, 106), (far + 7, 107)))
