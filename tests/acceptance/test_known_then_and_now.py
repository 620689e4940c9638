"""A split with an as-of of its own, from the short form to the dataset (record 0034).

The small plane (a chargeback on every fifth payment, three days later), in which two payments of January turn out otherwise:

    01-03 ──[──── train ────) 01-25   02-01 ──[─── test ──┼───) 02-20                          03-10
              ●11 chargeback 01-06                     02-05    ┊ 02-20: legitimate, says a person
              ●12 nothing                              then     ┊ 02-25: a chargeback          now
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from answers import ask, ask_once, check_answer, check_nothing_left
from postgres_server import Server
from small_plane import START, SmallPlane, chargebacks, make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import Plane, open_plane

THEN, NOW = "2026-02-05T00:00:00.000000Z", "2026-03-10T00:00:00.000000Z"
TRAIN, TEST = ["2026-01-03", "2026-01-25"], ["2026-02-01", "2026-02-20"]
MAPPED = {"event": "tx_id", "observed": "reported_at", "value": {"column": "outcome"}, "source": {"column": "said_by"}, "id": "said_as"}


def said(event: int, days: float, outcome: str = "CHARGEBACK", by: str = "EXTERNAL") -> dict[str, Any]:
    """An assertion about a payment, so many days after the first one."""
    return {"tx_id": event, "reported_at": START + timedelta(days=days), "outcome": outcome, "said_by": by, "said_as": f"{event}-{outcome}"}


def history(*more: dict[str, Any]) -> list[dict[str, Any]]:
    """All assertions."""
    plain = zip(chargebacks()["tx_id"], chargebacks()["reported_at"], strict=True)
    return [*(said(event, (at - START) / timedelta(days=1)) for event, at in plain), said(11, 50, "LEGIT", "HUMAN"), said(12, 55), *more]


def write_labels(plane: SmallPlane, rows: list[dict[str, Any]]) -> None:
    """The assertions as a file."""
    pq.write_table(pa.Table.from_pylist(rows), plane.folder / "assertions.parquet")


@pytest.fixture
def plane(place: Path, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """The plane in which the test stands; its intent learns as of then and judges as of now."""
    made = make_plane(place / "p")
    write_labels(made, history())
    made.plane["labels"]["chargeback"] = MAPPED | {"path": "assertions.parquet"}
    made.intent["label"]["as_of"] = THEN
    made.intent["splits"] = {"train": TRAIN, "test": {"range": TEST, "as_of": NOW}}
    made.documents()
    monkeypatch.chdir(made.folder)
    return made


def opened(plane: SmallPlane) -> Plane:
    """The plane with the documents as they are now."""
    plane.documents()
    return open_plane(plane.folder / "plane.yaml")


def rows_of(plane: SmallPlane, split: str, **intent: Any) -> pa.Table:
    """A split of the dataset of an intent, its decimals exact."""
    asked = plane.intent | {name: value for name, value in intent.items() if name != "as_of"}
    asked["label"] = asked["label"] | {"as_of": intent.get("as_of", asked["label"]["as_of"])}
    found = open_plane(plane.folder / "plane.yaml")
    return found.dataset(found.build(asked).manifest.dataset_manifest_id).to_arrow(split, decimals="exact")


@pytest.mark.parametrize(("engine", "visibility"), [("local", "event_time"), ("local", "arrival"), ("oracle", "event_time")])
def test_each_split_is_that_of_a_dataset_with_one_as_of(plane: SmallPlane, engine: str, visibility: str) -> None:
    """What is learned equals, cell by cell, a dataset as of then, and what is judged one as of now; neither holds what the other does."""
    plane.plane["engine"]["name"] = engine
    plane.plane["events"]["transaction"]["arrival"] = "tx_time"
    plane.intent["visibility"] = visibility
    plane.documents()
    learned, judged = rows_of(plane, "train"), rows_of(plane, "test")
    assert learned.equals(rows_of(plane, "train", splits={"train": TRAIN}))
    assert judged.equals(rows_of(plane, "test", splits={"train": TRAIN, "test": TEST}, as_of=NOW))
    hindsight = rows_of(plane, "train", splits={"train": TRAIN, "test": TEST}, as_of=NOW)
    changed = [event for event, then, now in zip(learned["event_id"].to_pylist(), learned["target"].to_pylist(),
                                                 hindsight["target"].to_pylist(), strict=True) if then != now]
    assert changed == [11, 12]
    assert pc.max(learned["chargeback__observed_time"]).as_py() < START + timedelta(days=35)
    assert pc.max(judged["chargeback__observed_time"]).as_py() > START + timedelta(days=35)


def test_the_manifest_names_the_as_of_of_each_split(plane: SmallPlane) -> None:
    """The as-of is the intent's; a split that has its own says so in identity and core, and label columns say whose they are."""
    manifest = opened(plane).build(plane.intent_path).manifest
    assert (manifest.label_basis["label_asof_utc"], manifest.core.evaluation_asofs) == (THEN, {"test": NOW})
    document = manifest.model_dump(mode="json")
    assert [split.get("label_asof_utc", "none") for split in document["core"]["splits"]] == ["none", NOW]
    assert [split.get("label_asof_utc", "none") for split in document["core"]["identity"]["splits"]] == ["none", NOW]
    meant = {column.name: (column.meaning, column.availability) for column in manifest.core.columns}
    assert meant["chargeback__value"] == ("what holds at the as-of of the row's split", "at the label as-of of the row's split")
    assert meant["target"][1] == "at the label as-of of the row's split"
    assert opened(plane).verify(manifest.dataset_manifest_id).intact


