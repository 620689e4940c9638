"""What a task means for a list of events and a list of assertions, as plain Python (`features.md`, `domain.md` §6, `decisions.md` D13–D31).

For every row, for every feature, all events are scanned. Nothing is sorted but the events, nothing is cached, nothing is incremental.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.domain.accounting import (
    EventFacts,
    answer_of,
    check_accounting,
    count_dispositions,
    dispose,
    is_cold,
    is_mature,
    sampling_class,
    split_of,
    target_of,
)
from offline_feature_plane.domain.aggregations import NO_EVIDENCE, WindowContents, WindowEvent, aggregation_kind
from offline_feature_plane.domain.calendars import row_name
from offline_feature_plane.domain.closure import Aggregation, Feature, Group
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.combining import Answer
from offline_feature_plane.domain.evaluation import evaluate, is_true
from offline_feature_plane.domain.extraction import Value, convert
from offline_feature_plane.domain.resolution import Assertion, Resolution
from offline_feature_plane.domain.rows import Disposition, Task
from offline_feature_plane.domain.sampling import keeps, unit_text, weight
from offline_feature_plane.domain.spines import asked_again
from offline_feature_plane.domain.tokens import token
from offline_feature_plane.domain.windows import Place, choose, sees
from offline_feature_plane.engines.oracle.speaking import label_of

__all__ = ["Event", "Outcome", "arrival_place", "check_spine", "compute", "feature_values", "order_key"]


@dataclass(frozen=True)
class Event:
    """One admitted event: its source in the closure, its place in the log, its id, its instant, and its fields in the inner form.

    `read_id` is the id as its own column had it, if `event_id` is its text because other inputs have text ids; it still orders.
    `arrival_us` counts under `visibility: arrival` only.
    """

    source: str
    event_id: int | str
    ts_us: int
    values: Mapping[str, Value]
    topic: str = "events"
    partition: int = 0
    offset: int = 0
    read_id: int | None = None
    arrival_us: int = 0

    def scope(self) -> dict[str, Value]:
        """What conditions and row features may read."""
        return {**self.values, "ts": self.ts_us}


@dataclass(frozen=True)
class Outcome:
    """Everything a task says about events: finished rows in the total order, and the counts that must add up.

    `rows` hold the columns of `row_columns`, identifiers as tokens unless the task is raw. `dispositions` are per event, in
    the total order.
    """

    rows: tuple[Mapping[str, Value], ...]
    dispositions: tuple[Disposition, ...]
    accounting: Mapping[str, int]
    coverage: Mapping[str, Mapping[str, int]]
    splits: Mapping[str, Mapping[str, int]]
    rows_beyond_asof: int
    rows_with_hidden_events: int


def stands_earlier(event: Event, ordered: Iterable[Event], task: Task) -> bool:
    """Does a subject's entity belong to another split: the one of its first event that could be a row, whatever its label?"""
    by = task.disjoint_by
    if by is None:
        return False
    first = next((one for one in ordered if one.source == task.subject and one.values[by] == event.values[by]
                  and split_of(one.ts_us, task.splits) is not None and is_true(task.where, one.scope())), event)
    return split_of(first.ts_us, task.splits) != split_of(event.ts_us, task.splits)


def order_key(event: Event, task: Task) -> tuple[Any, ...]:
    """The total order: (ts, topic, partition, offset, event id), texts by UTF-8 bytes, integer ids as numbers (`decisions.md` D14).

    A spine's events stand before all others of their instant, those that a calendar makes after them. Under `arrival`, events of one
    instant stand in the order of their arrival places (D21).
    """
    return (event.ts_us, task.standing(event.source), *(_place(event) if task.visibility == "event_time" else arrival_place(event)))


def check_spine(events: Sequence[Event], task: Task) -> None:
    """Raises SpineInvalid: a spine asks for an entity twice at one instant."""
    asked = Counter((event.ts_us, event.values[task.entity]) for event in events if task.entity and event.source == task.subject)
    again = [at for (at, _), count in asked.items() if count > 1]
    if again:
        raise asked_again(task, asked.total() - len(asked), min(again))


def arrival_place(event: Event) -> tuple[Any, ...]:
    """When an event arrived, told apart from all others: (arrival, topic, partition, offset, event id) (`decisions.md` D21)."""
    return (event.arrival_us, *_place(event))


def _place(event: Event) -> tuple[Any, ...]:
    named = event.event_id if event.read_id is None else event.read_id
    by_id = (0, named, b"") if isinstance(named, int) else (1, 0, named.encode())
    return (event.topic.encode(), event.partition, event.offset, by_id)


