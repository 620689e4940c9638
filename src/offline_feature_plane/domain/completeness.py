"""Is every offset of the basis covered by evidence (`domain.md` §1.4)?

Completeness needs evidence, not contiguity: a segment proves that it holds whatever its log had in `[first_offset, next_offset)`, however
few records that are. A range is covered when its segments form a chain without a hole.

    range     [100 ────────────────────────────── 300)
    segments  [100 ── 180)[180 ───── 240)   [250 ── 320)
    gap                                [240,250)

Where a bus holds the log too, what the archive lacks is read from it (`domain.cutover`): its watermarks say that it has the stretch, and
a read that reaches the end proves it. A plain table has no offsets; it is complete relative to its pinned files (`decisions.md` H).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args

from offline_feature_plane.domain.basis import Lane, Range, describe_basis, offset_number
from offline_feature_plane.domain.cutover import Bus, Counting, Feasibility, Gap, Route, Watermarks, Why, route, worst
from offline_feature_plane.domain.gaps import DeclaredGap, describe_gaps, is_declared
from offline_feature_plane.domain.outcomes import Answer, Use, answer_of, is_refused, outcome_of, situation_of
from offline_feature_plane.errors import (
    BasisUnresolved,
    OfsError,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ReplayDuplicateOffsetMismatch,
    ReplayIncomplete,
    TopicCompacted,
)

_FIXES: dict[type[OfsError], str] = {
    ReplayBasisGap: "Archive the missing offsets, or write an intent whose basis leaves them out.",
    BasisUnresolved: "Wait until the log is settled beyond the end of the range, or let the range end earlier."}

# Dispositions that an index gives a segment. What cannot be decoded, declared or not, and null values may stand in its file or have been
# left out; records that were archived stand in it; all others were left out.
UNDECLARED: Final = "undecodable_undeclared"
_UNDECODABLE: Final = frozenset({"undecodable", UNDECLARED})
_NULL_VALUE, _HELD = "null_value", "archived"

_DECLARE = "Or declare what is missing: with `gaps: as_found` the result is made without it, and says that it is incomplete."
_MOST_NAMED = 8  # partitions, in a sentence
EvidenceKind = Literal["broker_read", "archive_chain", "pinned_files"]
_SAID_OF: dict[Why, tuple[type[OfsError], str]] = {
    "unknown_log": (
        ReplayBasisMismatch, ("the basis counts {kind} in log {log}, and {topic} is known to count {counted}: the topic was made anew, the "
                              "archive is of another log, or the log's id is wrong")),
    "unknown_partition": (BasisUnresolved, "log {log} of {topic} has no partition {partition}; known are {partitions}"),
    "archive_gap": (ReplayBasisGap, "the archive has a hole here, and {bus}"),
    "retention_exceeded": (ReplayBasisGap, "{bus}, and there is no archive of this log"),
    "not_settled": (BasisUnresolved, "the bus has it settled up to {stable}; {open}"),
    "bus_silent": (ReplayIncomplete, "the archive does not have it, and the bus could not be asked"),
    "compacted": (TopicCompacted, "the archive does not have it, and the bus is compacted: what it lost does not show"),
    "start_unknown": (ReplayIncomplete, "the archive does not have it, and the bus cannot tell where it begins")}
_MENDS = {
    "unknown_log": "Correct the log_id of the range, or restore an archive of that log.",
    "unknown_partition": "Name a partition that there is.",
    "retention_exceeded": "Restore an archive of this log, or write an intent whose basis begins where the bus does.",
    "bus_silent": "Let the bus answer, or archive these offsets.", "start_unknown": "Archive these offsets."}


@dataclass(frozen=True)
class SegmentEvidence:
    """What one segment claims: it covers `[first_offset, next_offset)` and holds `record_count` records, the last at `last_offset`."""

    topic: str
    partition: int
    offset_kind: str
    log_id: str
    ref: str
    first_offset: str
    last_offset: str | None
    next_offset: str
    record_count: int
    sha256: str
    dispositions: tuple[tuple[str, int], ...] = ()

    @property
    def lane(self) -> Lane:
        """What its offsets count in."""
        return self.topic, self.partition, self.offset_kind, self.log_id

    @property
    def span(self) -> tuple[int, int]:
        """The half-open stretch that it covers, as numbers."""
        return offset_number(self.offset_kind, self.first_offset), offset_number(self.offset_kind, self.next_offset)

    def excused(self, undecodable: int, null_values: int) -> tuple[int, int]:
        """How many records, and how many null values, another holder may have where this one has no record.

        An archiver may leave out what it cannot decode, and null values, or keep them, and declare them either way: they count once.

        Args:
            undecodable: how many of its records cannot be decoded.
            null_values: and how many of its coordinates have a null value.

        >>> said = (("foreign_run", 2), ("null_value", 3))
        >>> claim = SegmentEvidence("tx", 0, "kafka_offset", "log", "a", "0", "8", "9", 7, "sha256:", said)
        >>> claim.excused(0, 0), claim.excused(1, 3), claim.excused(0, 4)
        ((2, 3), (3, 3), (2, 4))
        """
        declared, declared_null, left_out = 0, 0, 0
        for reason, count in self.dispositions:
            if reason in _UNDECODABLE:
                declared += count
            elif reason == _NULL_VALUE:
                declared_null += count
            elif reason != _HELD:
                left_out += count
        return left_out + max(declared, undecodable), max(declared_null, null_values)


@dataclass(frozen=True)
class BusEvidence(SegmentEvidence):
    """What a bus claims of a stretch before it is read: that it has all of it. Nothing is counted or hashed until then.

    `watermarks` are the partition's when it was asked. `first` and `last` are the offset and leader epoch of its first and last record,
    None if there is none or the epoch is unknown (`decisions.md` D20).
    """

    watermarks: tuple[tuple[str, str | None], ...] = ()
    first: tuple[str, int | None] | None = None
    last: tuple[str, int | None] | None = None


@dataclass(frozen=True)
class TableEvidence:
    """What a plain table holds: all rows of its pinned files."""

    topic: str
    log_id: str
    files: int
    rows: int


@dataclass(frozen=True)
class Anomaly:
    """Something that prevents completeness: a reason code, the stretch and its log, and one sentence; of a gap also why it is one."""

    code: str
    topic: str
    partition: int
    offset_kind: str
    start_offset: str
    end_offset: str
    sentence: str
    log_id: str
    why: Why | None = None

    @property
    def stretch(self) -> Range:
        """Where it is."""
        return Range(self.topic, self.partition, self.offset_kind, self.log_id, self.start_offset, self.end_offset)


@dataclass(frozen=True)
class Completeness:
    """The verdict: which segments prove each range, how each is read, which tables there are beside them, and what is wrong.

    `gaps` are what the intent declares to be missing; of these the compacted ones are in the ranges, for what is left of them is read.
    Complete iff nothing is wrong and nothing declared.
    """

    ranges: tuple[Range, ...]
    evidence: tuple[tuple[SegmentEvidence, ...], ...]
    anomalies: tuple[Anomaly, ...]
    kind: EvidenceKind = field(default="archive_chain")
    tables: tuple[TableEvidence, ...] = ()
    routes: tuple[Route, ...] = ()
    gaps: tuple[DeclaredGap, ...] = ()

    @property
    def feasibility(self) -> Feasibility:
        """Can the basis be had, and from whom? The worst of its ranges'."""
        return worst(one.feasibility for one in self.routes)

    @property
    def is_complete(self) -> bool:
        """Is every offset covered, and no evidence at odds with other evidence?"""
        return not self.anomalies and not self.gaps

    def answer(self, use: Use) -> Answer:
        """What a plan answers, where nothing of it is refused."""
        return answer_of(use, (situation_of(one.code, one.why) for one in self.anomalies), lacks=bool(self.gaps))

    def lacking(self, gaps: Sequence[DeclaredGap]) -> Completeness:
        """The same verdict where gaps are declared: what is within them is not wrong any more."""
        return replace(self, gaps=tuple(gaps),
                       anomalies=tuple(one for one in self.anomalies if not is_declared(one.stretch, one.why, gaps)))

    def declared(self, disposition: str) -> int:
        """How many records of this disposition the segments declare."""
        return sum(dict(segment.dispositions).get(disposition, 0) for segments in self.evidence for segment in segments)

    def describe(self) -> dict[str, Any]:
        """The body of the completeness receipt (`learning.ofs_replay_completeness_receipt.v1`)."""
        routes = [one.describe() for one in self.routes] or [{} for _ in self.ranges]
        ranges = [{**said, **way, "segments": [_describe_segment(segment) for segment in segments]}
                  for said, segments, way in zip(describe_basis(self.ranges), self.evidence, routes, strict=True)]
        return {"status": "COMPLETE" if self.is_complete else "INCOMPLETE", "evidence_kind": self.kind, "ranges": ranges,
                "feasibility": self.feasibility,
                **({"gaps": describe_gaps(self.gaps)} if self.gaps else {}),
                "tables": [vars(table) for table in self.tables], "anomalies": [vars(anomaly) for anomaly in self.anomalies],
                "totals": {"ranges": len(ranges), "segments": sum(len(segments) for segments in self.evidence),
                           "records": sum(segment.record_count for segments in self.evidence for segment in segments),
                           "gaps": sum(anomaly.code == ReplayBasisGap.code for anomaly in self.anomalies)}}


