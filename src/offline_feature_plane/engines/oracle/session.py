"""The oracle as an engine: the port's verbs around `engines.oracle.meaning`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from offline_feature_plane.arrow_types import arrow_schema, arrow_type
from offline_feature_plane.domain.accounting import check_accounting
from offline_feature_plane.domain.aggregations import registered
from offline_feature_plane.domain.assertion_ids import refuse_shared_ids
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.coverage import measure_lag
from offline_feature_plane.domain.extraction import Value
from offline_feature_plane.domain.label_sketch import sketch_of
from offline_feature_plane.domain.label_slice import TypeSlice, slice_digest, slice_of, slice_order
from offline_feature_plane.domain.resolution import Assertion, eligible, find_adrift, find_rule
from offline_feature_plane.domain.rows import Task, row_columns
from offline_feature_plane.engines.oracle.cohorts import count_cohorts
from offline_feature_plane.engines.oracle.meaning import Event, Outcome, compute
from offline_feature_plane.engines.oracle.reading import LabelRow, read_assertions, read_events
from offline_feature_plane.engines.oracle.speaking import speaks_of
from offline_feature_plane.errors import EngineFailed, LabelTypeScopeUnresolved
from offline_feature_plane.ports import CONFLICTS_TOLD, EventLabels, LabelFacts, ReplayFacts, SelectionFacts
from offline_feature_plane.ports.inputs import EventInput, LabelTable

__all__ = ["OracleEngine", "OracleSession"]

BATCH_ROWS = 1_000


class OracleEngine:
    """Computes datasets slowly and obviously; quadratic in events, meant for judging."""

    name = "oracle"
    version = "1"

    def supports(self, function: str) -> bool:
        """Everything that has a meaning: it computes by that alone."""
        return function in registered()

    @contextmanager
    def session(self, task: Task, *, work: Path, memory_limit: str | None = None, threads: int | None = None,  # noqa: ARG002 - the port's
                progress: Any = None, kept: Path | None = None) -> Iterator[OracleSession]:  # noqa: ARG002 - the port's
        """Open a session; it needs no scratch files, no limits and no threads."""
        yield OracleSession(task)


class OracleSession:
    """One build's work: `replay`, `labels`, `select`, `rows`, in this order."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._events: tuple[Event, ...] = ()
        self._replayed: ReplayFacts | None = None
        self._assertions: tuple[Assertion, ...] = ()
        self._outcome: Outcome | None = None

    def replay(self, inputs: Sequence[EventInput]) -> ReplayFacts:
        """Read, type, deduplicate and order all events. Raises as `read_events`."""
        self._events, self._replayed = read_events(inputs, self._task)
        return self._replayed

    def labels(self, inputs: Sequence[LabelTable]) -> LabelFacts:
        """Read the timelines that the task needs.

        Raises:
            LabelTypeScopeUnresolved: a needed type has no table, or several.
            RuleNotSupported, LabelTimelineInconsistent, and the errors of `read_assertions`.
        """
        task = self._task
        find_rule(task.labels.rule)
        slices: list[TypeSlice] = []
        assertions: list[Assertion] = []
        per_type: dict[str, Mapping[str, Any]] = {}
        sketches: dict[str, bytes] = {}
        for label_type in sorted({*task.labels.types, *task.closure.label_types()}):
            tables = [table for table in inputs if table.label_type == label_type]
            if len(tables) != 1:
                raise LabelTypeScopeUnresolved(f"the label type {label_type} has {len(tables) or 'no'} timelines.",
                                               fix="Map one timeline per type under `labels:` in plane.yaml.")
            said, facts, one, sketches[label_type] = self._label_type(tables[0])
            assertions += said
            slices.append(one)
            per_type[label_type] = facts
        self._assertions = tuple(assertions)
        return LabelFacts(sum(facts["assertions_read"] for facts in per_type.values()),
                          sum(facts["assertions_eligible"] for facts in per_type.values()), slice_digest(slices), per_type, sketches)

    def _label_type(self, table: LabelTable) -> tuple[list[Assertion], dict[str, Any], TypeSlice, bytes]:
        task, field = self._task, table.entity_field
        kind = task.label_subject(field, self._facts().id_type)
        told = read_assertions(table, kind)
        subjects = dict(enumerate(self._events)) if field is None else self._first_events(field)
        inside, said = self._about(told, table, subjects.values())
        latest = task.latest_asof_us
        refuse_shared_ids(one for one in said if one.entry_us <= latest)
        by_subject = [[one for one in said if speaks_of(one, event)] for event in subjects.values()]
        known = [[one for one in about if one.entry_us <= latest] for about in by_subject]
        used = [eligible(about, latest) for about in known]
        lags = [one.observed_us - (event.ts_us if field is None else one.effective_us)
                for event, about in zip(subjects.values(), used, strict=True) for one in about]
        resolved = [find_rule(task.labels.rule).resolve(about, task.labels_at(event.ts_us).asof_us if field is None else latest)
                    for event, about in zip(subjects.values(), known, strict=True)]
        values = Counter(found.value for found in resolved if found.value is not None)
        facts: dict[str, Any] = {
            "assertions_read": len(told), "assertions_outside_basis": len(told) - inside,
            "assertions_after_asof": sum(map(len, by_subject)) - sum(map(len, known)),
            "assumed_delay_us": table.observed_after_us if table.observed_column is None else None, "min_lag_us": table.min_lag_us,
            "assertions_eligible": len(lags), "assertions_repeated": sum(map(len, known)) - len(lags),
            "subjects_resolved": sum(found.status == "RESOLVED" for found in resolved),
            "subjects_in_conflict": sum(found.status == "CONFLICT" for found in resolved), "values": dict(sorted(values.items())),
            "conflicts_at": sorted(position for position, found in zip(subjects, resolved, strict=True)
                                   if found.status == "CONFLICT")[:CONFLICTS_TOLD],
            **_adrift(dict(zip(subjects, used, strict=True))),
            "observed_lag": asdict(measure_lag(lags, table.min_lag_us))}
        if field is not None:
            facts |= {"applies_to": field, "said": dict(sorted(Counter(one.value for about in used for one in about).items()))}
        placed = dict(zip(subjects, known, strict=True))
        sketch = sketch_of([placed.get(position, []) for position in range(len(self._events))], latest)
        return said, facts, slice_of(table.label_type, known, latest, kind), sketch

    def _first_events(self, field: str) -> dict[int, Event]:
        """By position, the first event of every entity that a field of the subject's events holds, in the order of the entities."""
        first: dict[Any, int] = {}
        for position, event in enumerate(self._events):
            if event.source == self._task.subject and event.values[field] is not None:
                first.setdefault(event.values[field], position)
        return {first[entity]: self._events[first[entity]] for entity in sorted(first)}

    def _about(self, told: Sequence[LabelRow], table: LabelTable, subjects: Iterable[Event]) -> tuple[int, list[Assertion]]:
        """How many of the rows are about events or entities of the basis, and what these say."""
        if table.entity_field is not None:
            entities = {event.values[table.entity_field] for event in subjects}
            inside = [one for one in told if one.subject in entities]
            return len(inside), [one.about_entity(table, (self._task.subject, table.entity_field)) for one in inside]
        instants: dict[int | str, set[int]] = {}
        for event in subjects:
            instants.setdefault(event.event_id, set()).add(event.ts_us)
        inside = [one for one in told if one.subject in instants]
        return len(inside), [assertion for one in inside for assertion in one.about(instants[one.subject], table)]

    def labels_of(self, label_type: str, positions: Sequence[int]) -> Sequence[EventLabels]:
        """As the port says; nothing need be read again."""
        return [EventLabels(position, event.event_id, tuple(one for one in self._assertions
                                                            if one.label_type == label_type and speaks_of(one, event)))
                for position in positions for event in [self._events[position]]]

    def select(self) -> SelectionFacts:
        """Decide for every event what becomes of it. Raises NumericOverflow; RowAccountingBroken if this engine is wrong."""
        outcome, replayed = self._computed(), self._facts()
        accounting = {name: count + replayed.dispositions.get(name, 0) for name, count in outcome.accounting.items()}
        check_accounting(accounting, replayed.events_read)
        cohorts = count_cohorts(self._events, self._assertions, self._task)
        return SelectionFacts(accounting, outcome.coverage, outcome.splits, outcome.rows_beyond_asof, cohorts)

    def rows(self, limit: int | None = None) -> Iterator[pa.RecordBatch]:
        """Finished rows in the total order."""
        rows = self._computed().rows[:limit]
        columns = self.columns()
        for start in range(0, len(rows), BATCH_ROWS):
            part = rows[start:start + BATCH_ROWS]
            arrays = [arrow_values([row[column.name] for row in part], column.type) for column in columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))

    def leaves(self) -> None:
        """Whoever takes the rows digests them."""

    def execution(self) -> dict[str, Any]:
        """There is one way."""
        return {"way": "memory"}

    def columns(self) -> tuple[Column, ...]:
        """The schema of `rows`."""
        return row_columns(self._task, self._facts().id_type)

    def rows_with_hidden_events(self) -> int:
        """How many rows have an event in a window that arrived after them."""
        return self._computed().rows_with_hidden_events

    def _facts(self) -> ReplayFacts:
        if self._replayed is None:
            raise EngineFailed("nothing has been replayed yet.", fix="Call replay first.")
        return self._replayed

    def _computed(self) -> Outcome:
        if self._outcome is None:
            self._outcome = compute(self._events, self._assertions, self._task)
        return self._outcome


def _adrift(by_position: Mapping[int, Sequence[Assertion]]) -> dict[str, Any]:
    """Assertions that supersede what nobody knows, if there are any: how many, and the first, by event and then in slice order."""
    found = [one for _, used in sorted(by_position.items()) for one in sorted(find_adrift(used), key=slice_order)]
    if not found:
        return {}
    return {"assertions_adrift": len(found), "first_adrift": {"assertion_id": found[0].assertion_id, "supersedes": found[0].supersedes}}


def arrow_values(values: Sequence[Value], kind: ColumnType) -> pa.Array:
    """Inner values as an Arrow array of a column's type."""
    if kind.kind == "decimal":
        exact = [None if value is None else Decimal(int(value)).scaleb(-kind.scale) for value in values]
        return pa.array(exact, arrow_type(kind))
    return pa.array(values, arrow_type(kind))
