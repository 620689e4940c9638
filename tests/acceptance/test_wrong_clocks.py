"""Events from clocks that ran ahead: further than `max_ahead` before their log took them, they are quarantined, counted and told."""

import json

import pyarrow as pa
import pytest
from small_plane import LABEL_SCHEMA, chargebacks, make_plane, transactions

from offline_feature_plane.__main__ import run
from offline_feature_plane.errors import SettingsInvalid
from offline_feature_plane.plane import open_plane
from offline_feature_plane.testing.archives import archived, write_archive

HOUR = 3_600_000_000
AHEAD = {11: 2 * HOUR, 12: HOUR, 13: HOUR + 1}  # by how much the clocks of some events ran ahead of their log


def record(place):
    """The payment of a place, which its log took when it happened, or by so much earlier as its clock ran ahead."""
    told = transactions()
    at, said = int(told["tx_time"][place].timestamp()) * 1_000_000, ("customer_id", "terminal_id", "amount")
    return archived(str(told["tx_id"][place]), at, {name: str(told[name][place]) for name in said}, offset=place, platform_run_id="cards",
                    log_us=at - AHEAD.get(place, 0))


@pytest.fixture
def plane(tmp_path):
    """The small plane over an archive in which three events come from clocks that ran ahead."""
    made = make_plane(tmp_path)
    write_archive(tmp_path / "archive", [record(place) for place in range(200)], per_segment=50)
    del made.plane["events"]
    made.plane["archives"] = {"transaction": {"path": "archive"}}
    made.labels(chargebacks() | {"tx_id": [str(one) for one in chargebacks()["tx_id"]]},
                pa.schema([("tx_id", pa.string()), *list(LABEL_SCHEMA)[1:]]))
    return made


def built(plane, engine="local", **settings):
    """The core and evidence of the plane's dataset."""
    plane.documents()
    return open_plane(plane.folder / "plane.yaml", **{"engine.name": engine}, **settings).build(plane.intent_path).manifest


@pytest.mark.parametrize("engine", ["local", "oracle"])
def test_events_too_far_ahead_are_left_out_with_their_places(plane, engine):
    """By an hour is allowed, by an hour and a microsecond is not.

    ahead by     0   2 h   1 h   1 h + 1 µs   0
    offset    … 10   11    12    13          14 …       11 and 13 are quarantined
    """
    plane.plane["archives"]["transaction"]["max_ahead"] = "1h"
    found = built(plane, engine)
    assert found.core.row_accounting["future_quarantined"] == 2
    assert found.core.replay["events_admitted"] == 198
    assert "2 events lie further ahead of their log's time than `max_ahead` allows; no window has them." in found.core.warnings
    report = json.loads((plane.folder / "store" / found.evidence.anomaly_report.key).read_text())
    (finding,) = report["findings"]
    assert (finding["reason"], finding["count"]) == ("future_quarantined", 2)
    assert [one["start_offset"] for one in finding["stretches"]] == ["11", "13"]


def test_without_the_rule_nothing_is_quarantined(plane):
    """Whoever does not say how far clocks may be wrong keeps every event; and with the rule it is another dataset."""
    found = built(plane)
    assert (found.core.row_accounting["future_quarantined"], found.core.replay["events_admitted"]) == (0, 200)
    plane.plane["archives"]["transaction"]["max_ahead"] = "1h"
    assert built(plane).dataset_fingerprint != found.dataset_fingerprint


def test_a_quarantined_event_takes_no_id(plane):
    """The same id again, from a clock that was right, is the event, and no duplicate of what was left out."""
    again = record(11)
    again.update(offset="200", log_time_utc=again["ts_utc"])
    write_archive(plane.folder / "archive", [*(record(place) for place in range(200)), again], per_segment=50)
    plane.plane["archives"]["transaction"]["max_ahead"] = "1h"
    accounting = built(plane).core.row_accounting
    assert (accounting["future_quarantined"], accounting["duplicate"]) == (2, 0)


@pytest.mark.parametrize("wrong", ["0s", "an hour", 5, "-1h", ""])
def test_a_rule_that_says_nothing_is_refused(plane, wrong, capsys):
    """Durations as everywhere; the place of a wrong one is told."""
    plane.plane["archives"]["transaction"]["max_ahead"] = wrong
    plane.documents()
    with pytest.raises(SettingsInvalid, match="max_ahead"):
        open_plane(plane.folder / "plane.yaml")
    assert run(["plan", str(plane.intent_path)]) == 2
    assert "archives.transaction.max_ahead" in capsys.readouterr().err
