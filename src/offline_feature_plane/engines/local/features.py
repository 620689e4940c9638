"""Feature columns of the chosen rows, chunk by chunk: groups through the kernels, then row features, then derived columns.

Chunks are runs of positions in the total order. Groups advance side by side, one thread each, one chunk ahead of the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.closure import Group
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.events import Events, Values
from offline_feature_plane.engines.local.expressions import evaluate
from offline_feature_plane.engines.local.groups import GroupColumns
from offline_feature_plane.engines.local.keys import Codes, encode_keys
from offline_feature_plane.engines.local.labels import ResolvedType
from offline_feature_plane.engines.local.lists import spell_lists
from offline_feature_plane.engines.local.row_access import BLOCK, fields_at
from offline_feature_plane.errors import NumericOverflow

if TYPE_CHECKING:
    from offline_feature_plane.engines.local.arrivals import ArrivedColumns

__all__ = ["Advancing", "Chunk", "Elsewhere", "Groups", "compute_features", "open_group"]

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Chunk:
    """The rows among the positions `start … stop − 1`: their places in the selection, their positions, and all feature columns by name.

    `hidden` is the number of rows that have an event in a window which arrived after them.
    """

    start: int
    stop: int
    rows: slice
    positions: Int64s
    columns: Mapping[str, Values]
    hidden: int


class Advancing(Protocol):
    """One group's columns for one run of positions after the other.

    `hidden` tells of the rows of the last one which have an event in a window that arrived after them; None where arrival does not count.
    """

    @property
    def hidden(self) -> Bools | None:
        """Which rows."""

    def advance(self, start: int, stop: int) -> dict[str, Values]:
        """Those of the rows among the next positions, by name. Raises NumericOverflow."""


Elsewhere = Mapping[str, Callable[[Events, Bools], Advancing]]
"""By group: what gives its columns for the rows, as a mask, among some events, if they are computed elsewhere."""


class Groups:
    """The groups of a task over some events: laid out, then advanced, side by side on threads of their own.

    Most of laying out is done on fresh memory, on which it waits, and it asks neither which events are rows nor, of most groups, what
    their labels are: `begin` starts it while labels are resolved and rows are chosen.

    Args:
        events: the whole history, or all that the rows' windows reach.
        task: its closure says what is computed.
        threads: how many groups advance at once.
    """

    def __init__(self, events: Events, task: Task, threads: int) -> None:
        self.events, self._task = events, task
        self._is_row = np.zeros(events.n, dtype=np.bool_)
        self._pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="ofs-group")
        self._keys: dict[tuple[str, tuple[str, ...], str], Future[tuple[Codes, int]]] = {}
        self._made: dict[str, Future[Advancing]] = {}

    def begin(self) -> None:
        """Lay out those that can do without rows and labels, and go on."""
        if self.events.arrivals is None:
            self._lay_out([group for group in self._task.closure.groups
                           if all(feature.aggregation.label_type is None for feature in group.features)], {})

    def settle(self, positions: Int64s, labels: Mapping[str, ResolvedType], elsewhere: Elsewhere,
               first: int) -> tuple[list[Advancing], Bools]:
        """All of them, ready to go on from position `first`, and which positions are rows."""
        self._is_row[positions] = True
        here = [group for group in self._task.closure.groups if group.name not in elsewhere]
        self._lay_out([group for group in here if group.name not in self._made], labels)
        groups = [*(self._made[group.name].result() for group in here), *(fetch(self.events, self._is_row) for fetch in elsewhere.values())]
        if first:
            _all([self._pool.submit(group.advance, 0, first) for group in groups[:len(here)]])
        return groups, self._is_row

    def advance(self, groups: Sequence[Advancing], start: int, stop: int) -> list[Future[dict[str, Values]]]:
        """The columns of each for the next positions, when they are there."""
        return [self._pool.submit(group.advance, start, stop) for group in groups]

    def close(self) -> None:
        """Wait for what still runs, and let go of what was laid out."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._made.clear()
        self._keys.clear()

    def _lay_out(self, groups: Sequence[Group], labels: Mapping[str, ResolvedType]) -> None:
        for group in groups:
            if _key_id(group) not in self._keys:
                self._keys[_key_id(group)] = self._pool.submit(encode_keys, self.events, group, self._task.closure.place(group.source),
                                                               self._task.subject)
        for group in groups:  # keys are under way before anyone waits for them
            self._made[group.name] = self._pool.submit(self._start, group, labels)

    def _start(self, group: Group, labels: Mapping[str, ResolvedType]) -> Advancing:
        return open_group(self.events, group, self._task, self._keys[_key_id(group)].result(), self._is_row, labels)


