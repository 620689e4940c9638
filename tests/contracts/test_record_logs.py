"""What every source of records owes, held by archives and, beside mocks of their servers, by topics of Kafka and streams of Kinesis."""

import json
from collections import Counter
from functools import partial

import pytest
from kinesis_streams import REGION, sequence
from mock_cluster import MockCluster
from s3_servers import BUCKET, ENVIRONMENT, WallClock, open_store, place_at

from offline_feature_plane.adapters import open_cluster, open_stream
from offline_feature_plane.archive_jobs import write_archive as copy_archive
from offline_feature_plane.contracts.kafka import KafkaSecurity
from offline_feature_plane.domain.admission import MEMBERS
from offline_feature_plane.domain.foreign_records import Lifting, Place
from offline_feature_plane.sources.archives.buckets import BucketPlace
from offline_feature_plane.sources.archives.indexing import IndexWish, make_index
from offline_feature_plane.sources.archives.places import FolderPlace
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.source import KafkaSource, TopicMapping
from offline_feature_plane.sources.kinesis.access import KinesisAccess
from offline_feature_plane.sources.kinesis.source import KinesisSource, StreamMapping
from offline_feature_plane.sources.logs import records
from offline_feature_plane.sources.streams import join_streams
from offline_feature_plane.testing.archives import write_archive
from offline_feature_plane.testing.envelopes import envelope, log_time_ms
from offline_feature_plane.testing.record_log_contract import RecordLogContract, TimedLogContract


@pytest.fixture(autouse=True)
def in_batches(monkeypatch):
    """What is scanned is decoded by kernels, however few records there are."""
    monkeypatch.setattr(records, "WORTH_A_COMPILER", 0)


class TestArchives(TimedLogContract):
    """Records in segments with an index."""

    @pytest.fixture(params=["jsonl", "jsonl.zst", "parquet"])
    def holding(self, tmp_path, request):
        """Write an archive, two records to a segment."""
        def hold(records, names=None):
            write_archive(tmp_path, records, per_segment=2, form=request.param)
            if names is None:
                return ArchiveSource({one["topic"]: ArchiveMapping(tmp_path) for one in records})
            return ArchiveSource({name: ArchiveMapping(tmp_path, topic=stored, event_type=kind) for name, (stored, kind) in names.items()})
        return hold


class TestArchivesInBuckets(TimedLogContract):
    """Segments below a prefix of a bucket, fetched when they are read."""

    @pytest.fixture
    def holding(self, tmp_path, weed, monkeypatch):
        """Write an archive, and put its files."""
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        place = place_at(weed.url)
        client = open_store(place)._bucket._client

        def hold(records, names=None):
            write_archive(tmp_path / "here", records, per_segment=2)
            for path in (tmp_path / "here").rglob("*.json*"):
                client.put_object(Bucket=BUCKET, Key=place.prefix + path.relative_to(tmp_path / "here").as_posix(), Body=path.read_bytes())
            archive = partial(BucketPlace, place, tmp_path / "work", WallClock())
            return ArchiveSource({name: ArchiveMapping(archive, topic=stored, event_type=kind)
                                  for name, (stored, kind) in (names or {one["topic"]: (None, None) for one in records}).items()})
        return hold


class TestCopiedArchives(TimedLogContract):
    """What `ofs archive write` makes of an archive."""

    @pytest.fixture(params=["jsonl.zst", "parquet"])
    def holding(self, tmp_path, request):
        """Write an archive, and copy every topic of it."""
        def hold(records, names=None):
            write_archive(tmp_path / "from", records, per_segment=3)
            for topic in {one["topic"] for one in records}:
                copy_archive(tmp_path / "to", topic, source=tmp_path / "from", form=request.param, per_segment=2)
            return ArchiveSource({name: ArchiveMapping(tmp_path / "to", topic=stored, event_type=kind)
                                  for name, (stored, kind) in (names or {one["topic"]: (None, None) for one in records}).items()})
        return hold


class TestArchivesOfOthers(TimedLogContract):
    """Records with other members than ours, of all topics and partitions in one file, under an index made from it."""

    @pytest.fixture
    def holding(self, tmp_path):
        """Write the file, and make its index."""
        places = {name: Place(("their", name)) for name in MEMBERS}

        def hold(records, names=None):
            (tmp_path / "all.json").write_text("".join(json.dumps({"their": one}, default=float) + "\n" for one in records))
            make_index(FolderPlace(tmp_path), IndexWish("log1", Lifting(places), holes_are_lawful=True), lambda *_: None)
            return ArchiveSource({name: ArchiveMapping(tmp_path, topic=stored, event_type=kind, members=places)
                                  for name, (stored, kind) in (names or {one["topic"]: (None, None) for one in records}).items()})
        return hold


