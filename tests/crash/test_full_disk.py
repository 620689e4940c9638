"""A disk that is really full, from a size on: a typed failure and nothing half; with space again the same command ends well."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import publication
import pytest
from chaos import check_order
from origin import BUILD, Origin, core_of
from processes import Processes


@pytest.fixture
def place(session_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Where the test works."""
    folder = session_folder / f"full-{abs(hash(request.node.nodeid))}"
    yield folder
    shutil.rmtree(folder)


def words_of(place: Path) -> str:
    """All that the two commands said."""
    return "".join(path.read_text() for path in sorted(place.glob("std*")))


@pytest.mark.parametrize("kb", [32, 96, 160, *(pytest.param(kb, marks=pytest.mark.long) for kb in range(4, 260, 4) if kb % 32)])
def test_a_publication_on_a_full_disk_waits_for_space(processes: Processes, place: Path, kb: int) -> None:
    """Store and ledger on one disk that is full from some call on: what was told is so, and with space the run ends DONE (R4, R5)."""
    (place / "disk").mkdir(parents=True)
    assert processes.call(place, program="publish", disk_kb=kb) == 0
    _, full, again = json.loads((place / "codes").read_text())
    assert full in {0, 7}, words_of(place)
    assert again == 0, words_of(place)
    assert publication.check_sight(place / "kept") == "DONE"
    publication.check_told(place / "kept", [json.loads(line) for line in (place / "told").read_text().splitlines()])


@pytest.mark.parametrize("kb", [202, *(pytest.param(kb, marks=pytest.mark.long) for kb in range(20, 420, 8))])
def test_a_build_on_a_full_disk_waits_for_space(processes: Processes, place: Path, origin: Origin, kb: int) -> None:
    """Store, ledger and work folder on one disk that is full from some call on: status 7 and an advice, and nothing half (R4, R5)."""
    origin.copy(place)
    (place / "disk").mkdir()
    assert processes.call(place, *BUILD, disk_kb=kb) == 0
    _, full, again = json.loads((place / "codes").read_text())
    assert full in {0, 7}, words_of(place)
    if full == 7:
        error = json.loads((place / "stdout.full").read_text())["error"]
        assert error["code"] in {"STORAGE_IO_FAILURE", "LEDGER_UNAVAILABLE"}
        assert error["fix"]
    assert again == 0, words_of(place)
    shutil.rmtree(place / "disk")
    (place / "kept").rename(place / "disk")
    assert check_order(place) == {"DONE": 1, "manifests": 1}
    assert core_of(place) == origin.core
