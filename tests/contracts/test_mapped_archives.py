"""Archives that other tools wrote, read in batches as one by one; and of large files no more than is asked."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.archive_jobs import index_archive
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.domain.admission import Admission, Scope
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.errors import OfsError, ReplayBasisMismatch, SourceUnreadable
from offline_feature_plane.filesets import digest_of
from offline_feature_plane.sources.archives import file_runs
from offline_feature_plane.sources.archives import indexing as archive_indexing
from offline_feature_plane.sources.archives.segments import Segment
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.decoding import batches
from offline_feature_plane.sources.logs import records as log_records

GOLDEN = Path(__file__).parents[1] / "golden" / "others"
PLACES = {"partition": "partition", "offset": "offset", "log_time_utc": {"member": "timestamp", "unit": "ms"}, "event_id": "tx_id",
          "ts_utc": "at"}
TX = Source("tx", ("transaction",), (Field("card", ColumnType("string"), ("card",), nullable=True),
                                     Field("amount", ColumnType("float64"), ("amount",), nullable=True),
                                     Field("cents", ColumnType("int64"), ("cents",), nullable=True)))


@pytest.fixture(autouse=True)
def in_batches(monkeypatch):
    """Few records are decoded in batches, too."""
    monkeypatch.setattr(log_records, "WORTH_A_COMPILER", 0)


def settings(root, places=PLACES, **more):
    """A plane that maps an archive."""
    return Settings.model_validate({"plane": "run1", "archives": {"transaction": {"path": str(root), "records": dict(places), **more}}})


def pinned(root, places=PLACES, **more):
    """An archive with its index made."""
    asked = settings(root, places, **more)
    index_archive(root, asked)
    one = asked.archives["transaction"]
    return ArchiveSource({"transaction": ArchiveMapping(root, one.zone, members=one.records.places(), run="run1")}).pin("transaction")


def by_law(archive, ranges):
    """The events of an archive one by one: id, offset, hash and fields."""
    found = []
    archive.reading(ranges, (TX,)).read(Admission("run1", (), (TX,)), lambda _, batch: found.extend(batch.to_pylist()))
    return [(one["event_id"], one["offset"], one["payload_hash"], one["card"], one["amount"], one["cents"]) for one in found]


def in_scans(archive, ranges):
    """The same, in batches; and what was counted."""
    found = []
    report = archive.reading(ranges, (TX,)).scan(Scope.of("run1", (), (TX,)), lambda _, batch: found.extend(batch.to_pylist()))
    return [(one["event_id"], one["offset"], f"sha256:{one['payload_hash'].hex()}", one["card"], one["amount"], one["cents"])
            for one in found], report


def payments(n=7):
    """A table as somebody has it: numbers, texts with nulls, times."""
    begin = datetime(2026, 3, 1, 10, tzinfo=UTC)
    return pa.table({
        "partition": pa.array([0] * n, pa.int32()), "offset": pa.array(range(100, 100 + n), pa.int64()),
        "timestamp": pa.array([1_772_359_200_000 + 1_000 * at for at in range(n)]), "tx_id": [f"t-{at}" for at in range(n)],
        "at": pa.array([begin + timedelta(seconds=at) for at in range(n)], pa.timestamp("us", "UTC")),
        "card": [None if at % 4 == 3 else f"ç{at % 3}" for at in range(n)], "amount": [None if at == 2 else at * 0.1 for at in range(n)],
        "cents": pa.array([at * 10 for at in range(n)], pa.int64())})


def by_duckdb(table, path):
    """DuckDB's own types beside it: a UUID, nested values, JSON, decimals, times of day."""
    with duckdb.connect() as connection:
        connection.register("payments", table)
        connection.execute(f"""copy (select *, md5(tx_id)::uuid as trace, [cents, null] as list, {{'a': amount, 'b': card}} as pair,
            map {{'k': cents}} as marks, '{{"x": 1}}'::json as raw, 1.50::decimal(9, 4) as fee, time '01:02:03.5' as clock,
            date '2026-02-28' as day,
            cents::hugeint as huge, cents::utinyint as tiny from payments) to '{path}' (format parquet, row_group_size 2048)""")


