"""Feature columns of the chosen rows, chunk by chunk: groups through the kernels, then row features, then derived columns.

Chunks are runs of positions in the total order. Groups advance side by side, one thread each, one chunk ahead of the reader.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.closure import Group
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.arrivals import ArrivedColumns
from offline_feature_plane.engines.local.events import Events, Values
from offline_feature_plane.engines.local.expressions import evaluate
from offline_feature_plane.engines.local.groups import GroupColumns
from offline_feature_plane.engines.local.keys import Codes, encode_keys
from offline_feature_plane.engines.local.labels import ResolvedType
from offline_feature_plane.engines.local.row_access import BLOCK, fields_at
from offline_feature_plane.errors import NumericOverflow

__all__ = ["Chunk", "compute_features"]

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]


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


def compute_features(events: Events, task: Task, positions: Int64s, labels: Mapping[str, ResolvedType], threads: int,
                     block: int = BLOCK) -> Generator[Chunk, None, None]:
    """Every feature column of the rows at `positions`, in chunks of at most `block` rows, in the total order.

    Args:
        events: the whole history.
        task: its closure says what is computed.
        positions: the chosen rows, ascending.
        labels: the resolved types, with their changes where features look at them.
        threads: how many groups advance at once.
        block: how many positions a chunk spans.

    Raises:
        NumericOverflow: a sum or an expression leaves its type; the path names the column.
    """
    is_row = np.zeros(events.n, dtype=np.bool_)
    is_row[positions] = True
    last = int(positions[-1]) + 1 if len(positions) else 0
    spans = [(start, min(start + block, last)) for start in range(0, last, block)]
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="ofs-group") as pool:
        keys: dict[tuple[str, tuple[str, ...], str], Future[tuple[Codes, int]]] = {}
        for group in task.closure.groups:
            same = _key_id(group)
            if same not in keys:
                keys[same] = pool.submit(encode_keys, events, group, _place(task, group.source), task.subject)
        made = [pool.submit(_open_group, events, group, task, keys[_key_id(group)].result(), is_row, labels)
                for group in task.closure.groups]
        groups = [one.result() for one in made]
        keys.clear()
        ahead = [pool.submit(group.advance, *spans[0]) for group in groups] if spans else []
        done = 0
        for number, (start, stop) in enumerate(spans):
            columns: dict[str, Values] = {}
            for one in ahead:
                columns |= one.result()
            marks = [group.hidden for group in groups if isinstance(group, ArrivedColumns)]
            hidden = int(np.count_nonzero(np.any(marks, axis=0))) if marks else 0
            ahead = [pool.submit(group.advance, *spans[number + 1]) for group in groups] if number + 1 < len(spans) else []
            rows = slice(done, done + int(np.count_nonzero(is_row[start:stop])))
            done = rows.stop
            if rows.stop > rows.start:
                mine = positions[rows]
                yield Chunk(start, stop, rows, mine, complete(columns, events, task, mine, start, stop), hidden)


def _open_group(events: Events, group: Group, task: Task, keys: tuple[Codes, int], is_row: Bools,
                labels: Mapping[str, ResolvedType]) -> GroupColumns | ArrivedColumns:
    place = _place(task, group.source)
    if events.arrivals is None:
        return GroupColumns(events, group, place, keys, is_row, labels)
    return ArrivedColumns(events, group, place, keys, is_row, labels, events.arrivals, task.labels.asof_us)


def _key_id(group: Group) -> tuple[str, tuple[str, ...], str]:
    return group.source, group.key, group.null_key


def _place(task: Task, source: str) -> int:
    return [one.name for one in task.closure.sources].index(source)


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
