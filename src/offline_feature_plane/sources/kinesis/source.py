"""The streams that `kinesis:` of plane.yaml maps, each pinned by its ARN and creation, and by what its shards hold when it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from offline_feature_plane.contracts.kinesis import KinesisStream
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.domain.cutover import Watermarks
from offline_feature_plane.domain.instants import format_instant, parse_duration, parse_instant
from offline_feature_plane.sources.kinesis.access import KinesisAccess
from offline_feature_plane.sources.kinesis.bus import OFFSET_KIND, Connect, Shard, ShardEnds, StreamFacts
from offline_feature_plane.sources.kinesis.pinned import PinnedShards
from offline_feature_plane.sources.logs.mapped_topics import MappedTopics

__all__ = ["KinesisSource", "StreamMapping", "log_id_of"]

_NOTHING: Final = 10**128 - 1  # where a shard begins and ends that keeps nothing: behind every sequence
_AT_ONCE: Final = 8  # shards whose ends are looked at


@dataclass(frozen=True)
class StreamMapping:
    """How plane.yaml maps a stream."""

    access: KinesisAccess
    zone: str | None = None
    history_start_us: int | None = None
    topic: str | None = None
    event_type: str | None = None
    max_ahead_us: int | None = None

    @classmethod
    def of(cls, name: str, said: KinesisStream) -> StreamMapping:
        """That of an entry of plane.yaml, by its name there."""
        return cls(KinesisAccess.of(name, said), said.zone, None if said.history_start is None else parse_instant(said.history_start),
                   said.topic, said.event_type, None if said.max_ahead is None else parse_duration(said.max_ahead))


class KinesisSource(MappedTopics[StreamMapping]):
    """Reads streams shard by shard, up to the pinned ends. Nothing is connected before a stream is pinned."""

    name = "kinesis"
    version = "1"

    def __init__(self, mappings: Mapping[str, StreamMapping], connect: Connect) -> None:
        super().__init__(mappings)
        self._connect = connect

    @classmethod
    def of(cls, settings: Settings, connect: Connect) -> KinesisSource:
        """The source of a plane's `kinesis:`; `connect` opens a stream, in this process or in another."""
        return cls({topic: StreamMapping.of(topic, one) for topic, one in settings.kinesis.items()}, connect)

    def pin(self, topic: str) -> PinnedShards:
        """Ask the service which log the stream is, and where its shards begin and end.

        Raises:
            SourceUnreadable: there is no such stream. EventBusUnavailable: it cannot be asked, or refuses. SettingsInvalid: there is no
            region. RequestCommandUnsupported: the SDK is not installed.
        """
        mapping = self._mappings[topic]
        stream = self._connect(mapping.access)
        facts = stream.facts()
        shards = stream.shards(facts)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = tuple(zip(shards, pool.map(lambda shard: stream.ends(facts, shard), shards), strict=True))
        taken = None if mapping.topic is None else mapping.event_type or mapping.topic
        return PinnedShards(topic, mapping.topic or topic, mapping.access, self._connect, log_id_of(facts), facts, found,
                            _marks(topic, facts, found), mapping.zone, taken, mapping.max_ahead_us)


def log_id_of(facts: StreamFacts) -> str:
    """Which log a stream is: one that is deleted and made anew under the same ARN is another.

    >>> log_id_of(StreamFacts("arn:aws:kinesis:eu-west-1:123456789012:stream/payments", 1_772_000_000_125_000, 0, 0))
    'arn:aws:kinesis:eu-west-1:123456789012:stream/payments@2026-02-25T06:13:20.125000Z'
    """
    return f"{facts.arn}@{format_instant(facts.created_us)}"


def _marks(topic: str, facts: StreamFacts, found: Sequence[tuple[Shard, ShardEnds]]) -> tuple[Watermarks, ...]:
    """What each shard keeps: from its first record to behind its last one. What was handed out once is settled.

    One that keeps nothing has let go whatever it had; so has one that is not listed any more, for shards are numbered as they come.
    """
    spans = {shard.number: (ends.first.number, ends.last.end) for shard, ends in found if ends.first is not None and ends.last is not None}
    numbers = range(1 + max((shard.number for shard, _ in found), default=-1))
    return tuple(Watermarks(topic, number, OFFSET_KIND, log_id_of(facts), str(start), str(end), str(end))
                 for number in numbers for start, end in (spans.get(number, (_NOTHING, _NOTHING)),))
