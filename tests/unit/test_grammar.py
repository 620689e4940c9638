"""The expression grammar: what parses, with which type and tree, and where errors point."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.expressions import Binary, Compare, Literal, Logic, Name, Negate, Not
from offline_feature_plane.domain.grammar import MAX_DEPTH, parse, parse_condition, read_names
from offline_feature_plane.domain.tokenizing import MAX_LENGTH
from offline_feature_plane.errors import ExpressionInvalid

INT, FLOAT, BOOL = ColumnType("int64"), ColumnType("float64"), ColumnType("bool")
TEXT, TIME = ColumnType("string"), ColumnType("timestamp")
SCOPE = {"i": INT, "j": ColumnType("int32"), "d": ColumnType("decimal", 12, 2), "e": ColumnType("decimal", 9, 4), "f": FLOAT, "b": BOOL,
         "c": BOOL,
         "s": TEXT, "t": TEXT, "ts": TIME, "u": TIME, "customer__n_7d": INT}


@pytest.mark.parametrize(("text", "kind"), [
    ("i + j", "int64"), ("i * 1.50", "decimal(18,2)"), ("d + e", "decimal(18,4)"), ("d * e", "decimal(18,6)"), ("i / j", "float64"),
    ("d / 2", "float64"), ("f + i", "float64"), ("d - f", "float64"), ("-j", "int64"), ("-d", "decimal(12,2)"), ("abs(j)", "int64"),
    ("abs(f)", "float64"), ("1.50", "decimal(3,2)"), ("0.05", "decimal(2,2)"), ("12", "int64"), ("coalesce(i, 0.5)", "decimal(18,1)"),
    ("coalesce(d, null)", "decimal(12,2)"), ("coalesce(d, f)", "float64"), ("coalesce(s, 'x')", "string"), ("is_null(s)", "bool"),
    ("hour(ts)", "int64"), ("seconds_between(ts, u)", "float64"), ("d > i", "bool"), ("s in ('a', 'b')", "bool"), ("b and null", "bool"),
    ("customer.n_7d + 1", "int64"), ("ts", "timestamp"),
])
def test_types_follow_the_common_type_rules(text, kind):
    """An expression's type is decided by its operands alone: integers, then decimals at the larger scale, then float64."""
    assert str(parse(text, SCOPE).type) == kind


@pytest.mark.parametrize(("text", "canonical"), [
    ("i+j*2", "i + j * 2"), ("(i+j)*2", "(i + j) * 2"), ("i-(j-1)", "i - (j - 1)"), ("(i-j)-1", "i - j - 1"), ("((b))", "b"),
    ("b and(c and b)", "b and c and b"), ("(b or c) and b", "(b or c) and b"), ("not(b and c)", "not (b and c)"),
    ("not (i==1)", "not i == 1"),
    ("(not b) == c", "(not b) == c"), ("s in(\"it's\")", "s in ('it''s')"), ("- 5", "-5"), ("--5", "5"), ("-(i + 1)", "-(i + 1)"),
    ("- - i", "--i"),
    ("hour(ts,'UTC')", "hour(ts)"), ('hour(ts, "Europe/Paris")', "hour(ts, 'Europe/Paris')"), ("customer.n_7d", "customer__n_7d"),
    ("i - -5", "i - -5"), ("-1.50 * d", "-1.50 * d"), ("coalesce(s,null , 'x')", "coalesce(s, null, 'x')"), ("-0.5", "-0.5"),
    ("i in (-1, 2.5)", "i in (-1, 2.5)"), ("-9223372036854775808", "-9223372036854775808"),
])
def test_every_tree_has_one_canonical_spelling(text, canonical):
    """Spaces, brackets and quotes that change nothing are not part of the spelling that is hashed."""
    parsed = parse(text, SCOPE)
    assert parsed.text == canonical
    assert parse(canonical, SCOPE) == parsed


