"""Inputs as plain Python lists: every value of every row through the scalar law of `domain.extraction`, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pyarrow as pa

from offline_feature_plane.arrow_types import refuse_type
from offline_feature_plane.contracts.events import RECORD_COLUMNS
from offline_feature_plane.domain.admission import Admission, nothing_admitted
from offline_feature_plane.domain.calendars import row_name
from offline_feature_plane.domain.canonical import digest, sha256_of
from offline_feature_plane.domain.closure import Closure, Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extraction import convert, extract, extract_mark, extract_path
from offline_feature_plane.domain.identity import row_id
from offline_feature_plane.domain.resolution import SOURCES, Assertion
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.domain.visibility import Visibility
from offline_feature_plane.engines.oracle.meaning import Event, order_key
from offline_feature_plane.engines.oracle.speaking import AssumedAssertion, EntityAssertion
from offline_feature_plane.errors import (
    EngineFailed,
    FeatureProfileInvalid,
    LabelPolicyInvalid,
    LabelStoreUnavailable,
    NumericOverflow,
    ReplayEventIdConflict,
    ReplayEventInvalid,
    SourceColumnUnknown,
)
from offline_feature_plane.filesets import read_pinned
from offline_feature_plane.ports import ReplayFacts
from offline_feature_plane.ports.inputs import EventInput, LabelTable, PlainTable, ReadReport, RecordLog, Told

__all__ = ["LabelRow", "made_events", "read_assertions", "read_events"]

INSTANT = ColumnType("timestamp")


def read_events(inputs: Sequence[EventInput], task: Task) -> tuple[tuple[Event, ...], ReplayFacts]:
    """All admitted events in the total order, and what reading found.

    Raises:
        ReplayBasisMismatch, SourceUnreadable, SourceColumnUnknown, SourceTypeMismatch, EventSchemaMissingFields, ReplayEventInvalid,
        NumericOverflow, TimeZoneUndeclared, ReplayEventIdConflict, ReplayEventsEmpty.
    """
    events: list[Event] = []
    told = Told()
    tables: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    whole = True  # is every id an integer?
    admission = Admission(task.platform_run_id, task.scenario_run_ids, task.closure.sources)
    for item in sorted(inputs, key=lambda one: one.topic.encode()):
        if not isinstance(item, PlainTable):
            whole = False
            by_source, report = _record_events(item, task.closure.sources, admission)
            told.add(report)
            for place, source in sorted(enumerate(task.closure.sources), key=lambda one: one[1].name):
                found, said = by_source[source.name]
                records.append({"topic": item.topic, "records": said, "source": place})
                events += found
            continue
        tables.append({"topic": item.topic, "log_id": item.log_id})
        table_source = _source_of(item, task.closure)
        if table_source is None:
            told.left_out["other_scope"] += item.rows
            continue
        whole = whole and item.id_type.is_integer
        rows = list(_table_events(item, table_source, task.visibility))
        kept = _without_repeats(item, rows)
        told.left_out["duplicate"] += len(rows) - len(kept)
        events += kept
    if not events:
        raise nothing_admitted([item.topic for item in inputs], told.left_out)
    if task.calendar is not None:
        events, whole = [*events, *made_events(events, task)], False
    ordered = sorted(events, key=lambda event: order_key(event, task))
    named = ordered if whole else [_as_text(event) for event in ordered]
    return tuple(named), ReplayFacts(
        events_read=len(events) + told.left_out.total(), events_admitted=len(events),
        dispositions=told.dispositions,
        events_digest=digest("ofs.events.v1", tables + records),
        first_ts_us=ordered[0].ts_us, last_ts_us=ordered[-1].ts_us, id_type=ColumnType("int64" if whole else "string"),
        findings=told.findings, compared=told.compared, scenarios=told.of_scenarios(task.scenario_run_ids),
        ends=told.ends)


def made_events(events: Sequence[Event], task: Task) -> list[Event]:
    """What the calendar makes of events: at the end of each period one row about every entity with an event of its source by then."""
    made = []
    if task.calendar is not None and task.entity is not None:
        for at_us, day in task.calendar.ends().items():
            seen = {event.values[task.entity] for event in events if event.source == task.calendar.source and event.ts_us <= at_us}
            made += [Event(task.subject, row_name(str(who), day), at_us, {task.entity: who}, task.subject)
                     for who in seen if who is not None]
    return made


def _as_text(event: Event) -> Event:
    return replace(event, event_id=str(event.event_id), read_id=event.event_id) if isinstance(event.event_id, int) else event


def _source_of(table: PlainTable, closure: Closure) -> Source | None:
    found = [source for source in closure.sources if table.topic in source.event_types]
    if len(found) > 1:
        raise FeatureProfileInvalid(f"the event type {table.topic} belongs to several sources.", path="sources",
                                    fix="Let each event type belong to one source.")
    return found[0] if found else None


def _table_events(table: PlainTable, source: Source, visibility: Visibility) -> Iterator[tuple[Event, dict[str, Any]]]:
    """Events of a plain table in file order, each with its raw row."""
    columns = [name for name, _ in table.columns]
    for wanted in [table.time_column, *([table.id_column] if table.id_column else []), *(_column(field, table) for field in source.fields)]:
        if wanted not in columns and table.form != "jsonl":
            raise SourceColumnUnknown(f"{table.topic} has no column {wanted!r}; it has: {', '.join(columns)}.", path=wanted,
                                      fix="Give the field a `path:` that names an existing column.")
    marks = [Field(table.time_column, INSTANT, (table.time_column,))]
    marks += [Field(table.id_column, table.id_type, (table.id_column,))] if table.id_column is not None else []
    arrival = table.arrival_column if visibility == "arrival" else None
    marks += [Field(arrival, INSTANT, (arrival,))] if arrival is not None else []
    for batch in read_pinned(table.files, table.form, columns):
        for field in (*marks, *source.fields):
            if not isinstance(array := batch.get(_column(field, table), []), list):
                refuse_type(table.topic, _column(field, table), array.type, field.name, field.type)
    for number, raw in enumerate(_rows(table, columns)):
        ts_us = extract_mark(raw.get(table.time_column), marks[0], table.zone)
        named: Any = row_id(table.log_id, number)
        if table.id_column is not None:
            named = extract_mark(raw.get(table.id_column), marks[1], table.zone)
        values = {field.name: extract(_raw_value(raw, field, table), field, table.zone) for field in source.fields}
        arrival_us = 0 if arrival is None else extract_mark(raw.get(arrival), marks[-1], table.zone)
        yield Event(source.name, named, int(ts_us or 0), values, table.topic, arrival_us=int(arrival_us or 0)), raw


def _column(field: Field, table: PlainTable) -> str:
    return field.path[0] if table.form == "jsonl" else ".".join(field.path)


def _raw_value(raw: dict[str, Any], field: Field, table: PlainTable) -> Any:
    return extract_path(raw, field.path) if table.form == "jsonl" else raw[_column(field, table)]


def _without_repeats(table: PlainTable, found: Sequence[tuple[Event, dict[str, Any]]]) -> list[Event]:
    """Each id once; raises ReplayEventIdConflict if one id has two contents (`decisions.md` D14)."""
    first: dict[int | str, tuple[Event, dict[str, Any]]] = {}
    for event, raw in found:
        held = first.setdefault(event.event_id, (event, raw))
        unlike = [name for name in sorted(raw.keys() | held[1].keys()) if not _alike(raw.get(name), held[1].get(name))]
        if unlike:
            raise ReplayEventIdConflict(f"{table.topic}: the event id {event.event_id} carries rows that differ in {unlike[0]}.",
                                        path=unlike[0], fix=f"Keep one row per {table.id_column}, or map a column that is unique.")
    return [event for event, _ in first.values()]


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)  # a NaN is like itself here
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)  # in Python 1 == True


def _rows(table: PlainTable | LabelTable, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for batch in read_pinned(table.files, table.form, columns):
        lists = {name: array if isinstance(array, list) else _python(array) for name, array in batch.items()}
        for values in zip(*lists.values(), strict=True):
            yield dict(zip(lists, values, strict=True))


def _python(array: pa.Array) -> list[Any]:
    """Python values; times as text, so that no digit and no year is beyond Python."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp(array.type.unit, "UTC" if array.type.tz is not None else None)).cast(pa.string())
    found: list[Any] = array.to_pylist()
    return found


