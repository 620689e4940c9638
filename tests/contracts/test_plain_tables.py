"""Plain tables: the mapping is held against the files before anything is read."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.errors import SettingsInvalid, SourceColumnUnknown, SourceTypeMismatch, SourceUnreadable, TimeZoneUndeclared
from offline_feature_plane.sources.files import TableMapping, pin_table


def table(path, **columns):
    """Write a Parquet file."""
    pq.write_table(pa.table(columns), path)
    return path


def pin(path, time="at", id="id", zone=None):  # noqa: A002 - as plane.yaml calls it
    """Pin a table under the name tx."""
    return pin_table("tx", TableMapping(path, time, id, zone))


def test_a_pinned_table_says_everything_an_engine_needs(tmp_path):
    """Topic, log, files, id and its type, time and its zone, columns."""
    path = table(tmp_path / "a.parquet", id=pa.array([1], pa.int32()), at=pa.array([1], pa.timestamp("ms", "UTC")))
    pinned = pin(path)
    assert (pinned.topic, pinned.form, pinned.id_column, pinned.time_column) == ("tx", "parquet", "id", "at")
    assert pinned.id_type == ColumnType("int64")
    assert pinned.log_id.startswith("sha256:")
    assert pinned.columns == (("id", "int32"), ("at", "timestamp[ms, tz=UTC]"))


def test_the_log_id_follows_bytes_and_names_and_nothing_else(tmp_path):
    """Pinning again gives the same log; a row more, or another file name, gives another."""
    columns = {"id": [1], "at": pa.array([1], pa.timestamp("us", "UTC"))}
    first = pin(table(tmp_path / "a.parquet", **columns)).log_id
    assert pin(tmp_path / "a.parquet").log_id == first
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes())
    assert pin(tmp_path / "b.parquet").log_id != first


@pytest.mark.parametrize(("data", "kind"), [
    (pa.array([1], pa.uint64()), "int64"), (pa.array(["x"]), "string"), (pa.array(["x"]).dictionary_encode(), "string")])
def test_ids_are_integers_or_text(tmp_path, data, kind):
    """An integer column of any width gives int64 ids, text gives string ids."""
    assert pin(table(tmp_path / "a.parquet", id=data, at=pa.array([1], pa.timestamp("us", "UTC")))).id_type == ColumnType(kind)


def test_json_ids_are_integers_only_if_every_one_is(tmp_path):
    """One text id makes the column text."""
    (tmp_path / "a.jsonl").write_text('{"id": 1, "at": "2026-01-01T00:00:00Z"}\n{"id": "x", "at": "2026-01-01T00:00:00Z"}\n')
    assert pin(tmp_path / "a.jsonl").id_type == ColumnType("string")


def test_a_column_that_does_not_exist_is_refused_with_the_nearest_name(tmp_path):
    """The advice is what was probably meant."""
    path = table(tmp_path / "a.parquet", tx_id=[1], tx_time=pa.array([1], pa.timestamp("us", "UTC")))
    with pytest.raises(SourceColumnUnknown, match=r"Did you mean tx_time"):
        pin(path, "tx_tiem", "tx_id")
    with pytest.raises(SourceColumnUnknown) as caught:
        pin(path, "tx_time", "nothing_like_it")
    assert caught.value.path == "events.tx.id"


def test_times_without_zone_need_a_declared_one(tmp_path):
    """In Parquet by the column's type, in text by its first value."""
    zoneless = table(tmp_path / "a.parquet", id=[1], at=pa.array([1], pa.timestamp("us")))
    (tmp_path / "a.csv").write_text("id,at\n1,\n2,2026-01-01 00:00:00\n")
    for path in (zoneless, tmp_path / "a.csv"):
        with pytest.raises(TimeZoneUndeclared, match="zone: UTC") as caught:
            pin(path)
        assert caught.value.path == "events.tx.time"
        assert pin(path, zone="Europe/Paris").zone == "Europe/Paris"


@pytest.mark.parametrize("column", [pa.array([1]), pa.array([1.5]), pa.array(["noon"]), pa.array([1], pa.date32())])
def test_a_time_column_of_another_type_is_refused(tmp_path, column):
    """Numbers, dates and other text are no instants; nothing is guessed."""
    with pytest.raises(SourceTypeMismatch):
        pin(table(tmp_path / "a.parquet", id=[1], at=column), zone="UTC")


def test_one_column_cannot_be_id_and_time_and_zones_must_exist(tmp_path):
    """A mapping that contradicts itself is refused before any file is opened."""
    with pytest.raises(SettingsInvalid):
        pin(tmp_path / "nothing.parquet", "at", "at")
    with pytest.raises(SettingsInvalid):
        pin(tmp_path / "nothing.parquet", zone="Mars/Olympus")
    with pytest.raises(SourceUnreadable):
        pin(tmp_path / "nothing.parquet")
