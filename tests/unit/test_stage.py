"""Staging writes what it digests, durably, and reads back what it wrote."""

import errno
import hashlib
import os
import subprocess
import sys
import textwrap
import threading

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.arrow_types import arrow_schema, decimal_array
from offline_feature_plane.corridor.parts import PartWriter, read_parts
from offline_feature_plane.corridor.stage import COLUMN_DIGESTS_NAME, digest_parts, stage
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.content import content_digest, read_column_digests
from offline_feature_plane.errors import DigestMismatch, EngineFailed, RefNotFound, StorageIoFailure

LEAF = 8
MONEY = ColumnType.parse("decimal(12,2)")
SMALL = ColumnType.parse("decimal(5,2)")
COLUMNS = (
    Column("event_id", ColumnType("string"), "id", nullable=False), Column("ts", ColumnType("timestamp"), "time", nullable=False),
    Column("n", ColumnType("int64"), "feature"), Column("avg", ColumnType("float64"), "feature"), Column("sum", MONEY, "feature"),
    Column("fee", SMALL, "feature"), Column("i16", ColumnType("int16"), "feature"), Column("i32", ColumnType("int32"), "feature"),
    Column("value", ColumnType("string"), "label"), Column("target", ColumnType("int8"), "target"),
    Column("split", ColumnType("string"), "split", nullable=False), Column("cold", ColumnType("bool"), "mark", nullable=False),
)
NAMED = [(column.name, column.type) for column in COLUMNS]


def _values(rows):
    """Rows of every type with nulls, as the definition takes them."""
    return [[f"tx{row:04}" for row in range(rows)], [row * 1_000_003 for row in range(rows)],
            [None if row % 5 == 0 else row * 2**40 for row in range(rows)], [None if row % 7 == 0 else row / 3 - 1 for row in range(rows)],
            [None if row % 3 == 0 else row * 99_999 - 5 for row in range(rows)], [row - 50 for row in range(rows)],
            [None if row % 11 == 0 else -row for row in range(rows)], [row * 1_000 for row in range(rows)],
            [None if row % 2 == 0 else "é" * (row % 4) for row in range(rows)], [row % 2 for row in range(rows)],
            ["train" if row < rows * 0.7 else "test" for row in range(rows)], [row % 13 == 0 for row in range(rows)]]


def _batch(values):
    arrays = []
    for column, items in zip(COLUMNS, values, strict=True):
        if column.type.kind == "decimal":
            valid = np.array([item is not None for item in items], dtype=bool)
            arrays.append(decimal_array(np.array([item or 0 for item in items], dtype=np.int64), column.type, valid))
        else:
            arrays.append(pa.array(items, arrow_schema([column]).field(0).type))
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in COLUMNS])


def _batches(rows, size=7):
    whole = _batch(_values(rows))
    return [whole.slice(start, size) for start in range(0, rows, size)]


