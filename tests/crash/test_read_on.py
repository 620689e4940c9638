"""A build from a log is killed at any call that changes what it keeps; the next one takes over what is whole, and the dataset is the same.

attempt 1   [portion)[portion)[port ☠
attempt 2    taken over       [portion)[portion) ─▶ rows ─▶ DONE, and nothing stays
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos import check_order
from mock_cluster import MockCluster
from origin import BUILD, core_of
from processes import Processes
from topic_plane import make_topic_plane, payments

from offline_feature_plane.testing.archives import write_archive
from offline_feature_plane.testing.envelopes import envelope, log_time_ms

MOST = 16  # records of a portion
OUTSIDE = "STORAGE_IO_FAILURE"


@pytest.fixture(scope="module")
def place(session_folder: Path) -> Iterator[Path]:
    """A folder for these tests."""
    folder = session_folder / "read-on"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster() -> MockCluster:
    """A bus that has the later half of each partition, and some of what the archive has."""
    made = MockCluster()
    for one in payments():
        made.produce("transaction", one["partition"], envelope(one), log_time_ms(one))
    return made


def make_archived(folder: Path, cluster: MockCluster, holders: str, **settings: Any) -> Path:
    """A plane whose events are in an archive, on a bus, or in both, where the bus goes on behind the archive."""
    plane = make_topic_plane(folder, cluster.address, log_id="log1", cleanup_policy="delete")
    held = payments() if holders == "archive" else [one for one in payments() if int(one["offset"]) < 40]
    if holders != "bus":
        write_archive(folder / "archive", held, per_segment=9)
        plane.plane["archives"] = {"transaction": {"path": "archive"}}
    if holders == "archive":
        del plane.plane["kafka"]
    plane.plane |= {"store": "disk/store", "ledger": "disk/ledger.sqlite", "work": "disk/work", **settings}
    plane.documents()
    return folder


def replays(folder: Path) -> list[dict[str, Any]]:
    """What the receipts of the replays say, by attempt; of those that were begun and ended."""
    found = sorted((folder / "disk/store/cards/ofs/receipts").glob("*/*/replay.json"), key=lambda one: int(one.parent.name))
    return [json.loads(one.read_bytes())["facts"] for one in found]


def meant(facts: dict[str, Any]) -> dict[str, Any]:
    """All that a receipt says of a replay, but how it was done."""
    return {name: said for name, said in facts.items() if name != "execution"}


def whole(folder: Path) -> int:
    """How many portions are kept, each with its receipt."""
    return sum(not one.parent.name.startswith(".") and not one.parent.parent.name.startswith(".")
               for one in (folder / "disk/work").glob("*.kept/*/*/receipt.json"))


def check_killed(make: Callable[[Path], Path], processes: Processes, place: Path, strides: dict[str, int]) -> None:
    """End a build at calls below its kept folder in some ways; then the same command ends well, and reads only what is missing."""
    undisturbed = make(place / "undisturbed")
    calls = processes.stopped(undisturbed, *BUILD, under="disk/work", portions=MOST).calls
    core, (said,) = core_of(undisturbed), replays(undisturbed)
    assert said["execution"]["taken_over"] == {"portions": 0, "records": 0}
    assert list((undisturbed / "disk/work").iterdir()) == []
    inside = [at for at, call in enumerate(calls) if ".kept" in call]
    assert len(inside) > 50
    took, wrongs = 0, list[str]()
    for ending, stride in strides.items():
        for at in inside[stride // 2::stride]:
            case = make(place / "case")
            found = processes.stopped(case, *BUILD, under="disk/work", at=at, ending=ending, portions=MOST)
            kept, is_read, words = whole(case), bool(replays(case)), (case / "stdout.build").read_text()
            when = f"{ending} at {at}, {calls[at]}: {found.code} {words} {(case / 'stderr.build').read_text()}"
            try:
                assert found.code == -9 if ending == "KILL" else found.code == 0 or json.loads(words)["error"]["code"] == OUTSIDE
                assert processes.call(case, *BUILD, name="again", portions=MOST) == 0, (case / "stdout.again").read_text()
                assert check_order(case) == {"DONE": 1, "manifests": 1}
                assert core_of(case) == core
                assert meant(replays(case)[-1]) == meant(said)
                if ending == "KILL" and not is_read:
                    assert replays(case)[-1]["execution"]["taken_over"]["portions"] == kept
                    took = max(took, kept)
                assert list((case / "disk/work").iterdir()) == []
            except AssertionError as wrong:
                wrongs.append(f"{when}: {wrong}")
            shutil.rmtree(case)
    shutil.rmtree(undisturbed)
    assert not wrongs, "\n".join(wrongs)
    assert took > 2


@pytest.mark.parametrize("limit", [pytest.param(None, marks=pytest.mark.long), "100MB"])
@pytest.mark.parametrize("stride", [397, pytest.param(1, marks=pytest.mark.long)])
def test_a_build_from_an_archive_goes_on_where_it_was_killed(processes: Processes, place: Path, cluster: MockCluster, stride: int,
                                                             limit: str | None) -> None:
    """At each call that changes a kept folder: killed, a failing disk, a full one; in memory and over files."""
    settings = {} if limit is None else {"engine": {"memory_limit": limit, "threads": 2}}
    check_killed(lambda folder: make_archived(folder, cluster, "archive", **settings), processes, place,
                 {"KILL": stride, "ENOSPC": 2 * stride, "EIO": 2 * stride})


@pytest.mark.parametrize("mode", [pytest.param("sample", marks=pytest.mark.long), "full"])
@pytest.mark.parametrize("stride", [397, pytest.param(3, marks=pytest.mark.long)])
def test_a_build_across_the_cut_goes_on_where_it_was_killed(processes: Processes, place: Path, cluster: MockCluster, stride: int,
                                                            mode: str) -> None:
    """An archive, a bus behind it, and an overlap that is compared: the same events, the same counts, the same comparison."""
    check_killed(lambda folder: make_archived(folder, cluster, "both", verify_overlap=mode), processes, place, {"KILL": stride})


@pytest.mark.long
def test_a_build_from_a_bus_goes_on_where_it_was_killed(processes: Processes, place: Path, cluster: MockCluster) -> None:
    """A long range of a bus is kept in parts."""
    check_killed(lambda folder: make_archived(folder, cluster, "bus"), processes, place, {"KILL": 397})
