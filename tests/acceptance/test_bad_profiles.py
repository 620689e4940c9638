"""Mistakes in a feature profile, from the command line: refused when planning, at the line where they stand, with a code and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from answers import ask, check_answer, check_nothing_left
from small_plane import EVENTS, SmallPlane, make_plane, transactions

from offline_feature_plane.__main__ import run
from offline_feature_plane.documents import write_yaml

PROFILE = """\
fields:
  customer_id: string
  terminal_id: string
  amount: decimal(12,2)
groups:
  customer:
    key: customer_id
    windows: [1d, 7d]
    features:
      n: count()
      average: mean(amount)
row_features:
  hour_of_day: hour(ts)
derived:
  over_usual: amount / customer.average_7d
"""
INVALID, EXPRESSION, CALL = "FEATURE_PROFILE_INVALID", "EXPRESSION_INVALID", "AGGREGATION_UNSUPPORTED"


@dataclass(frozen=True)
class Case:
    """One mistake: what of the profile is replaced by what, the code, the line, and words of the answer."""

    name: str
    old: str
    new: str
    code: str
    line: int
    words: tuple[str, ...] = ()


def window(name: str, spelled: str, *words: str) -> Case:
    """Another list of windows."""
    return Case(name, "[1d, 7d]", f"[{spelled}]", INVALID, 8, words)


def key(name: str, lines: str, code: str, *words: str) -> Case:
    """A line below the group's key."""
    return Case(name, "key: customer_id", f"key: customer_id\n    {lines}", code, 8, words)


def call(name: str, spelled: str, code: str, *words: str) -> Case:
    """Another call in place of the mean."""
    return Case(name, "average: mean(amount)", f"average: {spelled}", code, 11, words)


def derived(name: str, lines: str, code: str, *words: str, line: int = 15) -> Case:
    """Other derived columns."""
    return Case(name, "over_usual: amount / customer.average_7d", lines, code, line, words)


def field(name: str, spelled: str, *words: str) -> Case:
    """Another amount."""
    return Case(name, "amount: decimal(12,2)", f"amount: {spelled}", INVALID, 4, words)


