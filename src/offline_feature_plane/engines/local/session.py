"""A session of the local engine: DuckDB reads and joins, numpy selects, kernels compute (`features.md`, How it is computed)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa

from offline_feature_plane.domain.columns import Column
from offline_feature_plane.domain.rows import Task, row_columns
from offline_feature_plane.engines.local.connection import open_connection
from offline_feature_plane.engines.local.events import Events
from offline_feature_plane.engines.local.features import compute_features
from offline_feature_plane.engines.local.labels import ResolvedLabels, resolve_labels
from offline_feature_plane.engines.local.reading import read_events
from offline_feature_plane.engines.local.record_batches import BatchBuilder
from offline_feature_plane.engines.local.selection import Selected, select_rows
from offline_feature_plane.errors import EngineFailed
from offline_feature_plane.ports import LabelFacts, ReplayFacts, SelectionFacts
from offline_feature_plane.ports.inputs import EventInput, LabelTable

__all__ = ["LocalSession", "open_session"]

Progress = Callable[[str, int, int], None]
Value = TypeVar("Value")


@contextmanager
def open_session(task: Task, work: Path, memory_limit: str | None, threads: int | None,
                 progress: Progress | None) -> Iterator[LocalSession]:
    """Open a session; see `LocalEngine.session`."""
    workers = threads or os.cpu_count() or 1
    with closing(open_connection(work, memory_limit, threads)) as connection:
        yield LocalSession(task, connection, workers, progress)


class LocalSession:
    """One build's work, in order: replay, labels, select, rows. Everything lives in memory until it is no longer needed."""

    def __init__(self, task: Task, connection: duckdb.DuckDBPyConnection, threads: int, progress: Progress | None) -> None:
        self._task, self._connection, self._threads = task, connection, threads
        self._progress = progress
        self._events: Events | None = None
        self._replayed: ReplayFacts | None = None
        self._resolved: ResolvedLabels | None = None
        self._selected: Selected | None = None
        self._hidden = 0

    def replay(self, inputs: Sequence[EventInput]) -> ReplayFacts:
        """Read, type, deduplicate and order all events. Raises as `read_events`."""
        self._events, self._replayed = read_events(self._connection, inputs, self._task)
        self._tell("replay", self._replayed.events_read, self._replayed.events_read)
        return self._replayed

    def labels(self, inputs: Sequence[LabelTable]) -> LabelFacts:
        """Read the timelines and resolve them. Raises as `resolve_labels`."""
        self._resolved = resolve_labels(self._connection, inputs, self._need(self._events, "replay"), self._task)
        self._tell("labels", self._resolved.facts.assertions_read, self._resolved.facts.assertions_read)
        return self._resolved.facts

    def select(self) -> SelectionFacts:
        """Decide for every event what becomes of it. Raises as `select_rows`."""
        events, resolved = self._need(self._events, "replay"), self._need(self._resolved, "labels")
        self._selected = select_rows(events, self._task, resolved.types, self._need(self._replayed, "replay"))
        self._tell("select", events.n, events.n)
        return self._selected.facts

    def rows(self, limit: int | None = None) -> Iterator[pa.RecordBatch]:
        """Finished rows in the total order, with the columns of `columns`; only the first `limit` of them if it is given.

        Raises:
            NumericOverflow: a sum or an expression leaves its type; the path names the column.
        """
        events, resolved = self._need(self._events, "replay"), self._need(self._resolved, "labels")
        selected = self._need(self._selected, "select")
        positions = selected.positions if limit is None else selected.positions[:limit]
        builder = BatchBuilder(events, self._task, selected, resolved.types)
        self._tell("rows", 0, len(positions))
        with closing(compute_features(events, self._task, positions, resolved.types, self._threads)) as chunks:
            for chunk in chunks:
                self._hidden += chunk.hidden
                yield builder.build(chunk)
                self._tell("rows", chunk.rows.stop, len(positions))

    def leaves(self) -> None:
        """Whoever takes the rows digests them."""

    def rows_with_hidden_events(self) -> int:
        """Of the rows that were given so far, how many have an event in a window that arrived after them."""
        return self._hidden

    def columns(self) -> tuple[Column, ...]:
        """The schema of `rows`, known after `replay`."""
        return row_columns(self._task, self._need(self._events, "replay").id_type)

    def _tell(self, step: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(step, done, total)

    @staticmethod
    def _need(value: Value | None, step: str) -> Value:
        if value is None:
            raise EngineFailed(f"the session was used before `{step}` was done.", fix="Please report this.")
        return value
