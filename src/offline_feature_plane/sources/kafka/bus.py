"""What is asked of a cluster, and how it answers; `cluster` asks it with the driver, and nothing here needs one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from offline_feature_plane.sources.kafka.access import KafkaAccess

OFFSET_KIND = "kafka_offset"


@dataclass(frozen=True)
class LogEnds:
    """Where one partition begins and ends: the first offset kept, the last stable one, and where its next record will stand."""

    log_start: int
    last_stable: int
    end: int


@dataclass(frozen=True)
class FoundRecord:
    """A record that stands somewhere: its offset, the leader epoch in which it was written (None if unknown), its log time in ms."""

    offset: int
    leader_epoch: int | None
    time_ms: int


class Message(Protocol):
    """What is asked of a message of the driver."""

    def offset(self) -> int:
        """Where it stands."""

    def value(self) -> bytes | None:
        """What it holds; None for a deletion."""

    def timestamp(self) -> tuple[int, int]:
        """Whose clock, and its ms since the epoch; kind 0 for none at all."""

    def leader_epoch(self) -> int | None:
        """In which epoch it was written."""


class Bus(Protocol):
    """A cluster as one account sees it. Every method raises EventBusUnavailable, and SourceUnreadable for a topic that is not there."""

    def topic_id(self, topic: str) -> str | None:
        """The id that the cluster gave a topic, spelled as Kafka's own tools do; None if it gives none."""

    def partitions(self, topic: str) -> tuple[int, ...]:
        """A topic's partitions."""

    def is_compacted(self, topic: str) -> bool:
        """Does the cluster compact a topic?"""

    def retention_ms(self, topic: str) -> int | None:
        """For how long the cluster keeps a topic's records; None: it keeps them for good, or drops them by their size too."""

    def retention_bytes(self, topic: str) -> int | None:
        """How much of each partition of a topic the cluster keeps, whatever its age; None: it does not go by that."""

    def ends(self, topic: str, partitions: Sequence[int]) -> Mapping[int, LogEnds]:
        """Where some partitions begin and end."""

    def first_at(self, topic: str, partitions: Sequence[int], time_ms: int) -> Mapping[int, FoundRecord | None]:
        """The first record of each partition whose log time is not before an instant; None where there is no such one yet."""

    def edges(self, topic: str, partition: int, start: int, end: int) -> tuple[FoundRecord | None, FoundRecord | None]:
        """The first and the last record of a stretch; None where there is none, or where the last lies behind a very long hole."""

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Sequence[Message]]:
        """The committed messages of a stretch, in batches and in order, up to its end, or an error.

        Raises:
            ReplayBasisGap: an offset is no longer there. ReplayBasisMismatch: records were lost.
            ResourceExceeded: a message is longer than may come.
        """


# How a cluster is reached. It is called wherever a stretch is read, so it must be a function that can be pickled by its name.
Connect = Callable[[KafkaAccess], Bus]
