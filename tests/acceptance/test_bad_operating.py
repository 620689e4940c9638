"""What those who run OFS for others get wrong, or what happens to them: each has a code, a status, an advice, and loses nothing."""

import json
import sqlite3
import time

import pytest
from answers import ask, check_answer
from small_plane import make_plane

import offline_feature_plane as ofs
from offline_feature_plane.__main__ import run as command


@pytest.fixture
def small(place):
    """A small plane in a folder that syncs fast."""
    return make_plane(place / "small")


@pytest.fixture
def shared(small, postgres):
    """The same with its ledger in PostgreSQL."""
    small.plane["ledger"] = postgres.url(postgres.new_schema())
    small.documents()
    return small


VERBS = {"runs": ("runs",), "worker": ("worker", "--once"), "retry": ("retry-publish", "x"), "cancel": ("cancel", "x", "--reason", "y")}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_ledger_that_cannot_be_reached_is_said_so_at_once(small, capsys, verb):
    """No server there: every command that needs the ledger ends with status 7, and the store is untouched."""
    small.plane["ledger"] = "postgresql://nobody@127.0.0.1:1/nothing"
    small.documents()
    began = time.monotonic()
    check_answer(ask(capsys, *verb, "--plane", str(small.folder / "plane.yaml")), 7, "LEDGER_UNAVAILABLE")
    assert time.monotonic() - began < 20
    assert not (small.folder / "store").exists()


def test_a_database_that_goes_away_in_the_middle_loses_nothing(shared, postgres, capsys):
    """Asked, then the server is stopped: worker and lists say so; when it is back, the run is there and is built.

    enqueue ─▶ server stopped: worker --once ends with 7 ─▶ server started ─▶ published
    """
    plane = str(shared.folder / "plane.yaml")
    assert command(["enqueue", str(shared.intent_path)]) == 0
    capsys.readouterr()
    postgres.stop()
    try:
        for verb in (("worker", "--once"), ("runs",)):
            check_answer(ask(capsys, *verb, "--plane", plane), 7, "LEDGER_UNAVAILABLE")
        check_answer(ask(capsys, "build", str(shared.intent_path)), 7, "LEDGER_UNAVAILABLE")
    finally:
        postgres.start()
    assert command(["worker", "--once", "--plane", plane, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "PUBLISHED"
    assert [run.state for run in ofs.open(plane).runs()] == ["DONE"]


def test_a_ledger_of_a_newer_release_is_left_alone(small, capsys):
    """A file that a newer schema wrote is refused by name, and not touched."""
    with sqlite3.connect(small.folder / "ledger.sqlite") as connection:
        connection.execute("CREATE TABLE ledger_schema (version INTEGER)")
        connection.execute("INSERT INTO ledger_schema VALUES (99)")
    connection.close()
    before = (small.folder / "ledger.sqlite").read_bytes()
    for verb in (("enqueue", str(small.intent_path)), ("worker", "--once", "--plane", str(small.folder / "plane.yaml"))):
        check_answer(ask(capsys, *verb), 7, "LEDGER_UNAVAILABLE", ("schema 99", "newer"))
    assert (small.folder / "ledger.sqlite").read_bytes() == before


def test_a_manifest_of_somebody_else_in_our_place_is_no_answer(small, capsys):
    """What stands under our id without our publisher's vow is not believed, not overwritten, and ends the run."""
    dm_id = ofs.open(small.folder / "plane.yaml").plan(small.intent_path).dm_id
    place = small.folder / f"store/cards/ofs/manifests/{dm_id}.json"
    place.parent.mkdir(parents=True)
    place.write_text('{"dataset_manifest_id": "dm_of_somebody_else"}')
    check_answer(ask(capsys, "build", str(small.intent_path)), 6, "MANIFEST_INVALID")
    assert place.read_text() == '{"dataset_manifest_id": "dm_of_somebody_else"}'
    assert {run.state for run in ofs.open(small.folder / "plane.yaml").runs()} == {"FAILED"}


def test_a_file_of_somebody_else_in_our_place_is_not_published(small, place, capsys):
    """Other bytes stand where a run stages its data file: nothing is published over them, and they stay as they are."""
    twin = make_plane(place / "twin")
    assert command(["build", str(twin.intent_path)]) == 0
    capsys.readouterr()
    (part,) = (twin.folder / "store").glob("cards/ofs/datasets/*/*/*.parquet")
    theirs = small.folder / part.relative_to(twin.folder)
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"somebody else's")
    check_answer(ask(capsys, "build", str(small.intent_path)), 6, "DATASET_ARTIFACT_IMMUTABILITY_VIOLATION")
    assert theirs.read_bytes() == b"somebody else's"
    assert small.manifests() == []
