"""`kill -9` at chosen points of a build: the same command brings the run to its one end, and nothing half is ever seen."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from processes import Processes
from small_plane import SmallPlane, chargebacks, make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.plane import SystemClock

BUILD = ("build", "intent.yaml", "--json")

# Where a build can be, in the order of its way:
#   submit ─ claim ─ plan pinned ─ replay ─ labels ─ selection ─ rows ─ upload ─ staged manifest ─ vow ─ manifest ─ pointer ─ DONE
CHOSEN = [
    "before:ledger.submit_unnamed::1",
    "after:ledger.submit_unnamed::1",
    "before:transaction.change:insert_event:2",   # within the transaction of the claim
    "after:ledger.claim::1",
    "after:store.put_new:/plans/:1",
    "before:store._settled:/replay.json:1",       # the name is there, its folder not synced
    "after:session.labels::1",
    "before:session.select::1",
    "after:parts.write::1",
    "after:store.put_file:.parquet:1",
    "before:store.put_file:column-digests:1",
    "before:store.put_new:/datasets/:1",          # all data stands, the staged manifest does not
    "after:store.put_new:/datasets/:1",
    "before:store.put_new:/commits/:1",
    "after:store.put_new:/commits/:1",
    "before:store._settled:/manifests/:1",
    "after:store.put_new:/manifests/:1",
    "after:store.put_new:by_id/:1",
    "before:transaction.change:leave_running:1",  # within the transaction of DONE
    "after:ledger.done::1",
]
OFTEN = [f"{when}:{method}::{number}" for when in ("before", "after")
         for method, count in (("store.put_new", 10), ("store._settled", 12), ("store.put_file", 2), ("ledger.note", 5),
                               ("ledger.claim", 1), ("ledger.done", 1), ("transaction.change", 14), ("store.exists", 2),
                               ("engine.session", 1),
                               ("session.replay", 1), ("session.labels", 1), ("session.select", 1), ("session.columns", 1),
                               ("session.rows", 1), ("parts.finish", 1))
         for number in range(1, count + 1)]


@dataclass(frozen=True)
class Undisturbed:
    """A complete plane that was never built, and the manifest that a build without any trouble gives."""

    folder: Path
    manifest: dict[str, Any]


@pytest.fixture(scope="session")
def undisturbed(session_folder: Path, processes: Processes) -> Undisturbed:
    """The data and what an undisturbed build makes of it."""
    made = make_plane(session_folder / "undisturbed")
    fresh = session_folder / "fresh"
    shutil.copytree(made.folder, fresh)
    assert processes.call(made.folder, *BUILD) == 0
    (path,) = made.manifests()
    return Undisturbed(fresh, json.loads(path.read_bytes()))


@pytest.fixture
def plane(session_folder: Path, undisturbed: Undisturbed, request: pytest.FixtureRequest) -> SmallPlane:
    """A plane of its own for each test."""
    folder = session_folder / f"p{abs(hash(request.node.nodeid))}"
    shutil.copytree(undisturbed.folder, folder)
    return SmallPlane(folder)


def ledger_of(plane: SmallPlane) -> SqliteLedger:
    """The plane's ledger."""
    return SqliteLedger(plane.folder / "ledger.sqlite", SystemClock())


def check_whole(plane: SmallPlane, undisturbed: Undisturbed, *, runs: int = 1) -> None:
    """One dataset as an undisturbed build makes it; every run DONE with one vow and an unbroken history; no leftovers."""
    (path,) = plane.manifests()
    manifest = json.loads(path.read_bytes())
    assert manifest["core"] == undisturbed.manifest["core"]
    assert manifest["core"]["content_digest"] == undisturbed.manifest["core"]["content_digest"]
    ledger = ledger_of(plane)
    found = ledger.runs()
    assert [one.state for one in found] == ["DONE"] * runs
    for one in found:
        ledger.events(one.run_key)
    vows = sorted((plane.folder / "store/cards/ofs/commits").iterdir())
    assert [vow.stem for vow in vows] == sorted(one.run_key for one in found)
    assert all(json.loads(vow.read_bytes())["outcome"] == "commit" for vow in vows)
    assert list((plane.folder / "work").iterdir()) == []
    assert run(["verify", manifest["dataset_manifest_id"], "--plane", str(plane.folder / "plane.yaml"), "--json"]) == 0


