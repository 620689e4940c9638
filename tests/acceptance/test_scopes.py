"""Several topics and several scenario runs in one basis: what is read, what is left out, and how both are recorded (`decisions.md` D17)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from answers import ask, check_answer
from small_plane import SmallPlane, chargebacks, make_plane, transactions

from offline_feature_plane.__main__ import run
from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.plane import open_plane
from offline_feature_plane.testing.archives import archived, write_archive

TOLD = transactions()
ROWS = range(len(TOLD["tx_id"]))
SCENARIOS = ("base", "stress", "rehearsal")
HALF_HOUR_US = 1_800_000_000
PROFILE: dict[str, Any] = {
    "policy_id": "scopes", "revision": "dev",
    "sources": {"paid": {"event_types": ["transaction"], "fields": {"customer_id": "string", "amount": "decimal(12,2)"}},
                "seen": {"event_types": ["login"], "fields": {"customer_id": "string"}}},
    "feature_groups": [
        {"name": name, "version": "v1", "source": source, "key": "customer_id", "windows": ["lifetime"], "features": {"n": "count()"}}
        for name, source in (("customer", "paid"), ("logins", "seen"))],
    "feature_sets": [{"id": "both", "version": "v1", "groups": ["customer@v1", "logins@v1"]}]}


def scenario(row: int) -> str | None:
    """The scenario run that a payment, and the log-in before it, belong to; some to none."""
    return (*SCENARIOS, None)[row % 4]


@pytest.fixture
def plane(place: Path, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """Payments and log-ins in topics of their own, in one archive; records of three scenario runs and of none, and some of another run."""
    made = make_plane(place / "p")
    records = []
    for row in ROWS:
        at_us, known = parse_instant(TOLD["tx_time"][row].isoformat()), {"scenario_run_id": scenario(row), "offset": row}
        run_id = {"platform_run_id": "other" if row % 50 == 49 else "cards"}
        records += [archived(str(TOLD["tx_id"][row]), at_us, {"customer_id": TOLD["customer_id"][row], "amount": TOLD["amount"][row]},
                             **known, **run_id),
                    archived(f"l{row}", at_us - HALF_HOUR_US, {"customer_id": TOLD["customer_id"][row]}, topic="login", **known, **run_id)]
    write_archive(made.folder / "log", records)
    hit = chargebacks()
    (made.folder / "chargebacks.csv").write_text("tx_id,reported_at,outcome\n" + "".join(
        f"{one},{at.isoformat()},{said}\n" for one, at, said in zip(hit["tx_id"], hit["reported_at"], hit["outcome"], strict=True)))
    made.plane["labels"]["chargeback"]["path"] = "chargebacks.csv"
    del made.plane["events"]
    made.plane["archives"] = {"transaction": {"path": "log"}, "login": {"path": "log"}}
    made.profile = PROFILE
    made.intent = {"rows": "paid", "features": "features.yaml", "identifiers": {"mode": "raw", "reason": "a test"},
                   "label": {"type": "chargeback", "as_of": "2026-03-10", "maturity_days": None, "target": "none"}}
    made.documents()
    monkeypatch.chdir(made.folder)
    return made


def built(capsys: pytest.CaptureFixture[str]) -> tuple[DatasetManifest, list[dict[str, Any]]]:
    """What `ofs build` publishes: its manifest and its rows."""
    status = run(["build", "intent.yaml", "--json"])
    told = capsys.readouterr()
    assert status == 0, told.out + told.err
    dataset = json.loads(told.out)["dataset_manifest_id"]
    with open_plane("plane.yaml") as opened:
        return opened.manifest(dataset), opened.dataset(dataset).to_arrow().to_pylist()


def earlier(row: int, wanted: tuple[str, ...]) -> list[int]:
    """The payments of the same customer before a payment, of some scenario runs; each has a log-in half an hour before it."""
    return [one for one in range(row) if counts(one, wanted) and TOLD["customer_id"][one] == TOLD["customer_id"][row]]


def counts(row: int, wanted: tuple[str, ...]) -> bool:
    """Is a payment of this run, and of these scenario runs, if any are named?"""
    return row % 50 != 49 and (not wanted or scenario(row) in wanted)


@pytest.mark.parametrize("engine", ["local", "oracle"])
@pytest.mark.parametrize("wanted", [(), ("stress",), ("stress", "base")], ids=len)
def test_scenario_runs_bound_history_and_rows(plane: SmallPlane, engine: str, wanted: tuple[str, ...],
                                              capsys: pytest.CaptureFixture[str]) -> None:
    """Windows and rows are of the named scenario runs alone; all else is counted as foreign, and the manifest names runs and topics."""
    plane.plane["engine"] = {"name": engine}
    if wanted:
        plane.intent["scenario_run_ids"] = [*wanted, wanted[0]]
    plane.documents()
    manifest, rows = built(capsys)
    kept = [row for row in ROWS if counts(row, wanted)]
    assert [(int(row["event_id"]) - 1, row["customer__n_lifetime"], row["logins__n_lifetime"]) for row in rows] == [
        (row, len(earlier(row, wanted)), len(earlier(row, wanted)) + 1) for row in kept]
    assert manifest.scenario_run_ids == sorted(wanted)
    assert {name: count for name, count in manifest.core.row_accounting.items() if count} == {
        "foreign_run": 2 * (len(ROWS) - len(kept)), "context": len(kept), "row": len(kept)}
    assert [entry["topic"] for entry in manifest.replay_basis] == ["login", "transaction"]
    assert manifest.core.replay.get("scenarios", {}) == {
        name: 2 * sum(counts(row, (name,)) for row in ROWS) for name in sorted(wanted)}
    assert run(["show", manifest.dataset_manifest_id]) == 0
    assert ("scenario runs  base (" in capsys.readouterr().out) == (len(wanted) > 1)


def test_a_scenario_run_without_a_record_is_told(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """One of several that no record has is not passed over in silence: it counts none, and the build warns."""
    plane.intent["scenario_run_ids"] = ["base", "stres"]
    plane.documents()
    manifest, _ = built(capsys)
    assert manifest.core.replay["scenarios"]["stres"] == 0
    assert "no record of the basis is of the scenario run stres." in manifest.core.warnings


def test_each_choice_of_scenario_runs_is_a_dataset(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """The order of scenario runs, and saying one twice, means nothing; another choice is another dataset, and so is another basis."""
    found = []
    for wanted in (["base", "stress"], ["stress", "base", "base"], ["base"], None):
        plane.intent["scenario_run_ids"] = wanted
        plane.documents()
        found.append(built(capsys)[0].dataset_manifest_id)
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_scopes_that_hold_nothing_or_say_nothing_are_refused(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A scenario run that no record has leaves no event; one that is no name, and a topic that the plane has not, are told at once."""
    plane.intent["scenario_run_ids"] = ["nowhere"]
    plane.documents()
    check_answer(ask(capsys, "build", "intent.yaml"), 3, "REPLAY_EVENTS_EMPTY", ("login, transaction",))
    plane.intent["scenario_run_ids"] = ["base", "no spaces", 7]
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "RUN_SCOPE_INVALID", ("scenario_run_ids[1]", "scenario_run_ids[2]"))
    del plane.intent["scenario_run_ids"]
    plane.intent["filters"] = {"country": "FR"}
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "SCHEMA_INVALID", ("$.filters: there are no filters", "`where`"))
    del plane.intent["filters"]
    plane.intent["replay_basis"] = [{"topic": "logins", "from_utc": "2026-01-01", "to_utc": "2026-01-02"}]
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "BASIS_UNRESOLVED", ("no topic 'logins'", "login"))


