"""A target of several label types, from the short form to the dataset (`decisions.md` D24).

The small plane, with disputes beside its chargebacks: payment i has a chargeback iff 5 | i, a dispute iff 3 | i, lost iff i is even.

    i            0     3     5     6     9     10    12    15    18  …
    chargeback   CB    ·     CB    ·     ·     CB    ·     CB    ·        silence: negative when mature
    dispute      LOST  WON   ·     LOST  WON   ·     LOST  WON   LOST     silence: unlabeled, or negative when mature
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from answers import ask, check_answer, check_nothing_left
from small_plane import EVENTS, LABEL_SCHEMA, START, SmallPlane, make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import open_plane

AS_OF = {"as_of": "2026-03-10T00:00:00Z", "maturity_days": 10}
CHARGEBACK = {"positive": ["CHARGEBACK"], "unlabeled": "negative_when_mature"}
DISPUTE = {"positive": ["LOST"], "negative": ["WON"], "unlabeled": "negative_when_mature"}


def combined() -> dict[str, Any]:
    """The label of the intent."""
    return AS_OF | {"types": {"chargeback": CHARGEBACK, "dispute": DISPUTE}, "combine": "chargeback or dispute"}


@pytest.fixture
def plane(place: Path) -> SmallPlane:
    """The small plane with disputes, whose intent combines both types."""
    made = make_plane(place / "p")
    hit = range(0, EVENTS, 3)
    said = {"tx_id": [i + 1 for i in hit], "reported_at": [START + timedelta(hours=6 * i, days=5) for i in hit],
            "outcome": ["WON" if i % 2 else "LOST" for i in hit]}
    pq.write_table(pa.table(said, schema=LABEL_SCHEMA), made.folder / "disputes.parquet")
    made.plane["labels"]["dispute"] = made.plane["labels"]["chargeback"] | {"path": "disputes.parquet"}
    made.intent["label"] = combined()
    made.documents()
    return made


def rows_of(plane: SmallPlane) -> tuple[Any, dict[int, int]]:
    """The built dataset's manifest, and each payment's target by its number from 0."""
    plane.documents()
    opened = open_plane(plane.folder / "plane.yaml")
    result = opened.build(plane.intent_path)
    table = opened.dataset(result.manifest.dataset_manifest_id).to_arrow()
    numbers, targets = (table[name].to_pylist() for name in ("event_id", "target"))
    return result.manifest, {number - 1: target for number, target in zip(numbers, targets, strict=True)}


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_two_types_become_one_target(plane: SmallPlane, engine: str) -> None:
    """A payment is positive if it was charged back or its dispute was lost; the manifest says of what the target is made."""
    plane.plane["engine"] |= {"name": engine}
    manifest, targets = rows_of(plane)
    assert targets == {i: int(i % 5 == 0 or i % 6 == 0) for i in targets}
    assert {one.name: one for one in manifest.core.columns}["target"].lineage == "chargeback__value, dispute__value"
    assert manifest.core.row_accounting["unlabeled"] == 0
    proofs = {one.name: one.verdict for one in open_plane(plane.folder / "plane.yaml").audit(manifest.dataset_manifest_id).proofs}
    assert {proofs[name] for name in ("target", "chargeback__value", "dispute__value")} == {"PROVED"}
    assert {gate.gate: gate.details for gate in manifest.core.gates}["coverage"]["types"].keys() == {"chargeback", "dispute"}
    assert {one.label_type: one.resolved > 0 for one in manifest.core.coverage} == {"chargeback": True, "dispute": True}


def test_silence_of_one_type_leaves_open_what_the_other_does_not_decide(plane: SmallPlane) -> None:
    """Where silence about disputes means nothing, a chargeback still decides `or`, and all other payments without a dispute leave."""
    plane.intent["label"]["types"]["dispute"] = DISPUTE | {"unlabeled": "exclude", "coverage": 0.3}
    manifest, targets = rows_of(plane)
    assert all(i % 3 == 0 or i % 5 == 0 for i in targets)
    assert targets == {i: int(i % 5 == 0 or i % 6 == 0) for i in targets}
    everybody = rows_of(replace(plane, intent=plane.intent | {"label": combined()}))[1]
    assert manifest.core.row_accounting["unlabeled"] == len(everybody) - len(targets) > 50


def test_another_spelling_is_the_same_dataset(plane: SmallPlane) -> None:
    """Order, brackets and where `not` stands are no meaning; another word is."""
    opened = open_plane(plane.folder / "plane.yaml")

    def fingerprint(text: str, **types: Any) -> str:
        plane.intent["label"] |= {"combine": text, "types": {"dispute": DISPUTE, "chargeback": CHARGEBACK} | types}
        plane.documents()
        return opened.plan(plane.intent_path).pins.dataset_fingerprint

    one = fingerprint("chargeback or dispute")
    same = ("dispute or chargeback", "not (not dispute and not chargeback)", "(chargeback)  or(dispute)")
    assert {fingerprint(text) for text in same} == {one}
    others = {fingerprint("chargeback and dispute"), fingerprint("chargeback and not dispute"),
              fingerprint("chargeback or dispute", dispute=DISPUTE | {"positive": ["LOST", "SETTLED"]}), one}
    assert len(others) == 4
    pinned = opened.pin(plane.intent_path)
    (plane.folder / "long.yaml").write_text(pinned.text, encoding="utf-8")
    assert opened.pin(plane.folder / "long.yaml").fingerprint == pinned.fingerprint


def test_a_look_tells_each_type_by_its_own_rule(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """`ofs labels` counts answers, lags and maturities per type, both as the target's."""
    plane.intent["label"]["types"]["dispute"] = DISPUTE | {"unlabeled": "exclude", "coverage": "0.3"}
    plane.documents()
    assert run(["labels", str(plane.intent_path), "--json"]) == 0
    told = {one["label_type"]: one for one in json.loads(capsys.readouterr().out)["types"]}
    assert {name: (one["role"], one["splits"][1]["answered"]) for name, one in told.items()} == {
        "chargeback": ("target", "1.000000"), "dispute": ("target", "0.329545")}
    assert [told[name]["splits"][1]["lag_days"]["p50"] for name in ("chargeback", "dispute")] == [3, 5]


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "half a combination": ({"combine": "chargeback or"}, "$.label.combine", "ends too early"),
    "an unknown type": ({"combine": "chargeback or refund"}, "$.label.combine", "unexpected 'refund' at character 15"),
    "a type left out": ({"combine": "chargeback"}, "$.label.combine", "dispute is not named"),
    "types only": ({"combine": None}, "$.label.combine", "this is required"),
    "a combination only": ({"types": None}, "$.label.types", "this is required"),
    "one type": ({"types": {"chargeback": CHARGEBACK}, "combine": "chargeback"}, "$.label.types", "two or more"),
    "both forms": ({"type": "chargeback"}, "$.label.type", "within `types`"),
    "values beside": ({"positive": ["X"]}, "$.label.positive", "within `types`"),
    "a share beside": ({"coverage": 1}, "$.label.coverage", "within `types`"),
    "silence undeclared": ({"types": {"chargeback": CHARGEBACK, "dispute": {"positive": ["LOST"]}}}, "$.label.types.dispute.unlabeled",
                           "required"),
    "both at once": ({"types": {"chargeback": CHARGEBACK, "dispute": DISPUTE | {"negative": ["LOST"]}}}, "$.label.types.dispute.negative",
                     "LOST cannot be positive and negative"),
    "no share": ({"types": {"chargeback": CHARGEBACK, "dispute": DISPUTE | {"unlabeled": "exclude"}}}, "$.label.types",
                 "share of answers for dispute"),
    "no timeline": ({"types": {"chargeback": CHARGEBACK, "refund": DISPUTE}, "combine": "chargeback or refund"}, "$.label.types.refund",
                    "no label timeline"),
    "no maturity": ({"maturity_days": None}, "$.label.types.chargeback.unlabeled", "negative_when_mature needs"),
    "no target": ({"target": "none", "type": "chargeback"}, "$.label.combine", "without a target"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_target_that_cannot_be_meant_is_refused_where_it_is_written(plane: SmallPlane, capsys: pytest.CaptureFixture[str],
                                                                     name: str) -> None:
    """Each mistake is told at its own place in the short form, and nothing is left behind."""
    change, place_of, words = BAD[name]
    plane.intent["label"] |= change
    plane.documents()
    said = ask(capsys, "build", str(plane.intent_path))
    problems = {one["path"].rpartition(" ")[2]: one["sentence"] for one in said.error["problems"]}
    assert words in problems.get(place_of, ""), problems
    check_answer(said, 2, said.error["problems"][0]["code"])
    check_nothing_left(plane, said)