class Watcher:
    """Looks at the store all the time: whoever can see a manifest can see all of its bytes."""

    def __init__(self, plane: SmallPlane) -> None:
        self.plane, self.looks, self.wrong = plane, 0, []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert self.looks > 0
        assert self.wrong == []

    def _look(self) -> None:
        while not self._over.wait(0.001):
            self.looks += 1
            for path in self.plane.manifests():
                evidence = json.loads(path.read_bytes())["evidence"]
                for part in evidence["parts"]:
                    file = self.plane.folder / "store" / part["key"]
                    if not file.is_file() or file.stat().st_size != part["size_bytes"]:
                        self.wrong.append(part["key"])
            for pointer in (self.plane.folder / "store/by_id").glob("*.json"):
                if not (self.plane.folder / "store" / json.loads(pointer.read_bytes())["manifest_key"]).is_file():
                    self.wrong.append(pointer.name)


def check_killed_build_goes_on(point: str, plane: SmallPlane, processes: Processes, undisturbed: Undisturbed) -> None:
    """Kill a build at a point, then ask again, twice."""
    with Watcher(plane):
        assert processes.call(plane.folder, *BUILD, point=point) == -signal.SIGKILL
        assert processes.call(plane.folder, *BUILD, name="again") == 0, (plane.folder / "stdout.again").read_text()
        check_whole(plane, undisturbed)
        assert processes.call(plane.folder, *BUILD, name="third") == 0
    assert json.loads((plane.folder / "stdout.third").read_text())["outcome"] == "ALREADY_PUBLISHED"
    check_whole(plane, undisturbed)


@pytest.mark.parametrize("point", [*CHOSEN[::2], *(pytest.param(point, marks=pytest.mark.long) for point in CHOSEN[1::2])])
def test_a_killed_build_is_finished_by_the_same_command(point: str, plane: SmallPlane, processes: Processes,
                                                        undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever a build is killed, the same command ends the run DONE with the dataset of an undisturbed build."""
    check_killed_build_goes_on(point, plane, processes, undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("point", OFTEN)
def test_a_build_killed_anywhere_is_finished(point: str, plane: SmallPlane, processes: Processes, undisturbed: Undisturbed,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    """The same at every put, every ledger verb and every statement."""
    check_killed_build_goes_on(point, plane, processes, undisturbed)


@pytest.mark.parametrize(("first", "second"), [("after:store.put_file:.parquet:1", "after:store.put_new:/commits/:1"),
                                               ("after:store.put_new:/commits/:1", "before:store.put_new:/manifests/:1"),
                                               ("after:store.put_new:/datasets/:1", "before:ledger.done::1")])
def test_a_build_killed_twice_is_finished(first: str, second: str, plane: SmallPlane, processes: Processes, undisturbed: Undisturbed,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that takes over a dead one's run may die as well."""
    with Watcher(plane):
        assert processes.call(plane.folder, *BUILD, point=first) == -signal.SIGKILL
        assert processes.call(plane.folder, *BUILD, point=second) == -signal.SIGKILL
        assert processes.call(plane.folder, *BUILD) == 0
    check_whole(plane, undisturbed)
    assert ledger_of(plane).runs()[0].attempt == 3


@pytest.mark.long
@pytest.mark.parametrize("first", CHOSEN)
@pytest.mark.parametrize("second", CHOSEN)
def test_a_build_killed_at_any_two_points_is_finished(first: str, second: str, plane: SmallPlane, processes: Processes,
                                                      undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]) -> None:
    """The second point may lie behind what the first worker finished; then the second build simply ends."""
    with Watcher(plane):
        assert processes.call(plane.folder, *BUILD, point=first) == -signal.SIGKILL
        assert processes.call(plane.folder, *BUILD, point=second) in {-signal.SIGKILL, 0}
        assert processes.call(plane.folder, *BUILD) == 0
    check_whole(plane, undisturbed)


