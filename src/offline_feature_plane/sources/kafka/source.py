"""The topics that `kafka:` of plane.yaml maps, each pinned by its id and by what its partitions hold when it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from offline_feature_plane.contracts.kafka import KafkaTopic
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.domain.cutover import Watermarks
from offline_feature_plane.domain.instants import parse_duration, parse_instant
from offline_feature_plane.errors import SourceUnreadable
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.bus import OFFSET_KIND, Connect
from offline_feature_plane.sources.kafka.topic import PinnedTopic
from offline_feature_plane.sources.logs.mapped_topics import MappedTopics


@dataclass(frozen=True)
class TopicMapping:
    """How plane.yaml maps a topic; `log_id` and `is_compacted` are None where the cluster is asked."""

    access: KafkaAccess
    zone: str | None = None
    history_start_us: int | None = None
    topic: str | None = None
    event_type: str | None = None
    log_id: str | None = None
    is_compacted: bool | None = None
    max_ahead_us: int | None = None

    @classmethod
    def of(cls, name: str, said: KafkaTopic) -> TopicMapping:
        """That of an entry of plane.yaml, by its name there."""
        return cls(KafkaAccess.of(name, said), said.zone, None if said.history_start is None else parse_instant(said.history_start),
                   said.topic, said.event_type, said.log_id, None if said.cleanup_policy is None else said.cleanup_policy == "compact",
                   None if said.max_ahead is None else parse_duration(said.max_ahead))


class KafkaSource(MappedTopics[TopicMapping]):
    """Reads topics by assignment, up to the pinned ends. Nothing is connected before a topic is pinned."""

    name = "kafka"
    version = "1"

    def __init__(self, mappings: Mapping[str, TopicMapping], connect: Connect) -> None:
        super().__init__(mappings)
        self._connect = connect

    @classmethod
    def of(cls, settings: Settings, connect: Connect) -> KafkaSource:
        """The source of a plane's `kafka:`; `connect` opens a cluster, in this process or in another."""
        return cls({topic: TopicMapping.of(topic, one) for topic, one in settings.kafka.items()}, connect)

    def pin(self, topic: str) -> PinnedTopic:
        """Ask the cluster which log the topic is, and where its partitions begin and end.

        Raises:
            SourceUnreadable: the cluster has no such topic, or gives it no id and plane.yaml no name.
            EventBusUnavailable: it cannot be asked, or refuses. SettingsInvalid: a secret or a file of `security` is not there.
            RequestCommandUnsupported: the driver is not installed.
        """
        mapping = self._mappings[topic]
        stored, bus = mapping.topic or topic, self._connect(mapping.access)
        partitions = bus.partitions(stored)
        log_id = mapping.log_id or bus.topic_id(stored)
        if log_id is None:
            raise SourceUnreadable(f"the cluster gives the topic {stored} no id.", path=f"kafka.{topic}",
                                   fix="State `log_id`: a name of your own for this log, another one whenever the topic is made anew.")
        is_compacted = bus.is_compacted(stored) if mapping.is_compacted is None else mapping.is_compacted
        ends = bus.ends(stored, partitions)
        marks = tuple(Watermarks(topic, one, OFFSET_KIND, log_id, str(ends[one].log_start), str(ends[one].last_stable), str(ends[one].end),
                                 is_compacted) for one in partitions)
        return PinnedTopic(topic, stored, mapping.access, self._connect, marks, mapping.zone,
                           None if mapping.topic is None else mapping.event_type or stored, mapping.log_id is not None,
                           mapping.max_ahead_us)
