"""librdkafka's own mock of a cluster, in this process: offsets, watermarks and timestamps, but no topic ids and no index of times."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer


class MockCluster:
    """A cluster of one broker that makes topics as they are written to; it lives as long as this."""

    def __init__(self, **settings: Any) -> None:
        self.producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 0, **settings})
        brokers = self.producer.list_topics(timeout=10).brokers.values()
        self.address = ",".join(f"{one.host}:{one.port}" for one in brokers)

    def produce(self, topic: str, partition: int, value: bytes | None, time_ms: int = 0) -> None:
        """Write one value and wait until it is there, so that offsets follow the calls."""
        self.producer.produce(topic, value=value, partition=partition, timestamp=time_ms)
        assert self.producer.flush(10) == 0
