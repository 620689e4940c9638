"""File label stores: what is pinned, what a mapping may say, what is refused (`decisions.md` D9, D26, `domain.md` §1.8)."""

import gzip
import re
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.errors import (
    LabelStoreUnavailable,
    OfsError,
    SettingsInvalid,
    SourceColumnUnknown,
    SourceTypeMismatch,
    TimeZoneUndeclared,
)
from offline_feature_plane.labelstores.files import pin_labels
from offline_feature_plane.labelstores.mapping import mapping_from

RAW = {"path": "labels.parquet", "event": "tx_id", "observed": "reported_at", "value": "CHARGEBACK"}
UTC, LOCAL = pa.timestamp("us", "UTC"), pa.timestamp("us")


def write(path, **columns):
    """A Parquet file with good columns, some of them replaced."""
    good = {"tx_id": pa.array([1, 2]), "reported_at": pa.array([5, 6], UTC)}
    pq.write_table(pa.table({**good, **columns}), path)


def pin(folder, **raw):
    """Pin the file of a mapping, as a build does."""
    return pin_labels(mapping_from({**RAW, **raw}, "chargeback"), folder)


def test_a_pin_names_bytes_rows_and_columns(tmp_path):
    """A pinned timeline carries digest, rows, form and columns of its files and the meaning of the columns; nothing is read into it."""
    write(tmp_path / "labels.parquet")
    table = pin(tmp_path, min_lag="1d", zone="UTC", source="EXTERNAL")
    assert [(file.relative, file.rows, file.sha256) for file in table.files] == [
        ("labels.parquet", 2, f"sha256:{sha256((tmp_path / 'labels.parquet').read_bytes()).hexdigest()}")]
    assert (table.form, dict(table.columns)) == ("parquet", {"tx_id": "int64", "reported_at": "timestamp[us, tz=UTC]"})
    assert (table.event_column, table.observed_column) == ("tx_id", "reported_at")
    assert (table.value_constant, table.source_constant) == ("CHARGEBACK", "EXTERNAL")
    assert (table.min_lag_us, table.zone) == (86_400_000_000, "UTC")


def test_the_log_id_is_of_bytes_not_of_places(tmp_path):
    """Two folders with equal files have one log id; another byte, another id."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "part.parquet")
    first, second = (pin(tmp_path, path=name).log_id for name in ("a", "b"))
    write(tmp_path / "b" / "part.parquet", tx_id=pa.array([1, 3]))
    assert first == second != pin(tmp_path, path="b").log_id


@pytest.mark.parametrize("name", ["labels.csv", "labels.csv.gz", "labels.jsonl"])
def test_text_files_are_label_timelines_too(tmp_path, name):
    """CSV, gzipped CSV and JSON Lines are pinned with their rows."""
    text = '{"tx_id": 1, "reported_at": "2026-01-01T00:00:00Z"}\n' if "json" in name else "tx_id,reported_at\n1,2026-01-01T00:00:00Z\n"
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    assert pin(tmp_path, path=name).files[0].rows == 1


def test_columns_may_lie_in_structs(tmp_path):
    """A mapping's dotted names lead into Parquet structs, and a column that is called like a path is that column."""
    about = pa.array([{"tx_id": 7, "by": {"team": "HUMAN"}}, {"tx_id": 8, "by": {"team": "AUTO"}}])
    write(tmp_path / "labels.parquet", about=about)
    table = pin(tmp_path, event="about.tx_id", source={"column": "about.by.team"})
    assert dict(table.columns)["about.tx_id"] == "int64"
    with pytest.raises(SourceTypeMismatch, match=r"'about\.by' of the chargeback labels is struct"):
        pin(tmp_path, event="about.by")
    with pytest.raises(SourceColumnUnknown, match=r"Did you mean 'about\.tx_id'"):
        pin(tmp_path, event="about.tx")
    write(tmp_path / "labels.parquet", about=about, **{"about.tx_id": pa.array(["a", "b"])})
    assert dict(pin(tmp_path, event="about.tx_id").columns)["about.tx_id"] == "string"


