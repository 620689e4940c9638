"""The scalar law of extraction: exact or refused, never nearly."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extraction import convert, extract, extract_path
from offline_feature_plane.errors import EventSchemaMissingFields, NumericOverflow, ReplayEventInvalid, SettingsInvalid, TimeZoneUndeclared


def read(raw, kind, rounding="exact", zone=None):
    """Convert one value."""
    return convert(raw, ColumnType.parse(kind), rounding, zone, "x")


@pytest.mark.parametrize(("raw", "kind", "value"), [
    ("12.50", "decimal(12,2)", 1250), ("12.500", "decimal(12,2)", 1250), (7, "decimal(12,2)", 700),
    (Decimal("1E+2"), "decimal(12,2)", 10000),
    (Decimal("-0.00"), "decimal(12,2)", 0), ("999999999999999999", "decimal(18,0)", 10**18 - 1), (Decimal("0E+50"), "decimal(4,2)", 0),
    (127, "int8", 127), ("-128", "int8", -128), ("007", "int64", 7), (-0.0, "float64", 0.0), (2**53, "float64", 2.0**53),
    ("1e3", "float64", 1000.0),
    (Decimal("0.1"), "float64", 0.1), ("tom", "string", "tom"), (42, "string", "42"), (True, "bool", True), ("false", "bool", False),
    (1, "bool", True), ("1", "bool", True), ("0", "bool", False), ("True", "bool", True), ("FALSE", "bool", False),
    ("1970-01-01T01:00:00.000001+01:00", "timestamp", 1), ("1970-01-01 00:00:01.100000000Z", "timestamp", 1_100_000),
    (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "timestamp", 1_000_000)])
def test_values_that_the_type_can_carry_are_carried_exactly(raw, kind, value):
    """What fits comes through unchanged, decimals as scaled integers and times as microseconds."""
    found = read(raw, kind)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("raw", "kind", "error"), [
    ("12.505", "decimal(12,2)", ReplayEventInvalid), (12.5, "decimal(12,2)", ReplayEventInvalid),
    (float("nan"), "float64", ReplayEventInvalid),
    (float("inf"), "decimal(4,2)", ReplayEventInvalid), ("1e3", "decimal(12,2)", ReplayEventInvalid),
    (" 1", "decimal(12,2)", ReplayEventInvalid),
    ("1,5", "decimal(12,2)", ReplayEventInvalid), ("٣", "decimal(12,2)", ReplayEventInvalid), ("100", "decimal(4,2)", NumericOverflow),
    (10**18, "decimal(18,0)", NumericOverflow), (128, "int8", NumericOverflow), (5.0, "int64", ReplayEventInvalid),
    (True, "int64", ReplayEventInvalid),
    (Decimal("5.0"), "int64", ReplayEventInvalid), (2**53 + 1, "float64", ReplayEventInvalid), ("1e400", "float64", NumericOverflow),
    ("nan", "float64", ReplayEventInvalid), (1.5, "string", ReplayEventInvalid), (True, "string", ReplayEventInvalid),
    (2, "bool", ReplayEventInvalid),
    ("yes", "bool", ReplayEventInvalid), ("tRUE", "bool", ReplayEventInvalid), ("01", "bool", ReplayEventInvalid),
    (0, "timestamp", ReplayEventInvalid), ("2026-02-30T00:00:00Z", "timestamp", ReplayEventInvalid),
    ("2026-01-01T00:00:00.0000001Z", "timestamp", ReplayEventInvalid), ("2026-01-01", "timestamp", ReplayEventInvalid),
    ("2026-01-01T00:00:00", "timestamp", TimeZoneUndeclared), (b"x", "string", ReplayEventInvalid),
    ({"a": 1}, "string", ReplayEventInvalid),
    ("9" * 500, "int64", ReplayEventInvalid), (Decimal("NaN"), "decimal(4,2)", ReplayEventInvalid)])
def test_values_that_the_type_cannot_carry_are_refused_by_name(raw, kind, error):
    """Nothing is cut, guessed or rounded unless the profile says so; the error names the value and the column."""
    with pytest.raises(error) as caught:
        read(raw, kind)
    assert caught.value.path == "x"
    assert caught.value.fix


def test_floats_under_exact_are_told_to_declare_rounding():
    """The advice is the very line to write."""
    with pytest.raises(ReplayEventInvalid, match="round: half_even"):
        read(0.1, "decimal(12,2)")


@settings(max_examples=300, deadline=None)
@given(st.floats(-1e9, 1e9), st.integers(0, 6))
def test_floats_round_half_even_from_their_exact_binary_value(number, scale):
    """2.675 is a little less than its text and rounds down; only exact ties go to the even digit."""
    assert read(number, f"decimal(18,{scale})", "half_even") == round(Fraction(number) * 10**scale)


@settings(max_examples=200, deadline=None)
@given(st.decimals(-10**9, 10**9, allow_nan=False, places=5))
def test_decimals_round_half_even_only_when_that_is_declared(number):
    """Under `exact` excess digits are refused, under `half_even` they are rounded."""
    exact = Fraction(number) * 100
    assert read(number, "decimal(18,2)", "half_even") == round(exact)
    if exact.denominator == 1:
        assert read(str(number), "decimal(18,2)") == exact
    else:
        with pytest.raises(ReplayEventInvalid):
            read(str(number), "decimal(18,2)")


def test_local_times_that_occur_twice_or_never_are_refused():
    """A reading without a single instant is no instant.

    Paris  01:59 ─▶ 03:00 in March: 02:30 never occurs
    Paris  02:59 ─▶ 02:00 in October: 02:30 occurs twice
    """
    assert read("2026-07-01T12:00:00", "timestamp", zone="Europe/Paris") == read("2026-07-01T10:00:00Z", "timestamp")
    for text, words in (("2026-03-29T02:30:00", "never occurs"), ("2026-10-25T02:30:00", "occurs twice")):
        with pytest.raises(ReplayEventInvalid, match=words):
            read(text, "timestamp", zone="Europe/Paris")
    with pytest.raises(SettingsInvalid):
        read("2026-07-01T12:00:00", "timestamp", zone="Europe/Atlantis")


def test_absent_values_are_missing_null_or_an_error():
    """`missing: x` stands in, `missing: null` stays null, everything else must be there."""
    kind = ColumnType.parse("decimal(5,1)")
    assert extract(None, Field("a", kind, ("a",), missing="1.5")) == 15
    assert extract(None, Field("a", kind, ("a",), nullable=True)) is None
    with pytest.raises(EventSchemaMissingFields):
        extract(None, Field("a", kind, ("a",)))


def test_a_path_that_leads_nowhere_is_absent():
    """A missing key, a null on the way and a parent that is no object all read as absent."""
    payload = {"a": {"b": 1}, "n": None, "t": "text"}
    assert extract_path(payload, ("a", "b")) == 1
    assert [extract_path(payload, path) for path in (("a", "c"), ("n", "b"), ("t", "b"), ("x",))] == [None] * 4
    assert extract_path(None, ("a",)) is None
