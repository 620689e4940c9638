"""The records of one topic, from whatever stretches: judged, timed, typed (`domain.md` §1.5, `decisions.md` D15, D21)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa

from offline_feature_plane.domain.admission import Admission, Record, Scope
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.completeness import BusEvidence
from offline_feature_plane.domain.findings import Alone, Findings, Spot
from offline_feature_plane.domain.visibility import ArrivalClock
from offline_feature_plane.errors import OfsError
from offline_feature_plane.ports.inputs import Lane, ReadReport
from offline_feature_plane.ports.kept import Keep
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs.ends_seen import EndsSeen
from offline_feature_plane.sources.logs.flowing import Placed, batches_in_order, flow_of, next_groups
from offline_feature_plane.sources.logs.portions import PortionReport, SoFar, portions_of, reading_document
from offline_feature_plane.sources.logs.scanned import Scanned
from offline_feature_plane.sources.logs.stretches import (
    Aside,
    PinnedStretch,
    Stretch,
    Undecodable,
    check,
    lane_of,
    read_in_order,
)
from offline_feature_plane.sources.logs.typings import Typing

__all__ = ["LogRecords"]

WORTH_A_COMPILER = 20_000  # records; the kernels are loaded in about a second
WORTH_KEEPING = 250_000    # records, which take a second or more to be read
WORTH_KEEPING_BYTES = 128 << 20  # or so much of them

_BATCH = 8_192
_TOLD = frozenset({"undecodable", "foreign_run", "null_value", "future_quarantined", "duplicate"})  # with their stretches


@dataclass(frozen=True)
class LogRecords:
    """`ports.inputs.RecordLog` of stretches: the chosen ranges of one topic, decoded once for all sources.

    `stretches` are ordered by partition and first offset. With `taken`, only events of that type are the topic's, under its name.
    Events whose time lies further ahead of the log's than `max_ahead_us` are quarantined.
    """

    topic: str
    stretches: tuple[Stretch, ...]
    ranges: tuple[Range, ...]
    typings: tuple[Typing, ...]
    taken: str | None = None
    max_ahead_us: int | None = None

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The partitions of the stretches that are read."""
        return tuple(dict.fromkeys(Lane(*lane_of(one)[1:]) for one in self.stretches))

    def by_partition(self) -> tuple[LogRecords, ...]:
        """One piece for each partition."""
        return tuple(replace(self, stretches=tuple(one for one in self.stretches if one.evidence.partition == partition),
                             ranges=tuple(one for one in self.ranges if one.partition == partition))
                     for partition in sorted({one.evidence.partition for one in self.stretches}))

    @property
    def holders(self) -> tuple[tuple[str, int], ...]:
        """As `ports.inputs.HeldApart`: archive or bus."""
        return tuple(("bus" if isinstance(one.evidence, BusEvidence) else "archive", one.most) for one in self.stretches)

    @property
    def rows(self) -> int:
        """All records of the stretches that are read."""
        return sum(one.most for one in self.stretches)

    def read(self, admission: Admission, take: Callable[[str, pa.RecordBatch], None]) -> ReadReport:
        """Hand out the events by source, in batches; tell how many coordinates gave none, and what was found."""
        found = Findings()
        try:
            return self._read(admission, take, found)
        except OfsError as wrong:
            wrong.fields.setdefault("findings", [one.describe() for one in found.told()])
            raise

    def scan(self, scope: Scope, take: Callable[[str | None, pa.RecordBatch], None], keep: Keep | None = None,
             threads: int = 1) -> ReadReport:
        """As `RecordLog.scan`: few records are decoded one by one, for which no compiler is loaded, and are not worth being kept."""
        wanted = Wanted.of(path for one in self.typings for path in one.paths) if self.rows >= WORTH_A_COMPILER else None
        if keep is not None and self._is_worth_keeping:
            return self._scan_portions(scope, take, keep, wanted, threads)
        found = Findings()
        scanned = self._scanned(scope, take, found)
        try:
            with closing(batches_in_order(self.stretches, self.ranges, wanted, threads)) as batches:
                for lane, batch, inside in batches:
                    scanned.see(lane, batch, inside, wanted)
        except OfsError as wrong:
            wrong.fields.setdefault("findings", [one.describe() for one in found.told()])
            raise
        return ReadReport(scanned.left_out, found.told(), scanned.compared, scanned.scenarios, scanned.ends.told())

    @property
    def _is_worth_keeping(self) -> bool:
        """Does it take long to be read?"""
        return self.rows >= WORTH_KEEPING or sum(
            one.size_bytes for one in self.stretches if isinstance(one, PinnedStretch)) >= WORTH_KEEPING_BYTES

    def _scanned(self, scope: Scope, take: Callable[[str | None, pa.RecordBatch], None], found: Findings, *,
                 is_portion: bool = False) -> Scanned:
        return Scanned(self.topic, self.typings, self.taken, scope, take, found, self.ranges, self.max_ahead_us, is_portion=is_portion)

    def _scan_portions(self, scope: Scope, take: Callable[[str | None, pa.RecordBatch], None], keep: Keep,
                       wanted: Wanted | None, threads: int) -> ReadReport:
        """Portion by portion: those that are kept are taken over, and their sources asked nothing."""
        portions = portions_of(self.stretches, self.ranges, reading_document(
            scope, [one.document() for one in self.typings], topic=self.topic, taken=self.taken, max_ahead_us=self.max_ahead_us))
        keep.start()
        kept = [one.digest is not None and keep.has(one.digest) for one in portions]
        missing = [one for one, is_kept in zip(portions, kept, strict=True) if not is_kept]
        check([one for portion in missing for one in portion.stretches])
        fresh, so_far = [group for portion in missing for group in portion.groups], SoFar()
        with closing(flow_of(fresh, self.ranges, wanted, threads)) as flow:
            for portion, is_kept in zip(portions, kept, strict=True):
                told = keep.take_over(str(portion.digest), so_far.before) if is_kept else None
                if told is not None:
                    so_far.add(PortionReport.from_document(told))
                    continue
                if is_kept:  # it is not what it was
                    check(portion.stretches)
                keep.begin(portion.digest, so_far.before)
                scanned = self._scanned(scope, take, found := Findings(), is_portion=True)
                with closing(flow_of(portion.groups, self.ranges, wanted, threads)) as again:
                    batches = next_groups(again if is_kept else flow, len(portion.groups))
                    report = self._scan_portion(batches, scanned, found, wanted, so_far)
                keep.end(report.document() if report.is_whole else None)
                so_far.add(report)
        return so_far.report()

    @staticmethod
    def _scan_portion(batches: Iterable[Placed], scanned: Scanned, found: Findings, wanted: Wanted | None, so_far: SoFar) -> PortionReport:
        try:
            for lane, batch, inside in batches:
                scanned.see(lane, batch, inside, wanted)
        except OfsError as wrong:
            wrong.fields.setdefault("findings", [one.describe() for one in so_far.findings(found.told())])
            raise
        return PortionReport(scanned.read, scanned.arrived, scanned.left_out, scanned.scenarios, scanned.compared, found.told(),
                             scanned.ends.told(), scanned.alone)

    def _read(self, admission: Admission, take: Callable[[str, pa.RecordBatch], None], found: Findings) -> ReadReport:
        left_out: dict[str, int] = {}
        held: dict[str, list[Record]] = {one.name: [] for one in self.typings}
        arrived: dict[str, list[int]] = {one.name: [] for one in self.typings}
        clock = ArrivalClock()
        typings = {one.name: one for one in self.typings}
        judge, before = admission.judge, admission.scenarios.copy()
        compared, ends = 0, EndsSeen(self.ranges)
        for lane, item in read_in_order(self.stretches, self.ranges):
            if isinstance(item, Aside):
                compared += _noted(item, lane, found)
                continue
            if isinstance(item, Undecodable):
                left_out[item.reason] = left_out.get(item.reason, 0) + 1
                found.note(Spot(item.reason, item.number), lane)
                continue
            ends.see(lane, (item.number, item.ts_us))
            record = self._named(item)
            reason, source = judge(record, self.max_ahead_us)
            arrival = clock.read(record.partition, record.log_us)
            if reason is not None:
                left_out[reason] = left_out.get(reason, 0) + 1
                if reason in _TOLD:
                    found.note(Spot(reason, item.number), lane)
            elif source is not None:
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
        return ReadReport(left_out, found.told(), compared, admission.scenarios - before, ends.told())

    def _named(self, record: Record) -> Record:
        """A record as one of this topic; with `taken` of its type if it is taken, else of a type that stays apart from all others."""
        if self.taken is None:
            return record
        kind = self.topic if record.event_type == self.taken else f"{self.topic}/{record.event_type}"
        return record._replace(topic=self.topic, event_type=kind)


def _noted(item: Aside, lane: tuple[str, int, str, str], found: Findings) -> int:
    """What was found on the way is noted; how many coordinates were compared."""
    match item:
        case Spot():
            found.note(item, lane)
        case Alone():
            for spot in item.spots(f"{lane[0]}/{lane[1]}"):
                found.note(spot, lane)
        case _:
            return item.count
    return 0
