"""Asking for rows that see only what had arrived: from a table's column to the manifest, and every way in which it can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import open_plane

PAYMENTS = """id,time,seen,card,amount
p1,2026-03-01T10:00:00Z,2026-03-01T10:00:01Z,A,10.00
p3,2026-03-02T09:00:00Z,2026-03-02T11:30:00Z,A,5.50
p4,2026-03-02T10:00:00Z,2026-03-02T10:00:01Z,A,7.25
p5,2026-03-02T12:00:00Z,2026-03-02T12:00:01Z,A,1.00
"""


class Late:
    """A plane with four payments, one of which arrived late."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "labels.csv").write_text("payment,known,says\np1,2026-03-04T00:00:00Z,FRAUD\n")
        (folder / "features.yaml").write_text(
            'fields: {card: string, amount: "decimal(12,2)"}\n'
            "groups: {card: {key: card, windows: [7d], features: {n: count(), total: sum(amount)}}}\n")
        self.table = {"path": "payments.csv", "id": "id", "time": "time", "arrival": "seen"}
        self.write()

    def write(self, payments: str = PAYMENTS, **asked: Any) -> None:
        """The documents as they are to be read now."""
        (self.folder / "payments.csv").write_text(payments)
        labels = {"fraud": {"path": "labels.csv", "event": "payment", "observed": "known", "value": {"column": "says"}}}
        (self.folder / "plane.yaml").write_text(yaml.safe_dump({"plane": "late", "events": {"payment": self.table}, "labels": labels}))
        intent = {"rows": "payment", "features": "features.yaml", "visibility": "arrival",
                  "identifiers": {"mode": "raw", "reason": "a test"},
                  "label": {"type": "fraud", "as_of": "2026-03-10", "maturity_days": None, "target": "none"}}
        (self.folder / "intent.yaml").write_text(yaml.safe_dump(intent | asked))


@pytest.fixture
def late(place: Path, monkeypatch: pytest.MonkeyPatch) -> Late:
    """A plane in which the test stands."""
    monkeypatch.chdir(place)
    return Late(place)


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, Any]:
    """The error of a command that must fail."""
    capsys.readouterr()
    assert run([*command, "--json"]) != 0
    error: dict[str, Any] = json.loads(capsys.readouterr().out)["error"]
    return error


def test_a_dataset_says_what_its_rows_saw(late: Late, capsys: pytest.CaptureFixture[str]) -> None:
    """Both visibilities of one profile are two datasets; each says which it is, and how many rows have hidden events."""
    assert run(["build", "intent.yaml"]) == 0
    late.write(visibility="event_time")
    assert run(["build", "intent.yaml"]) == 0
    with open_plane() as plane:
        told = {manifest.core.replay["visibility"]: manifest for manifest in plane.datasets()}
        counts = {name: plane.dataset(one.dataset_manifest_id).to_arrow(columns=["card__n_7d"]).column(0).to_pylist()
                  for name, one in told.items()}
    assert counts == {"arrival": [0, 1, 1, 3], "event_time": [0, 1, 2, 3]}
    assert {name: one.core.replay["rows_with_hidden_events"] for name, one in told.items()} == {"arrival": 1, "event_time": 0}
    assert "visibility" not in told["event_time"].core.identity
    capsys.readouterr()
    assert run(["show", told["arrival"].dataset_manifest_id]) == 0
    assert "arrival (rows with hidden events: 1)" in capsys.readouterr().out


def test_a_column_that_nobody_reads_is_no_meaning(late: Late) -> None:
    """By event time, whether a table declares its arrivals changes no fingerprint; by arrival, which column it is does."""
    with open_plane() as plane:
        by_arrival = plane.pin("intent.yaml").fingerprint
    late.table["arrival"] = "time"
    late.write()
    with open_plane() as plane:
        assert plane.pin("intent.yaml").fingerprint != by_arrival
    late.write(visibility="event_time")
    with open_plane() as plane:
        declared = plane.pin("intent.yaml").fingerprint
    del late.table["arrival"]
    late.write(visibility="event_time")
    with open_plane() as plane:
        assert plane.pin("intent.yaml").fingerprint == declared


def test_a_worker_builds_what_was_asked(late: Late) -> None:
    """The stamp of the configuration holds for rows by arrival too."""
    assert run(["enqueue", "intent.yaml"]) == 0
    assert run(["worker", "--once"]) == 0
    with open_plane() as plane:
        assert [run.state for run in plane.runs()] == ["DONE"]


def test_without_arrivals_nothing_is_guessed(late: Late, capsys: pytest.CaptureFixture[str]) -> None:
    """No column, an unknown one, one that is no time, a value that is none, an unknown word: each has its code and its place."""
    del late.table["arrival"]
    late.write()
    found = refused(capsys, "plan", "intent.yaml")
    assert (found["code"], found["path"]) == ("ARRIVAL_UNKNOWN", "intent.yaml:11 $.visibility")
    for column, code in (("nowhere", "SOURCE_COLUMN_UNKNOWN"), ("card", "SOURCE_TYPE_MISMATCH")):
        late.table["arrival"] = column
        late.write()
        found = refused(capsys, "plan", "intent.yaml")
        assert (found["code"], found["path"]) == (code, "events.payment.arrival")
    late.table["arrival"] = "seen"
    late.write(visibility="arival")
    assert refused(capsys, "plan", "intent.yaml")["problems"][0]["path"].endswith("$.visibility")
    for harm in ("", "soon"):
        late.write(PAYMENTS.replace("2026-03-02T12:00:01Z", harm))
        for command in ("preview", "build"):
            found = refused(capsys, command, "intent.yaml")
            assert found["code"] in {"EVENT_SCHEMA_MISSING_FIELDS", "REPLAY_EVENT_INVALID"}
            assert (found["path"], found["fields"]["first"]) == ("seen", "payments.csv row 4")
