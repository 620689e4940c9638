"""A dataset's Croissant metadata: complete, closed in itself, true to the manifest, the same each time.

That a loader of Croissant reads it is tested by `make test-recipes`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from answers import ask, check_answer
from small_plane import SmallPlane, make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.corridor.croissant import describe
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.plane import Plane, open_plane

# Croissant 1.0: what a dataset must say, and what each of its parts must.
REQUIRED = {
    "sc:Dataset": {"@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished",
                   "distribution", "recordSet"},
    "cr:FileObject": {"@id", "name", "contentUrl", "encodingFormat", "sha256"},
    "cr:RecordSet": {"@id", "name", "field"},
    "cr:Field": {"@id", "name", "description", "dataType"},
}
TYPES = {"sc:Boolean", "sc:Text", "sc:DateTime", "sc:URL", "sc:Float", "cr:Int8", "cr:Int16", "cr:Int32", "cr:Int64", "cr:Float64",
         "cr:Split"}


@pytest.fixture(scope="module")
def built_once(session_folder: Path) -> SmallPlane:
    """A plane with one dataset."""
    plane = make_plane(session_folder / "croissant")
    plane.profile["row_features"] = {"paid": "amount", "customer": "customer_id"}
    plane.documents()
    open_plane(plane.folder / "plane.yaml").build(plane.intent_path)
    return plane


@pytest.fixture
def plane(built_once: SmallPlane) -> Plane:
    """It, opened."""
    return open_plane(built_once.folder / "plane.yaml")


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def test_everything_that_croissant_requires_is_there(plane: Plane) -> None:
    """Dataset, files, record sets and fields say all that the format requires, filled and of known types."""
    document = plane.croissant("dm_")
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    kinds = set()
    for node in nodes({key: value for key, value in document.items() if key != "@context"}):
        kind = node.get("@type")
        if kind in REQUIRED:
            kinds.add(kind)
            assert [name for name in REQUIRED[kind] - {"@context"} if not node.get(name)] == []
        if kind == "cr:Field":
            assert node["dataType"] in TYPES
    assert kinds == set(REQUIRED)
    assert set(document["@context"]) >= {"@vocab", "sc", "cr", "dct", "recordSet", "field", "source", "extract", "column", "data"}


def test_ids_are_unique_and_references_lead_somewhere(plane: Plane) -> None:
    """Each `@id` names one thing; each reference names one of them."""
    document = plane.croissant("dm_")
    content = {key: value for key, value in document.items() if key != "@context"}
    named = [node["@id"] for node in nodes(content) if "@type" in node and "@id" in node]
    assert len(named) == len(set(named))
    assert {node["@id"] for node in nodes(content) if set(node) == {"@id"}} <= set(named)


def test_it_says_what_the_manifest_says(plane: Plane) -> None:
    """Files with their digests, columns with their types and meanings, splits by name: all of them, and none else."""
    document, manifest = plane.croissant("dm_"), plane.manifest("dm_")
    (file,) = document["distribution"]
    assert sha256_of(Path(file["contentUrl"]).read_bytes()) == f"sha256:{file['sha256']}"
    assert pq.read_metadata(file["contentUrl"]).num_rows == manifest.core.row_count
    splits, rows = document["recordSet"]
    assert splits["data"] == [{"splits/name": "train", "splits/url": "cr:TrainingSplit"},
                              {"splits/name": "test", "splits/url": "cr:TestSplit"}]
    assert [field["source"]["extract"]["column"] for field in rows["field"]] == [column.name for column in manifest.core.columns]
    for field, column in zip(rows["field"], manifest.core.columns, strict=True):
        assert field["description"].startswith(f"{column.role}: ")
        assert column.meaning in field["description"]
        assert column.availability in field["description"]
    types = {field["name"]: field["dataType"] for field in rows["field"]}
    assert [types[name] for name in ("event_id", "ts", "paid", "customer", "cold")] == [
        "cr:Int64", "sc:DateTime", "sc:Float", "sc:Text", "sc:Boolean"]
    assert manifest.core.content_digest in document["identifier"]


def test_it_is_the_same_each_time_and_stored_nowhere(plane: Plane, built_once: SmallPlane, capsys: pytest.CaptureFixture[str],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Command and library write one document, again and again; looking leaves nothing. A license is said where it is asked for."""
    monkeypatch.chdir(built_once.folder)
    before = sorted(built_once.folder.rglob("*"))
    for options in ((), ("--json",)):
        assert run(["show", "dm_", "--croissant", *options]) == 0
        assert json.loads(capsys.readouterr().out) == plane.croissant("dm_")
    assert sorted(built_once.folder.rglob("*")) == before
    assert run(["show", "dm_", "--croissant", "--license", "https://example.com/terms"]) == 0
    assert json.loads(capsys.readouterr().out) == plane.croissant("dm_", license_="https://example.com/terms")
    assert run(["show", "dm_", "--license", "mine"]) == 2


def test_each_file_has_its_records(plane: Plane) -> None:
    """A dataset of several files has a record set for each, whose fields read that file."""
    manifest = plane.manifest("dm_")
    (part,) = manifest.evidence.parts
    evidence = manifest.evidence.model_copy(update={"parts": [part, part.model_copy(update={"first_row": part.rows})]})
    document = describe(manifest.model_copy(update={"evidence": evidence}), plane.store)
    _, first, second = document["recordSet"]
    assert [file["@id"] for file in document["distribution"]] == ["part_1", "part_2"]
    assert {field["source"]["fileObject"]["@id"] for field in first["field"]} == {"part_1"}
    assert {field["source"]["fileObject"]["@id"] for field in second["field"]} == {"part_2"}
    assert not {field["@id"] for field in first["field"]} & {field["@id"] for field in second["field"]}


def test_a_date_is_not_taken_from_a_changed_receipt(built_once: SmallPlane, place: Path, capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """When a dataset was published is said by a receipt that the manifest names; another one, or none, is refused."""
    shutil.copytree(built_once.folder, place / "p")
    monkeypatch.chdir(place / "p")
    (receipt,) = Path("store").rglob("publication.json")
    receipt.chmod(0o644)
    receipt.write_bytes(receipt.read_bytes().replace(b"20", b"21", 1))
    check_answer(ask(capsys, "show", "dm_", "--croissant"), 6, "DIGEST_MISMATCH", ("publication receipt",))
    receipt.unlink()
    check_answer(ask(capsys, "show", "dm_", "--croissant"), 6, "DIGEST_MISMATCH", ("publication receipt",))


def test_a_retired_dataset_says_so_and_an_expired_one_is_not_described(built_once: SmallPlane, place: Path,
                                                                       capsys: pytest.CaptureFixture[str],
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """While its data is kept, the description says that it was retired and why; without data there is nothing to describe."""
    shutil.copytree(built_once.folder, place / "p")
    monkeypatch.chdir(place / "p")
    plane = open_plane("plane.yaml")
    dm_id = plane.manifest("dm_").dataset_manifest_id
    plane.retire(dm_id, reason="labels of the wrong year")
    assert "It was retired on " in plane.croissant(dm_id)["description"]
    assert "labels of the wrong year" in plane.croissant(dm_id)["description"]
    plane.retire(dm_id, reason="labels of the wrong year", expire_data=True)
    check_answer(ask(capsys, "show", dm_id, "--croissant"), 5, "DATASET_RETIRED", ("labels of the wrong year",))
