"""The SQL engine is a locked room: what a statement tries to reach is blocked, or it is shown why reaching it harms nobody (R13)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from watching import witness

from offline_feature_plane.engines.local.connection import open_connection

OUTSIDE = "CANARY-OUTSIDE"

# Statements that must fail. {o} is a folder outside of the room, {w} the room's own scratch folder.
BLOCKED = """
COPY (SELECT 1) TO '{o}/new.csv'
COPY (SELECT 1) TO '{o}/new.parquet' (FORMAT parquet)
COPY (SELECT 1) TO '{w}/../outside/new.csv'
COPY (SELECT 1) TO '/dev/stdout'
COPY (SELECT 1) TO 's3://bucket/new.csv'
COPY ids FROM '{o}/secret.csv'
EXPORT DATABASE '{o}/export'
IMPORT DATABASE '{o}'
ATTACH '{o}/new.db'
ATTACH '{o}/secret.csv' AS x (TYPE sqlite)
ATTACH 'postgres://user:password@127.0.0.1:1/db' AS p (TYPE postgres)
INSTALL httpfs
INSTALL httpfs FROM community
INSTALL '{o}/x.duckdb_extension'
FORCE INSTALL json
LOAD httpfs
LOAD '{o}/x.duckdb_extension'
UPDATE EXTENSIONS
SELECT * FROM duckdb_extensions()
SELECT * FROM read_csv('{o}/secret.csv')
SELECT * FROM read_csv_auto('{o}/secret.csv')
SELECT * FROM sniff_csv('{o}/secret.csv')
SELECT * FROM read_csv('/dev/stdin')
SELECT * FROM read_csv('{w}/../outside/secret.csv')
SELECT * FROM read_parquet('{o}/secret.parquet')
SELECT * FROM read_parquet('{o}/*.parquet')
SELECT * FROM parquet_metadata('{o}/secret.parquet')
SELECT * FROM parquet_schema('{o}/secret.parquet')
SELECT * FROM parquet_kv_metadata('{o}/secret.parquet')
SELECT * FROM parquet_file_metadata('{o}/secret.parquet')
SELECT * FROM parquet_bloom_probe('{o}/secret.parquet', 'a', '1')
SELECT * FROM read_json('{o}/secret.json')
SELECT * FROM read_json_objects('{o}/secret.json')
SELECT * FROM read_ndjson('{o}/secret.json')
SELECT * FROM read_text('{o}/secret.csv')
SELECT * FROM read_text('file://{o}/secret.csv')
SELECT * FROM read_blob('{o}/secret.csv')
SELECT * FROM read_blob('/proc/self/environ')
SELECT * FROM read_duckdb('{o}/secret.db')
SELECT * FROM glob('{o}/*')
SELECT * FROM glob('/etc/*')
SELECT * FROM '{o}/secret.csv'
SELECT * FROM '{o}/secret.parquet'
SELECT * FROM 'http://127.0.0.1:1/x.parquet'
SELECT * FROM read_csv('https://127.0.0.1:1/x.csv')
SELECT * FROM read_parquet('s3://bucket/x.parquet')
SELECT * FROM read_text('hf://datasets/x/y.txt')
CREATE VIEW v AS SELECT * FROM read_text('{o}/secret.csv')
CREATE TABLE t AS FROM '{o}/secret.csv'
CREATE TYPE e AS ENUM (SELECT content FROM read_text('{o}/secret.csv'))
PREPARE p AS COPY (SELECT 1) TO '{o}/new.csv'
EXECUTE p
SELECT 1; COPY (SELECT 1) TO '{o}/new.csv'
SELECT 1; SET enable_external_access = true; SELECT * FROM read_text('{o}/secret.csv')
WITH x AS (SELECT * FROM read_text('{o}/secret.csv')) SELECT * FROM x
SELECT * FROM query('SELECT * FROM read_text(''{o}/secret.csv'')')
SELECT * FROM query_table('{o}/secret.csv')
EXPLAIN ANALYZE SELECT * FROM read_text('{o}/secret.csv')
SET enable_external_access = true
SET GLOBAL enable_external_access = true
RESET enable_external_access
SET lock_configuration = false
RESET lock_configuration
SET allowed_paths = ['{o}/secret.csv']
SET allowed_directories = ['/']
SET temp_directory = '{o}'
SET memory_limit = '1TB'
SET threads = 64
SET autoload_known_extensions = true
SET custom_extension_repository = 'http://127.0.0.1:1'
SET extension_directory = '{o}'
SET secret_directory = '{o}'
SET home_directory = '{o}'
SET python_enable_replacements = true
SET TimeZone = 'Asia/Tokyo'
SET log_query_path = '{o}/log'
SET profiling_output = '{o}/profile'
PRAGMA enable_profiling
PRAGMA threads = 64
PRAGMA enable_external_access
CALL enable_logging(storage = 'file', storage_config = {{'path': '{o}/log'}})
CREATE SECRET s (TYPE s3, KEY_ID 'k', SECRET 's')
CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 't')
SELECT getenv('OFS_CANARY')
SELECT * FROM frame_of_the_caller
SELECT * FROM arrow_scan(1, 1, 1)
SELECT * FROM pandas_scan(1)
SELECT * FROM python_map_function(1)
SELECT * FROM sqlite_scan('{o}/secret.db', 't')
SELECT * FROM postgres_scan('host=127.0.0.1 port=1', 's', 't')
SELECT * FROM iceberg_scan('{o}')
DETACH memory
""".strip().splitlines()

# Statements that may succeed, why they are harmless, and the proof.
HARMLESS: list[tuple[str, str, Callable[[list[Any], Path], bool]]] = [
    ("COPY (SELECT 1) TO '{w}/own.csv'", "the scratch folder is the build's own and goes with it", lambda _, w: (w / "own.csv").exists()),
    ("ATTACH '{w}/own.db'", "the same", lambda _, w: (w / "own.db").exists()),
    ("SELECT * FROM glob('{w}/*')", "it lists only what this connection wrote", lambda rows, w: all(str(w) in row[0] for row in rows)),
    ("ATTACH ':memory:' AS another", "memory only", lambda _, w: True),
    ("CREATE MACRO f(x) AS TABLE SELECT * FROM read_text(x)", "calling it is blocked, see below", lambda _, w: True),
    ("SELECT current_setting('temp_directory')", "the build's own scratch folder", lambda rows, w: rows == [(str(w),)]),
    ("SELECT * FROM duckdb_secrets()", "there are none", lambda rows, _: rows == []),
    ("SELECT * FROM which_secret('s3://bucket/x', 's3')", "there are none", lambda rows, _: rows == []),
    ("SELECT value FROM duckdb_settings() WHERE name = 'enable_external_access'", "it is off", lambda rows, _: rows == [("false",)]),
    ("SELECT value FROM duckdb_settings() WHERE name = 'lock_configuration'", "it is on", lambda rows, _: rows == [("true",)]),
    ("SELECT write_log('x')", "logging is off, so nothing is kept", lambda _, w: True),
    ("SELECT count(*) FROM duckdb_logs", "the same", lambda rows, _: rows == [(0,)]),
    ("PRAGMA add_parquet_key('k', '0123456789112345')", "a key of this connection, which opens no file", lambda _, w: True),
    ("CHECKPOINT", "there is nothing on disk", lambda _, w: True),
]


@pytest.fixture(scope="module")
def room(session_folder: Path) -> tuple[duckdb.DuckDBPyConnection, Path, Path]:
    """A locked connection, its scratch folder, and a folder of secrets outside."""
    place = Path(tempfile.mkdtemp(dir=session_folder))  # a process may come back to these tests
    work, outside = place / "work", place / "outside"
    work.mkdir()
    outside.mkdir()
    for name in ("secret.csv", "secret.json", "secret.db", "x.duckdb_extension"):
        (outside / name).write_text(f'"{OUTSIDE}"\n')
    pq.write_table(pa.table({"a": [OUTSIDE]}), outside / "secret.parquet")
    return open_connection(work), work, outside


@pytest.mark.parametrize("statement", BLOCKED)
def test_the_room_is_locked(statement: str, room: tuple[duckdb.DuckDBPyConnection, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading, writing, attaching, extensions, secrets, networks, settings and this process's own memory are out of reach."""
    connection, work, outside = room
    monkeypatch.setenv("OFS_CANARY", OUTSIDE)
    frame_of_the_caller = pa.table({"a": [OUTSIDE]})
    before = sorted(outside.iterdir())
    with witness(outside) as opened, pytest.raises(duckdb.Error) as caught:
        connection.execute(statement.format(o=outside, w=work)).fetchall()
    assert opened == []
    assert sorted(outside.iterdir()) == before
    assert OUTSIDE not in str(caught.value)
    assert frame_of_the_caller.num_rows == 1