class TestTopicsOfAMock(RecordLogContract):
    """Records on a bus that has no topic ids, so that plane.yaml names the log."""

    @pytest.fixture
    def holding(self):
        """Write a topic."""
        cluster = MockCluster()
        access = KafkaAccess(cluster.address, KafkaSecurity(), timeout_s=20)

        def hold(records, names=None):
            for one in records:
                cluster.produce(one["topic"], one["partition"], envelope(one), log_time_ms(one))
            mapped = names or {one["topic"]: (None, None) for one in records}
            return KafkaSource({name: TopicMapping(access, topic=stored, event_type=kind, log_id="log1", is_compacted=False)
                                for name, (stored, kind) in mapped.items()}, open_cluster)
        return hold


class TestStreams(RecordLogContract):
    """Records of which an archive has the older half and a bus all: read from the archive first, compared in full."""

    @pytest.fixture
    def holding(self, tmp_path):
        """Write a topic, and archive what comes first in each partition."""
        cluster = MockCluster()
        access = KafkaAccess(cluster.address, KafkaSecurity(), timeout_s=20)

        def hold(records, names=None):
            for one in records:
                cluster.produce(one["topic"], one["partition"], envelope(one), log_time_ms(one))
            sizes = Counter((one["topic"], one["partition"]) for one in records)
            write_archive(tmp_path, [one for one in records if int(one["offset"]) < (sizes[one["topic"], one["partition"]] + 1) // 2],
                          per_segment=2)
            mapped = names or {one["topic"]: (None, None) for one in records}
            archive = ArchiveSource({name: ArchiveMapping(tmp_path, topic=stored, event_type=kind)
                                     for name, (stored, kind) in mapped.items()})
            bus = KafkaSource({name: TopicMapping(access, topic=stored, event_type=kind, log_id="log1", is_compacted=False)
                               for name, (stored, kind) in mapped.items()}, open_cluster)
            return next(one for one in join_streams([archive, bus], archive, "full") if one.name == "stream")
        return hold


def put_all(streams, records):
    """Make the streams of some records, and write them."""
    for topic in sorted({one["topic"] for one in records}):
        streams.create(topic, 1 + max(one["partition"] for one in records if one["topic"] == topic))
    for one in records:
        streams.put(one["topic"], [envelope(one)], one["partition"], [log_time_ms(one) * 1_000])


def read_streams(streams, records, names):
    """A source of them."""
    mapped = names or {one["topic"]: (None, None) for one in records}
    return KinesisSource({name: StreamMapping(KinesisAccess(stored or name, REGION, streams.url, timeout_s=20), topic=stored,
                                              event_type=kind) for name, (stored, kind) in mapped.items()}, open_stream)


class Sequences:
    """Offsets as the server gives them."""

    offset_kind = "kinesis_sequence"

    def number_of(self, place, partition=0):
        """The n-th of a shard."""
        return sequence(place, partition)


class TestShards(Sequences, TimedLogContract):
    """Records in streams, one shard for each partition."""

    @pytest.fixture
    def holding(self, streams):
        """Write streams."""
        def hold(records, names=None):
            put_all(streams, records)
            return read_streams(streams, records, names)
        return hold


class TestStreamsOfShards(Sequences, RecordLogContract):
    """Records of which an archive has the older half, and the stream what retention has left of them: compared in full."""

    @pytest.fixture
    def holding(self, streams, tmp_path):
        """Write streams, archive what comes first in each shard, and let the first record of the larger ones go."""
        def hold(records, names=None):
            put_all(streams, records)
            sizes = Counter((one["topic"], one["partition"]) for one in records)
            older = [one for one in records if int(one["offset"]) < (sizes[one["topic"], one["partition"]] + 1) // 2]
            bus, topic = read_streams(streams, records, names), records[0]["topic"]
            (log_id,) = read_streams(streams, records, None).pin(topic).log_ids
            write_archive(tmp_path, [{**one, "offset_kind": "kinesis_sequence",
                                      "offset": str(sequence(int(one["offset"]), one["partition"]))} for one in older],
                          log_id=log_id, per_segment=2)
            for (stream, shard), size in sizes.items():
                streams.trim(stream, int(size > 3), shard)
            archive = ArchiveSource({name: ArchiveMapping(tmp_path, topic=stored, event_type=kind)
                                     for name, (stored, kind) in (names or {topic: (None, None)}).items()})
            return next(one for one in join_streams([archive, bus], archive, "full") if one.name == "stream")
        return hold
