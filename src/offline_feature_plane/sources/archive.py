"""Record archives: folders of segments with an index, and the events in them (`domain.md` §1.1–1.5, `decisions.md` D9, D15, D16, D20)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from offline_feature_plane.arrow_types import arrow_type, decimal_array
from offline_feature_plane.contracts.archive_index import IndexedSegment, read_index
from offline_feature_plane.contracts.events import RECORD_COLUMNS
from offline_feature_plane.domain.admission import Admission, Record
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis
from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES, load_json
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.completeness import Completeness, SegmentEvidence, assess
from offline_feature_plane.domain.extractors import Extractor, extractor
from offline_feature_plane.domain.instants import parse_offset_instant
from offline_feature_plane.errors import OfsError, RefScopeInvalid, SchemaInvalid, SourceUnreadable
from offline_feature_plane.plain_files import read_small
from offline_feature_plane.ports import PinnedFile, RecordSlice, Segment
from offline_feature_plane.sources.segments import read_in_order, touches
from offline_feature_plane.sources.selectors import resolve_selector

_BATCH = 8_192
_HEAD = tuple(zip(RECORD_COLUMNS, (pa.string(), pa.int64(), pa.int32(), pa.string(), pa.string()), strict=True))


@dataclass(frozen=True)
class ArchiveMapping:
    """How plane.yaml maps an archive: its folder, and in which zone payload times without offset were written."""

    path: Path
    zone: str | None = None
    history_start_us: int | None = None


@dataclass(frozen=True)
class PinnedArchive:
    """One topic of an archive, pinned: its segments with what the index claims of each."""

    topic: str
    zone: str | None
    segments: tuple[Segment, ...]
    evidence: tuple[SegmentEvidence, ...]
    log_times: tuple[tuple[int, int] | None, ...]

    def ranges(self) -> tuple[Range, ...]:
        """Everything that the archive holds of this topic, as a canonical basis."""
        return canonical_basis(Range(one.topic, one.partition, one.offset_kind, one.log_id, one.first_offset, one.next_offset)
                               for one in self.segments)


class ArchiveSource:
    """Reads archives in place. Segments are hashed just before they are read; the pins are the digests in the index."""

    name = "archive"
    version = "1"

    def pin(self, topic: str, mapping: ArchiveMapping) -> PinnedArchive:
        """Read the index and pin the topic's segments.

        Raises:
            SourceUnreadable: no index, a malformed one, a missing segment, no segment of this topic.
            RefScopeInvalid: a segment path that leads out of the archive.
        """
        place = mapping.path / "index.json"
        try:
            index = read_index(load_json(read_small(place, MAX_DOCUMENT_BYTES), name=str(place)), str(place))
        except OSError as wrong:
            raise SourceUnreadable(f"{place} cannot be read: {wrong.strerror or wrong}.", path=str(place),
                                   fix="An archive is a folder with index.json.") from wrong
        except SchemaInvalid as wrong:
            raise SourceUnreadable(f"{place}: {wrong.what}", path=str(place), fix="Write the index again from the segments.") from wrong
        mine = sorted((one for one in index.segments if one.topic == topic),
                      key=lambda one: (one.partition, int(one.first_offset), one.path))
        if not mine:
            known = ", ".join(sorted({one.topic for one in index.segments})) or "none"
            raise SourceUnreadable(f"{place} has no segment of {topic}; its topics: {known}.", path=f"events.{topic}",
                                   fix="Check the topic's name.")
        segments = tuple(Segment(topic, one.partition, one.offset_kind, one.log_id, _pinned(mapping.path, one), one.first_offset,
                                 one.next_offset) for one in mine)
        evidence = tuple(SegmentEvidence(topic, one.partition, one.offset_kind, one.log_id, one.path, one.first_offset, one.last_offset,
                                         one.next_offset, one.record_count, one.sha256, tuple(sorted(one.dispositions.items())))
                         for one in mine)
        return PinnedArchive(topic, mapping.zone, segments, evidence, tuple(_log_times(one, str(place)) for one in mine))

    def resolve(self, archive: PinnedArchive, selector: Selector) -> tuple[Range, ...]:
        """Turn a span of log time into ranges; raises as `sources.selectors.resolve_selector`."""
        return resolve_selector(tuple(zip(archive.segments, archive.evidence, archive.log_times, strict=True)), selector)

    def completeness(self, archives: Sequence[PinnedArchive], ranges: Sequence[Range]) -> Completeness:
        """Hold a basis against what the indexes claim. Raises nothing: the caller writes the receipt first, then refuses."""
        return assess(ranges, [one for archive in archives for one in archive.evidence])

    def slices(self, archives: Sequence[PinnedArchive], ranges: Sequence[Range], sources: Sequence[Source], platform_run_id: str,
               scenario_run_ids: Sequence[str] = ()) -> tuple[RecordSlice, ...]:
        """The events of some ranges, one slice per topic and source, in that order; read them in that order.

        Every coordinate is counted once: what is left out before it has a source is counted in the topic's first slice.

        Raises (while batches are read):
            ReplayBasisMismatch: a segment is not what its index says, or a record not what its hash says.
            ReplayDuplicateOffsetMismatch: overlapping segments disagree about a coordinate.
            ReplayEventIdConflict: one id with two contents.
            EventSchemaMissingFields, ReplayEventInvalid, NumericOverflow: values that the declared types refuse, with their coordinate.
        """
        admission = Admission(platform_run_id, scenario_run_ids, sources)
        made = []
        for archive in sorted(archives, key=lambda one: one.topic.encode()):
            wanted = tuple(one for one in ranges if one.topic == archive.topic)
            pairs = tuple((one, evidence) for one, evidence in zip(archive.segments, archive.evidence, strict=True)
                          if any(touches(one, item) for item in wanted))
            topic = _Topic(pairs, wanted, tuple(_Typing(source, archive.zone) for source in sources), admission,
                           {source.name: {} for source in sources})
            segments = tuple(segment for segment, _ in pairs)
            made += [RecordSlice(archive.topic, source.name, segments, partial(topic.read, source.name), topic.counts[source.name])
                     for source in sources]
        return tuple(made)


class _Typing:
    """Records of one source as typed batches; each field's extraction is compiled once."""

    def __init__(self, source: Source, zone: str | None) -> None:
        self.name = source.name
        self._fields: tuple[tuple[Field, Extractor], ...] = tuple((one, extractor(one, zone)) for one in source.fields)
        self._schema = pa.schema([*_HEAD, *((one.name, arrow_type(one.type)) for one in source.fields)])

    def batch(self, records: Sequence[Record]) -> pa.RecordBatch:
        """One row per record. Raises what extraction raises, with the coordinate of the first record that it refuses."""
        payloads = [record.payload or {} for record in records]
        try:
            typed = [[extracted(payload) for payload in payloads] for _, extracted in self._fields]
        except OfsError:
            for record, payload in zip(records, payloads, strict=True):
                self._check(record, payload)
            raise
        head = [[record.event_id for record in records], [record.ts_us for record in records], [record.partition for record in records],
                [record.offset for record in records], [record.digest for record in records]]
        arrays = [pa.array(values, kind) for values, (_, kind) in zip(head, _HEAD, strict=True)]
        arrays += [_column(values, one.type) for values, (one, _) in zip(typed, self._fields, strict=True)]
        return pa.record_batch(arrays, schema=self._schema)

    def _check(self, record: Record, payload: Mapping[str, Any]) -> None:
        try:
            for _, extracted in self._fields:
                extracted(payload)
        except OfsError as wrong:
            raise type(wrong)(f"{record.place}: {wrong.what}", fix=wrong.fix, path=wrong.path, coordinate=record.place) from wrong


