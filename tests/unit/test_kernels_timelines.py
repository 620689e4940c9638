"""Assertions side by side in numbers: their order by subject, and their names in a table (`kernels.timelines`)."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.content import column_digest
from offline_feature_plane.engines.local.label_names import is_there, words_of
from offline_feature_plane.kernels.framing import framed_bytes
from offline_feature_plane.kernels.timelines import find_linked, find_twice, new_table, order_by_subject, place_numbers

WORDS = st.integers(0, 3)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([1, 2, 5, 4095, 4096, 4097, 2**24, 2**24 + 1, 2**31 - 1]))
def test_the_order_by_subject_is_a_stable_sort(data, most):
    """However many positions there may be, rows are sorted by theirs, and those of one stay as they came."""
    position = np.array(data.draw(st.lists(st.integers(0, most - 1) | st.integers(0, min(most - 1, 3)), max_size=40)), np.int64)
    order, ordered = order_by_subject(position, most)
    assert order.tolist() == np.argsort(position, kind="stable").tolist()
    assert ordered.tolist() == np.sort(position).tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS, st.booleans()), max_size=30))
def test_names_meet_within_their_subject(told):
    """Two rows share a name, or one links to another, only if their subject is the same."""
    scope = np.array([one[0] for one in told], np.int64)
    name, link = (np.array([one[place] for one in told], np.uint64) for place in (1, 2))
    rows = np.flatnonzero([one[3] for one in told])
    twice, table, target = np.zeros(len(told), np.bool_), new_table(len(rows)), np.empty(len(told), np.int64)
    pairs = [(scope[row], name[row]) for row in rows]
    assert find_twice(scope, name, rows, table, twice) == (len(set(pairs)) < len(pairs))
    assert [bool(twice[row]) for row in rows] == [pairs.count(pair) > 1 for pair in pairs]
    find_linked(scope, name, link, np.arange(len(told)), table, target)
    for row, found in enumerate(target.tolist()):
        assert (found >= 0) == ((scope[row], link[row]) in pairs)
        assert found < 0 or (scope[found], name[found]) == (scope[row], link[row])


def test_places_of_numbers_are_taken_once():
    """Numbers outside the table are passed over; a number that comes twice is told."""
    places = np.full(4, -1, np.int32)
    assert place_numbers(np.array([9, 12, 14, 10]), 10, 100, places)
    assert places.tolist() == [103, -1, 101, -1]
    assert not place_numbers(np.array([12]), 10, 200, places)


@pytest.mark.parametrize("texts", [[], ["a"], [None, "é", "", "long" * 30, None], ["same", "size"]])
def test_framed_texts_are_what_digests_take(texts):
    """Length and bytes of each text, whatever slice of an array they stand in; words are equal where texts are."""
    column = pa.array(["before", *texts], pa.large_string()).slice(1)
    offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset:column.offset + len(column) + 1]
    framed = framed_bytes(offsets, np.frombuffer(column.buffers()[2], np.uint8), is_there(column))
    digest = hashlib.sha256(is_there(column).tobytes() + framed.tobytes()).hexdigest()
    assert f"sha256:{digest}" == column_digest(ColumnType("string"), texts)
    assert words_of(column).tolist() == words_of(pa.array(texts, pa.large_string())).tolist()