def test_missing_empty_and_broken_files_are_unavailable_with_advice(tmp_path):
    """What cannot be read as a timeline is LABEL_STORE_UNAVAILABLE, says of which label type, and what to do."""
    write(tmp_path / "truncated.parquet")
    (tmp_path / "truncated.parquet").write_bytes((tmp_path / "truncated.parquet").read_bytes()[:-20])
    (tmp_path / "empty.parquet").write_bytes(b"")
    write(tmp_path / "no_rows.parquet", tx_id=pa.array([], pa.int64()), reported_at=pa.array([], UTC))
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.jsonl").write_text("{not json\n")
    for name in ("nothing.parquet", "truncated.parquet", "empty.parquet", "no_rows.parquet", "folder", "broken.jsonl"):
        with pytest.raises(LabelStoreUnavailable, match="chargeback") as caught:
            pin(tmp_path, path=name)
        assert caught.value.fix


def test_a_misspelt_column_is_answered_with_the_near_one(tmp_path):
    """A mapped column that the file lacks is refused with the closest that it has, or with all."""
    write(tmp_path / "labels.parquet")
    with pytest.raises(SourceColumnUnknown, match="Did you mean 'reported_at'"):
        pin(tmp_path, observed="reported_on")
    with pytest.raises(SourceColumnUnknown, match="Columns: tx_id, reported_at"):
        pin(tmp_path, id="zzz")


def test_times_without_zone_need_a_declared_one(tmp_path):
    """A time column without zone, of text its first value, is refused until `zone:` says in which one it was written."""
    for column in (pa.array([5, 6], LOCAL), pa.array(["2026-01-01T00:00:00", "2026-01-02T00:00:00Z"])):
        write(tmp_path / "labels.parquet", reported_at=column)
        with pytest.raises(TimeZoneUndeclared, match=r"to labels\.chargeback") as caught:
            pin(tmp_path)
        assert caught.value.path == "labels.chargeback.observed"
        assert pin(tmp_path, zone="Europe/Paris").zone == "Europe/Paris"
    write(tmp_path / "labels.parquet", reported_at=pa.array(["soon", "2026-01-02T00:00:00Z"]))
    with pytest.raises(LabelStoreUnavailable, match="'soon' is not an instant"):
        pin(tmp_path)


@pytest.mark.parametrize(("column", "array", "raw"), [
    ("reported_at", pa.array([1, 2]), {}), ("reported_at", pa.array([1, 2], pa.date32()), {}), ("tx_id", pa.array([1.0, 2.0]), {}),
    ("extra", pa.array([1.0, 0.0]), {"value": {"column": "extra"}}), ("extra", pa.array([1, 2]), {"source": "extra"}),
    ("extra", pa.array([True, False]), {"id": "extra"})])
def test_columns_that_cannot_hold_their_meaning_are_refused(tmp_path, column, array, raw):
    """Numbers as times, floats as ids or unmapped values, truth values as assertion ids: refused when pinned, with the column's type."""
    write(tmp_path / "labels.parquet", **{column: array})
    with pytest.raises(SourceTypeMismatch, match=re.escape(f"is {array.type}:")):
        pin(tmp_path, **raw)


def test_a_mapping_says_everything_that_is_wrong_at_once():
    """Every problem of an entry is named with its path."""
    raw = {"event": 7, "observed": {"after_event": "30 days"}, "value": {"column": "is_fraud", 1: "FRAUD", 1.5: "HALF", 0: False},
           "source": 3, "zone": "Mars/Olympus", "min_lag": "x", "effective": "day"}
    with pytest.raises(SettingsInvalid) as caught:
        mapping_from(raw, "chargeback")
    assert {problem.path for problem in caught.value.problems} == {f"labels.chargeback.{key}" for key in (
        "path", "event", "observed", "value", "source", "zone", "min_lag")}
    assert "quotes" in str(caught.value)


@pytest.mark.parametrize("raw", [
    {"effective": "day", "observed": {"after_event": "30d"}}, {"value": {"column": "x", 1: "A", "1": "B"}}, {"value": ""}, {"value": False},
    {"observed": {"after": "30d"}}, {"source": {"column": "a", "x": 1}}, {"path": ""}])
def test_contradictions_in_a_mapping_are_refused(raw):
    """An assumed delay with an effective column, one raw value mapped twice, and half-written entries are refused."""
    with pytest.raises(SettingsInvalid):
        mapping_from({**RAW, **raw}, "chargeback")


def test_a_mapping_knows_its_truth_columns():
    """Columns that carry truth are listed, so that none becomes a feature; the event and its time are not among them."""
    raw = {"path": "tx.parquet", "event": "tx_id", "time": "tx_time", "observed": {"after_event": "30d"},
           "value": {"column": "is_fraud", True: "FRAUD", False: "LEGIT"}}
    mapping = mapping_from(raw, "fraud")
    assert mapping.truth == ("is_fraud",)
    assert mapping.value_map == (("false", "LEGIT"), ("true", "FRAUD"))
    assert mapping.observed_after_us == 30 * 86_400_000_000
    full = mapping_from({**RAW, "id": "a", "supersedes": "b", "effective": "c", "source": {"column": "d"}}, "x")
    assert full.truth == ("a", "b", "c", "d", "reported_at")


def test_a_lag_of_nothing_may_be_declared():
    """`min_lag: 0s` says that labels may come with their events."""
    assert mapping_from({**RAW, "min_lag": "0s"}, "x").min_lag_us == 0


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    """A linked file outside of a label folder is not followed."""
    write(tmp_path / "secret.parquet")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "part.parquet").symlink_to(tmp_path / "secret.parquet")
    with pytest.raises(OfsError, match="points outside"):
        pin(tmp_path, path="labels")
