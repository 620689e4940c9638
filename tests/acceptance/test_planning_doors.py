"""What planning asks of event sources and label stores, what it tells of them, and what a refused basis leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archive_plane import edit_index, make_archive_plane
from small_plane import EVENT_SCHEMA, SmallPlane, as_jsonl, make_plane, transactions

from offline_feature_plane.__main__ import run
from offline_feature_plane.errors import ReplayBasisGap, SelectorUnresolved, SourceColumnUnknown, TruthFieldAsFeature
from offline_feature_plane.plane import open_plane
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource

# --- what is told -------------------------------------------------------------------------------------------


def test_events_and_labels_of_one_name_are_both_told(place: Path) -> None:
    """The manifest lists every source with its kind: a table and a timeline of the same name are two."""
    plane = make_plane(place / "p")
    plane.plane["events"] = {"fraud": plane.plane["events"]["transaction"]}
    plane.plane["labels"] = {"fraud": plane.plane["labels"]["chargeback"]}
    plane.intent["rows"] = "fraud"
    plane.intent["label"]["type"] = "fraud"
    plane.profile["groups"]["terminal"]["features"]["risk"] = "label_rate(fraud, CHARGEBACK)"
    plane.documents()
    opened = open_plane(place / "p/plane.yaml")
    built = opened.build(plane.intent_path)
    told = [(one.kind, one.name, one.read_by, one.files) for one in built.manifest.evidence.sources]
    assert told == [("plain_table", "fraud", "files@1", ["transactions.parquet"]), ("labels", "fraud", "files@1", ["chargebacks.parquet"])]
    assert len({one.log_id for one in built.manifest.evidence.sources}) == 2
    assert not opened.build(plane.intent_path).notices[1:]  # but for the unversioned profile, nothing has changed


def test_sources_and_stores_are_evidence_and_never_in_the_core(place: Path) -> None:
    """Which adapter read the events is no part of what they mean."""
    plane = make_archive_plane(place / "p")
    built = open_plane(place / "p/plane.yaml").build(plane.intent_path)
    assert [one.read_by for one in built.manifest.evidence.sources] == ["archive@1", "files@1"]
    assert not [name for name in built.manifest.core.registered if "archive" in name or "files" in name]
    assert (built.manifest.core.eligibility.complete, built.manifest.core.eligibility.evidence_kind) == (True, "log_offsets")


class Bus(ArchiveSource):
    """A source of another kind, as a plug-in would bring it."""

    name = "bus"
    version = "7"


def test_a_new_kind_of_source_is_a_class_and_a_registration(place: Path) -> None:
    """Planning and both engines take whatever speaks through the doors; the question keeps its meaning."""
    plane = make_archive_plane(place / "p")
    one, other = (open_plane(place / "p/plane.yaml") for _ in range(2))
    other.inputs.event_sources = (Bus({"transaction": ArchiveMapping(place / "p/archive")}),)
    mine, theirs = one.plan(plane.intent_path), other.plan(plane.intent_path)
    assert theirs.plan.sources[0].read_by == "bus@7"
    assert theirs.plan.pins == mine.plan.pins
    assert other.preview(plane.intent_path).table == one.preview(plane.intent_path).table


def test_a_plain_table_has_no_log_time(place: Path) -> None:
    """A selector over a plain table is unresolved (`decisions.md` D16), a range of it is covered by nothing."""
    plane = make_plane(place / "p")
    plane.intent["replay_basis"] = [{"topic": "transaction", "from_utc": "2026-01-01", "to_utc": "2026-02-01"}]
    plane.documents()
    with pytest.raises(SelectorUnresolved, match="plain table"):
        open_plane(place / "p/plane.yaml").plan(plane.intent_path)
    plane.intent["replay_basis"] = [{"topic": "transaction", "partition": 0, "offset_kind": "file_line", "log_id": "x",
                                     "start_offset": "0", "end_offset": "9"}]
    plane.documents()
    with pytest.raises(ReplayBasisGap):
        open_plane(place / "p/plane.yaml").plan(plane.intent_path)


def as_csv(columns: Mapping[str, list[Any]]) -> str:
    """Columns as CSV text."""
    rows = ([one.isoformat() if isinstance(one, datetime) else str(one) for one in row] for row in zip(*columns.values(), strict=True))
    return "".join(",".join(row) + "\n" for row in [list(columns), *rows])


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("used", ["by a feature", "by a group's condition", "by the rows' condition"])
def test_a_field_without_a_column_is_known_while_planning(form: str, used: str, place: Path) -> None:
    """A field that no column of the events can give is refused by `plan` already, with the column's name, and no run is opened."""
    plane = make_plane(place / "p")
    if form != "parquet":
        (plane.folder / f"tx.{form}").write_text(as_csv(transactions()) if form == "csv" else as_jsonl(transactions()))
        plane.plane["events"]["transaction"]["path"] = f"tx.{form}"
    plane.profile["fields"]["country"] = {"type": "string", "path": "land"}
    if used == "by a feature":
        plane.profile["groups"]["customer"]["features"]["countries"] = "distinct(country)"
    elif used == "by a group's condition":
        plane.profile["groups"]["customer"]["where"] = "country == 'DE'"
    else:
        plane.intent["where"] = "country == 'DE'"
    plane.documents()
    opened = open_plane(place / "p/plane.yaml")
    for ask in (opened.plan, opened.preview, opened.build):
        with pytest.raises(SourceColumnUnknown, match="land") as refused:
            ask(plane.intent_path)
        assert refused.value.exit_status == 2
    assert not opened.runs()
    assert plane.manifests() == []


# --- truth --------------------------------------------------------------------------------------------------


