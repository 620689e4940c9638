"""Record archives: folders of segments with an index, and the events in them (`domain.md` §1.1–1.5, `decisions.md` D9, D15, D16, D20)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from offline_feature_plane.arrow_types import arrow_type, decimal_array
from offline_feature_plane.contracts.events import RECORD_COLUMNS
from offline_feature_plane.contracts.plan import SourceFile, SourcePlan
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.domain.admission import Admission, Record
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis, describe_basis
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.completeness import Completeness, SegmentEvidence, assess
from offline_feature_plane.domain.extractors import Extractor, extractor
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.domain.visibility import ArrivalClock
from offline_feature_plane.errors import OfsError, ReplayBasisMismatch, SourceUnreadable
from offline_feature_plane.ports.inputs import Lane, PinnedFile
from offline_feature_plane.sources.archive_index import read_segments
from offline_feature_plane.sources.segments import Segment, read_in_order
from offline_feature_plane.sources.selectors import resolve_selector

_BATCH = 8_192
_HEAD = tuple(zip(RECORD_COLUMNS, (pa.string(), pa.int64(), pa.int32(), pa.string(), pa.string(), pa.int64()), strict=True))


@dataclass(frozen=True)
class ArchiveMapping:
    """How plane.yaml maps an archive: its folder, and in which zone payload times without offset were written.

    With `topic`, the topic of that name is mapped under another one, and its events of one type are those of that name.
    """

    path: Path
    zone: str | None = None
    history_start_us: int | None = None
    topic: str | None = None
    event_type: str | None = None


class ArchiveSource:
    """Reads archives in place. Segments are hashed just before they are read; the pins are the digests in the index."""

    name = "archive"
    version = "1"

    def __init__(self, mappings: Mapping[str, ArchiveMapping]) -> None:
        self._mappings = mappings

    @classmethod
    def of(cls, settings: Settings) -> ArchiveSource:
        """The source of a plane's `archives:`."""
        return cls({topic: ArchiveMapping(Path(one.path), one.zone, None if one.history_start is None else parse_instant(one.history_start),
                                          one.topic, one.event_type)
                    for topic, one in settings.archives.items()})

    @property
    def topics(self) -> Collection[str]:
        """The topics that are mapped."""
        return self._mappings.keys()

    def mixes_types(self, topic: str) -> bool:
        """An archive holds events of any type, but one that is mapped under another name only those that are taken from it."""
        return self._mappings[topic].topic is None

    def history_start_us(self, topic: str) -> int | None:
        """From when on the archive is declared complete."""
        return self._mappings[topic].history_start_us

    def pin(self, topic: str) -> PinnedArchive:
        """Read the index and pin the topic's segments.

        Raises:
            SourceUnreadable: no index, a malformed one, a missing segment, no segment of this topic.
            RefInvalid: a segment path that is no path. RefScopeInvalid: one that leads out of the archive.
        """
        mapping = self._mappings[topic]
        stored = mapping.topic or topic
        return PinnedArchive(topic, mapping.zone, read_segments(mapping.path, stored, topic),
                             None if mapping.topic is None else mapping.event_type or stored)


@dataclass(frozen=True)
class PinnedArchive:
    """One topic of an archive, pinned: its segments with what the index claims of each.

    `taken` is the event type whose events are read as events of the type `topic`; None: all, as they are.
    """

    topic: str
    zone: str | None
    segments: tuple[Segment, ...]
    taken: str | None = None
    names_events: ClassVar[bool] = True
    knows_arrival: ClassVar[bool] = True
    table_files: ClassVar[tuple[Path, ...]] = ()

    @property
    def log_ids(self) -> tuple[str, ...]:
        """The logs that its offsets count in."""
        return tuple(sorted({one.evidence.log_id for one in self.segments}))

    def ranges(self) -> tuple[Range, ...]:
        """Each partition from the first to the last offset that the archive knows: a hole between is a gap, not the end of the question."""
        lanes: dict[tuple[str, int, str, str], list[SegmentEvidence]] = {}
        for one in self.segments:
            lanes.setdefault(one.lane, []).append(one.evidence)
        return canonical_basis(Range(*lane, min(held, key=lambda one: one.span[0]).first_offset,
                                     max(held, key=lambda one: one.span[1]).next_offset) for lane, held in lanes.items())

    def basis(self) -> list[dict[str, Any]]:
        """Everything that it holds, as entries of a replay basis."""
        return describe_basis(self.ranges())

    def resolve(self, selector: Selector) -> tuple[Range, ...]:
        """Turn a span of log time into ranges; raises as `sources.selectors.resolve_selector`."""
        return resolve_selector(self.segments, selector)

    def completeness(self, ranges: Sequence[Range]) -> Completeness:
        """Hold the ranges of this topic against what the index claims."""
        return assess(self._mine(ranges), [one.evidence for one in self.segments])

    def reading(self, ranges: Sequence[Range], sources: Sequence[Source]) -> ArchivedRecords:
        """The records in some ranges."""
        mine = self._mine(ranges)
        for one in self._touched(mine):
            if (size := _size(one.file)) != one.file.size:
                raise ReplayBasisMismatch(f"the segment {one.file.relative} has {size} bytes; the index says {one.file.size}.",
                                          path=one.file.relative)
        return ArchivedRecords(self.topic, self._touched(mine), mine, tuple(_Typing(source, self.zone) for source in sources),
                               self.taken)

    def describe(self, ranges: Sequence[Range], read_by: str) -> SourcePlan:
        """The segments that some ranges touch."""
        mine = self._mine(ranges)
        used = [one.evidence for one in self._touched(mine)]
        return SourcePlan(name=self.topic, kind="archive", read_by=read_by, log_id=mine[0].log_id if mine else "",
                          files=[SourceFile(path=one.ref, sha256=one.sha256, rows=one.record_count, size_bytes=0) for one in used],
                          ranges=describe_basis(mine))

    def _mine(self, ranges: Sequence[Range]) -> tuple[Range, ...]:
        return tuple(one for one in ranges if one.topic == self.topic)

    def _touched(self, ranges: Sequence[Range]) -> tuple[Segment, ...]:
        return tuple(one for one in self.segments if any(one.touches(item) for item in ranges))


