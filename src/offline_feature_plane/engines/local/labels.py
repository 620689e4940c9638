"""Labels in bulk: every event's resolution at its as-of and, for features, how it changed before (`decisions.md` D22, D26).

Assertions are read as columns, joined to the positions of their events and resolved with numpy. Only subjects with supersession links or
repeated ids go one by one through `domain.resolution`, whose law this is; the rest follows it column-wise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.arrow_types import arrow_type
from offline_feature_plane.domain.coverage import PERCENTILES, PROMPT_US, ObservedLag, nearest_rank
from offline_feature_plane.domain.label_slice import slice_digest
from offline_feature_plane.domain.resolution import find_rule
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.asofs import asofs_at
from offline_feature_plane.engines.local.assertion_ids import refuse_shared_ids
from offline_feature_plane.engines.local.connection import foreign_errors
from offline_feature_plane.engines.local.events import History
from offline_feature_plane.engines.local.label_columns import AssertionColumns, read_assertions
from offline_feature_plane.engines.local.label_sketches import sketch_slice
from offline_feature_plane.engines.local.label_steps import Eligible, Steps, hash_slice, joined_steps, keep_in_order, resolve_steps
from offline_feature_plane.errors import LabelTypeScopeUnresolved
from offline_feature_plane.ports import LabelFacts
from offline_feature_plane.ports.inputs import LabelTable

Int64s = npt.NDArray[np.int64]

_PIECE = 1 << 20
STATUSES = ("NOT_FOUND", "RESOLVED", "CONFLICT")  # what the status codes mean


@dataclass(frozen=True)
class ResolvedType:
    """One label type over all n events.

    `status` int8 code into `STATUSES`. Where RESOLVED: `value` int32 code into `values` (sorted by UTF-8), `observed` int64 µs, and
    `assertion` int32 place in `assertion_ids`, a large_string array (−1: it has no id). Elsewhere `value` and `assertion` are −1 and
    `observed` is 0.
    `changes`, only for types that features look at: from `at` on, the event at `position` has this status and value code;
    sorted by position, then instant. Before its first change an event is NOT_FOUND.
    """

    label_type: str
    status: npt.NDArray[np.int8]
    value: npt.NDArray[np.int32]
    values: pa.Array
    observed: Int64s
    assertion: npt.NDArray[np.int32]
    assertion_ids: pa.Array
    changes: Steps | None


@dataclass(frozen=True)
class LabelSteps:
    """One label type, resolved, at the events that have labels: how each of them changed, up to the latest as-of.

    `last` is a mask: which step holds at the as-of of its event. Values, ids and `stepped` (do features look at the changes?) as in
    `ResolvedType`.
    """

    label_type: str
    steps: Steps
    last: npt.NDArray[np.bool_]
    values: pa.Array
    assertion_ids: pa.Array
    stepped: bool

    def over(self, start: int, stop: int) -> ResolvedType:
        """What holds of the events at positions `start … stop − 1`, counted from there."""
        steps, last = self.steps_within(start, stop), self.last[self._between(start, stop)]
        return _spread(self, steps, steps if last.all() else steps.take(last), stop - start)

    def steps_within(self, start: int, stop: int) -> Steps:
        """The changes of the events at positions `start … stop − 1`, counted from there."""
        steps = self.steps.take(self._between(start, stop))
        return replace(steps, position=steps.position - start) if start else steps

    def only_changes(self, changes: Sequence[Steps]) -> ResolvedType:
        """The type as features look at it, over events that have these changes; without what holds of each event."""
        nothing = np.empty(0, np.int64)
        return ResolvedType(self.label_type, nothing.astype(np.int8), nothing.astype(np.int32), self.values, nothing,
                            nothing.astype(np.int32), self.assertion_ids, joined_steps(changes))

    def _between(self, start: int, stop: int) -> slice:
        return slice(*np.searchsorted(self.steps.position, (start, stop)).tolist())


@dataclass(frozen=True)
class ResolvedLabels:
    """All label types of a task, resolved, and what was used for it."""

    types: Mapping[str, LabelSteps]
    facts: LabelFacts

    def over(self, start: int, stop: int) -> dict[str, ResolvedType]:
        """What holds of the events at positions `start … stop − 1`, counted from there."""
        return {name: one.over(start, stop) for name, one in self.types.items()}

    def changes(self, start: int, stop: int) -> dict[str, ResolvedType]:
        """The types that features look at, without what holds of each event."""
        return {name: one.only_changes([one.steps_within(start, stop)]) for name, one in self.types.items() if one.stepped}


def resolve_labels(connection: duckdb.DuckDBPyConnection, tables: Sequence[LabelTable], events: History, task: Task,
                   most: int) -> ResolvedLabels:
    """Resolve every label type that the task's rows or features need.

    Args:
        connection: a locked DuckDB; it joins sparse integer and text ids.
        tables: pinned timelines, at most one a type; those of other types are not read.
        events: the events of the basis in the total order.
        task: the knowledge cut, the rule, the types.
        most: bytes that may help to find the events of labels; without them DuckDB does.

    Raises:
        LabelTypeScopeUnresolved: a needed type has no table, or several.
        RuleNotSupported, LabelTimelineInconsistent: as `domain.resolution`.
        The errors of `read_assertions`.
    """
    rule = find_rule(task.labels.rule)
    stepped = task.closure.label_types()
    by_type: dict[str, LabelTable] = {}
    for table in tables:
        if table.label_type in by_type:
            raise LabelTypeScopeUnresolved(f"the label type {table.label_type} has several timelines.", fix="Map one timeline per type.")
        by_type[table.label_type] = table
    types, slices, per_type, sketches = {}, [], {}, {}
    for label_type in sorted({*task.labels.types, *stepped}):
        if label_type not in by_type:
            raise LabelTypeScopeUnresolved(f"no timeline is mapped for the label type {label_type}.", known=sorted(by_type),
                                           fix=f"Add it under `labels:` in plane.yaml; mapped are {', '.join(sorted(by_type)) or 'none'}.")
        table = by_type[label_type]
        columns = read_assertions(table, events.id_type)
        found, facts = _find_eligible(connection, table, columns, events, task.latest_asof_us, most)
        kept = keep_in_order(found, columns, events.n)
        refuse_shared_ids(table, kept.row, columns)
        slices.append(hash_slice(label_type, kept, columns, events.id_type))
        sketches[label_type] = sketch_slice(kept, columns)
        types[label_type], resolved = _resolve_type(label_type, resolve_steps(label_type, kept, columns, rule, task.latest_asof_us),
                                                    columns, events, task, stepped=label_type in stepped)
        per_type[label_type] = {
            **facts, "assertions_eligible": len(kept.position), "assertions_repeated": len(found.position) - len(kept.position),
            **resolved, "observed_lag": _measure_lag(kept, events, table.min_lag_us)}
    return ResolvedLabels(types, LabelFacts(
        assertions_read=sum(facts["assertions_read"] for facts in per_type.values()),
        assertions_eligible=sum(facts["assertions_eligible"] for facts in per_type.values()),
        slice_digest=slice_digest(slices), per_type=per_type, sketches=sketches))


def _find_eligible(connection: duckdb.DuckDBPyConnection, table: LabelTable, columns: AssertionColumns, events: History,
                   asof_us: int, most: int) -> tuple[Eligible, dict[str, Any]]:
    """The assertions about events of the basis that are eligible at an as-of, and what became of the others."""
    rows, inside = _meet(connection, columns.subjects, events, most)
    everything = len(rows) == columns.n and (rows[1:] > rows[:-1]).all()
    def of(values: Int64s) -> Int64s:
        return values if everything else values[rows]
    if columns.observed is not None:
        observed = of(columns.observed)
        effective = observed if columns.effective is None else of(columns.effective)
    else:
        effective = events.instants_at(inside) if columns.event_time is None else of(columns.event_time)
        observed = effective + (table.observed_after_us or 0)
    entry = observed if effective is observed else np.maximum(observed, effective)
    known = entry <= asof_us
    facts = {"assertions_read": columns.n, "assertions_outside_basis": columns.n - _count_distinct(rows),
             "assertions_after_asof": len(rows) - int(known.sum()),
             "assumed_delay_us": table.observed_after_us if columns.observed is None else None, "min_lag_us": table.min_lag_us}
    found = Eligible(rows, inside, observed, effective, entry)
    return (found if known.all() else found.take(known)), facts


def _meet(connection: duckdb.DuckDBPyConnection, subjects: Int64s | pa.Array, events: History, most: int) -> tuple[Int64s, Int64s]:
    """Every pair of an assertion and an event that it is about: row and position, sorted by row, then position.

    An assertion is about every event that carries its id, in whatever source; mostly that is one.
    """
    none = np.empty(0, np.int64)
    if not len(subjects) or not events.n:
        return none, none
    found = _meet_counted_up(subjects, events, most) if isinstance(subjects, np.ndarray) else None
    return _meet_by_join(connection, subjects, events) if found is None else found


def _meet_counted_up(subjects: Int64s, events: History, most: int) -> tuple[Int64s, Int64s] | None:
    """As `_meet`, for ids that were counted up: a table of places beats any hash. None if they were not, or several events share one."""
    first, last = int(subjects.min()), int(subjects.max())
    if last - first >= min(4 * events.n + 1_000_000, most // 4):
        return None
    places = np.full(last - first + 1, -1, np.int32)
    for start, ids in _ids_of(events):
        numbers = ids.to_numpy()
        inside = np.flatnonzero((numbers >= first) & (numbers <= last))
        at = numbers[inside] - first
        position = (start + inside).astype(np.int32)
        taken = places[at]
        places[at] = position
        if (taken >= 0).any() or (places[at] != position).any():
            return None
    found = places[subjects - first]
    met = found >= 0
    return (np.arange(len(subjects)), found.astype(np.int64)) if met.all() else (np.flatnonzero(met), found[met].astype(np.int64))


def _meet_by_join(connection: duckdb.DuckDBPyConnection, subjects: Int64s | pa.Array, events: History) -> tuple[Int64s, Int64s]:
    """As `_meet`, whatever ids look like."""
    kind = arrow_type(events.id_type)
    schema = pa.schema([("id", kind), ("position", pa.int32())])
    batches = (pa.record_batch([chunk.cast(kind), pa.array(np.arange(at, at + len(chunk), dtype=np.int32))], schema)
               for start, ids in _ids_of(events) for at, chunk in _numbered(ids, start))
    rows = pa.table({"id": subjects, "row": pa.array(np.arange(len(subjects), dtype=np.int32))})
    with foreign_errors("joining labels to events"), closing(pa.RecordBatchReader.from_batches(schema, batches)) as reader:
        connection.register("ofs_events", reader)
        connection.register("ofs_subjects", rows)
        pairs = connection.execute("SELECT s.row, e.position FROM ofs_events e JOIN ofs_subjects s ON e.id = s.id").fetchnumpy()
        connection.unregister("ofs_events")
        connection.unregister("ofs_subjects")
    position = np.full(len(subjects), -1, np.int64)
    position[pairs["row"]] = pairs["position"]
    if (position[pairs["row"]] == pairs["position"]).all():
        met = np.flatnonzero(position >= 0)
        return met, position[met]
    order = np.lexsort((pairs["position"], pairs["row"]))
    return pairs["row"][order].astype(np.int64), pairs["position"][order].astype(np.int64)


def _ids_of(events: History) -> Iterator[tuple[int, pa.ChunkedArray]]:
    """All ids, in pieces, each with its first position."""
    for start in range(0, events.n, _PIECE):
        yield start, events.ids.slice(start, min(_PIECE, events.n - start))


def _numbered(ids: pa.ChunkedArray, start: int) -> Iterator[tuple[int, pa.Array]]:
    for chunk in ids.chunks:
        yield start, chunk
        start += len(chunk)


def _count_distinct(ordered: Int64s) -> int:
    return len(ordered) and 1 + int((ordered[1:] != ordered[:-1]).sum())


def _resolve_type(label_type: str, steps: Steps, columns: AssertionColumns, events: History, task: Task, *,
                  stepped: bool) -> tuple[LabelSteps, dict[str, Any]]:
    last = steps.are_last(asofs_at(events.instants_at(steps.position), task) if task.has_evaluation_splits else None)
    ids = pa.array([], pa.large_string()) if columns.ids is None else columns.ids
    status, value = steps.status[last], steps.value[last]
    counts = np.bincount(value + 1, minlength=len(columns.values) + 1)
    by_status = np.bincount(status, minlength=3)
    facts = {"subjects_resolved": int(by_status[1]), "subjects_in_conflict": int(by_status[2]),
             "values": {text: int(count) for text, count in zip(columns.values, counts[1:], strict=True) if count}}
    return LabelSteps(label_type, steps, last, pa.array(columns.values, pa.string()), ids, stepped), facts


def _spread(of: LabelSteps, changes: Steps, final: Steps, n: int) -> ResolvedType:
    """Steps of n events as columns over all of them."""
    status, value = np.zeros(n, np.int8), np.full(n, -1, np.int32)
    observed, assertion = np.zeros(n, np.int64), np.full(n, -1, np.int32)
    status[final.position], value[final.position], observed[final.position] = final.status, final.value, final.observed
    if len(of.assertion_ids):
        named = final.assertion
        if of.assertion_ids.null_count:
            has_id = of.assertion_ids.is_valid().to_numpy(zero_copy_only=False)
            named = np.where((named >= 0) & has_id[named], named, -1)
        assertion[final.position] = named
    return ResolvedType(of.label_type, status, value, of.values, observed, assertion, of.assertion_ids, changes if of.stepped else None)


def _measure_lag(kept: Eligible, events: History, min_lag_us: int | None) -> dict[str, Any]:
    """`coverage.measure_lag` over the slice, column-wise."""
    lags = kept.observed - events.instants_at(kept.position)
    count = len(lags)
    sooner = int((lags < min_lag_us if min_lag_us is not None else lags <= PROMPT_US).sum())
    if not count:
        return asdict(ObservedLag(0, 0, None, None, None))
    places = [nearest_rank(count, percent) for percent in PERCENTILES]
    ordered = np.partition(lags, places)
    return asdict(ObservedLag(count, sooner, *(int(ordered[place]) for place in places)))
