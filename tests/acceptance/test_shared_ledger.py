"""A plane whose ledger is in PostgreSQL: the same datasets, by workers who can only append, and how the tables come about."""

import json
import subprocess
import sys
import time

import pytest
from postgres_server import APP
from small_plane import make_plane

import offline_feature_plane as ofs
from offline_feature_plane.__main__ import run as command
from offline_feature_plane.errors import RequestCommandUnsupported


@pytest.fixture
def shared(place, postgres):
    """A small plane on an empty ledger in PostgreSQL, opened by the workers' role."""
    small = make_plane(place / "shared")
    small.plane["ledger"] = postgres.new_ledger()
    small.documents()
    return small


def test_where_the_ledger_is_changes_no_dataset(shared, place):
    """The same intent gives one manifest core and one history, whether the ledger is a file or a database."""
    alone, told = make_plane(place / "alone"), []
    for small in (shared, alone):
        plane = ofs.open(small.folder / "plane.yaml")
        built = plane.build(small.intent_path)
        (run,) = plane.runs()
        told.append((built.outcome, run.state, run.result["core_digest"], [event.kind for event in plane.run(run.run_key).events]))
        assert plane.build(small.intent_path).outcome == "ALREADY_PUBLISHED"
        assert plane.verify(built.manifest.dataset_manifest_id).intact
    assert told[0] == told[1]


def test_an_administrator_makes_the_ledger_that_workers_use(place, postgres, capsys):
    """What `ofs ledger schema` prints makes the tables; the named role then builds, and nothing else is set up."""
    small, schema, script = make_plane(place / "made"), postgres.new_schema(), place / "ledger.sql"
    assert command(["ledger", "schema", "--schema", schema, "--app-role", APP]) == 0
    script.write_text(capsys.readouterr().out)
    postgres.psql(script)
    small.plane["ledger"] = postgres.url(schema, user=APP)
    small.documents()
    assert command(["build", str(small.intent_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "PUBLISHED"


def test_a_plane_that_was_left_keeps_no_connection(shared, postgres):
    """With the end of its block a plane's connections are closed."""
    shared.plane["ledger"] += "&application_name=ofs_left"
    shared.documents()
    sessions = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'ofs_left'"
    with ofs.open(shared.folder / "plane.yaml") as plane:
        assert list(plane.runs()) == []
        assert postgres.sql(sessions)
    deadline = time.monotonic() + 10
    while postgres.sql(sessions) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not postgres.sql(sessions)


def test_without_the_driver_the_ledger_says_what_to_install(shared, monkeypatch):
    """A plane on PostgreSQL without psycopg is refused with the command that installs it; a plane on a file needs none."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg" or "ledger.postgres" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RequestCommandUnsupported, match="driver is not installed") as refused:
        ofs.open(shared.folder / "plane.yaml").runs()
    assert "pip install 'offline-feature-plane[postgres]'" in refused.value.fix


def test_a_plane_on_a_file_loads_no_database_driver(place):
    """The driver is loaded by planes whose ledger needs it, and by no other."""
    small = make_plane(place / "file")
    plane = str(small.folder / "plane.yaml")
    asked = f"import sys, offline_feature_plane as ofs; ofs.open({plane!r}).runs(); print('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout == "False\n"
