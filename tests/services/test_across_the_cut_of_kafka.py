"""A topic of a real broker and its archive as one log: what retention, compaction, transactions and forgery make of it."""

import json
import sys
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.__main__ import run
from offline_feature_plane.adapters import open_cluster
from offline_feature_plane.contracts.kafka import KafkaSecurity
from offline_feature_plane.errors import ReplayBasisMismatch, ReplayIncomplete, TopicCompacted
from offline_feature_plane.plane import open_plane
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.testing.archives import write_archive
from offline_feature_plane.testing.envelopes import envelope, log_time_ms

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))  # the planes there, on another bus

from bus_plane import payments
from small_plane import LABEL_SCHEMA, chargebacks, make_plane


class World:
    """A plane whose topic is on a broker, and as far as a test archives it, in an archive."""

    def __init__(self, broker, folder, **config):
        self.broker, self.folder, self.stored = broker, folder, broker.new_topic("payments", **config)
        self.plane = make_plane(folder)
        del self.plane.plane["events"]
        named = {"topic": self.stored, "event_type": "transaction"}
        self.plane.plane["archives"] = {"transaction": {"path": "archive", **named}}
        self.plane.plane["kafka"] = {"transaction": {"servers": broker.address(), "timeout_s": 10, **named}}
        self.plane.labels(chargebacks() | {"tx_id": [str(one) for one in chargebacks()["tx_id"]]},
                          pa.schema([("tx_id", pa.string()), *list(LABEL_SCHEMA)[1:]]))

    def produce(self, offsets, **changes):
        """Append some payments, as an ordinary producer does."""
        records = payments(offsets, **changes)
        self.broker.produce(self.stored, [envelope(one) for one in records], times=[log_time_ms(one) for one in records],
                            keys=[one["payload"]["customer_id"].encode() for one in records])

    def archive(self, offsets, *, places=None, **changes):
        """Archive some payments, in segments of twenty; at the offsets where they stand, or at other `places`."""
        records = payments(offsets, **changes)
        for one, place in zip(records, places or [int(one["offset"]) for one in records], strict=True):
            one.update(topic=self.stored, offset=str(place))
        write_archive(self.folder / "archive", records, log_id=self.log_id, per_segment=20)

    def archive_all(self):
        """Archive what the bus has, as users do; until then there is no archive."""
        archives = self.plane.plane.pop("archives")
        self.plane.documents()
        place = str(self.folder / "plane.yaml")
        assert run(["archive", "write", str(self.folder / "archive"), "--topic", "transaction", "--plane", place]) == 0
        self.plane.plane["archives"] = archives

    @cached_property
    def log_id(self):
        """The id that the broker gave the topic when it was made, asked for as the source does."""
        return open_cluster(KafkaAccess(self.broker.address(), KafkaSecurity())).topic_id(self.stored)

    def asks_for(self, start, end):
        """Let the intent name its range."""
        self.plane.intent["replay_basis"] = [{"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset", "log_id": self.log_id,
                                              "start_offset": str(start), "end_offset": str(end)}]

    def opened(self, **settings):
        """The plane, its documents as they are now."""
        self.plane.documents()
        return open_plane(self.folder / "plane.yaml", **settings)

    def build(self, **settings):
        """Build the intent."""
        return self.opened(**settings).build(self.plane.intent_path)


@pytest.fixture
def world(broker, tmp_path):
    """Makes worlds; their topics go with them."""
    made = []

    def make(name="p", **config):
        made.append(World(broker, tmp_path / name, **config))
        return made[-1]
    yield make
    for one in made:
        broker.delete_topic(one.stored)


def pieces(built):
    """Who was read where."""
    (way,) = built.manifest.evidence.sources[0].routes
    return [(one["holder"], int(one["start_offset"]), int(one["end_offset"])) for one in way["pieces"]]


def test_a_dataset_across_the_cut_is_the_one_of_the_archive_alone(world, capsys):
    """Produced, archived in part, its beginning let go by the broker: built across the cut, and again from a whole archive.

    archive   [0 ────────────── 120)
    broker              [80 ────────────── 200)
    """
    cut = world()
    cut.produce(range(200))
    cut.archive(range(120))
    cut.broker.delete_records(cut.stored, 0, 80)
    cut.asks_for(0, 200)
    cut.plane.documents()
    assert run(["plan", str(cut.plane.intent_path)]) == 0
    shown = capsys.readouterr().out
    assert "FEASIBLE_REQUIRES_ARCHIVE" in shown
    assert "[80, 200)" in shown
    built = cut.build(verify_overlap="full")
    assert pieces(built) == [("archive", 0, 120), ("bus", 120, 200)]
    report = json.loads((cut.folder / "store" / built.manifest.evidence.anomaly_report.key).read_text())
    assert (report["compared"], report["conflicts"], report["findings"]) == (40, 0, [])
    cut.archive(range(200))
    cut.broker.delete_records(cut.stored, 0, 200)
    again = cut.opened().build(cut.plane.intent_path, recompute=True)
    assert (again.outcome, again.manifest.core) == ("REPRODUCED", built.manifest.core)


