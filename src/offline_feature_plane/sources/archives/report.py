"""What an index says, as a report: by lane, with the gaps and overlaps that a build would meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from offline_feature_plane.contracts.archive_index import ArchiveIndex, IndexedSegment
from offline_feature_plane.domain.archive_chain import holes_and_overlaps
from offline_feature_plane.domain.basis import Lane
from offline_feature_plane.domain.completeness import UNDECLARED

__all__ = ["MOST_TROUBLES", "IndexReport", "LaneReport", "report_on"]

MOST_TROUBLES: Final = 3  # files of which it is told why their first record that cannot be decoded cannot
MOST_SHOWN: Final = 20  # stretches of one lane that are named; all are counted


@dataclass(frozen=True)
class LaneReport:
    """One partition of a topic in one log: what its segments cover, and what is odd. The first few gaps and overlaps are named, half-open.

    `unfilled` offsets are covered and have no record; None: they are not counted. Of `undecodable` records `undeclared` are not declared.
    """

    topic: str
    partition: int
    offset_kind: str
    log_id: str
    first_offset: str
    next_offset: str
    segments: int
    records: int
    unfilled: int | None
    undecodable: int
    undeclared: int
    first_log_time_utc: str | None
    last_log_time_utc: str | None
    gaps: int
    overlaps: int
    first_gaps: tuple[tuple[str, str], ...]
    first_overlaps: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class IndexReport:
    """What became of an index: how many files were read, how many were known, and what it covers.

    `files_reread` of the read ones it knew by another mapping. `troubles` say of a few files that were read, and that another tool wrote,
    what the first record that cannot be decoded has.
    """

    place: str
    was_written: bool
    files_read: int
    files_known: int
    files_reread: int
    ignored: tuple[str, ...]
    segments: int
    records: int
    lanes: tuple[LaneReport, ...]
    troubles: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def report_on(index: ArchiveIndex, place: str, *, read: int, kept: int, reread: int, ignored: Sequence[str],
              was_written: bool, troubles: Sequence[str] = ()) -> IndexReport:
    """The report on an index."""
    lanes: dict[Lane, list[IndexedSegment]] = defaultdict(list)
    for one in index.segments:
        lanes[one.topic, one.partition, one.offset_kind, one.log_id].append(one)
    return IndexReport(place, was_written, read, kept, reread, tuple(ignored), len(index.segments),
                       sum(one.record_count for one in index.segments), tuple(_lane(*lane, lanes[lane]) for lane in sorted(lanes)),
                       tuple(troubles))


def _lane(topic: str, partition: int, kind: str, log_id: str, entries: Sequence[IndexedSegment]) -> LaneReport:
    spans = sorted((int(one.first_offset), int(one.next_offset)) for one in entries)
    holes, overlaps = holes_and_overlaps(spans)
    records = sum(one.record_count for one in entries)
    covered = sum(end - begin for begin, end in spans)
    times = [moment for one in entries for moment in (one.first_log_time_utc, one.last_log_time_utc) if moment is not None]
    return LaneReport(
        topic, partition, kind, log_id, str(spans[0][0]), str(max(end for _, end in spans)), len(entries), records,
        None if kind == "kinesis_sequence" else covered - records,
        sum(one.dispositions.get(name, 0) for one in entries for name in ("undecodable", UNDECLARED)),
        sum(one.dispositions.get(UNDECLARED, 0) for one in entries),
        min(times, default=None), max(times, default=None), len(holes), len(overlaps), _named(holes), _named(overlaps))


def _named(stretches: Sequence[tuple[int, int]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(begin), str(end)) for begin, end in stretches[:MOST_SHOWN])