def test_a_plain_process_is_killed_and_a_plain_one_goes_on(plane: SmallPlane, undisturbed: Undisturbed, processes: Processes,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    """What holds for forked processes holds for `ofs` started by a shell."""
    assert processes.call(plane.folder, *BUILD, point="after:store.put_new:/commits/:1") == -signal.SIGKILL
    ended = subprocess.run([sys.executable, "-m", "offline_feature_plane", *BUILD], cwd=plane.folder, capture_output=True, text=True,
                           check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["outcome"] == "PUBLISHED"
    check_whole(plane, undisturbed)


def test_a_worker_nobody_can_look_for_is_waited_for(plane: SmallPlane, processes: Processes, undisturbed: Undisturbed,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    """A dead worker of another machine has its run until its lease ends, and no longer.

        claim ─── killed                    taken over
          ├───────── lease 1.5 s ──────────┤──▶ DONE

    Nothing is known of a worker's life there, so nothing but the lease decides.
    """
    began = time.monotonic()
    assert processes.call(plane.folder, *BUILD, point="after:store.put_new:/plans/:1", worker="elsewhere:1", lease_us=1_500_000) == -9
    assert processes.call(plane.folder, *BUILD, lease_us=3_000_000) == 0
    assert time.monotonic() - began > 1.4
    check_whole(plane, undisturbed)
    kinds = [event.details.get("reason_code") for event in ledger_of(plane).events(ledger_of(plane).runs()[0].run_key)]
    assert "WORKER_DIED" not in kinds


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("point", ["before:engine.session::1", "before:store.put_new:/labels.json:1", "before:store.put_new:/manifests/:1"])
def test_an_interrupted_build_gives_its_run_back(number: int, status: int, point: str, plane: SmallPlane, processes: Processes,
                                                 undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with 130 and a polite kill with 143; the run is free at once, and the same command goes on."""
    pid = processes.start(plane.folder, *BUILD, point=point, pause=True)
    while not (plane.folder / "paused").exists():
        time.sleep(0.01)
    os.kill(pid, number)
    assert processes.wait(pid) == status
    told = json.loads((plane.folder / "stdout.build").read_text())
    assert told["error"]["exit_status"] == status
    assert "same command again to continue" in told["error"]["what"]
    assert "Traceback" not in (plane.folder / "stderr.build").read_text()
    (found,) = ledger_of(plane).runs()
    assert found.state in {"QUEUED", "PUBLISH_PENDING"}
    assert list((plane.folder / "work").iterdir()) == []
    assert processes.call(plane.folder, *BUILD) == 0
    check_whole(plane, undisturbed)


def test_two_processes_of_one_intent_answer_with_one_dataset(plane: SmallPlane, processes: Processes, undisturbed: Undisturbed,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever comes second waits for the first and answers with its dataset.

        first   claim ──── paused ──── publish ─ DONE
        second        busy … busy … busy … busy ──▶ the same dataset

    Both speak of one run.
    """
    with Watcher(plane):
        first = processes.start(plane.folder, *BUILD, name="first", point="before:session.select::1", pause=True)
        while not (plane.folder / "paused").exists():
            time.sleep(0.01)
        second = processes.start(plane.folder, *BUILD, name="second", lease_us=3_000_000)
        time.sleep(0.5)
        (plane.folder / "go").write_text("")
        assert [processes.wait(first), processes.wait(second)] == [0, 0]
    told = [json.loads((plane.folder / f"stdout.{name}").read_text()) for name in ("first", "second")]
    assert [one["outcome"] for one in told] == ["PUBLISHED", "ALREADY_PUBLISHED"]
    assert told[0]["dataset_manifest_id"] == told[1]["dataset_manifest_id"]
    assert told[0]["run_key"] == told[1]["run_key"]
    check_whole(plane, undisturbed)


@pytest.mark.parametrize("together", [False, True])
def test_two_requests_of_one_meaning_share_a_dataset(together: bool, plane: SmallPlane, processes: Processes, undisturbed: Undisturbed,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    """Each request has its run and its vow; one published, the other found it there, even if both computed it."""
    for name in ("one", "two"):
        (plane.folder / f"{name}.yaml").write_text((plane.folder / "intent.yaml").read_text() + f"request_id: request-{name}\n")
    with Watcher(plane):
        if together:
            first = processes.start(plane.folder, "build", "one.yaml", "--json", name="one", point="before:store.put_new:/commits/:1",
                                    pause=True)
            while not (plane.folder / "paused").exists():
                time.sleep(0.01)
            assert processes.call(plane.folder, "build", "two.yaml", "--json", name="two") == 0
            (plane.folder / "go").write_text("")
            assert processes.wait(first) == 0
        else:
            assert processes.call(plane.folder, "build", "two.yaml", "--json", name="two") == 0
            assert processes.call(plane.folder, "build", "one.yaml", "--json", name="one") == 0
    told = {name: json.loads((plane.folder / f"stdout.{name}").read_text()) for name in ("one", "two")}
    assert {name: one["outcome"] for name, one in told.items()} == {"one": "ALREADY_PUBLISHED", "two": "PUBLISHED"}
    assert told["one"]["dataset_manifest_id"] == told["two"]["dataset_manifest_id"]
    results = {one.request_id: one.result for one in ledger_of(plane).runs()}
    assert results["request-one"]["outcome"] == "ALREADY_PUBLISHED"
    check_whole(plane, undisturbed, runs=2)


@pytest.mark.parametrize("largest", [
    0, 3_000, 10_000, 25_000, *(pytest.param(size, marks=pytest.mark.long) for size in (1_000, 6_000, 16_000, 40_000, 60_000))])
def test_a_full_disk_is_an_outside_failure(largest: int, plane: SmallPlane, processes: Processes, undisturbed: Undisturbed,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    """Where no file can grow beyond a limit, a build ends with status 7 and an advice; with space again the same command ends well."""
    with Watcher(plane):
        status = processes.call(plane.folder, *BUILD, largest_file=largest)
        told = (plane.folder / "stdout.build").read_text()
        assert status in {0, 7}, told
        if status == 7:
            error = json.loads(told)["error"]
            assert (error["family"], bool(error["fix"])) == ("outside", True), told
            assert error["code"] in {"STORAGE_IO_FAILURE", "LEDGER_UNAVAILABLE"}, told
            assert plane.manifests() == []
        assert processes.call(plane.folder, *BUILD, name="again") == 0, (plane.folder / "stdout.again").read_text()
    check_whole(plane, undisturbed)


@pytest.mark.parametrize("point", ["after:store.put_new:/datasets/:1", "after:store.put_new:/commits/:1"])
def test_staged_data_that_is_lost_is_made_again(point: str, plane: SmallPlane, processes: Processes, undisturbed: Undisturbed,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    """Before the vow or after it: what a dead worker staged and somebody removed is computed anew, to the same core."""
    assert processes.call(plane.folder, *BUILD, point=point) == -signal.SIGKILL
    (part,) = (plane.folder / "store").glob("cards/ofs/datasets/*/*/*.parquet")
    part.unlink()
    assert processes.call(plane.folder, *BUILD) == 0, (plane.folder / "stdout.build").read_text()
    check_whole(plane, undisturbed)


@pytest.mark.parametrize("point", ["after:store.put_new:/plans/:1", "after:store.put_file:.parquet:1", "after:store.put_new:/commits/:1"])
def test_a_run_goes_on_for_whoever_asks_and_beside_labels_that_arrive(point: str, plane: SmallPlane, processes: Processes,
                                                                      undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]) -> None:
    """Who asks, and how long the label log has grown since, is no meaning: the run keeps the pins it began with (`decisions.md` D4).

    killed                      as-of ┃
    reported                          ┃ a year later: the log is another, the question is not
    """
    assert processes.call(plane.folder, *BUILD, point=point, environment={"LOGNAME": "first"}) == -signal.SIGKILL
    labels = chargebacks()
    late = {"tx_id": 32, "reported_at": labels["reported_at"][0].replace(year=2027), "outcome": "CHARGEBACK"}
    plane.labels({name: [*values, late[name]] for name, values in labels.items()})
    assert processes.call(plane.folder, *BUILD, environment={"LOGNAME": "second"}) == 0, (plane.folder / "stdout.build").read_text()
    check_whole(plane, undisturbed)
    (path,) = plane.manifests()
    evidence = json.loads(path.read_bytes())["evidence"]
    assert evidence["publisher"]["actor"] == {"name": "first", "source": "os_user"}


def test_a_vow_without_bytes_and_without_a_ledger_is_kept(plane: SmallPlane, processes: Processes, undisturbed: Undisturbed,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    """Another user, with labels that grew and an empty ledger, works on with the plan in the store, and reaches the vowed core."""
    point = "after:store.put_new:/commits/:1"
    assert processes.call(plane.folder, *BUILD, point=point, environment={"LOGNAME": "first"}) == -signal.SIGKILL
    (part,) = (plane.folder / "store").glob("cards/ofs/datasets/*/*/*.parquet")
    part.unlink()
    (plane.folder / "ledger.sqlite").unlink()
    labels = chargebacks()
    late = {"tx_id": 32, "reported_at": labels["reported_at"][0].replace(year=2027), "outcome": "CHARGEBACK"}
    plane.labels({name: [*values, late[name]] for name, values in labels.items()})
    assert processes.call(plane.folder, *BUILD, environment={"LOGNAME": "second"}) == 0, (plane.folder / "stdout.build").read_text()
    check_whole(plane, undisturbed)


def test_a_live_worker_keeps_its_run(plane: SmallPlane, processes: Processes, undisturbed: Undisturbed,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever waited two leases for a worker that lives is told so, and changes nothing."""
    first = processes.start(plane.folder, *BUILD, name="first", point="before:session.select::1", pause=True)
    while not (plane.folder / "paused").exists():
        time.sleep(0.01)
    assert processes.call(plane.folder, *BUILD, name="second", lease_us=200_000) == 5
    assert json.loads((plane.folder / "stdout.second").read_text())["error"]["code"] == "RUN_BUSY"
    (plane.folder / "go").write_text("")
    assert processes.wait(first) == 0
    check_whole(plane, undisturbed)
    assert ledger_of(plane).runs()[0].attempt == 1


@pytest.mark.parametrize("point", ["before:session.select::1", "before:store.put_new:/commits/:1", "before:store.put_new:/manifests/:1"])
def test_a_worker_that_slept_through_its_lease_harms_nothing(point: str, plane: SmallPlane, processes: Processes, undisturbed: Undisturbed,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    """A stopped worker loses its run; when it wakes, it finds itself fenced, and what was published stays.

        first   claim ─ work ─ stopped ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ wakes ──▶ FENCED
        second         waits for the lease ── takes over ──▶ DONE

    The lease alone decides: a stopped process is no dead one.
    """
    with Watcher(plane):
        first = processes.start(plane.folder, *BUILD, name="first", point=point, pause=True, lease_us=1_000_000)
        while not (plane.folder / "paused").exists():
            time.sleep(0.01)
        os.kill(first, signal.SIGSTOP)
        assert processes.call(plane.folder, *BUILD, name="second", lease_us=2_000_000) == 0
        (plane.folder / "go").write_text("")
        os.kill(first, signal.SIGCONT)
        assert processes.wait(first) == 5, (plane.folder / "stdout.first").read_text()
    assert json.loads((plane.folder / "stdout.first").read_text())["error"]["code"] == "FENCED"
    check_whole(plane, undisturbed)