def test_a_topic_that_the_basis_leaves_out_is_not_read(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """An archive's topic may hold events of every type, so that a basis of one is a basis; what is not in it is no history."""
    with open_plane("plane.yaml") as opened:
        entries = opened.plan("intent.yaml").document()["pins"]["intent"]["replay_basis"]
    plane.intent["replay_basis"] = [entry for entry in entries if entry["topic"] == "transaction"]
    plane.documents()
    manifest, rows = built(capsys)
    assert {row["logins__n_lifetime"] for row in rows} == {0}
    assert [entry["topic"] for entry in manifest.replay_basis] == ["transaction"]


def test_a_basis_of_tables_has_every_table_that_features_read(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A table holds events of one type: a basis without it would make features of nothing, and is refused with the table's name."""
    plane.plane["events"] = {"transaction": {"path": "transactions.parquet", "id": "tx_id", "time": "tx_time"},
                             "login": {"path": "transactions.parquet", "id": "tx_id", "time": "tx_time"}}
    del plane.plane["archives"]
    plane.documents()
    with open_plane("plane.yaml") as opened:
        entries = opened.plan("intent.yaml").document()["pins"]["intent"]["replay_basis"]
    plane.intent["replay_basis"] = [entry for entry in entries if entry["topic"] == "transaction"]
    plane.documents()
    check_answer(ask(capsys, "plan", "intent.yaml"), 2, "BASIS_UNRESOLVED", ("reads seen", "Add an entry for login"))
