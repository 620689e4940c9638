"""What a build takes, told by `--profile` and kept by its receipts; and a limit of memory as a user sets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_plane import SmallPlane, make_plane

from offline_feature_plane.__main__ import run

PHASES = {"replay": 200, "labels": 40, "selection": 164, "staging": 164, "publication": 164}


@pytest.fixture
def plane(quick: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """A plane of its own, in which the test stands."""
    made = make_plane(quick / request.node.name)
    monkeypatch.chdir(made.folder)
    return made


def test_a_profile_is_a_line_per_step_and_the_receipts_keep_it(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows, bytes, time, CPU and memory of every phase, as the receipts have them; of planning and kernels the time is known."""
    assert run(["build", "intent.yaml", "--profile", "--json"]) == 0
    told = {line["step"]: line for line in json.loads(capsys.readouterr().out)["profile"]}
    assert list(told) == ["plan", "kernels", *PHASES]
    assert {step: told[step]["rows"] for step in PHASES} == PHASES
    assert set(told["plan"]) == {"step", "seconds"}
    (manifest,) = (json.loads(path.read_text()) for path in plane.manifests())
    for ref in manifest["evidence"]["receipts"]:
        receipt = json.loads((plane.folder / "store" / ref["key"]).read_text())
        assert receipt["cost"] == {name: value for name, value in told[receipt["phase"]].items() if name not in {"step", "seconds"}}
    assert told["staging"]["bytes_written"] > 0
    assert all(told[step]["peak_memory_bytes"] > 10_000_000 and told[step]["cpu_ms"] >= 0 for step in PHASES)


def test_a_profile_is_shown_as_a_table(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """People see the same; without `--profile`, times in one line."""
    assert run(["build", "intent.yaml", "--profile"]) == 0
    shown = capsys.readouterr().out
    assert "peak memory" in shown
    assert all(any(line.startswith(step) for line in shown.splitlines()) for step in PHASES)
    assert run(["build", "intent.yaml"]) == 0
    assert "peak memory" not in capsys.readouterr().out


def test_a_limit_of_memory_is_told_and_changes_no_row(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan warns of what does not fit, the build goes over files, its receipt says so, and computing again in memory agrees."""
    plane.plane["engine"]["memory_limit"] = "100MB"
    plane.documents()
    assert run(["plan", "intent.yaml"]) == 0
    assert "goes over files in the work folder" in " ".join(capsys.readouterr().out.split())
    assert run(["build", "intent.yaml", "--json"]) == 0
    within = json.loads(capsys.readouterr().out)
    (key,) = [ref["key"] for path in plane.manifests() for ref in json.loads(path.read_text())["evidence"]["receipts"]
              if ref["name"] == "replay receipt"]
    execution = json.loads((plane.folder / "store" / key).read_text())["facts"]["execution"]
    assert execution["way"] == "files"
    assert execution["needed_bytes"] > execution["limit_bytes"] == 100_000_000
    assert plane.leftovers() == []
    del plane.plane["engine"]["memory_limit"]
    plane.documents()
    assert run(["build", "intent.yaml", "--recompute", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["outcome"], again["content_digest"]) == ("REPRODUCED", within["content_digest"])