def test_a_gap_that_retention_has_passed_is_refused(world, capsys):
    """The archiver fell behind: what lies between its end and the broker's beginning is lost."""
    lost = world()
    lost.produce(range(200))
    lost.archive(range(60))
    lost.broker.delete_records(lost.stored, 0, 80)
    lost.asks_for(0, 200)
    lost.plane.documents()
    assert run(["plan", str(lost.plane.intent_path)]) == 3
    said = capsys.readouterr().err
    assert "INFEASIBLE_ARCHIVE_GAP" in said
    assert "[60, 80)" in said


@pytest.mark.parametrize("side", ["archive", "bus"])
def test_one_record_that_differs_on_either_side_ends_a_training(world, side):
    """A record of the archive was forged, hash and all; or another was produced at its offset."""
    forged = world()
    forged.produce(range(99))
    forged.produce([99], **({"customer_id": "mallory"} if side == "bus" else {}))
    forged.produce(range(100, 200))
    forged.archive(range(120))
    if side == "archive":
        whole = payments(range(120))
        whole[99] = payments([99], customer_id="mallory")[0]
        for one in whole:
            one["topic"] = forged.stored
        write_archive(forged.folder / "archive", whole, log_id=forged.log_id, per_segment=20)
    with pytest.raises(ReplayBasisMismatch, match="transaction/0@99"):
        forged.build()
    (run_made,) = forged.opened().runs()
    assert (run_made.state, run_made.reason_code) == ("FAILED", "REPLAY_BASIS_MISMATCH")
    forged.plane.intent["non_training_allowed"] = True
    built = forged.build()
    assert (built.manifest.core.eligibility.complete, built.manifest.core.replay["events_read"]) == (False, 200)


def test_a_message_that_nobody_can_read(world):
    """Garbage on the bus where the archive can read it is a conflict; behind the cut it is counted, and a training refused."""
    garbled = world()
    garbled.produce(range(150))
    garbled.broker.produce(garbled.stored, [b"garbage"])
    garbled.produce(range(151, 200))
    garbled.archive(range(120))
    garbled.plane.intent["non_training_allowed"] = True
    core = garbled.build().manifest.core
    assert core.row_accounting["undecodable"] == 1
    garbled.archive(range(200))
    garbled.plane.intent.pop("non_training_allowed")
    with pytest.raises(ReplayBasisMismatch, match="can be decoded in the archive, not on the bus"):
        garbled.build(verify_overlap="full")


def test_what_a_broker_has_lost_can_be_declared(world):
    """Beside a gap of both, and on a compacted topic: what is there is read, what is not is in the manifest, and it can be computed again.

    archive   [0 ── 60)                              [0 ────── 120)
    broker             [80 ────────── 200)           [0 ─────────────── 200)  compacted
    declared      [60, 80)                                    [120, 200)
    """
    asked = {"non_training_allowed": True, "gaps": "as_found"}
    lost = world()
    lost.produce(range(200))
    lost.archive(range(60))
    lost.broker.delete_records(lost.stored, 0, 80)
    lost.asks_for(0, 200)
    lost.plane.intent |= asked
    core = lost.build().manifest.core
    assert [(one["start_offset"], one["end_offset"], one["why"]) for one in core.gaps] == [("60", "80", "archive_gap")]
    assert (core.eligibility.complete, core.replay["events_read"]) == (False, 180)
    assert lost.opened().build(lost.plane.intent_path, recompute=True).outcome == "REPRODUCED"
    kept = world(cleanup_policy="compact")
    kept.produce(range(200))
    kept.archive(range(120))
    kept.asks_for(0, 200)
    kept.plane.intent |= asked
    core = kept.build().manifest.core
    assert [(one["start_offset"], one["end_offset"], one["why"]) for one in core.gaps] == [("120", "200", "compacted")]
    assert (core.eligibility.complete, core.replay["events_read"]) == (False, 200)


