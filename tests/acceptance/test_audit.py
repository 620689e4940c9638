"""`ofs audit`: a report beside a dataset. It finds what leaks, says what it examined, and stops nothing."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from answers import ask, check_answer
from archive_plane import make_archive_plane
from small_plane import EVENTS, SmallPlane, make_plane, transactions

from offline_feature_plane.__main__ import run
from offline_feature_plane.cli.showing_audits import audit as as_text
from offline_feature_plane.cli.showing_audits import refusal
from offline_feature_plane.contracts.audit import LeakageAudit, SplitProbe
from offline_feature_plane.contracts.model import validate
from offline_feature_plane.corridor.audit import audit
from offline_feature_plane.domain.suspicion import Probe
from offline_feature_plane.plane import Plane, open_plane

LEAKS = ["its_settled", "its_state", "its_lost", "its_note"]


def planted(place: Path) -> SmallPlane:
    """A plane whose table says of a payment, as it stands today, what became of it.

    settled    1 if the payment was not charged back: the target's mirror image
    state      a code: 2 if the payment was charged back, else 1 or 3
    lost       an amount, which only charged back payments do not have
    note       a text that only charged back payments carry
    noise      a number that says nothing
    ticket     a text of its own for every payment, which would tell them apart by heart
    empty      nothing
    """
    made = make_plane(place / "p")
    fraud, draw = [row % 5 == 0 for row in range(EVENTS)], random.Random(1)
    made.events({**transactions(),
                 "settled": [int(not one) for one in fraud],
                 "state": [2 if one else 1 + 2 * (row % 2) for row, one in enumerate(fraud)],
                 "lost": [None if one else row + 0.5 for row, one in enumerate(fraud)],
                 "note": ["disputed" if one else None for one in fraud],
                 "noise": [draw.randrange(1_000) for _ in fraud], "ticket": [f"t{row}" for row in range(EVENTS)],
                 "empty": pa.nulls(EVENTS, pa.int64())}, None)
    made.profile["fields"] |= {"settled": "int64", "state": "int64", "lost": {"type": "float64", "missing": None},
                               "note": {"type": "string", "missing": None}, "noise": "int64", "ticket": "string",
                               "empty": {"type": "int64", "missing": None}}
    made.profile["row_features"] = {f"its_{name}": name for name in ("settled", "state", "lost", "note", "noise", "ticket", "empty")}
    made.documents()
    return made


@pytest.fixture(scope="module")
def leaking(session_folder: Path) -> tuple[SmallPlane, str]:
    """The plane with the planted columns, and its dataset."""
    made = planted(session_folder / "leaking")
    return made, opened(made).build(made.intent_path).manifest.dataset_manifest_id


def opened(made: SmallPlane) -> Plane:
    """The plane of a folder."""
    return open_plane(made.folder / "plane.yaml")


def built(made: SmallPlane, **changes: Any) -> LeakageAudit:
    """The audit of what a changed intent gives."""
    made.intent |= changes
    made.documents()
    plane = opened(made)
    return plane.audit(plane.build(made.intent_path).manifest.dataset_manifest_id)


def told(report: LeakageAudit, column: str, split: str = "train") -> SplitProbe:
    """What a column shows in a split."""
    return next(one for probe in report.probes if probe.name == column for one in probe.splits if one.split == split)


def test_a_planted_leak_is_found(leaking: tuple[SmallPlane, str]) -> None:
    """What mirrors the target is suspicious in both splits, as a number or as a text that is only sometimes there; noise is not."""
    made, dataset = leaking
    report = opened(made).audit(dataset)
    assert report.suspicious == LEAKS
    assert report.reason_codes == ["LEAKAGE_SUSPECTED"]
    assert [told(report, "its_settled", split).area for split in ("train", "test")] == [1.0, 1.0]
    assert [told(report, "its_lost", split).area for split in ("train", "test")] == [0.0, 0.0]
    assert [told(report, "its_note", split).area for split in ("train", "test")] == [1.0, 1.0]
    assert not told(report, "its_noise").suspicious


def test_learning_by_heart_is_no_leak(leaking: tuple[SmallPlane, str]) -> None:
    """A text that is different in every row decides any target, a dealt one too: chance gives the same, so it is not suspicious."""
    made, dataset = leaking
    ticket = told(opened(made).audit(dataset), "its_ticket")
    assert (ticket.area, ticket.area_by_chance, ticket.suspicious) == (1.0, 1.0, False)


def test_a_column_of_nulls_says_nothing(leaking: tuple[SmallPlane, str]) -> None:
    """A column without a value has area 0.5, no distance, and says that it is empty."""
    made, dataset = leaking
    train, test = (told(opened(made).audit(dataset), "its_empty", split) for split in ("train", "test"))
    assert (train.area, train.null_share, train.distance) == (0.5, 1.0, None)
    assert (test.area, test.null_share, test.distance, test.drifted) == (0.5, 1.0, 0.0, False)


def test_a_clean_dataset_raises_no_suspicion(place: Path) -> None:
    """Nothing is found in a dataset whose features are windows over the past, and strictness ends it well."""
    made = make_plane(place / "p")
    assert built(made).suspicious == []
    assert run(["audit", "dm_", "--strict", "--plane", str(made.folder / "plane.yaml")]) == 0


def test_the_report_says_what_it_rests_on(leaking: tuple[SmallPlane, str]) -> None:
    """What reads fields of a plain table is assumed, field by field; labels that were observed are proved."""
    made, dataset = leaking
    proofs = {proof.name: proof for proof in opened(made).audit(dataset).proofs}
    assert proofs["chargeback__value"].verdict == proofs["target"].verdict == "PROVED"
    assert proofs["customer__avg_7d"].verdict == proofs["its_settled"].verdict == "ASSUMED"
    assert [reason.partition(" of ")[0] for reason in proofs["customer__avg_7d"].rests_on] == ["amount", "customer_id"]
    assert [reason.partition(" of ")[0] for reason in proofs["its_settled"].rests_on] == ["settled"]
    assert proofs["terminal__risk_7d"].latest.endswith(f"labels observed by the row's instant and by {made.intent['label']['as_of'][:-1]}"
                                                       ".000000Z")


def test_assumed_delays_of_labels_are_told(place: Path) -> None:
    """Where labels are a column of the events, known after a declared delay, target and label features rest on that delay."""
    made = make_plane(place / "p")
    made.events({**transactions(), "is_fraud": [int(row % 5 == 0) for row in range(EVENTS)]}, None)
    made.plane["labels"]["chargeback"] = {"path": "transactions.parquet", "event": "tx_id", "time": "tx_time",
                                          "observed": {"after_event": "5d"},
                                          "value": {"column": "is_fraud", "1": "CHARGEBACK", "0": "LEGIT"}}
    rests_on = {proof.name: proof.rests_on for proof in built(made).proofs}
    said = "labels of chargeback are taken as observed 5d after their event: no column says when they were"
    assert rests_on["target"] == [said]
    assert said in rests_on["terminal__risk_7d"]
    assert said not in rests_on["customer__n_7d"]


def test_over_a_log_everything_is_proved(place: Path) -> None:
    """An archive keeps events as they were written: with observed labels no column rests on trust."""
    assert {(proof.verdict, *proof.rests_on) for proof in built(make_archive_plane(place / "p")).proofs} == {("PROVED",)}


def test_values_that_moved_are_told(place: Path) -> None:
    """A column whose values all grew between the splits has distance 1 from the reference, which has none from itself."""
    made = make_plane(place / "p")
    made.events({**transactions(), "row": list(range(EVENTS))}, None)
    made.profile["fields"]["row"] = "int64"
    made.profile["row_features"] = {"grows": "row", "stays": "row * 0"}
    report = built(made)
    assert [told(report, *place).distance for place in (("grows", "test"), ("grows", "train"), ("stays", "test"))] == [1.0, None, 0.0]
    assert report.reference_split == "train"
    assert "grows" in report.drifted
    assert "stays" not in report.drifted


@pytest.mark.parametrize(("changes", "why"), [
    ({"target": "none"}, "the dataset has no target"),
    ({"positive": ["CHARGEBACK"], "negative": ["LEGIT"], "unlabeled": "exclude", "coverage": 0.01}, "no row is negative"),
    ({"positive": ["NEVER"], "negative": ["CHARGEBACK"], "unlabeled": "exclude", "coverage": 0.01}, "no row is positive"),
])
def test_without_two_classes_nothing_is_held_against_the_target(place: Path, changes: dict[str, Any], why: str) -> None:
    """No target, or one class only: the reason is told, nothing is suspicious, and drift is measured all the same."""
    made = planted(place)
    label = made.intent["label"]
    if "target" in changes:
        label = {key: value for key, value in label.items() if key not in {"positive", "unlabeled"}}
    report = built(made, label={**label, **changes}, non_training_allowed=True)
    assert {split.unprobed for split in report.splits} == {why}
    assert report.suspicious == report.reason_codes == []
    assert told(report, "its_noise").area is None
    assert told(report, "its_noise", "test").distance is not None


def test_a_split_without_rows_is_no_trouble(place: Path) -> None:
    """An empty split is told as such, on either side of the comparison."""
    empty = ["2025-11-01", "2025-12-01"]
    for name, splits in (("test", {"train": ["2026-01-03", "2026-01-25"], "test": empty}),
                         ("train", {"train": empty, "test": ["2026-01-03", "2026-01-25"]})):
        made = planted(place / name)
        report = built(made, splits=splits, non_training_allowed=True)
        assert next(split for split in report.splits if split.name == name).examined == 0
        assert (told(report, "its_noise", name).null_share, told(report, "its_noise", name).area) == (None, None)
        assert told(report, "its_noise", "test").distance is None
        assert report.suspicious == LEAKS


def test_no_rows_at_all_are_no_trouble(leaking: tuple[SmallPlane, str]) -> None:
    """A dataset without any file is told as one without examined rows; its columns are proved all the same."""
    made, dataset = leaking
    report = audit(replace(opened(made).dataset(dataset), files=()), Probe(), lambda *_: None)
    assert {(split.examined, split.unprobed) for split in report.splits} == {(0, "no row is known to be positive or negative")}
    assert {(one.null_share, one.area, one.distance) for probe in report.probes for one in probe.splits} == {(None, None, None)}
    assert "no feature was held against the target in train" in as_text(report)


def test_a_sample_is_stated_and_repeats(leaking: tuple[SmallPlane, str]) -> None:
    """With a limit fewer rows are examined, which the report says; the same seed gives the same report, another one another sample."""
    made, dataset = leaking
    plane = opened(made)
    one, again, other = (plane.audit(dataset, Probe(most_rows=40, seed=seed)) for seed in ("1", "1", "2"))
    assert one == again != other
    assert all(20 <= split.examined <= 60 < split.rows for split in one.splits)
    assert one.suspicious == LEAKS


def test_the_document_is_its_contract(leaking: tuple[SmallPlane, str], capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` gives one document of the published schema, with the dataset's digest; strict or not, only the status differs."""
    made, dataset = leaking
    documents = []
    for options, status in (((), 0), (("--strict",), 4)):
        assert run(["audit", dataset, *options, "--json", "--plane", str(made.folder / "plane.yaml")]) == status
        documents.append(json.loads(capsys.readouterr().out))
    report = validate(LeakageAudit, documents[0])
    assert documents[0] == documents[1]
    assert report == opened(made).audit(dataset)
    assert report.content_digest == opened(made).manifest(dataset).core.content_digest


