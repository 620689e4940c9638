"""Events of all inputs in the total order: sorted runs, then one merging, in memory or in files (`docs/decisions/0026`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.admission import nothing_admitted
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.columns import IdColumn, Integers, Loaded
from offline_feature_plane.engines.local.connection import Database
from offline_feature_plane.engines.local.dictionaries import shared_names
from offline_feature_plane.engines.local.duplicates import marks_of, rows_to_drop
from offline_feature_plane.engines.local.history.arrivals import ArrivalColumns
from offline_feature_plane.engines.local.history.events import StoredEvents
from offline_feature_plane.engines.local.history.kept import KeptFolders
from offline_feature_plane.engines.local.history.memory import give_back
from offline_feature_plane.engines.local.history.merging import merged
from offline_feature_plane.engines.local.history.places import Place
from offline_feature_plane.engines.local.history.runs import Run, unify, write_run
from offline_feature_plane.engines.local.lowering import as_arrow
from offline_feature_plane.engines.local.reading import Heard, load, load_table, state_facts, unheard
from offline_feature_plane.engines.local.sizes import Sizes
from offline_feature_plane.engines.stepwise import Progress
from offline_feature_plane.engines.stepwise import unheard as untold
from offline_feature_plane.errors import EngineFailed
from offline_feature_plane.ports import ReplayFacts
from offline_feature_plane.ports.inputs import EventInput, PlainTable, Told
from offline_feature_plane.threads import one_ahead

__all__ = ["store_events"]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 20


def store_events(database: Database, inputs: Sequence[EventInput], task: Task, place: Place,
                 sizes: Sizes, heard: Heard = unheard, tell: Progress = untold,
                 kept: KeptFolders | None = None, threads: int = 1) -> tuple[StoredEvents, ReplayFacts]:
    """Read, type, deduplicate and order the events of every input.

    Args:
        database: hashes text ids.
        inputs: plain tables and logs of records.
        task: its closure says which fields are read and how.
        place: where events are kept.
        sizes: how many are worked on at once.
        heard: is told how many rows and coordinates have been read so far.
        tell: is told how many events of logs have been sorted, and how many events have been merged.
        kept: as `records.ScannedLogs`.
        threads: as `records.ScannedLogs`.

    Raises:
        ReplayBasisMismatch: a file is not the pinned one. SourceUnreadable: it is broken.
        SourceColumnUnknown, SourceTypeMismatch, TimeZoneUndeclared: a column is not what the profile or the settings say.
        EventSchemaMissingFields, ReplayEventInvalid, NumericOverflow: values that the declared types refuse, with their count.
        ReplayEventIdConflict: one id with two contents.
        ReplayEventsEmpty: no event at all.
        ResourceExceeded: the distinct texts take more memory than there is for them.
        StorageIoFailure: the work folder failed.
    """
    told = Told()
    runs, repeating = _write_runs(inputs, task, place.inside("runs"), sizes, told, heard, tell, kept, threads)
    if not any(run.n for run in runs):
        raise nothing_admitted([item.topic for item in inputs], told.left_out)
    repeats = {table.topic: len(_repeats(database, table, task, [run for run in runs if run.shape.topic == table.topic], sizes))
               for table in repeating}
    if sizes.in_files:
        give_back()
    dictionaries, recodes = unify(runs, sizes.texts)
    integers = all(isinstance(run.shape.ids, np.ndarray) for run in runs)
    nothing = pa.array([], pa.string())
    columns = place.inside("events")
    most = [sum(run.n for run in runs if run.shape.source == index) for index in range(len(task.closure.sources))]
    topics = {topic: rank for rank, topic in enumerate(sorted({run.shape.topic for run in runs}, key=str.encode))}
    events = StoredEvents(columns, task.closure.sources, most, ColumnType("int64" if integers else "string"),
                          {name: dictionaries.get(home, nothing) for name, home in shared_names(task).items()},
                          {topic for topic, count in repeats.items() if count}, sizes.index,
                          ArrivalColumns(columns, topics, sum(most)) if all(run.arrival is not None for run in runs) else None)
    merging = merged(runs, recodes, sizes.merge_rows)
    for pieces in merging if sizes.in_files else one_ahead(merging):
        events.append(pieces)
        tell("merge", events.n + events.repeated, sum(most))
    events.settle()
    for run in runs:
        run.remove()
    if events.repeated != sum(repeats.values()):
        raise EngineFailed(f"{sum(repeats.values())} rows repeat an event, but {events.repeated} stand beside it.",
                           fix="Please report this.")
    told.left_out["duplicate"] += events.repeated
    return events, state_facts(events, inputs, [run.shape for run in runs if run.shape.records_digest is not None], told, task)


def _write_runs(inputs: Sequence[EventInput], task: Task, place: Place, sizes: Sizes,
                told: Told, heard: Heard, tell: Progress, kept: KeptFolders | None, threads: int) -> tuple[list[Run], list[PlainTable]]:
    """Every input as sorted runs; and the tables whose ids do not simply ascend. Runs are written while the next is read."""
    most = 1 if sizes.in_files else 2  # at once
    homes = shared_names(task)
    writing: list[Future[Run]] = []
    last: dict[str, int | None] = {}
    unclear: dict[str, PlainTable] = {}
    ordered, logged = 0, sum(item.rows for item in inputs if not isinstance(item, PlainTable))
    with ThreadPoolExecutor(most, thread_name_prefix="ofs-run") as pool:
        for item, piece in load(inputs, task, told, place.inside("records"), sizes, heard, kept, threads):
            if isinstance(item, PlainTable) and item.id_column is not None and piece.n:
                if not _ascends(piece.ids, last.get(item.topic)):
                    unclear[item.topic] = item
                last[item.topic] = int(piece.ids[-1]) if isinstance(piece.ids, np.ndarray) else None
            if len(writing) >= most:
                writing[-most].result()
            if sizes.in_files:
                give_back()
            if item is not None and not isinstance(item, PlainTable):  # tables are ordered while they are read
                ordered += piece.n
                tell("sort", ordered, logged)
            writing.append(pool.submit(write_run, place.inside(f"{len(writing)}"), piece, homes))
        if logged:
            tell("sort", ordered, ordered)
        return [one.result() for one in writing], list(unclear.values())


def _ascends(ids: IdColumn, last: int | None) -> bool:
    """Do ids go on from the last one, each greater than the one before?"""
    return isinstance(ids, np.ndarray) and bool((ids[1:] > ids[:-1]).all()) and (last is None or last < int(ids[0]))


def _repeats(database: Database, table: PlainTable, task: Task, runs: Sequence[Run], sizes: Sizes) -> Integers:
    """The rows of a table that repeat others. Raises ReplayEventIdConflict."""
    total = sum(run.n for run in runs)
    parts = -(-total // sizes.ids)
    twice = np.concatenate([_twice(database, runs, parts, part) for part in range(parts)])
    if not len(twice):
        return np.empty(0, np.int64)
    rows: list[Integers] = []
    ids: list[IdColumn] = []
    nothing_else = replace(task.closure.sources[runs[0].shape.source], fields=())
    for first, piece in _numbered(load_table(table, 0, nothing_else, task, sizes.run_rows)):
        found = np.flatnonzero(np.isin(marks_of(database, piece.ids), twice))
        rows.append(first + found)
        ids.append(piece.ids[found] if isinstance(piece.ids, np.ndarray) else piece.ids.take(as_arrow(found)))
    texts = [one for one in ids if isinstance(one, pa.ChunkedArray)]
    whole = pa.chunked_array([chunk for one in texts for chunk in one.chunks], pa.string()) if texts else np.concatenate(ids)
    return rows_to_drop(table, whole, np.concatenate(rows))


def _twice(database: Database, runs: Sequence[Run], parts: int, part: int) -> npt.NDArray[np.generic]:
    """The marks of one part of all that occur more than once."""
    found = []
    for run in runs:
        for start in range(0, run.n, _BLOCK):
            marks = marks_of(database, run.read_ids(start, min(start + _BLOCK, run.n)))
            if parts > 1:
                marks = marks[(marks.view(np.uint64) * _MIX >> np.uint64(32)) % np.uint64(parts) == part]
            found.append(marks)
    ordered = np.concatenate(found)
    ordered.sort()
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _numbered(pieces: Iterator[Loaded]) -> Iterator[tuple[int, Loaded]]:
    first = 0
    for piece in pieces:
        yield first, piece
        first += piece.n