def compute(events: Iterable[Event], assertions: Sequence[Assertion], task: Task) -> Outcome:
    """Apply a task to admitted events (each once, in any order) and all assertions.

    Raises:
        NumericOverflow, LabelTimelineInconsistent, RuleNotSupported: as the laws say.
        RowAccountingBroken: never, unless this engine is wrong.
    """
    ordered = sorted(events, key=lambda event: order_key(event, task))
    check_spine(ordered, task)
    for group in task.closure.groups:  # a condition that overflows on any event of its source is an error, seen by a row or not
        for event in ordered:
            if event.source == group.source:
                for condition in group.conditions():
                    is_true(condition, event.scope())
    world = _World(tuple(ordered), tuple(assertions), task)
    judged = [world.facts(rank) for rank in range(len(ordered))]
    dispositions = tuple(dispose(facts, task) for facts in judged)
    accounting = count_dispositions(dispositions)
    check_accounting(accounting, len(ordered))
    rows = [world.row(rank, facts) for rank, (facts, found) in enumerate(zip(judged, dispositions, strict=True)) if found == "row"]
    kept = [(event, facts) for event, facts, found in zip(ordered, judged, dispositions, strict=True) if found == "row"]
    return Outcome(tuple(rows), dispositions, accounting, world.coverage(zip(ordered, judged, strict=True)), world.splits(kept),
                   sum(event.ts_us > world.asof_us(event) for event, _ in kept),
                   sum(world.hides_from(rank) for rank, found in enumerate(dispositions) if found == "row"))