@pytest.mark.parametrize("rows", [0, 1, LEAF, 2 * LEAF, 2 * LEAF + 1, 100])
def test_what_is_staged_is_what_was_given(tmp_path, rows):
    """Rows, content digest and split counts are those of the definition, and the parts read back equal, in order."""
    staged = stage(COLUMNS, _batches(rows), tmp_path, leaf_rows=LEAF, part_rows=4 * LEAF)
    assert staged.rows == rows
    assert staged.leaf_count == -(-rows // LEAF)
    assert staged.content_digest == content_digest(NAMED, _values(rows), leaf_rows=LEAF)
    assert sum(staged.content.split_rows.values()) == rows
    assert staged.content.split_rows.get("train", 0) == _values(rows)[10].count("train")
    table = pa.Table.from_batches(read_parts(COLUMNS, [part.path for part in staged.parts]), schema=arrow_schema(COLUMNS))
    assert table.equals(pa.Table.from_batches([_batch(_values(rows))]).cast(arrow_schema(COLUMNS)))


def test_parts_are_described_exactly(tmp_path):
    """Each part's digest, size, rows and first row are those of its file; nothing else lies in the folder."""
    staged = stage(COLUMNS, _batches(100), tmp_path, leaf_rows=LEAF, part_rows=4 * LEAF)
    assert [(part.first_row, part.rows) for part in staged.parts] == [(0, 32), (32, 32), (64, 32), (96, 4)]
    for part in staged.parts:
        data = part.path.read_bytes()
        assert (part.sha256, part.size_bytes) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
        assert pq.ParquetFile(part.path).metadata.num_rows == part.rows
    assert {path.name for path in tmp_path.iterdir()} == {*(part.path.name for part in staged.parts), COLUMN_DIGESTS_NAME}


def test_column_digests_are_an_artifact(tmp_path):
    """The column digests file reads back as the leaves, and its digest is of its bytes."""
    staged = stage(COLUMNS, _batches(20), tmp_path, leaf_rows=LEAF)
    data = staged.column_digests_path.read_bytes()
    assert read_column_digests(data) == (tuple(NAMED), staged.content.leaves)
    assert staged.content.column_digests_digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_batch_sizes_do_not_count(tmp_path):
    """However the rows are cut into batches (empty ones too), files and digests are equal byte for byte."""
    seen = set()
    for size in (1, 7, 16, 1000):
        work = tmp_path / str(size)
        work.mkdir()
        empty = _batch(_values(0))
        batches = [piece for batch in _batches(50, size) for piece in (batch, empty)]
        staged = stage(COLUMNS, batches, work, leaf_rows=LEAF)
        seen.add((staged.content_digest, tuple(part.sha256 for part in staged.parts)))
    assert len(seen) == 1


def test_others_read_the_same(tmp_path):
    """DuckDB and Polars read the values and types that were written: decimals, instants in UTC, small integers, nulls."""
    staged = stage(COLUMNS, _batches(100), tmp_path, leaf_rows=LEAF)
    path = str(staged.parts[0].path)
    wanted = pa.Table.from_batches([_batch(_values(100))]).to_pylist()
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    types = [str(kind) for kind in connection.sql(f"SELECT * FROM '{path}'").types]
    assert types == ["VARCHAR", "TIMESTAMP WITH TIME ZONE", "BIGINT", "DOUBLE", "DECIMAL(12,2)", "DECIMAL(5,2)", "SMALLINT", "INTEGER",
                     "VARCHAR", "TINYINT", "VARCHAR", "BOOLEAN"]
    plain = connection.sql(f"SELECT * REPLACE (epoch_us(ts) AS ts) FROM '{path}'").fetchall()
    assert plain == [(row["event_id"], ts, *list(row.values())[2:]) for row, ts in zip(wanted, _values(100)[1], strict=True)]
    assert pl.read_parquet(path).to_dicts() == wanted


def test_the_files_are_as_pinned(tmp_path):
    """Encodings, compression, checksums and metadata are the pinned ones; the file carries no Arrow schema and no keys of its own."""
    staged = stage(COLUMNS, _batches(40), tmp_path, leaf_rows=LEAF)
    metadata = pq.ParquetFile(staged.parts[0].path).metadata
    assert metadata.metadata is None
    assert metadata.format_version == "2.6"
    assert metadata.num_row_groups == 3
    encodings = {}
    for index in range(metadata.num_columns):
        chunk = metadata.row_group(0).column(index)
        assert chunk.compression == "ZSTD"
        assert chunk.is_stats_set
        encodings[chunk.path_in_schema] = (chunk.physical_type, set(chunk.encodings) - {"RLE"})
    split = {"BYTE_STREAM_SPLIT"}
    assert encodings == {
        "event_id": ("BYTE_ARRAY", {"DELTA_BYTE_ARRAY"}), "ts": ("INT64", {"DELTA_BINARY_PACKED"}), "n": ("INT64", split),
        "avg": ("DOUBLE", split), "sum": ("INT64", split), "fee": ("INT32", split), "i16": ("INT32", split), "i32": ("INT32", split),
        "value": ("BYTE_ARRAY", {"PLAIN", "RLE_DICTIONARY"}), "target": ("INT32", split),
        "split": ("BYTE_ARRAY", {"PLAIN", "RLE_DICTIONARY"}), "cold": ("BOOLEAN", {"PLAIN"})}


def test_files_lead_back_to_the_digest(tmp_path):
    """`digest_parts` reaches the staged content from the files alone, also over files of another writer and layout."""
    staged = stage(COLUMNS, _batches(100), tmp_path, leaf_rows=LEAF, part_rows=4 * LEAF)
    assert digest_parts(COLUMNS, [part.path for part in staged.parts], leaf_rows=LEAF) == staged.content
    other = tmp_path / "other.parquet"
    table = pa.Table.from_batches([_batch(_values(100))]).cast(arrow_schema(COLUMNS))
    pq.write_table(table, other, row_group_size=9, compression="snappy", use_dictionary=True)
    assert digest_parts(COLUMNS, [other], leaf_rows=LEAF) == staged.content


def test_other_files_are_refused(tmp_path):
    """A missing, cut, flipped or differently typed file never gives a digest of something else."""
    staged = stage(COLUMNS, _batches(40), tmp_path, leaf_rows=LEAF)
    (part,) = staged.parts
    data = part.path.read_bytes()
    with pytest.raises(RefNotFound):
        digest_parts(COLUMNS, [tmp_path / "absent"], leaf_rows=LEAF)
    with pytest.raises(DigestMismatch):
        digest_parts(COLUMNS[1:], [part.path], leaf_rows=LEAF)
    broken = tmp_path / "broken"
    for changed in (b"", data[:-1], data[: len(data) // 2], data[:-8] + b"\xff\xff\xff\x7fPAR1"):
        broken.write_bytes(changed)
        with pytest.raises(DigestMismatch):
            digest_parts(COLUMNS, [broken], leaf_rows=LEAF)
    for place in range(0, len(data), max(len(data) // 60, 1)):
        broken.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1:])
        try:
            found = digest_parts(COLUMNS, [broken], leaf_rows=LEAF)
        except DigestMismatch:
            continue
        assert found == staged.content  # a byte that no value depends on: statistics, names of the writer


def test_a_disk_that_cannot_be_read_is_not_called_damage(tmp_path, monkeypatch):
    """An error of the disk under a data file says nothing about its bytes; only what was decoded can be wrong."""
    def fail(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(StorageIoFailure):
        list(read_parts(COLUMNS, [tmp_path / "part-00000.parquet"]))


def test_an_engine_error_passes_unchanged(tmp_path):
    """What the engine raises arrives as it is, and nothing stays in the folder."""
    def batches():
        yield from _batches(60)
        raise KeyError("engine")

    with pytest.raises(KeyError, match="engine"):
        stage(COLUMNS, batches(), tmp_path, leaf_rows=LEAF, part_rows=2 * LEAF)
    assert list(tmp_path.iterdir()) == []


def test_broken_rows_are_the_engines_fault(tmp_path):
    """Rows that break the declared schema end as EngineFailed with the column, whenever they come, and nothing stays."""
    whole = _batch(_values(60))
    broken = whole.set_column(10, "split", pa.nulls(60, pa.string()))
    with pytest.raises(EngineFailed, match="column split holds"):
        stage(COLUMNS, [whole, broken], tmp_path, leaf_rows=LEAF)
    lost = whole.set_column(3, "avg", pa.array([float("nan")] * 60))
    with pytest.raises(EngineFailed, match="column avg: nan"):
        stage(COLUMNS, [whole, lost], tmp_path, leaf_rows=LEAF)
    renamed = whole.rename_columns([*whole.schema.names[:-1], "kold"])
    with pytest.raises(EngineFailed, match="kold"):
        stage(COLUMNS, [whole, renamed], tmp_path, leaf_rows=LEAF)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["write", "fsync"])
def test_a_full_disk_is_typed(tmp_path, monkeypatch, step):
    """A disk error while writing or syncing becomes StorageIoFailure with advice, the engine is not asked for more, nothing stays."""
    if step == "write":
        monkeypatch.setattr("offline_feature_plane.corridor.parts._Tee.write", _disk_full)
    else:
        monkeypatch.setattr(os, "fsync", _disk_full)
    asked = []

    def batches():
        for batch in _batches(4_000):
            asked.append(1)
            yield batch

    with pytest.raises(StorageIoFailure, match="No space left"):
        stage(COLUMNS, batches(), tmp_path, leaf_rows=LEAF, part_rows=2 * LEAF)
    assert len(asked) < 50
    assert list(tmp_path.iterdir()) == []


def _disk_full(*_args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_real_write_failure_is_typed(tmp_path):
    """The kernel's own refusal to write more (a file size limit) arrives typed through Arrow's writer."""
    program = textwrap.dedent(f"""
        import resource, signal, sys, pathlib, numpy as np, pyarrow as pa
        from offline_feature_plane.corridor.stage import stage
        from offline_feature_plane.domain.columns import Column, ColumnType
        from offline_feature_plane.errors import StorageIoFailure
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        batch = pa.RecordBatch.from_arrays([pa.array(np.random.default_rng(1).random(100_000))], names=["x"])
        try:
            stage([Column("x", ColumnType("float64"), "feature")], [batch] * 4, pathlib.Path({str(tmp_path)!r}))
        except StorageIoFailure as wrong:
            sys.exit(0 if "File too large" in str(wrong) else 2)
        sys.exit(3)
    """)
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_no_thread_stays(tmp_path):
    """After success and after failure no thread of staging is left."""
    before = threading.active_count()
    stage(COLUMNS, _batches(40), tmp_path, leaf_rows=LEAF)
    with pytest.raises(StorageIoFailure):
        stage(COLUMNS, _batches(40), tmp_path, leaf_rows=LEAF)  # the names are taken
    assert threading.active_count() == before


def test_the_engine_runs_only_a_little_ahead(tmp_path, monkeypatch):
    """While the writer stands still the engine is asked for a few chunks more and then waits, so memory stays bounded."""
    blocked, asked = threading.Event(), []
    write = PartWriter.write

    def slow(self, chunk):
        blocked.wait(10)
        write(self, chunk)

    def batches():
        for batch in _batches(40 * LEAF, 2 * LEAF):
            asked.append(1)
            if len(asked) == 3:
                threading.Timer(0.2, lambda: (held.append(len(asked)), blocked.set())).start()
            yield batch

    held = []
    monkeypatch.setattr(PartWriter, "write", slow)
    assert stage(COLUMNS, batches(), tmp_path, leaf_rows=LEAF).rows == 40 * LEAF
    assert held == [3]