def test_an_intent_without_is_what_it_was(plane: SmallPlane) -> None:
    """Where no split has an as-of nothing says so: neither identity nor payload; and both forms of one intent are one dataset."""
    plane.intent["splits"] = {"train": TRAIN}
    planned = opened(plane).plan(plane.intent_path)
    assert "label_asof_utc" not in json.dumps([planned.pins.identity["splits"], planned.pins.intent["splits"]])
    fingerprints = {planned.pins.dataset_fingerprint}
    for as_of in (NOW, "2026-03-10", "2026-03-09"):
        plane.intent["splits"] = {"train": TRAIN, "test": {"range": ["2026-02-01", "2026-02-10"], "as_of": as_of}}
        pinned = opened(plane).pin(plane.intent_path)
        (plane.folder / "long.yaml").write_text(pinned.text, encoding="utf-8")
        assert opened(plane).pin("long.yaml").fingerprint == pinned.fingerprint
        fingerprints.add(pinned.fingerprint)
    assert len(fingerprints) == 3


def test_what_becomes_known_between_then_and_now_is_history(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A backdated label of a judged payment refuses the rebuild although the training never saw it; one after now changes nothing.

    ```
    then                 ● 02-20: of payment 130, in test          now      ● 03-12
    ──┤──────────────────┴─────────────────────────────────────────┤────────┴──▶ observed
    ```
    """
    opened(plane).build(plane.intent_path)
    write_labels(plane, history(said(130, 70)))
    assert opened(plane).build(plane.intent_path, recompute=True).outcome == "REPRODUCED"
    write_labels(plane, history(said(130, 50)))
    answer = ask_once(capsys, "build", "intent.yaml", "--recompute")
    check_answer(answer, 5, "LABEL_HISTORY_CHANGED", ("1 chargeback assertions appeared below the cut: 130-CHARGEBACK (event 130 ",))


def test_a_label_store_is_read_up_to_the_latest_as_of(plane: SmallPlane, postgres: Server) -> None:
    """Labels in PostgreSQL give the dataset that files give; what is observed after the latest as-of is no part of it."""
    files = opened(plane).build(plane.intent_path).manifest
    rows = [{"label_assertion_id": one["said_as"], "label_type": "chargeback", "event_id": str(one["tx_id"]), "label_value": one["outcome"],
             "observed_time": one["reported_at"], "effective_time": one["reported_at"], "source_type": one["said_by"], "actor_id":
             "ana" if one["said_by"] == "HUMAN" else None, "supersedes": None} for one in history(said(130, 70))]
    pq.write_table(pa.Table.from_pylist(rows), plane.folder / "stored.parquet")
    plane.plane["labels"]["chargeback"] = {"store": postgres.new_label_store()}
    opened(plane).load_labels([plane.folder / "stored.parquet"])
    plane.plane["store"] = "another"
    stored = opened(plane).build(plane.intent_path).manifest
    assert stored.core.label_slice_digest == files.core.label_slice_digest
    assert stored.core.content_digest == files.core.content_digest
    marker = next(one.marker for one in stored.evidence.sources if one.kind == "labels")
    assert marker is not None
    assert marker.assertions == len(history())


def test_who_looks_is_told(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """`ofs show`, the list, Croissant, the audit and the intake name the as-of of each split, and an early training is refused."""
    found = opened(plane)
    dataset = found.build(plane.intent_path).manifest.dataset_manifest_id
    assert run(["show", dataset]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"label as-of +{THEN}, test {NOW}\n", shown)
    assert re.search(r"split +from +to +labels as of +rows .*\ntrain +2026-01-03 +2026-01-25 +2026-02-05 +88 .*\n"
                     r"test +2026-02-01 +2026-02-20 +2026-03-10 +76 ", shown)
    assert run(["datasets"]) == 0
    assert "2026-02-05, test 2026-03-10" in capsys.readouterr().out
    assert f"labels are as of {THEN}, those of split test as of {NOW} by the rule" in found.croissant(dataset)["description"]
    report = found.audit(dataset)
    assert {proof.verdict for proof in report.proofs if proof.role in ("label", "target")} == {"PROVED"}
    assert {proof.latest for proof in report.proofs if proof.role == "target"} == {f"observed by the label as-of {THEN}, in test {NOW}"}
    assert [split.label_asof_utc for split in report.splits] == [None, NOW]
    assert run(["audit", dataset]) == 0
    assert f"88 of 88 rows of train, 76 of 76 rows of test (labels as of {NOW});" in capsys.readouterr().out
    admitted = found.admit(dataset, execution_start="2026-03-10")
    assert admitted.admitted
    assert list(admitted.notices) == [(f"split test of {dataset} is for evaluation: its labels are as of {NOW}, those that are learned as "
                                       f"of {THEN}")]
    early = found.admit(dataset, execution_start="2026-03-09")
    assert [check.sentences for check in early.checks if not check.passed] == [(
        f"split test of {dataset} has labels as of {NOW}; the training starts before, at 2026-03-09T00:00:00.000000Z",)]


def test_labels_are_weighed_at_each_as_of(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """`ofs labels` counts each split at its own as-of, and says for each how late it could end and how early its as-of could be."""
    assert run(["labels", "intent.yaml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["label_asof_utc"], told["mature_until"], told["splits_end"]) == (THEN, "2026-01-26T00:00:00.000000Z",
                                                                                 "2026-01-25T00:00:00.000000Z")
    assert told["evaluation_splits"] == [{"split": "test", "label_asof_utc": NOW, "mature_until": "2026-02-28T00:00:00.000000Z"}]
    (one,) = told["types"]
    assert [(split["split"], split["mature"], split["resolved"]) for split in one["splits"]] == [
        (None, True, 3), (None, False, 4), ("train", True, 18), ("test", True, 15)]
    choice = {split: next(choice for choice in choices if "intent" in choice["why"])
              for split, choices in [("train", one["maturities"]), *one["evaluation_maturities"].items()]}
    assert {split: (found["last_split_end"][:10], found["earliest_asof"][:10]) for split, found in choice.items()} == {
        "train": ("2026-01-26", "2026-02-04"), "test": ("2026-02-28", "2026-03-02")}
    assert run(["labels", "intent.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "       as of 2026-03-10 in test; its events up to 2026-02-28 are mature" in shown
    assert re.search(r"last end of test +earliest as-of of test\n", shown)
    plane.plane["engine"]["name"] = "oracle"
    plane.documents()
    assert run(["labels", "intent.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_several_types_have_one_as_of_each_row(plane: SmallPlane, engine: str) -> None:
    """A combined target is of one as-of per row too: what each type says of a row is what it said at the row's own."""
    disputes = [said(event, (event - 1) / 4 + 20, "LOST") for event in range(3, 201, 10)]  # known 20 days after their payment
    pq.write_table(pa.Table.from_pylist(disputes), plane.folder / "disputes.parquet")
    plane.plane["labels"]["dispute"] = MAPPED | {"path": "disputes.parquet"}
    plane.plane["engine"]["name"] = engine
    silence = {"unlabeled": "negative_when_mature"}
    label = {name: plane.intent["label"][name] for name in ("as_of", "maturity_days")}
    plane.intent["label"] = label | {"combine": "chargeback or dispute", "types": {
        "chargeback": {"positive": ["CHARGEBACK"], **silence}, "dispute": {"positive": ["LOST"], **silence}}}
    plane.documents()
    targets = {}
    for split, known in (("train", 35.0), ("test", 68.0)):
        table = rows_of(plane, split)
        events = table["event_id"].to_pylist()
        held = {one["tx_id"] for one in (*history(), *disputes) if one["outcome"] != "LEGIT" and one["reported_at"] <= START
                + timedelta(days=known)}
        targets[split] = dict(zip(events, table["target"].to_pylist(), strict=True))
        assert targets[split] == {event: int(event in held) for event in events}
    assert (targets["train"][53], targets["train"][63]) == (1, 0)  # known on 02-03 and on 02-05 12:00


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str, str, str]] = {
    "not after the intent's": ({}, {"test": {"range": TEST, "as_of": THEN}}, "$.splits.test.as_of", "LEAKAGE_POLICY_VIOLATION",
                               "which is not after the as-of"),
    "before the intent's": ({}, {"test": {"range": TEST, "as_of": "2026-02-04"}}, "$.splits.test.as_of", "LEAKAGE_POLICY_VIOLATION",
                            "which is not after the as-of"),
    "before a split that is learned": ({}, {"train": {"range": TRAIN, "as_of": NOW}, "test": ["2026-01-25", "2026-01-26"]},
                                       "$.splits.train.as_of", "LEAKAGE_POLICY_VIOLATION",
                                       "train begins at 2026-01-03T00:00:00.000000Z, before test ends at"),
    "nothing is learned": ({}, {"train": {"range": TRAIN, "as_of": NOW}}, "$.splits.train.as_of", "LEAKAGE_POLICY_VIOLATION",
                           "every split has an as-of of its own"),
    "young at its own": ({}, {"test": {"range": TEST, "as_of": "2026-02-25"}}, "$.splits.test.range[1]", "LEAKAGE_POLICY_VIOLATION",
                         "the last possible end is 2026-02-15T00:00:00.000000Z (or move its as-of to 2026-03-02T00:00:00.000000Z"),
    "after its own": ({"immature": "mark"}, {"test": {"range": TEST, "as_of": "2026-02-10"}}, "$.splits.test.range[1]",
                      "LEAKAGE_POLICY_VIOLATION", "test ends at 2026-02-20T00:00:00.000000Z, after its as-of 2026-02-10"),
    "learned after the intent's": ({"immature": "mark", "as_of": "2026-01-20"}, {}, "$.splits.train[1]", "LEAKAGE_POLICY_VIOLATION",
                                   "train ends at 2026-01-25T00:00:00.000000Z, after its as-of 2026-01-20"),
    "in the future": ({}, {"test": {"range": TEST, "as_of": "2126-03-10"}}, "$.splits.test.as_of", "LEAKAGE_POLICY_VIOLATION",
                      "test's own as-of 2126-03-10T00:00:00.000000Z lies in the future"),
    "no instant": ({}, {"test": {"range": TEST, "as_of": "soon"}}, "$.splits.test.as_of", "LABEL_ASOF_MISSING", "soon"),
    "no as-of": ({}, {"test": {"range": TEST}}, "$.splits.test.as_of", "LABEL_ASOF_MISSING", "this is required"),
    "no range": ({}, {"test": {"as_of": NOW}}, "$.splits.test.range", "SCHEMA_INVALID", "this is required"),
    "half a range": ({}, {"test": {"range": TEST[:1], "as_of": NOW}}, "$.splits.test.range", "SCHEMA_INVALID", "two instants, not one"),
    "an end before its start": ({}, {"test": {"range": TEST[::-1], "as_of": NOW}}, "$.splits.test", "SCHEMA_INVALID",
                                "not after its start"),
    "another word": ({}, {"test": {"range": TEST, "as_of": NOW, "rule": "x"}}, "$.splits.test.rule", "SCHEMA_INVALID",
                     "there is no such field here. Known: as_of, range."),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_meant_is_refused_where_it_is_written(plane: SmallPlane, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Each mistake is told at its own place in the short form, with its code, and nothing is left behind."""
    label, splits, place_of, code, words = BAD[name]
    plane.intent["label"] |= label
    plane.intent["splits"] |= splits
    if name == "nothing is learned":
        plane.intent["splits"] = splits
    plane.documents()
    answer = ask(capsys, "build", "intent.yaml")
    problems = answer.error.get("problems") or [{"path": answer.error["path"], "code": code, "sentence": answer.error["what"]}]
    found = {one["path"].rpartition(" ")[2]: (one["code"], one["sentence"]) for one in problems}
    assert found.get(place_of, ("", ""))[0] == code, found
    assert words in found[place_of][1]
    check_answer(answer, {"SCHEMA_INVALID": 2, "LABEL_ASOF_MISSING": 2}.get(answer.error["code"], 4), answer.error["code"])
    check_nothing_left(plane, answer)


def test_one_mistake_is_one_problem(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A split that is learned and cannot be read does not make the others look as if nothing were learned."""
    plane.intent["splits"]["train"] = ["2026-01-03", "soon"]
    plane.documents()
    answer = ask(capsys, "plan", "intent.yaml")
    assert [one["path"].rpartition(" ")[2] for one in answer.error["problems"]] == ["$.splits.train[1]"]


def test_mistakes_in_the_long_form_are_told_at_their_place(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """The long form says them where they stand in it, in whatever order its splits are; also that an as-of lies in the future."""
    document = opened(plane).plan(plane.intent_path).pins.intent
    for as_of, words in (("2126-01-01", "lies in the future"), ("2026-01-01", "not after the as-of")):
        test = document["splits"][1] | {"label_asof_utc": as_of}
        (plane.folder / "long.json").write_text(json.dumps(document | {"splits": [test, document["splits"][0]]}))
        answer = ask(capsys, "plan", "long.json")
        check_answer(answer, 4, "LEAKAGE_POLICY_VIOLATION", (words, "$.splits[0].label_asof_utc"))
