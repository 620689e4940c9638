"""Events of all inputs as they are read: typed, in pieces, with what gave no event counted (`decisions.md` D14, D18)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

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
    raw_of,
    refuse_types,
)
from offline_feature_plane.engines.local.events import History
from offline_feature_plane.engines.local.history.kept import KeptFolders
from offline_feature_plane.engines.local.history.places import Place
from offline_feature_plane.engines.local.lowering import Suspect
from offline_feature_plane.engines.local.made_rows import FirstSeen
from offline_feature_plane.engines.local.sizes import Sizes
from offline_feature_plane.errors import FeatureProfileInvalid
from offline_feature_plane.filesets import read_pinned
from offline_feature_plane.ports import ReplayFacts
from offline_feature_plane.ports.inputs import EventInput, PlainTable, Told
from offline_feature_plane.threads import one_ahead

EVENTS_RECIPE = "ofs.events.v1"
_SLICE = 1 << 20
Heard = Callable[[int], None]


def unheard(done: int) -> None:
    """Nobody asked how far reading is."""


def load(inputs: Sequence[EventInput], task: Task, told: Told, place: Place, sizes: Sizes,
         heard: Heard, kept: KeptFolders | None = None, threads: int = 1) -> Iterator[tuple[EventInput | None, Loaded]]:
    """Every input of the closure's sources, by topic, in pieces of at most a run's rows. Raises as `history.storing.store_events`.

    What is read is noted in `told`. Records of logs are all scanned before one of them is handed out, and wait in `place`. Rows that a
    calendar makes come last, of no input.
    """
    if task.calendar is None or task.entity is None:
        yield from _load_inputs(inputs, task, told, place, sizes, heard, kept, threads)
        return
    seen = FirstSeen(task, task.calendar, task.entity)
    for item, piece in _load_inputs(inputs, task, told, place, sizes, heard, kept, threads):
        seen.look(piece)
        yield item, piece
    yield from ((None, piece) for piece in seen.rows(sizes.run_rows))


def _load_inputs(inputs: Sequence[EventInput], task: Task, told: Told, place: Place, sizes: Sizes,
                 heard: Heard, kept: KeptFolders | None, threads: int) -> Iterator[tuple[EventInput, Loaded]]:
    ordered = sorted(inputs, key=lambda one: one.topic.encode())
    logs, done = [one for one in ordered if not isinstance(one, PlainTable)], 0
    if logs:
        from offline_feature_plane.engines.local.records import ScannedLogs  # noqa: PLC0415 - kernels that tables do not need

        scanned = ScannedLogs(logs, task, place, sizes, told, heard, kept, threads)
        done = scanned.read
    for item in ordered:
        if not isinstance(item, PlainTable):
            yield from ((item, piece) for piece in scanned.pieces(item, sizes.run_rows))
        elif (source := _source_of(item, task.closure)) is None:
            told.left_out["other_scope"] += item.rows
        else:
            for piece in load_table(item, source, task.closure.sources[source], task, sizes.run_rows):
                done += piece.n
                heard(done)
                yield item, piece


def state_facts(history: History, inputs: Sequence[EventInput], loaded: Sequence[Loaded], told: Told, task: Task) -> ReplayFacts:
    """What was read, from what it has become."""
    first, last = history.instants_at(np.array([0, history.n - 1])).tolist()
    return ReplayFacts(
        events_read=history.n + told.left_out.total(), events_admitted=history.n,
        dispositions=told.dispositions, events_digest=_events_digest(inputs, loaded), first_ts_us=first, last_ts_us=last,
        id_type=history.id_type, findings=told.findings, compared=told.compared,
        scenarios=told.of_scenarios(task.scenario_run_ids), ends=told.ends)


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
    for batch in one_ahead(read_pinned(table.files, table.form, columns)):
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


def _row_ids(log_id: str, first: int, stop: int) -> pa.ChunkedArray:
    prefix = row_id(log_id, 0)[:-1]
    return pa.chunked_array([pa.array([f"{prefix}{row}" for row in range(start, min(start + _SLICE, stop))], pa.string())
                             for start in range(first, stop, _SLICE)], pa.string())


def _numbers(filled: Any) -> Integers:
    values: Integers = filled[0]
    return values


def _ids(filled: Any) -> IdColumn:
    return filled if isinstance(filled, pa.ChunkedArray) else filled[0]


def _events_digest(inputs: Sequence[EventInput], loaded: Sequence[Loaded]) -> str:
    """Over the logs of the tables, then the records of each topic and source."""
    tables = [{"topic": item.topic, "log_id": item.log_id} for item in inputs if isinstance(item, PlainTable)]
    records = [{"topic": one.topic, "source": one.source, "records": one.records_digest}
               for one in loaded if one.records_digest is not None]
    return digest(EVENTS_RECIPE, sorted(tables, key=lambda entry: entry["topic"].encode()) + records)
