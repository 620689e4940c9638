"""Compiled extraction and quick instants agree with the laws they stand for."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extraction import extract, extract_path
from offline_feature_plane.domain.extractors import extractor
from offline_feature_plane.domain.instant_texts import canonical_instant, read_instant
from offline_feature_plane.domain.instants import format_instant, parse_offset_instant
from offline_feature_plane.errors import OfsError

RAW = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-300, 300), st.decimals(-2000, 2000, places=3), st.decimals(),
                st.text(max_size=4),
                st.sampled_from(["12.50", "-0", "-0.0", "-", "1.", ".5", "1e3", "999.99", "1000", "\u0661", "true", "2026-01-01T00:00:00Z",
                                 2**53, 2**53 + 1,
                                 Decimal("1E+3"), Decimal("-0.00"), Decimal("9" * 60), {"b": "1"}, [1]]))
KINDS = ["bool", "int8", "int64", "float64", "decimal(5,2)", "decimal(18,4)", "decimal(3,0)", "string", "timestamp"]


def outcome(call):
    """What a call gives, with its type, or how it is refused."""
    try:
        found = call()
    except OfsError as wrong:
        return type(wrong), wrong.what
    return type(found), repr(found)


@settings(max_examples=400, deadline=None)
@given(RAW, st.sampled_from(KINDS), st.sampled_from(["exact", "half_even"]), st.sampled_from([("a",), ("a", "b")]), st.booleans())
def test_a_compiled_extractor_is_the_scalar_law(raw, kind, rounding, path, nullable):
    """Every raw value comes out alike, or is refused with the same words."""
    field = Field("x", ColumnType.parse(kind), path, nullable=nullable, round=rounding)
    payload = {"a": raw}
    assert outcome(lambda: extractor(field, "UTC")(payload)) == outcome(lambda: extract(extract_path(payload, path), field, "UTC"))


def spelled(call, text):
    """What a reading gives, or the words of its refusal."""
    try:
        return call(text)
    except ValueError as wrong:
        return str(wrong)


@pytest.mark.parametrize("text", [
    "2026-01-31T23:59:59.000001Z", "2026-01-31T23:59:59Z", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z",
    "2026-01-01t00:00:00z", "2026-01-01T00:00:00.00000\u0661Z", "2026-01-01T00:00:00.0000001Z", "2026-01-01T00:00:00.1234567Z",
    "2026-01-01T00:00:00+02:00",
    "2026-01-01T00:00:00.000+02:00", "0000-01-01T00:00:00Z", "yesterday", "", "2026-01-01T", "\u0662026-01-01T00:00:00Z"])
def test_quick_instants_are_those_of_the_definition(text):
    """Every text reads alike or is refused with the same words, and what was read is spelled canonically."""
    found = spelled(read_instant, text)
    assert found == spelled(parse_offset_instant, text)
    if isinstance(found, int):
        assert canonical_instant(text, found) == format_instant(found)
