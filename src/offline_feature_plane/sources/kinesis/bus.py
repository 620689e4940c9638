"""What is asked of a stream, and how it answers; `service` asks it by the SDK, and nothing here needs one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from offline_feature_plane.sources.buses.envelopes import Held
from offline_feature_plane.sources.kinesis.access import KinesisAccess

OFFSET_KIND = "kinesis_sequence"


@dataclass(frozen=True)
class StreamFacts:
    """What a stream is: its ARN, when it was created, for how long it keeps records, and the time by its own clock."""

    arn: str
    created_us: int
    retention_us: int
    now_us: int


@dataclass(frozen=True)
class Shard:
    """One shard: its number, the name that it comes from, and whether anything can still be written to it."""

    number: int
    name: str
    is_closed: bool


@dataclass(frozen=True)
class FoundRecord:
    """A record that stands somewhere: its sequence, when the stream took it, and where what it holds ends (behind it, if that is one)."""

    number: int
    time_us: int
    end: int


@dataclass(frozen=True)
class ShardEnds:
    """The first and the last record that a shard keeps, None if it has none; and how many it has, if it has few enough to look at."""

    first: FoundRecord | None
    last: FoundRecord | None
    records: int | None


class Stream(Protocol):
    """A stream as one account sees it. Every method raises EventBusUnavailable, and SourceUnreadable for what is not there."""

    def facts(self) -> StreamFacts:
        """What it is now."""

    def shards(self, facts: StreamFacts) -> tuple[Shard, ...]:
        """Its shards, by number: those that are written to, and closed ones for as long as something of them may be kept."""

    def ends(self, facts: StreamFacts, shard: Shard) -> ShardEnds:
        """Where a shard begins and ends."""

    def first(self, facts: StreamFacts, shard: Shard) -> FoundRecord | None:
        """The first record that a shard keeps."""

    def first_from(self, facts: StreamFacts, shard: Shard, start: int) -> FoundRecord | None:
        """The first record of a shard that holds anything from a sequence on."""

    def first_at(self, facts: StreamFacts, shard: Shard, moment_us: int) -> FoundRecord | None:
        """The first record of a shard that the stream took at a moment or later; None: there is no such one yet."""

    def read(self, facts: StreamFacts, shard: Shard, start: int, end: int) -> Iterator[Sequence[Held]]:
        """What a shard holds from one sequence up to another, in batches and in order, up to its end, or an error."""


# How a stream is reached. It is called wherever a stretch is read, so it must be a function that can be pickled by its name.
Connect = Callable[[KinesisAccess], Stream]