def assess(ranges: Sequence[Range], segments: Sequence[SegmentEvidence],
           bus: Sequence[Watermarks] | Literal["silent"] | None = None) -> Completeness:
    """Hold the canonical ranges of a basis against the segments that claim to cover them, and against what a bus says that it holds.

    Segments with an equal span and equal bytes count once. Equal span with other bytes is an anomaly here; segments that overlap
    in part are compared coordinate by coordinate when they are read. A segment of another log covers nothing.

    Args:
        ranges: of one topic.
        segments: of the topic's archive.
        bus: what the partitions of its bus said; `silent`: it could not be asked; None: there is none.
    """
    evidence: list[tuple[SegmentEvidence, ...]] = []
    anomalies: list[Anomaly] = []
    routes: list[Route] = []
    said = () if bus is None or bus == "silent" else tuple(bus)
    known = {*(one.lane[1:] for one in segments), *(one.lane[1:] for one in said)}
    lanes = defaultdict[Lane, list[tuple[tuple[int, int], SegmentEvidence]]](list)
    for span, segment in sorted(((one.span, one) for one in segments), key=lambda one: (one[0], one[1].sha256, one[1].ref)):
        lanes[segment.lane].append((span, segment))
    for wanted in ranges:
        lane = lanes[wanted.lane]
        mine: dict[tuple[int, int], SegmentEvidence] = {}
        first, end = wanted.start, wanted.end
        for span, segment in lane:
            if span[0] >= end:
                break
            if span[1] > first and mine.setdefault(span, segment).sha256 != segment.sha256:
                anomalies.append(_anomaly(ReplayDuplicateOffsetMismatch, wanted, span,
                                          f"{mine[span].ref} and {segment.ref} cover the same offsets with other bytes."))
        asked = _asked(said, wanted) if bus != "silent" else "silent"
        routes.append(route(wanted, mine, asked, is_archived=bool(lane), known=known))
        anomalies += [_missing(wanted, gap, asked, known, has_bus=bus is not None) for gap in routes[-1].gaps]
        evidence.append(tuple(mine[span] for span in sorted(mine)))
    reads_bus = any(piece.holder == "bus" for one in routes for piece in one.pieces)
    return Completeness(tuple(ranges), tuple(evidence), tuple(anomalies), "broker_read" if reads_bus else "archive_chain",
                        routes=tuple(routes))


