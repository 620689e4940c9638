"""What an intent declares to be missing: one spelling, inside of the basis, and nothing of it is read."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_feature_plane.domain.basis import Range, canonical_basis
from offline_feature_plane.domain.cutover import Watermarks, route
from offline_feature_plane.domain.gaps import (
    DeclaredGap,
    canonical_gaps,
    describe_gaps,
    gaps_of,
    is_declared,
    no_more_compacted,
    read_of,
    tell_gaps,
    to_declare,
)
from offline_feature_plane.errors import BasisUnresolved

LANE = Range("tx", 0, "kafka_offset", "log1", "0", "1")
STRETCHES = st.tuples(st.integers(0, 40), st.integers(1, 10)).map(lambda one: (one[0], one[0] + one[1]))


def part(start, end, **changes):
    """A range of the lane."""
    return replace(LANE, start_offset=str(start), end_offset=str(end), **changes)


def gap(start, end, why="archive_gap", **changes):
    """A declared gap of the lane."""
    return DeclaredGap(part(start, end, **changes), why)


@given(st.lists(STRETCHES, min_size=1, max_size=4),
       st.lists(st.tuples(STRETCHES, st.sampled_from(["archive_gap", "compacted"])), max_size=5))
def test_what_is_read_is_all_but_what_is_left_out(wanted, declared):
    """Offset by offset: in the basis, and in no gap but a compacted one; however gaps were spelled, if they can be meant at all."""
    basis = canonical_basis([part(*one) for one in wanted])
    try:
        gaps = canonical_gaps([gap(*one, why) for one, why in declared], basis)
    except BasisUnresolved:
        taken = [(why, offset) for (start, end), why in declared for offset in range(start, end)]
        two = len({offset for _, offset in set(taken)}) < len(set(taken))
        outside = any(not any(one.start <= start and end <= one.end for one in basis) for (start, end), _ in declared)
        assert two or outside
        return
    assert canonical_gaps(reversed(gaps), basis) == gaps
    assert gaps_of(describe_gaps(gaps)) == gaps
    read = {offset for one in read_of(basis, gaps) for offset in range(one.start, one.end)}
    left_out = {offset for (start, end), why in declared if why == "archive_gap" for offset in range(start, end)}
    assert read == {offset for one in basis for offset in range(one.start, one.end)} - left_out


@pytest.mark.parametrize(("gaps", "words"), [
    ([gap(5, 9), gap(8, 12, "not_settled")], r"\[5, 9\) of tx/0 \(archive_gap\) and \[8, 12\) of tx/0 \(not_settled\) overlap"),
    ([gap(15, 25)], "not inside of a range"), ([gap(5, 9, log_id="log2")], "not inside of a range"),
    ([gap(5, 9, partition=1)], "not inside of a range"), ([gap(9, 9)], "is empty")])
def test_what_cannot_be_meant_is_refused(gaps, words):
    """Two reasons for one offset, a gap beside the basis or in another log, one that holds nothing."""
    with pytest.raises(BasisUnresolved, match=words):
        canonical_gaps(gaps, [part(0, 20)])


def test_neighbours_of_one_reason_are_one_gap():
    """As ranges of a basis are; another reason stays a gap of its own."""
    assert canonical_gaps([gap(9, 12), gap(5, 9), gap(12, 13, "compacted")], [part(0, 20)]) == (gap(5, 12), gap(12, 13, "compacted"))


def test_what_is_found_missing_can_be_declared():
    """A route's gaps with their reasons; what nobody can have lost is not among them.

    archive  [0 ── 5)   [8 ─ 10)
    bus                       [12 ────── 18)      compacted
    """
    bus = Watermarks("tx", 0, "kafka_offset", "log1", "12", "18", "18", is_compacted=True)
    way = route(part(0, 20), [(0, 5), (8, 10)], bus)
    assert to_declare([way]) == (gap(5, 8), gap(10, 12), gap(12, 18, "compacted"), gap(18, 20, "not_settled"))
    assert to_declare([route(part(0, 20), [], "none", known=[(0, "kafka_offset", "log2")])]) == ()
    assert is_declared(part(13, 18), "compacted", to_declare([way]))
    assert not is_declared(part(13, 18), "archive_gap", to_declare([way]))
    assert not is_declared(part(11, 18), "compacted", to_declare([way]))


def test_a_stretch_that_is_compacted_no_more_is_noticed():
    """The archive has it now, or the topic keeps its records: what would be read are other records than were meant."""
    bus = Watermarks("tx", 0, "kafka_offset", "log1", "0", "20", "20", is_compacted=True)
    declared = gap(10, 20, "compacted")
    for way, gone in ((route(part(0, 20), [(0, 10)], bus), ()), (route(part(0, 20), [(0, 15)], bus), (declared,)),
                      (route(part(0, 20), [(0, 10)], replace(bus, is_compacted=False)), (declared,))):
        assert no_more_compacted([declared, gap(0, 1)], [way]) == gone


def test_many_gaps_are_told_by_the_first_ones():
    """A sentence stays a sentence."""
    told = tell_gaps([gap(n, n + 1) for n in range(0, 14, 2)], 2)
    assert told == "[0, 1) of tx/0 (archive_gap), [2, 3) of tx/0 (archive_gap), and 5 more"
