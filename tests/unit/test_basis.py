"""The canonical basis: one spelling per meaning, half-open, each kind of offset by its own algebra."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.basis import Range, canonical_basis, offset_number, without
from offline_feature_plane.errors import BasisUnresolved

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=8)


def span(start, end, kind="kafka_offset", partition=0, topic="tx", log="log1"):
    """A range of one partition."""
    return Range(topic, partition, kind, log, str(start), str(end))


@settings(max_examples=200, deadline=None)
@given(SPANS, st.randoms())
def test_a_canonical_basis_holds_exactly_the_offsets_that_were_asked_for_whatever_the_order(spans, random):
    """Merging and sorting change the spelling of a basis, never which offsets it holds."""
    asked = [span(start, start + length) for start, length in spans]
    basis = canonical_basis(asked)
    shuffled = asked * 2
    random.shuffle(shuffled)
    assert canonical_basis(shuffled) == basis
    assert {n for n in range(60) if any(one.holds(n) for one in basis)} == {n for n in range(60) if any(one.holds(n) for one in asked)}
    assert all(left.end < right.start for left, right in pairwise(basis))


def test_adjacent_ranges_merge_and_ranges_with_a_hole_do_not():
    """The end is not inside, so [0,5) and [5,9) are one range and [0,5) and [6,9) are two."""
    assert canonical_basis([span(0, 5), span(5, 9)]) == (span(0, 9),)
    assert len(canonical_basis([span(0, 5), span(6, 9)])) == 2


def test_ranges_of_other_partitions_kinds_or_logs_never_merge():
    """Offsets of different logs have nothing to do with each other."""
    assert len(canonical_basis([span(0, 5), span(5, 9, partition=1), span(5, 9, log="log2"), span(5, 9, kind="file_line")])) == 4


def test_kinesis_sequences_are_ordered_as_numbers_and_may_be_very_long():
    """56 digits compare by value, not by text, and are not counted."""
    low, high = "9" * 55, "1" + "0" * 55
    assert canonical_basis([span(low, high, "kinesis_sequence")])[0].holds(int(low))
    with pytest.raises(BasisUnresolved):
        offset_number("kafka_offset", high)


@pytest.mark.parametrize("bad", [("5", "5"), ("6", "5"), ("-1", "5"), ("01", "5"), ("", "5"), ("a", "5"), ("1.0", "5"), ("0", "9" * 19),
                                 ("٣", "5")])
def test_empty_reversed_and_malformed_ranges_are_refused(bad):
    """A basis says plainly what it means or is refused."""
    with pytest.raises(BasisUnresolved):
        canonical_basis([span(*bad)])


def test_an_unknown_kind_a_negative_partition_and_an_empty_basis_are_refused():
    """Every member of a basis is checked."""
    for ranges in ([span(0, 5, "row_number")], [span(0, 5, partition=-1)], []):
        with pytest.raises(BasisUnresolved):
            canonical_basis(ranges)


@settings(max_examples=200, deadline=None)
@given(SPANS)
def test_gaps_are_exactly_the_offsets_that_nothing_covers(spans):
    """Covered and missing offsets partition a range."""
    present = [(start, start + length) for start, length in spans]
    gaps = without(span(5, 45), present)
    missing = {n for start, end in gaps for n in range(start, end)}
    assert missing == {n for n in range(5, 45) if not any(start <= n < end for start, end in present)}
