"""The records of one topic, from whatever stretches: judged, timed, typed (`domain.md` §1.5, `decisions.md` D15, D21)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from offline_feature_plane.arrow_types import arrow_type, decimal_array
from offline_feature_plane.contracts.events import RECORD_COLUMNS
from offline_feature_plane.domain.admission import Admission, Record
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extractors import Extractor, extractor
from offline_feature_plane.domain.findings import Compared, Findings, Spot
from offline_feature_plane.domain.visibility import ArrivalClock
from offline_feature_plane.errors import OfsError
from offline_feature_plane.ports.inputs import Lane, ReadReport
from offline_feature_plane.sources.stretches import Stretch, Undecodable, lane_of, read_in_order

__all__ = ["LogRecords", "typings_of"]

_BATCH = 8_192
_TOLD = frozenset({"undecodable", "foreign_run", "null_value", "future_quarantined", "duplicate"})  # with their stretches
_HEAD = tuple(zip(RECORD_COLUMNS, (pa.string(), pa.int64(), pa.int32(), pa.string(), pa.string(), pa.int64()), strict=True))


def typings_of(sources: Sequence[Source], zone: str | None) -> tuple[_Typing, ...]:
    """How the records of each source are typed; `zone` is the one of payload times without offset."""
    return tuple(_Typing(source, zone) for source in sources)


@dataclass(frozen=True)
class LogRecords:
    """`ports.inputs.RecordLog` of stretches: the chosen ranges of one topic, decoded once for all sources.

    `stretches` are ordered by partition and first offset. With `taken`, only events of that type are the topic's, under its name.
    Events whose time lies further ahead of the log's than `max_ahead_us` are quarantined.
    """

    topic: str
    stretches: tuple[Stretch, ...]
    ranges: tuple[Range, ...]
    typings: tuple[_Typing, ...]
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

    def _read(self, admission: Admission, take: Callable[[str, pa.RecordBatch], None], found: Findings) -> ReadReport:
        left_out: dict[str, int] = {}
        held: dict[str, list[Record]] = {one.name: [] for one in self.typings}
        arrived: dict[str, list[int]] = {one.name: [] for one in self.typings}
        clock = ArrivalClock()
        typings = {one.name: one for one in self.typings}
        judge = admission.judge
        compared = 0
        for lane, item in read_in_order(self.stretches, self.ranges):
            if isinstance(item, Spot | Compared):
                compared += _noted(item, lane, found)
                continue
            if isinstance(item, Undecodable):
                left_out[item.reason] = left_out.get(item.reason, 0) + 1
                found.note(Spot(item.reason, item.number), lane)
                continue
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
        return ReadReport(left_out, found.told(), compared)

    def _named(self, record: Record) -> Record:
        """A record as one of this topic; with `taken` of its type if it is taken, else of a type that stays apart from all others."""
        if self.taken is None:
            return record
        kind = self.topic if record.event_type == self.taken else f"{self.topic}/{record.event_type}"
        return record._replace(topic=self.topic, event_type=kind)


def _noted(item: Spot | Compared, lane: tuple[str, int, str, str], found: Findings) -> int:
    """What was found on the way is noted; how many coordinates were compared."""
    if isinstance(item, Compared):
        return item.count
    found.note(item, lane)
    return 0


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
