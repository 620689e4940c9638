"""A column that is mapped as a label never feeds a feature, by whatever part of the profile or the intent it would be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from answers import ask, check_answer, check_nothing_left
from small_plane import EVENTS, SmallPlane, make_plane, transactions

from offline_feature_plane.__main__ import run

LABEL = {"path": "transactions.parquet", "event": "tx_id", "observed": {"after_event": "3d"}, "time": "tx_time",
         "value": {"column": "is_fraud", "1": "CHARGEBACK", "0": "OK"}}
CUSTOMER = "groups.customer"
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("the argument of a call", {f"{CUSTOMER}.features.tell": "last(is_fraud)"}),
    ("the condition of a count", {f"{CUSTOMER}.features.tell": "count_if(is_fraud == 1)"}),
    ("the condition of a sum", {f"{CUSTOMER}.features.tell": "sum_if(amount, is_fraud == 1)"}),
    ("the condition of a share", {f"{CUSTOMER}.features.tell": "ratio(amount > 5 and is_fraud == 1)"}),
    ("a group's where", {f"{CUSTOMER}.where": "is_fraud == 0"}),
    ("a key", {f"{CUSTOMER}.key": "is_fraud"}),
    ("one of several keys", {f"{CUSTOMER}.key": ["customer_id", "is_fraud"]}),
    ("a row feature", {"row_features": {"tell": "coalesce(is_fraud, 0)"}}),
    ("a derived column", {"derived": {"tell": "customer.n_7d * is_fraud"}}),
    ("a derived column over a row feature", {"row_features": {"tell": "is_fraud + 1"}, "derived": {"more": "tell * 2"}}),
    ("a field of another name", {"fields.innocent": {"type": "int64", "path": "is_fraud"}, f"{CUSTOMER}.features.tell": "sum(innocent)"}),
    ("a field of a path in a list",
     {"fields.innocent": {"type": "int64", "path": ["is_fraud"]}, f"{CUSTOMER}.features.tell": "max(innocent)"}),
    ("the rows' where", {"intent.where": "is_fraud == 0"}),
    ("the unit of sampling", {"intent.sampling": {"seed": "a", "rates": {"negative": 0.5}, "by": "is_fraud"}}),
]


@pytest.fixture
def plane(place: Path) -> SmallPlane:
    """A plane whose labels are a column of the events."""
    made = make_plane(place / "p")
    made.events({**transactions(), "is_fraud": [int(row % 5 == 0) for row in range(EVENTS)]}, None)
    made.plane["labels"]["chargeback"] = LABEL
    made.profile["fields"]["is_fraud"] = "int64"
    return made


def put(plane: SmallPlane, path: str, value: Any) -> None:
    """Write a value at a dotted path of the profile, or of the intent behind `intent.`."""
    *steps, last = path.removeprefix("intent.").split(".")
    here: Any = plane.intent if path.startswith("intent.") else plane.profile
    for step in steps:
        here = here[step]
    here[last] = value


@pytest.mark.parametrize(("way", "changes"), WAYS, ids=[way.replace(" ", "-") for way, _ in WAYS])
@pytest.mark.parametrize("purpose", ["training", "non_training"])
def test_truth_is_read_by_no_way(way: str, changes: dict[str, Any], purpose: str, plane: SmallPlane,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever reads the labelled column ends the plan with TRUTH_FIELD_AS_FEATURE, which names the field and the column."""
    for path, value in changes.items():
        put(plane, path, value)
    if purpose == "non_training":
        plane.intent["non_training_allowed"] = True
    plane.documents()
    for command in ("plan", "preview"):
        said = ask(capsys, command, str(plane.intent_path))
        check_answer(said, 4, "TRUTH_FIELD_AS_FEATURE", ("reads is_fraud", "mapped as a label"))
    check_nothing_left(plane, said)


def test_a_truth_field_that_nothing_reads_is_harmless(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A declared field, a group and a computed column over the truth that the chosen set does not use stop nothing."""
    plane.profile |= {"row_features": {"tell": "is_fraud"}, "feature_sets": [{"id": "default", "version": "v1", "groups": ["customer@v1"]}]}
    plane.documents()
    assert run(["plan", str(plane.intent_path)]) == 0, capsys.readouterr().err


def test_labels_are_read_by_their_own_calls(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """What looks at labels as they were known is no leak: the very same column counts by `label_count`."""
    plane.profile["groups"]["customer"]["features"]["frauds"] = "label_count(chargeback, CHARGEBACK)"
    plane.documents()
    assert run(["plan", str(plane.intent_path)]) == 0, capsys.readouterr().err


def test_truth_of_another_source_is_truth_too(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """The same file under another name, as a source beside the rows, gives its labelled column as little away."""
    plane.plane["events"]["copy"] = dict(plane.plane["events"]["transaction"])
    fields = dict(plane.profile["fields"])
    plane.profile = {
        "policy_id": "cards", "revision": "dev",
        "sources": {name: {"event_types": [name], "fields": fields} for name in ("transaction", "copy")},
        "feature_groups": [{"name": "g", "version": "v1", "source": "copy", "key": ["customer_id"], "windows": ["7d"],
                            "features": {"tell": "count_if(is_fraud == 1)"}}],
        "feature_sets": [{"id": "default", "version": "v1", "groups": ["g@v1"]}]}
    plane.documents()
    check_answer(ask(capsys, "plan", str(plane.intent_path)), 4, "TRUTH_FIELD_AS_FEATURE", ("copy.is_fraud",))