def with_truth(plane: SmallPlane, path: Path) -> None:
    """Events that carry their own answer, and a profile that reads it."""
    told = transactions()
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = EVENT_SCHEMA.append(pa.field("is_fraud", pa.int64()))
    pq.write_table(pa.table({**told, "is_fraud": [int(one % 5 == 0) for one in range(len(told["tx_id"]))]}, schema=schema), path)
    plane.profile["fields"]["is_fraud"] = "int64"
    plane.profile["groups"]["customer"]["features"]["told"] = "sum(is_fraud)"


def labels_in(path: str) -> dict[str, Any]:
    """A timeline that takes its labels from a column of the events."""
    return {"path": path, "event": "tx_id", "observed": {"after_event": "3d"}, "time": "tx_time",
            "value": {"column": "is_fraud", 0: "LEGIT", 1: "CHARGEBACK"}}


def a_file_in_the_folder(plane: SmallPlane) -> None:
    """Events are a folder, labels one file in it."""
    with_truth(plane, plane.folder / "events/part.parquet")
    plane.plane["events"]["transaction"]["path"] = "events"
    plane.plane["labels"]["chargeback"] = labels_in("events/part.parquet")


def the_folder_of_the_file(plane: SmallPlane) -> None:
    """Events are one file, labels the folder that holds it."""
    with_truth(plane, plane.folder / "events/part.parquet")
    plane.plane["events"]["transaction"]["path"] = "events/part.parquet"
    plane.plane["labels"]["chargeback"] = labels_in("events")


def a_link(plane: SmallPlane) -> None:
    """Labels are a link to the events."""
    with_truth(plane, plane.folder / "transactions.parquet")
    (plane.folder / "other.parquet").symlink_to(plane.folder / "transactions.parquet")
    plane.plane["labels"]["chargeback"] = labels_in("other.parquet")


def another_spelling(plane: SmallPlane) -> None:
    """The same file by a roundabout way."""
    with_truth(plane, plane.folder / "transactions.parquet")
    plane.plane["labels"]["chargeback"] = labels_in("../p/./transactions.parquet")


def of_another_type(plane: SmallPlane) -> None:
    """A timeline that this intent does not ask for."""
    with_truth(plane, plane.folder / "transactions.parquet")
    plane.plane["labels"]["another"] = labels_in("transactions.parquet")


@pytest.mark.parametrize("arrange", [a_file_in_the_folder, the_folder_of_the_file, a_link, another_spelling, of_another_type])
def test_truth_is_known_by_its_file_however_it_is_named(arrange: Callable[[SmallPlane], None], place: Path) -> None:
    """A column that labels are taken from is no field, wherever and however its file is mapped (`decisions.md` D26)."""
    plane = make_plane(place / "p")
    arrange(plane)
    plane.documents()
    with pytest.raises(TruthFieldAsFeature, match="is_fraud"):
        open_plane(place / "p/plane.yaml").plan(plane.intent_path)


def test_a_timeline_that_is_not_there_disturbs_nobody(place: Path) -> None:
    """A mapped timeline that an intent does not use may be missing."""
    plane = make_plane(place / "p")
    plane.plane["labels"]["another"] = labels_in("nowhere.parquet")
    plane.documents()
    assert open_plane(place / "p/plane.yaml").plan(plane.intent_path).gates[0].passed


# --- a refused basis ----------------------------------------------------------------------------------------


def test_a_refused_basis_leaves_its_receipt_and_no_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error carries the whole receipt; a build keeps it once per state of the evidence; a plan writes nothing (§1.4, D6).

    basis      [0 ─────────────────────────── 200)
    segments   [0 ── 50)        [100 ── 150)[150 ── 200)
    """
    plane = make_archive_plane(place / "p")
    assert run(["pin", str(plane.intent_path)]) == 0
    plane.intent_path.write_text(capsys.readouterr().out)
    edit_index(plane, lambda segments: segments.pop(1))  # offsets 50 to 99 have no evidence
    said = {}
    for command in ("plan", "preview", "build", "build"):
        assert run([command, str(plane.intent_path), "--json"]) == 3
        said[command] = json.loads(capsys.readouterr().out)["error"]
        if command != "build":
            assert not (place / "p/store").exists()
            assert "completeness_ref" not in said[command]["fields"]
    receipt = said["build"]["fields"]["completeness"]
    assert said["plan"]["fields"]["completeness"] == receipt
    assert (receipt["status"], receipt["evidence_kind"], receipt["totals"]["gaps"]) == ("INCOMPLETE", "archive_chain", 1)
    assert [(one["start_offset"], one["end_offset"]) for one in receipt["anomalies"]] == [("50", "100")]
    (kept,) = (place / "p/store/cards/ofs/receipts").rglob("*.json")
    assert str(kept) == said["build"]["fields"]["completeness_ref"].removeprefix("file://")
    assert json.loads(kept.read_bytes()) == receipt
    assert not open_plane(place / "p/plane.yaml").runs()


def test_a_store_that_fails_does_not_hide_the_refusal(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the receipt cannot be kept, the asker still hears why the basis was refused."""
    plane = make_archive_plane(place / "p")
    assert run(["pin", str(plane.intent_path)]) == 0
    plane.intent_path.write_text(capsys.readouterr().out)
    edit_index(plane, lambda segments: segments.pop(1))  # offsets 50 to 99 have no evidence
    (place / "p/store").write_text("no folder")
    with pytest.raises(ReplayBasisGap) as refused:
        open_plane(place / "p/plane.yaml").build(plane.intent_path)
    assert refused.value.fields["completeness"]["status"] == "INCOMPLETE"
    assert "completeness_ref" not in refused.value.fields