@pytest.mark.parametrize(("text", "at", "says"), [
    ("amont > 0", 0, "unknown name 'amont'"), ("i +", 3, "ends here"), ("i = 1", 2, "unexpected character '='"),
    ("i > 1 > 0", 6, "do not chain"),
    ("s > 1", 0, "cannot compare string with int64"), ("b > c", 0, "booleans have no order"),
    ("i and b", 0, "`and` needs a bool, not int64"),
    ("s + 's'", 0, "`+` needs a number, not string"), ("hour(i)", 5, "hour needs a timestamp, not int64"), ("'abc", 0, "never ends"),
    ("i == null", 5, "a null here"), ("null", 0, "a null here"), ("hous(ts)", 0, "unknown function 'hous'"),
    ("abs(i, j)", 0, "takes 1 argument, not 2"),
    ("s in ()", 6, "expected a literal"), ("s in (i)", 6, "expected a literal"), ("i in (null)", 6, "never equal"),
    ("i in ('a')", 6, "cannot compare"),
    ("coalesce(i, s)", 9, "values of one type"), ("hour(ts, 'Mars/Base')", 9, "no time zone"), ("(i", 2, "expected `)`"),
    ("i i", 2, "expected an operator"),
    ("99999999999999999999", 0, "64-bit"), ("0.1234567890123456789", 0, "decimals hold 18"), ("", 0, "is empty"),
    ("not i", 4, "`not` needs a bool"),
    ("1e5", 1, "unexpected 'e5'"), ("i.j.k", 3, "unexpected character '.'"), ("-b", 1, "`-` needs a number"),
])
def test_errors_point_at_the_character(text, at, says):
    """A refusal shows the text, carets under the part at fault, and what was expected."""
    with pytest.raises(ExpressionInvalid) as caught:
        parse(text, SCOPE, where="$.derived.x")
    assert says in caught.value.what
    assert caught.value.fields["position"] == at
    assert caught.value.path == "$.derived.x"
    assert caught.value.what.splitlines()[2].index("^") == at + 4


@pytest.mark.parametrize(("text", "advice"), [
    ("i IS NULL", "is_null(x)"), ("b AND c", "Write `and`"), ("i BETWEEN 1 AND 2", "x >= 1 and x <= 2"), ("s LIKE 'a'", "no patterns"),
    ("f > .5", "0.5"), ("s == \u2018a\u2019", "straight quotes"), ("s == T1", "quotes: 'T1'"), ("s == 5", "put the number in quotes"),
    ("i == '5'", "compared with texts only"), ("s in (5)", "put the number in quotes"),
])
def test_what_other_languages_write_gets_the_word_of_this_one(text, advice):
    """Who writes SQL, Python or a typeset quote is told what is written here."""
    with pytest.raises(ExpressionInvalid) as caught:
        parse(text, SCOPE)
    assert advice in caught.value.fix


def test_only_derived_columns_read_features():
    """Where no column of a group can be read, a name of one is answered by saying where it can."""
    with pytest.raises(ExpressionInvalid) as caught:
        parse("customer.n_7d > 1", {"i": INT})
    assert "`derived:`" in caught.value.fix


@pytest.mark.parametrize(("text", "kind", "under"), [("i + 1", "int64", "i + 1"), ("s", "string", "s"), ("(d)", "decimal(12,2)", "(d)")])
def test_a_condition_that_is_no_truth_value_is_shown(text, kind, under):
    """Where a condition is asked for, a number or a text is refused with carets under all of it."""
    with pytest.raises(ExpressionInvalid, match="must be true or false") as caught:
        parse_condition(text, SCOPE)
    sentence, shown, carets = caught.value.what.splitlines()
    assert kind in sentence
    assert shown[4:4 + carets.count("^")] == under


def test_a_condition_of_a_call_is_shown_inside_of_it():
    """The carets stand under the part at fault of the whole call, as the profile spells it."""
    call = "sum_if(d,  amont > 2)"
    with pytest.raises(ExpressionInvalid) as caught:
        parse_condition("amont > 2", SCOPE, inside=call, begins=call.index("amont"))
    _, shown, carets = caught.value.what.splitlines()
    assert shown.strip() == call
    assert shown[carets.index("^"):carets.rindex("^") + 1] == "amont"
    assert caught.value.fields["position"] == call.index("amont")


def test_of_a_long_text_the_part_around_the_place_is_shown():
    """However long a text is, the place stays on the screen: one line of it, and the carets below the right word."""
    text = " or ".join(["i > 1"] * 200 + ["amont > 1"] + ["i > 2"] * 200)
    with pytest.raises(ExpressionInvalid) as caught:
        parse(text, SCOPE)
    _, shown, carets = caught.value.what.splitlines()
    assert len(shown) <= 110
    assert shown[carets.index("^"):carets.rindex("^") + 1] == "amont"
    assert caught.value.fields["position"] == text.index("amont")


