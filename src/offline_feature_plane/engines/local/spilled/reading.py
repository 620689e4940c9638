"""Events of all inputs as files in the total order: runs as large as memory allows, then one merging (`docs/decisions/0026`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.columns import IdColumn, Integers, Loaded
from offline_feature_plane.engines.local.dictionaries import shared_names
from offline_feature_plane.engines.local.duplicates import marks_of, rows_to_drop
from offline_feature_plane.engines.local.lowering import as_arrow
from offline_feature_plane.engines.local.reading import load, load_table, no_events, state_facts
from offline_feature_plane.engines.local.sizes import Sizes
from offline_feature_plane.engines.local.spilled.arrivals import ArrivalFiles
from offline_feature_plane.engines.local.spilled.columns import scratch_folder
from offline_feature_plane.engines.local.spilled.events import EventFiles
from offline_feature_plane.engines.local.spilled.memory import give_back
from offline_feature_plane.engines.local.spilled.runs import Run, merged, unify, write_run
from offline_feature_plane.errors import EngineFailed
from offline_feature_plane.ports import ReplayFacts
from offline_feature_plane.ports.inputs import EventInput, PlainTable

__all__ = ["spill_events"]

_MIX = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 20


def spill_events(connection: duckdb.DuckDBPyConnection, inputs: Sequence[EventInput], task: Task, work: Path,
                 sizes: Sizes) -> tuple[EventFiles, ReplayFacts]:
    """As `read_events`, into files in a folder of the build.

    Raises:
        StorageIoFailure: the work folder failed. Else as `read_events`.
    """
    left_out: Counter[str] = Counter()
    runs, repeating = _write_runs(inputs, task, work, sizes, left_out)
    if not any(run.n for run in runs):
        raise no_events(inputs)
    repeats = {table.topic: len(_repeats(connection, table, task, [run for run in runs if run.shape.topic == table.topic], sizes))
               for table in repeating}
    give_back()
    dictionaries, recodes = unify(runs)
    integers = all(isinstance(run.shape.ids, np.ndarray) for run in runs)
    nothing = pa.array([], pa.string())
    folder = scratch_folder(work / "events")
    topics = {topic: rank for rank, topic in enumerate(sorted({run.shape.topic for run in runs}, key=str.encode))}
    files = EventFiles(folder, task.closure.sources, ColumnType("int64" if integers else "string"),
                       {name: dictionaries.get(home, nothing) for name, home in shared_names(task).items()},
                       {topic for topic, count in repeats.items() if count}, sizes.index,
                       ArrivalFiles(folder, topics) if all(run.arrival is not None for run in runs) else None)
    for pieces in merged(runs, recodes, sizes.merge_rows(len(runs))):
        files.append(pieces)
    files.settle()
    for run in runs:
        run.remove()
    if files.repeated != sum(repeats.values()):
        raise EngineFailed(f"{sum(repeats.values())} rows repeat an event, but {files.repeated} stand beside it.",
                           fix="Please report this.")
    left_out["duplicate"] += files.repeated
    return files, state_facts(files, inputs, [run.shape for run in runs if run.shape.records_digest is not None], left_out)


def _write_runs(inputs: Sequence[EventInput], task: Task, work: Path, sizes: Sizes,
                left_out: Counter[str]) -> tuple[list[Run], list[PlainTable]]:
    """Every input as sorted runs; and the tables whose ids do not simply ascend. One run is written while the next is read."""
    homes = shared_names(task)
    folder = scratch_folder(work / "runs")
    writing: list[Future[Run]] = []
    last: dict[str, int | None] = {}
    unclear: dict[str, PlainTable] = {}
    with ThreadPoolExecutor(1, thread_name_prefix="ofs-run") as pool:
        for item, piece in load(inputs, task, left_out, sizes.run_rows):
            if isinstance(item, PlainTable) and item.id_column is not None and piece.n:
                if not _ascends(piece.ids, last.get(item.topic)):
                    unclear[item.topic] = item
                last[item.topic] = int(piece.ids[-1]) if isinstance(piece.ids, np.ndarray) else None
            if writing:
                writing[-1].result()
            writing.append(pool.submit(write_run, folder / f"{len(writing)}", piece, homes))
        return [one.result() for one in writing], list(unclear.values())


def _ascends(ids: IdColumn, last: int | None) -> bool:
    """Do ids go on from the last one, each greater than the one before?"""
    return isinstance(ids, np.ndarray) and bool((ids[1:] > ids[:-1]).all()) and (last is None or last < int(ids[0]))


def _repeats(connection: duckdb.DuckDBPyConnection, table: PlainTable, task: Task, runs: Sequence[Run], sizes: Sizes) -> Integers:
    """The rows of a table that repeat others. Raises ReplayEventIdConflict."""
    total = sum(run.n for run in runs)
    parts = -(-total // sizes.ids)
    twice = np.concatenate([_twice(connection, runs, parts, part) for part in range(parts)])
    if not len(twice):
        return np.empty(0, np.int64)
    rows: list[Integers] = []
    ids: list[IdColumn] = []
    nothing_else = replace(task.closure.sources[runs[0].shape.source], fields=())
    for first, piece in _numbered(load_table(table, 0, nothing_else, task, sizes.run_rows)):
        found = np.flatnonzero(np.isin(marks_of(connection, piece.ids), twice))
        rows.append(first + found)
        ids.append(piece.ids[found] if isinstance(piece.ids, np.ndarray) else piece.ids.take(as_arrow(found)))
    texts = [one for one in ids if isinstance(one, pa.ChunkedArray)]
    whole = pa.chunked_array([chunk for one in texts for chunk in one.chunks], pa.string()) if texts else np.concatenate(ids)
    return rows_to_drop(table, whole, np.concatenate(rows))


def _twice(connection: duckdb.DuckDBPyConnection, runs: Sequence[Run], parts: int, part: int) -> npt.NDArray[np.generic]:
    """The marks of one part of all that occur more than once."""
    found = []
    for run in runs:
        for start in range(0, run.n, _BLOCK):
            marks = marks_of(connection, run.read_ids(start, min(start + _BLOCK, run.n)))
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