def test_markers_of_transactions_are_no_records_on_either_side(world):
    """A committed and an aborted transaction leave holes in the offsets, which nobody misses.

    offsets   0 … 9   10 11 12 M   14 15 A   17 … 26      14 and 15 were taken back
    """
    held = world()
    held.produce(range(10))
    records = payments(range(10, 13))
    held.broker.transact(held.stored, [envelope(one) for one in records])
    held.broker.transact(held.stored, [envelope(one) for one in payments([190, 191])], commit=False)
    held.produce(range(13, 200))
    places = [*range(13), *range(17, 17 + 187)]
    held.archive(range(120), places=places[:120])
    built = held.build(verify_overlap="full")
    assert built.manifest.core.replay["events_read"] == 200
    report = json.loads((held.folder / "store" / built.manifest.evidence.anomaly_report.key).read_text())
    assert (report["compared"], report["findings"]) == (120, [])


def test_a_compacted_topic_is_read_from_its_archive_or_not_at_all(world):
    """What compaction took does not show, so the bus proves nothing; a whole archive from before does."""
    compacted = world(cleanup_policy="compact")
    compacted.produce(range(200))
    compacted.archive(range(120))
    with pytest.raises(TopicCompacted):
        compacted.build()
    compacted.archive(range(200))
    assert compacted.build(verify_overlap="full").manifest.core.replay["events_read"] == 200


def test_a_topic_that_was_made_anew_is_another_log(world, capsys):
    """Deleted and created again under its name: the archive has the old log, and the new one has none of it."""
    made = world()
    made.produce(range(200))
    made.archive(range(120))
    made.asks_for(0, 200)
    made.broker.delete_topic(made.stored)
    made.broker.new_topic(made.stored, unique=False)
    made.produce(range(200))
    made.plane.documents()
    assert run(["plan", str(made.plane.intent_path)]) == 3
    assert "INFEASIBLE_ARCHIVE_GAP" in capsys.readouterr().err


def test_a_broker_that_is_down_is_no_obstacle_to_what_is_archived(world, broker):
    """The archive alone serves a range that it has; a range behind it is unchecked."""
    quiet = world()
    quiet.produce(range(200))
    quiet.archive(range(180))
    quiet.asks_for(0, 180)
    broker.kill()
    try:
        built = quiet.build(**{"kafka.transaction.timeout_s": 2})
        assert pieces(built) == [("archive", 0, 180)]
        quiet.asks_for(0, 190)
        with pytest.raises(ReplayIncomplete, match="could not be asked"):
            quiet.build(**{"kafka.transaction.timeout_s": 2})
    finally:
        broker.start()


def test_an_archive_that_ofs_wrote_agrees_with_its_bus(world, capsys):
    """Archived by `ofs archive write` with all that a topic holds: deletions, garbage, records of other runs; cut, and compared in full.

    offsets   0 … 99   100 a deletion   101 garbage   102 of another run   103 … 182
    """
    held = world()
    held.produce(range(100))
    held.broker.produce(held.stored, [None, b"garbage"])
    (foreign,) = payments([100])
    held.broker.produce(held.stored, [envelope({**foreign, "platform_run_id": "other"})], times=[log_time_ms(foreign)])
    held.produce(range(100, 180))
    held.archive_all()
    held.produce(range(180, 200))
    held.broker.delete_records(held.stored, 0, 90)
    held.plane.intent["non_training_allowed"] = True
    built = held.build(verify_overlap="full")
    report = json.loads((held.folder / "store" / built.manifest.evidence.anomaly_report.key).read_text())
    assert (report["conflicts"], report["status"]) == (0, "COMPLETE"), report["findings"]
    assert pieces(built) == [("archive", 0, 183), ("bus", 183, 203)]
    assert report["compared"] >= 91
    capsys.readouterr()


def test_a_topic_without_an_archive(world, capsys):
    """The bus alone: all that it keeps can be had, and nothing that it has let go."""
    alone = world()
    del alone.plane.plane["archives"]
    alone.produce(range(200))
    alone.asks_for(0, 200)
    alone.plane.documents()
    assert run(["plan", str(alone.plane.intent_path)]) == 0
    assert "FEASIBLE_BUS_ONLY" in capsys.readouterr().out
    alone.broker.delete_records(alone.stored, 0, 1)
    assert run(["plan", str(alone.plane.intent_path)]) == 3
    assert "INFEASIBLE_RETENTION_EXCEEDED_NO_ARCHIVE" in capsys.readouterr().err


def test_the_doctor_asks_the_broker_for_its_retention(world):
    """What is on the bus alone may go when the oldest record of it is as old as `retention.ms` says; without a limit nobody says when."""
    kept = world(retention_ms=1_000 * 86_400_000)
    kept.produce(range(200))
    kept.archive(range(120))
    kept.build()
    (one,) = kept.opened().doctor().diagnoses
    until = log_time_ms(payments([120])[0]) * 1_000 + 1_000 * 86_400_000_000
    assert (one.state, one.until_us) == ("on_bus", until)
    (one,) = kept.opened().doctor(within_days=3_650).diagnoses
    assert (one.state, one.prognoses[0].start_offset) == ("fading", "120")
    endless = world("q", retention_ms=-1)
    endless.produce(range(200))
    endless.archive(range(120))
    endless.build()
    (one,) = endless.opened().doctor(within_days=3_650).diagnoses
    assert (one.state, one.until_us) == ("on_bus", None)
    endless.archive(range(200))
    assert endless.opened().doctor().diagnoses[0].state == "archived"


