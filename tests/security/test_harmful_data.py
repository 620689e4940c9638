"""Hostile data costs bounded time and memory and gives a typed reason (R14): each command runs in a process with little of both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import harmful_parquet
import harmful_texts
import pyarrow as pa
import pytest
from archive_plane import edit_index, make_archive_plane
from confined import Confinement, Ended, confinement
from harmful_documents import crowds, texts
from small_plane import SmallPlane, make_plane

from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import all_codes

MOST_CPU_S, MOST_BYTES = 12, 1_400 << 20
SHARE = [pytest.param(97, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)]

HARM: dict[str, Callable[[], Iterator[tuple[str, Callable[[SmallPlane], Any]]]]] = {
    "shapes": harmful_parquet.shapes, "lies": harmful_parquet.lies, "packed": harmful_texts.packed, "lines": harmful_texts.lines,
    "tables": harmful_texts.tables, "endless": harmful_texts.endless}


@pytest.fixture(scope="module")
def confined() -> Iterator[Confinement]:
    """Where commands run with little memory and little time."""
    with confinement() as found:
        yield found


def check(ended: Ended, told: str) -> None:
    """The command ended by itself, in time, with one JSON document and, if it refused, with a code and the status of that code."""
    assert ended.status in {0, 2, 3, 4, 5, 6, 7}, (told, ended)
    assert ended.cpu_s < MOST_CPU_S, (told, ended.cpu_s)
    assert ended.peak < MOST_BYTES, (told, ended.peak)
    assert len(ended.err) < 30_000, told
    assert not any(word in ended.out + ended.err for word in ("Traceback", "INTERNAL_ERROR", "terminate called")), (told, ended)
    if ended.error:
        assert len(ended.out) < 300_000, told
        assert all_codes()[ended.error["code"]].exit_status == ended.status, told


@pytest.mark.parametrize("share", SHARE)
@pytest.mark.parametrize("kind", HARM)
def test_harmful_files_of_events_are_read_or_refused(kind: str, share: int, confined: Confinement, place: Path) -> None:
    """`ofs build` on events that lie, are broken, never end or hold what nobody expects."""
    for name, harm in islice(HARM[kind](), 0, None, share):
        plane = make_plane(place / name.replace("/", " ")[:60])
        harm(plane)
        plane.documents()
        ended = confined.run("build", str(plane.intent_path), "--json")
        check(ended, f"{kind}: {name}")


@pytest.mark.parametrize("name", [
    name if name in {"runs of a long text", "an id that is a bomb"} else pytest.param(name, marks=pytest.mark.long)
    for name, _ in harmful_parquet.bombs()])
def test_a_bomb_is_refused_before_it_is_decoded(name: str, confined: Confinement, place: Path) -> None:
    """A Parquet file of some hundred bytes that would decode to gigabytes costs no more than any other small file."""
    plane = make_plane(place / "p")
    dict(harmful_parquet.bombs())[name](plane)
    assert (plane.folder / "transactions.parquet").stat().st_size < 100_000
    ended = confined.run("build", str(plane.intent_path), "--json")
    check(ended, name)
    assert ended.error["code"] in {"RESOURCE_EXCEEDED", "SOURCE_TYPE_MISMATCH"}


def test_real_data_that_packs_well_is_no_bomb(confined: Confinement, place: Path) -> None:
    """Half a million equal rows but for their ids pack to little, and are read."""
    plane, rows = make_plane(place / "p"), 500_000
    table = harmful_parquet.events(rows, tx_id=pa.array(range(rows)))
    harmful_parquet.stored(lambda: table, column_encoding={"tx_id": "DELTA_BINARY_PACKED"}, use_dictionary=["customer_id"])(plane)
    assert (plane.folder / "transactions.parquet").stat().st_size < 20_000
    ended = confined.run("plan", str(plane.intent_path), "--json")
    assert ended.status == 0, ended.out


@pytest.mark.parametrize("share", SHARE)
@pytest.mark.parametrize("document", ["plane.yaml", "features.yaml", "intent.yaml", "facts.json", "archive/index.json"])
def test_harmful_documents_are_refused(document: str, share: int, confined: Confinement, place: Path) -> None:
    """Each document that people or tools write, replaced by what no reader should trust."""
    plane = (make_archive_plane if document.startswith("archive") else make_plane)(place / "p")
    if document == "facts.json":
        plane.plane |= {"required_outputs": ["stream"], "gate_map": {"g": {"outputs": ["stream"]}}, "run_facts": "facts.json"}
        plane.documents()
    path = plane.folder / document
    sound = path.read_text() if path.exists() else "{}"
    for name, data in islice(texts(sound), 0, None, share):
        path.write_bytes(data)
        ended = confined.run("plan", str(plane.intent_path), "--json")
        check(ended, f"{document}: {name}")
        assert ended.error, name


@pytest.mark.parametrize("share", SHARE)
def test_crowds_are_read_or_refused(share: int, confined: Confinement, place: Path) -> None:
    """A document with far too many of anything, or mistakes without number, takes seconds and gives an answer that can be read."""
    for name, crowd in islice(crowds(), 0, None, share):
        plane = make_plane(place / name)
        crowd(plane)
        for stem, document in (("plane", plane.plane), ("features", plane.profile), ("intent", plane.intent)):
            (plane.folder / f"{stem}.yaml").write_text(json.dumps(document))
        check(confined.run("plan", str(plane.intent_path), "--json"), name)


PIECES = ("manifests/*.json", "commits/*.json", "plans/*.json", "receipts/*/*/replay.json", "datasets/*/*/column-digests.json",
          "datasets/*/*/manifest.json", "datasets/*/*/*.parquet")


@pytest.mark.parametrize("share", SHARE)
def test_harmful_objects_in_the_store_are_answered(share: int, confined: Confinement, place: Path) -> None:
    """Each object of a published dataset, replaced in the store: looking, verifying and asking again end with a documented status."""
    plane = make_plane(place / "p")
    assert confined.run("build", str(plane.intent_path), "--json").status == 0
    (dataset,) = (path.stem for path in plane.manifests())
    ofs = plane.folder / "store/cards/ofs"
    places = [plane.folder / f"store/by_id/{dataset}.json", *(next(ofs.glob(piece)) for piece in PIECES)]
    for turn, path in enumerate(places):
        before = path.read_bytes()
        path.unlink()  # it may be linked elsewhere
        for name, data in islice(texts(before.decode(errors="replace")), turn % share, None, share):
            path.write_bytes(data)
            for command in (["show", dataset], ["verify", dataset], ["datasets"], ["build", str(plane.intent_path)]):
                ended = confined.run(*command, "--json", "--plane", str(plane.folder / "plane.yaml"))
                check(ended, f"{path.name}: {name}: {command[0]}")
                if command[0] == "verify" and path.name != "manifest.json" and name != "an anchor":
                    assert ended.status == 6, (path.name, name, ended.out)
        path.write_bytes(before)
    assert confined.run("verify", dataset, "--plane", str(plane.folder / "plane.yaml")).status == 0


@pytest.mark.parametrize("share", SHARE)
def test_harmful_segments_are_read_or_refused(share: int, confined: Confinement, place: Path) -> None:
    """A segment of an archive that its index knows as it is: packed bombs, noise, and JSON that other parsers accept."""
    for name, harm in islice(chain(harmful_texts.packed(), harmful_texts.lines()), 0, None, share):
        plane = make_archive_plane(place / name.replace("/", " ")[:60])
        plane.plane["events"] = {"transaction": {}}
        harm(plane)
        written = plane.folder / plane.plane.pop("events")["transaction"]["path"]
        path = f"transaction/0/{written.name}"
        written.rename(plane.folder / "archive" / path)
        data = (plane.folder / "archive" / path).read_bytes()
        edit_index(plane, lambda segments, path=path, data=data: segments[1].update(path=path, sha256=sha256_of(data), size=len(data)))
        plane.documents()
        ended = confined.run("build", str(plane.intent_path), "--json")
        check(ended, name)
        assert ended.error, name
