"""A process ends at any call that changes the disk: killed there, or told that the disk fails or is full. The same command ends well.

    openat ─ write ─ fsync ─ link ─ fsync ─ … ─ journal ─ … ─ DONE
       ☠        ☠       ☠      ☠       ☠            ☠            each of them KILL, EIO or ENOSPC, once; or FULL or DEAD from there on

Nothing half is ever seen, nothing acknowledged is lost, there is one commit record, and the dataset is the one of an undisturbed run.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import publication
import pytest
from chaos import check_order
from origin import BUILD, Origin, core_of
from processes import Processes
from stopping import ENDINGS

from offline_feature_plane.errors import OfsError


@pytest.fixture(scope="module")
def place(session_folder: Path) -> Iterator[Path]:
    """A folder that syncs fast."""
    folder = session_folder / "stopped"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def every(count: int, stride: int) -> list[tuple[int, str]]:
    """All calls with all endings, or each `stride`-th of them."""
    return [(at, ending) for at in range(count) for ending in ENDINGS][::stride]


@pytest.mark.parametrize("stride", [73, pytest.param(1, marks=pytest.mark.long)])
def test_a_publication_that_ends_at_any_call_is_finished(processes: Processes, place: Path, stride: int) -> None:
    """One tiny dataset through store, ledger and protocol: at each of its calls, with each ending (R4, R5)."""
    (place / "plain" / "disk").mkdir(parents=True)
    calls = processes.stopped(place / "plain", under="disk", program="publish").calls
    assert len(calls) > 280
    ended, wrongs = Counter[int](), list[str]()
    for at, ending in every(len(calls), stride):
        case = place / "case"
        (case / "disk").mkdir(parents=True)
        found = processes.stopped(case, under="disk", program="publish", at=at, ending=ending)
        ended[found.code] += 1
        when = f"{ending} at {at}, {calls[at]}: {found.code} {(case / 'stderr.build').read_text()}"
        told = [json.loads(line) for line in (case / "told").read_text().splitlines()]
        try:
            assert found.code in ({-9} if ending == "KILL" else {0, 7})
            publication.check_sight(case / "disk")
            publication.check_told(case / "disk", told)
            publication.publish(case / "disk")
            assert publication.check_sight(case / "disk") == "DONE"
            assert publication.publish(case / "disk") == "DONE"
        except (AssertionError, OfsError) as wrong:
            wrongs.append(f"{when}: {wrong}")
        shutil.rmtree(case)
    shutil.rmtree(place / "plain")
    assert not wrongs, "\n".join(wrongs)
    assert set(ended) == {-9, 0, 7}


@pytest.mark.parametrize("stride", [541, pytest.param(1, marks=pytest.mark.long)])
def test_a_build_that_ends_at_any_call_is_finished(processes: Processes, place: Path, origin: Origin, stride: int) -> None:
    """A whole `ofs build`: at each of its calls, with each ending; failures are typed, and the same command ends well (R4, R5)."""
    wrongs = list[str]()
    assert len(origin.calls) > 450
    for at, ending in every(len(origin.calls), stride):
        case = origin.copy(place / "case")
        found = processes.stopped(case, *BUILD, under="disk", at=at, ending=ending)
        words = (case / "stdout.build").read_text()
        try:
            check_ending(found.code, ending, words)
            assert processes.call(case, *BUILD, name="again") == 0, (case / "stdout.again").read_text()
            assert check_order(case) == {"DONE": 1, "manifests": 1}
            assert core_of(case) == origin.core
            assert list((case / "disk/work").iterdir()) == []
        except (AssertionError, OfsError) as wrong:
            wrongs.append(f"{ending} at {at}, {origin.calls[at]}: {found.code} {words} {(case / 'stderr.build').read_text()}: {wrong}")
        shutil.rmtree(case)
    assert not wrongs, "\n".join(wrongs)


@pytest.mark.parametrize("stride", [307, pytest.param(1, marks=pytest.mark.long)])
def test_a_disk_that_cannot_be_read_accuses_nobody(processes: Processes, place: Path, origin: Origin, stride: int) -> None:
    """EIO from any call that reads the store, the ledger or the work folder: an outside failure, never a verdict about the data (R12).

    In a first build, in one that finds its dataset published, and in `ofs verify`. Read again, all is well.
    """
    built = origin.copy(place / "built")
    first = processes.stopped(built, *BUILD, under="disk", reading=True).calls
    second = processes.stopped(built, *BUILD, under="disk", reading=True).calls
    (manifest,) = (built / "disk/store/cards/ofs/manifests").iterdir()
    verify = ("verify", manifest.stem, "--plane", "plane.yaml", "--json")
    third = processes.stopped(built, *verify, under="disk", reading=True).calls
    cases = [*((origin.folder, BUILD, at) for at in range(len(first))), *((built, BUILD, at) for at in range(len(second))),
             *((built, verify, at) for at in range(len(third)))]
    assert len(cases) > 500
    wrongs = list[str]()
    for folder, command, at in cases[::stride]:
        case = Path(shutil.copytree(folder, place / "case"))
        found = processes.stopped(case, *command, under="disk", at=at, ending="EIO", reading=True)
        words = (case / "stdout.build").read_text()
        try:
            check_ending(found.code, "EIO", words)
            assert processes.call(case, *command, name="again") == 0, (case / "stdout.again").read_text()
            assert check_order(case) == {"DONE": 1, "manifests": 1}
        except (AssertionError, OfsError) as wrong:
            wrongs.append(f"{command} at {found.calls[at:at + 1]}: {found.code} {words} {(case / 'stderr.build').read_text()}: {wrong}")
        shutil.rmtree(case)
    shutil.rmtree(built)
    assert not wrongs, "\n".join(wrongs)


@pytest.mark.parametrize("stride", [1_291, pytest.param(5, marks=pytest.mark.long)])
def test_a_build_over_files_that_ends_at_any_call_is_finished(processes: Processes, place: Path, origin: Origin, stride: int) -> None:
    """As above, with events in files of the work folder: at each call that changes them or reads them, and nothing of them stays."""
    def small(folder: Path) -> Path:
        settings = origin.copy(folder) / "plane.yaml"
        settings.write_text(settings.read_text().replace("engine:\n", "engine:\n  memory_limit: 100MB\n"))
        return folder
    undisturbed = small(place / "undisturbed")
    changing = processes.stopped(undisturbed, *BUILD, under="disk").calls
    assert any("/scratch/events" in call for call in changing)
    shutil.rmtree(undisturbed)
    reading = processes.stopped(small(undisturbed), *BUILD, under="disk", reading=True).calls
    shutil.rmtree(undisturbed)
    cases = [*((at, ending, False) for at, ending in every(len(changing), 1)), *((at, "EIO", True) for at in range(len(reading)))]
    wrongs = list[str]()
    for at, ending, reads in cases[::stride]:
        case = small(place / "case")
        found = processes.stopped(case, *BUILD, under="disk", at=at, ending=ending, reading=reads)
        words = (case / "stdout.build").read_text()
        try:
            check_ending(found.code, ending, words)
            assert processes.call(case, *BUILD, name="again") == 0, (case / "stdout.again").read_text()
            assert check_order(case) == {"DONE": 1, "manifests": 1}
            assert core_of(case) == origin.core
            assert list((case / "disk/work").iterdir()) == []
        except (AssertionError, OfsError) as wrong:
            wrongs.append(f"{ending} at {(reading if reads else changing)[at]}: {found.code} {words}: {wrong}")
        shutil.rmtree(case)
    assert not wrongs, "\n".join(wrongs)


def check_ending(code: int, ending: str, words: str) -> None:
    """A killed process says nothing; a failing disk is an outside failure with advice, or was borne."""
    if ending == "KILL":
        assert code == -9
    elif code != 0:
        assert code == 7
        error = json.loads(words)["error"]
        assert error["code"] in {"STORAGE_IO_FAILURE", "LEDGER_UNAVAILABLE"}
        assert error["fix"]