def by_polars(table, path):
    """Polars' own types beside it: categories, lists, structs, durations left out; texts are views in it."""
    frame = pl.from_arrow(table).with_columns(
        kind=pl.col("card").cast(pl.Categorical), many=pl.concat_list("cents", "cents"), pair=pl.struct("card", "amount"),
        when=pl.col("at").dt.cast_time_unit("ns"), naive=pl.col("at").dt.replace_time_zone(None), fee=pl.lit(Decimal("1.50")))
    frame.write_parquet(path, row_group_size=3)


def by_pandas(table, path):
    """Pandas with its index, nanoseconds and categories; a missing integer makes floats of all."""
    frame = table.to_pandas().assign(kind=lambda one: one["card"].astype("category"), when=lambda one: one["at"].dt.tz_localize(None),
                                     maybe=lambda one: one["cents"].where(one["cents"] > 0))
    frame.set_index(pd.Index([f"row {at}" for at in range(len(frame))], name="label")).to_parquet(path)


def by_fastparquet(_, path):
    """A file that fastparquet 2026.9 wrote from pandas: three row groups, categories, times without a zone, 2⁵³ + 1, −0.0."""
    shutil.copy(GOLDEN / "fastparquet.parquet", path)


@pytest.mark.parametrize("write", [by_duckdb, by_polars, by_pandas, by_fastparquet], ids=lambda one: one.__name__)
def test_files_of_other_tools_are_read_in_batches_as_one_by_one(tmp_path, write):
    """What DuckDB, Polars, pandas and fastparquet write is indexed and read: the same ids, offsets, hashes and fields by both ways."""
    write(payments(), tmp_path / "part-0.parquet")
    archive = pinned(tmp_path, zone="Europe/Paris")
    lawful = by_law(archive, archive.ranges())
    scanned, report = in_scans(archive, archive.ranges())
    assert scanned == lawful
    assert len(scanned) == pq.ParquetFile(tmp_path / "part-0.parquet").metadata.num_rows
    assert not report.left_out


def test_ordinary_files_need_no_law(tmp_path, monkeypatch):
    """A table as DuckDB writes it is decoded without looking at one row by itself."""
    by_duckdb(payments(), tmp_path / "part-0.parquet")
    archive = pinned(tmp_path)
    asked = []
    genuine = batches.settle
    monkeypatch.setattr("offline_feature_plane.sources.archives.segment_batches.settle",
                        lambda members, expected, law: genuine(members, expected, lambda row: (asked.append(row), law(row))[1]))
    assert len(in_scans(archive, archive.ranges())[0]) == 7
    assert not asked


def test_values_without_a_form_in_json_cost_their_records_only(tmp_path):
    """Bytes and NaN are no JSON: each costs its record, which is counted, by both ways and in the index."""
    table = payments().append_column("blob", pa.array([None, b"x", None, None, None, None, None]))
    table = table.set_column(table.schema.get_field_index("amount"), "amount", pa.array([0.5, 0.5, 0.5, float("nan"), 0.5, 0.5, 0.5]))
    pq.write_table(table, tmp_path / "part-0.parquet")
    archive = pinned(tmp_path)
    lawful = by_law(archive, archive.ranges())
    scanned, report = in_scans(archive, archive.ranges())
    assert scanned == lawful
    assert [one[1] for one in scanned] == ["100", "102", "104", "105", "106"]
    assert report.left_out == {"undecodable": 2}


def test_an_index_of_much_is_made_in_batches(tmp_path, monkeypatch):
    """Where there is much to read, mapped files are indexed by the same kernels; the entries are those of one by one."""
    by_polars(payments(), tmp_path / "part-0.parquet")
    index_archive(tmp_path, settings(tmp_path))
    slowly = (tmp_path / "index.json").read_bytes()
    (tmp_path / "index.json").unlink()
    monkeypatch.setattr(archive_indexing, "_MUCH", 0)
    monkeypatch.setattr(file_runs, "records_of", None)
    index_archive(tmp_path, settings(tmp_path))
    assert (tmp_path / "index.json").read_bytes() == slowly


def test_a_file_that_is_cut_off_is_refused_with_its_name(tmp_path):
    """Half a Parquet file has no footer: its index is not made, and its name is told."""
    pq.write_table(payments(), tmp_path / "part-0.parquet")
    path = tmp_path / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceUnreadable, match=r"part-0\.parquet"):
        index_archive(tmp_path, settings(tmp_path))


def test_columns_of_one_name_are_refused(tmp_path):
    """Which of two columns is meant nobody can say."""
    table = payments()
    pq.write_table(pa.Table.from_arrays([*table.columns, table["cents"]], [*table.column_names, "cents"]), tmp_path / "part-0.parquet")
    with pytest.raises(OfsError, match="several columns named cents"):
        index_archive(tmp_path, settings(tmp_path))


