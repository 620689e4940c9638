"""Where each stretch of a log is read: the archive first, the bus for the rest (`domain.md` §1.3, §1.4, `decisions.md` D20).

Per range of a basis there are the spans that an archive proves, and the watermarks of a bus. What the archive has is read from it; its
holes, and what comes after it, are read from the bus where that still has them. What neither has is a gap, and why it is one decides
whether the basis can be had at all.

    wanted       [100 ───────────────────────────────────────── 400)
    archive      [100 ────── 200)     [230 ────── 300)
    bus                       [190 ───────────────────────────── 420)      log start 190, last stable 420
    pieces       [100 archive 200)[200 bus 230)[230 archive 300)[300 bus 400)
    overlap                   [190 200)       [230 ────── 300)             both have it: compared by `verify_overlap`

Offsets are ordered; nothing here counts them, so the same law holds for logs whose offsets skip, and for `kinesis_sequence`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from offline_feature_plane.domain.basis import Lane, Range, offset_number, without

__all__ = ["CHECKED_BELOW", "FEASIBILITIES", "Bus", "Counting", "Feasibility", "Gap", "Holder", "Piece", "Route", "VerifyOverlap",
           "Watermarks", "Why", "check_key", "is_checked", "is_checked_by_hash", "route", "worst"]

Holder = Literal["archive", "bus"]
VerifyOverlap = Literal["sample", "full", "off"]
Feasibility = Literal["INFEASIBLE_UNKNOWN_LOG", "INFEASIBLE_UNKNOWN_PARTITION", "INFEASIBLE_RETENTION_EXCEEDED_NO_ARCHIVE",
                      "INFEASIBLE_ARCHIVE_GAP", "UNCHECKABLE", "FEASIBLE_REQUIRES_ARCHIVE", "FEASIBLE_BUS_ONLY", "FEASIBLE"]
# From the worst to the best: a plan answers with the worst of its ranges. FEASIBLE is that of pinned files, which no bus could have.
FEASIBILITIES: Final[tuple[Feasibility, ...]] = (
    "INFEASIBLE_UNKNOWN_LOG", "INFEASIBLE_UNKNOWN_PARTITION", "INFEASIBLE_RETENTION_EXCEEDED_NO_ARCHIVE", "INFEASIBLE_ARCHIVE_GAP",
    "UNCHECKABLE", "FEASIBLE_REQUIRES_ARCHIVE", "FEASIBLE_BUS_ONLY", "FEASIBLE")
Why = Literal["unknown_log", "unknown_partition", "retention_exceeded", "archive_gap", "not_settled", "bus_silent", "compacted",
              "start_unknown"]
_ANSWER: Final[dict[Why, Feasibility]] = {
    "unknown_log": "INFEASIBLE_UNKNOWN_LOG", "unknown_partition": "INFEASIBLE_UNKNOWN_PARTITION",
    "retention_exceeded": "INFEASIBLE_RETENTION_EXCEEDED_NO_ARCHIVE", "archive_gap": "INFEASIBLE_ARCHIVE_GAP",
    "not_settled": "UNCHECKABLE", "bus_silent": "UNCHECKABLE", "compacted": "UNCHECKABLE", "start_unknown": "UNCHECKABLE"}

CHECKED_BELOW: Final = (1 << 64) // 1000  # a word below it is in the sample
_WORD: Final = (1 << 64) - 1


@dataclass(frozen=True)
class Watermarks:
    """What one partition of a bus said of itself when it was asked: it holds the records of `[log_start, last_stable)`.

    `end` is where its next record will stand; between `last_stable` and `end` are records of transactions that are open. `log_start` is
    None where a bus cannot tell it. A compacted partition has lost records that nothing shows.
    """

    topic: str
    partition: int
    offset_kind: str
    log_id: str
    log_start: str | None
    last_stable: str
    end: str
    is_compacted: bool = False

    @property
    def lane(self) -> Lane:
        """What its offsets count in."""
        return self.topic, self.partition, self.offset_kind, self.log_id

    @property
    def span(self) -> tuple[int, int]:
        """What it holds, as numbers; where it cannot tell its start, nothing."""
        stable = offset_number(self.offset_kind, self.last_stable)
        return (stable if self.log_start is None else offset_number(self.offset_kind, self.log_start)), stable

    def counts(self, wanted: Range) -> bool:
        """Do the offsets of a range count in this partition of this very log?"""
        return self.lane == wanted.lane

    def describe(self) -> dict[str, Any]:
        """For documents."""
        return {"log_start": self.log_start, "last_stable": self.last_stable, "end": self.end, "is_compacted": self.is_compacted}


# A bus that answered; one that has no such partition, or none at all; one that could not be asked.
Bus = Watermarks | Literal["none", "silent"]
Counting = tuple[int, str, str]  # a partition of a topic, and what its offsets count: partition, offset kind, log


@dataclass(frozen=True)
class Piece:
    """A half-open stretch that is read from one holder."""

    holder: Holder
    start: int
    end: int

    def describe(self) -> dict[str, Any]:
        """For documents: offsets are text."""
        return {"holder": self.holder, "start_offset": str(self.start), "end_offset": str(self.end)}


@dataclass(frozen=True)
class Gap:
    """A half-open stretch that nobody can prove, and why."""

    why: Why
    start: int
    end: int

    @property
    def answer(self) -> Feasibility:
        """What it makes of the basis."""
        return _ANSWER[self.why]

    def describe(self) -> dict[str, Any]:
        """For documents: offsets are text."""
        return {"why": self.why, "start_offset": str(self.start), "end_offset": str(self.end)}


@dataclass(frozen=True)
class Route:
    """How one range is read: pieces and gaps in order, which together are the range; what both holders have; what the bus said.

    `overlaps` are inside of archive pieces.
    """

    wanted: Range
    pieces: tuple[Piece, ...]
    gaps: tuple[Gap, ...]
    overlaps: tuple[tuple[int, int], ...]
    watermarks: Watermarks | None
    feasibility: Feasibility

    @property
    def archive_high(self) -> int | None:
        """Where the last piece of the archive ends; None: nothing is read from it."""
        return max((piece.end for piece in self.pieces if piece.holder == "archive"), default=None)

    @property
    def on_bus(self) -> list[tuple[int, int]]:
        """What a bus is read for: what it alone vouches for, and what compaction has left where the intent declares that."""
        return _merged([*((one.start, one.end) for one in self.pieces if one.holder == "bus"),
                        *((one.start, one.end) for one in self.gaps if one.why == "compacted")])

    def describe(self) -> dict[str, Any]:
        """For documents."""
        return {"topic": self.wanted.topic, "partition": self.wanted.partition, "offset_kind": self.wanted.offset_kind,
                "log_id": self.wanted.log_id, "feasibility": self.feasibility, "pieces": [piece.describe() for piece in self.pieces],
                "gaps": [gap.describe() for gap in self.gaps],
                "overlaps": [{"start_offset": str(start), "end_offset": str(end)} for start, end in self.overlaps],
                "watermarks": None if self.watermarks is None else self.watermarks.describe()}


def route(wanted: Range, archived: Iterable[tuple[int, int]], bus: Bus, *, is_archived: bool | None = None,
          known: Collection[Counting] = ()) -> Route:
    """Plan one range.

    Args:
        wanted: the range.
        archived: the spans that the archive's segments of this very log prove.
        is_archived: does the archive have segments of this log, be it elsewhere? None: iff there is a span.
        bus: what the bus said of the partition; a bus whose partition counts in another log has nothing of this one.
        known: what is known of the topic in all of its partitions, by whomever; that of `bus` need not be said again.

    >>> tx = Range("tx", 0, "kafka_offset", "log", "0", "9")
    >>> [piece.describe()["holder"] for piece in route(tx, [(0, 5)], Watermarks("tx", 0, "kafka_offset", "log", "3", "9", "9")).pieces]
    ['archive', 'bus']
    """
    spans = sorted(archived)
    held = _merged((max(start, wanted.start), min(end, wanted.end)) for start, end in spans)
    marks = bus if isinstance(bus, Watermarks) and bus.counts(wanted) else None
    start, stable = (wanted.start, wanted.start) if marks is None else marks.span
    on_bus = _merged([(max(start, wanted.start), min(stable, wanted.end))])
    usable = [] if marks is not None and marks.is_compacted else on_bus
    pieces = [Piece("archive", *span) for span in held]
    has_archive = bool(spans) if is_archived is None else is_archived
    lost = _lost(wanted, bus, known, has_archive=has_archive, is_on_bus=marks is not None)
    gaps: list[Gap] = []
    for missing in without(wanted, held):
        pieces += [Piece("bus", *found) for found in _common([missing], usable)]
        for hole in _outside(missing, usable):
            gaps += _explain(hole, bus, marks, lost=lost)
    pieces.sort(key=lambda piece: piece.start)
    gaps.sort(key=lambda gap: gap.start)
    return Route(wanted, tuple(pieces), tuple(gaps), tuple(_common(held, on_bus)), marks, _answer(wanted, gaps, usable))


def worst(answers: Iterable[Feasibility]) -> Feasibility:
    """The answer of a basis: the worst of its ranges'.

    >>> worst(["FEASIBLE_BUS_ONLY", "FEASIBLE_REQUIRES_ARCHIVE"])
    'FEASIBLE_REQUIRES_ARCHIVE'
    """
    return min(answers, key=FEASIBILITIES.index, default="FEASIBLE")


# --- which coordinates of an overlap are compared -----------------------------------------------------------


def check_key(topic: str, partition: int, log_id: str) -> int:
    """What the choice of coordinates in one partition starts from: the first 8 bytes of a SHA-256, big-endian."""
    said = f"ofs.overlap_sample.v1\0{topic}\0{partition}\0{log_id}"
    return int.from_bytes(hashlib.sha256(said.encode()).digest()[:8], "big")


def is_checked_by_hash(key: int, offset: int) -> bool:
    """Is it of the thousandth of coordinates that a sample takes? SplitMix64 from the state `key`; long offsets by their low 64 bits."""
    word = (((offset & _WORD) + 1) * 0x9E3779B97F4A7C15 + key) & _WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return (word ^ (word >> 31)) < CHECKED_BELOW


def is_checked(mode: VerifyOverlap, offset: int, ends: frozenset[int], key: int) -> bool:
    """Is a coordinate that archive and bus both have compared?

    Args:
        mode: `full` compares all, `off` none, `sample` the ends of segments and a thousandth.
        offset: where.
        ends: the first and the last offset of each segment.
        key: `check_key` of the partition.
    """
    return mode == "full" or (mode == "sample" and (offset in ends or is_checked_by_hash(key, offset)))


# --- stretches ----------------------------------------------------------------------------------------------


def _lost(wanted: Range, bus: Bus, known: Collection[Counting], *, has_archive: bool, is_on_bus: bool) -> Why:
    """Why nobody can have what is not there: it was there once, or who knows the topic knows neither its log nor its partition."""
    counted = {(kind, log) for _, kind, log in known} | ({(bus.offset_kind, bus.log_id)} if isinstance(bus, Watermarks) else set())
    if has_archive:
        return "archive_gap"
    if is_on_bus or not counted:
        return "retention_exceeded"
    return "unknown_partition" if (wanted.offset_kind, wanted.log_id) in counted else "unknown_log"


def _explain(hole: tuple[int, int], bus: Bus, marks: Watermarks | None, *, lost: Why) -> list[Gap]:
    """Why nobody can prove a stretch: before the bus begins, behind what it has settled, or within what it cannot vouch for."""
    if bus == "silent":
        return [Gap("bus_silent", *hole)]
    if marks is None:
        return [Gap(lost, *hole)]
    start, stable = marks.span
    before: Why = "start_unknown" if marks.log_start is None else lost
    parts: list[tuple[Why, int, int]] = [(before, hole[0], min(hole[1], start)), ("compacted", max(hole[0], start), min(hole[1], stable)),
                                         ("not_settled", max(hole[0], stable), hole[1])]
    return [Gap(why, first, end) for why, first, end in parts if first < end]


def _answer(wanted: Range, gaps: Sequence[Gap], usable: Sequence[tuple[int, int]]) -> Feasibility:
    if gaps:
        return worst(gap.answer for gap in gaps)
    return "FEASIBLE_BUS_ONLY" if list(usable) == [(wanted.start, wanted.end)] else "FEASIBLE_REQUIRES_ARCHIVE"


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Disjoint stretches in order, adjacent ones as one; empty ones are none."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def _common(some: Iterable[tuple[int, int]], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return _merged((max(one[0], other[0]), min(one[1], other[1])) for one in some for other in others)


def _outside(span: tuple[int, int], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found, here = [], span[0]
    for start, end in _common([span], others):
        if here < start:
            found.append((here, start))
        here = end
    return [*found, (here, span[1])] if here < span[1] else found
