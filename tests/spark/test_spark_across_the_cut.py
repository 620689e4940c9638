"""A log of an archive and a bus, read in Spark's tasks: the same dataset, and the same findings."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "acceptance"))  # the planes there

from bus_plane import make_bus_plane, of, payments, with_buses

from offline_feature_plane.errors import ReplayBasisMismatch
from offline_feature_plane.plane import open_plane


def test_a_log_across_the_cut_is_one_dataset_on_both_engines(spark, tmp_path, monkeypatch):
    """Tasks compare what both hold, and tell the driver: how much was compared, and each disagreement with its place."""
    with_buses(monkeypatch)
    plane = make_bus_plane(tmp_path / "p")
    by_spark = {"engine.name": "spark", "verify_overlap": "full"}
    with open_plane(plane.folder / "plane.yaml", spark=spark, **by_spark) as opened:
        built = opened.build(plane.intent_path)
    report = json.loads((plane.folder / "store" / built.manifest.evidence.anomaly_report.key).read_text())
    assert (report["compared"], report["conflicts"]) == (40, 0)
    other = make_bus_plane(tmp_path / "q")
    assert open_plane(other.folder / "plane.yaml").build(other.intent_path).manifest.core == built.manifest.core
    of(plane).forge(0, payments([99], customer_id="mallory")[0])
    plane.intent["correction"] = "read again"
    plane.documents()
    with open_plane(plane.folder / "plane.yaml", spark=spark, **by_spark) as opened, \
            pytest.raises(ReplayBasisMismatch, match=r"disagree at 1 of 40 .*transaction/0@99"):
        opened.build(plane.intent_path)


def test_what_is_missing_is_missing_on_both_engines(spark, tmp_path, monkeypatch):
    """A hole that is left out and a compacted stretch of which the rest is read: one core, which says what it lacks.

    archive   [0 ────── 120)
    bus                      [130 ─────── 200)     compacted: 150 is gone
    """
    with_buses(monkeypatch)
    cores = []
    for name in ("spark", "local"):
        plane = make_bus_plane(tmp_path / name)
        of(plane).retain(0, 130)
        of(plane).compact(0, [150])
        lane = {"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset", "log_id": "log1"}
        plane.intent |= {"non_training_allowed": True, "gaps": "as_found",
                         "replay_basis": [{**lane, "start_offset": "0", "end_offset": "200"}]}
        plane.documents()
        with open_plane(plane.folder / "plane.yaml", spark=spark if name == "spark" else None, **{"engine.name": name}) as opened:
            cores.append(opened.build(plane.intent_path).manifest.core)
    assert cores[0] == cores[1]
    assert [(one["start_offset"], one["why"]) for one in cores[0].gaps] == [("120", "archive_gap"), ("130", "compacted")]
    assert (cores[0].eligibility.complete, cores[0].replay["events_read"]) == (False, 189)