def test_as_text_the_worst_comes_first(leaking: tuple[SmallPlane, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The suspicious columns lead their table, and strictness ends with the code on stderr."""
    made, dataset = leaking
    assert run(["audit", dataset, "--strict", "--plane", str(made.folder / "plane.yaml")]) == 4
    said = capsys.readouterr()
    lines = said.out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("feature ") and "by chance" in line) + 1
    assert {line.split()[0] for line in lines[first:first + 4]} == set(LEAKS)
    assert "LEAKAGE_SUSPECTED" in said.err
    assert "88 of 88 rows of train" in lines[0]


def test_a_label_from_after_the_cut_is_found_in_the_rows(leaking: tuple[SmallPlane, str]) -> None:
    """Rows that hold a label observed after the as-of of their manifest break the proof of all columns of that label, and only of those.

    as-of of the manifest ──|
    ──────────────────────●─|─────●──▶   labels of the rows
    """
    made, dataset = leaking
    found = opened(made).dataset(dataset)
    core = found.manifest.core
    core = core.model_copy(update={"labels": {**core.labels, "label_asof_utc": "2026-01-20T00:00:00.000000Z"}})
    report = audit(replace(found, manifest=found.manifest.model_copy(update={"core": core})), Probe(), lambda *_: None)
    assert {proof.role for proof in report.proofs if proof.verdict == "UNPROVED"} == {"label", "target"}
    assert report.reason_codes == ["LEAKAGE_POLICY_VIOLATION", "LEAKAGE_SUSPECTED"]
    assert refusal(report).code == "LEAKAGE_POLICY_VIOLATION"


def test_a_retired_dataset_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A retired dataset whose data is kept can be audited; the report says why it was retired."""
    made = make_plane(place / "p")
    dataset = built(made).dataset_manifest_id
    opened(made).retire(dataset, reason="labels of the wrong year")
    assert run(["audit", dataset, "--plane", str(made.folder / "plane.yaml")]) == 0
    assert "labels of the wrong year" in capsys.readouterr().out


def test_identifiers_are_audited_as_tokens(place: Path) -> None:
    """A feature whose values are identifiers is text like any other; no value of it stands in the report."""
    made = make_plane(place / "p")
    made.profile["groups"]["customer"]["features"]["where"] = "last(terminal_id)"
    report = built(made)
    assert told(report, "customer__where_7d").area is not None
    dataset = opened(made).dataset(report.dataset_manifest_id)
    tokens = {one for one in dataset.to_arrow(columns=["customer__where_7d"]).column(0).to_pylist() if one}
    assert len(tokens) > 5
    assert not any(token in report.model_dump_json() for token in tokens)


def test_files_are_checked_first(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dataset with a harmed file is not audited."""
    made = make_plane(place / "p")
    dataset = built(made).dataset_manifest_id
    data = next((made.folder / "store").glob("*/ofs/datasets/**/*.parquet"))
    data.chmod(0o600)
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    check_answer(ask(capsys, "audit", dataset, "--plane", str(made.folder / "plane.yaml")), 6, "DIGEST_MISMATCH")


@pytest.mark.parametrize(("option", "value", "name"), [("--most-rows", "0", "most_rows"), ("--permutations", "0", "permutations"),
                                                       ("--suspicious", "2", "suspicious"), ("--drifted", "nan", "drifted"),
                                                       ("--seed", "\udcff", "seed")])
def test_limits_that_say_nothing_are_refused(leaking: tuple[SmallPlane, str], option: str, value: str, name: str,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    """A limit outside its bounds is a mistake of the request, named."""
    made, dataset = leaking
    check_answer(ask(capsys, "audit", dataset, option, value, "--plane", str(made.folder / "plane.yaml")), 2, "SCHEMA_INVALID", (name,))