def _record_events(log: RecordLog, sources: Sequence[Source],
                   admission: Admission) -> tuple[dict[str, tuple[list[Event], str]], ReadReport]:
    """Per source the events of a log with the digest of their coordinates and payload hashes; and what reading told."""
    batches: dict[str, list[pa.RecordBatch]] = {source.name: [] for source in sources}
    report = log.read(admission, lambda name, batch: batches[name].append(batch))
    return {source.name: _typed_events(log, source, batches[source.name]) for source in sources}, report


def _typed_events(log: RecordLog, source: Source, batches: Sequence[pa.RecordBatch]) -> tuple[list[Event], str]:
    expected = [*RECORD_COLUMNS, *(field.name for field in source.fields)]
    lanes = {lane.partition: lane for lane in log.lanes}
    events, lines = [], []
    for batch in batches:
        if batch.schema.names != expected:
            raise EngineFailed(f"{log.topic} yields the columns {batch.schema.names}, not {expected}.", fix="Please report this.")
        instants = batch.column("ts").cast(pa.int64()).to_pylist()
        heads = [batch.column(name).to_pylist() for name in ("event_id", "partition", "offset", "payload_hash", "arrival")]
        fields = [_inner(batch.column(field.name), field) for field in source.fields]
        for place, (ts_us, event_id, partition, offset, payload_hash, arrival_us) in enumerate(zip(instants, *heads, strict=True)):
            values = {field.name: column[place] for field, column in zip(source.fields, fields, strict=True)}
            events.append(Event(source.name, event_id, ts_us, values, log.topic, partition, int(offset), arrival_us=arrival_us))
            where = lanes[partition]
            lines.append((partition, int(offset), f"{where.log_id}\t{partition}\t{where.offset_kind}\t{offset}\t{payload_hash}\n"))
    return events, sha256_of("".join(line for _, _, line in sorted(lines)).encode())


