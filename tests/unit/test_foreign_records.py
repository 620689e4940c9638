"""Records of other tools become ours, or are undecodable; never something in between."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.domain.admission import MEMBERS, Vacant, decode_stored, standing_of
from offline_feature_plane.domain.foreign_records import UNVERSIONED, V0, Lifting, Place, Unliftable, lifting_of, plain
from offline_feature_plane.errors import SourceUnreadable, TimeZoneUndeclared
from offline_feature_plane.sources.archives.indexing import IndexWish, make_index
from offline_feature_plane.sources.archives.places import FolderPlace

CONNECT = {"partition": Place(("partition",)), "offset": Place(("offset",)), "event_id": Place(("value", "id")),
           "ts_utc": Place(("value", "at")), "log_time_utc": Place(("timestamp",), unit="ms"), "payload": Place(("value",))}
RECORD = {"partition": 1, "offset": 42, "timestamp": 1_767_225_600_123, "value": {"id": 7, "at": "2026-01-01T00:00:00+01:00", "amount": 1}}


def lifted(document, places=CONNECT, relative="a.jsonl", zone=None):
    """The members of a record by name."""
    lifting = lifting_of(places, "pay", "run1", zone)
    return dict(zip(MEMBERS, lifting.lift(document, lifting.fixed(relative)), strict=True))


def test_a_mapping_says_where_each_member_is():
    """Members are found by path; what has no place is the archive's own: its topic, its type, the plane's run."""
    found = lifted(RECORD)
    assert found == {"topic": "pay", "partition": 1, "offset_kind": "kafka_offset", "offset": "42", "platform_run_id": "run1",
                     "scenario_run_id": None, "event_type": "pay", "event_id": "7", "ts_utc": "2025-12-31T23:00:00.000000Z",
                     "schema_version": UNVERSIONED, "payload": RECORD["value"], "payload_hash": None, "payload_hash_recipe": None,
                     "log_time_utc": "2026-01-01T00:00:00.123000Z"}
    assert decode_stored(*found.values()).number == 42


def test_without_a_payload_it_is_all_that_the_log_did_not_add():
    """Coordinates and the log's time are not the event's; a null says nothing, so that a new column changes no older event."""
    flat = {"partition": Place(folder="partition"), "offset": Place(("off",)), "event_id": Place(("id",)), "ts_utc": Place(("at",)),
            "log_time_utc": Place(("kafka_ts",))}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    found = lifted({"off": "9", "kafka_ts": at, "id": "e", "at": at, "amount": 12.5, "new": None}, flat, "dt=1/partition=3/a.parquet")
    assert found["payload"] == {"id": "e", "at": "2026-01-01T00:00:00.000000Z", "amount": Decimal("12.5")}
    assert (found["partition"], found["offset"]) == (3, "9")


def test_a_record_v0_is_read_by_its_origin_and_its_envelope():
    """The archiver's clock is the log's time; the hash over the whole envelope is kept under a recipe of its own, and not compared."""
    v0 = {"archived_at_utc": "2026-01-01T00:00:05Z", "platform_run_id": "run1", "scenario_run_id": "s", "manifest_fingerprint": "m",
          "parameter_hash": "p", "scenario_id": "b", "event_id": "e", "event_type": "pay", "ts_utc": "2026-01-01T00:00:00Z",
          "payload_hash": "0123abcd", "origin_offset": {"topic": "tx", "partition": 0, "offset": "3", "offset_kind": "file_line"},
          "envelope": {"event_id": "e", "schema_version": "v7", "payload": {"amount": 1}}}
    found = lifted(v0, V0)
    assert (found["topic"], found["offset"], found["offset_kind"], found["schema_version"]) == ("tx", "3", "file_line", "v7")
    assert (found["payload"], found["log_time_utc"]) == ({"amount": 1}, "2026-01-01T00:00:05.000000Z")
    assert decode_stored(*found.values()) is not None


@pytest.mark.parametrize("change", [
    {"timestamp": "late"}, {"timestamp": 1 << 62}, {"timestamp": None}, {"offset": -1}, {"offset": 1.5}, {"partition": "x"},
    {"value": {"id": "e", "at": "2026-13-01T00:00:00Z"}}, {"value": {"id": "e", "at": 5}}, {"value": "no JSON"}, {"value": [1]},
    {"value": {"id": [1], "at": "2026-01-01T00:00:00Z"}}, {"value": {"id": "e", "at": "2026-01-01T00:00:00Z", "x": float("nan")}},
    {"value": {"id": "e", "at": "2026-01-01T00:00:00Z", "x": b"\xff"}}], ids=str)
def test_what_has_no_form_of_ours_is_undecodable(change):
    """Bad times, offsets, payloads and numbers that are none cost one record each."""
    try:
        found = lifted(RECORD | change)
    except Unliftable:
        return
    assert decode_stored(*found.values()) is None


def test_a_payload_may_be_json_text():
    """As connectors without converters write it."""
    places = CONNECT | {"event_id": Place(("key",)), "ts_utc": Place(("timestamp",), unit="ms")}
    assert lifted(RECORD | {"key": "e", "value": '{"amount": 1.10}'}, places)["payload"] == {"amount": Decimal("1.10")}


def test_a_path_goes_on_inside_of_a_text():
    """A tool that does not look into the values of a bus archives them as text, or as bytes: their members are reached all the same."""
    envelope = {"id": 7, "at": "2026-01-01T00:00:00+01:00", "payload": {"amount": 1.5}}
    places = CONNECT | {"payload": Place(("value", "payload"))}
    said = lifted(RECORD | {"value": envelope}, places) | {"payload": {"amount": Decimal("1.5")}}
    assert said["event_id"] == "7"
    assert lifted(RECORD | {"value": json.dumps(envelope)}, places) == said
    assert lifted(RECORD | {"value": json.dumps(envelope).encode()}, places) == said
    for wrong in ("", "null", "[1]", b"\xff", '{"id": 7, "id": 8}'):
        with pytest.raises(Unliftable):
            lifted(RECORD | {"value": wrong}, places)


@pytest.mark.parametrize("payload", [("value",), ("value", "payload")], ids=str)
def test_a_null_where_the_event_was_is_a_null_value_of_the_log(payload):
    """A deletion, as connectors archive it; a member that is missing, or renamed, is none, for nobody said so."""
    places = CONNECT | {"payload": Place(payload)}
    found = lifted(RECORD | {"value": None}, places)
    assert standing_of(tuple(found.values())) == Vacant("pay", 1, "kafka_offset", 42, "null_value")
    with pytest.raises(Unliftable):
        lifted({name: value for name, value in RECORD.items() if name != "value"}, places)
    with pytest.raises(Unliftable):
        lifted(RECORD | {"value": {"id": None, "at": None}}, places)


def test_times_without_offset_need_the_archives_zone():
    """A wall reading means nothing without a zone; with one it does."""
    record = RECORD | {"value": {"id": "e", "at": "2026-07-01T12:00:00"}}
    assert lifted(record, zone="Europe/Paris")["ts_utc"] == "2026-07-01T10:00:00.000000Z"
    with pytest.raises(TimeZoneUndeclared):
        lifted(record)


def test_values_of_tables_become_json():
    """Dates and instants are text, floats the shortest decimal; what is within is treated alike."""
    wall = datetime(2026, 1, 2, 3)  # noqa: DTZ001 - a reading of a wall
    assert plain({"d": date(2026, 1, 2), "f": 0.1, "n": [1, None, {"t": wall}], "x": Decimal("1.50")}) == {
        "d": "2026-01-02", "f": Decimal("0.1"), "n": [1, None, {"t": "2026-01-02T03:00:00"}], "x": Decimal("1.50")}


def test_a_table_needs_only_the_columns_that_are_named():
    """With a place for the payload, other columns are not read."""
    assert Lifting(CONNECT).columns == ("offset", "partition", "timestamp", "value")
    assert Lifting({name: place for name, place in CONNECT.items() if name != "payload"}).columns is None


@pytest.mark.parametrize(("change", "said"), [
    ({"raw": [b"x", b"y"]}, "the first has bytes, which JSON has no form for, in raw"),
    ({"o": [0.0, 1.0]}, "the first has nothing that can be its offset"),
    ({"at": ["soon", "later"]}, "the first has no time that can be read in ts_utc"),
    ({"id": [None, None]}, "nothing that can be its event_id")],
    ids=["bytes", "offset", "time", "name"])
def test_a_file_of_which_nothing_can_be_decoded_is_told_with_the_reason(tmp_path, change, said):
    """Whoever wrote the mapping sees which member of it, or which column, is not what it should be."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    usual = {"p": [0, 0], "o": [0, 1], "id": ["a", "b"], "at": [at, at], "log": [at, at], "amount": [1, 2]}
    pq.write_table(pa.table(usual | change), tmp_path / "part-0.snappy.parquet")
    places = {"partition": Place(("p",)), "offset": Place(("o",)), "event_id": Place(("id",)), "ts_utc": Place(("at",)),
              "log_time_utc": Place(("log",))}
    with pytest.raises(SourceUnreadable) as refused:
        make_index(FolderPlace(tmp_path), IndexWish(lifting=lifting_of(places, "pay", "run1", None)), lambda *_: None)
    assert said in f"{refused.value.what} {refused.value.problems}"