@pytest.mark.parametrize(("statement", "reason", "proof"), HARMLESS, ids=[statement for statement, *_ in HARMLESS])
def test_what_the_room_allows_is_harmless(statement: str, reason: str, proof: Callable[[list[Any], Path], bool],
                                          room: tuple[duckdb.DuckDBPyConnection, Path, Path]) -> None:
    """What is not blocked stays in memory or in the room's own scratch folder."""
    connection, work, outside = room
    before = sorted(outside.iterdir())
    with witness(outside) as opened:
        rows = connection.execute(statement.format(o=outside, w=work)).fetchall()
    assert opened == []
    assert proof(rows, work), reason
    assert sorted(outside.iterdir()) == before


def test_a_macro_is_no_way_out(room: tuple[duckdb.DuckDBPyConnection, Path, Path]) -> None:
    """A function that opens files may be defined; calling it is blocked like what it calls."""
    connection, _, outside = room
    connection.execute("CREATE OR REPLACE MACRO g(x) AS TABLE SELECT * FROM read_text(x)")
    with witness(outside) as opened, pytest.raises(duckdb.PermissionException):
        connection.execute("SELECT * FROM g($path)", {"path": str(outside / "secret.csv")})
    assert opened == []


def test_a_readable_file_is_the_only_one(tmp_path: Path) -> None:
    """What a connection is given by name it may read, whatever its name looks like; its neighbours it may not."""
    (tmp_path / "work").mkdir()
    for name in ("a[1].csv", "a1.csv", "b.csv"):
        (tmp_path / name).write_text(f"x\n{name}\n")
    with open_connection(tmp_path / "work", readable=[str(tmp_path / "a[1].csv"), str(tmp_path / "a[[]1].csv")]) as connection:
        assert connection.read_csv(str(tmp_path / "a[[]1].csv"), header=True).fetchall() == [("a[1].csv",)]
        for name in ("a[1].csv", "a1.csv", "b.csv", "*.csv"):
            with pytest.raises(duckdb.PermissionException):
                connection.read_csv(str(tmp_path / name))
