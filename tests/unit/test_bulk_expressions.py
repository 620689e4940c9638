"""Expressions over columns against their meaning for one event."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain import evaluation
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.expressions import Binary, Call, Compare, Expression, In, Literal, Logic, Name, Negate, Not
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.typing_rules import common_type
from offline_feature_plane.engines.local.events import Values
from offline_feature_plane.engines.local.expressions import evaluate, find_true
from offline_feature_plane.errors import ExpressionInvalid, NumericOverflow

BOOL, INT, FLOAT, STRING, TIME = (ColumnType(kind) for kind in ("bool", "int64", "float64", "string", "timestamp"))
D2, D6 = ColumnType("decimal", 12, 2), ColumnType("decimal", 18, 6)
SCOPE = {"a": INT, "b": INT, "c": ColumnType("int8"), "x": FLOAT, "y": FLOAT, "d": D2, "e": D6, "s": STRING, "t": STRING, "u": STRING,
         "p": BOOL, "q": BOOL, "at": TIME, "then": TIME}
EDGES = [0, 1, -1, 2, 3, 7, 100, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63)]
INTS = st.sampled_from(EDGES) | st.integers(-50, 50) | st.integers(-(2**63), 2**63 - 1)
TEXTS = st.sampled_from(["", "a", "b", "é", "€", "𐍈", "z", "�"]) | st.text(st.characters(codec="utf-8"), max_size=3)
VALUES = {
    "int64": INTS, "int8": st.integers(-128, 127), "bool": st.booleans(), "string": TEXTS,
    "float64": st.sampled_from([0.0, 0.5, -0.5, 0.01, 12.5, 1e300, -1e300, 5e-324, float(2**53), 2.0**63, 1e15])
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0),
    "decimal": st.sampled_from([0, 1, 50, -50, 1250, 500_000, 10**18 - 1, 1 - 10**18, 2**53, 2**53 + 1]) | st.integers(-5000, 5000),
    "timestamp": st.integers(-(2**50), 2**52),
}


def column(kind, values, dictionary=None):
    """Values as reading leaves them: one dictionary in UTF-8 order, garbage under nulls."""
    valid = np.array([value is not None for value in values], dtype=bool)
    known = None if valid.all() else valid
    if kind.kind == "string":
        texts = dictionary or sorted({value for value in values if value is not None}, key=str.encode)
        codes = np.array([-1 if value is None else texts.index(value) for value in values], dtype=np.int32)
        return Values(kind, codes, known, pa.array(texts, pa.string()))
    data = np.array([77 if value is None else value for value in values], dtype=np.float64 if kind.kind == "float64" else np.int64)
    return Values(kind, data, known)


def python(values):
    """A column's rows as the scalar evaluator has them."""
    shown = values.dictionary.to_pylist() if values.dictionary is not None else None
    known = np.ones(len(values.data), dtype=bool) if values.valid is None else values.valid
    convert = {"bool": bool, "float64": float, "string": lambda code: shown[code]}.get(values.type.kind, int)
    return [convert(item) if there else None for item, there in zip(values.data, known, strict=True)]


def names(wanted):
    """Names of the types wanted."""
    return st.sampled_from([Name(name, kind) for name, kind in SCOPE.items() if wanted(kind)])


def is_number(kind):
    """Can it be reckoned with?"""
    return kind.is_exact_number or kind.kind == "float64"


NUMBER_LITERALS = (st.integers(-100, 100).map(lambda v: Literal(v, INT)) | st.sampled_from(EDGES).map(lambda v: Literal(v, INT))
                   | st.integers(-10**6, 10**6).map(lambda v: Literal(v, ColumnType("decimal", 7, 2))))


@st.composite
def arithmetic(draw, children):
    """Well-typed binary operations."""
    sign, left, right = draw(st.sampled_from("+-*/")), draw(children), draw(children)
    try:
        text = f"l {sign} r"
        kind = parse(text, {"l": left.type, "r": right.type}).type
    except ExpressionInvalid:  # a product of too many places
        return left
    return Binary(sign, left, right, kind)


@st.composite
def coalesced(draw, children):
    """Well-typed coalesce calls."""
    nodes = draw(st.lists(children, min_size=2, max_size=3))
    kind = common_type([node.type for node in nodes])
    return Call("coalesce", tuple(nodes), kind) if kind else nodes[0]


def negated(node):
    """A node with a minus before it."""
    return Negate(node, INT if node.type.is_integer else node.type)


NUMBERS = st.recursive(
    names(is_number) | NUMBER_LITERALS,
    lambda inner: st.one_of(arithmetic(inner), inner.map(negated), coalesced(inner),
                            inner.map(lambda one: Call("abs", (one,), INT if one.type.is_integer else one.type))), max_leaves=4)
