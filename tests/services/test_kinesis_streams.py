"""The Kinesis source beside a second server: what every source of records owes, splits and merges, spans of time, whole builds."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from kinesis_server import REGION
from s3_servers import ENVIRONMENT
from small_plane import LABEL_SCHEMA, chargebacks, make_plane
from topic_plane import payments

from offline_feature_plane.__main__ import run as command
from offline_feature_plane.adapters import open_stream
from offline_feature_plane.domain.basis import Range, Selector
from offline_feature_plane.errors import ReplayBasisMismatch, SelectorUnresolved
from offline_feature_plane.sources.kinesis.access import KinesisAccess
from offline_feature_plane.sources.kinesis.source import KinesisSource, StreamMapping
from offline_feature_plane.testing.envelopes import envelope
from offline_feature_plane.testing.record_log_contract import TX, RecordLogContract, ids, read, record, whole


def asked(capsys, *arguments, status=0):
    """What a command answers, as JSON."""
    assert command([*arguments, "--json"]) == status, capsys.readouterr()
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _account(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def pin(kinesis, stream):
    """A stream, pinned as `transaction`."""
    access = KinesisAccess(stream, REGION, kinesis.url, timeout_s=5)
    return KinesisSource({"transaction": StreamMapping(access)}, open_stream).pin("transaction")


def values(first, end):
    """The envelopes of some events."""
    return [envelope(record(n)) for n in range(first, end)]


def now_us():
    """This machine's clock, which is the server's."""
    return int(datetime.now(UTC).timestamp() * 1e6)


class TestStreams(RecordLogContract):
    """Records in streams of the server, which gives them sequences and times of its own."""

    offset_kind = "kinesis_sequence"

    def number_of(self, place, partition=0):
        """As the server gave them; behind the last one, any that is larger."""
        given = self.given.get(partition, [0])
        return given[place] if place < len(given) else given[-1] + 10**30

    @pytest.fixture
    def holding(self, kinesis):
        """Make the streams, and write them."""
        def hold(records, names=None):
            self.given, streams = {}, {}
            for topic in sorted({one["topic"] for one in records}):
                streams[topic] = kinesis.new_name()
                kinesis.create(streams[topic], 1 + max(one["partition"] for one in records if one["topic"] == topic))
            for one in records:
                self.given.setdefault(one["partition"], []).extend(kinesis.put(streams[one["topic"]], [envelope(one)], one["partition"]))
            mapped = names or {one["topic"]: (None, None) for one in records}
            return KinesisSource({
                name: StreamMapping(KinesisAccess(streams[stored or name], REGION, kinesis.url), topic=stored, event_type=kind)
                for name, (stored, kind) in mapped.items()}, open_stream)
        return hold

    def test_what_was_written_is_read_by_partition_and_offset(self, holding):
        """As everywhere, but that nobody chooses when the log takes a record."""
        begun = now_us() - 1_000_000
        pinned = holding([record(0), record(1), record(0, partition=1, event_id="p1")]).pin("transaction")
        found, left_out = read(pinned.reading(whole(pinned), (TX,)))
        assert (ids(found), left_out) == (["e0", "e1", "p1"], {})
        assert [row["offset"] for _, row in found] == [str(self.number_of(0)), str(self.number_of(1)), str(self.number_of(0, 1))]
        assert all(begun <= row["arrival"] <= now_us() + 1_000_000 for _, row in found)
        assert found[0][1]["arrival"] <= found[1][1]["arrival"]


def test_splits_and_merges_lose_nothing_and_repeat_nothing(kinesis):
    """What stands in a closed shard stays there; a shard that is empty is none.

    shard 0   ──0──1──┤
    shard 1           ├──2──┤
    shard 2           ├─────┤
    shard 3                 ├──3──4──▶
    """
    stream = kinesis.new_name()
    kinesis.create(stream)
    kinesis.put(stream, values(0, 2))
    early = pin(kinesis, stream)
    kinesis.split(stream, 0)
    kinesis.put(stream, values(2, 3), 1)
    kinesis.merge(stream, 1, 2)
    kinesis.put(stream, values(3, 5), 3)
    pinned = pin(kinesis, stream)
    assert ids(read(pinned.reading(whole(pinned), (TX,)))[0]) == [f"e{n}" for n in range(5)]
    assert [one.partition for one in pinned.ranges()] == [0, 1, 3]
    assert ids(read(early.reading(whole(early), (TX,)))[0]) == ["e0", "e1"]


def test_a_span_of_time_goes_by_the_streams_index(kinesis):
    """Across a split, each shard by itself; nothing is settled beyond the last record of an open one."""
    stream, moments = kinesis.new_name(), []
    kinesis.create(stream)
    for at in range(4):
        if at == 2:
            kinesis.split(stream, 0)
        for shard in (0,) if at < 2 else (1, 2):
            kinesis.put(stream, [envelope(record(10 * at + shard))], shard)
        time.sleep(0.05)
        moments.append(now_us())
        time.sleep(0.05)
    pinned = pin(kinesis, stream)

    def between(start, end):
        return ids(read(pinned.reading(pinned.resolve(Selector("transaction", start, end)), (TX,)))[0])
    assert between(moments[0], moments[2]) == ["e10", "e21", "e22"]
    assert between(moments[0] - 10_000_000, moments[1]) == ["e0", "e10"]
    with pytest.raises(SelectorUnresolved):
        between(moments[0], moments[3])


def test_ranges_begin_and_end_between_sequences_that_the_server_does_not_know(kinesis):
    """It refuses a sequence without a record; what is inside is read all the same."""
    stream = kinesis.new_name()
    kinesis.create(stream)
    numbers = kinesis.put(stream, values(0, 5))
    pinned = pin(kinesis, stream)
    for start, end, expected in ((numbers[1] + 1, numbers[4], ["e2", "e3"]), (numbers[1] + 10**20, numbers[3] + 1, ["e2", "e3"]),
                                 (numbers[0], numbers[2] + 5, ["e0", "e1", "e2"])):
        part = Range("transaction", 0, "kinesis_sequence", pinned.log_id, str(start), str(end))
        assert ids(read(pinned.reading([part], (TX,)))[0]) == expected


def test_a_stream_that_is_made_anew_is_another_log(kinesis):
    """It has the same name and the same ARN."""
    stream = kinesis.new_name()
    kinesis.create(stream)
    kinesis.put(stream, values(0, 2))
    pinned = pin(kinesis, stream)
    log = pinned.reading(whole(pinned), (TX,))
    kinesis.delete(stream)
    kinesis.create(stream)
    kinesis.put(stream, values(0, 2))
    with pytest.raises(ReplayBasisMismatch, match="another one now"):
        read(log)
    assert pin(kinesis, stream).log_ids != pinned.log_ids


def test_a_dataset_is_the_same_from_the_stream_across_the_cut_and_from_the_archive(kinesis, tmp_path, monkeypatch, capsys):
    """Half of it is archived, the stream is split and goes on, the rest is archived, and the stream is deleted."""
    stream, told = kinesis.new_name(), payments()
    kinesis.create(stream, 2)
    plane = make_plane(tmp_path / "p")
    del plane.plane["events"]
    plane.plane["kinesis"] = {"transaction": {"stream": stream, "region": REGION, "endpoint": kinesis.url, "timeout_s": 10}}
    plane.labels(chargebacks() | {"tx_id": [str(one) for one in chargebacks()["tx_id"]]},
                 pa.schema([("tx_id", pa.string()), *list(LABEL_SCHEMA)[1:]]))
    plane.documents()
    monkeypatch.chdir(plane.folder)
    for at, one in enumerate(told[:120]):
        kinesis.put(stream, [envelope(one)], at % 2)
    asked(capsys, "archive", "write", "archive", "--topic", "transaction")
    kinesis.split(stream, 0)
    for at, one in enumerate(told[120:]):
        kinesis.put(stream, [envelope(one)], 1 + at % 3)
    built = asked(capsys, "build", "intent.yaml")["dataset_manifest_id"]
    assert command(["pin", "intent.yaml", "-o", "pinned.yaml"]) == 0
    capsys.readouterr()
    plane.plane["archives"], plane.plane["verify_overlap"] = {"transaction": {"path": "archive"}}, "full"
    plane.documents()
    assert asked(capsys, "build", "pinned.yaml", "--recompute")["dataset_manifest_id"] == built
    asked(capsys, "archive", "write", "archive", "--topic", "transaction")
    kinesis.delete(stream)
    assert asked(capsys, "build", "pinned.yaml", "--recompute")["dataset_manifest_id"] == built
    del plane.plane["archives"]
    plane.documents()
    assert asked(capsys, "plan", "pinned.yaml", status=3)["error"]["code"] == "SOURCE_UNREADABLE"
