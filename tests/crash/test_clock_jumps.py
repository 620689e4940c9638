"""A clock that is set back or forward by a day, or stands still: at most an attempt more, never another dataset.

    ┈ submit ┈ claim ┈ work ┈ stage ┈ vow ┈ manifest ┈ done ┈
         ↑        ↑      ↑       ↑      ↑       ↑        ↑       the clock jumps

Of a run that goes on, one that was left, and one that a worker holds.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos import check_order
from origin import BUILD, Origin, core_of
from processes import Processes

import offline_feature_plane as ofs

DAY_US = 86_400_000_000
JUMPS = {"back": -DAY_US, "forward": DAY_US, "frozen": None}
POINTS = ["after:ledger.submit_unnamed::1", "after:ledger.claim::1", "after:store.put_file:.parquet:1",
          "before:store.put_new:/commits/:1", "after:store.put_new:/manifests/:1", "before:ledger.done::1"]


@pytest.fixture
def place(session_folder: Path, origin: Origin, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A plane of the test's own."""
    folder = origin.copy(session_folder / f"clock-{abs(hash(request.node.nodeid))}")
    yield folder
    shutil.rmtree(folder)


def check(place: Path, origin: Origin, *, attempts: int) -> None:
    """The dataset of an undisturbed build, after so many attempts at most."""
    assert check_order(place) == {"DONE": 1, "manifests": 1}
    assert core_of(place) == origin.core
    (run,) = ofs.open(place / "plane.yaml").ledger.runs()
    assert run.attempt <= attempts


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("point", ["before:session.select::1", *(pytest.param(point, marks=pytest.mark.long) for point in POINTS)])
def test_a_clock_that_jumps_during_a_build_changes_nothing(processes: Processes, place: Path, origin: Origin, jump: str,
                                                           point: str) -> None:
    """Whenever it jumps, the build ends at its first attempt."""
    assert processes.call(place, *BUILD, point=point, jump_us=JUMPS[jump]) == 0, (place / "stdout.build").read_text()
    check(place, origin, attempts=1)


@pytest.mark.parametrize("jump", ["back", pytest.param("forward", marks=pytest.mark.long)])
@pytest.mark.parametrize("point", ["after:ledger.claim::1", pytest.param("before:store.put_new:/commits/:1", marks=pytest.mark.long)])
def test_a_clock_that_jumps_between_two_attempts_strands_no_run(processes: Processes, place: Path, origin: Origin, jump: str,
                                                                point: str) -> None:
    """A worker of another machine is gone, and the clock has jumped: the next one takes the run over without waiting for a day.

        first   claim ☠                          its lease ends a day ahead, or ended a day ago
        second           ┈ jump ┈ takes over ─▶ DONE

    A lease that no clock can have given counts as over.
    """
    assert processes.call(place, *BUILD, point=point, worker="elsewhere:1") == -9
    began = time.monotonic()
    assert processes.call(place, *BUILD, clock_us=JUMPS[jump], name="second") == 0, (place / "stdout.second").read_text()
    assert time.monotonic() - began < 15
    check(place, origin, attempts=2)


@pytest.mark.parametrize("jump", ["forward", pytest.param("back", marks=pytest.mark.long)])
@pytest.mark.parametrize("point", ["before:session.select::1", pytest.param("before:store.put_new:/manifests/:1", marks=pytest.mark.long)])
def test_a_clock_that_jumps_beside_a_live_worker_costs_an_attempt(processes: Processes, place: Path, origin: Origin, jump: str,
                                                                  point: str) -> None:
    """To a clock that is a day off, a live lease seems to be over: the run is taken from its worker, which finds itself fenced.

        first   claim ─ work ─ paused ─ ─ ─ ─ ─ ─ ─ wakes ─▶ FENCED
        second          a day off: takes over ─▶ DONE

    The dataset is the same.
    """
    first = processes.start(place, *BUILD, name="first", point=point, pause=True, worker="elsewhere:1")
    while not (place / "paused").exists():
        time.sleep(0.01)
    assert processes.call(place, *BUILD, clock_us=JUMPS[jump], name="second") == 0, (place / "stdout.second").read_text()
    (place / "go").write_text("")
    assert processes.wait(first) == 5
    assert json.loads((place / "stdout.first").read_text())["error"]["code"] == "FENCED"
    check(place, origin, attempts=2)