@dataclass(frozen=True)
class _Topic:
    """The chosen ranges of one topic, decoded once for all sources: what one source's reading finds for the others waits for them."""

    segments: tuple[tuple[Segment, SegmentEvidence], ...]
    ranges: tuple[Range, ...]
    typings: tuple[_Typing, ...]
    admission: Admission
    counts: dict[str, dict[str, int]]
    waiting: dict[str, list[pa.RecordBatch]] = field(default_factory=dict)

    def read(self, name: str) -> Iterator[pa.RecordBatch]:
        """The typed batches of one source, from the beginning; what was left out is counted anew."""
        if name in self.waiting:
            yield from self.waiting.pop(name)
            return
        for counts in self.counts.values():
            counts.clear()
        found: dict[str, list[pa.RecordBatch]] = {one.name: [] for one in self.typings}
        rows: dict[str, list[Record]] = {one.name: [] for one in self.typings}
        typings = {one.name: one for one in self.typings}
        judge = self.admission.judge
        for record in read_in_order(self.segments, self.ranges):
            reason, source = judge(record)
            if reason is not None:
                self._count(reason, record)
            elif record is not None and source is not None:
                mine = rows[source]
                mine.append(record)
                if len(mine) == _BATCH:
                    found[source].append(typings[source].batch(mine))
                    mine.clear()
                    yield from _drained(found[name])
        for source, rest in rows.items():
            if rest:
                found[source].append(typings[source].batch(rest))
        self.waiting.update((source, batches) for source, batches in found.items() if source != name)
        yield from found[name]

    def _count(self, reason: str, record: Record | None) -> None:
        owner = self.admission.source_of.get(record.event_type) if record is not None and reason == "duplicate" else None
        counts = self.counts[owner if owner is not None else self.typings[0].name]
        counts[reason] = counts.get(reason, 0) + 1


def _drained(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    while batches:
        yield batches.pop(0)


def _column(values: list[Any], kind: ColumnType) -> pa.Array:
    if kind.kind != "decimal":
        return pa.array(values, arrow_type(kind))
    scaled = pa.array(values, pa.int64())
    valid = None if not scaled.null_count else scaled.is_valid().to_numpy(zero_copy_only=False)
    return decimal_array(scaled.fill_null(0).to_numpy(), kind, valid)


def _pinned(root: Path, one: IndexedSegment) -> PinnedFile:
    path = root / one.path
    try:
        inside = path.resolve(strict=True).is_relative_to(root.resolve())
    except OSError as wrong:
        raise SourceUnreadable(f"the segment {one.path} cannot be found: {wrong.strerror or wrong}.", path=one.path,
                               fix="Restore the segment.") from wrong
    if not inside or Path(one.path).is_absolute() or ".." in Path(one.path).parts:
        raise RefScopeInvalid(f"the segment {one.path} lies outside of {root}.", path=one.path, fix="Segments lie below their index.")
    return PinnedFile(one.path, path.resolve(), one.sha256, one.record_count, one.size)


def _log_times(one: IndexedSegment, place: str) -> tuple[int, int] | None:
    if one.first_log_time_utc is None or one.last_log_time_utc is None:
        return None
    try:
        return parse_offset_instant(one.first_log_time_utc), parse_offset_instant(one.last_log_time_utc)
    except ValueError as wrong:
        raise SourceUnreadable(f"{place}: {one.path}: {wrong}", path=one.path, fix="Write the index again from the segments.") from wrong