def decoded_rows(monkeypatch):
    """Count how many records of segments are decoded."""
    counted = []
    genuine = batches.settle
    monkeypatch.setattr("offline_feature_plane.sources.archives.segment_batches.settle",
                        lambda members, *more: (counted.append(members.n), genuine(members, *more))[1])
    return counted


def some(archive, start, end):
    """A range in the middle."""
    (whole,) = archive.ranges()
    return [type(whole)(whole.topic, whole.partition, whole.offset_kind, whole.log_id, str(start), str(end))]


@pytest.mark.parametrize(("start", "end", "rows"), [(150, 160, 10), (155, 175, 30), (100, 101, 10), (195, 200, 10), (100, 200, 100)])
def test_row_groups_outside_of_a_basis_are_not_decoded(tmp_path, monkeypatch, start, end, rows):
    """Of a file with ten row groups of ten records only those are decoded that hold something of the basis.

    100 … 109 │ 110 … 119 │ … │ 190 … 199
    """
    pq.write_table(payments(100), tmp_path / "part-0.parquet", row_group_size=10)
    archive = pinned(tmp_path)
    counted = decoded_rows(monkeypatch)
    scanned, _ = in_scans(archive, some(archive, start, end))
    assert sum(counted) == rows
    assert scanned == by_law(archive, some(archive, start, end))


def lying(table, path):
    """A file whose statistics say that each row group holds the offsets of the next one: its pages are the true ones."""
    pq.write_table(table, path, row_group_size=10, use_dictionary=False, compression="none", write_statistics=["offset"])
    data = bytearray(path.read_bytes())
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for row in range(0, table.num_rows, 10):  # in the footer alone, from the last on so that none is changed twice
        for number in (100 + table.num_rows - row - 10, 100 + table.num_rows - row - 1):
            old, new = np.int64(number).tobytes(), np.int64(number + 10).tobytes()
            assert old in data[footer:]
            data[footer:] = data[footer:].replace(old, new)
    path.write_bytes(data)


def test_statistics_that_lie_lose_no_record(tmp_path, monkeypatch):
    """Row groups are chosen by the offsets in them: a file whose statistics point elsewhere gives what it holds.

    statistics   110 … 119 │ 120 … 129 │ …          offsets   100 … 109 │ 110 … 119 │ …
    """
    lying(payments(50), tmp_path / "part-0.parquet")
    metadata = pq.ParquetFile(tmp_path / "part-0.parquet").metadata
    at = metadata.schema.names.index("offset")
    assert [metadata.row_group(number).column(at).statistics.min for number in range(5)] == [110, 120, 130, 140, 150]
    archive = pinned(tmp_path)
    counted = decoded_rows(monkeypatch)
    scanned, _ = in_scans(archive, some(archive, 110, 120))
    assert [one[1] for one in scanned] == [str(number) for number in range(110, 120)]
    assert sum(counted) == 10


def test_what_is_skipped_is_still_held_against_the_index(tmp_path):
    """An index entry that counts other records than the file has is refused, although its row groups would be skipped."""
    pq.write_table(payments(100), tmp_path / "part-0.parquet", row_group_size=10)
    archive = pinned(tmp_path)
    (segment,) = archive.segments
    assert isinstance(segment, Segment)
    text = (tmp_path / "index.json").read_text(encoding="utf-8").replace('"record_count":100', '"record_count":99')
    (tmp_path / "index.json").write_text(text, encoding="utf-8")
    again = ArchiveSource({"transaction": ArchiveMapping(tmp_path, members=segment.lifting.places, run="run1")}).pin("transaction")
    with pytest.raises(OfsError) as told:
        in_scans(again, some(again, 150, 160))
    assert told.value.code == "REPLAY_BASIS_MISMATCH"


def test_a_hole_before_a_row_group_belongs_to_it(tmp_path):
    """Offsets that a log skipped are asked for with the record behind them, so that what stands there is never missed."""
    table = payments(40)
    offsets = pa.array([at if at < 20 else at + 100 for at in range(40)], pa.int64())
    pq.write_table(table.set_column(1, "offset", offsets), tmp_path / "part-0.parquet", row_group_size=10)
    index_archive(tmp_path, settings(tmp_path), holes_are_lawful=True)
    archive = pinned(tmp_path)
    for start, end in ((50, 60), (15, 121), (0, 5), (139, 140)):
        assert in_scans(archive, some(archive, start, end))[0] == by_law(archive, some(archive, start, end))