def combine(verdicts: Sequence[Completeness]) -> Completeness:
    """One verdict over the topics of a basis. Its kind is the first of `EvidenceKind` that any of them is: logs before files."""
    kinds = {verdict.kind for verdict in verdicts}
    return Completeness(tuple(one for verdict in verdicts for one in verdict.ranges),
                        tuple(one for verdict in verdicts for one in verdict.evidence),
                        tuple(one for verdict in verdicts for one in verdict.anomalies),
                        next((kind for kind in get_args(EvidenceKind) if kind in kinds), "pinned_files"),
                        tuple(one for verdict in verdicts for one in verdict.tables),
                        tuple(one for verdict in verdicts for one in verdict.routes))


def refusal(verdict: Completeness, use: Use = "training") -> OfsError | None:
    """The error that an incomplete basis is, or None: the first anomaly's, mismatches before gaps, gaps before what cannot be told.

    Only what ends a build of this use is one (`domain.outcomes`); where declaring it would do, the advice says so.
    """
    refused = [one for one in verdict.anomalies if is_refused(use, situation_of(one.code, one.why))]
    for kind in (ReplayDuplicateOffsetMismatch, ReplayBasisMismatch, TopicCompacted, ReplayBasisGap, BasisUnresolved, ReplayIncomplete):
        found = [anomaly for anomaly in refused if anomaly.code == kind.code]
        if found:
            more = f" There are {len(verdict.anomalies)} anomalies in total." if len(verdict.anomalies) > 1 else ""
            fix = _MENDS.get(found[0].why or "", _FIXES.get(kind))
            if outcome_of(use, situation_of(found[0].code, found[0].why)) == "declared":
                fix = f"{fix or kind.fix} {_DECLARE}"
            return kind(found[0].sentence + more, path=f"{found[0].topic}/{found[0].partition}", fix=fix,
                        start_offset=found[0].start_offset, end_offset=found[0].end_offset, anomalies=len(verdict.anomalies),
                        feasibility=verdict.feasibility)
    return None