MISTAKES = [
    # calls
    call("unknown aggregation", "geomean(amount)", CALL, "no aggregation 'geomean'", "Did you mean mean?"),
    call("aggregation of another tool", "AVG(amount)", CALL, "Did you mean mean?"),
    call("mean of a text", "mean(customer_id)", CALL, "mean over string", "takes numbers"),
    Case("mean of a truth value", "amount: decimal(12,2)", "amount: bool", CALL, 11, ("count_if(x)", "ratio(x)")),
    call("too many arguments", "mean(amount, terminal_id)", CALL, "2 arguments", "Write mean(field)"),
    call("a number for a field", "mean(5)", CALL, "from '5' on"),
    call("no call", "mean amount", CALL, "not a call", "mean(amount)"),
    call("field that the source lacks", "mean(amonut)", INVALID, "'amonut'", "customer_id, terminal_id, amount"),
    call("share above one", "'quantile(amount, 1.5)'", CALL, "from 0 to 1", "quantile(field, 0.9)"),
    call("negative share", "'quantile(amount, -0.5)'", CALL, "from 0 to 1"),
    call("no share", "quantile(amount)", CALL, "quantile(field, 0.9)"),
    call("no condition", "count_if()", CALL, "count_if(condition)"),
    call("condition that is a number", "count_if(amount)", EXPRESSION, "true or false", "count_if(amount)\n               ^^^^^^"),
    call("condition of an unknown field", "'sum_if(amount, amonut > 2)'", EXPRESSION, "Did you mean amount?",
         "sum_if(amount, amonut > 2)\n                     ^^^^^^"),
    call("text compared with a number", "count_if(customer_id > 5)", EXPRESSION, "cannot compare string with int64", "in quotes"),
    call("call cut by its comma", "{agg: sum_if(amount, amount > 2)}", INVALID, "no such field"),
    call("empty of another type", "{agg: mean(amount), empty: none}", INVALID, "'none' is no float64"),
    call("empty where that is zero", "{agg: sum(amount), empty: 1}", INVALID, "nothing to replace"),
    call("option misspelt", "{agg: mean(amount), emtpy: 0}", INVALID, "Did you mean empty?"),
    call("label type without a timeline", "'label_rate(fraud, FRAUD)'", "LABEL_TYPE_SCOPE_UNRESOLVED", "'fraud'", "chargeback"),
    call("label rate of no value", "label_rate(chargeback)", CALL, "label_rate(chargeback, CHARGEBACK)"),
    # windows
    window("window of zero", "0d", "'0d' is not a duration", "for example 7d"),
    window("window of an unknown unit", "7y", "s m h d w"),
    window("window without a unit", "7", "with its unit, such as 7d"),
    window("negative window", "-1d", "write a length such as 7d"),
    window("window of half a day", "1.5d", "positive whole number"),
    window("window of a thousand years", "400000d", "285 years"),
    window("one window twice", "1d, 24h", "appears twice"),
    window("no event", "last_0", "from 1"),
    window("calendar without a zone", "calendar(day)", "calendar(day, Europe/Paris)"),
    window("calendar cut by its comma", "calendar(day, Europe/Paris)", "put quotes"),
    window("zone that does not exist", "'calendar(day, Mars/Olympus)'", "Mars/Olympus", "IANA"),
    window("calendar of years", "'calendar(year, UTC)'", "day, week, month"),
    window("session without a maximum", "session(30m)", "session(30m, max: 12h)"),
    window("session cut by its colon", "'1d', session(30m, max: 12h)", "put quotes"),
    window("session longer than its maximum", "'session(2h, max: 1h)'", "shorter than its gap"),
    window("two columns of one name", "'calendar(day, UTC)', 'calendar(day, Asia/Tokyo)'", "would both end in _day"),
    Case("windows of a number", "[1d, 7d]", "7", INVALID, 8, ("such as 7d, or a list",)),
    Case("no window", "[1d, 7d]", "[]", INVALID, 8, ("1 to 64",)),
    # groups
    key("negative delay", "delay: -1d", INVALID, "'-1d' is not a duration"),
    key("blank delay", "delay: ''", INVALID, "'' is not a duration"),
    key("delay without a unit", "delay: 7", INVALID, "with its unit"),
    Case("own event behind a delay", "key: customer_id", "key: customer_id\n    delay: 1d\n    current: included", INVALID, 9,
         ("contradicts",)),
    key("own event neither in nor out", "current: 'yes'", INVALID, "'excluded', 'included'"),
    key("null key neither skipped nor a group", "null_key: ignore", INVALID, "'skip', 'group'"),
    key("condition with one sign of equality", "where: amount = 5", EXPRESSION, "`==`", "amount = 5\n             ^"),
    key("condition as SQL writes it", "where: amount IS NULL", EXPRESSION, "is_null(x)"),
    key("condition that is a text", "where: customer_id", EXPRESSION, "true or false"),
    key("text without quotes", "where: customer_id == C1", EXPRESSION, "quotes: 'C1'"),
    key("condition over a feature", "where: customer.n_1d > 1", EXPRESSION, "`derived:`"),
    Case("key that the source lacks", "key: customer_id", "key: custmer_id", INVALID, 7, ("did you mean customer_id?",)),
    Case("keys without brackets", "key: customer_id", "key: customer_id, terminal_id", INVALID, 7, ("[customer_id, terminal_id]",)),
    Case("no key", "key: customer_id", "key: []", INVALID, 7, ("1 to 8",)),
    *(Case(f"{right} misspelt", f"    {right}", f"    {wrong}", INVALID, line, (f"Did you mean {right[:-1]}?",))
      for right, wrong, line in (("key:", "keys:", 7), ("windows:", "window:", 8), ("features:", "feature:", 9))),
    *(key(f"{right} misspelt", f"{wrong} 1d", INVALID, f"Did you mean {right}?")
      for right, wrong in (("where", "wher:"), ("delay", "dealy:"), ("current", "curent:"), ("null_key", "nullkey:"))),
    Case("group of nothing", "  customer:\n", "  empty:\n  customer:\n", INVALID, 6, ("$.groups.empty", "not null")),
    Case("features of nothing", "      n: count()\n      average: mean(amount)\n", "", INVALID, 9, ("not null",)),
    Case("name in other letters", "n: count()", "größe: count()", INVALID, 10, ("'größe' is not a valid name",)),
    Case("name with two underscores", "n: count()", "n__x: count()", INVALID, 10, ("single underscores",)),
    # fields
    *(Case(f"{right} misspelt", right, wrong, INVALID, line, (f"Did you mean {right.strip()[:-1]}?",))
      for right, wrong, line in (("fields:", "feilds:", 1), ("\ngroups:", "\ngroup:", 5), ("\nrow_features:", "\nrow_feature:", 12),
                                 ("\nderived:", "\nderive:", 14))),
    field("type of another tool", "float", "'float' is not a type; write float64"),
    field("type wider than any", "decimal(38,2)", "1 to 18 digits"),
    field("no type", "", "a type such as string"),
    field("path of nothing", "{type: string, path: ''}", "leave it out"),
    field("replacement of another type", "{type: int64, missing: none}", "'none' is no int64"),
    field("unknown rounding", "{type: int64, round: up}", "'exact', 'half_even'"),
    Case("reserved name of a field", "  amount:", "  ts: timestamp\n  amount:", INVALID, 4, ("reserved",)),
    # computed columns
    derived("cycle", "first: second + 1\n  second: first + 1", INVALID, "first reads second, second reads first"),
    derived("cycle behind another column", "other: first\n  first: second + 1\n  second: first + 1", INVALID, "first reads second",
            line=16),
    derived("column that hides what it reads", "amount: amount + 1", INVALID, "hides the field", "give amount another"),
    derived("name of a mark", "target: amount", INVALID, "reserved"),
    derived("name of a row feature", "hour_of_day: amount", INVALID, "already a row feature"),
    derived("unknown feature", "x: amount / customer.averge_7d", EXPRESSION, "Did you mean customer.average_7d?"),
    derived("unknown window of a feature", "x: customer.average_30d", EXPRESSION, "Did you mean customer.average_7d?"),
    derived("number in place of an expression", "x: 5", INVALID, "an expression such as"),
    derived("chained comparison", "x: 1 < amount < 3", EXPRESSION, "do not chain"),
    derived("function that is not there", "x: log(amount)", EXPRESSION, "unknown function 'log'"),
    derived("zone of an expression", "x: hour(ts, 'Mars/Olympus')", EXPRESSION, "Mars/Olympus", "IANA"),
    derived("expression of 5,000 characters", "x: " + " + ".join(["amount"] * 560), EXPRESSION, "the limit is 4000"),
    derived("brackets without end", f"x: {'(' * 1_500}amount{')' * 1_500}", EXPRESSION, "deeper than 64"),
    derived("a chain of signs", f"x: '{'-' * 3_000}amount'", EXPRESSION, "deeper than 64"),
    derived("a chain of calls", f"x: {'abs(' * 700}amount{')' * 700}", EXPRESSION, "deeper than 64"),
    derived("a chain of sums", f"x: {' + '.join(['amount'] * 400)}", EXPRESSION, "more than 64 operations"),
    Case("row feature over a feature", "hour(ts)", "customer.n_1d", EXPRESSION, 13, ("`derived:`",)),
    Case("row feature over a derived column", "hour(ts)", "over_usual + 1", EXPRESSION, 13, ("unknown name 'over_usual'",)),
    # YAML
    Case("tab", "    key: customer_id", "\tkey: customer_id", INVALID, 7, ("indentation",)),
    Case("wrong indentation", "    windows:", "   windows:", INVALID, 8, ("indentation",)),
    Case("feature twice", "average: mean(amount)", "n: mean(amount)", INVALID, 11, ("'n' appears twice",)),
    Case("group twice", "row_features:", "  customer: {}\nrow_features:", INVALID, 12, ("'customer' appears twice",)),
    Case("a list in place of groups", "  customer:\n    key", "  - key", INVALID, 6, ("name", "required")),
]


