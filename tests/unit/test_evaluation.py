"""What expressions mean for one event: exact, three-valued, in the calendar of a zone."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.evaluation import evaluate, is_true
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.errors import NumericOverflow

INT, FLOAT, BOOL = ColumnType("int64"), ColumnType("float64"), ColumnType("bool")
TEXT, TIME = ColumnType("string"), ColumnType("timestamp")
SCOPE = {"i": INT, "j": INT, "d": ColumnType("decimal", 12, 2), "e": ColumnType("decimal", 9, 4), "w": ColumnType("decimal", 18, 0),
         "f": FLOAT, "g": FLOAT,
         "p": BOOL, "q": BOOL, "s": TEXT, "ts": TIME, "u": TIME}


def value(text, **values):
    """The value of a text."""
    return evaluate(parse(text, SCOPE), values)


@pytest.mark.parametrize(("text", "values", "expected"), [
    ("d + e", {"d": 150, "e": 1}, 15001), ("d * e", {"d": 150, "e": 20_000}, 3_000_000), ("i - 0.5", {"i": 2}, 15),
    ("d * 2", {"d": 125}, 250),
    ("-d", {"d": 5}, -5), ("abs(i)", {"i": -7}, 7), ("i / j", {"i": 1, "j": 3}, 1 / 3), ("d / e", {"d": 100, "e": 30_000}, 1 / 3),
    ("f + d", {"f": 0.5, "d": 25}, 0.75), ("0 * f", {"f": -1.0}, 0.0),
    ("coalesce(i, d)", {"i": None, "d": 150}, 150), ("coalesce(i, d)", {"i": 2, "d": 150}, 200),
    ("coalesce(d, f)", {"d": 25, "f": 1.0}, 0.25),
    ("coalesce(i, null)", {"i": None}, None), ("seconds_between(ts, u)", {"ts": 0, "u": 1_500_001}, 1.500001),
    ("seconds_between(ts, u)", {"ts": 3_000_000, "u": 500_000}, -2.5),
])
def test_numbers_are_computed_exactly_and_rounded_once(text, values, expected):
    """Integers and decimals stay exact; a quotient is the correctly rounded exact one; −0.0 does not exist."""
    found = value(text, **values)
    assert found == expected
    assert str(found) == str(expected)


@pytest.mark.parametrize(("text", "values"), [
    ("i + j", {"i": 1, "j": None}), ("i / j", {"i": 1, "j": 0}), ("f / g", {"f": 1.0, "g": 0.0}), ("i > j", {"i": None, "j": 1}),
    ("not p", {"p": None}),
    ("i in (1, 2)", {"i": None}), ("-f", {"f": None}), ("hour(ts)", {"ts": None}), ("seconds_between(ts, u)", {"ts": 1, "u": None}),
    ("abs(i)", {"i": None}),
])
def test_null_operands_and_zero_divisors_give_null(text, values):
    """Unknown in, unknown out; a division by zero is unknown, never an error or an infinity."""
    assert value(text, **values) is None


@pytest.mark.parametrize(("p", "q", "both", "either"), [
    (True, True, True, True), (True, False, False, True), (True, None, None, True), (False, None, False, None), (None, None, None, None),
    (False, False, False, False), (None, True, None, True), (None, False, False, None), (False, True, False, True),
])
def test_logic_is_kleenes(p, q, both, either):
    """`and` is false if one side is, `or` is true if one side is, whatever the other is; and an unknown condition does not pass."""
    assert value("p and q", p=p, q=q) is both
    assert value("p or q", p=p, q=q) is either
    assert is_true(parse("p and q", SCOPE), {"p": p, "q": q}) is (both is True)


@pytest.mark.parametrize(("text", "values"), [
    ("i + j", {"i": 2**63 - 1, "j": 1}), ("i * j", {"i": 2**40, "j": 2**40}), ("-i", {"i": -2**63}), ("abs(i)", {"i": -2**63}),
    ("w + 1", {"w": 10**18 - 1}), ("d * e", {"d": 10**11, "e": 10**8}), ("f * g", {"f": 1e308, "g": 10.0}),
    ("f / g", {"f": 1e308, "g": 1e-10}),
    ("coalesce(i, d)", {"i": 10**17, "d": 0}),
])
def test_results_that_do_not_fit_are_refused(text, values):
    """An overflow is a typed error at the operation that leaves its type, never a wrap, an infinity or a NaN."""
    with pytest.raises(NumericOverflow):
        value(text, **values)


@pytest.mark.parametrize(("text", "values", "expected"), [
    ("f == d", {"f": 0.1, "d": 10}, False), ("f == d", {"f": 0.25, "d": 25}, True), ("f > d", {"f": 0.1, "d": 10}, True),
    ("i == f", {"i": 2**53 + 1, "f": float(2**53)}, False), ("d == e", {"d": 150, "e": 15_000}, True), ("s < 'é'", {"s": "z"}, True),
    ("s < '\U0001f600'", {"s": "\uffff"}, True), ("i in (1, 2.0)", {"i": 2}, True), ("p != q", {"p": True, "q": False}, True),
])
def test_comparisons_are_exact_and_texts_go_by_utf8(text, values, expected):
    """A float is compared as the real number that it is (0.1 is more than 1/10); texts by UTF-8 bytes, not UTF-16 units."""
    assert value(text, **values) is expected


@pytest.mark.parametrize(("text", "at", "expected"), [
    ("weekday(ts)", "2026-01-05T00:00:00Z", 0), ("weekday(ts)", "2026-01-04T23:59:59.999999Z", 6),
    ("hour(ts)", "1969-12-31T23:59:59.999999Z", 23),
    ("minute(ts)", "2026-01-01T00:59:59Z", 59), ("month(ts)", "2025-12-31T23:30:00Z", 12), ("month(ts, 'Europe/Paris')",
                                                                                            "2025-12-31T23:30:00Z", 1),
    ("day_of_month(ts)", "2024-02-29T12:00:00Z", 29), ("hour(ts, 'Europe/Paris')", "2026-03-29T00:59:59Z", 1),
    ("hour(ts, 'Europe/Paris')", "2026-03-29T01:00:00Z", 3), ("hour(ts, 'Europe/Paris')", "2026-10-25T00:30:00Z", 2),
    ("hour(ts, 'Europe/Paris')", "2026-10-25T01:30:00Z", 2), ("minute(ts, 'Asia/Kolkata')", "2026-01-01T00:00:00Z", 30),
])
def test_calendars_read_the_clock_of_their_zone(text, at, expected):
    """Calendar functions read UTC unless they name a zone; summer time included.

    Paris, 29 March 2026:   00:59Z = 01:59   01:00Z = 03:00      (02:xx does not exist)
    Paris, 25 October 2026: 00:30Z = 02:30   01:30Z = 02:30      (02:xx exists twice)
    """
    assert value(text, ts=parse_instant(at)) == expected


@settings(max_examples=200, deadline=None)
@given(st.integers(-10**11, 10**11), st.integers(-10**8, 10**8))
def test_quotients_of_decimals_are_correctly_rounded(d, e):
    """No double lies nearer to the exact quotient than the result."""
    found = value("d / e", d=d, e=e)
    if e == 0:
        assert found is None
    else:
        assert found == float(Fraction(d * 100, e))
