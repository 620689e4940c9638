"""The power goes at any moment: whatever was acknowledged is there whole, whatever is seen is whole, and the same command ends well.

    one process runs, recorded call by call ─▶ at each moment, the disks that may be found ─▶ look ─▶ run again

Between two syncs a disk may have kept anything (`disk`); only what the store and the ledger sync in the right order is promised.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import publication
import pytest
from disk import Disk, Effect, Tree, write_tree
from processes import Processes
from recording import read_record

from offline_feature_plane.errors import RefNotFound

Check = Callable[[Path, list[list[str]]], None]


@pytest.fixture
def place(session_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder of the test's own that syncs fast."""
    folder = session_folder / f"power-{abs(hash(request.node.nodeid))}"
    (folder / "disk").mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def recorded(processes: Processes, place: Path, program: str, *, killed_at: int | None = None) -> list[Effect]:
    """What a program does to an empty disk; killed before a call, it is run again."""
    if killed_at is not None:
        assert processes.stopped(place, under="disk", program=program, record=True, at=killed_at, ending="KILL").code == -9
    assert processes.stopped(place, under="disk", program=program, record=True).code == 0
    return read_record(place / "record")


def lose_power(effects: list[Effect], place: Path, check: Check, *, bound: int, after: int = 0) -> int:
    """Check the disks that may be found at each moment from the effect `after` on, at most `bound` for each; how many were different."""
    disk, told, seen = Disk(), list[list[str]](), set[int]()
    for moment, effect in enumerate(effects):
        disk.happen(effect)
        if effect.kind == "told":
            told.append(json.loads(effect.name))
        if moment < after:
            continue
        for tree in disk.states(bound, moment):
            mark = hash((len(told), tuple(sorted(tree.items(), key=lambda item: item[0]))))
            if mark not in seen:
                seen.add(mark)
                _look(tree, place / "found", check, told, f"moment {moment}, after {effect.kind} of {effect.name or effect.number}")
    return len(seen)


def _look(tree: Tree, folder: Path, check: Check, told: list[list[str]], when: str) -> None:
    write_tree(tree, folder)
    try:
        check(folder, told)
    except BaseException as wrong:
        held = "\n".join(f"{path}: {'folder' if data is None else len(data)}" for path, data in tree.items())
        wrong.add_note(f"{when}; told {told[-3:]}; found\n{held}")
        raise
    finally:
        shutil.rmtree(folder)


def check_filled(folder: Path, told: list[list[str]]) -> None:
    """A store that answered has the object, what it lists is whole, and it can be filled to its end."""
    store = publication.open_store(folder)
    last = {said[1]: said[0] for said in told if said[0] in {"put", "delete"}}
    for key, said in last.items():
        if said == "put" and key in publication.FILLED:  # the other one may be deleted by now
            assert store.get(key) == publication.FILLED[key]
        elif said == "delete":
            with pytest.raises(RefNotFound):
                store.get(key)
    for key in store.list(""):
        assert store.get(key) == publication.FILLED.get(key, b"for a while"), key
    publication.fill(folder)
    assert {key: store.get(key) for key in store.list("")} == publication.FILLED


def check_published(folder: Path, told: list[list[str]]) -> None:
    """Nothing half is seen, nothing promised is missing, and the same command ends DONE."""
    publication.check_sight(folder)
    publication.check_told(folder, told)
    publication.publish(folder)
    assert publication.check_sight(folder) == "DONE"


MADE, WRITTEN = Effect("create", 1, name="a"), Effect("write", 1, data=b"abcd")
FILE_SYNCED, FOLDER_SYNCED, LINKED, GONE = Effect("sync", 1), Effect("sync"), Effect("link", 1, name="b"), Effect("unlink", name="a")
WHOLE = {"a": b"abcd"}


@pytest.mark.parametrize(("effects", "found"), [
    ([MADE, WRITTEN], [{}, {"a": b""}, {"a": b"ab"}, {"a": b"\0\0\0\0"}, WHOLE]),
    ([MADE, WRITTEN, FILE_SYNCED], [{}, WHOLE]),
    ([MADE, WRITTEN, FOLDER_SYNCED], [{"a": b""}, {"a": b"ab"}, {"a": b"\0\0\0\0"}, WHOLE]),
    ([MADE, WRITTEN, FILE_SYNCED, FOLDER_SYNCED], [WHOLE]),
    ([MADE, WRITTEN, FILE_SYNCED, FOLDER_SYNCED, LINKED, GONE], [{}, WHOLE, {"b": b"abcd"}, {**WHOLE, "b": b"abcd"}]),
    ([MADE, WRITTEN, FILE_SYNCED, FOLDER_SYNCED, GONE, FOLDER_SYNCED], [{}]),
    ([MADE, FILE_SYNCED, FOLDER_SYNCED, WRITTEN, Effect("write", 1, offset=2, data=b"XY")],
     [{"a": data} for data in (b"", b"abcd", b"\0\0XY", b"abXd", b"abXY")]),
    ([Effect("mkdir", 2, name="d"), Effect("create", 1, 2, "a"), WRITTEN, FILE_SYNCED, Effect("sync", 2)],
     [{}, {"d": None, "d/a": b"abcd"}]),
])
def test_a_disk_keeps_any_part_of_what_was_not_synced(effects: list[Effect], found: list[Tree]) -> None:
    """Bytes and names are lost apart from each other; each sync makes sure of its own, and of nothing else."""
    disk = Disk()
    for effect in effects:
        disk.happen(effect)
    assert sorted(disk.states(100, 0), key=repr) == sorted(found, key=repr)


@pytest.mark.parametrize(("bound", "disks"), [(12, 150), pytest.param(2_000, 2_000, marks=pytest.mark.long)])
def test_a_store_keeps_its_word_through_a_power_loss(processes: Processes, place: Path, bound: int, disks: int) -> None:
    """At every moment of filling a store, on every disk that may be left: acknowledged objects are there, visible ones are whole (R5)."""
    assert lose_power(recorded(processes, place, "fill"), place, check_filled, bound=bound) > disks


@pytest.mark.parametrize(("bound", "disks"), [(2, 80), pytest.param(200, 8_000, marks=pytest.mark.long)])
def test_a_publication_keeps_its_word_through_a_power_loss(processes: Processes, place: Path, bound: int, disks: int) -> None:
    """The same of a whole publication, store and ledger together: no acknowledged state is lost, and the command ends DONE (R4, R5)."""
    assert lose_power(recorded(processes, place, "publish"), place, check_published, bound=bound) > disks


@pytest.mark.parametrize("killed_at", [3, *(pytest.param(at, marks=pytest.mark.long) for at in (0, *range(6, 87, 3)))])
def test_a_store_that_was_killed_keeps_its_word_through_a_power_loss(processes: Processes, place: Path, killed_at: int) -> None:
    """A process is killed, so nothing was synced after its last sync; the next one relies on what it finds, and the power goes.

    first   mkdir ─ link ☠
    second                  exists ─ told ─ ☇

    Whatever the second process was told is sure.
    """
    effects = recorded(processes, place, "fill", killed_at=killed_at)
    assert lose_power(effects, place, check_filled, bound=6) > 100
