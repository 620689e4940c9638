"""Labels in bulk: every event's resolution at the as-of and, for features, how it changed before (`decisions.md` D22, D26).

Assertions are read as columns, joined to the positions of their events and resolved with numpy. Only subjects with supersession links or
repeated ids go one by one through `domain.resolution`, whose law this is; the rest follows it column-wise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.coverage import PERCENTILES, PROMPT_US, ObservedLag, nearest_rank
from offline_feature_plane.domain.label_slice import slice_digest
from offline_feature_plane.domain.resolution import Rule, find_rule
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.connection import foreign_errors
from offline_feature_plane.engines.local.events import Events
from offline_feature_plane.engines.local.label_columns import AssertionColumns, read_assertions
from offline_feature_plane.engines.local.label_steps import Eligible, Steps, hash_slice, keep_in_order, resolve_steps
from offline_feature_plane.errors import LabelTypeScopeUnresolved
from offline_feature_plane.ports import LabelFacts
from offline_feature_plane.ports.inputs import LabelTable

Int64s = npt.NDArray[np.int64]

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
class ResolvedLabels:
    """All label types of a task, resolved, and what was used for it."""

    types: Mapping[str, ResolvedType]
    facts: LabelFacts


def resolve_labels(connection: duckdb.DuckDBPyConnection, tables: Sequence[LabelTable], events: Events, task: Task) -> ResolvedLabels:
    """Resolve every label type that the task's rows or features need.

    Args:
        connection: a locked DuckDB; it joins sparse integer and text ids.
        tables: pinned timelines, at most one a type; those of other types are not read.
        events: the events of the basis in the total order.
        task: the knowledge cut, the rule, the types.

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
    types, slices, per_type = {}, [], {}
    for label_type in sorted({*task.labels.types, *stepped}):
        if label_type not in by_type:
            raise LabelTypeScopeUnresolved(f"no timeline is mapped for the label type {label_type}.", known=sorted(by_type),
                                           fix=f"Add it under `labels:` in plane.yaml; mapped are {', '.join(sorted(by_type)) or 'none'}.")
        table = by_type[label_type]
        columns = read_assertions(table, events.id_type)
        found, facts = _find_eligible(connection, table, columns, events, task.labels.asof_us)
        kept = keep_in_order(found, columns, events.n)
        slices.append(hash_slice(label_type, kept, columns, events))
        types[label_type], resolved = _resolve_type(label_type, kept, columns, events, rule, task.labels.asof_us,
                                                    stepped=label_type in stepped)
        per_type[label_type] = {
            **facts, "assertions_eligible": len(kept.position), "assertions_repeated": len(found.position) - len(kept.position),
            **resolved, "observed_lag": _measure_lag(kept, events, table.min_lag_us)}
    return ResolvedLabels(types, LabelFacts(
        assertions_read=sum(facts["assertions_read"] for facts in per_type.values()),
        assertions_eligible=sum(facts["assertions_eligible"] for facts in per_type.values()),
        slice_digest=slice_digest(slices), per_type=per_type))


def _find_eligible(connection: duckdb.DuckDBPyConnection, table: LabelTable, columns: AssertionColumns, events: Events,
                   asof_us: int) -> tuple[Eligible, dict[str, Any]]:
    """The assertions about events of the basis that are eligible at the as-of, and what became of the others."""
    rows, inside = _meet(connection, columns.subjects, events)
    everything = len(rows) == columns.n and (rows[1:] > rows[:-1]).all()
    def of(values: Int64s) -> Int64s:
        return values if everything else values[rows]
    if columns.observed is not None:
        observed = of(columns.observed)
        effective = observed if columns.effective is None else of(columns.effective)
    else:
        effective = events.ts[inside] if columns.event_time is None else of(columns.event_time)
        observed = effective + (table.observed_after_us or 0)
    entry = observed if effective is observed else np.maximum(observed, effective)
    known = entry <= asof_us
    facts = {"assertions_read": columns.n, "assertions_outside_basis": columns.n - _count_distinct(rows),
             "assertions_after_asof": len(rows) - int(known.sum()),
             "assumed_delay_us": table.observed_after_us if columns.observed is None else None, "min_lag_us": table.min_lag_us}
    found = Eligible(rows, inside, observed, effective, entry)
    return (found if known.all() else found.take(known)), facts


