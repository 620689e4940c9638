"""Looking at a plane leaves nothing behind, needs no place to write, and an answer that stands needs no machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NoReturn

import pytest
from archive_plane import edit_index, garble, make_archive_plane
from small_plane import SmallPlane, make_plane

from offline_feature_plane import machines
from offline_feature_plane.__main__ import run
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.plane import open_plane


@pytest.fixture(scope="module")
def built_once(session_folder: Path) -> SmallPlane:
    """A plane with one dataset of a versioned profile."""
    plane = make_plane(session_folder / "looking")
    plane.profile |= {"policy_id": "cards.features", "revision": "r1"}
    plane.documents()
    open_plane(plane.folder / "plane.yaml").build(plane.intent_path)
    return plane


@pytest.fixture
def built(built_once: SmallPlane, place: Path, monkeypatch: pytest.MonkeyPatch) -> SmallPlane:
    """A copy of it, in which the test stands."""
    shutil.copytree(built_once.folder, place / "p")
    monkeypatch.chdir(place / "p")
    return SmallPlane(place / "p")


def traces(folder: Path) -> dict[str, str]:
    """Everything below a folder, with the digest of its bytes."""
    return {str(path.relative_to(folder)): sha256_of(path.read_bytes()) if path.is_file() else "folder" for path in folder.rglob("*")}


def looks(dataset: str, run_key: str) -> list[tuple[str, ...]]:
    """Every command that only looks."""
    return [("plan", "intent.yaml"), ("pin", "intent.yaml"), ("features", "intent.yaml"), ("features", dataset),
            ("preview", "intent.yaml"), ("labels", "intent.yaml"), ("runs",), ("run", run_key), ("datasets",), ("show", dataset),
            ("show", dataset, "--croissant"), ("verify", dataset), ("admit", dataset), ("audit", dataset)]


def test_looking_leaves_nothing_in_a_plane_with_a_dataset(built: SmallPlane) -> None:
    """Every command that only looks leaves each file and folder as it was, in a fresh copy of a plane."""
    opened = open_plane("plane.yaml")
    before = traces(built.folder)
    for command in looks(opened.datasets()[0].dataset_manifest_id, opened.runs()[0].run_key):
        for options in ((), ("--json",)):
            assert run([*command, *options]) == 0, command
            assert traces(built.folder) == before, command


def test_the_catalog_tells_all_as_text(built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, type, class and availability stand in one line; what it means and what it is made from, in the two below, of every column."""
    built.profile |= {"row_features": {"hour_of_day": "hour(ts)"}, "derived": {
        "over_usual": {"expression": "amount / customer.avg_7d", "meaning": "how unusual the amount is"}}, "revision": "dev"}
    built.documents()
    assert run(["features", "intent.yaml", "--json"]) == 0
    columns = json.loads(capsys.readouterr().out)
    assert run(["features", "intent.yaml"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 * len(columns)
    for one, line, meaning, lineage in zip(columns, lines[::3], lines[1::3], lines[2::3], strict=True):
        assert line.split(maxsplit=3) == [one["name"], one["type"], one["numeric_class"], one["availability"]]
        assert meaning == f"    {one['said'] or one['meaning']}"
        assert lineage == f"    from {one['lineage'][1:-1] if one['lineage'].startswith('(') else one['lineage']}"
    assert "    how unusual the amount is" in lines
    assert "    from amount, customer__avg_7d" in lines
    assert "    from terminal@v1 over transaction(terminal_id), labels chargeback" in lines


def test_the_catalog_of_an_intent_is_that_of_its_dataset(built: SmallPlane, capsys: pytest.CaptureFixture[str]) -> None:
    """What each feature is, means and needs is told alike before the build and of the dataset; an author's words are told beside."""
    assert run(["features", "intent.yaml", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    (manifest,) = open_plane("plane.yaml").datasets()
    assert run(["features", manifest.dataset_manifest_id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == planned
    assert [one["name"] for one in planned] == [column.name for column in manifest.core.columns if column.role == "feature"]
    assert all(one["type"] and one["meaning"] and one["lineage"] and one["availability"] for one in planned)
    assert all(column.availability for column in manifest.core.columns)


def test_computing_again_leaves_nothing(built: SmallPlane) -> None:
    """A comparison computes everything and writes nothing: no run, no receipt, no scratch."""
    before = traces(built.folder)
    assert run(["build", "intent.yaml", "--recompute"]) == 0
    assert traces(built.folder) == before


def test_looking_leaves_nothing_in_a_plane_without_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was built yet there is no store, no ledger and no work folder, and looking makes none."""
    plane = make_plane(place / "p")
    monkeypatch.chdir(plane.folder)
    before = traces(plane.folder)
    for command in (("plan", "intent.yaml"), ("pin", "intent.yaml"), ("features", "intent.yaml"), ("preview", "intent.yaml"),
                    ("labels", "intent.yaml"), ("runs",), ("datasets",)):
        assert run(command) == 0, command
        assert traces(plane.folder) == before, command


def test_looking_needs_no_place_to_write(built: SmallPlane) -> None:
    """All but a preview and a look at labels work where neither a work folder nor a ledger can be made."""
    dataset = open_plane("plane.yaml").datasets()[0].dataset_manifest_id
    (built.folder / "ledger.sqlite").unlink()
    (built.folder / "blocked").write_text("in the way")
    reader = open_plane("plane.yaml", work=str(built.folder / "blocked/work"), ledger=str(built.folder / "blocked/ledger.sqlite"))
    before = traces(built.folder)
    assert reader.plan("intent.yaml").dm_id == dataset
    assert reader.pin("intent.yaml").fingerprint == reader.manifest(dataset).dataset_fingerprint
    assert [one.dataset_manifest_id for one in reader.datasets()] == [dataset]
    assert reader.verify(dataset).intact
    assert len(reader.dataset(dataset)) == reader.manifest(dataset).core.row_count
    assert list(reader.runs()) == []
    assert traces(built.folder) == before


def test_what_is_published_is_answered_without_a_machine(built: SmallPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking again compiles and loads no kernels, under the same run and under a new request; computing again does."""
    def refuse(_: object, **__: object) -> NoReturn:
        raise AssertionError("kernels are loaded")

    monkeypatch.setattr(machines, "warm", refuse)
    said: list[str] = []
    for request_id in (None, "request-0002"):
        if request_id:
            (built.folder / "intent.yaml").write_text((built.folder / "intent.yaml").read_text() + f"request_id: {request_id}\n")
        answer = open_plane("plane.yaml").build("intent.yaml", progress=lambda step, done, total: said.append(step))
        assert (answer.outcome, answer.run is not None) == ("ALREADY_PUBLISHED", True)
    assert "compile" not in said
    opened = open_plane("plane.yaml")
    with pytest.raises(AssertionError, match="kernels are loaded"):
        opened.build("intent.yaml", recompute=True)
    with pytest.raises(AssertionError, match="kernels are loaded"):
        opened.preview("intent.yaml")


def test_a_preview_tells_what_a_build_would_be_refused_for(place: Path, monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    """Records that nobody can decode are no rows, and that is said beside the rows that are left."""
    plane = make_archive_plane(place / "p")
    garble(plane, 1, 3, 4)
    monkeypatch.chdir(plane.folder)
    assert run(["preview", "intent.yaml", "--json"]) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert warning == ("2 records of the basis cannot be decoded (transaction/0@53 to 54 in transaction/0/00001.jsonl), but 0 are "
                       "declared; a training is refused.")
    assert run(["preview", "intent.yaml"]) == 0
    assert f"warning: {warning}" in capsys.readouterr().out
    assert run(["build", "intent.yaml"]) == 3
    assert "2 records of the basis cannot be decoded" in capsys.readouterr().err
    edit_index(plane, lambda segments: segments[1].update(dispositions={"undecodable": 2}))
    assert run(["preview", "intent.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []
