"""Record archives: folders of segments with an index, and the events in them (`domain.md` §1.1–1.5, `decisions.md` D9, D15, D16, D20)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from offline_feature_plane.contracts.plan import SourceFile, SourcePlan
from offline_feature_plane.contracts.plane import ArchiveFolder, S3Access, Settings
from offline_feature_plane.domain.basis import Lane, Range, Selector, canonical_basis, describe_basis
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.completeness import Completeness, SegmentEvidence, assess
from offline_feature_plane.domain.foreign_records import Lifting, Place, lifting_of
from offline_feature_plane.domain.instants import parse_duration, parse_instant
from offline_feature_plane.domain.prognosis import Missing
from offline_feature_plane.s3.place import is_bucket
from offline_feature_plane.sources.archives.copying import rows_in_order
from offline_feature_plane.sources.archives.dividing import Entry, Room, SharedFile
from offline_feature_plane.sources.archives.index import read_segments
from offline_feature_plane.sources.archives.places import ArchivePlace, FolderPlace
from offline_feature_plane.sources.archives.segments import Segment
from offline_feature_plane.sources.archives.selectors import resolve_selector
from offline_feature_plane.sources.decoding.stored import Rows, Writing
from offline_feature_plane.sources.logs.mapped_topics import MappedTopics
from offline_feature_plane.sources.logs.records import WORTH_A_COMPILER, LogRecords
from offline_feature_plane.sources.logs.stretches import lane_of, touches
from offline_feature_plane.sources.logs.typings import typings_of

# What opens an archive at an address in a bucket that is reached so.
BucketDoor = Callable[[str, S3Access], ArchivePlace]


@dataclass(frozen=True)
class ArchiveMapping:
    """How plane.yaml maps an archive: its place, and in which zone payload times without offset were written.

    With `topic`, the topic of that name is mapped under another one, and its events of one type are those of that name. With `members`,
    another tool wrote its records, and those that name no run are of the run `run`. What is kept apart of shared files while they are
    read is below `work`; None: where this machine has its temporary files.
    """

    path: Path | Callable[[], ArchivePlace]
    zone: str | None = None
    history_start_us: int | None = None
    topic: str | None = None
    event_type: str | None = None
    members: Mapping[str, Place] | None = None
    run: str = ""
    max_ahead_us: int | None = None
    work: Path | None = None

    def place(self) -> ArchivePlace:
        """Where it is. Raises RequestCommandUnsupported: the library for buckets is not installed."""
        return FolderPlace(self.path) if isinstance(self.path, Path) else self.path()

    def lifting(self, topic: str) -> Lifting | None:
        """How its records are read, if they are not ours; `topic` is what they say."""
        return None if self.members is None else lifting_of(self.members, topic, self.run, self.zone)


class ArchiveSource(MappedTopics[ArchiveMapping]):
    """Reads archives in place. Segments are hashed just before they are read; the pins are the digests in the index."""

    name = "archive"
    version = "1"

    @classmethod
    def of(cls, settings: Settings, open_bucket: BucketDoor) -> ArchiveSource:
        """The source of a plane's `archives:`; one in a bucket is opened when it is pinned."""
        return cls({topic: _mapping(one, settings, open_bucket) for topic, one in settings.archives.items()})

    def pin(self, topic: str) -> PinnedArchive:
        """Read the index and pin the topic's segments.

        Raises:
            SourceUnreadable: no index, a malformed one, no segment of this topic.
            RefInvalid: a segment path that is no path. RefScopeInvalid: one that leads out of the archive.
        """
        mapping = self._mappings[topic]
        stored = mapping.topic or topic
        return PinnedArchive(topic, mapping.zone, read_segments(mapping.place(), stored, topic, mapping.lifting(stored)),
                             None if mapping.topic is None else mapping.event_type or stored, mapping.max_ahead_us, mapping.work)


def _mapping(one: ArchiveFolder, settings: Settings, open_bucket: BucketDoor) -> ArchiveMapping:
    path = partial(open_bucket, one.path, one.s3 or settings.s3) if is_bucket(one.path) else Path(one.path)
    begin = None if one.history_start is None else parse_instant(one.history_start)
    members = None if one.records is None else one.records.places()
    return ArchiveMapping(path, one.zone, begin, one.topic, one.event_type, members, settings.run_scope,
                          None if one.max_ahead is None else parse_duration(one.max_ahead), Path(settings.work))