def compute_features(groups: Groups, task: Task, positions: Int64s, labels: Mapping[str, ResolvedType], block: int = BLOCK, *,
                     first: int = 0, elsewhere: Elsewhere | None = None) -> Generator[Chunk, None, None]:
    """Every feature column of the rows at `positions`, in chunks of at most `block` rows, in the total order.

    Args:
        groups: what is computed, of what.
        task: its closure has the columns of rows, too.
        positions: the chosen rows, ascending.
        labels: the resolved types, with their changes where features look at them.
        block: how many positions a chunk spans.
        first: no row stands before this position.
        elsewhere: groups whose columns are only fetched.

    Raises:
        NumericOverflow: a sum or an expression leaves its type; the path names the column.
    """
    last = int(positions[-1]) + 1 if len(positions) else 0
    spans = [(start, min(start + block, last)) for start in range(first, last, block)]
    opened, is_row = groups.settle(positions, labels, elsewhere or {}, first if spans else 0)
    ahead, done = groups.advance(opened, *spans[0]) if spans else [], 0
    for number, (start, stop) in enumerate(spans):
        columns: dict[str, Values] = {}
        for found in _all(ahead):
            columns |= found
        marks = [group.hidden for group in opened if group.hidden is not None]
        hidden = int(np.count_nonzero(np.any(marks, axis=0))) if marks else 0
        ahead = groups.advance(opened, *spans[number + 1]) if number + 1 < len(spans) else []
        rows = slice(done, done + int(np.count_nonzero(is_row[start:stop])))
        done = rows.stop
        if rows.stop > rows.start:
            mine = positions[rows]
            yield Chunk(start, stop, rows, mine,
                        complete(spell_lists(columns, task.closure.groups), groups.events, task, mine, start, stop), hidden)


def _all(waiting: Sequence[Future[Made]]) -> list[Made]:
    """What they give, each in its turn."""
    return [one.result() for one in waiting]


def open_group(events: Events, group: Group, task: Task, keys: tuple[Codes, int], is_row: Bools,
               labels: Mapping[str, ResolvedType]) -> GroupColumns | ArrivedColumns:
    """One group over some events, by `visibility`. Raises NumericOverflow: a condition leaves its type."""
    place = task.closure.place(group.source)
    if events.arrivals is None:
        return GroupColumns(events, group, place, keys, is_row, labels)
    from offline_feature_plane.engines.local.arrivals import ArrivedColumns  # noqa: PLC0415 - its kernels are loaded for whom they serve

    return ArrivedColumns(events, group, place, keys, is_row, labels, events.arrivals, task)


def _key_id(group: Group) -> tuple[str, tuple[str, ...], str]:
    return group.source, group.key, group.null_key


def complete(columns: dict[str, Values], events: Events, task: Task, positions: Int64s, start: int, stop: int) -> dict[str, Values]:
    """Row features over the subject's fields, derived columns over these and all columns before them."""
    at: slice | Int64s = slice(start, stop) if len(positions) == stop - start else positions
    for computed in (*task.closure.row_features, *task.closure.derived):
        names = computed.expression.names()
        scope = fields_at(events, task.subject, names, at)
        if computed in task.closure.derived:
            scope |= {name: columns[name] for name in names & columns.keys()}
        try:
            columns[computed.column] = evaluate(computed.expression, scope, len(positions))
        except NumericOverflow as wrong:
            raise NumericOverflow(f"{computed.column}: {wrong.what}", fix=wrong.fix, path=computed.column) from wrong
    return columns