@pytest.fixture(scope="module")
def plane(session_folder: Path) -> SmallPlane:
    """A complete small plane, whose profile the tests write."""
    return make_plane(session_folder / "profiles")


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_mistake_is_refused_where_it_stands(case: Case, plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake ends the plan with status 2, its code, file and line, and says what belongs there; a pointer if it is an expression."""
    assert case.old in PROFILE
    (plane.folder / "features.yaml").write_text(PROFILE.replace(case.old, case.new, 1), encoding="utf-8")
    said = ask(capsys, "plan", str(plane.intent_path))
    check_answer(said, 2, case.code, case.words)
    assert f"features.yaml:{case.line}" in said.text, said.text
    assert case.code != EXPRESSION or "^" in said.text or "the limit is" in said.text, said.text
    assert max(map(len, said.text.splitlines())) < 700
    check_nothing_left(plane, said)


def test_the_profile_without_mistakes_is_planned(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """What the mistakes are made in is sound."""
    (plane.folder / "features.yaml").write_text(PROFILE)
    assert run(["plan", str(plane.intent_path)]) == 0
    assert "FEASIBLE" in capsys.readouterr().out


def test_every_mistake_is_told_at_once(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Of several mistakes each one is named, with its own line."""
    text = PROFILE.replace("mean(amount)", "avg(amount)").replace("7d]", "7y]").replace("hour(ts)", "hous(ts)")
    (plane.folder / "features.yaml").write_text(text)
    said = ask(capsys, "plan", str(plane.intent_path))
    assert [re.findall(rf"features.yaml:{line} ", said.text) != [] for line in (8, 11, 13)] == [True] * 3, said.text


def spelled(features: int, windows: int) -> str:
    """A profile of so many features over so many windows."""
    lines = "".join(f"      f{n}: 'sum_if(amount, amount > {n})'\n" for n in range(features))
    return (f"fields: {{customer_id: string, amount: 'decimal(12,2)'}}\ngroups:\n  g:\n    key: customer_id\n"
            f"    windows: [{', '.join(f'{n + 1}d' for n in range(windows))}]\n    features:\n{lines}")


@pytest.mark.parametrize(("make", "code"), [(lambda: spelled(400, 5), None), (lambda: spelled(2_001, 5), INVALID)])
def test_a_profile_of_two_thousand_columns_is_planned(make: Callable[[], str], code: str | None, plane: SmallPlane,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    """2,000 columns are a profile like any other; beyond 10,000 it is refused with the number."""
    (plane.folder / "features.yaml").write_text(make())
    if code is None:
        assert run(["plan", str(plane.intent_path)]) == 0
        assert "columns        2,000" in capsys.readouterr().out
    else:
        check_answer(ask(capsys, "plan", str(plane.intent_path)), 2, code, ("10,005 feature columns", "limit is 10,000"))


def test_a_zero_divisor_and_a_null_key_are_no_mistakes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Division by zero gives null; a row without a key has nulls by default, and under `null_key: group` those without one are a group."""
    plane = make_plane(place / "p")
    plane.events({**transactions(), "customer_id": [None if row % 2 else "C1" for row in range(EVENTS)]}, None)
    (plane.folder / "features.yaml").write_text("""\
fields: {customer_id: {type: string, missing: null}, amount: "decimal(12,2)"}
groups:
  skipped: {key: customer_id, windows: [lifetime], features: {n: count()}}
  grouped: {key: customer_id, null_key: group, windows: [lifetime], features: {n: count()}}
derived:
  by_zero: amount / 0
  by_count: 1 / grouped.n_lifetime
""")
    plane.intent["splits"]["train"][0] = "2026-01-01"
    (plane.folder / "intent.yaml").write_text(write_yaml(plane.intent))
    assert run(["preview", str(plane.intent_path), "--rows", "50", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["event_id"] for row in rows] == list(range(1, 51))
    for row in rows:
        earlier = (row["event_id"] - 1) // 2
        assert row["grouped__n_lifetime"] == earlier
        assert row["skipped__n_lifetime"] == (earlier if row["event_id"] % 2 else None)
        assert row["by_zero"] is None
        assert row["by_count"] == (1 / earlier if earlier else None)


FULL_FORM = """\
policy_id: cards
revision: dev
sources:
  transaction:
    event_types: [transaction]
    fields: {customer_id: string, amount: "decimal(12,2)"}
  copy:
    event_types: [copy]
    fields: {customer_id: string}
feature_groups:
  - name: spend
    version: v1
    source: transaction
    key: customer_id
    windows: 7d
    features: {n: count()}
  - name: other
    version: v1
    source: copy
    key: customer_id
    windows: 7d
    features: {n: count()}
feature_sets:
  - {id: default, version: v1, groups: [spend@v1, other@v1]}
"""


@pytest.mark.parametrize(("old", "new", "line", "words"), [
    ("event_types: [copy]", "event_types: [transaction]", 8, ("already belongs to transaction", "a second time in plane.yaml")),
    ("event_types: [copy]", "event_types: [refund]", 8, ("no events of type 'refund'", "transaction, copy")),
    ("event_types: [copy]", "event_type: [copy]", 8, ("Did you mean event_types?",)),
    ("source: copy", "source: copie", 19, ("no source 'copie'", "transaction, copy")),
    ("source: copy\n", "source: copy\n    current: included\n", 20, ("rows are of transaction, not of copy",)),
    ("customer_id: string}", "customer_id: int64}", 20, ("customer_id of type int64, not string",)),
    ("name: other", "name: spend", 17, ("spend@v1 appears twice",)),
    ("other@v1]", "other@v2]", 24, ("no 'other@v2'", "spend@v1, other@v1")),
    ("version: v1\n    source: copy", "source: copy", 17, ("version: this is required",)),
    ("revision: dev", "revision: 3", 2, ("put quotes around it",)),
    ("feature_groups:", "fields: {}\nfeature_groups:", 3, ("the short form has `groups` and `fields` instead",)),
])
def test_a_mistake_in_the_full_form_is_refused_where_it_stands(old: str, new: str, line: int, words: tuple[str, ...], place: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    """Sources, groups and sets that do not fit each other, or the rows, are told at their own line of the profile."""
    plane = make_plane(place / "p")
    plane.plane["events"]["copy"] = dict(plane.plane["events"]["transaction"])
    plane.documents()
    (plane.folder / "features.yaml").write_text(FULL_FORM)
    assert run(["plan", str(plane.intent_path)]) == 0, capsys.readouterr().err
    capsys.readouterr()
    (plane.folder / "features.yaml").write_text(FULL_FORM.replace(old, new, 1))
    said = ask(capsys, "plan", str(plane.intent_path))
    check_answer(said, 2, "BASIS_UNRESOLVED" if "refund" in new else INVALID, words)
    assert f"features.yaml:{line} " in said.text, said.text
