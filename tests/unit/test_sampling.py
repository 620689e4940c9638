"""Which rows a sample keeps."""

import hashlib
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.sampling import draw, keeps, keeps_each, threshold, unit_text, weight

RATE = st.decimals("0", "1", places=6).map(str)
UNIT = st.text(st.characters(codec="utf-8"), max_size=12)


@given(UNIT, RATE)
def test_keeping_follows_from_the_definition(unit, rate):
    """A unit is kept iff the first 8 bytes of its hash, big-endian, are below floor(rate × 2⁶⁴)."""
    drawn = int.from_bytes(hashlib.sha256(b"ofs.sample.v1\x00seed\x00" + unit.encode()).digest()[:8], "big")
    assert keeps("seed", unit, rate) == (drawn < int(Decimal(rate).as_integer_ratio()[0] * 2**64 // Decimal(rate).as_integer_ratio()[1]))


@given(st.lists(UNIT, max_size=6), RATE)
def test_many_units_are_kept_as_each_one_is(units, rate):
    """The way for many units keeps exactly what the way for one keeps."""
    assert list(keeps_each("s", [unit.encode() for unit in units], rate)) == [keeps("s", unit, rate) for unit in units]


@given(UNIT, RATE, RATE)
def test_a_higher_rate_keeps_what_a_lower_one_kept(unit, one, other):
    """Samples are nested."""
    low, high = sorted((one, other), key=Decimal)
    assert not keeps("s", unit, low) or keeps("s", unit, high)


def test_rates_are_exact_decimals():
    """A tenth is a tenth and not the double near it; all and nothing are exactly that."""
    assert threshold("0.1") == 2**64 // 10 != int(0.1 * 2**64)
    assert (threshold("1"), threshold("1.0"), threshold("0")) == (2**64, 2**64, 0)
    assert [list(keeps_each("s", [b"u", b"v"], rate)) for rate in ("1", "0")] == [[True, True], [False, False]]


def test_about_the_stated_share_is_kept():
    """Ten thousand units at one in four keep between 24 and 26 percent, and another seed keeps others."""
    kept = [{unit for unit in range(10_000) if keeps(seed, str(unit), "0.25")} for seed in ("a", "b")]
    assert all(2_400 < len(one) < 2_600 for one in kept)
    assert len(kept[0] & kept[1]) < 800


def test_weights_are_rounded_once():
    """A weight is the double nearest to 1/rate."""
    assert weight("0.3") == float(Fraction(10, 3))
    assert weight("0") == 0.0


@pytest.mark.parametrize("rate", ["-0.1", "1.01", "many", "NaN"])
def test_a_rate_outside_zero_to_one_is_refused(rate):
    """A rate must be a number from 0 to 1."""
    with pytest.raises(ValueError):
        keeps("s", "u", rate)


def test_drawing_separates_seed_and_unit():
    """The zero byte keeps `ab` + `c` apart from `a` + `bc`."""
    assert draw("ab", "c") != draw("a", "bc")


@pytest.mark.parametrize(("value", "kind", "text"), [
    (5, "decimal(12,2)", "0.05"), (-5, "decimal(12,2)", "-0.05"), (7, "decimal(5,0)", "7"), (1, "bool", "true"), (False, "bool", "false"),
    (0, "timestamp", "1970-01-01T00:00:00.000000Z"), (1.5, "float64", "1.5"), ("é", "string", "é"), (None, "int64", "")])
def test_every_type_has_one_text_per_value(value, kind, text):
    """What rows are sampled by has one spelling."""
    assert unit_text(value, ColumnType.parse(kind)) == text
