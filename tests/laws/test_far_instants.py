"""Instants at the ends of the years 1 to 9999, which data uses for "never" and "always": one meaning in both engines."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from two_engines import ask_both, field_task, label_task

from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.evaluation import read_clock
from offline_feature_plane.domain.extraction import extract
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, parse_instant
from offline_feature_plane.engines.local import label_columns, lowering
from offline_feature_plane.engines.local.calendars import read_clocks
from offline_feature_plane.engines.local.lowering import Suspect, lower
from offline_feature_plane.errors import EngineFailed, OfsError
from offline_feature_plane.labelstores.files import pin_labels
from offline_feature_plane.labelstores.mapping import mapping_from

HOUR = 3_600_000_000
ZONES = ("UTC", "Europe/Paris", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Apia", "Africa/Monrovia")
TIME = Field("u", ColumnType("timestamp"), ("u",))
PAIRS = [("9999-12-31 00:00:00", "Europe/Paris"), ("9999-12-31 23:59:59.999999", "Asia/Tokyo"), ("0001-01-01 00:00:00", "America/New_York"),
         ("0001-01-02 00:00:00", "Asia/Tokyo"), ("9999-12-31 23:59:59", "UTC")]


def law(value, zone):
    """What the scalar law makes of a value, or the class of its error."""
    try:
        return extract(value, TIME, zone)
    except OfsError as wrong:
        return type(wrong)


def read_fast(array, zone):
    """What the fast reader makes of values, or None if it lets the law name an offender."""
    try:
        return lower(array, TIME, zone)[0].tolist()
    except Suspect:
        return None


@pytest.mark.parametrize("zone", ZONES)
def test_walls_at_the_ends_of_time_read_as_the_scalar_law_says(zone):
    """Among times of today, a first or last reading is its lawful instant or is refused; nothing else changes for its sake.

    year   1        1970   2026        9999
           ●─────────●──────●───────────●       each batch: today and one far reading
    """
    today = [parse_instant("2026-02-03T12:00:00Z") + hour * HOUR for hour in range(48)]
    far = [EARLIEST_US + shift for shift in (0, 1, 5 * HOUR, 14 * HOUR)] + [LATEST_US - shift for shift in (0, 5 * HOUR, 14 * HOUR)]
    for local in far:
        batch = pa.array([*today, local], pa.timestamp("us"))
        expected = [law(text, zone) for text in batch.cast(pa.string()).to_pylist()]
        refused = not all(isinstance(one, int) for one in expected)
        assert read_fast(batch, zone) == (None if refused else expected)
        assert read_fast(batch.cast(pa.string()), zone) == (None if refused else expected)


def test_times_of_all_ages_read_as_the_scalar_law_says():
    """A batch that spans more years than the fast way looks at is read by the law."""
    local = np.linspace(EARLIEST_US + HOUR * 24, LATEST_US - HOUR * 24, 700).astype(np.int64)
    batch = pa.array(local).cast(pa.timestamp("us"))
    assert read_fast(batch, "Europe/Paris") == [law(text, "Europe/Paris") for text in batch.cast(pa.string()).to_pylist()]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Paris"])
@pytest.mark.parametrize("text", ["0000-01-01T00:00:00Z", "0000-12-31 23:59:59", "10000-01-01T00:00:00Z"])
def test_texts_outside_the_years_1_to_9999_are_refused(text, zone):
    """What Arrow can parse and the law cannot is refused by the fast reader too."""
    assert not isinstance(law(text, zone), int)
    assert read_fast(pa.array(["2026-01-01T00:00:00Z", text]), zone) is None
    assert read_fast(pa.array([text]), zone) is None


@pytest.mark.parametrize("ticks", [-(2**63), 2**63 - 1, 2**62])
def test_ticks_that_leave_64_bits_are_refused(ticks):
    """Seconds whose microseconds wrap around are no instants."""
    assert read_fast(pa.array([0, ticks], pa.timestamp("s", "UTC")), None) is None


@pytest.mark.parametrize("zone", ZONES)
def test_clocks_show_what_they_would_beyond_the_last_year(zone):
    """At the ends of time a clock of a zone may show a day of the year 0 or 10000; both evaluators read it."""
    at = np.array([EARLIEST_US, EARLIEST_US + HOUR, LATEST_US - HOUR, LATEST_US])
    for hand in ("hour", "minute", "weekday", "day_of_month", "month"):
        assert read_clocks(hand, at, zone).tolist() == [read_clock(hand, int(one), zone) for one in at]
    last = [read_clock(hand, LATEST_US, "Asia/Tokyo") for hand in ("hour", "minute", "weekday", "day_of_month", "month")]
    assert last == [8, 59, 5, 1, 1]  # Saturday, 1 January 10000, 08:59
    first = [read_clock(hand, EARLIEST_US, "America/New_York") for hand in ("hour", "weekday", "day_of_month", "month")]
    assert first == [19, 6, 31, 12]  # Sunday, 31 December of the year 0, 19:03:58


@pytest.mark.parametrize(("text", "zone"), PAIRS)
def test_a_far_field_is_a_value_like_any_other(tmp_path, text, zone):
    """An event with a far time in a field builds in both engines, or is refused by both with the same code."""
    (tmp_path / "tx.csv").write_text(f"id,at,u\n1,2026-01-01 00:00:00,{text}\n2,2026-01-02 00:00:00,2026-01-01 10:00:00\n")
    task = field_task(TIME, computed={"same": "u", "hour": "hour(u, 'Asia/Tokyo')", "month": "month(u, 'America/New_York')"})
    found = ask_both(tmp_path, task, {"tx": {"path": tmp_path / "tx.csv", "time": "at", "id": "id", "zone": zone}})
    refused = not isinstance(law(text, zone), int)
    assert found.get("error") == ("REPLAY_EVENT_INVALID" if refused else None)


def write_labels(path: Path, rows, *, zoned):
    """Labels `event, known, since, says` whose times are readings or, if zoned, instants."""
    kind = pa.timestamp("us", "UTC" if zoned else None)
    columns = {"event": pa.array([row[0] for row in rows]), "says": pa.array(["FRAUD"] * len(rows))}
    columns |= {name: pa.array([parse_instant(f"{row[place]}Z") for row in rows]).cast(kind)
                for place, name in ((1, "known"), (2, "since"))}
    pq.write_table(pa.table(columns), path)


@pytest.mark.parametrize("never", ["9999-12-31T00:00:00", "9999-12-31T18:59:59.999999"])
@pytest.mark.parametrize("zone", [None, "Europe/Paris", "America/New_York"])
@pytest.mark.parametrize("which", ["known", "since"])
def test_a_label_that_is_never_known_or_never_holds_is_not_seen(tmp_path, which, zone, never):
    """A sentinel as observed or effective time drops its label from targets and from features, and leaves all others alone.

    event 1 ●        event 2 ●               row 3 ●        as-of ┃
    label of 1: known, holds ●──────────────────────────────────── ┃ ───▶ FRAUD
    label of 2: never known, or never holds                        ┃             ● 9999
    """
    (tmp_path / "tx.csv").write_text("id,at,who\n" + "".join(f"{number},2026-01-0{number}T00:00:00Z,a\n" for number in (1, 2, 3)))
    fine = "2026-01-02T12:00:00"
    rows = [(1, fine, fine), (2, never if which == "known" else fine, never if which == "since" else fine)]
    write_labels(tmp_path / "labels.parquet", rows, zoned=zone is None)
    labels = {"path": "labels.parquet", "event": "event", "observed": "known", "effective": "since", "value": {"column": "says"}}
    events = {"tx": {"path": tmp_path / "tx.csv", "time": "at", "id": "id"}}
    found = ask_both(tmp_path, label_task(asof_us=parse_instant("2026-03-01")), events, labels | ({"zone": zone} if zone else {}))
    assert [row["target"] for row in found["rows"]] == ["1", "0", "0"]
    assert [row["of_tx__bad"] for row in found["rows"]] == ["0", "0", "1"]
    assert found["labels"]["per_type"]["fraud"]["assertions_after_asof"] == 1
    known = parse_instant(f"{fine}Z") - {None: 0, "Europe/Paris": HOUR, "America/New_York": -5 * HOUR}[zone]
    assert found["labels"]["per_type"]["fraud"]["observed_lag"]["p50_us"] == known - parse_instant("2026-01-01")


def test_what_the_fast_way_would_refuse_is_asked_of_the_law(monkeypatch):
    """Were the vectorised way to refuse lawful values, the scalar law would still read them: fast and slow cannot differ."""
    def refuse(*_):
        raise Suspect

    monkeypatch.setitem(lowering._LOWERERS, "timestamp", refuse)
    assert read_fast(pa.array([5, 7, 5], pa.timestamp("s", "UTC")), None) == [5_000_000, 7_000_000, 5_000_000]


def test_what_only_the_fast_reader_refuses_is_never_passed_over(tmp_path, monkeypatch):
    """If the fast reader refuses label times in which the law finds no offender, the build ends; no slot stays unwritten."""
    pq.write_table(
        pa.table({"event": [1], "known": pa.array([0], pa.timestamp("us", "UTC"))}), tmp_path / "labels.parquet")
    mapping = mapping_from({"path": "labels.parquet", "event": "event", "observed": "known", "value": "FRAUD"}, "fraud")
    table = pin_labels(mapping, tmp_path)

    def refuse(*_):
        raise Suspect

    monkeypatch.setattr(label_columns, "lower", refuse)
    with pytest.raises(EngineFailed, match="by the fast reader but not"):
        label_columns.read_assertions(table, ColumnType("int64"))