@dataclass(frozen=True)
class ArchivedRecords:
    """`ports.inputs.RecordLog` of an archive: the chosen ranges of one topic, decoded once for all sources."""

    topic: str
    segments: tuple[Segment, ...]
    ranges: tuple[Range, ...]
    typings: tuple[_Typing, ...]
    taken: str | None = None

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The partitions of the segments that are read."""
        return tuple(dict.fromkeys(Lane(*one.lane[1:]) for one in self.segments))

    def by_partition(self) -> tuple[ArchivedRecords, ...]:
        """One piece for each partition."""
        return tuple(replace(self, segments=tuple(one for one in self.segments if one.evidence.partition == partition),
                             ranges=tuple(one for one in self.ranges if one.partition == partition))
                     for partition in sorted({one.evidence.partition for one in self.segments}))

    @property
    def rows(self) -> int:
        """All records of the segments that are read."""
        return sum(one.file.rows for one in self.segments)

    def read(self, admission: Admission, take: Callable[[str, pa.RecordBatch], None]) -> dict[str, int]:
        """Hand out the events by source, in batches, and return how many coordinates gave none, by reason."""
        left_out: dict[str, int] = {}
        held: dict[str, list[Record]] = {one.name: [] for one in self.typings}
        arrived: dict[str, list[int]] = {one.name: [] for one in self.typings}
        clock = ArrivalClock()
        typings = {one.name: one for one in self.typings}
        judge = admission.judge
        records = read_in_order(self.segments, self.ranges)
        for record in records if self.taken is None else map(self._named, records):
            reason, source = judge(record)
            arrival = clock.read(record.partition, record.log_us) if record is not None else 0
            if reason is not None:
                left_out[reason] = left_out.get(reason, 0) + 1
            elif record is not None and source is not None:
                mine = held[source]
                mine.append(record)
                arrived[source].append(arrival)
                if len(mine) == _BATCH:
                    take(source, typings[source].batch(mine, arrived[source]))
                    mine.clear()
                    arrived[source].clear()
        for source, rest in held.items():
            if rest:
                take(source, typings[source].batch(rest, arrived[source]))
        return left_out

    def _named(self, record: Record | None) -> Record | None:
        """A record as one of this topic: of its type if it is taken, else of a type that stays apart from all others."""
        if record is None:
            return None
        kind = self.topic if record.event_type == self.taken else f"{self.topic}/{record.event_type}"
        return record._replace(topic=self.topic, event_type=kind)


class _Typing:
    """Records of one source as typed batches; each field's extraction is compiled once."""

    def __init__(self, source: Source, zone: str | None) -> None:
        self.name, self._made_of = source.name, (source, zone)
        self._fields: tuple[tuple[Field, Extractor], ...] = tuple((one, extractor(one, zone)) for one in source.fields)
        self._schema = pa.schema([*_HEAD, *((one.name, arrow_type(one.type)) for one in source.fields)])

    def __reduce__(self) -> tuple[Any, ...]:
        """Compiled extraction is compiled again elsewhere."""
        return _Typing, self._made_of

    def batch(self, records: Sequence[Record], arrived: Sequence[int]) -> pa.RecordBatch:
        """One row per record. Raises what extraction raises, with the coordinate of the first record that it refuses."""
        payloads = [record.payload or {} for record in records]
        try:
            typed = [[extracted(payload) for payload in payloads] for _, extracted in self._fields]
        except OfsError:
            for record, payload in zip(records, payloads, strict=True):
                self._check(record, payload)
            raise
        head = [[record.event_id for record in records], [record.ts_us for record in records], [record.partition for record in records],
                [record.offset for record in records], [record.digest for record in records], arrived]
        arrays = [pa.array(values, kind) for values, (_, kind) in zip(head, _HEAD, strict=True)]
        arrays += [_column(values, one.type) for values, (one, _) in zip(typed, self._fields, strict=True)]
        return pa.record_batch(arrays, schema=self._schema)

    def _check(self, record: Record, payload: Mapping[str, Any]) -> None:
        try:
            for _, extracted in self._fields:
                extracted(payload)
        except OfsError as wrong:
            raise type(wrong)(f"{record.place}: {wrong.what}", fix=wrong.fix, path=wrong.path, coordinate=record.place) from wrong


def _column(values: list[Any], kind: ColumnType) -> pa.Array:
    if kind.kind != "decimal":
        return pa.array(values, arrow_type(kind))
    scaled = pa.array(values, pa.int64())
    valid = None if not scaled.null_count else scaled.is_valid().to_numpy(zero_copy_only=False)
    return decimal_array(scaled.fill_null(0).to_numpy(), kind, valid)


def _size(file: PinnedFile) -> int:
    try:
        return file.path.stat().st_size
    except OSError as wrong:
        raise SourceUnreadable(f"the segment {file.relative} cannot be found: {wrong.strerror or wrong}.", path=file.relative,
                               fix="Restore the segment.") from wrong

