"""Each aggregation's registry entry, types, calls and meaning over one window."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.aggregations import NO_EVIDENCE, WindowContents, WindowEvent, aggregation_kind, registered
from offline_feature_plane.domain.calls import parse_aggregation
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.errors import AggregationUnsupported, ExpressionInvalid, NumericOverflow
from offline_feature_plane.kernels import catalog

MONEY, INT = ColumnType("decimal", 12, 2), ColumnType("int64")


def over(call, *events, argument=INT, row_us=10_000_000):
    """The value of a call over a window."""
    parsed = parse_aggregation(call)
    return aggregation_kind(parsed.function).meaning(WindowContents(events, parsed, argument, row_us))


def seen(*values):
    """Events one second apart."""
    return [WindowEvent(place * 1_000_000, value=value) for place, value in enumerate(values)]


def test_every_aggregation_documents_itself():
    """The reference is made from the registry: a docstring that begins with the call, an algebra, a null rule, a class and a version."""
    for name, kind in registered().items():
        assert (kind.__doc__ or "").startswith(f"`{name}(")
        assert kind.algebra.endswith(".")
        assert kind.null_rule.endswith(".")
        assert (kind.numeric_class, kind.version) == ("exact", "v1")


@pytest.mark.parametrize("engine", [LocalEngine(), OracleEngine()], ids=lambda engine: engine.name)
def test_both_engines_support_every_aggregation_and_nothing_else(engine):
    """What has a meaning has a reducer; a name that means nothing is supported by nobody."""
    assert [name for name in registered() if not engine.supports(name)] == []
    assert set(catalog.names()) == set(registered())
    assert not engine.supports("geometric_mean")


@pytest.mark.parametrize("name", registered())
def test_meaning_and_reducer_declare_the_same(name):
    """A reducer is never null exactly where the meaning is 0 for an empty window, and calculates where the meaning does."""
    kind, reducer = aggregation_kind(name), catalog.reducer(name)
    assert (reducer.never_null, reducer.needs_numbers) == (kind.zero_when_empty, kind.is_arithmetic)
    witness = kind if kind.witness is None else aggregation_kind(kind.witness)
    assert witness.past_only == kind.past_only
    assert witness is kind or witness.argument == "none"


@pytest.mark.parametrize(("call", "empty"), [
    ("count()", 0), ("count(x)", 0), ("distinct(x)", 0), ("sum(x)", 0), ("label_count(t, A)", 0), ("mean(x)", NO_EVIDENCE),
    ("min(x)", NO_EVIDENCE),
    ("max(x)", NO_EVIDENCE), ("first(x)", NO_EVIDENCE), ("last(x)", NO_EVIDENCE), ("previous(x)", NO_EVIDENCE),
    ("seconds_since_first()", NO_EVIDENCE),
    ("stddev(x)", NO_EVIDENCE), ("median(x)", NO_EVIDENCE), ("quantile(x, 0.9)", NO_EVIDENCE),
    ("streak(true)", 0), ("trend(x)", NO_EVIDENCE), ("ewma(x, half_life: 1h)", NO_EVIDENCE), ("mode(x)", NO_EVIDENCE),
    ("entropy(x)", NO_EVIDENCE), ("top_k(x, 3)", NO_EVIDENCE),
    ("seconds_since_last()", NO_EVIDENCE), ("label_rate(t, A)", NO_EVIDENCE), ("label_rate(t, A, of: resolved)", NO_EVIDENCE)])
def test_empty_windows_give_zero_or_nothing(call, empty):
    """Counts and sums of nothing are 0; everything else has no evidence."""
    assert over(call) == empty
    assert aggregation_kind(parse_aggregation(call).function).zero_when_empty == (empty == 0)


@pytest.mark.parametrize(("call", "expected"), [
    ("count()", 4), ("count(x)", 3), ("distinct(x)", 2), ("sum(x)", 7), ("mean(x)", 7 / 3), ("min(x)", 2), ("max(x)", 3), ("first(x)", 2),
    ("last(x)", None),
    ("mode(x)", 2), ("entropy(x)", 0.9182958340544896), ("trend(x)", 0.0), ("ewma(x, half_life: 1s)", 16 / 7),
    ("top_k(x, 1)", "[2]"), ("top_k(x, 20)", "[2,3]"),
    ("median(x)", 2.0), ("quantile(x, 0.75)", 2.5), ("quantile(x, 0)", 2.0), ("quantile(x, 1)", 3.0), ("stddev(x)", 0.5773502691896257),
    ("previous(x)", None), ("seconds_since_first()", 10.0), ("seconds_since_last()", 7.0)])
def test_nulls_are_ignored_except_where_an_event_is_taken(call, expected):
    """Values 2, 3, 2, null at seconds 0 to 3; the row at 10."""
    assert over(call, *seen(2, 3, 2, None)) == expected


def test_the_own_event_is_never_the_previous_one():
    """`previous` and `seconds_since_last` skip the row's own event; `last` does not."""
    window = [*seen(5, 6), WindowEvent(10_000_000, own=True, value=7)]
    assert (over("previous(x)", *window), over("last(x)", *window), over("seconds_since_last()", *window)) == (6, 7, 9.0)
    assert over("previous(x)", WindowEvent(10_000_000, own=True, value=7)) is NO_EVIDENCE


