"""One stream, pinned: its log, its shards with what they keep, and what may be read of it (`decisions.md` D16, `docs/decisions/0049`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

from offline_feature_plane.contracts.plan import SourcePlan
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis, describe_basis
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.completeness import BusEvidence, Completeness
from offline_feature_plane.domain.cutover import Watermarks
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.sources.buses.held_batches import rows_of
from offline_feature_plane.sources.buses.kept import Kept, planned, unresolved
from offline_feature_plane.sources.decoding.stored import Rows, Writing
from offline_feature_plane.sources.kinesis.access import KinesisAccess
from offline_feature_plane.sources.kinesis.bus import OFFSET_KIND, Connect, FoundRecord, Shard, ShardEnds, StreamFacts
from offline_feature_plane.sources.kinesis.stretch import ShardStretch
from offline_feature_plane.sources.logs.chosen import Wanted as Choice
from offline_feature_plane.sources.logs.records import LogRecords
from offline_feature_plane.sources.logs.typings import typings_of

__all__ = ["PinnedShards"]

_AT_ONCE: Final = 8  # shards whose ends are looked at
_A_SECOND: Final = 1_000  # records that a shard takes in a second
_SECOND_US: Final = 1_000_000
_LEAST_KEPT_US: Final = 24 * 3_600 * _SECOND_US  # no stream lets a record go before


@dataclass(frozen=True)
class PinnedShards:
    """`ports.inputs.PinnedEvents` of a stream.

    `stored` is the log's name in archives, `log_id` its id, `shards` what every shard said when it was pinned, and `watermarks` what
    follows from that. `taken` is the event type whose events are read as events of the type `topic`; None: all, as they are.
    """

    topic: str
    stored: str
    access: KinesisAccess
    connect: Connect
    log_id: str
    facts: StreamFacts
    shards: tuple[tuple[Shard, ShardEnds], ...]
    watermarks: tuple[Watermarks, ...]
    zone: str | None = None
    taken: str | None = None
    max_ahead_us: int | None = None
    names_events: ClassVar[bool] = True
    knows_arrival: ClassVar[bool] = True
    table_files: ClassVar[tuple[Path, ...]] = ()
    _firsts: dict[tuple[int, int], FoundRecord | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def log_ids(self) -> tuple[str, ...]:
        """The log that its sequences count in."""
        return (self.log_id,)

    def ranges(self) -> tuple[Range, ...]:
        """Each shard from the first record that it keeps to behind the last one that it gave. Raises ReplayEventsEmpty."""
        return self._kept.ranges()

    def basis(self) -> list[dict[str, Any]]:
        """Everything that it holds, as entries of a replay basis."""
        return describe_basis(self.ranges())

    def resolve(self, selector: Selector) -> tuple[Range, ...]:
        """Turn a span of log time into ranges, by the stream's own index of times.

            log time        from              to
            shard 0   ──────[──────┤                     closed: it ends where it ends
            shard 2                ├──────────)──▶       begins with the split: nothing of it is gone, for shard 0 still has older records
            shard 1   ──────[─────────────────)──▶

        Raises:
            SelectorUnresolved: an open shard has nothing from `to` on yet, or retention may have taken what came first.
        """
        if selector.from_us >= selector.to_us:
            raise unresolved("the selector is empty.", "`to` must be later than `from`.")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            spans = list(pool.map(lambda one: (self._first_at(one, selector.from_us), self._first_at(one, selector.to_us)), self.shards))
        found = []
        for (shard, _), (start, end) in zip(self.shards, spans, strict=True):
            if start is None or end is None:
                when = format_instant(selector.to_us if start is not None else selector.from_us)
                raise unresolved(f"shard {shard.number} of {self.access.stream} has no record from {when} on yet.",
                                 "Wait until each open shard has one, or give ranges.")
            if start < end:
                found.append(Range(self.topic, shard.number, OFFSET_KIND, self.log_id, str(start), str(end)))
        if not self._has_all_from(selector.from_us):
            raise unresolved(f"{self.access.stream} keeps no record from before {format_instant(selector.from_us)}: what it had from then "
                             "on may be gone.", "Give ranges, or let the selector begin later.")
        if not found:
            span = f"{format_instant(selector.from_us)} to {format_instant(selector.to_us)}"
            raise unresolved(f"{selector.topic} has no record from {span}.", "Widen the selector.")
        return canonical_basis(found)

    def completeness(self, ranges: Sequence[Range]) -> Completeness:
        """What the stream has of the ranges of this topic, and what stands in the way. Raises what looking at their ends raises."""
        return self._kept.completeness(ranges, lambda item: [one.evidence for one in self.stretches([item])])

    def stretches(self, ranges: Sequence[Range]) -> tuple[ShardStretch, ...]:
        """What of some ranges the stream holds, ready to be read, by shard and sequence. Raises as `bus.Stream.first_from`."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return tuple(pool.map(lambda part: self._stretch(*part), self._kept.parts(ranges)))

    def reading(self, ranges: Sequence[Range], sources: Sequence[Source]) -> LogRecords:
        """The records in some ranges."""
        mine = self._kept.of_topic(ranges)
        return LogRecords(self.topic, self.stretches(mine), mine, typings_of(sources, self.zone), self.taken, self.max_ahead_us)

    def rows(self, wanted: Range, writing: Writing) -> Iterator[Rows]:
        """As `sources.decoding.stored.CopySource.rows`."""
        yield from rows_of(self.stretches([wanted]), writing)

    def some_of(self, wanted: Range, choice: Choice) -> ShardStretch:
        """As `sources.buses.bus.PinnedBus.some_of`: all of it comes over the wire, and only the chosen is decoded."""
        return replace(self._stretch(self._kept.counted(wanted), wanted.start, wanted.end), choice=choice)

    def first_at(self, marks: Watermarks, moment_us: int) -> int | None:
        """As `sources.buses.bus.PinnedBus.first_at`, by the stream's index of times; of a closed shard where it ends, if nothing came."""
        one = next((one for one in self.shards if one[0].number == marks.partition), None)
        return None if one is None or one[1].last is None else self._first_at(one, moment_us)

    def kept_until_us(self, wanted: Range, offset: int) -> int | None:
        """As `ports.inputs.KeptForAWhile`: not before the retention period after the stream took the first record from there on."""
        marks = self._kept.marks_of(wanted)
        if marks is None or not marks.counts(wanted) or not marks.span[0] <= offset < marks.span[1]:
            return None
        first = self._first_from(marks, offset)
        return None if first is None else first.time_us + self.facts.retention_us

    def describe(self, ranges: Sequence[Range], read_by: str) -> SourcePlan:
        """The ranges that are read, each with what its shard said."""
        mine = self._kept.of_topic(ranges)
        return SourcePlan(name=self.topic, kind="bus", read_by=read_by, log_id=mine[0].log_id if mine else "", files=[],
                          ranges=describe_basis(mine), bus=[planned(one.evidence, one.most) for one in self.stretches(mine)])

    @property
    def _kept(self) -> Kept:
        return Kept(self.topic, self.access.stream, self.watermarks, "stream")

    def _of(self, number: int) -> tuple[Shard, ShardEnds]:
        return next(one for one in self.shards if one[0].number == number)

    def _first_at(self, one: tuple[Shard, ShardEnds], moment_us: int) -> int | None:
        """The first sequence from a moment on; where a closed shard ends, if it has nothing from then on; None: nobody knows yet."""
        shard, ends = one
        stable = 0 if ends.last is None else ends.last.end
        found = self.connect(self.access).first_at(self.facts, shard, moment_us)
        if found is not None and found.number < stable:
            return found.number
        return stable if shard.is_closed else None

    def _has_all_from(self, moment_us: int) -> bool:
        """Has retention taken nothing from a moment on? It takes by age: whoever keeps an older record keeps all that came after it."""
        if self.facts.now_us - self.facts.created_us < _LEAST_KEPT_US:
            return True
        return any(ends.first is not None and ends.first.time_us <= moment_us for _, ends in self.shards)

    def _first_from(self, marks: Watermarks, start: int) -> FoundRecord | None:
        shard, ends = self._of(marks.partition)
        if ends.first is not None and start == ends.first.number:
            return ends.first
        if (shard.number, start) not in self._firsts:
            self._firsts[shard.number, start] = self.connect(self.access).first_from(self.facts, shard, start)
        return self._firsts[shard.number, start]

    def _stretch(self, marks: Watermarks, start: int, end: int) -> ShardStretch:
        shard, ends = self._of(marks.partition)
        first, last = self._first_from(marks, start), ends.last
        seen = [(str(one.number), None) if one is not None and start <= one.number < end else None for one in (first, last)]
        said = BusEvidence(*marks.lane, f"kinesis:{self.access.stream}/{shard.number}",
                           str(start), None if seen[1] is None else seen[1][0], str(end), 0, "", (),
                           (("log_start", marks.log_start), ("last_stable", marks.last_stable), ("end", marks.end)), *seen)
        return ShardStretch(said, self.stored, shard, self.access, self.connect, _most(ends, first))


def _most(ends: ShardEnds, first: FoundRecord | None) -> int:
    """Not more records than this: a shard that was not counted takes only so many a second."""
    if ends.records is not None:
        return ends.records
    if ends.last is None or first is None:
        return 0
    return _A_SECOND * ((max(0, ends.last.time_us - first.time_us)) // _SECOND_US + 2)