@dataclass(frozen=True)
class _World:
    events: tuple[Event, ...]
    assertions: tuple[Assertion, ...]
    task: Task

    def label(self, event: Event, label_type: str, cut_us: int) -> Resolution:
        """What is known about an event's label at a cut."""
        return label_of(event, label_type, self.assertions, cut_us, self.task.labels.rule)

    def asof_us(self, event: Event) -> int:
        """The label as-of of an event."""
        return self.task.labels_at(event.ts_us).asof_us

    def facts(self, rank: int) -> EventFacts:
        """What decides an event's disposition."""
        task, event = self.task, self.events[rank]
        if event.source != task.subject:
            return EventFacts(is_subject=False)
        mature = is_mature(event.ts_us, task.labels_at(event.ts_us))
        answer = None
        if task.target is not None:
            found = {part.label_type: self.label(event, part.label_type, self.asof_us(event)) for part in task.target.parts}
            answer = answer_of(found, task.target, mature=mature)
        kept = task.sampling is None or keeps(task.sampling.seed, self._unit(event), self._rate(answer))
        cold = is_cold(event.ts_us, task.closure.depths(), self._history_start())
        lacks = any(not _inside(self, rank, group, group.features[0]) for group in task.closure.demanded())
        return EventFacts(passes_where=is_true(task.where, event.scope()), split=split_of(event.ts_us, task.splits),
                          in_earlier_split=stands_earlier(event, self.events, task), mature=mature, answer=answer,
                          lacks_context=lacks, cold=cold, kept_by_sampling=kept)

    def row(self, rank: int, facts: EventFacts) -> dict[str, Value]:
        """One finished row."""
        task, event = self.task, self.events[rank]
        values: dict[str, Value] = {"event_id": self._id(event), "ts": event.ts_us}
        values |= self._leaving(feature_values(self.events, self.assertions, task, rank))
        for label_type in task.labels.types:
            found = self.label(event, label_type, self.asof_us(event))
            values |= {f"{label_type}__value": found.value, f"{label_type}__status": found.status,
                       f"{label_type}__observed_time": found.observed_us, f"{label_type}__assertion_id": found.assertion_id}
        if task.target is not None:
            values["target"] = target_of(facts.answer)
        values["split"] = facts.split
        if task.labels.immature == "mark" and task.labels.maturity_us is not None:
            values["mature"] = facts.mature
        if task.cold_rows == "mark":
            values["cold"] = facts.cold
        if task.sampling is not None:
            values["weight"] = weight(self._rate(facts.answer))
        return values

    def _id(self, event: Event) -> int | str:
        """The row's id as it leaves: one that a calendar made of an identifier has its token."""
        veiled, key, calendar = self.task.veiled, self.task.token_key, self.task.calendar
        if veiled is None or veiled.identifier is None or key is None or calendar is None:
            return event.event_id
        return row_name(token(key.secret, veiled.identifier, str(event.values[veiled.name])), calendar.ends()[event.ts_us])

    def hides_from(self, rank: int) -> bool:
        """Is there an event in a window of this row that had not arrived when the row did?"""
        row = self.events[rank]
        if self.task.visibility != "arrival":
            return False
        for group in self.task.closure.groups:
            key = _key(row, group)
            seen = [event for place, event in enumerate(self.events) if key is not None and _is_of(event, group, key)
                    and sees(group, Place(row.ts_us, rank), Place(event.ts_us, place))]
            for feature in group.features:
                inside = seen[choose(feature.window, row.ts_us - group.delay_us, [event.ts_us for event in seen])]
                if any(arrival_place(event) > arrival_place(row) for event in inside):
                    return True
        return False

    def coverage(self, judged: Iterable[tuple[Event, EventFacts]]) -> dict[str, dict[str, int]]:
        """Per label type, how many mature subject rows have an answer, before any is dropped for its label (`decisions.md` D24)."""
        counted = [event for event, facts in judged
                   if facts.is_subject and facts.passes_where and facts.split is not None and not facts.in_earlier_split and facts.mature]
        found: dict[str, dict[str, int]] = {}
        for label_type in self.task.labels.types:
            statuses = [self.label(event, label_type, self.asof_us(event)).status for event in counted]
            found[label_type] = {"subjects": len(statuses), **{status.lower(): statuses.count(status)
                                                               for status in ("RESOLVED", "NOT_FOUND", "CONFLICT")}}
        return found

    def splits(self, kept: Sequence[tuple[Event, EventFacts]]) -> dict[str, dict[str, int]]:
        """Per split, how many rows there are of each class, and how many are cold."""
        found = {}
        for name in [split.name for split in self.task.splits] or ["all"]:
            mine = [facts for _, facts in kept if facts.split == name]
            targets = [target_of(facts.answer) for facts in mine]
            found[name] = {"rows": len(mine), "positive": targets.count(1), "negative": targets.count(0), "unknown": targets.count(None),
                           "cold": sum(facts.cold for facts in mine)}
        return found

    def _history_start(self) -> dict[str, int | None]:
        declared = dict(self.task.history_start_us)
        first = {source: min((event.ts_us for event in self.events if event.source == source), default=None)
                 for source in self.task.closure.depths()}
        return {source: declared[source] if declared.get(source) is not None else at for source, at in first.items()}

    def _rate(self, answer: Answer | None) -> str:
        rates = dict(self.task.sampling.rates) if self.task.sampling else {}
        return rates.get(sampling_class(target_of(answer)), "1")

    def _unit(self, event: Event) -> str:
        by = self.task.sampling.by if self.task.sampling else None
        if by is None:
            return str(event.event_id)
        kind = ColumnType("timestamp") if by == "ts" else self.task.closure.source(self.task.subject).field(by).type
        return unit_text(event.scope()[by], kind)

    def _leaving(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Identifiers become tokens wherever they leave (`decisions.md` D12)."""
        key = self.task.token_key
        left = dict(values)
        for column in self.task.closure.columns():
            value = left[column.name]
            if key is not None and column.identifier is not None and value is not None:
                left[column.name] = token(key.secret, column.identifier, unit_text(value, column.type))
        return left


def feature_values(events: Sequence[Event], assertions: Sequence[Assertion], task: Task, rank: int) -> dict[str, Value]:
    """All feature columns of one row in the inner form, identifiers still as they are. `events` are in the total order."""
    row = events[rank]
    columns: dict[str, Value] = {}
    for group in task.closure.groups:
        for feature in group.features:
            columns[feature.column] = _feature(events, assertions, task, rank, group, feature)
    for computed in task.closure.row_features:
        columns[computed.column] = evaluate(computed.expression, row.scope())
    for computed in task.closure.derived:
        columns[computed.column] = evaluate(computed.expression, {**row.scope(), **columns})
    return columns


def _feature(events: Sequence[Event], assertions: Sequence[Assertion], task: Task, rank: int, group: Group, feature: Feature) -> Value:
    row, call = events[rank], feature.aggregation
    inside = _inside(_World(tuple(events), tuple(assertions), task), rank, group, feature)
    if inside is None:
        return None
    argument = task.closure.source(group.source).field(call.argument).type if call.argument else None
    found = aggregation_kind(call.function).meaning(WindowContents(inside, call, argument, row.ts_us))
    if found is NO_EVIDENCE:
        return None if feature.empty is None else convert(feature.empty, feature.type, "exact", "UTC", feature.column)
    return found  # type: ignore[return-value]  # it is not NO_EVIDENCE here


def _inside(world: _World, rank: int, group: Group, feature: Feature) -> list[WindowEvent] | None:
    """What the window of a feature holds for a row; None for a row without a key."""
    task, row, call = world.task, world.events[rank], feature.aggregation
    key = _key(row, group)
    if key is None:
        return None
    by_arrival = task.visibility == "arrival"
    cut = min(row.arrival_us if by_arrival else row.ts_us, world.asof_us(row))
    seen = []
    for place, event in enumerate(world.events):
        if not _is_of(event, group, key) or (by_arrival and arrival_place(event) > arrival_place(row)):
            continue
        if sees(group, Place(row.ts_us, rank), Place(event.ts_us, place)):
            label = world.label(event, call.label_type, cut).value if call.label_type else None
            seen.append(WindowEvent(event.ts_us, place == rank, _value(event, call), label))
    return seen[choose(feature.window, row.ts_us - group.delay_us, [event.ts_us for event in seen])]


def _value(event: Event, call: Aggregation) -> Value:
    """What an event brings to a call: its argument, where its condition is true."""
    if call.condition is not None and not is_true(call.condition, event.scope()):
        return None
    return event.values[call.argument] if call.argument else call.condition is not None or None


def _key(row: Event, group: Group) -> list[Value] | None:
    """The key whose events a row looks at; None if it looks at none."""
    key = [row.values[name] for name in group.key]
    return None if None in key and group.null_key == "skip" else key


def _is_of(event: Event, group: Group, key: list[Value]) -> bool:
    """Is it one of the group's events, of this key?"""
    return event.source == group.source and [event.values[name] for name in group.key] == key and is_true(group.where, event.scope())
