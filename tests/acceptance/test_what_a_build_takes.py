"""What a build takes, told by `--profile` and kept by its receipts; and a limit of memory as a user sets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_plane import SmallPlane, make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.errors import DigestMismatch, TargetDegenerate

PHASES = {"replay": 200, "labels": 40, "selection": 164, "staging": 164, "publication": 164}


@pytest.fixture
def plane(session_folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """A plane of its own, in which the test stands."""
    made = make_plane(session_folder / request.node.name)
    monkeypatch.chdir(made.folder)
    return made


def test_a_profile_is_a_line_per_step_and_the_receipts_keep_it(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows, bytes, time, CPU and memory of every phase, as the receipts have them; of planning and kernels the time is known."""
    assert run(["build", "intent.yaml", "--profile", "--json"]) == 0
    told = {line["step"]: line for line in json.loads(capsys.readouterr().out)["profile"]}
    assert list(told) == ["plan", "kernels", *PHASES]
    assert {step: told[step]["rows"] for step in PHASES} == PHASES
    assert set(told["plan"]) == {"step", "status", "seconds"}
    (manifest,) = (json.loads(path.read_text()) for path in plane.manifests())
    for ref in manifest["evidence"]["receipts"]:
        receipt = json.loads((plane.folder / "store" / ref["key"]).read_text())
        beside = {"step", "status", "seconds"}
        assert receipt["cost"] == {name: value for name, value in told[receipt["phase"]].items() if name not in beside}
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


def test_a_build_that_fails_tells_what_ran_up_to_there(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """The table comes before the error, on stderr, with the failed phase; a machine finds it in the error; planning alone tells nothing."""
    plane.intent["label"]["positive"] = ["STOLEN"]  # nobody says so: one class only, which selection finds
    plane.documents()
    assert run(["build", "intent.yaml", "--profile"]) == TargetDegenerate.exit_status
    said = capsys.readouterr()
    table, _, error = said.err.partition("error TARGET_DEGENERATE")
    assert said.out == ""
    assert error
    assert [line.split("  ")[0] for line in table.splitlines()] == ["step", "plan", "kernels", "replay", "labels", "selection (failed)"]
    assert run(["build", "intent.yaml", "--profile", "--json"]) == TargetDegenerate.exit_status
    phases = json.loads(capsys.readouterr().out)["error"]["fields"]["profile"][2:]
    assert [(line["step"], line["status"]) for line in phases] == [("replay", "COMPLETE"), ("labels", "COMPLETE"), ("selection", "FAILED")]
    assert run(["build", "intent.yaml"]) == TargetDegenerate.exit_status
    assert "peak memory" not in capsys.readouterr().err
    plane.intent["rows"] = "nothing"
    plane.documents()
    assert run(["build", "intent.yaml", "--profile"]) == 2
    assert "peak memory" not in capsys.readouterr().err


def test_what_a_worker_took_is_shown_by_its_run(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever worked on a run, and however it ended: its receipts tell what each phase took in each attempt; a harmed one is refused."""
    assert run(["enqueue", "intent.yaml", "--json"]) == 0
    key = json.loads(capsys.readouterr().out)["run_key"]
    assert run(["run", key, "--profile"]) == 0
    assert "No phase of this run has left a receipt." in capsys.readouterr().out
    assert run(["worker", "--once"]) == 0
    capsys.readouterr()
    assert run(["run", key, "--profile", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)["profile"]
    assert {line["step"]: line["rows"] for line in lines} == PHASES
    assert {(line["attempt"], line["status"]) for line in lines} == {(1, "COMPLETE")}
    assert run(["run", key, "--profile"]) == 0
    assert "attempt 1\nstep " in capsys.readouterr().out
    assert run(["run", key, "--json"]) == 0
    assert "profile" not in json.loads(capsys.readouterr().out)
    (receipt,) = (plane.folder / "store").glob(f"*/ofs/receipts/{key}/1/replay.json")
    receipt.chmod(0o600)
    receipt.write_bytes(receipt.read_bytes().replace(b'"rows":200', b'"rows":201'))
    assert run(["run", key, "--profile"]) == DigestMismatch.exit_status
    assert "DIGEST_MISMATCH" in capsys.readouterr().err


def test_the_peak_is_of_this_process() -> None:
    """What the process had that started this one, a notebook or a scheduler, is not counted as ours."""
    held = b"x" * 400_000_000
    peak = subprocess.run([sys.executable, "-c", "from offline_feature_plane.adapters import spent; print(spent().peak_bytes)"],
                          capture_output=True, check=True, text=True).stdout
    assert 5_000_000 < int(peak) < len(held)


def test_a_limit_of_memory_is_told_and_changes_no_row(plane: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan warns of what does not fit, the build goes over files, its receipt says so, and computing again in memory agrees."""
    plane.plane["engine"]["memory_limit"] = "100MB"
    plane.documents()
    assert run(["plan", "intent.yaml"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "goes over files in the work folder" in told
    assert "no build of this feature set takes less than about 0." in told
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
