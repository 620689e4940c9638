"""What was found while a log was read: counted by reason, with stretches, in memory that does not grow with the log."""

from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.findings import MOST_STRETCHES, Finding, Findings, Spot, conflicts_of, in_order

LANE = ("tx", 0, "kafka_offset", "log1")


def told(*spots, lane=LANE):
    """What some spots of one lane add up to."""
    found = Findings()
    for spot in spots:
        found.note(spot, lane)
    return found.told()


def test_neighbours_are_one_stretch():
    """Offsets that follow each other are one stretch; the sentence is the first one's.

    offsets   3 4 5   9          [3, 6) and [9, 10)
    """
    (one,) = told(*(Spot("foreign_run", at, f"at {at}") for at in (3, 4, 5, 9)))
    assert one == Finding("foreign_run", *LANE, 4, "3", "9", (("3", "6"), ("9", "10")), 0, "at 3")


def test_reasons_and_lanes_are_told_apart():
    """The same offset may be found for two reasons, and in two partitions."""
    found = Findings()
    for reason, partition in [("undecodable", 1), ("duplicate", 0), ("undecodable", 0), ("undecodable", 0)]:
        found.note(Spot(reason, 7), ("tx", partition, "kafka_offset", "log1"))
    assert [(one.reason, one.partition, one.count) for one in found.told()] == [
        ("duplicate", 0, 1), ("undecodable", 0, 2), ("undecodable", 1, 1)]
    assert in_order(reversed(found.told())) == found.told()


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 400), min_size=1, max_size=300))
def test_every_offset_counts_and_the_stretches_hold_exactly_them(offsets):
    """Up to the bound, the stretches are the offsets; beyond it the count and both ends still are."""
    ascending = sorted(offsets)
    (one,) = told(*(Spot("duplicate", at) for at in ascending))
    assert (one.count, one.first_offset, one.last_offset) == (len(ascending), str(ascending[0]), str(ascending[-1]))
    runs = sum(1 for at in ascending if at - 1 not in offsets)
    assert len(one.stretches) + one.omitted == runs
    listed = {at for start, end in one.stretches for at in range(int(start), int(end))}
    assert listed == {at for at in ascending if at < int(one.stretches[-1][1])}


def test_scattered_records_are_told_in_bounded_space():
    """Beyond so many stretches only their number is kept."""
    (one,) = told(*(Spot("foreign_run", at * 2) for at in range(100_000)))
    assert (one.count, len(one.stretches), one.omitted) == (100_000, MOST_STRETCHES, 100_000 - MOST_STRETCHES)


def test_a_spot_may_be_a_run():
    """Records that follow each other in their log are noted at once, however far their offsets lie apart."""
    (one,) = told(Spot("REPLAY_BASIS_MISMATCH", 10, "why", last=10**40, count=3), Spot("REPLAY_BASIS_MISMATCH", 10**40 + 1))
    assert (one.count, one.stretches) == (4, (("10", str(10**40 + 2)),))


def test_findings_cross_borders_as_documents():
    """Spark's tasks tell theirs as JSON: what comes back is what went."""
    (one,) = told(Spot("REPLAY_BASIS_MISMATCH", 3, "other bytes"), Spot("REPLAY_BASIS_MISMATCH", 8))
    assert Finding.from_document(one.describe()) == one
    assert conflicts_of([one, *told(Spot("duplicate", 1))]) == (one,)