def test_carets_stand_below_wide_characters():
    """A character that a terminal draws two columns wide moves the carets by two, and one that it draws above another by none."""
    for text, columns in (("s == '日本' and x", 16), ("s == 'x\u0328' and x", 13)):
        with pytest.raises(ExpressionInvalid) as caught:
            parse(text, SCOPE)
        assert caught.value.what.splitlines()[2].index("^") == 4 + columns, text


def test_as_many_alternatives_as_fit_may_stand_side_by_side():
    """A flat row of `or` or `and` nests nothing, however long it is."""
    many = " or ".join(f"s == 'a{n}'" for n in range(250))
    root = parse(many, SCOPE).root
    assert isinstance(root, Logic)
    assert len(root.operands) == 250


def test_a_misspelt_name_gets_its_nearest_neighbour():
    """The advice names the closest known name."""
    with pytest.raises(ExpressionInvalid) as caught:
        parse("custmer.n_7d > 1", SCOPE)
    assert caught.value.fix == "Did you mean customer.n_7d?"


@pytest.mark.parametrize("text", ["(" * (MAX_DEPTH + 1) + "i" + ")" * (MAX_DEPTH + 1), " + ".join(["i"] * (MAX_DEPTH + 2)),
                                  "i" + " " * MAX_LENGTH,
                                  "not " * (MAX_DEPTH + 1) + "b", "-" * (MAX_DEPTH + 1) + "i"])
def test_budgets_hold_against_endless_input(text):
    """Depth and length are bounded, so no profile can exhaust the stack."""
    with pytest.raises(ExpressionInvalid):
        parse(text, SCOPE)


def test_products_that_no_decimal_can_hold_are_refused_when_parsed():
    """A product whose scale alone is beyond 18 digits never comes to run."""
    with pytest.raises(ExpressionInvalid, match="19 decimal places"):
        parse("x * x * 1.2", {"x": ColumnType("decimal", 18, 9)})


def test_names_are_found_without_a_scope():
    """The names of a text are its words that are neither keywords, functions nor quoted."""
    assert read_names("coalesce(a, 'b') > hour (ts) and not customer.n_7d in (1)") == {"a", "ts", "customer__n_7d"}
    assert read_names("a ? b") == frozenset()


def trees(depth: int = 4):
    """Well typed trees of any shape, drawn by their output type."""
    ints = st.one_of(st.integers(-2**63, 2**63 - 1).map(lambda n: Literal(n, INT)), st.just(Name("i", INT)))
    bools = st.sampled_from([Name("b", BOOL), Name("c", BOOL), Literal(value=True, type=BOOL)])
    for _ in range(depth):
        ints = st.one_of(ints, st.builds(Binary, st.sampled_from("+-*"), ints, ints, st.just(INT)),
                         ints.filter(_no_number).map(lambda n: Negate(n, INT)))
        bools = st.one_of(bools, st.builds(Compare, st.sampled_from(["==", "<", ">="]), ints, ints), bools.map(Not),
                          st.builds(_logic, st.sampled_from(["and", "or"]), st.lists(bools, min_size=2, max_size=3)))
    return st.one_of(ints, bools)


def _no_number(node):
    return not isinstance(node, Literal)


def _logic(word, operands):
    flat = []
    for one in operands:
        flat += one.operands if isinstance(one, Logic) and one.operator == word else [one]
    return Logic(word, tuple(flat))


@settings(max_examples=150, deadline=None)
@given(trees())
def test_parsing_what_was_printed_gives_the_same_tree(tree):
    """parse(print(tree)) == tree for every well typed tree."""
    from offline_feature_plane.domain.spelling import print_node

    assert parse(print_node(tree), SCOPE).root == tree


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ibs1. ()+-*/<>=!'\",andornthu_", max_size=30))
def test_any_text_parses_or_is_refused_by_name(text):
    """No input ends in a foreign traceback."""
    try:
        parsed = parse(text, SCOPE)
    except ExpressionInvalid:
        return
    assert parse(parsed.text, SCOPE) == parsed