def restated(root, table, change):
    """Write a file anew, and what its index says of the bytes; `change` makes the entry say more."""
    path = root / "part-0.parquet"
    pq.write_table(table, path, row_group_size=10)
    index = json.loads((root / "index.json").read_text(encoding="utf-8"))
    index["segments"][0].update(sha256=digest_of(path), size=path.stat().st_size)
    change(index["segments"][0])
    (root / "index.json").write_text(json.dumps(index), encoding="utf-8")
    members = settings(root).archives["transaction"].records.places()
    return ArchiveSource({"transaction": ArchiveMapping(root, members=members, run="run1")}).pin("transaction")


@pytest.mark.parametrize("offsets", [(5, 4), (5, 1_000), (5, 101)], ids=["twice", "beyond the end", "backwards"])
def test_groups_that_are_skipped_are_held_against_their_span(tmp_path, offsets):
    """A file whose offsets stand in no order, or outside of its entry, is refused by whoever reads another part of it.

    100 … 105 is written as another offset │ 110 … │ 150 … 159 is read
    """
    table = payments(100)
    pq.write_table(table, tmp_path / "part-0.parquet", row_group_size=10)
    pinned(tmp_path)
    row, said = offsets
    changed = table["offset"].to_pylist()
    changed[row] = said + 100 if said < 100 else said
    archive = restated(tmp_path, table.set_column(1, "offset", pa.array(changed, pa.int64())), lambda _: None)
    for way in (by_law, in_scans):
        with pytest.raises(ReplayBasisMismatch, match=f"transaction/0@{changed[row]}"):
            way(archive, some(archive, 150, 160))


@pytest.mark.parametrize("is_declared", [True, False])
def test_what_cannot_be_decoded_is_counted_whatever_is_skipped(tmp_path, is_declared):
    """A row that names no partition takes the offset behind the record before it (`docs/decisions/0054`), whatever its own says.

    offsets   0 … 9 │ 10 … 18 50! │ 120! 121 … │ … 139!       take 19, 20 and 139
    """
    table = payments(40)
    offsets = pa.array([at if at < 19 else 50 if at == 19 else at + 100 for at in range(40)], pa.int64())
    partitions = pa.array([None if at in (19, 20, 39) else 0 for at in range(40)], pa.int32())
    table = table.set_column(0, "partition", partitions).set_column(1, "offset", offsets)
    pq.write_table(table, tmp_path / "part-0.parquet", row_group_size=10)
    index_archive(tmp_path, settings(tmp_path), holes_are_lawful=True)
    archive = restated(tmp_path, table, (lambda _: None) if is_declared else lambda entry: entry.update(dispositions={}))
    declared = [(20, 21, 1)] if is_declared else []  # else its group is left out, for it stands far behind
    for start, end, expected in (*declared, (19, 20, 1), (60, 70, 0), (15, 121, 2), (139, 140, 1), (0, 5, 0), (0, 140, 3)):
        ranges = some(archive, start, end)
        found, report = in_scans(archive, ranges)
        assert found == by_law(archive, ranges)
        assert report.left_out.get("undecodable", 0) == expected


def test_own_archives_are_pruned_too(tmp_path, monkeypatch):
    """Segments of ours carry offsets as texts; they are chosen by them all the same."""
    pq.write_table(payments(100), tmp_path / "part-0.parquet")
    from offline_feature_plane.archive_jobs import write_archive

    pinned(tmp_path)
    write_archive(tmp_path.parent / "own", "transaction", settings(tmp_path), source=tmp_path, form="parquet")
    path = next((tmp_path.parent / "own").rglob("*.parquet"))
    table = pq.read_table(path)
    assert pc.all(pc.equal(table["offset"], pa.array([str(at) for at in range(100, 200)]))).as_py()
    pq.write_table(table, path, row_group_size=10)
    (tmp_path.parent / "own" / "index.json").unlink()
    index_archive(tmp_path.parent / "own")
    own = ArchiveSource({"transaction": ArchiveMapping(tmp_path.parent / "own")}).pin("transaction")
    counted = decoded_rows(monkeypatch)
    assert in_scans(own, some(own, 150, 160))[0] == by_law(own, some(own, 150, 160))
    assert sum(counted) == 10
