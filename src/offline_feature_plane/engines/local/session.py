"""A session of the local engine: Arrow reads, DuckDB joins, numpy selects, kernels compute (`features.md`, How it is computed).

Events are kept in memory if they fit within the limit, else in files: then rows are computed slice by slice (`docs/decisions/0026`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from offline_feature_plane.domain.columns import Column
from offline_feature_plane.domain.footprint import PROCESS_BYTES
from offline_feature_plane.domain.rows import Task, row_columns
from offline_feature_plane.engines.local.connection import Database
from offline_feature_plane.engines.local.contexts import find_lacking
from offline_feature_plane.engines.local.disjoint import find_strays
from offline_feature_plane.engines.local.entities import entities_at
from offline_feature_plane.engines.local.features import Elsewhere, Groups, compute_features
from offline_feature_plane.engines.local.history.events import StoredEvents
from offline_feature_plane.engines.local.history.kept import KeptFolders
from offline_feature_plane.engines.local.history.keys import compute_by_keys
from offline_feature_plane.engines.local.history.memory import give_back, keep_freed, resident_bytes, return_freed
from offline_feature_plane.engines.local.history.places import Folder, Memory, Place
from offline_feature_plane.engines.local.history.rows import KeptRows
from offline_feature_plane.engines.local.history.slices import Slice, slice_history
from offline_feature_plane.engines.local.history.storing import store_events
from offline_feature_plane.engines.local.label_sketches import labels_of
from offline_feature_plane.engines.local.labels import ResolvedLabels, resolve_labels
from offline_feature_plane.engines.local.record_batches import BatchBuilder
from offline_feature_plane.engines.local.selection import select_rows
from offline_feature_plane.engines.local.sizes import Sizes, duckdb_limit, fit, has_text_ids, limit_bytes, needed_bytes
from offline_feature_plane.engines.local.spines import check_spine
from offline_feature_plane.engines.local.telling import Telling
from offline_feature_plane.engines.stepwise import Progress, need, unheard
from offline_feature_plane.ports import EventLabels, LabelFacts, ReplayFacts, SelectionFacts
from offline_feature_plane.ports.inputs import EventInput, LabelTable, PlainTable

__all__ = ["LocalSession", "open_session"]


@contextmanager
def open_session(task: Task, work: Path, memory_limit: str | None, threads: int | None, progress: Progress | None,
                 sizes: Sizes | None = None, kept: Path | None = None) -> Iterator[LocalSession]:
    """Open a session; see `LocalEngine.session`. With `sizes`, it is cut as they say."""
    workers = threads or os.cpu_count() or 1
    with Database(work, duckdb_limit(memory_limit), threads) as database, ExitStack() as until_end:
        yield LocalSession(task, database, work, limit_bytes(memory_limit), workers, progress, sizes, until_end, kept)


class LocalSession:
    """One build's work, in order: replay, labels, select, rows."""

    def __init__(self, task: Task, database: Database, work: Path, limit: int, threads: int,
                 progress: Progress | None, sizes: Sizes | None, until_end: ExitStack, kept: Path | None) -> None:
        self._task, self._database, self._work, self._limit, self._threads = task, database, work, limit, threads
        self._tell, self._sizes, self._until_end = progress or unheard, sizes, until_end
        self._is_fitted, self._before = sizes is None, resident_bytes()
        self._kept = kept
        self._place: Place = Memory()
        self._history: StoredEvents | None = None
        self._replayed: ReplayFacts | None = None
        self._timelines: dict[str, LabelTable] = {}
        self._resolved: ResolvedLabels | None = None
        self._rows: KeptRows | None = None
        self._selection: SelectionFacts | None = None
        self._execution: dict[str, Any] = {}
        self._hidden = 0
        self._begun: Groups | None = None

    def replay(self, inputs: Sequence[EventInput]) -> ReplayFacts:
        """Read, type, deduplicate and order all events. Raises as `store_events`; StorageIoFailure if the work folder fails."""
        events = sum(item.rows for item in inputs) + _made_at_most(self._task, inputs)
        records, text_ids = sum(item.rows for item in inputs if not isinstance(item, PlainTable)), has_text_ids(self._task, inputs)
        sizes = self._sizes = self._sizes or fit(self._task, events, self._limit, records, text_ids=text_ids)
        self._place = Folder(self._work) if sizes.in_files else Memory()
        self._until_end.enter_context(return_freed(at_once=sizes.is_lean) if sizes.in_files else keep_freed())
        kept = None if self._kept is None or not records else self._until_end.enter_context(closing(KeptFolders(self._kept)))
        self._history, self._replayed = store_events(self._database, inputs, self._task, self._place, sizes,
                                                     Telling(self._tell, inputs, events).read, self._tell, kept,
                                                     1 if sizes.is_lean else self._threads)
        self._execution = {"way": "files" if sizes.in_files else "memory",
                           "needed_bytes": needed_bytes(self._task, events, records, text_ids=text_ids),
                           "limit_bytes": self._limit, "run_rows": sizes.run_rows, "event_bytes": self._history.size_bytes}
        if kept is not None and kept.has_begun:
            self._execution["taken_over"] = {"portions": kept.portions_taken, "records": kept.records_taken}
        self._tell("replay", self._replayed.events_read, self._replayed.events_read)
        if not sizes.in_files and self._threads > 1:
            everything = self._history.window(0, self._history.n)
            self._begun = self._until_end.enter_context(closing(Groups(everything, self._task, self._threads)))
            self._begun.begin()
        return self._replayed

    def labels(self, inputs: Sequence[LabelTable]) -> LabelFacts:
        """Read the timelines and resolve them. Raises as `resolve_labels`."""
        self._resolved = resolve_labels(self._database, inputs, need(self._history, "replay"), self._task,
                                        need(self._sizes, "replay").data)
        self._database.close()  # it is asked nothing more, and keeps what it freed: as much as it may take
        self._timelines = {one.label_type: one for one in inputs}
        self._tell("labels", self._resolved.facts.assertions_read, self._resolved.facts.assertions_read)
        return self._resolved.facts

    def labels_of(self, label_type: str, positions: Sequence[int]) -> Sequence[EventLabels]:
        """As the port says. Raises as `label_sketches.labels_of`."""
        history, table = need(self._history, "replay"), self._timelines[label_type]
        instants = history.instants_at(np.array(positions, np.int64)).tolist()
        ids = subjects = [history.ids.slice(position, 1)[0].as_py() for position in positions]
        if table.entity_field is not None:
            subjects = entities_at(history, (self._task.subject, table.entity_field), positions)
        return labels_of(table, self._task.label_subject(table.entity_field, history.id_type),
                         list(zip(positions, ids, subjects, instants, strict=True)))

    def select(self) -> SelectionFacts:
        """Decide for every event what becomes of it. Raises as `select_rows`."""
        history, resolved = need(self._history, "replay"), need(self._resolved, "labels")
        self._rows, sizes = KeptRows(self._place.inside("rows"), history.n), need(self._sizes, "replay")
        check_spine(history, self._task, sizes.data, sizes.block)
        strays = find_strays(history, self._task, self._place.inside("strays"), sizes.data, sizes.block)
        lacking = find_lacking(history, self._task, resolved, self._place.inside("contexts"), sizes)
        self._selection = select_rows(history, self._task, resolved.over, need(self._replayed, "replay"), self._rows, sizes.block, strays,
                                      lacking)
        self._tell("select", history.n, history.n)
        return self._selection

    def rows(self, limit: int | None = None) -> Iterator[pa.RecordBatch]:
        """Finished rows in the total order, with the columns of `columns`; only the first `limit` of them if it is given.

        Raises:
            NumericOverflow: a sum or an expression leaves its type; the path names the column.
            StorageIoFailure: the work folder fails.
        """
        history = need(self._history, "replay")
        total = need(self._selection, "select").accounting["row"]
        wanted = total if limit is None else min(limit, total)
        builder, done = BatchBuilder(self._task, history.id_type), 0
        slices, elsewhere = self._cut()
        self._tell("rows", 0, wanted)
        for piece in slices:
            if done < wanted or limit is None:
                for batch in self._rows_of(piece, elsewhere, builder, wanted - done):
                    done += batch.num_rows
                    yield batch
                    self._tell("rows", done, wanted)

    def leaves(self) -> None:
        """Whoever takes the rows digests them."""

    def rows_with_hidden_events(self) -> int:
        """Of the rows that were given so far, how many have an event in a window that arrived after them."""
        return self._hidden

    def columns(self) -> tuple[Column, ...]:
        """The schema of `rows`, known after `replay`."""
        return row_columns(self._task, need(self._history, "replay").id_type)

    def execution(self) -> dict[str, Any]:
        """Whether events are in memory or in files, what was needed and what is allowed, and how many pieces there were."""
        return dict(self._execution)

    def _cut(self) -> tuple[Sequence[Slice], Elsewhere]:
        """The slices of time to go through, and the groups that were computed by their keys."""
        history, sizes = need(self._history, "replay"), self._fit_again()
        resolved, rows = need(self._resolved, "labels"), need(self._rows, "select")
        slicing = slice_history(history, self._task, sizes)
        kept = {}
        for place, group in enumerate(slicing.by_keys):
            self._tell("groups", place, len(slicing.by_keys))
            kept[group.name] = compute_by_keys(history, self._task, group, resolved, rows, self._place.inside(f"group.{place}"), sizes)
            self._tell("groups", place + 1, len(slicing.by_keys))
        self._execution |= {"slices": len(slicing.slices), "events_laid_out": sum(one.stop - one.warm for one in slicing.slices),
                            "parts_of_keys": {name: one.parts for name, one in kept.items()},
                            "kept_bytes": sum(one.size_bytes for one in kept.values())}
        return slicing.slices, {name: one.among for name, one in kept.items()}

    def _fit_again(self) -> Sizes:
        """The sizes, now that is known what else stays in memory; what other work of the process had before counts as usual at most."""
        sizes, history = need(self._sizes, "replay"), need(self._history, "replay")
        if sizes.in_files and self._is_fitted:
            give_back()
            grown = min(self._before, PROCESS_BYTES) + max(0, resident_bytes() - self._before)
            self._sizes = sizes = sizes.beside(grown, self._task, history.n, self._limit, text_ids=history.id_type.kind == "string")
        return sizes

    def _rows_of(self, piece: Slice, elsewhere: Elsewhere, builder: BatchBuilder, most: int) -> Iterator[pa.RecordBatch]:
        """The first rows of a slice; what it holds is let go of when it is through."""
        sizes = need(self._sizes, "replay")
        if sizes.in_files:
            give_back()
        history, resolved = need(self._history, "replay"), need(self._resolved, "labels")
        rows = need(self._rows, "select").within(piece.start, piece.stop)
        if most < rows.n:
            rows = rows.take(slice(most))
        first = piece.start - piece.warm
        groups, self._begun = self._begun or Groups(history.window(piece.warm, piece.stop), self._task, self._threads), None
        with closing(groups), closing(compute_features(groups, self._task, rows.positions + first if first else rows.positions,
                                                       resolved.changes(piece.warm, piece.stop), sizes.block, first=first,
                                                       elsewhere=elsewhere)) as chunks:
            for chunk in chunks:
                self._hidden += chunk.hidden
                span = piece.warm + chunk.start, piece.warm + chunk.stop
                yield builder.build(chunk, history.window(*span, builder.reads), rows, resolved.over(*span))


def _made_at_most(task: Task, inputs: Sequence[EventInput]) -> int:
    """How many rows a calendar can make: each event of its source could be of somebody else, who is there from the first instant on."""
    if task.calendar is None:
        return 0
    topics = task.closure.source(task.calendar.source).event_types
    return len(task.calendar.ends()) * sum(item.rows for item in inputs if not isinstance(item, PlainTable) or item.topic in topics)
