"""`ofs admit` on real datasets: what fits is admitted, what does not is told with its code, and the exit status says who must act."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from answers import ask, check_answer
from small_plane import SmallPlane, make_plane

import offline_feature_plane as ofs
from offline_feature_plane.__main__ import run
from offline_feature_plane.documents import write_yaml
from offline_feature_plane.plane import Plane, open_plane

PROFILE = {"policy_id": "boosting", "revision": "r1", "feature_set": "default@v1", "resolution_rule": "observed_time<=label_asof_utc"}


@pytest.fixture
def plane(place: Path, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """A plane in which the test stands, with a training profile."""
    made = make_plane(place / "p")
    (made.folder / "training.yaml").write_text(write_yaml(PROFILE))
    monkeypatch.chdir(made.folder)
    return made


def built(plane: SmallPlane) -> tuple[Plane, str]:
    """The plane, opened, and the id of what its intent asks for."""
    plane.documents()
    opened = open_plane("plane.yaml")
    return opened, opened.build("intent.yaml").manifest.dataset_manifest_id


def failed(answer: ofs.Admission) -> list[tuple[str, str | None]]:
    """The checks that failed, with their codes."""
    return [(check.gate, check.reason_code) for check in answer.checks if not check.passed]


def test_a_sound_dataset_is_admitted(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Command and library give one answer; text and JSON tell every check."""
    opened, dm_id = built(plane)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    answer = opened.admit(dm_id, dm_id, profile="training.yaml", execution_start="2026-11-01")
    assert (answer.admitted, answer.exit_status, answer.datasets) == (True, 0, (dm_id,))
    assert opened.admit(dm_id, profile=PROFILE, execution_start="2026-11-01") == answer
    assert run(["admit", dm_id[:8], "--profile", "training.yaml", "--start", "2026-11-01", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer.document()
    assert run(["admit", dm_id]) == 0
    said = capsys.readouterr().out
    assert [line[0] for line in said.splitlines() if line and line[0] in "✓✗"] == ["✓"] * 7
    assert f"{dm_id}: admitted for a training that starts at " in said
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("options", "status", "expected"), [
    (["--run", "shops"], 2, [("run_scope", "RUN_SCOPE_INVALID")]),
    (["--start", "2026-03-09T23:59:59Z"], 4, [("leakage_guard", "LEAKAGE_GUARD_VIOLATION")]),
    (["--profile", "other.yaml"], 4, [("feature_set", "FEATURE_SCHEMA_INCOMPATIBLE"), ("leakage_guard", "LEAKAGE_GUARD_VIOLATION")]),
], ids=["run", "start", "profile"])
def test_what_does_not_fit_is_told(plane: SmallPlane, capsys: pytest.CaptureFixture[str], options: list[str], status: int,
                                   expected: list[tuple[str, str]]) -> None:
    """Each check that fails has its code, and the exit status is that of the first one's family."""
    _, dm_id = built(plane)
    Path("other.yaml").write_text(write_yaml(PROFILE | {"feature_set": "default@v2", "resolution_rule": "latest_observed.v1"}))
    assert run(["admit", dm_id, *options, "--json"]) == status
    answer = json.loads(capsys.readouterr().out)
    assert not answer["admitted"]
    assert [(check["gate"], check["reason_code"]) for check in answer["checks"] if check["verdict"] == "FAIL"] == expected
    assert run(["admit", dm_id, *options]) == status
    assert "NOT ADMITTED" in capsys.readouterr().out


def test_what_was_not_built_for_training_is_not_admitted(plane: SmallPlane) -> None:
    """A dataset for another purpose is refused by its own reasons."""
    plane.intent["non_training_allowed"] = True
    opened, dm_id = built(plane)
    answer = opened.admit(dm_id)
    assert (failed(answer), answer.exit_status) == ([("eligibility", "TRAINING_NOT_READY")], 4)
    assert "built for a purpose other than training" in answer.checks[4].sentences[0]


def test_datasets_of_two_instants_are_not_admitted_together(plane: SmallPlane) -> None:
    """Each alone is fine; together they would mix two states of knowledge. A dataset that was replaced is told."""
    opened, first = built(plane)
    plane.intent["label"]["as_of"] = "2026-03-11T00:00:00Z"
    plane.intent |= {"supersedes": first, "backfill_reason": "later labels"}
    _, second = built(plane)
    assert opened.admit(first).admitted
    assert opened.admit(second).admitted
    assert opened.admit(first).notices == (f"{first} was replaced by {second}: later labels",)
    answer = opened.admit(first, second)
    assert (failed(answer), answer.datasets) == ([("leakage_guard", "LEAKAGE_GUARD_VIOLATION")], (first, second))


def test_a_retired_dataset_is_not_admitted(plane: SmallPlane) -> None:
    """What was retired is refused, with when and why, whether or not its data is kept."""
    opened, dm_id = built(plane)
    opened.retire(dm_id, reason="labels of the wrong year")
    answer = opened.admit(dm_id)
    assert (failed(answer), answer.exit_status) == ([("standing", "DATASET_RETIRED")], 5)
    assert "labels of the wrong year" in answer.checks[5].sentences[0]


def test_a_changed_manifest_is_not_believed(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Who writes another as-of into a manifest does not get it admitted; who damages the fact of a retirement does not hide it."""
    opened, dm_id = built(plane)
    (path,) = plane.manifests()
    sound = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(sound.replace(b"2026-03-10", b"2026-03-01"))
    check_answer(ask(capsys, "admit", dm_id), 6, "DIGEST_MISMATCH", (dm_id,))
    path.write_bytes(sound)
    opened.retire(dm_id, reason="wrong")
    (fact,) = plane.folder.rglob(f"retired/{dm_id}.json")
    fact.chmod(0o644)
    fact.write_bytes(fact.read_bytes().replace(b"wrong", b"right"))
    check_answer(ask(capsys, "admit", dm_id), 6, "DIGEST_MISMATCH")


@pytest.mark.parametrize(("arguments", "code", "words"), [
    ([], "MANIFEST_REF_MISSING", ("without a dataset", "dm_…")),
    ([""], "DATASET_NOT_FOUND", ("no dataset was given",)),
    (["dm_0000"], "DATASET_NOT_FOUND", ("dm_0000",)),
    (["dm_", "--start", "tomorrow"], "SCHEMA_INVALID", ("execution_start", "tomorrow")),
    (["dm_", "--profile", "none.yaml"], "REF_NOT_FOUND", ("none.yaml",)),
    (["dm_", "--profile", "bad.yaml"], "SCHEMA_INVALID", ("bad.yaml:2", "$.feature_sets", "id@version", "$.resolution_rule")),
], ids=["none", "blank", "unknown", "start", "no profile", "bad profile"])
def test_a_mistake_in_asking_is_told(plane: SmallPlane, capsys: pytest.CaptureFixture[str], arguments: list[str], code: str,
                                     words: tuple[str, ...]) -> None:
    """A missing dataset, a malformed start or profile: its code, its place and what to do."""
    built(plane)
    Path("bad.yaml").write_text("policy_id: p\nfeature_sets: default@v1\nrevision: r1\nfeature_set: default\n")
    said = ask(capsys, "admit", *arguments)
    check_answer(said, 3 if code == "REF_NOT_FOUND" else 2, code, words)