def test_rates_divide_by_all_or_by_the_resolved():
    """Unresolved events divide a rate unless it says `of: resolved` (D23)."""
    window = [WindowEvent(0, label=label) for label in ("A", "B", None, "C", None)]
    assert over("label_count(t, A, B)", *window) == 2
    assert over("label_rate(t, A, B)", *window) == 0.4
    assert over("label_rate(t, A, B, of: resolved)", *window) == 2 / 3


@pytest.mark.parametrize(("values", "argument"), [([2**63 - 1, 1], INT), ([-2**63, -1], INT), ([10**18 - 1, 1], MONEY)])
def test_sums_beyond_their_type_are_refused(values, argument):
    """Only the final value must fit."""
    with pytest.raises(NumericOverflow):
        over("sum(x)", *seen(*values), argument=argument)
    assert over("sum(x)", *seen(*values, -values[1]), argument=argument) == values[0]


def test_a_deviation_needs_two_values():
    """One value deviates from nothing; equal values deviate by 0, also where squares are large."""
    assert over("stddev(x)", *seen(5, None)) is NO_EVIDENCE
    assert over("stddev(x)", *seen(*[10**17 + 1] * 3)) == 0.0
    assert over("stddev(x)", *seen(1, 3), argument=MONEY) == over("stddev(x)", *seen(1, 3)) / 100


def test_a_trend_beyond_float64_is_refused():
    """A slope per day multiplies by 86,400,000,000 µs: what leaves float64 is an overflow, not infinite."""
    window = [WindowEvent(0, value=-1e308), WindowEvent(1, value=1e308)]
    with pytest.raises(NumericOverflow):
        over("trend(x)", *window, argument=ColumnType("float64"))


def test_what_faded_counts_for_nothing():
    """An event 64 half-lives older than the latest value has no weight, one of 63 has a very small one; nulls make nothing fade.

    ```
     seconds   0          1         64      65
     value   2^70         0          1       -       0 is 64 half-lives before the latest value, 1 is 63 before
    ```
    """
    window = [WindowEvent(0, value=2**70), WindowEvent(1_000_000, value=0), WindowEvent(64_000_000, value=1), WindowEvent(65_000_000)]
    assert over("ewma(x, half_life: 1s)", *window) == float(1 / (1 + Fraction(1, 2**63)))
    assert over("ewma(x, half_life: 1s)", *window[1:]) == over("ewma(x, half_life: 1s)", *window)
    assert over("ewma(x, half_life: 2s)", *window) > 2**37


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.randoms())
def test_sums_of_floats_are_the_exact_ones(values, shuffler):
    """What `math.fsum` gives, in whatever order; beyond float64 it is an overflow (`decisions.md` D27)."""
    kind = ColumnType("float64")
    try:
        exact = math.fsum(values)
    except OverflowError:  # of a part, perhaps not of the whole
        return
    shuffled = shuffler.sample(values, len(values))
    assert over("sum(x)", *seen(*shuffled), argument=kind) == exact
    assert over("mean(x)", *seen(*shuffled), argument=kind) == float(Fraction(sum(map(Fraction, values))) / len(values))


@pytest.mark.parametrize(("call", "said"), [
    ("quantile(x)", "needs a share"), ("quantile(x, 1.5)", "needs a share"), ("quantile(x, -0.1)", "needs a share"),
    ("quantile(x, 0.00001)", "needs a share"), ("quantile(x, half)", "needs a share"), ("median(x, 0.5)", "not a valid call"),
    ("count_if()", "no condition"), ("sum_if(x)", "needs a field and a condition"), ("ratio(  )", "no condition"),
    ("medain(x)", "Did you mean median"),
    ("ewma(x)", "needs a half-life"), ("ewma(x, 1h)", "Write ewma(field, half_life: 1h)"), ("ewma(x, half_life: 0s)", "not a duration"),
    ("ewma(x, half_life: 1001d)", "more than 1000d"), ("ewma(half_life: 1h)", "names no field"), ("streak()", "no condition"),
    ("trend(x, 1d)", "not a valid call"), ("mode()", "names no field"), ("mode(x, x)", "has 2 arguments"),
    ("top_k(x)", "needs a whole number from 1 to 20"), ("top_k(x, 0)", "needs a whole number"), ("top_k(x, 21)", "needs a whole number"),
    ("top_k(x, 2.5)", "Write top_k(field, 3)"), ("top_k(3)", "names no field"),
    ("quantile(0.5)", "names no field")])
