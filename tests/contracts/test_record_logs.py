"""What every source of records owes, held by archives and, beside librdkafka's own mock of a cluster, by the Kafka source."""

import pytest
from mock_cluster import MockCluster

from offline_feature_plane.adapters import open_cluster
from offline_feature_plane.contracts.kafka import KafkaSecurity
from offline_feature_plane.sources.archive import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.source import KafkaSource, TopicMapping
from offline_feature_plane.testing.archives import write_archive
from offline_feature_plane.testing.envelopes import envelope, log_time_ms
from offline_feature_plane.testing.record_log_contract import RecordLogContract, TimedLogContract


class TestArchives(TimedLogContract):
    """Records in segments with an index."""

    @pytest.fixture(params=["jsonl", "parquet"])
    def holding(self, tmp_path, request):
        """Write an archive, two records to a segment."""
        def hold(records, names=None):
            write_archive(tmp_path, records, per_segment=2, form=request.param)
            if names is None:
                return ArchiveSource({one["topic"]: ArchiveMapping(tmp_path) for one in records})
            return ArchiveSource({name: ArchiveMapping(tmp_path, topic=stored, event_type=kind) for name, (stored, kind) in names.items()})
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
