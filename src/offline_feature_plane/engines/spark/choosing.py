"""Selection in tasks: `engines.local.selection.select_rows` over parts of the total order, counted in notes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.expressions import Expression
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.events import Events
from offline_feature_plane.engines.local.groups import find_matching
from offline_feature_plane.engines.local.history.places import Memory
from offline_feature_plane.engines.local.history.rows import KeptRows
from offline_feature_plane.engines.local.labels import ResolvedType
from offline_feature_plane.engines.local.selection import find_candidates, select_rows
from offline_feature_plane.engines.spark.assertions import resolved_from
from offline_feature_plane.engines.spark.remote import told
from offline_feature_plane.engines.spark.wire import NOTE, Key, Shape, field_columns, flags, gather, make_batch, read_events
from offline_feature_plane.errors import NumericOverflow, OfsError
from offline_feature_plane.ports import ReplayFacts
from offline_feature_plane.ports.cohorts import add_up

# What selection says of an event: its number among the rows of its part (null: it is none), the part, target, split, marks, weight.
CHOSEN: Shape = (("rank", "long"), ("part_", "int"), ("target", "int"), ("split", "int"), ("mature", "boolean"), ("cold", "boolean"),
                 ("weight", "double"))

MARKS = ("stray", "lacks")
"""What other tasks found of an event: its entity has an earlier split; it lacks a context that every row must have."""


@dataclass(frozen=True)
class Choosing:
    """The task, with the first instant of each source as its history's start where none is declared; label types by their place."""

    task: Task
    types: tuple[str, ...]
    id_type: ColumnType
    carried: Shape
    rows: int


def choice_shape(how: Choosing) -> Shape:
    """The columns of `choose`."""
    return (*how.carried, *CHOSEN, *NOTE)


def choose(how: Choosing, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Events of one part in the total order (`part_` is its number), with what becomes of them; then a note with the counts."""
    task = how.task
    shape = choice_shape(how)
    names = {name for expression in (task.where,) if expression is not None for name in expression.names()}
    names |= {task.sampling.by} if task.sampling is not None and task.sampling.by is not None else set()
    conditions = _conditions(task)
    asked = {(task.subject, name) for name in names} | {(source, name) for source, _, one in conditions for name in one.names()}
    wanted = {key: column for key, column in field_columns(task.closure).items() if key in asked}
    rank, counted, cohorts, part = 0, list[dict[str, Any]](), list[pa.Table](), None
    overflow: tuple[int, str] | None = None
    try:
        for table in gather(batches, how.rows):
            part, n = table["part_"][0].as_py(), len(table)
            events = read_events(table, wanted, task, how.id_type)
            overflow = _overflowing(conditions[:None if overflow is None else overflow[0]], events) or overflow
            labels = {name: resolved_from(table, name, how.types.index(name), stepped=False) for name in task.labels.types}
            kept = KeptRows(Memory(), n)
            facts = select_rows(events, task, partial(_of_one_block, labels), ReplayFacts(n, n, {}, "", None, None, how.id_type), kept,
                                n, *(partial(_of_one_part, flags(table[name])) if name in table.column_names else None for name in MARKS))
            cohorts.append(facts.cohorts)
            counted.append({name: value for name, value in vars(facts).items() if name != "cohorts"})
            selected = kept.within(0, n)
            at, rows = selected.positions, selected.n
            is_row = np.zeros(n, np.bool_)
            is_row[at] = True

            def spread(values: Any, kind: Any, at: Any = at, n: int = n, is_row: Any = is_row) -> pa.Array:
                found = np.zeros(n, kind)
                found[at] = values
                return pa.array(found, mask=~is_row)
            made = {"rank": spread(np.arange(rank, rank + rows), np.int64), "part_": part, "target": spread(selected.target, np.int32),
                    "split": spread(selected.split, np.int32), "mature": spread(selected.mature, np.bool_),
                    "cold": spread(selected.cold, np.bool_),
                    "weight": None if selected.weight is None else spread(selected.weight, np.float64)}
            rank += rows
            yield make_batch(shape, n, {**{name: table[name] for name, _ in how.carried}, **made})
    except OfsError as wrong:
        yield make_batch(shape, 1, {"note": json.dumps({"part": part, "refused": told(wrong)})})
        return
    if part is not None:
        note = {"part": part, "rows": rank, "counted": summed(counted), "cohorts": add_up(cohorts).to_pydict(), "refused": None,
                "overflow": overflow}
        yield make_batch(shape, 1, {"note": json.dumps(note)})


@dataclass(frozen=True)
class Standing:
    """The task, the columns of the fields that its `where` and `disjoint_by` read, and that of the entity: `kind` is its type's."""

    task: Task
    fields: dict[Key, tuple[str, ColumnType]]
    entity: tuple[str, str]
    id_type: ColumnType


def standing_shape(how: Standing) -> Shape:
    """The columns of `stand`."""
    return (("pos", "long"), ("split", "int"), how.entity)


def stand(how: Standing, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Of some events those that are subjects, pass `where` and lie in a split: their place, split and entity. Raises NumericOverflow."""
    for batch in batches:
        table = pa.Table.from_batches([batch])
        rows, split = find_candidates(read_events(table, how.fields, how.task, how.id_type), how.task)
        some = table.take(pa.array(rows))
        yield make_batch(standing_shape(how), len(rows), {"pos": some["pos"], "split": split.astype(np.int32),
                                                          how.entity[0]: some[how.entity[0]]})


def _conditions(task: Task) -> list[tuple[str, int, Expression]]:
    """Every condition that a group asks events of its source, and that source's place."""
    return [(group.source, task.closure.place(group.source), one) for group in task.closure.groups for one in group.conditions()]


def _overflowing(conditions: Sequence[tuple[str, int, Expression]], events: Events) -> tuple[int, str] | None:
    """Which condition is the first to leave its type, and how; of whatever event, for the law does not ask whether a row sees it."""
    for number, (source, place, condition) in enumerate(conditions):
        try:
            find_matching(events, source, place, condition)
        except NumericOverflow as wrong:
            return number, told(wrong)
    return None


def _of_one_block(labels: Mapping[str, ResolvedType], _start: int, _stop: int) -> Mapping[str, ResolvedType]:
    return labels


def _of_one_part(strays: npt.NDArray[np.bool_], _start: int, _stop: int) -> npt.NDArray[np.bool_]:
    return strays


def summed(counted: list[dict[str, Any]]) -> dict[str, Any]:
    """Facts added up, whatever their depth."""
    found: dict[str, Any] = {}
    for facts in counted:
        for name, value in facts.items():
            found[name] = summed([found.get(name, {}), value]) if isinstance(value, dict) else found.get(name, 0) + value
    return found