@dataclass(frozen=True)
class PinnedArchive:
    """One topic of an archive, pinned: its segments with what the index claims of each.

    `taken` is the event type whose events are read as events of the type `topic`; None: all, as they are. `work` as in
    `ArchiveMapping`.
    """

    topic: str
    zone: str | None
    segments: tuple[Segment, ...]
    taken: str | None = None
    max_ahead_us: int | None = None
    work: Path | None = None
    names_events: ClassVar[bool] = True
    knows_arrival: ClassVar[bool] = True
    table_files: ClassVar[tuple[Path, ...]] = ()

    @property
    def log_ids(self) -> tuple[str, ...]:
        """The logs that its offsets count in."""
        return tuple(sorted({one.evidence.log_id for one in self.segments}))

    def ranges(self) -> tuple[Range, ...]:
        """Each partition from the first to the last offset that the archive knows: a hole between is a gap, not the end of the question."""
        lanes: dict[Lane, list[SegmentEvidence]] = {}
        for one in self.segments:
            lanes.setdefault(lane_of(one), []).append(one.evidence)
        return canonical_basis(Range(*lane, min(held, key=lambda one: one.span[0]).first_offset,
                                     max(held, key=lambda one: one.span[1]).next_offset) for lane, held in lanes.items())

    def basis(self) -> list[dict[str, Any]]:
        """Everything that it holds, as entries of a replay basis."""
        return describe_basis(self.ranges())

    def resolve(self, selector: Selector) -> tuple[Range, ...]:
        """Turn a span of log time into ranges; raises as `sources.archives.selectors.resolve_selector`."""
        return resolve_selector(self.segments, selector)

    def missing(self) -> list[Missing]:
        """As `ports.inputs.HeldInFiles`."""
        if not self.segments:
            return []
        odd = self.segments[0].place.oddities(tuple({one.file.relative: one.file for one in self.segments}.values()))
        return [Missing(Range(*lane_of(one), one.evidence.first_offset, one.evidence.next_offset), odd[one.file.relative])
                for one in self.segments if one.file.relative in odd]

    def completeness(self, ranges: Sequence[Range]) -> Completeness:
        """Hold the ranges of this topic against what the index claims."""
        return assess(self._mine(ranges), [one.evidence for one in self.segments])

    def reading(self, ranges: Sequence[Range], sources: Sequence[Source]) -> LogRecords:
        """The records in some ranges."""
        mine = self._mine(ranges)
        touched = self._touched(mine)
        for one in touched:
            with one.at_stake():
                one.place.glance(one.file)
        spans: dict[Lane, tuple[tuple[int, int], ...]] = {}
        for item in mine:
            spans[item.lane] = (*spans.get(item.lane, ()), (item.start, item.end))
        shared = self._shared(touched)
        segments = tuple(replace(one, asked=spans[lane_of(one)], shared=shared.get(one.file.relative)) for one in touched)
        return LogRecords(self.topic, segments, mine, typings_of(sources, self.zone), self.taken, self.max_ahead_us)

    def rows(self, wanted: Range, writing: Writing) -> Iterator[Rows]:
        """As `sources.decoding.stored.CopySource.rows`."""
        segments = tuple(replace(one, shared=self._copied.get(one.file.relative)) for one in self._touched([wanted]))
        return rows_in_order(segments, wanted, writing, in_batches=sum(one.most for one in segments) >= WORTH_A_COMPILER)

    def describe(self, ranges: Sequence[Range], read_by: str) -> SourcePlan:
        """The segments that some ranges touch."""
        mine = self._mine(ranges)
        used = self._touched(mine)
        firsts = {one.file.relative: one for one in reversed(used)}  # a file of several stretches is as large as it is once
        return SourcePlan(name=self.topic, kind="archive", read_by=read_by, log_id=mine[0].log_id if mine else "",
                          files=[SourceFile(path=said.ref, sha256=said.sha256, rows=said.record_count,
                                            size_bytes=one.file.size if firsts[one.file.relative] is one else 0)
                                 for one in used for said in (one.evidence,)],
                          ranges=describe_basis(mine))

    @cached_property
    def _copied(self) -> dict[str, SharedFile]:
        """What is kept between the copies of several partitions."""
        return self._shared(self.segments)

    def _shared(self, segments: Sequence[Segment]) -> dict[str, SharedFile]:
        """The files of these that hold others too, by path."""
        room, asked = Room(self.work), dict[str, set[Entry]]()
        for one in segments:
            if one.entries:
                asked.setdefault(one.file.relative, set()).add(one.entry)
        return {path: SharedFile(room, frozenset(held)) for path, held in asked.items()}

    def _mine(self, ranges: Sequence[Range]) -> tuple[Range, ...]:
        return tuple(one for one in ranges if one.topic == self.topic)

    def _touched(self, ranges: Sequence[Range]) -> tuple[Segment, ...]:
        lanes: dict[Lane, list[Range]] = {}
        for item in ranges:
            lanes.setdefault(item.lane, []).append(item)
        return tuple(one for one in self.segments if any(touches(one, item) for item in lanes.get(lane_of(one), ())))
