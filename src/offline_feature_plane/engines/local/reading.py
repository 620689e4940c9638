"""Events of all inputs as they are read: typed, in pieces, with what gave no event counted (`decisions.md` D14, D18)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.contracts.events import RECORD_COLUMNS
from offline_feature_plane.domain.admission import Admission
from offline_feature_plane.domain.canonical import digest
from offline_feature_plane.domain.closure import Closure, Field, Source
from offline_feature_plane.domain.identity import row_id
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.columns import (
    IdColumn,
    Integers,
    Loaded,
    NumberFill,
    TextFill,
    fill_for,
    marks,
    name_offender,
    nullable,
    raw_of,
    refuse_types,
)
from offline_feature_plane.engines.local.events import History
from offline_feature_plane.engines.local.lowering import Suspect, as_arrow, as_numpy
from offline_feature_plane.engines.local.made_rows import FirstSeen
from offline_feature_plane.errors import EngineFailed, FeatureProfileInvalid, ReplayEventsEmpty
from offline_feature_plane.filesets import read_pinned
from offline_feature_plane.ports import ReplayFacts
from offline_feature_plane.ports.inputs import EventInput, Lane, PlainTable, ReadReport, RecordLog, Told

EVENTS_RECIPE = "ofs.events.v1"
_SLICE = 1 << 20
Item = TypeVar("Item")


def load(inputs: Sequence[EventInput], task: Task, told: Told, most: int) -> Iterator[tuple[EventInput | None, Loaded]]:
    """Every input of the closure's sources, by topic; tables in pieces of at most `most` rows. Raises as `history.storing.store_events`.

    What is read is noted in `told`. Records of logs are admitted before one of them is handed out. Rows that a
    calendar makes come last, of no input.
    """
    if task.calendar is None or task.entity is None:
        yield from _load_inputs(inputs, task, told, most)
        return
    seen = FirstSeen(task, task.calendar, task.entity)
    for item, piece in _load_inputs(inputs, task, told, most):
        seen.look(piece)
        yield item, piece
    yield from ((None, piece) for piece in seen.rows(most))


def _load_inputs(inputs: Sequence[EventInput], task: Task, told: Told, most: int) -> Iterator[tuple[EventInput, Loaded]]:
    admission = Admission(task.platform_run_id, task.scenario_run_ids, task.closure.sources)
    for item in sorted(inputs, key=lambda one: one.topic.encode()):
        if not isinstance(item, PlainTable):
            records: list[Loaded] = []
            told.add(_load_log(item, task, admission, records))
            yield from ((item, one) for one in _with_comparable_offsets(records))
        elif (source := _source_of(item, task.closure)) is None:
            told.left_out["other_scope"] += item.rows
        else:
            yield from ((item, piece) for piece in load_table(item, source, task.closure.sources[source], task, most))


def no_events(inputs: Sequence[EventInput]) -> ReplayEventsEmpty:
    """The error of a basis that holds nothing."""
    return ReplayEventsEmpty(f"{', '.join(item.topic for item in inputs) or 'the basis'} holds no event of the profile's sources.",
                             fix="Check `event_types` in the profile and the replay basis.")


def state_facts(history: History, inputs: Sequence[EventInput], loaded: Sequence[Loaded], told: Told) -> ReplayFacts:
    """What was read, from what it has become."""
    first, last = history.instants_at(np.array([0, history.n - 1])).tolist()
    return ReplayFacts(
        events_read=history.n + told.left_out.total(), events_admitted=history.n,
        dispositions=told.dispositions, events_digest=_events_digest(inputs, loaded), first_ts_us=first, last_ts_us=last,
        id_type=history.id_type, findings=told.findings, compared=told.compared)


def _source_of(table: PlainTable, closure: Closure) -> int | None:
    found = [index for index, source in enumerate(closure.sources) if table.topic in source.event_types]
    if len(found) > 1:
        names = ", ".join(closure.sources[index].name for index in found)
        raise FeatureProfileInvalid(f"the event type {table.topic} belongs to several sources: {names}.", path="sources",
                                    fix="Let each event type belong to one source.")
    return found[0] if found else None


def load_table(table: PlainTable, index: int, source: Source, task: Task, most: int) -> Iterator[Loaded]:
    """A plain table in the order of its rows, typed, in pieces of at most `most` rows; an empty table is one empty piece."""
    most = max(most, 1)
    own = marks(table, task.visibility)
    fields = (*own, *source.fields)
    table.check_columns(source)
    columns = sorted({table.column_of(field) for field in fields})
    left, first = table.rows, 0
    fills = [fill_for(field, min(left, most)) for field in fields]
    held = 0
    for batch in ahead(read_pinned(table.files, table.form, columns)):
        refuse_types(batch, fields, table)
        count, at = len(next(iter(batch.values()))), 0
        while at < count:
            taken = min(count - at, most - held)
            piece = batch if taken == count else {name: values[at:at + taken] for name, values in batch.items()}
            for fill in fills:
                try:
                    fill.put(raw_of(piece[table.column_of(fill.field)], fill.field), table.zone)
                except Suspect:
                    raise name_offender(table, fill.field) from None
            at, held = at + taken, held + taken
            if held == most < left:
                yield _piece(table, index, source, task, own, fills, first)
                left, first, held = left - most, first + most, 0
                fills = [fill_for(field, min(left, most)) for field in fields]
    yield _piece(table, index, source, task, own, fills, first)


def _piece(table: PlainTable, index: int, source: Source, task: Task, own: Sequence[Field], fills: Sequence[NumberFill | TextFill],
           first: int) -> Loaded:
    filled = [fill.done() for fill in fills]
    marked = {field.name: one for field, one in zip(own, filled, strict=False)}
    ts = _numbers(marked[table.time_column])
    ids = _ids(marked[table.id_column]) if table.id_column is not None else _row_ids(table.log_id, first, first + len(ts))
    arrival = _numbers(marked[table.arrival_column]) if table.arrival_column in marked and task.visibility == "arrival" else None
    named = {field.name: one for field, one in zip(source.fields, filled[len(own):], strict=True)}
    return Loaded(table.topic, index, ts, ids, None, None, named, None, arrival, task.standing(source.name))


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one made on a second thread while the caller works on this one."""
    with ThreadPoolExecutor(1, thread_name_prefix="ofs-ahead") as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item