def _anomaly(kind: type[OfsError], wanted: Range, span: tuple[int, int], sentence: str) -> Anomaly:
    return Anomaly(kind.code, wanted.topic, wanted.partition, wanted.offset_kind, str(span[0]), str(span[1]), sentence, wanted.log_id)


def _asked(said: Sequence[Watermarks], wanted: Range) -> Bus:
    """What a bus said of the partition of a range; none: it has no such partition."""
    return next((one for one in said if (one.topic, one.partition) == (wanted.topic, wanted.partition)), "none")


def _missing(wanted: Range, gap: Gap, asked: Bus, known: Collection[Counting], *, has_bus: bool) -> Anomaly:
    """A gap as an anomaly. Where there is no bus, all that can be said of a log that is known is that no segment covers it."""
    kind, why = _SAID_OF[gap.why]
    told = f"no evidence covers [{gap.start}, {gap.end}) of {wanted.topic}/{wanted.partition}"
    if not has_bus and gap.why in {"archive_gap", "retention_exceeded"}:
        return replace(_anomaly(kind, wanted, (gap.start, gap.end), f"{told}."), why="archive_gap")
    marks = asked if isinstance(asked, Watermarks) else None
    partitions = sorted(partition for partition, *counted in known if counted == [wanted.offset_kind, wanted.log_id])
    words = {"kind": wanted.offset_kind, "log": wanted.log_id, "topic": wanted.topic, "partition": wanted.partition,
             "counted": " and ".join(sorted({f"{offset_kind} in log {log}" for _, offset_kind, log in known})),
             "partitions": _shortened(list(map(str, partitions))), "bus": _lacking(marks, wanted),
             "stable": "" if marks is None else marks.last_stable,
             "open": "there is no more" if marks is None or gap.end > offset_number(marks.offset_kind, marks.end)
             else "transactions are open from there on"}
    return replace(_anomaly(kind, wanted, (gap.start, gap.end), f"{told}: {why.format_map(words)}."), why=gap.why)


def _lacking(marks: Watermarks | None, wanted: Range) -> str:
    """Why a bus has nothing of what is lost."""
    if marks is None:
        return "the bus has no such partition"
    if not marks.counts(wanted):
        return f"the bus counts in log {marks.log_id}: the topic was made anew"
    start, stable = marks.span
    return f"the bus keeps it from {marks.log_start} on" if start < stable else "the bus keeps nothing of it any more"


def _shortened(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST_NAMED], *(["…"] if len(names) > _MOST_NAMED else [])])


def _describe_segment(segment: SegmentEvidence) -> dict[str, Any]:
    if isinstance(segment, BusEvidence):
        ends = {name: None if one is None else {"offset": one[0], "leader_epoch": one[1]}
                for name, one in (("first_record", segment.first), ("last_record", segment.last))}
        return {"ref": segment.ref, "first_offset": segment.first_offset, "next_offset": segment.next_offset,
                "watermarks": dict(segment.watermarks), **ends}
    return {"ref": segment.ref, "first_offset": segment.first_offset, "last_offset": segment.last_offset,
            "next_offset": segment.next_offset,
            "record_count": segment.record_count, "sha256": segment.sha256, "dispositions": dict(segment.dispositions)}
