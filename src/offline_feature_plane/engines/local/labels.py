"""Labels in bulk: every event's resolution at its as-of and, for features, how it changed before (`decisions.md` D22, D26).

Assertions are read as columns, joined to the positions of their events and resolved with numpy. Only subjects with repeated ids,
or with supersession links that ranks do not settle, go one by one through `domain.resolution`, whose law this is; the rest follows it
column-wise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.coverage import PERCENTILES, PROMPT_US, ObservedLag, nearest_rank
from offline_feature_plane.domain.label_slice import TypeSlice, slice_digest
from offline_feature_plane.domain.resolution import Rule, find_rule
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.asofs import asofs_at
from offline_feature_plane.engines.local.assertion_ids import refuse_shared_ids
from offline_feature_plane.engines.local.connection import Database
from offline_feature_plane.engines.local.entities import Eras, find_entities
from offline_feature_plane.engines.local.events import History
from offline_feature_plane.engines.local.label_columns import AssertionColumns, read_assertions
from offline_feature_plane.engines.local.label_digests import hash_slice
from offline_feature_plane.engines.local.label_events import find_events
from offline_feature_plane.engines.local.label_names import Names, find_links
from offline_feature_plane.engines.local.label_sketches import sketch_slice
from offline_feature_plane.engines.local.label_steps import (
    CONFLICT,
    Eligible,
    Steps,
    joined_steps,
    keep_in_order,
    resolve_eras,
    resolve_steps,
)
from offline_feature_plane.errors import AggregationUnsupported, LabelTypeScopeUnresolved
from offline_feature_plane.ports import CONFLICTS_TOLD, LabelFacts
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
class LabelSteps:
    """One label type, resolved, at the events that have labels: how each of them changed, up to the latest as-of.

    `last` is a mask: which step holds at the as-of of its event. Values, ids and `stepped` (do features look at the changes?) as in
    `ResolvedType`. Of a type that is about entities the steps are theirs, by effective time, and `eras` says what events carry.
    """

    label_type: str
    steps: Steps
    last: npt.NDArray[np.bool_]
    values: pa.Array
    assertion_ids: pa.Array
    stepped: bool
    eras: Eras | None = None

    def over(self, start: int, stop: int) -> ResolvedType:
        """What holds of the events at positions `start … stop − 1`, counted from there."""
        if self.eras is not None:
            carried = self.eras.over(start, stop)
            return _spread(self, carried, carried, stop - start)
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


def resolve_labels(database: Database, tables: Sequence[LabelTable], events: History, task: Task,
                   most: int) -> ResolvedLabels:
    """Resolve every label type that the task's rows or features need.

    Args:
        database: joins sparse integer and text ids.
        tables: pinned timelines, at most one a type; those of other types are not read.
        events: the events of the basis in the total order.
        task: the knowledge cut, the rule, the types.
        most: bytes that may help to find the events of labels; without them DuckDB does.

    Raises:
        RuleNotSupported, LabelTimelineInconsistent: as `domain.resolution`. The errors of `find_timelines` and `read_assertions`.
    """
    rule = find_rule(task.labels.rule)
    found = {label_type: _resolve(database, table, events, task, rule, most)
             for label_type, table in find_timelines(tables, task).items()}
    per_type = {label_type: one.facts for label_type, one in found.items()}
    return ResolvedLabels({label_type: one.steps for label_type, one in found.items()}, LabelFacts(
        assertions_read=sum(facts["assertions_read"] for facts in per_type.values()),
        assertions_eligible=sum(facts["assertions_eligible"] for facts in per_type.values()),
        slice_digest=slice_digest([one.slice for one in found.values()]), per_type=per_type,
        sketches={label_type: one.sketch for label_type, one in found.items()}))


class _Resolved(NamedTuple):
    steps: LabelSteps
    facts: dict[str, Any]
    slice: TypeSlice
    sketch: bytes


def _resolve(database: Database, table: LabelTable, events: History, task: Task, rule: Rule, most: int) -> _Resolved:
    """One label type. What is known of it is hashed, sketched, measured and held against the law of ids beside."""
    label_type, field = table.label_type, table.entity_field
    named_by = task.label_subject(field, events.id_type)
    columns, entities = read_assertions(table, named_by), None
    if field is None:
        rows, inside = find_events(database, columns.subjects, events, most)
    else:
        entities, rows, inside = find_entities(events, (task.subject, field), columns.subjects)
    found, facts = _find_eligible(table, columns, events, task.latest_asof_us, rows, inside)
    kept = keep_in_order(found, columns, events.n if entities is None else entities.n)
    rows, columns, kept = kept.row, columns.take(kept.row), replace(kept, row=np.arange(len(kept.row)))
    names = Names.of(columns)
    with ThreadPoolExecutor(2, thread_name_prefix="ofs-label") as beside:  # all four let go of the interpreter
        checked = beside.submit(refuse_shared_ids, table, rows, columns, names)
        sliced = beside.submit(hash_slice, label_type, kept, columns, named_by)
        placed = kept if entities is None else replace(kept, position=entities.firsts[kept.position])
        sketched = beside.submit(sketch_slice, placed, columns, names)
        since = events.instants_at(kept.position) if entities is None else kept.effective
        lag = beside.submit(_measure_lag, kept.observed - since, table.min_lag_us)
        try:
            links = find_links(kept, columns, names)
            eras = None if entities is None or field is None else Eras.of(
                entities, task, partial(resolve_eras, label_type, field, kept, columns, names, rule))
            steps = resolve_steps(label_type, kept, columns, links, rule, task.latest_asof_us) if eras is None else eras.latest
        finally:
            checked.result()  # an id of two subjects is refused first
        made, resolved = _resolve_type(label_type, steps, columns, events, task, eras, stepped=label_type in task.closure.label_types())
        facts |= {
            **({} if field is None else {"applies_to": field, "said": _count_values(columns, columns.value)}),
            "assertions_eligible": len(kept.position), "assertions_repeated": len(found.position) - len(kept.position),
            **resolved, **_adrift(columns, placed.position, links.adrift),
            "observed_lag": lag.result()}
        return _Resolved(made, facts, sliced.result(), sketched.result())


def find_timelines(tables: Sequence[LabelTable], task: Task) -> dict[str, LabelTable]:
    """The timeline of each label type that a task needs, types in their order.

    Raises:
        LabelTypeScopeUnresolved: a type has no table, or several.
        AggregationUnsupported: a feature would look at labels of entities.
    """
    by_type: dict[str, LabelTable] = {}
    for table in tables:
        if table.label_type in by_type:
            raise LabelTypeScopeUnresolved(f"the label type {table.label_type} has several timelines.", fix="Map one timeline per type.")
        by_type[table.label_type] = table
    stepped = task.closure.label_types()
    needed = sorted({*task.labels.types, *stepped})
    for label_type in needed:
        if label_type not in by_type:
            raise LabelTypeScopeUnresolved(f"no timeline is mapped for the label type {label_type}.", known=sorted(by_type),
                                           fix=f"Add it under `labels:` in plane.yaml; mapped are {', '.join(sorted(by_type)) or 'none'}.")
        if by_type[label_type].entity_field is not None and label_type in stepped:
            raise AggregationUnsupported(f"features cannot look at {label_type} labels: they are about entities.", path=label_type)
    return {label_type: by_type[label_type] for label_type in needed}


def _find_eligible(table: LabelTable, columns: AssertionColumns, events: History, asof_us: int, rows: Int64s,
                   inside: Int64s) -> tuple[Eligible, dict[str, Any]]:
    """Which of the assertions at `rows`, about the events or entities `inside`, are eligible at an as-of; what became of the others."""
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


def _count_distinct(ordered: Int64s) -> int:
    return len(ordered) and 1 + int((ordered[1:] != ordered[:-1]).sum())


def _resolve_type(label_type: str, steps: Steps, columns: AssertionColumns, events: History, task: Task, eras: Eras | None, *,
                  stepped: bool) -> tuple[LabelSteps, dict[str, Any]]:
    judged = eras is None and task.has_evaluation_splits
    last = steps.are_last(asofs_at(events.instants_at(steps.position), task) if judged else None)
    ids = pa.array([], pa.large_string()) if columns.ids is None else columns.ids
    status, value = steps.status[last], steps.value[last]
    by_status = np.bincount(status, minlength=3)
    torn = steps.position[last][status == CONFLICT]
    torn = torn if eras is None else np.sort(eras.entities.firsts[torn])
    facts = {"subjects_resolved": int(by_status[1]), "subjects_in_conflict": int(by_status[2]),
             "values": _count_values(columns, value),
             "conflicts_at": torn[:CONFLICTS_TOLD].tolist()}
    return LabelSteps(label_type, steps, last, pa.array(columns.values, pa.string()), ids, stepped, eras), facts


def _adrift(columns: AssertionColumns, position: Int64s, places: Int64s) -> dict[str, Any]:
    """Assertions that supersede what nobody knows, if there are any: how many, and the first, by event and then in slice order."""
    if not len(places):
        return {}
    first = int(places[np.argmin(position[places])])
    name, link = (None if texts is None else texts[first].as_py() for texts in (columns.ids, columns.supersedes))
    return {"assertions_adrift": len(places), "first_adrift": {"assertion_id": name, "supersedes": link}}


def _count_values(columns: AssertionColumns, value: npt.NDArray[np.int32]) -> dict[str, int]:
    counts = np.bincount(value + 1, minlength=len(columns.values) + 1)
    return {text: int(count) for text, count in zip(columns.values, counts[1:], strict=True) if count}


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


def _measure_lag(lags: Int64s, min_lag_us: int | None) -> dict[str, Any]:
    """`coverage.measure_lag` over the slice, column-wise."""
    count = len(lags)
    sooner = int((lags < min_lag_us if min_lag_us is not None else lags <= PROMPT_US).sum())
    if not count:
        return asdict(ObservedLag(0, 0, None, None, None))
    places = [nearest_rank(count, percent) for percent in PERCENTILES]
    ordered = np.partition(lags, places)
    return asdict(ObservedLag(count, sooner, *(int(ordered[place]) for place in places)))