def test_calls_that_are_none(call, said):
    """Each mistake is told, with how the call is written."""
    with pytest.raises(AggregationUnsupported) as wrong:
        parse_aggregation(call, {"x": INT})
    assert said in f"{wrong.value.what} {wrong.value.fix}"


@pytest.mark.parametrize(("call", "said"), [("count_if(y > 1)", "unknown name 'y'"), ("sum_if(x, x + 1)", "must be true or false"),
                                            ("ratio(x >)", "^")])
def test_conditions_that_are_none(call, said):
    """A condition is typed like any other, and the message shows the place."""
    with pytest.raises(ExpressionInvalid) as wrong:
        parse_aggregation(call, {"x": INT})
    assert said in str(wrong.value)


def test_a_call_is_spelled_in_one_way():
    """Spaces, quotes and zeros change no meaning: the text of a call is that of its closure."""
    scope = {"x": INT, "c": ColumnType("string")}
    for spelled, canonical in (("quantile( x ,0.90)", "quantile(x, 0.9)"), ("quantile(x, .5)", "quantile(x, 0.5)"),
                               ("quantile(x, 1.0)", "quantile(x, 1)"),
                               ("count_if( c in ('a,b','c') and x>1 )", "count_if(c in ('a,b', 'c') and x > 1)"),
                               ("sum_if(x,(x>1))", "sum_if(x, x > 1)"), ("ewma(x,half_life:90m)", "ewma(x, half_life: 90m)"),
                               ("ewma( x, half_life : 1w )", "ewma(x, half_life: 7d)"), ("streak( x>1 )", "streak(x > 1)"),
                               ("top_k( c,3 )", "top_k(c, 3)")):
        assert parse_aggregation(spelled, scope).text == canonical
        assert parse_aggregation(canonical, scope).text == canonical


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(-10**17, 10**17), min_size=1, max_size=20))
def test_means_are_rounded_once(values):
    """A mean is the double nearest to the exact mean, and does not depend on the order."""
    exact = Fraction(sum(values), len(values) * 100)
    assert over("mean(x)", *seen(*values), argument=MONEY) == float(exact) == over("mean(x)", *seen(*reversed(values)), argument=MONEY)


def test_texts_compare_by_utf8():
    """U+FFFF stands before U+1F600, as in UTF-8 and unlike in UTF-16."""
    assert over("max(x)", *seen("\uffff", "\U0001f600", "z"), argument=ColumnType("string")) == "\U0001f600"


@pytest.mark.parametrize(("call", "argument"), [
    ("trend(x)", "bool"), ("ewma(x, half_life: 1h)", "timestamp"),
    ("stddev(x)", "string"), ("quantile(x, 0.5)", "bool"), ("median(x)", "timestamp"),
    ("sum(x)", "string"), ("mean(x)", "bool"), ("sum(x)", "timestamp"), ("min(x)", "bool"),
    ("max(x)", "bool")])
def test_types_that_an_aggregation_refuses(call, argument):
    """Sums of floats would depend on their order; other types have no sum or order."""
    with pytest.raises(AggregationUnsupported) as caught:
        aggregation_kind(parse_aggregation(call).function).output(ColumnType.parse(argument))
    assert ("decimal(p, s)" in caught.value.fix) == (argument == "float64")


@pytest.mark.parametrize("text", ["", "count", "count(", "maen(x)", "mean()", "mean(x, y)", "count(x, of: resolved)", "label_rate(t)",
                                  "label_rate(t, A, A)",
                                  "label_rate(t, A, of: all)", "label_rate(t, of: resolved, A)", "mean(x,)", "mean(x y)", "mean(1)",
                                  "count()()"])
def test_calls_that_do_not_read(text):
    """What is no call of a known aggregation with its arguments is refused by name."""
    with pytest.raises(AggregationUnsupported):
        parse_aggregation(text)


def test_label_values_are_a_set():
    """The order and the quotes of label values change nothing."""
    assert parse_aggregation("label_rate(t, 'B', A)") == parse_aggregation('label_rate( t , A,"B" )')


def test_a_long_call_is_cut_where_it_is_shown():
    """However long a call is, its refusal stays short enough to read."""
    for call in ("mean " + "x" * 3_000, f"mean({'x, ' * 1_000}y)", f"sum_if({'x' * 2_000})", f"quantile({'x' * 2_000}, 7)"):
        with pytest.raises(AggregationUnsupported) as caught:
            parse_aggregation(call)
        assert len(caught.value.what) < 300, call[:20]
