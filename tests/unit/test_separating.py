"""How well one column separates two classes, and how far two splits are apart."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_feature_plane.domain.suspicion import ALL, Probe, area, is_suspicious, key, threshold
from offline_feature_plane.errors import SchemaInvalid
from offline_feature_plane.kernels.separating import below, deal, distance, doubled_wins, doubled_wins_by_share, mix

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "audit" / "separation.json").read_text())
ROWS = st.lists(st.tuples(st.none() | st.integers(-3, 3), st.integers(0, 1)), max_size=24)
VALUES = st.lists(st.none() | st.integers(-3, 3), max_size=12)


def counts(values, known):
    """How often each known value occurs, and how often none."""
    return np.array([values.count(one) for one in known], dtype=np.int64), np.array([values.count(None)], dtype=np.int64)


def measured_area(rows):
    """The area of rows `(value, target)` by the kernel."""
    known = sorted({value for value, _ in rows if value is not None})
    (positive, null_positive), (negative, null_negative) = (counts([value for value, target in rows if target == one], known)
                                                            for one in (1, 0))
    if any(isinstance(value, str) for value in known):
        wins = doubled_wins_by_share(np.concatenate([positive, null_positive]), np.concatenate([negative, null_negative]))
    else:
        wins = doubled_wins(positive, negative, (int(null_positive[0]), int(null_negative[0])))
    return area(wins, sum(target for _, target in rows), sum(1 - target for _, target in rows))


def measured_distance(here, there):
    """The distance of two lists of values by the kernel."""
    known = sorted({value for value in (*here, *there) if value is not None})
    return distance(counts(here, known), counts(there, known), ordered=not any(isinstance(value, str) for value in known))


def judged_area(rows, null):
    """Every pair of a positive and a negative, one by one; nulls are the value `null`."""
    positive, negative = ([null if value is None else value for value, target in rows if target == one] for one in (1, 0))
    won = sum(Fraction((p > n) - (p < n) + 1, 2) for p in positive for n in negative)
    return won / (len(positive) * len(negative))


@pytest.mark.parametrize("vector", GOLDEN["areas"], ids=lambda one: one["what"])
def test_areas_by_hand(vector):
    """Each area is the one that was worked out by hand."""
    expected = vector["area"] and float(Fraction(vector["area"]))
    assert measured_area(vector["rows"]) == expected


@pytest.mark.parametrize("vector", GOLDEN["distances"], ids=lambda one: one["what"])
def test_distances_by_hand(vector):
    """Each distance is the one that was worked out by hand, in both directions."""
    expected = vector["distance"] and float(Fraction(vector["distance"]))
    assert measured_distance(vector["here"], vector["there"]) == pytest.approx(expected)
    assert measured_distance(vector["there"], vector["here"]) == pytest.approx(expected)


@given(ROWS)
def test_the_area_counts_pairs(rows):
    """The kernel gives exactly what counting every pair gives, with nulls at the end that separates better."""
    found = measured_area(rows)
    if len({target for _, target in rows}) < 2:
        assert found is None
        return
    low, high = judged_area(rows, -9), judged_area(rows, 9)
    assert found == float(max(low, high, key=lambda one: abs(one - Fraction(1, 2))))


@given(ROWS)
def test_text_is_ordered_as_well_as_can_be(rows):
    """No order of texts separates better than the one by shares, so that its area is never below that of the same values as numbers."""
    found = measured_area([(f"text {value}", target) for value, target in rows])
    if found is not None:
        assert found >= max(measured_area(rows), 0.5)


@given(VALUES, VALUES)
def test_the_distance_tries_every_threshold(here, there):
    """The kernel gives what trying every threshold gives, with nulls at the end that tells more."""
    found = measured_distance(here, there)
    if not here or not there:
        assert found is None
        return

    def widest(null):
        one, other = ([null if value is None else value for value in values] for values in (here, there))
        return max(abs(Fraction(sum(value <= bar for value in one), len(one)) - Fraction(sum(value <= bar for value in other), len(other)))
                   for bar in (*one, *other))

    assert found == pytest.approx(float(max(widest(-9), widest(9))))


def test_rows_are_mixed_by_splitmix64():
    """The numbers are those that SplitMix64 is published with."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert mix(1234567, np.arange(5)).tolist() == published


def test_keys_follow_from_the_definition():
    """A key is the first 8 bytes of the digest of name, seed and purpose."""
    assert key("1", "sample") == 6471078213075224154


@given(st.integers(0, ALL - 1), st.integers(0, 40), st.data())
def test_a_deal_keeps_how_many_are_positive(number, rows, data):
    """Dealing gives as many different rows as there are positives, and the same ones for the same key."""
    chosen = data.draw(st.integers(0, rows))
    dealt = deal(number, rows, chosen).tolist()
    assert len(set(dealt)) == chosen == len(dealt)
    assert set(dealt) <= set(range(rows))
    assert dealt == deal(number, rows, chosen).tolist()


def test_a_sample_has_about_the_size_that_was_asked_for():
    """Of many rows about as many are examined as were asked for, of few all; a larger sample holds a smaller one."""
    words = mix(key("1", "sample"), np.arange(100_000))
    small, large = (below(words, threshold(100_000, most)) for most in (1_000, 10_000))
    assert abs(int(small.sum()) - 1_000) < 150
    assert abs(int(large.sum()) - 10_000) < 500
    assert not (small & ~large).any()
    assert below(words, threshold(100_000, 100_000)).all()


def test_chance_must_not_give_the_same():
    """An area at the limit is suspicious only if no deal reaches as far, on either side."""
    assert is_suspicious(0.95, [0.4, 0.9], 0.95)
    assert is_suspicious(0.05, [0.4, 0.9], 0.95)
    assert not is_suspicious(0.94, [0.5], 0.95)
    assert not is_suspicious(1.0, [0.5, 0.0], 0.95)


@pytest.mark.parametrize(("name", "value"), [("permutations", 0), ("permutations", 1_001), ("most_rows", 0), ("suspicious", 0.4),
                                             ("suspicious", 1.1), ("suspicious", float("nan")), ("drifted", -0.1), ("most_rows", 2.5),
                                             ("permutations", "20"), ("suspicious", None), ("seed", 1), ("seed", "\ud800")])
def test_limits_that_say_nothing_are_refused(name, value):
    """A limit outside its bounds is refused by its name."""
    with pytest.raises(SchemaInvalid) as refused:
        Probe(**{name: value})
    assert refused.value.path == name