def _inner(array: pa.Array, field: Field) -> list[Any]:
    """Typed Arrow values in the inner form: decimals scaled, times as µs."""
    if field.type.kind == "timestamp":
        instants: list[Any] = array.cast(pa.int64()).to_pylist()
        return instants
    return [int(value.scaleb(field.type.scale)) if isinstance(value, Decimal) else value for value in array.to_pylist()]


@dataclass(frozen=True)
class LabelRow:
    """One row of a label table: its assertion, whose instants may wait for the event's own (None)."""

    subject: str | int
    value: str
    observed_us: int | None
    effective_us: int | None
    source: str
    assertion_id: str | None
    supersedes: str | None

    def about_entity(self, table: LabelTable, held_by: tuple[str, str]) -> EntityAssertion:
        """The assertion, of a table that is about entities, which a field of a source holds."""
        (one,) = self.about((), table)
        return EntityAssertion(one.subject, one.label_type, one.value, one.observed_us, one.effective_us, one.source, one.assertion_id,
                               one.supersedes, held_by, entity_field=held_by[1])

    def about(self, instants: Iterable[int], table: LabelTable) -> list[Assertion]:
        """The assertion, or one for each instant of its events where these decide when it became known."""
        rest = (self.source, self.assertion_id, self.supersedes)
        if self.observed_us is not None:
            effective = self.effective_us if self.effective_us is not None else self.observed_us
            return [Assertion(self.subject, table.label_type, self.value, self.observed_us, effective, *rest)]
        after = table.observed_after_us or 0
        if self.effective_us is not None:
            return [Assertion(self.subject, table.label_type, self.value, self.effective_us + after, self.effective_us, *rest)]
        return [AssumedAssertion(self.subject, table.label_type, self.value, at + after, at, *rest, at) for at in sorted(instants)]


def read_assertions(table: LabelTable, id_type: ColumnType) -> list[LabelRow]:
    """All rows of a label table.

    Raises:
        ReplayBasisMismatch, SourceUnreadable; LabelStoreUnavailable: a needed value is missing or cannot be read;
        LabelPolicyInvalid: an unmapped value or an unknown source.
    """
    columns = dict.fromkeys(name for name in (
        table.event_column, table.event_time_column, table.value_column, table.observed_column, table.effective_column, table.source_column,
        table.id_column, table.supersedes_column) if name is not None)
    return [_told(table, raw, id_type) for raw in _rows(table, list(columns))]


def _told(table: LabelTable, raw: dict[str, Any], id_type: ColumnType) -> LabelRow:
    def read(name: str | None, kind: ColumnType, *, needed: bool = True) -> Any:
        if name is None:
            return None
        if raw[name] is None and needed:
            raise LabelStoreUnavailable(f"a {table.label_type} label has no {name!r}.", path=table.mapped_at(name),
                                        fix="Leave such rows out of the label file.")
        try:
            return None if raw[name] is None else convert(raw[name], kind, "exact", table.zone, name)
        except (ReplayEventInvalid, NumericOverflow) as wrong:
            raise LabelStoreUnavailable(f"in the {table.label_type} labels {wrong.what}", fix=wrong.fix,
                                      path=table.mapped_at(name)) from wrong

    text = ColumnType("string")
    observed = read(table.observed_column, INSTANT)
    effective = read(table.effective_column, INSTANT) if observed is not None else read(table.event_time_column, INSTANT)
    source = table.source_constant if table.source_column is None else str(raw[table.source_column])
    if source not in SOURCES and table.source_column is not None:
        raise LabelPolicyInvalid(f"a {table.label_type} label comes from an unknown source {source!r}.",
                                 path=table.mapped_at(table.source_column),
                                 fix=f"Write one of {', '.join(SOURCES)}.")
    return LabelRow(read(table.event_column, id_type), _value(table, raw), observed, effective, source,
                read(table.id_column, text, needed=False), read(table.supersedes_column, text, needed=False))


def _value(table: LabelTable, raw: dict[str, Any]) -> str:
    if table.value_column is None:
        return table.value_constant or ""
    found = raw[table.value_column]
    if isinstance(found, bool):
        found = "true" if found else "false"
    elif isinstance(found, float | Decimal) and found == found // 1:
        found = int(found)
    meanings = dict(table.value_map) if table.value_map is not None else None
    text = "" if found is None else str(found)
    if not text:
        raise LabelStoreUnavailable(f"a {table.label_type} label has no {table.value_column!r}.", path=table.mapped_at(table.value_column),
                                    fix="Leave such rows out of the label file.")
    if meanings is not None and text not in meanings:
        raise LabelPolicyInvalid(f"a {table.label_type} label holds {text!r}, a value that is not mapped.", fix="Map it in `value:`.",
                                 path=f"labels.{table.label_type}.value")
    if meanings is None and text != text.strip():
        raise LabelPolicyInvalid(f"a {table.label_type} label holds {text!r}, which begins or ends with spaces.",
                                 path=f"labels.{table.label_type}.value", fix="Correct the file, or map it in `value:`.")
    return text if meanings is None else meanings[text]
