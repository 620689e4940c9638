"""The other side of an event: one archive, read a second time under another name, whose source finds the key elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from answers import ask, check_answer
from small_plane import SmallPlane, make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import open_plane
from offline_feature_plane.testing.archives import archived, write_archive

HOUR_US, START_US, TRANSFERS = 3_600_000_000, 1_767_225_600_000_000, 60
SIDES = [(f"A{i % 5}", f"A{(3 * i + 1) % 5}") for i in range(TRANSFERS)]
PROFILE = {
    "policy_id": "transfers.features", "revision": "r1",
    "sources": {
        "paid": {"event_types": ["transfer"], "fields": {"account": {"type": "string", "path": "payer"}}},
        "received": {"event_types": ["receipt"], "fields": {"account": {"type": "string", "path": "payee"},
                                                            "payer": {"type": "string", "identifier": "account"}}}},
    "feature_groups": [
        {"name": "income", "version": "v1", "source": "received", "key": ["account"], "windows": ["1d"], "where": "account != payer",
         "features": {"n": "count()", "payers": "distinct(payer)"}}],
    "feature_sets": [{"id": "both", "version": "v1", "groups": ["income@v1"]}]}


@pytest.fixture
def plane(place: Path, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """An archive of a transfer an hour between five accounts."""
    made = make_plane(place / "p")
    write_archive(made.folder / "log", [
        archived(str(i), START_US + i * HOUR_US, {"payer": payer, "payee": payee}, offset=i, topic="transfer", platform_run_id="cards")
        for i, (payer, payee) in enumerate(SIDES)], per_segment=25)
    del made.plane["events"]
    made.plane["archives"] = {"transfer": {"path": "log"}, "receipt": {"path": "log", "topic": "transfer"}}
    made.profile = PROFILE
    made.intent = {"rows": "paid", "features": "features.yaml",
                   "label": {"type": "chargeback", "as_of": "2026-03-10", "maturity_days": None, "target": "none"},
                   "identifiers": {"mode": "raw", "reason": "a test"}}
    made.documents()
    monkeypatch.chdir(made.folder)
    return made


def received(row: int, days: int = 1) -> list[int]:
    """The transfers of others that the payer of a transfer had received in the days before it."""
    return [i for i in range(row) if SIDES[i][1] == SIDES[row][0] != SIDES[i][0] and row - i < 24 * days]


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_an_account_sees_what_it_had_received(plane: SmallPlane, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are of the one side and windows of the other; both readings stand in the basis, and all of both is accounted for."""
    plane.plane["engine"] = {"name": engine}
    plane.documents()
    assert run(["build", "intent.yaml", "--json"]) == 0
    dataset = json.loads(capsys.readouterr().out)["dataset_manifest_id"]
    with open_plane("plane.yaml") as opened:
        rows = opened.dataset(dataset).to_arrow().sort_by("ts").to_pylist()
        manifest = opened.manifest(dataset)
    assert [row["income__n_1d"] for row in rows] == [len(received(i)) for i in range(TRANSFERS)]
    assert [row["income__payers_1d"] for row in rows] == [len({SIDES[one][0] for one in received(i)}) for i in range(TRANSFERS)]
    assert sum(row["income__n_1d"] for row in rows) > TRANSFERS
    assert manifest.core.row_accounting["row"] == manifest.core.row_accounting["context"] == TRANSFERS
    assert {entry["topic"] for entry in manifest.replay_basis} == {"transfer", "receipt"}


def test_what_cannot_be_meant_is_refused_in_the_settings(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A type is taken only from another topic; a topic that the archive has not is named with those that it has."""
    plane.plane["archives"]["receipt"] = {"path": "log", "event_type": "transfer"}
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "SETTINGS_INVALID", ("archives.receipt", "add `topic:`"))
    plane.plane["archives"]["receipt"] = {"path": "log", "topic": "transfers"}
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 3, "SOURCE_UNREADABLE", ("no segment of transfers", "its topics: transfer"))
