"""One topic of a bus, pinned: its log, its partitions with their watermarks, and what may be read of it (`decisions.md` D16, D20)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from offline_feature_plane.contracts.plan import SourcePlan
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis, describe_basis
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.completeness import BusEvidence, Completeness
from offline_feature_plane.domain.cutover import Watermarks
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.sources.buses.held_batches import rows_of
from offline_feature_plane.sources.buses.kept import Kept, planned, unresolved
from offline_feature_plane.sources.decoding.stored import Rows, Writing
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.bus import Connect, FoundRecord
from offline_feature_plane.sources.kafka.stretch import TopicStretch
from offline_feature_plane.sources.logs.chosen import Wanted as Choice
from offline_feature_plane.sources.logs.records import LogRecords
from offline_feature_plane.sources.logs.typings import typings_of

_AT_ONCE = 8  # partitions whose edges are looked at

Edge = tuple[str, int | None] | None


@dataclass(frozen=True)
class PinnedTopic:
    """`ports.inputs.PinnedEvents` of a bus.

    `watermarks` are those of every partition when it was pinned, and `stored` is the topic's name on the bus. `taken` is the event type
    whose events are read as events of the type `topic`; None: all, as they are. With `named`, the log has a name instead of an id.
    """

    topic: str
    stored: str
    access: KafkaAccess
    connect: Connect
    watermarks: tuple[Watermarks, ...]
    zone: str | None = None
    taken: str | None = None
    named: bool = False
    max_ahead_us: int | None = None
    names_events: ClassVar[bool] = True
    knows_arrival: ClassVar[bool] = True
    table_files: ClassVar[tuple[Path, ...]] = ()
    _edges: dict[tuple[int, int, int], tuple[Edge, Edge]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def log_ids(self) -> tuple[str, ...]:
        """The log that its offsets count in."""
        return self._kept.log_ids

    def ranges(self) -> tuple[Range, ...]:
        """Each partition as far as it is kept and settled. Raises ReplayEventsEmpty."""
        return self._kept.ranges()

    def basis(self) -> list[dict[str, Any]]:
        """Everything that it holds, as entries of a replay basis."""
        return describe_basis(self.ranges())

    def resolve(self, selector: Selector) -> tuple[Range, ...]:
        """Turn a span of log time into ranges, by the broker's own index of times.

            log time   09:00    10:00 from      11:00      12:00 to
            offsets  ──100───────101─103─────────107─────────110──▶     [101, 110)

        Raises:
            SelectorUnresolved: a partition has nothing settled from `to` on yet, or retention may have taken what came first.
        """
        if selector.from_us >= selector.to_us:
            raise unresolved("the selector is empty.", "`to` must be later than `from`.")
        bus, places = self.connect(self.access), [one.partition for one in self.watermarks]
        firsts, starts, ends = (bus.first_at(self.stored, places, max(0, -(-moment // 1_000)))
                                for moment in (0, selector.from_us, selector.to_us))
        found = []
        for one in self.watermarks:
            start, end = starts[one.partition], ends[one.partition]
            if start is None or end is None or end.offset >= one.span[1]:
                when = format_instant(selector.to_us if start is not None else selector.from_us)
                raise unresolved(f"{self.topic}/{one.partition} has no settled record from {when} on yet.",
                                  "Wait until each partition has one, or give offset ranges.")
            if _may_be_late(one, firsts[one.partition], start, selector.from_us):
                raise unresolved(f"{self.topic}/{one.partition} is kept from {format_instant(start.time_ms * 1_000)} (offset "
                                  f"{one.log_start}) only.", "Give offset ranges, or let the selector begin later.")
            if start.offset < end.offset:
                found.append(Range(*one.lane, str(start.offset), str(end.offset)))
        if not found:
            span = f"{format_instant(selector.from_us)} to {format_instant(selector.to_us)}"
            raise unresolved(f"{selector.topic} has no record from {span}.", "Widen the selector.")
        return canonical_basis(found)

    def completeness(self, ranges: Sequence[Range]) -> Completeness:
        """What the bus has of the ranges of this topic, and what stands in the way. Raises what looking at their ends raises."""
        self.stretches(ranges)  # all are looked at together: then each is known
        return self._kept.completeness(ranges, lambda item: [one.evidence for one in self.stretches([item])])

    def stretches(self, ranges: Sequence[Range]) -> tuple[TopicStretch, ...]:
        """What of some ranges the bus holds, settled, ready to be read, by partition and offset.

        Raises:
            OfsError: as `Bus.edges`.
        """
        parts = self._kept.parts(ranges)
        self._look([(marks.partition, start, end) for marks, start, end in parts])
        return tuple(self._stretch(marks, start, end, *self._edges[marks.partition, start, end]) for marks, start, end in parts)

    def reading(self, ranges: Sequence[Range], sources: Sequence[Source]) -> LogRecords:
        """The records in some ranges."""
        mine = self._kept.of_topic(ranges)
        return LogRecords(self.topic, self.stretches(mine), mine, typings_of(sources, self.zone), self.taken, self.max_ahead_us)

    def rows(self, wanted: Range, writing: Writing) -> Iterator[Rows]:
        """As `sources.decoding.stored.CopySource.rows`."""
        yield from rows_of(self.stretches([wanted]), writing)

    def some_of(self, wanted: Range, choice: Choice) -> TopicStretch:
        """As `sources.buses.bus.PinnedBus.some_of`: all of it comes over the wire, and only the chosen is decoded."""
        marks = self._kept.counted(wanted)
        return replace(self._stretch(marks, wanted.start, wanted.end, None, None), choice=choice)

    def first_at(self, marks: Watermarks, moment_us: int) -> int | None:
        """As `sources.buses.bus.PinnedBus.first_at`, by the broker's own index of times."""
        found = self.connect(self.access).first_at(self.stored, [marks.partition], max(0, -(-moment_us // 1_000)))[marks.partition]
        return None if found is None or found.offset >= marks.span[1] else found.offset

    def kept_until_us(self, wanted: Range, offset: int) -> int | None:
        """As `ports.inputs.KeptForAWhile`: not before `retention.ms` after the log time of the first record from there on."""
        bus, marks = self.connect(self.access), self._kept.marks_of(wanted)
        retention_ms = bus.retention_ms(self.stored)
        if retention_ms is None or marks is None or not marks.counts(wanted) or not marks.span[0] <= offset < marks.span[1]:
            return None
        first, _ = bus.edges(self.stored, marks.partition, offset, marks.span[1])
        return None if first is None else (first.time_ms + retention_ms) * 1_000

    def kept_how(self, wanted: Range, offset: int) -> str:
        """As `ports.inputs.KeptSomehow`: by `retention.bytes`, which says nothing of when."""
        most, marks = self.connect(self.access).retention_bytes(self.stored), self._kept.marks_of(wanted)
        if most is None or marks is None:
            return "which keeps it for good, or does not say for how long"
        return (f"which keeps about {most:,} bytes of a partition, whatever their age, and lets the oldest go first: there are "
                f"{max(0, offset - marks.span[0]):,} older offsets")

    def describe(self, ranges: Sequence[Range], read_by: str) -> SourcePlan:
        """The ranges that are read, each with what the bus said of its partition."""
        mine = self._kept.of_topic(ranges)
        return SourcePlan(name=self.topic, kind="bus", read_by=read_by, log_id=mine[0].log_id if mine else "", files=[],
                          ranges=describe_basis(mine), bus=[planned(one.evidence) for one in self.stretches(mine)])

    @property
    def _kept(self) -> Kept:
        return Kept(self.topic, self.stored, self.watermarks)

    def _look(self, spans: Sequence[tuple[int, int, int]]) -> None:
        """Look at the first and the last record of some stretches, several at once, and remember them. Raises as `Bus.edges`."""
        if unknown := [span for span in spans if span not in self._edges]:
            bus = self.connect(self.access)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for span, (first, last) in zip(unknown, pool.map(lambda span: bus.edges(self.stored, *span), unknown), strict=True):
                    self._edges[span] = _edge(first), _edge(last)

    def _stretch(self, marks: Watermarks, start: int, end: int, first: Edge, last: Edge) -> TopicStretch:
        said = BusEvidence(*marks.lane, f"kafka:{self.stored}/{marks.partition}",
                           str(start), None if last is None else last[0], str(end), 0, "", (),
                           (("log_start", marks.log_start), ("last_stable", marks.last_stable), ("end", marks.end)), first, last)
        return TopicStretch(said, self.stored, self.access, self.connect, self.named)


def _edge(found: FoundRecord | None) -> Edge:
    return None if found is None else (str(found.offset), found.leader_epoch)


def _may_be_late(marks: Watermarks, first: FoundRecord | None, start: FoundRecord, from_us: int) -> bool:
    """Is the record that was found the first that is kept, later than what was asked, and something before it gone?"""
    return marks.span[0] > 0 and first is not None and start.offset <= first.offset and start.time_ms * 1_000 > from_us