def _meet(connection: duckdb.DuckDBPyConnection, subjects: Int64s | pa.Array, events: Events) -> tuple[Int64s, Int64s]:
    """Every pair of an assertion and an event that it is about: row and position, sorted by row, then position.

    An assertion is about every event that carries its id, in whatever source; mostly that is one.
    """
    none = np.empty(0, np.int64)
    if not len(subjects) or not events.n:
        return none, none
    if isinstance(subjects, np.ndarray):
        ids = events.ids.to_numpy()
        low, high = int(ids.min()), int(ids.max())
        if high - low < 4 * events.n + 1_000_000:  # ids that were counted up: a table of places beats any hash
            places = np.full(high - low + 1, -1, np.int32)
            places[ids - low] = np.arange(events.n, dtype=np.int32)
            inside = np.flatnonzero((subjects >= low) & (subjects <= high))
            if (places >= 0).sum() < events.n:
                return _meet_many(inside, subjects[inside], ids)
            found = places[subjects[inside] - low]
            met = found >= 0
            return (inside, found.astype(np.int64)) if met.all() else (inside[met], found[met].astype(np.int64))
        left: Any = pa.array(ids)
        right: Any = pa.array(subjects)
    else:
        left, right = events.ids, subjects
    with foreign_errors("joining labels to events"):
        connection.register("ofs_events", pa.table({"id": left, "position": pa.array(np.arange(events.n, dtype=np.int32))}))
        connection.register("ofs_subjects", pa.table({"id": right, "row": pa.array(np.arange(len(subjects), dtype=np.int32))}))
        pairs = connection.execute("SELECT s.row, e.position FROM ofs_events e JOIN ofs_subjects s ON e.id = s.id").fetchnumpy()
        connection.unregister("ofs_events")
        connection.unregister("ofs_subjects")
    position = np.full(len(subjects), -1, np.int64)
    position[pairs["row"]] = pairs["position"]
    if (position[pairs["row"]] == pairs["position"]).all():
        rows = np.flatnonzero(position >= 0)
        return rows, position[rows]
    order = np.lexsort((pairs["position"], pairs["row"]))
    return pairs["row"][order].astype(np.int64), pairs["position"][order].astype(np.int64)


def _meet_many(rows: Int64s, subjects: Int64s, ids: Int64s) -> tuple[Int64s, Int64s]:
    """As `_meet`, where several events share an id."""
    order = np.argsort(ids, kind="stable")
    first, last = (np.searchsorted(ids, subjects, side, order) for side in ("left", "right"))
    many = last - first
    into = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    return np.repeat(rows, many), order[np.repeat(first, many) + into]


def _count_distinct(ordered: Int64s) -> int:
    return len(ordered) and 1 + int((ordered[1:] != ordered[:-1]).sum())


def _resolve_type(label_type: str, kept: Eligible, columns: AssertionColumns, events: Events, rule: Rule, asof_us: int, *,
                  stepped: bool) -> tuple[ResolvedType, dict[str, Any]]:
    steps = resolve_steps(label_type, kept, columns, events, rule, asof_us)
    last = np.ones(len(steps.position), np.bool_)
    last[:-1] = steps.position[1:] != steps.position[:-1]
    final = steps if last.all() else steps.take(last)
    status, value = np.zeros(events.n, np.int8), np.full(events.n, -1, np.int32)
    observed, assertion = np.zeros(events.n, np.int64), np.full(events.n, -1, np.int32)
    status[final.position], value[final.position], observed[final.position] = final.status, final.value, final.observed
    ids = pa.array([], pa.large_string())
    if columns.ids is not None:
        ids = columns.ids
        named = final.assertion
        if ids.null_count:
            has_id = ids.is_valid().to_numpy(zero_copy_only=False)
            named = np.where((named >= 0) & has_id[named], named, -1)
        assertion[final.position] = named
    counts = np.bincount(final.value + 1, minlength=len(columns.values) + 1)
    by_status = np.bincount(final.status, minlength=3)
    facts = {"subjects_resolved": int(by_status[1]), "subjects_in_conflict": int(by_status[2]),
             "values": {text: int(count) for text, count in zip(columns.values, counts[1:], strict=True) if count}}
    return ResolvedType(label_type, status, value, pa.array(columns.values, pa.string()), observed, assertion, ids,
                        steps if stepped else None), facts


def _measure_lag(kept: Eligible, events: Events, min_lag_us: int | None) -> dict[str, Any]:
    """`coverage.measure_lag` over the slice, column-wise."""
    lags = kept.observed - events.ts[kept.position]
    count = len(lags)
    sooner = int((lags < min_lag_us if min_lag_us is not None else lags <= PROMPT_US).sum())
    if not count:
        return asdict(ObservedLag(0, 0, None, None, None))
    places = [nearest_rank(count, percent) for percent in PERCENTILES]
    ordered = np.partition(lags, places)
    return asdict(ObservedLag(count, sooner, *(int(ordered[place]) for place in places)))