ZONES = st.sampled_from(["UTC", "Europe/Paris", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"])
MOMENTS = names(lambda kind: kind == TIME)
HANDS = st.sampled_from(["hour", "minute", "weekday", "day_of_month", "month"])
CLOCKS = st.builds(lambda hand, one, zone: Call(hand, (one,), INT, zone), HANDS, MOMENTS, ZONES)
SECONDS = st.builds(lambda one, two: Call("seconds_between", (one, two), FLOAT), MOMENTS, MOMENTS)
WORDS = names(lambda kind: kind == STRING) | TEXTS.map(lambda text: Literal(text, STRING))
WORDS = WORDS | st.lists(WORDS, min_size=2, max_size=3).map(lambda many: Call("coalesce", tuple(many), STRING))
ANY_NUMBER = NUMBERS | CLOCKS | SECONDS
SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
CONDITIONS = st.recursive(
    names(lambda kind: kind == BOOL) | st.sampled_from([Literal(True, BOOL), Literal(False, BOOL), Literal(None, BOOL)])
    | st.builds(Compare, SIGNS, ANY_NUMBER, ANY_NUMBER) | st.builds(Compare, SIGNS, WORDS, WORDS)
    | st.builds(Compare, SIGNS, MOMENTS, MOMENTS)
    | st.builds(lambda one, many: In(one, tuple(many)), ANY_NUMBER, st.lists(NUMBER_LITERALS, min_size=1, max_size=3))
    | st.builds(lambda one, many: In(one, tuple(Literal(text, STRING) for text in many)), WORDS, st.lists(TEXTS, min_size=1, max_size=3))
    | (ANY_NUMBER | WORDS | MOMENTS).map(lambda one: Call("is_null", (one,), BOOL)),
    lambda inner: inner.map(Not) | st.builds(lambda word, many: Logic(word, tuple(many)), st.sampled_from(["and", "or"]),
                                             st.lists(inner, min_size=2, max_size=3)), max_leaves=5)
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | VALUES[kind.kind] for name, kind in SCOPE.items()}), min_size=1, max_size=8)


def hold_against_scalar(node, rows):
    """The same values in the same types, or both overflow."""
    shared = sorted({text for row in rows for text in (row["s"], row["t"]) if text is not None}, key=str.encode) or ["unused"]
    dictionary = pa.array(shared, pa.string())
    columns = {}
    for name, kind in SCOPE.items():
        columns[name] = column(kind, [row[name] for row in rows], shared if name in "st" else None)
        if name in ("s", "t"):
            columns[name] = Values(kind, columns[name].data, columns[name].valid, dictionary)
    try:
        expected = [evaluation.evaluate(node, row) for row in rows]
    except NumericOverflow:
        with pytest.raises(NumericOverflow):
            evaluate(node, columns, len(rows))
        return
    found = evaluate(node, columns, len(rows))
    assert found.type == node.type
    assert [(type(value), repr(value)) for value in python(found)] == [(type(value), repr(value)) for value in expected]


@settings(max_examples=180, deadline=None)
@given(ANY_NUMBER | CONDITIONS | WORDS, ROWS)
def test_columns_mean_what_rows_mean(node, rows):
    """Bit for bit, nulls, types and overflow included, a column holds what the scalar evaluator says of each row."""
    hold_against_scalar(node, rows)


@pytest.mark.long
@settings(max_examples=20_000, deadline=None)
@given(ANY_NUMBER | CONDITIONS | WORDS, ROWS)
def test_columns_mean_what_rows_mean_at_length(node, rows):
    """As above, twenty thousand times."""
    hold_against_scalar(node, rows)


def test_one_row_is_too_much_and_one_is_not():
    """An exact result beyond int64 refuses the build as soon as one known row has it; a null row never does."""
    sum_ = parse("a + b", SCOPE)
    fits = {"a": column(INT, [2**62, None]), "b": column(INT, [2**62 - 1, 1])}
    assert python(evaluate(sum_, fits, 2)) == [2**63 - 1, None]
    with pytest.raises(NumericOverflow, match=r"`\+` gives 9223372036854775808, which exceeds int64"):
        evaluate(sum_, {"a": column(INT, [2**62, 1]), "b": column(INT, [2**62, 1])}, 2)


def test_intermediates_may_leave_int64():
    """Only the value of an operation must fit: 10¹⁷ cents brought to six places leave int64 on the way to a small difference."""
    scope = {"d": ColumnType("decimal", 18, 2), "e": ColumnType("decimal", 18, 6)}
    found = evaluate(parse("d - e", scope), {"d": column(scope["d"], [99_999_999_999_999]), "e": column(scope["e"], [10**18 - 1])}, 1)
    assert python(found) == [99_999_999_999_999 * 10**4 - (10**18 - 1)]


def test_a_condition_without_names_fills_every_row():
    """Constants broadcast; an absent condition holds everywhere."""
    assert find_true(parse("1 < 2", {}), {}, 3).tolist() == [True] * 3
    assert find_true(None, {}, 2).tolist() == [True] * 2
    assert find_true(parse("a > 1", SCOPE), {"a": column(INT, [2, None, 1])}, 3).tolist() == [True, False, False]


def test_a_clock_changed_within_a_quarter_of_an_hour():
    """Offsets are taken per quarter of an hour, and per instant where the clock changes inside of one.

    Lisbon, 1912-01-01: local mean time (−0:36:45) ends at 00:36:45 UTC, in the middle of a quarter
    ──────00:30─────00:36:44│00:36:45─────00:45──▶
    """
    start = (-58 * 365 - 14) * 86_400_000_000  # 1912-01-01T00:00:00Z
    moments = [start + second * 1_000_000 for second in (30 * 60, 36 * 60 + 44, 36 * 60 + 45, 44 * 60)]
    expression = Expression("minute(at, 'Europe/Lisbon')", Call("minute", (Name("at", TIME),), INT, "Europe/Lisbon"))
    assert python(evaluate(expression, {"at": column(TIME, moments)}, 4)) == \
        [evaluation.read_clock("minute", moment, "Europe/Lisbon") for moment in moments]
