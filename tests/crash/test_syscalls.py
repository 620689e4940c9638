"""A process ends at any call that changes the disk: killed there, or told that the disk fails or is full. The same command ends well.

    openat ─ write ─ fsync ─ link ─ fsync ─ … ─ journal ─ … ─ DONE
       ☠        ☠       ☠      ☠       ☠            ☠            each of them KILL, EIO or ENOSPC

Nothing half is ever seen, nothing acknowledged is lost, there is one commit record, and the dataset is the one of an undisturbed run.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import publication
import pytest
from chaos import check_order
from processes import Processes
from small_plane import make_plane
from stopping import ENDINGS

import offline_feature_plane as ofs
from offline_feature_plane.corridor.publish import manifest_key

BUILD = ("build", "intent.yaml", "--json")


@pytest.fixture(scope="module")
def place(quick: Path) -> Iterator[Path]:
    """A folder that syncs fast."""
    folder = quick / "stopped"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def every(count: int, stride: int) -> list[tuple[int, str]]:
    """All calls with all endings, or each `stride`-th of them."""
    return [(at, ending) for at in range(count) for ending in ENDINGS][::stride]


@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.long)])
def test_a_publication_that_ends_at_any_call_is_finished(processes: Processes, place: Path, stride: int) -> None:
    """One tiny dataset through store, ledger and protocol: at each of its calls, with each ending (R4, R5)."""
    (place / "plain" / "disk").mkdir(parents=True)
    calls = processes.stopped(place / "plain", under="disk", program="publish").calls
    assert len(calls) > 280
    ended = Counter[int]()
    for at, ending in every(len(calls), stride):
        case = place / "case"
        (case / "disk").mkdir(parents=True)
        found = processes.stopped(case, under="disk", program="publish", at=at, ending=ending)
        ended[found.code] += 1
        when = f"{ending} at {at}, {calls[at]}: {found.code} {(case / 'stderr.build').read_text()}"
        assert found.code in ({-9} if ending == "KILL" else {0, 7}), when
        told = [json.loads(line) for line in (case / "told").read_text().splitlines()]
        try:
            publication.check_sight(case / "disk")
            publication.check_told(case / "disk", told)
            publication.publish(case / "disk")
            assert publication.check_sight(case / "disk") == "DONE"
            assert publication.publish(case / "disk") == "DONE"
        except BaseException as wrong:
            wrong.add_note(when)
            raise
        shutil.rmtree(case)
    shutil.rmtree(place / "plain")
    assert set(ended) == {-9, 0, 7}


@pytest.mark.parametrize("stride", [199, pytest.param(1, marks=pytest.mark.long)])
def test_a_build_that_ends_at_any_call_is_finished(processes: Processes, place: Path, stride: int) -> None:
    """A whole `ofs build`: at each of its calls, with each ending; failures are typed, and the same command ends well (R4, R5)."""
    origin = make_plane(place / "origin")
    origin.plane |= {"store": "disk/store", "ledger": "disk/ledger.sqlite", "work": "disk/work"}
    origin.documents()
    shutil.copytree(origin.folder, place / "undisturbed")
    calls = processes.stopped(place / "undisturbed", *BUILD, under="disk").calls
    core = published_core(place / "undisturbed")
    assert len(calls) > 500
    for at, ending in every(len(calls), stride):
        case = place / "case"
        shutil.copytree(origin.folder, case)
        found = processes.stopped(case, *BUILD, under="disk", at=at, ending=ending)
        words = (case / "stdout.build").read_text()
        when = f"{ending} at {at}, {calls[at]}: {found.code} {words} {(case / 'stderr.build').read_text()}"
        try:
            check_ending(found.code, ending, words)
            again = processes.call(case, *BUILD, name="again")
            assert again == 0, (case / "stdout.again").read_text()
            assert check_order(case) == {"DONE": 1, "manifests": 1}
            assert published_core(case) == core
            assert list((case / "disk/work").iterdir()) == []
        except BaseException as wrong:
            wrong.add_note(when)
            raise
        shutil.rmtree(case)


def check_ending(code: int, ending: str, words: str) -> None:
    """A killed process says nothing; a failing disk is an outside failure with advice, or was borne."""
    if ending == "KILL":
        assert code == -9
    elif code != 0:
        assert code == 7
        error = json.loads(words)["error"]
        assert error["code"] in {"STORAGE_IO_FAILURE", "LEDGER_UNAVAILABLE"}
        assert error["fix"]


def published_core(folder: Path) -> dict[str, Any]:
    """The core of the one dataset of a plane."""
    plane = ofs.open(folder / "plane.yaml")
    (run,) = plane.ledger.runs()
    assert run.result is not None
    core: dict[str, Any] = json.loads(plane.store.get(manifest_key(run.platform_run_id, run.result["dataset_manifest_id"])))["core"]
    return core
