"""Windows in tasks: the events of one key after the other, in slabs, through the kernels of every engine.

```
   keys    a a a a │ b b │ c c c c c c c c c c c c c c │ d …
   slabs   └─── many keys ───┘└── c ──┘
                                └·reach·┴── c, on ──┘    what windows still reach is laid out again, without rows
```

Memory is that of a slab: the largest of `rows`, of what the windows of one key reach, and of what has to be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.closure import Group
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.domain.windows import farthest
from offline_feature_plane.engines.local.arrivals import ArrivedColumns
from offline_feature_plane.engines.local.events import Arrivals
from offline_feature_plane.engines.local.groups import GroupColumns, find_matching
from offline_feature_plane.engines.local.lists import spell_lists
from offline_feature_plane.engines.spark.assertions import resolved_from
from offline_feature_plane.engines.spark.wire import Key, Shape, flags, make_batch, numbers, read_events, travelling, whole

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Windowing:
    """One group of a task: the place of its source, the columns of its key and its fields, what its own are called, a slab's rows."""

    task: Task
    group: Group
    place: int
    keys: tuple[str, ...]
    fields: dict[Key, tuple[str, ColumnType]]
    types: tuple[str, ...]
    made: Shape
    rows: int


def compute(how: Windowing, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Events and rows sorted by key and `pos`, as the group's columns of the rows, by `row_no`."""
    held: list[pa.Table] = []
    count, done, most = 0, 0, how.rows  # the first `done` rows held were computed already
    for batch in batches:
        held.append(pa.Table.from_batches([batch]))
        count += batch.num_rows
        if count < most:
            continue
        table = pa.concat_tables(held)
        starts = _starts(table, how.keys)
        cut = int(starts[-1])
        if cut:
            yield _compute(how, table.slice(0, cut), starts[:-1], done)
            table, done = table.slice(cut), 0
        else:
            yield _compute(how, table, starts, done)
            table = _reached(how, table)
            done = len(table)
        held, count = [table], len(table)
        most = max(how.rows, count + max(count, how.rows))
    if count > done:
        table = pa.concat_tables(held)
        yield _compute(how, table, _starts(table, how.keys), done)


def _starts(table: pa.Table, keys: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Where each key begins; null is a value like any other."""
    fresh = np.zeros(len(table), np.bool_)
    fresh[0] = True
    for name in keys:
        column = whole(table[name])
        before, after = column[:-1], column[1:]
        unlike = pc.fill_null(pc.not_equal(before, after), pc.xor(before.is_null(), after.is_null()))
        fresh[1:] |= flags(unlike)
    return np.flatnonzero(fresh)


def _reached(how: Windowing, table: pa.Table) -> pa.Table:
    """The events of one key that windows of later rows may hold, as tables of their own memory.

    ```
       ────────(───────────────────]──────────●        the last event held
               T-d-reach          T-d         T
          N latest of these ◀──────┘
          └──────── kept ─────────────────────┘
    ```
    """
    group, ts = how.group, numbers(table["ts"])[0]
    wanted = numbers(table["src"], np.int32)[0] == how.place
    reaches = [farthest(feature.window) for feature in group.features if feature.window.kind != "last"]
    counts = [feature.window.count or 0 for feature in group.features if feature.window.kind == "last"]
    # Of what had arrived the N latest may lie anywhere: later rows do not see what arrived after them.
    if None in reaches or (counts and how.task.visibility == "arrival"):
        return table.filter(pa.array(wanted))
    end = int(ts[-1]) - group.delay_us
    wanted &= ts > end - max((reach for reach in reaches if reach is not None), default=0)
    if counts:
        events = read_events(table, how.fields, how.task, ColumnType("int64"))
        seen = np.flatnonzero(find_matching(events, group.source, how.place, group.where) & (ts <= end))
        wanted[seen[-max(counts):]] = True
    return table.filter(pa.array(wanted))


def _compute(how: Windowing, table: pa.Table, starts: npt.NDArray[np.int64], done: int) -> pa.RecordBatch:
    """The group's columns of the rows of whole keys, or of a part of one key; the first `done` events are only looked at."""
    pos = numbers(table["pos"])[0]
    order = np.argsort(pos, kind="stable")
    key = np.zeros(len(table), np.int32)
    key[starts[1:]] = 1
    key = np.cumsum(key, dtype=np.int32)[order]
    is_row = whole(table["row_no"]).is_valid().to_numpy(zero_copy_only=False)
    is_row[:done] = False
    is_row, ordered = is_row[order], table.take(pa.array(order))
    events = read_events(ordered, how.fields, how.task, ColumnType("int64"))
    stepped = sorted({feature.aggregation.label_type for feature in how.group.features if feature.aggregation.label_type is not None})
    labels = {name: resolved_from(ordered, name, how.types.index(name), stepped=True) for name in stepped}
    where = (events, how.group, how.place, (key, len(starts)), is_row, labels)
    made: dict[str, Any] = {"row_no": numbers(ordered["row_no"])[0][is_row]}
    if how.task.visibility == "arrival":
        arrivals = Arrivals(numbers(ordered["arr"])[0], numbers(ordered["arrived"])[0])
        run: GroupColumns | ArrivedColumns = ArrivedColumns(*where, arrivals, how.task)
    else:
        run = GroupColumns(*where)
    columns = spell_lists(run.advance(0, events.n), (how.group,))
    if isinstance(run, ArrivedColumns):
        made["hidden"] = run.hidden
    for (name, _), feature in zip(how.made, how.group.features, strict=True):
        made[name] = travelling(feature.column, columns[feature.column])
    return make_batch(made_shape(how), int(np.count_nonzero(is_row)), made)


def made_shape(how: Windowing) -> Shape:
    """The columns that leave."""
    return (("row_no", "long"), ("hidden", "boolean"), *how.made)
