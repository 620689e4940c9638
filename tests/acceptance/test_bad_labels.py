"""What can be wrong with labels, asked of the real command line: code, place, sentence, exit status, and nothing left behind.

Labels are where training data lies most often, so each kind of lie has a line. Some of them are told elsewhere:

| lie | where |
|---|---|
| backdated: observed at or before the event | `test_bad_asking.py`: labels too early to be true, labels known before their events |
| backdated: written below the as-of after the build | `test_label_history.py`, `test_stored_labels.py` |
| effective from the future on, all of them | `test_bad_asking.py`: labels that hold from the future on |
| no positive, no negative, all in conflict, coverage too low | `test_bad_asking.py` |
| ids of other events, some of them | `test_labels.py`: labels about other events |
| columns of labels as features | `test_truth_fields.py` |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from answers import ask, check_answer, check_nothing_left
from mistakes import Change, label_columns, removed, setting, several
from small_plane import LABEL_SCHEMA, START, SmallPlane, chargebacks, make_plane

from offline_feature_plane.__main__ import run

COUNT = len(chargebacks()["tx_id"])
NAMED = {"id": "case", "supersedes": "replaces"}


@dataclass(frozen=True)
class Case:
    """A lie, and what must be answered: exit status, code, the place that `path` names, and words of the sentence."""

    name: str
    status: int
    code: str
    path: str | None
    words: tuple[str, ...]
    change: Change


def mapped(**columns: str) -> Change:
    """More columns of the timeline are mapped."""
    return several(*(setting("plane", f"labels.chargeback.{role}", name) for role, name in columns.items()))


def linked(*links: tuple[str, str | None], about: tuple[int, ...] = ()) -> Change:
    """The first assertions have these ids and links; they are about event 1, or about these events."""
    cases = [case for case, _ in links] + [f"c{number}" for number in range(len(links), COUNT)]
    events = [*(about or (1,) * len(links)), *range(101, 101 + COUNT - len(links))]
    return several(label_columns(tx_id=events, case=cases, replaces=[link for _, link in links] + [None] * (COUNT - len(links))),
                   mapped(**NAMED))


def told_last(name: str, value: Any) -> dict[str, list[Any]]:
    """A column whose last value is another one."""
    return {name: [*chargebacks()[name][:-1], value]}


CASES = [
    # when
    Case("as-of in the future", 4, "LEAKAGE_POLICY_VIOLATION", "$.label.as_of", ("2999-01-01", "lies in the future"),
         setting("intent", "label.as_of", "2999-01-01T00:00:00Z")),
    Case("as-of of a day that is none", 2, "LABEL_ASOF_MISSING", "$.label.as_of", ("2026-13-01",),
         setting("intent", "label.as_of", "2026-13-01")),
    Case("no maturity at all", 2, "LABEL_ASOF_MISSING", "$.label.maturity_days", ("0",), setting("intent", "label.maturity_days", 0)),
    Case("maturity below zero", 2, "LABEL_ASOF_MISSING", "$.label.maturity_days", ("-30",), setting("intent", "label.maturity_days", -30)),
    Case("maturity in words", 2, "LABEL_ASOF_MISSING", "$.label.maturity_days", ("30d",), setting("intent", "label.maturity_days", "30d")),
    Case("observed at no instant", 3, "LABEL_STORE_UNAVAILABLE", "labels.chargeback.observed", ("row 40", "chargebacks.parquet"),
         label_columns(reported_at=[*(one.isoformat() for one in chargebacks()["reported_at"][:-1]), "soon"])),
    Case("observed never", 3, "LABEL_STORE_UNAVAILABLE", "labels.chargeback.observed", ("1 of 40", "row 40"),
         label_columns(LABEL_SCHEMA, **told_last("reported_at", None))),
    Case("effective never", 3, "LABEL_STORE_UNAVAILABLE", "labels.chargeback.effective", ("1 of 40", "row 40"),
         several(label_columns(since=["2026-01-01T00:00:00Z"] * 39 + [None]), mapped(effective="since"))),
    # what
    Case("a type that nobody maps", 2, "LABEL_TYPE_SCOPE_UNRESOLVED", "$.label.type", ("dispute", "chargeback"),
         setting("intent", "label.type", "dispute")),
    Case("a rule that nobody wrote", 2, "RULE_NOT_SUPPORTED", "$.label.rule", ("majority.v1", "latest_observed.v1"),
         setting("intent", "label.rule", "majority.v1")),
    Case("a value that is blank", 2, "LABEL_POLICY_INVALID", "labels.chargeback.value", ("''", "row 40"),
         label_columns(**told_last("outcome", ""))),
    Case("a value of another spelling", 2, "LABEL_POLICY_INVALID", "labels.chargeback.value", ("'chargeback'", "row 40", "CHARGEBACK"),
         several(label_columns(**told_last("outcome", "chargeback")),
                 setting("plane", "labels.chargeback.value", {"column": "outcome", "CHARGEBACK": "CHARGEBACK"}))),
    Case("a value that is half a number", 2, "LABEL_POLICY_INVALID", "labels.chargeback.value", ("0.5",),
         several(label_columns(outcome=[1.0] * 39 + [0.5]),
                 setting("plane", "labels.chargeback.value", {"column": "outcome", "1": "CHARGEBACK", "0": "FINE"}))),
    Case("a source of no rank", 2, "LABEL_POLICY_INVALID", "labels.chargeback.source",
         ("'ORACLE'", "HUMAN, EXTERNAL, AUTO, SYSTEM", "row 40"),
         several(label_columns(said_by=["HUMAN"] * 39 + ["ORACLE"]), setting("plane", "labels.chargeback.source", {"column": "said_by"}))),
    # about what
    Case("about no event", 3, "LABEL_STORE_UNAVAILABLE", "labels.chargeback.event", ("1 of 40", "row 40"),
         label_columns(LABEL_SCHEMA, **told_last("tx_id", None))),
    Case("about ids of another kind", 3, "LABEL_STORE_UNAVAILABLE", "labels.chargeback.event", ("'tx-1'", "integers"),
         label_columns(tx_id=[f"tx-{number}" for number in chargebacks()["tx_id"]])),
    # instead of what
    Case("superseding oneself", 6, "LABEL_TIMELINE_INCONSISTENT", "labels.chargeback.supersedes", ("'a' → 'a'", "about 1"),
         linked(("a", "a"))),
    Case("superseding in a circle of three", 6, "LABEL_TIMELINE_INCONSISTENT", "labels.chargeback.supersedes",
         ("'a' → 'b' → 'c' → 'a'", "about 1"), linked(("a", "b"), ("b", "c"), ("c", "a"))),
    Case("one id for two events", 6, "LABEL_TIMELINE_INCONSISTENT", "labels.chargeback.id",
         ("'a'", "1 (chargebacks.parquet row 1)", "6 (chargebacks.parquet row 2)"), linked(("a", None), ("a", None), about=(1, 6))),
    # enough of them
    Case("too few answers", 4, "COVERAGE_POLICY_VIOLATION", "$.label.coverage", ("0.9 are required",),
         several(setting("intent", "label.unlabeled", "exclude"), setting("intent", "label.coverage", "0.9"))),
    Case("two values at one instant", 4, "COVERAGE_POLICY_VIOLATION", "$.label.conflicts", ("1 of", "in conflict"),
         label_columns(tx_id=[*chargebacks()["tx_id"][:39], 21], outcome=["CHARGEBACK"] * 39 + ["FINE"],
                       reported_at=[*chargebacks()["reported_at"][:39], chargebacks()["reported_at"][4]])),
    Case("a positive that nobody says", 4, "TARGET_DEGENERATE", "$.label", ("0 positive", "chargeback CHARGEBACK."),
         setting("intent", "label.positive", ["STOLEN"])),
    Case("a split without a positive", 4, "TARGET_DEGENERATE", "$.splits.test", ("test has 0 positive and 3 negative rows",),
         setting("intent", "splits.test", ["2026-02-02T18:00:00Z", "2026-02-03T12:00:00Z"])),
    Case("no row left", 4, "LABEL_SCOPE_EMPTY", "$.where", ("200 where",), setting("intent", "where", "amount > 1000")),
    Case("no row in any split", 4, "LABEL_SCOPE_EMPTY", "$.splits", ("200 outside_splits",),
         setting("intent", "splits", {"train": ["2025-01-03", "2025-01-25"], "test": ["2025-02-01", "2025-02-20"]})),
    # which rows
    Case("a gap with nothing to part", 2, "SCHEMA_INVALID", "$.gap", ("two splits",),
         several(setting("intent", "gap", "7d"), setting("intent", "splits", {}))),
    Case("splits that overlap", 2, "SCHEMA_INVALID", "$.splits.test", ("before train ends",),
         setting("intent", "splits.test", ["2026-01-24", "2026-02-20"])),
    Case("a split within another", 2, "SCHEMA_INVALID", "$.splits.test", ("before train ends",),
         setting("intent", "splits.test", ["2026-01-10", "2026-01-12"])),
    Case("a sampling rate above one", 2, "SCHEMA_INVALID", "$.sampling.rates.negative", ("1.01", "1"),
         setting("intent", "sampling", {"seed": "s", "rates": {"negative": "1.01"}})),
    Case("a sampling rate below zero", 2, "SCHEMA_INVALID", "$.sampling.rates.negative", ("-0.1",),
         setting("intent", "sampling", {"seed": "s", "rates": {"negative": "-0.1"}})),
    Case("sampling a class that is none", 2, "SCHEMA_INVALID", "$.sampling.rates.neutral", ("neutral",),
         setting("intent", "sampling", {"seed": "s", "rates": {"neutral": "0.5"}})),
    Case("a sampling rate of zero", 2, "SCHEMA_INVALID", "$.sampling.rates.negative", ("keeps nothing", "where"),
         setting("intent", "sampling", {"seed": "s", "rates": {"negative": "0"}})),
    Case("sampling nearly all of a class away", 4, "TARGET_DEGENERATE", "$.sampling", ("0 negative", "left out 131 rows"),
         setting("intent", "sampling", {"seed": "s", "rates": {"negative": "0.0001"}})),
    # under which names
    Case("tokens without a key", 2, "SETTINGS_INVALID", "$.identifiers", ("ofs key", "mode: raw"), removed("tokens.key")),
]


@pytest.fixture
def plane(place: Path) -> SmallPlane:
    """A complete small plane."""
    return make_plane(place / "p")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_lie_about_labels_is_told_at_its_place(case: Case, plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Status, code, the place where it stands and a sentence that names the value; no dataset, data, half file or open run is left."""
    if not case.change(plane):
        plane.documents()
    said = ask(capsys, "build", str(plane.intent_path))
    check_answer(said, case.status, case.code, case.words)
    places = [said.error["path"], *(problem["path"] for problem in said.error.get("problems", ()))]
    if case.path is not None:
        assert any(place is not None and (place == case.path or place.endswith(f" {case.path}")) for place in places), places
    check_nothing_left(plane, said)


