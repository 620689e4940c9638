"""Laws of the sketch of a label slice: it tells which assertions two slices do not share, and nothing else (`domain.md` §1.8)."""

import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain import label_sketch
from offline_feature_plane.domain.label_sketch import LEVELS, SHARE_BITS, WORDS, Mark, differ, mark_of, pack, sketch_of, unpack
from offline_feature_plane.domain.resolution import SOURCES, Assertion
from offline_feature_plane.engines.local.label_columns import AssertionColumns
from offline_feature_plane.engines.local.label_names import Names
from offline_feature_plane.engines.local.label_sketches import Sketching, sketch_slice
from offline_feature_plane.engines.local.label_steps import Eligible

ASOF = 10**15
INSTANTS = st.sampled_from([-10**15, -1, 0, 1, ASOF])
TEXTS = st.sampled_from(["", "a", "FRAUD", "\u00e9", "\U0001f4a5" * 9])
ASSERTIONS = st.builds(Assertion, st.just("tx"), st.just("fraud"), TEXTS.filter(bool), INSTANTS, INSTANTS, st.sampled_from(SOURCES),
                       st.none() | TEXTS, st.sampled_from([None, "before", "befor\u00e9"]))
TIMELINES = st.lists(st.lists(ASSERTIONS, max_size=4, unique_by=lambda one: one.assertion_id), max_size=6)


def marks(timeline):
    """Every mark of a timeline."""
    return {mark_of(position, one) for position, said in enumerate(timeline) for one in said}


def added(*sketches):
    """Sketches, added up."""
    return sum(np.frombuffer(one, "<u8") for one in sketches).tobytes()


def drawn(count, seed):
    """A sketch of so many marks about as many events, and the columns of their assertions."""
    chance = np.random.default_rng(seed)
    columns = np.arange(count), chance.integers(0, 2**45, count), chance.integers(0, 2**45, count)
    sketching = Sketching()
    sketching.add(*columns, [chance.integers(0, 2**64, count, np.uint64), None, None, None])
    return sketching.made()


def shares_cells(differing):
    """Have two of a few marks all cells in common, so that neither can be read?"""
    cells = [tuple(label_sketch._spot(mark)[1]) for mark in differing]
    return len(set(cells)) < len(cells)


@settings(max_examples=60, deadline=None)
@given(TIMELINES, TIMELINES)
def test_what_differs_is_told_both_ways_and_nothing_else(then, now):
    """The difference of two sketches is the difference of the sets of marks: what appeared, what is gone, and no other."""
    found = differ(sketch_of(then, ASOF), sketch_of(now, ASOF))
    assert found is not None
    if shares_cells(marks(now) ^ marks(then)):  # one pair of 64,000: then a sample is told
        assert set(found.appeared) <= marks(now) - marks(then)
        assert set(found.gone) <= marks(then) - marks(now)
    else:
        assert (set(found.appeared), set(found.gone), found.share) == (marks(now) - marks(then), marks(then) - marks(now), 1)


@settings(max_examples=60, deadline=None)
@given(TIMELINES)
def test_columns_leave_the_marks_of_the_law(timeline):
    """What the kernels add to the cells is what the law adds, whether texts come as columns or as codes into a few values."""
    flat = [(position, one) for position, said in enumerate(timeline) for one in said]
    random.Random(1).shuffle(flat)
    texts = [pa.array([getattr(one, name) for _, one in flat], pa.string()) for name in ("value", "source", "assertion_id", "supersedes")]
    position, observed, effective = (np.array(found, np.int64) for found in (
        [position for position, _ in flat], [one.observed_us for _, one in flat], [one.effective_us for _, one in flat]))
    sketching, expected = Sketching(), sketch_of(timeline, ASOF)
    sketching.add(position, observed, effective, texts)
    assert sketching.made() == expected
    values = tuple(sorted({one.value for _, one in flat}))
    value = np.array([values.index(one.value) for _, one in flat], np.int32)
    source = np.array([SOURCES.index(one.source) for _, one in flat], np.int8)
    columns = AssertionColumns(len(flat), np.zeros(len(flat), np.int64), value, values, observed, effective, None, source,
                               *(one.cast(pa.large_string()) for one in texts[2:]))
    assert sketch_slice(Eligible(np.arange(len(flat)), position, observed, effective, observed), columns, Names.of(columns)) == expected


@settings(max_examples=20, deadline=None)
@given(TIMELINES, st.integers(0, 6))
def test_sketches_of_parts_add_up(timeline, cut):
    """However a slice is cut, its sketch is the sum of the sketches of its parts: the order of assertions means nothing."""
    first = [said if place < cut else [] for place, said in enumerate(timeline)]
    rest = [[] if place < cut else said for place, said in enumerate(timeline)]
    assert added(sketch_of(first, ASOF), sketch_of(rest, ASOF)) == sketch_of(timeline, ASOF)


@pytest.mark.parametrize("count", [60, 1_000, 30_000, 1_000_000])
def test_of_a_large_difference_a_sample_is_told(count):
    """However much differs, some level can tell it: at least a few marks, all of them true, and how many there are to within a half."""
    kept = drawn(500, 3)
    found = differ(kept, added(kept, drawn(count, 4)))
    assert found is not None
    assert found.gone == ()
    assert 4 <= len(found.appeared) <= 120
    assert all(0 <= mark.position < count for mark in found.appeared)
    assert 0.5 <= len(found.appeared) * found.share / count <= 1.5
    assert (found.share == 1) == (count == 60)
    assert found.share <= 1 << SHARE_BITS * (LEVELS - 1)


def test_no_identifier_leaves_a_trace():
    """Two planes that name their events otherwise have one sketch: a manifest with tokens does not give away what they stand for."""
    said = [[Assertion(f"card-{place}", "fraud", "FRAUD", place, place)] for place in range(50)]
    assert sketch_of([[replace(one, subject=f"{one.subject}-secret") for one in each] for each in said], ASOF) == sketch_of(said, ASOF)


def test_assertions_that_do_not_count_leave_no_mark():
    """What is known after the cut, and what is said twice, is not of the slice.

    ── FRAUD, FRAUD ──┃cut── LEGIT ──▶ observed
    """
    fraud, late = Assertion("tx", "fraud", "FRAUD", 1, 1), Assertion("tx", "fraud", "LEGIT", 9, 1)
    assert sketch_of([[fraud, fraud, late]], 5) == sketch_of([[fraud]], 5)
    assert differ(sketch_of([], 5), sketch_of([[fraud, late]], 5)).appeared == (mark_of(0, fraud),)


def test_a_sketch_comes_back_from_its_text_and_other_texts_are_none():
    """What a document holds is unpacked with bounded memory; what is no sketch is None and never an error."""
    sketch = drawn(10_000, 5)
    assert unpack(pack(sketch)) == sketch
    assert len(pack(sketch)) < 40_000
    assert len(pack(bytes(8 * WORDS))) < 100
    for wrong in ("", "no base64!", pack(sketch)[:100], pack(b"short"), pack(bytes(10**7)), "AAAA", "\u00e9"):
        assert unpack(wrong) is None
    assert differ(sketch, sketch) is not None
    assert isinstance(mark_of(3, Assertion(1, "fraud", "FRAUD", 1, 1)), Mark)
