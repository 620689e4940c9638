"""Copying a stretch of a log into an archive: from a bus, or from another archive (`domain.md` §1.3, §1.4).

    contents of a range ──▶ a segment aside, synced ──▶ noted beside the index ──▶ put under its name ──▶ … ──▶ index.json, as one piece

A segment covers its offsets up to the next one's first, and the last one up to the end of the range, which the source has proved: so the
chain is evidence for holes that are lawful. A job that was stopped goes on behind its last segment; what the index has is not copied again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from offline_feature_plane.contracts.archive_index import ArchiveIndex, IndexedSegment
from offline_feature_plane.domain.basis import Range, canonical_basis, without
from offline_feature_plane.domain.completeness import UNDECLARED, refusal
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import ArchiveIndexConflict, ReplayBasisMismatch, SourceUnreadable
from offline_feature_plane.ports import Clock
from offline_feature_plane.sources.archives.index import parse_index
from offline_feature_plane.sources.archives.indexing import index_bytes
from offline_feature_plane.sources.archives.notes import Notes, folder_of, name_of_notes
from offline_feature_plane.sources.archives.places import INDEX, ArchivePlace
from offline_feature_plane.sources.archives.segment_files import SegmentFile
from offline_feature_plane.sources.decoding.stored import CopySource, Rows, SegmentForm, Writing

__all__ = ["CopiedRange", "CopyWish", "WriteReport", "write_segments"]

MOST_TEXT: Final = 256 << 20  # bytes of records in a segment, unpacked

_COUNTS: Final = ("segments", "records", "undecodable", "null_values")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CopyWish:
    """What is copied, and how it is cut.

    Attributes:
        ranges: of the source's topic; None: everything that it holds.
        form: what segments are written as.
        per_segment: how many records a segment holds at most.
    """

    ranges: tuple[Range, ...] | None = None
    form: SegmentForm = "jsonl.zst"
    per_segment: int = 250_000


@dataclass(frozen=True)
class CopiedRange:
    """A stretch of one partition that segments cover: how many, and what they hold; what of it cannot be decoded, or was null."""

    topic: str
    partition: int
    start_offset: str
    end_offset: str
    segments: int = 0
    records: int = 0
    undecodable: int = 0
    null_values: int = 0


@dataclass(frozen=True)
class WriteReport:
    """What the index has now that it had not before, and of what was wanted what it had already.

    `resumed_segments` of the copied ones, with `resumed_records`, an earlier job had finished that was stopped.
    """

    place: str
    was_written: bool
    copied: tuple[CopiedRange, ...]
    known: tuple[CopiedRange, ...]
    resumed_segments: int = 0
    resumed_records: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass
class _Job:
    place: ArchivePlace
    wish: CopyWish
    moment: str
    done: list[IndexedSegment]
    progress: Progress
    notes: Notes
    covered: int = 0
    total: int = 0


def write_segments(source: CopySource, place: ArchivePlace, wish: CopyWish, clock: Clock, progress: Progress) -> WriteReport:
    """Copy what a source holds into an archive, and extend its index.

    Raises:
        ReplayBasisGap, ReplayBasisMismatch, ReplayDuplicateOffsetMismatch, BasisUnresolved, TopicCompacted: the source does not prove what
            is wanted of it. ArchiveIndexConflict: the archive counts in another log, holds another file under a segment's name, or somebody
            else changes its index. What reading the source raises. StorageIoFailure.
    """
    wanted = canonical_basis(source.ranges() if wish.ranges is None else wish.ranges)
    verdict = source.completeness(wanted)
    if (wrong := refusal(verdict)) is not None:
        raise wrong
    with place.alone():
        before = place.document(INDEX)
        standing = [] if before is None else list(parse_index(before, f"{place.name}/{INDEX}").segments)
        _check_log(standing, wanted, place)
        job = _recalled(place, wish, wanted, standing, format_instant(clock.now_us()), progress)
        resumed = tuple(job.done)
        job.notes.begin(_wished(wish, wanted), job.moment, {one.path: (one,) for one in resumed})
        missing = [(one, gap) for one in wanted for gap in without(one, _spans([*standing, *job.done], one))]
        job.total = sum(end - begin for _, (begin, end) in missing)
        with place.workshop() as folder:
            for one, (begin, end) in missing:
                _copy(source, replace(one, start_offset=str(begin), end_offset=str(end)), folder, job)
        done = job.done if verdict.kind == "broker_read" else _as_declared(job.done, verdict.declared("undecodable"))
        found = sorted([*standing, *done], key=lambda one: (one.topic, one.partition, one.offset_kind, int(one.first_offset)))
        if job.done:
            place.replace(INDEX, index_bytes(ArchiveIndex(segments=tuple(found)).segments), None if before is None else before.mark)
        job.notes.remove()
    known = [held for one in wanted for held in standing if _is_of(held, one) and _touches(held, one)]
    return WriteReport(place.name, bool(job.done), _stretches(job.done), _stretches(known), len(resumed),
                       sum(one.record_count for one in resumed))


def _stretches(segments: Sequence[IndexedSegment]) -> tuple[CopiedRange, ...]:
    """What some segments cover, those that follow each other as one."""
    found: list[CopiedRange] = []
    for one in sorted(segments, key=lambda one: (one.topic, one.partition, int(one.first_offset))):
        odd = one.dispositions
        told = CopiedRange(one.topic, one.partition, one.first_offset, one.next_offset, 1, one.record_count,
                           odd.get("undecodable", 0) + odd.get(UNDECLARED, 0), odd.get("null_value", 0))
        if found and (found[-1].topic, found[-1].partition, found[-1].end_offset) == (one.topic, one.partition, one.first_offset):
            last = found.pop()
            told = replace(told, start_offset=last.start_offset, **{name: getattr(last, name) + getattr(told, name) for name in _COUNTS})
        found.append(told)
    return tuple(found)


def _as_declared(done: Sequence[IndexedSegment], declared: int) -> Sequence[IndexedSegment]:
    """What was copied from an archive: records that cannot be decoded are declared only if they were before."""
    if sum(one.dispositions.get("undecodable", 0) for one in done) <= declared:
        return done
    return [one.model_copy(update={"dispositions": {UNDECLARED if reason == "undecodable" else reason: count
                                                    for reason, count in one.dispositions.items()}}) for one in done]


def _check_log(standing: Sequence[IndexedSegment], wanted: Sequence[Range], place: ArchivePlace) -> None:
    for one in wanted:
        for held in standing:
            is_of_lane = (held.topic, held.partition) == (one.topic, one.partition)
            if is_of_lane and (held.offset_kind, held.log_id) != (one.offset_kind, one.log_id):
                raise ArchiveIndexConflict(f"{place.name} has {one.topic}/{one.partition} of the log {held.log_id}; this is the log "
                                           f"{one.log_id}.", path=f"{one.topic}/{one.partition}", fix=_way_out(held, one, place))


def _way_out(held: IndexedSegment, one: Range, place: ArchivePlace) -> str:
    if held.evidence == "archiver" or (held.offset_kind, held.log_id) != (one.offset_kind, held.topic):
        return "A topic that was made anew is another log: write it into another archive."
    return (f"Its index was made from the files alone, which do not say their log. If it is this one, move {INDEX} away and run "
            f"`ofs archive index {place.name} --log-id {one.log_id}`, then this again; else write into another archive.")


def _spans(segments: Sequence[IndexedSegment], one: Range) -> list[tuple[int, int]]:
    return [(int(held.first_offset), int(held.next_offset)) for held in segments if _is_of(held, one)]


def _is_of(held: IndexedSegment, one: Range) -> bool:
    return (held.topic, held.partition, held.offset_kind, held.log_id) == (one.topic, one.partition, one.offset_kind, one.log_id)


def _touches(held: IndexedSegment, one: Range) -> bool:
    return int(held.first_offset) < one.end and int(held.next_offset) > one.start


def _recalled(place: ArchivePlace, wish: CopyWish, wanted: Sequence[Range], standing: Sequence[IndexedSegment], now: str,
              progress: Progress) -> _Job:
    """The job, as far as one that did not end came with the same wish; what one with another wish left, which no index names, goes."""
    job = _Job(place, wish, now, [], progress, Notes(place, name_of_notes(wanted[0].topic)))
    indexed = {one.path for one in standing}  # it may have ended between writing the index and forgetting its notes
    noted = [one for entries in job.notes.files.values() for one in entries if one.path not in indexed and _is_there(one, place)]
    if job.notes.wish == _wished(wish, wanted):
        job.done, job.moment = noted, job.notes.archived_at
    else:
        for one in noted:
            place.remove(one.path)
    return job


def _is_there(one: IndexedSegment, place: ArchivePlace) -> bool:
    try:
        place.check(place.file(one))
    except (ReplayBasisMismatch, SourceUnreadable):  # somebody removed it: it is copied again
        return False
    return True


def _wished(wish: CopyWish, wanted: Sequence[Range]) -> list[Any]:
    """What segments depend on; the ends of ranges are those of the source at the time, and do not matter."""
    logs = sorted({(one.topic, one.offset_kind, one.log_id) for one in wanted})
    return [wish.form, wish.per_segment, [list(one) for one in logs]]


class _Coming:
    """What is to come of a range, as much at a time as somebody wants."""

    def __init__(self, rows: Iterator[Rows]) -> None:
        self._rows = rows
        self._here: Rows | None = None

    def ahead(self) -> Rows | None:
        """What comes next; None at the end."""
        while self._here is None or not self._here.n:
            self._here = next(self._rows, None)
            if self._here is None:
                return None
        return self._here

    def pass_over(self, count: int) -> None:
        """The first of what comes next was taken."""
        assert self._here is not None  # noqa: S101 - for mypy: it was ahead
        self._here = self._here.part(count, self._here.n)


def _copy(source: CopySource, part: Range, folder: Path, job: _Job) -> None:
    coming = _Coming(source.rows(part, Writing(job.wish.form, (part.topic, part.partition, part.offset_kind), job.moment)))
    begin = part.start
    while True:
        segment, path = _write(part, begin, coming, folder, job)
        job.notes.add({segment.path: (segment,)})  # before it has its name: what nobody noted would be in the way of another wish
        if (etag := job.place.put(segment.path, path, segment.sha256)) is not None:
            segment = segment.model_copy(update={"etag": etag})
            job.notes.amend(segment)
        job.done.append(segment)
        job.covered += int(segment.next_offset) - begin
        job.progress("archive", job.covered, job.total)
        begin = int(segment.next_offset)
        if coming.ahead() is None:
            return


def _write(part: Range, begin: int, coming: _Coming, folder: Path, job: _Job) -> tuple[IndexedSegment, Path]:
    """One segment from an offset on, and its file aside."""
    name = f"{begin:020}" if part.offset_kind != "kinesis_sequence" else f"{begin:060}"
    relative = f"{folder_of(part.topic)}/{part.partition}/{name}.{job.wish.form}"
    count, last, odd = 0, None, Counter[str]()
    times: list[int] = []
    with SegmentFile(folder / Path(relative).name, job.wish.form) as file:
        while (rows := coming.ahead()) is not None and (fit := rows.fitting(job.wish.per_segment - count, MOST_TEXT - file.text_bytes)):
            taken = rows.part(0, fit)
            file.add(taken)
            coming.pass_over(fit)
            count, last = count + fit, int(taken.numbers[-1])
            odd.update(taken.odd)
            times = [*times, *(taken.times or ())]
            times = [*times[:1], *times[-1:]]
            job.progress("archive", job.covered + last - begin, job.total)
        file.finish()
    end = part.end if rows is None else int(rows.numbers[0])
    first_time, last_time = (format_instant(one) for one in times) if times else (None, None)
    return IndexedSegment(topic=part.topic, partition=part.partition, offset_kind=part.offset_kind, log_id=part.log_id, path=relative,  # type: ignore[arg-type]  # the kind of a range is a known one
                          first_offset=str(begin), last_offset=None if last is None else str(last), next_offset=str(end),
                          record_count=count, sha256=file.sha256, size=file.size, first_log_time_utc=first_time,
                          last_log_time_utc=last_time, dispositions={reason: n for reason, n in odd.items() if n}), file.path