def _row_ids(log_id: str, first: int, stop: int) -> pa.ChunkedArray:
    prefix = row_id(log_id, 0)[:-1]
    return pa.chunked_array([pa.array([f"{prefix}{row}" for row in range(start, min(start + _SLICE, stop))], pa.string())
                             for start in range(first, stop, _SLICE)], pa.string())


def _numbers(filled: Any) -> Integers:
    values: Integers = filled[0]
    return values


def _ids(filled: Any) -> IdColumn:
    return filled if isinstance(filled, pa.ChunkedArray) else filled[0]


def _load_log(log: RecordLog, task: Task, admission: Admission, loaded: list[Loaded]) -> ReadReport:
    """Append the events of each source, by its name; return what reading told."""
    sources = task.closure.sources
    batches: dict[str, list[pa.RecordBatch]] = {source.name: [] for source in sources}
    report = log.read(admission, lambda name, batch: batches[name].append(batch))
    for index, source in sorted(enumerate(sources), key=lambda one: one[1].name):
        one = _load_records(log, index, source, batches.pop(source.name))
        loaded.append(replace(one, arrival=one.arrival if task.visibility == "arrival" else None, standing=task.standing(source.name)))
    return report


def _load_records(log: RecordLog, index: int, source: Source, batches: Sequence[pa.RecordBatch]) -> Loaded:
    rows = sum(batch.num_rows for batch in batches)
    expected = [*RECORD_COLUMNS, *(field.name for field in source.fields)]
    fills: dict[str, NumberFill | TextFill] = {field.name: fill_for(nullable(field), rows) for field in source.fields}
    columns = len(RECORD_COLUMNS)
    for batch in batches:
        if batch.schema.names != expected:
            raise EngineFailed(f"{log.topic} yields the columns {batch.schema.names}, not {expected}.", fix="Please report this.")
        for position, fill in enumerate(fills.values(), columns):
            fill.put(batch.column(position), "UTC")
    heads = {name: pa.chunked_array([batch.column(place) for batch in batches], _HEAD_TYPES[name])
             for place, name in enumerate(RECORD_COLUMNS)}
    partition = as_numpy(heads["partition"].combine_chunks(), np.int32).astype(np.int64)
    offset = _offsets(heads["offset"].to_pylist())
    ts = as_numpy(heads["ts"].combine_chunks(), np.int64)
    said = _records_digest(heads, log.lanes, np.lexsort((np.unique(offset, return_inverse=True)[1], partition)))
    return Loaded(log.topic, index, ts, heads["event_id"], partition, offset, {name: fill.done() for name, fill in fills.items()},
                  said, as_numpy(heads["arrival"].combine_chunks(), np.int64))


_HEAD_TYPES = {"event_id": pa.string(), "ts": pa.int64(), "partition": pa.int32(), "offset": pa.string(), "payload_hash": pa.string(),
               "arrival": pa.int64()}


def _offsets(texts: list[str]) -> npt.NDArray[Any]:
    """Offsets as int64, or as Python integers if one of them is longer."""
    numbers = [int(text) for text in texts]
    return np.array(numbers, np.int64 if not numbers or max(numbers) < 1 << 63 else object)


def _with_comparable_offsets(records: Sequence[Loaded]) -> list[Loaded]:
    """Long offsets become ranks among all slices of their topic, whose events of several sources share partitions."""
    offsets = [one.offset for one in records if one.offset is not None]
    if all(one.dtype != object for one in offsets):
        return list(records)
    place = {number: rank for rank, number in enumerate(sorted({number for one in offsets for number in one.tolist()}))}
    return [one if one.offset is None else replace(one, offset=np.array([place[number] for number in one.offset.tolist()], np.int64))
            for one in records]


def _records_digest(heads: dict[str, pa.ChunkedArray], lanes: Sequence[Lane], order: npt.NDArray[np.int64]) -> str:
    """SHA-256 over `log, partition, kind, offset, payload hash` lines in the order of coordinates."""
    running = hashlib.sha256()
    begins = {one.partition: f"{one.log_id}\t{one.partition}\t{one.offset_kind}" for one in lanes}
    at = as_arrow(order)
    lists = [heads[name].take(at).to_pylist() for name in ("partition", "offset", "payload_hash")]
    for partition, offset, payload_hash in zip(*lists, strict=True):
        running.update(f"{begins[partition]}\t{offset}\t{payload_hash}\n".encode())
    return f"sha256:{running.hexdigest()}"


def _events_digest(inputs: Sequence[EventInput], loaded: Sequence[Loaded]) -> str:
    """Over the logs of the tables, then the records of each topic and source."""
    tables = [{"topic": item.topic, "log_id": item.log_id} for item in inputs if isinstance(item, PlainTable)]
    records = [{"topic": one.topic, "source": one.source, "records": one.records_digest}
               for one in loaded if one.records_digest is not None]
    return digest(EVENTS_RECIPE, sorted(tables, key=lambda entry: entry["topic"].encode()) + records)
