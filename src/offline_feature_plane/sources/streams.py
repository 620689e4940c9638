"""Topics that an archive and a bus hold together: one logical log, read from the archive first (`domain.md` §1.3, `decisions.md` D20).

The bus is asked when the topic is pinned. One that does not answer is no obstacle to what the archive has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

from offline_feature_plane.contracts.plan import SourcePlan
from offline_feature_plane.domain.basis import Lane, Range, Selector, canonical_basis, describe_basis
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.completeness import Completeness, assess
from offline_feature_plane.domain.cutover import Route, VerifyOverlap, Watermarks
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.prognosis import Missing
from offline_feature_plane.errors import BasisUnresolved, OfsError, OutsideError, SelectorUnresolved, SourceUnreadable
from offline_feature_plane.ports.inputs import EventSource, KeptSomehow
from offline_feature_plane.sources.archives.segments import Segment
from offline_feature_plane.sources.archives.selectors import find_first
from offline_feature_plane.sources.archives.source import PinnedArchive
from offline_feature_plane.sources.buses.bus import PinnedBus, says_there_is_none
from offline_feature_plane.sources.logs.beside import Choice
from offline_feature_plane.sources.logs.chosen import ChosenStretch
from offline_feature_plane.sources.logs.overlapping import MergedStretch, claims_of, without_overlaps
from offline_feature_plane.sources.logs.overlaps import ComparedStretch, runs_of
from offline_feature_plane.sources.logs.records import LogRecords
from offline_feature_plane.sources.logs.stretches import Stretch, lane_of

__all__ = ["PinnedStream", "StreamSource", "join_streams"]


def join_streams(sources: Sequence[EventSource], archives: EventSource, verify_overlap: VerifyOverlap) -> tuple[EventSource, ...]:
    """The sources of a plane: a topic that the archives have and a bus too is one stream, and neither's any more."""
    joined: list[EventSource] = []
    for one in sources:
        shared = [topic for topic in one.topics if topic in archives.topics] if one is not archives else []
        if shared:
            joined.append(StreamSource(archives, one, shared, verify_overlap))
    taken = {topic for stream in joined for topic in stream.topics}
    return (*(one if taken.isdisjoint(one.topics) else _Without(one, taken) for one in sources), *joined)


class StreamSource:
    """Reads topics from an archive and a bus."""

    name = "stream"
    version = "1"

    def __init__(self, archive: EventSource, bus: EventSource, topics: Sequence[str], verify_overlap: VerifyOverlap) -> None:
        self._archive, self._bus, self._topics, self._verify_overlap = archive, bus, tuple(topics), verify_overlap

    @property
    def topics(self) -> Collection[str]:
        """The topics that both have."""
        return self._topics

    def mixes_types(self, topic: str) -> bool:
        """As the archive and the bus say, which are mapped alike."""
        return self._archive.mixes_types(topic)

    def history_start_us(self, topic: str) -> int | None:
        """From when on the topic is declared complete: as the archive says, which reaches further back, else as the bus does."""
        said = self._archive.history_start_us(topic)
        return said if said is not None else self._bus.history_start_us(topic)

    def pin(self, topic: str) -> PinnedStream:
        """Pin the archive's segments, and ask the bus how far it reaches.

        Raises:
            OfsError: as the archive; as the bus for what plane.yaml says of it, but not for a bus that cannot be reached or has no such
                topic.
        """
        archive = cast("PinnedArchive", self._archive.pin(topic))
        try:
            bus: PinnedBus | OfsError = cast("PinnedBus", self._bus.pin(topic))
        except (OutsideError, SourceUnreadable) as silent:
            bus = silent
        return PinnedStream(topic, archive, bus, self._verify_overlap)


class _Without:
    """A source without some of its topics."""

    def __init__(self, source: EventSource, taken: Collection[str]) -> None:
        self._source, self.name, self.version = source, source.name, source.version
        self.topics: Collection[str] = tuple(topic for topic in source.topics if topic not in taken)
        self.mixes_types, self.history_start_us, self.pin = source.mixes_types, source.history_start_us, source.pin


