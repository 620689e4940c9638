"""What stands at the ends of the partitions of a topic is asked for together, and once."""

from __future__ import annotations

from threading import Barrier

from offline_feature_plane.contracts.kafka import KafkaSecurity
from offline_feature_plane.domain.cutover import Watermarks
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.bus import FoundRecord
from offline_feature_plane.sources.kafka.topic import PinnedTopic


class Bus:
    """Answers two questions at a time only: who asks one after the other waits in vain."""

    def __init__(self):
        self.asked, self._both = [], Barrier(2, timeout=20)

    def edges(self, topic, partition, start, end):
        """The ends of a stretch."""
        self._both.wait()
        self.asked.append((topic, partition, start, end))
        return FoundRecord(start, 0, 0), FoundRecord(end - 1, 0, 0)


def test_partitions_are_looked_at_together_and_once():
    """A plan of many partitions takes as long as its slowest answers, not as long as all of them together.

    partition 0   ├─?──────?─┤        both ends are asked for while those of others are
    partition 1   ├─?──────?─┤
    """
    bus, connected = Bus(), []

    def connect(access):
        connected.append(access)
        return bus
    marks = tuple(Watermarks("t", number, "kafka_offset", "log", "0", "10", "10") for number in range(6))
    topic = PinnedTopic("t", "stored", KafkaAccess("server:9092", KafkaSecurity()), connect, marks)
    found = topic.completeness(topic.ranges())
    assert [one.last_offset for (one,) in found.evidence] == ["9"] * 6
    assert sorted(bus.asked) == [("stored", number, 0, 10) for number in range(6)]
    topic.completeness(topic.ranges())
    assert (len(bus.asked), len(connected)) == (6, 1)