# --- what looks like a lie and is none ----------------------------------------------------------------------


def content(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> tuple[str, int]:
    """The content digest of what a plane builds, and how many assertions counted."""
    plane.documents()
    assert run(["build", str(plane.intent_path), "--json"]) == 0
    capsys.readouterr()
    (manifest,) = plane.manifests()
    core = json.loads(manifest.read_bytes())["core"]
    return core["content_digest"], core["labels"]["assertions_eligible"]


def in_zone(hours: int) -> list[str]:
    """The instants of the labels, as somebody east of here writes them."""
    return [f"{(one + timedelta(hours=hours)).replace(tzinfo=None).isoformat()}+{hours:02}:00" for one in chargebacks()["reported_at"]]


SILENT: dict[str, Change] = {
    "the same instants in another notation": label_columns(reported_at=in_zone(5)),
    "every label twice, the second time in another notation": lambda plane: plane.labels(
        {"tx_id": chargebacks()["tx_id"] * 2, "outcome": chargebacks()["outcome"] * 2, "reported_at": [*in_zone(0), *in_zone(9)]}, None),
    "about events of others": lambda plane: plane.labels(
        {"tx_id": [*chargebacks()["tx_id"], 900, -1], "outcome": ["CHARGEBACK"] * 42,
         "reported_at": [*chargebacks()["reported_at"], START, START]}),
    "reversed after the as-of": lambda plane: plane.labels(
        {"tx_id": chargebacks()["tx_id"] * 2, "outcome": ["CHARGEBACK"] * 40 + ["FINE"] * 40,
         "reported_at": [*chargebacks()["reported_at"], *[START + timedelta(days=69)] * 40]}),
    "reversed from a later day on": several(lambda plane: plane.labels(
        {"tx_id": chargebacks()["tx_id"] * 2, "outcome": ["CHARGEBACK"] * 40 + ["FINE"] * 40,
         "reported_at": chargebacks()["reported_at"] * 2,
         "since": [*chargebacks()["reported_at"], *[START + timedelta(days=69)] * 40]}, None), mapped(effective="since")),
    "a circle that closes after the as-of": several(lambda plane: plane.labels(
        {"tx_id": [*chargebacks()["tx_id"], 1], "outcome": ["CHARGEBACK"] * 41, "case": [*(f"c{n}" for n in range(40)), "late"],
         "replaces": ["late", *[None] * 39, "c0"], "reported_at": [*chargebacks()["reported_at"], START + timedelta(days=69)]}, None),
        mapped(**NAMED)),
    "a link to an assertion about another event": linked(
        *((f"c{n}", "c1" if n == 0 else None) for n in range(COUNT)), about=tuple(chargebacks()["tx_id"])),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_says_nothing_else_builds_the_same_rows(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not known at the as-of, is about no event of the basis, or says the same in other words changes no row.

    ── event ── observed, in any notation ──┃as-of── reversed, superseded, closed to a circle ──▶
    """
    plain, other = make_plane(place / "plain"), make_plane(place / "other")
    if name in {"a circle that closes after the as-of", "a link to an assertion about another event"}:
        several(label_columns(case=[f"c{n}" for n in range(COUNT)], replaces=pa.nulls(COUNT, pa.string())), mapped(**NAMED))(plain)
    SILENT[name](other)
    assert content(plain, capsys) == content(other, capsys)


@pytest.mark.parametrize("command", ["plan", "labels", "preview", "enqueue", "build"])
def test_every_door_refuses_a_future_as_of(command: str, plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is asked of an intent, labels of the future are refused in the same words, and nothing is queued or written."""
    plane.intent["label"]["as_of"] = "2999-01-01T00:00:00Z"
    plane.documents()
    said = ask(capsys, command, str(plane.intent_path))
    check_answer(said, 4, "LEAKAGE_POLICY_VIOLATION", ("2999-01-01",))
    check_nothing_left(plane, said)
    assert run(["runs", "--plane", str(plane.folder / "plane.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