def test_the_doctor_says_what_is_kept_by_size_and_what_is_gone(world):
    """By `retention.bytes` nobody can say when, but how much is older; a topic that was deleted is lost, not silent."""
    sized = world("r", retention_bytes=1_000_000_000)
    sized.plane.plane.pop("archives")
    sized.produce(range(200))
    sized.asks_for(0, 200)
    sized.build()
    (one,) = sized.opened().doctor(within_days=3_650).diagnoses
    assert (one.state, one.until_us) == ("on_bus", None)
    assert "about 1,000,000,000 bytes of a partition" in one.prognoses[0].sentence
    sized.broker.delete_topic(sized.stored)
    (one,) = sized.opened().doctor().diagnoses
    assert (one.state, "no such topic" in one.prognoses[0].sentence) == ("lost", True)
    sized.broker.new_topic(sized.stored, unique=False)
    (one,) = sized.opened().doctor().diagnoses
    assert (one.state, "made anew" in one.prognoses[0].sentence) == ("lost", True)



def test_deletions_are_the_same_from_either(world):
    """A training over a topic with deletions, built from the bus alone: computed again from the archive that OFS wrote, it is the same."""
    deleted = world()
    deleted.produce(range(100))
    deleted.broker.produce(deleted.stored, [None])
    deleted.produce(range(100, 200))
    archives = deleted.plane.plane.pop("archives")
    deleted.asks_for(0, 201)
    first = deleted.build()
    assert first.manifest.core.row_accounting["null_value"] == 1
    deleted.plane.plane["archives"] = archives
    deleted.archive_all()
    deleted.broker.delete_records(deleted.stored, 0, 201)
    again = deleted.opened().build(deleted.plane.intent_path, recompute=True)
    assert (again.outcome, again.manifest.core) == ("REPRODUCED", first.manifest.core)


@pytest.mark.parametrize("form", ["parquet", "json"])
def test_values_that_another_tool_archived_as_they_stood_agree_with_their_bus(world, form):
    """A tool that does not look into values writes them beside their coordinates: one log with the topic, hash for hash.

    archive   [0 ── 100 a deletion ── 150)                 keys and values as bytes, or as JSON texts
    broker    [0 ── 100 a deletion ─────────── 201)
    """
    raw = world()
    raw.produce(range(100))
    raw.broker.produce(raw.stored, [None], times=[log_time_ms(payments([100])[0])])
    raw.produce(range(100, 200))
    records = payments(range(149))
    values = [*map(envelope, records[:100]), None, *map(envelope, records[100:])]
    times = [*map(log_time_ms, records[:101]), *map(log_time_ms, records[100:])]
    folder = raw.folder / "archive"
    folder.mkdir(parents=True)
    if form == "parquet":
        columns = {"key": pa.array([b"k"] * 150), "value": pa.array(values, pa.binary()), "partition": pa.array([0] * 150, pa.int32()),
                   "offset": pa.array(range(150), pa.int64()), "timestamp": pa.array(times, pa.int64())}
        pq.write_table(pa.table(columns), folder / "part-00000-c000.snappy.parquet")
    else:
        rows = [{"partition": 0, "offset": at, "timestamp": time, "value": None if value is None else value.decode()}
                for at, (time, value) in enumerate(zip(times, values, strict=True))]
        (folder / "part-0.json").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    raw.plane.plane["archives"]["transaction"]["records"] = {
        "partition": "partition", "offset": "offset", "log_time_utc": {"member": "timestamp", "unit": "ms"}, "payload": "value.payload",
        **{name: f"value.{name}" for name in ("platform_run_id", "event_type", "event_id", "ts_utc", "schema_version", "scenario_run_id")}}
    raw.plane.documents()
    assert run(["archive", "index", str(folder), "--log-id", raw.log_id, "--plane", str(raw.folder / "plane.yaml")]) == 0
    built = raw.build(verify_overlap="full")
    assert pieces(built) == [("archive", 0, 150), ("bus", 150, 201)]
    report = json.loads((raw.folder / "store" / built.manifest.evidence.anomaly_report.key).read_text())
    assert (report["compared"], report["conflicts"], report["counts"]) == (150, 0, {"null_value": 1})
