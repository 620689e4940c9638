"""What every source of records owes, held by the Kafka source beside a real broker."""

import pytest

from offline_feature_plane.adapters import open_cluster
from offline_feature_plane.contracts.kafka import KafkaSecurity
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.source import KafkaSource, TopicMapping
from offline_feature_plane.testing.envelopes import envelope, log_time_ms
from offline_feature_plane.testing.record_log_contract import TimedLogContract


class TestTopics(TimedLogContract):
    """Records in topics of a broker, written by an ordinary producer."""

    @pytest.fixture
    def holding(self, broker):
        """Make the topics anew, and write them."""
        made = set()

        def hold(records, names=None):
            for topic in sorted({one["topic"] for one in records}):
                broker.new_topic(topic, unique=False, partitions=1 + max(one["partition"] for one in records if one["topic"] == topic))
                made.add(topic)
            for one in records:
                broker.produce(one["topic"], [envelope(one)], partition=one["partition"], times=[log_time_ms(one)])
            access = KafkaAccess(broker.address(), KafkaSecurity(), timeout_s=20)
            mapped = names or {one["topic"]: (None, None) for one in records}
            return KafkaSource({name: TopicMapping(access, topic=stored, event_type=kind) for name, (stored, kind) in mapped.items()},
                               open_cluster)
        yield hold
        for topic in made:
            broker.delete_topic(topic)