@dataclass(frozen=True)
class PinnedStream:
    """One topic of an archive and a bus, pinned; `bus` is the error that its silence was, if it did not answer."""

    topic: str
    archive: PinnedArchive
    bus: PinnedBus | OfsError
    verify_overlap: VerifyOverlap
    names_events: ClassVar[bool] = True
    knows_arrival: ClassVar[bool] = True
    table_files: ClassVar[tuple[Path, ...]] = ()

    @property
    def watermarks(self) -> tuple[Watermarks, ...]:
        """What the partitions of the bus said of themselves."""
        return () if isinstance(self.bus, OfsError) else self.bus.watermarks

    @property
    def log_ids(self) -> tuple[str, ...]:
        """The logs that archive and bus count in: one, unless the topic was made anew."""
        return tuple(sorted({*self.archive.log_ids, *(one.log_id for one in self.watermarks)}))

    def basis(self) -> list[dict[str, Any]]:
        """Each partition from where the older of both begins to where the bus has settled.

        Raises:
            BasisUnresolved: archive and bus count in different logs. OfsError: the bus did not answer, so the end is unknown.
        """
        if isinstance(self.bus, OfsError):
            raise self.bus
        if len(self.log_ids) > 1:
            buses = sorted({one.log_id for one in self.watermarks})
            raise BasisUnresolved(f"the archive of {self.topic} counts in log {' and '.join(sorted(self.archive.log_ids))}, its bus in log "
                                  f"{' and '.join(buses)}: the topic was made anew, or the archive's index names the log otherwise.",
                                  path="$.replay_basis", fix="Name the ranges, each with its log_id; or, if it is one log, make the index "
                                  f"again: `ofs archive index FOLDER --log-id {buses[0]} --replace`.")
        found = [*self.archive.ranges(), *(_all_of(one) for one in self.watermarks if one.span[0] < one.span[1])]
        lanes: dict[Lane, list[Range]] = {}
        for one in found:
            lanes.setdefault(one.lane, []).append(one)
        return describe_basis(canonical_basis(Range(*lane, str(min(one.start for one in held)), str(max(one.end for one in held)))
                                              for lane, held in lanes.items()))

    def resolve(self, selector: Selector) -> tuple[Range, ...]:
        """Turn a span of log time into ranges: each end is settled by the archive, or else by the bus.

        Raises:
            SelectorUnresolved: neither settles an end. OfsError: the archive does not, and the bus did not answer.
        """
        if selector.from_us >= selector.to_us:
            raise SelectorUnresolved("the selector is empty.", path="replay_basis", fix="`to` must be later than `from`.")
        found = []
        for lane, held in self._lanes().items():
            marks = next((one for one in self.watermarks if one.lane == lane), None)
            start, end = (self._first_at(lane, held, marks, moment, is_start=moment is selector.from_us)
                          for moment in (selector.from_us, selector.to_us))
            if start < end:
                found.append(Range(*lane, str(start), str(end)))
        if not found:
            raise SelectorUnresolved(f"{selector.topic} has no record from {format_instant(selector.from_us)} to "
                                     f"{format_instant(selector.to_us)}.", path="replay_basis", fix="Widen the selector.")
        return canonical_basis(found)

    def completeness(self, ranges: Sequence[Range]) -> Completeness:
        """Hold the ranges of this topic against the archive's index and the bus's watermarks."""
        return assess(self._mine(ranges), [one.evidence for one in self.archive.segments],
                      self.watermarks if not isinstance(self.bus, OfsError) else None if says_there_is_none(self.bus) else "silent")

    def reading(self, ranges: Sequence[Range], sources: Sequence[Source]) -> LogRecords:
        """The records in some ranges: each stretch from whom its route says, and overlaps compared."""
        mine = self._mine(ranges)
        log = self.archive.reading(mine, sources)
        lanes: dict[Lane, list[Route]] = {}
        for way in self.completeness(mine).routes:
            lanes.setdefault(way.wanted.lane, []).append(way)
        held: dict[Lane, list[Stretch]] = {}
        for one in log.stretches:
            held.setdefault(lane_of(one), []).append(one)
        stretches = [one for lane, ways in lanes.items() for one in self._read(ways, held.get(lane, []), sources)]
        return replace(log, stretches=tuple(sorted(stretches, key=lambda one: (one.evidence.partition, one.evidence.span))))

    def describe(self, ranges: Sequence[Range], read_by: str) -> SourcePlan:
        """The segments that some ranges touch, and the stretches that are read from the bus."""
        held = self.archive.describe(ranges, read_by)
        pieces = [_part(way.wanted, *span) for way in self.completeness(ranges).routes for span in way.on_bus]
        on_bus = None if isinstance(self.bus, OfsError) or not pieces else self.bus.describe(pieces, read_by).bus
        notices = [f"{self.topic} is read from the archive alone, and compared with nothing: {self.bus.what}"] if isinstance(
            self.bus, OfsError) else []
        return held.model_copy(update={"kind": "stream", "bus": on_bus, "verify_overlap": "off" if notices else self.verify_overlap,
                                       "notices": notices})

    def kept_until_us(self, wanted: Range, offset: int) -> int | None:
        """As `ports.inputs.KeptForAWhile`: by the bus."""
        return None if isinstance(self.bus, OfsError) else self.bus.kept_until_us(wanted, offset)

    def kept_how(self, wanted: Range, offset: int) -> str:
        """As `ports.inputs.KeptSomehow`: by the bus."""
        return self.bus.kept_how(wanted, offset) if isinstance(self.bus, KeptSomehow) else "which does not say for how long"

    def missing(self) -> Sequence[Missing]:
        """As `ports.inputs.HeldInFiles`: by the archive."""
        return self.archive.missing()

    def _read(self, ways: Sequence[Route], segments: Sequence[Stretch], sources: Sequence[Source]) -> Iterator[Stretch]:
        """The stretches of the ranges of one lane: the archive's segments, those that the bus has too beside it, and what only it has."""
        if isinstance(self.bus, OfsError):
            yield from segments
            return
        lane, marks = ways[0].wanted, ways[0].watermarks
        overlaps = [] if self.verify_overlap == "off" or marks is None else sorted(span for way in ways for span in way.overlaps)
        for run in runs_of(without_overlaps(segments)):
            first, end = run[0].evidence.span[0], run[-1].evidence.span[1]
            shared = [(max(first, start), min(end, stop)) for start, stop in overlaps if start < end and stop > first]
            beside = tuple(one for one in run if shared and _meets(one, shared[0][0], shared[-1][1]))
            yield from (one for one in run if one not in beside)
            if beside and marks is not None:
                choice = Choice.of(self.verify_overlap, shared, [said for one in beside for said in claims_of(one)])
                some_of = partial(_some_of, self.bus, lane)
                yield ComparedStretch(tuple(map(_whole, beside)), tuple(some_of(span, choice) for span in shared), choice,
                                      marks.is_compacted, some_of)
        if pieces := [_part(lane, *span) for way in ways for span in way.on_bus]:
            yield from self.bus.reading(pieces, sources).stretches

    def _first_at(self, lane: Lane, held: Sequence[Any], marks: Watermarks | None, moment: int, *,
                  is_start: bool) -> int:
        """The first offset of a partition whose log time is not before a moment, as the archive says, else the bus."""
        why = ""
        try:
            if held:
                return find_first(held, moment, is_start=is_start)
        except SelectorUnresolved as unsettled:
            if marks is None:
                raise self.bus if isinstance(self.bus, OfsError) else unsettled from None
            why = f"{unsettled.what.removesuffix('.')}, and "
        if marks is None or isinstance(self.bus, OfsError):
            raise self.bus if isinstance(self.bus, OfsError) else _unresolved(lane, moment, "the bus has no such partition")
        found = self.bus.first_at(marks, moment)
        high = max((one.evidence.span[1] for one in held), default=None)
        if found is None:
            is_empty = marks.span[0] == marks.span[1]
            raise _unresolved(lane, moment, f"{why}the bus has no record {'any more' if is_empty else 'from then on yet'}")
        if high is not None and found < high and held[-1].log_times is not None:
            raise _unresolved(lane, moment, f"{why}the bus says offset {found}, where the archive has earlier records")
        if found == marks.span[0] and (high or 0) < found:
            raise _unresolved(lane, moment, f"{why}the bus begins at offset {found}, and what was before it nobody has")
        return found

    def _lanes(self) -> dict[Lane, list[Any]]:
        found: dict[Lane, list[Any]] = {}
        for segment in self.archive.segments:
            found.setdefault(lane_of(segment), []).append(segment)
        for one in self.watermarks:
            found.setdefault(one.lane, [])
        return found

    def _mine(self, ranges: Sequence[Range]) -> tuple[Range, ...]:
        return tuple(one for one in ranges if one.topic == self.topic)


def _whole(stretch: Stretch) -> Stretch:
    """A segment of which everything is looked at: what is compared may lie beside what is asked."""
    if isinstance(stretch, MergedStretch):
        return MergedStretch(tuple(map(_whole, stretch.held)))
    return replace(stretch, asked=None) if isinstance(stretch, Segment) else stretch


def _meets(stretch: Stretch, start: int, end: int) -> bool:
    first, stop = stretch.evidence.span
    return first < end and stop > start


def _some_of(bus: PinnedBus, lane: Range, span: tuple[int, int], choice: Choice) -> ChosenStretch:
    return bus.some_of(_part(lane, *span), choice.rows)


def _part(lane: Range, start: int, end: int) -> Range:
    return replace(lane, start_offset=str(start), end_offset=str(end))


def _all_of(marks: Watermarks) -> Range:
    start, end = marks.span
    return Range(*marks.lane, str(start), str(end))


def _unresolved(lane: Lane, moment: int, why: str) -> SelectorUnresolved:
    return SelectorUnresolved(f"{lane[0]}/{lane[1]} has no single offset for {format_instant(moment)}: {why}.", path="replay_basis",
                              fix="Give offset ranges, or a span of log time that lies inside of what archive and bus have.")
