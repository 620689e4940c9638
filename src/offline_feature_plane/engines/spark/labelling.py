"""Labels: timelines are read, joined to their events and resolved, each event's assertions in one task (`decisions.md` D22, D26)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as sql

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.coverage import PERCENTILES, PROMPT_US, ObservedLag, nearest_rank
from offline_feature_plane.domain.label_sketch import WORDS
from offline_feature_plane.domain.label_slice import TypeSlice, slice_digest
from offline_feature_plane.domain.resolution import find_rule
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.labels import STATUSES, find_timelines
from offline_feature_plane.engines.spark.assertion_ids import refuse_shared_ids
from offline_feature_plane.engines.spark.assertions import ASSERTIONS, RESOLVED, Resolving, Timeline, carried
from offline_feature_plane.engines.spark.replaying import Replayed
from offline_feature_plane.engines.spark.streams import SLICE_COLUMNS, SLICED
from offline_feature_plane.engines.spark.tables import Frames, collected, together
from offline_feature_plane.engines.spark.wire import field_columns
from offline_feature_plane.kernels.leafhash import hash_fixed
from offline_feature_plane.ports import CONFLICTS_TOLD, LabelFacts
from offline_feature_plane.ports.inputs import LabelTable

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_RESOLVED, _CONFLICT = STATUSES.index("RESOLVED"), STATUSES.index("CONFLICT")


@dataclass(frozen=True)
class Labelled:
    """The label types of a task in their order, each as a frame by `pos` with the columns of `carried`, and the facts."""

    types: tuple[str, ...]
    frames: tuple[DataFrame, ...]
    facts: LabelFacts

    def number(self, label_type: str) -> int:
        """The place of a type."""
        return self.types.index(label_type)


@dataclass(frozen=True)
class _About:
    """A timeline, and by `pos` and `ts` the events that it can be about, each with what assertions name of it, in the column `name`.

    `kind` is the type of that, and `rows` about how many assertions or events there are.
    """

    table: LabelTable
    kind: ColumnType
    name: str
    events: DataFrame
    rows: int

    @classmethod
    def of(cls, table: LabelTable, replayed: Replayed, task: Task) -> _About:
        kind = task.label_subject(table.entity_field, replayed.facts.id_type)
        name = "num" if kind.is_integer else "id"
        events = replayed.frame.select("pos", "ts", subject_of(table, replayed, task).alias(name)).dropna(subset=[name])
        return cls(table, kind, name, events, max(_rows_of(table), replayed.n))


@dataclass(frozen=True)
class _Met:
    """Pairs of an assertion and an event, assertions that met one, pairs that are known at the latest as-of."""

    pairs: int
    inside: int
    known: int


@dataclass
class _Said:
    """Assertions that count, those that came soon, those that replace nothing, what they say, events by status and value."""

    assertions: int = 0
    soon: int = 0
    adrift: int = 0
    values: dict[str, int] = field(default_factory=dict)
    subjects: dict[tuple[int, str | None], int] = field(default_factory=dict)


def resolve_labels(frames: Frames, tables: Sequence[LabelTable], replayed: Replayed, task: Task) -> Labelled:
    """Resolve every label type that the task's rows or features need. Raises as `engines.local.labels.resolve_labels`."""
    find_rule(task.labels.rule)
    about = [_About.of(table, replayed, task) for table in find_timelines(tables, task).values()]
    types, timelines = tuple(one.table.label_type for one in about), [one.table for one in about]
    pairs = [_pair(frames, one) for one in about]
    refuse_shared_ids(frames, pairs, timelines, task.latest_asof_us)
    resolved = [_resolve(frames, frame, one, task) for frame, one in zip(pairs, about, strict=True)]
    met = _count_met(pairs, task.latest_asof_us)
    said = _count_said(resolved, timelines)
    frames.release(*pairs)
    lags = _measure_lags(frames, resolved, said)
    slices, sketches = _hash_slices(frames, resolved, about, said)
    per_type = dict(zip(types, map(_facts, timelines, met, said, lags, map(_name_some, resolved, said)), strict=True))
    held = tuple(_carrying(frames, frame, number, one, task) for number, (frame, one) in enumerate(zip(resolved, about, strict=True)))
    return Labelled(types, held, LabelFacts(
        assertions_read=sum(facts["assertions_read"] for facts in per_type.values()),
        assertions_eligible=sum(facts["assertions_eligible"] for facts in per_type.values()),
        slice_digest=slice_digest(slices), per_type=per_type, sketches=dict(zip(types, sketches, strict=True))))


def subject_of(table: LabelTable, replayed: Replayed, task: Task) -> Column:
    """What the assertions of a timeline name of an event: its id, or its entity."""
    if table.entity_field is not None:
        return sql.col(field_columns(task.closure)[task.subject, table.entity_field][0])
    return sql.col("num" if replayed.facts.id_type.is_integer else "id")


def _pair(frames: Frames, about: _About) -> DataFrame:
    """The assertions of a type with the events that they are about, an entity's with its first, and when each of them counts."""
    table, name = about.table, about.name
    files = frames.spark.range(0, len(table.files), 1, len(table.files))
    told = frames.mapped(files, "assertions.read", Timeline(table, about.kind), ASSERTIONS)
    told = told.drop("id" if name == "num" else "num").repartition(frames.parts(about.rows), name)
    subjects = about.events.repartition(frames.parts(about.rows), name)
    if table.entity_field is not None:
        subjects = subjects.groupBy(name).agg(sql.min("pos").alias("pos"), sql.min("ts").alias("ts"))
    pairs = told.join(subjects, name)
    if table.observed_column is not None:
        pairs = pairs.withColumn("effective", sql.coalesce("effective", "observed"))
    else:
        pairs = pairs.withColumn("effective", sql.coalesce("effective", "ts"))
        pairs = pairs.withColumn("observed", sql.col("effective") + sql.lit(table.observed_after_us or 0).cast("long"))
    return frames.keep(pairs.withColumn("entry", sql.greatest("observed", "effective")))


def _resolve(frames: Frames, pairs: DataFrame, about: _About, task: Task) -> DataFrame:
    """What `assertions.resolve` says of a type."""
    parts = frames.parts(about.rows)
    found = pairs.where(sql.col("entry") <= task.latest_asof_us).drop("arow").repartition(parts, "pos").sortWithinPartitions("pos")
    how = Resolving(about.table.label_type, task, about.kind, about.table.entity_field)
    return frames.keep(frames.mapped(found, "assertions.resolve", how, RESOLVED))


def _rows_of(table: LabelTable) -> int:
    return sum(file.rows for file in table.files)


def _count_met(pairs: Sequence[DataFrame], asof_us: int) -> list[_Met]:
    """Of each type how many pairs there are, of how many assertions, and how many of them are known at an as-of."""
    told = collected([frame.agg(sql.lit(number), sql.count("*"), sql.countDistinct("arow"),
                                sql.count(sql.when(sql.col("entry") <= asof_us, 1))) for number, frame in enumerate(pairs)])
    return [_Met(*counts) for _, *counts in sorted(told)]


def _count_said(resolved: Sequence[DataFrame], timelines: Sequence[LabelTable]) -> list[_Said]:
    """Of each type how many assertions count, how many of them came soon, and how many events have which status and value."""
    told = collected([frame.groupBy("status", "value").agg(sql.lit(number), sql.count("*"), sql.count(sql.when(_is_soon(table), 1)),
                                                             sql.count(sql.when(sql.col("adrift"), 1)))
                      for number, (frame, table) in enumerate(zip(resolved, timelines, strict=True))])
    found = [_Said() for _ in timelines]
    for status, value, number, count, soon, adrift in told:
        if status is None:
            found[number].assertions += count
            found[number].soon += soon
            found[number].adrift += adrift
            found[number].values[value] = count
        else:
            found[number].subjects[status, value] = count
    return found


def _is_soon(table: LabelTable) -> Column:
    return sql.col("lag") < table.min_lag_us if table.min_lag_us is not None else sql.col("lag") <= PROMPT_US


def _name_some(resolved: DataFrame, said: _Said) -> dict[str, Any]:
    """The first conflicts of a type, and the first assertion that replaces nothing, where there are any."""
    found: dict[str, Any] = {"conflicts_at": []}
    if any(status == _CONFLICT for status, _ in said.subjects):
        torn = resolved.where(sql.col("kept").isNull() & (sql.col("status") == _CONFLICT)).orderBy("pos").limit(CONFLICTS_TOLD)
        found["conflicts_at"] = [row[0] for row in torn.select("pos").collect()]
    if said.adrift:
        name, link = resolved.where("adrift").orderBy("pos", "kept").select("aid", "sup").first()
        found |= {"assertions_adrift": said.adrift, "first_adrift": {"assertion_id": name, "supersedes": link}}
    return found


def _facts(table: LabelTable, met: _Met, said: _Said, lag: ObservedLag, named: Mapping[str, Any]) -> dict[str, Any]:
    read = _rows_of(table)
    resolved = {value: count for (status, value), count in said.subjects.items() if status == _RESOLVED}
    return {
        "assertions_read": read, "assertions_outside_basis": read - met.inside, "assertions_after_asof": met.pairs - met.known,
        "assumed_delay_us": table.observed_after_us if table.observed_column is None else None, "min_lag_us": table.min_lag_us,
        "assertions_eligible": said.assertions, "assertions_repeated": met.known - said.assertions,
        "subjects_resolved": sum(resolved.values()),
        "subjects_in_conflict": sum(count for (status, _), count in said.subjects.items() if status == _CONFLICT),
        "values": dict(sorted(resolved.items())), **named, "observed_lag": asdict(lag),
        **({} if table.entity_field is None else {"applies_to": table.entity_field, "said": dict(sorted(said.values.items()))})}


def _carrying(frames: Frames, resolved: DataFrame, number: int, about: _About, task: Task) -> DataFrame:
    """A type as events carry it."""
    shape = [*carried(number, stepped=False),
             *(carried(number, stepped=True) if about.table.label_type in task.closure.label_types() else ())]
    final = resolved.where("kept IS NULL")
    if about.table.entity_field is not None:
        final = _carried_by_entities(frames, final, about, task)
    return final.select("pos", *(sql.col(column.partition("_")[2]).alias(column) for column, _ in shape))


def _carried_by_entities(frames: Frames, final: DataFrame, about: _About, task: Task) -> DataFrame:
    """Of each event the last step of its entity, as of its as-of, that is not after it, if there is one (`domain.entity_labels`)."""
    parts, name = frames.parts(about.rows), about.name
    steps = {"status": "statuses", "value": "step_values", "observed": "step_observed", "aid": "step_aids"}
    subject = sql.col("subject").cast("long") if name == "num" else sql.col("subject")
    eras = final.select(subject.alias(name), "at", "step_asofs", *steps.values()).repartition(parts, name)
    own = sql.lit(task.labels.asof_us)
    for split in task.splits:
        if split.asof_us is not None:
            own = sql.when((sql.col("ts") >= split.start_us) & (sql.col("ts") < split.end_us), split.asof_us).otherwise(own)
    events = about.events.withColumn("own", own).repartition(parts, name).join(eras, name)
    earlier = sql.size(sql.filter("step_asofs", lambda asof: asof < sql.col("own")))
    passed = sql.size(sql.filter("step_asofs", lambda asof, at: (asof == sql.col("own")) & (sql.get("at", at) <= sql.col("ts"))))
    placed = events.withColumn("passed", passed).where("passed > 0").withColumn("place", sql.col("passed") + earlier)
    return placed.select("pos", *(sql.element_at(held, sql.col("place")).alias(column) for column, held in steps.items()))


def _hash_slices(frames: Frames, resolved: Sequence[DataFrame], about: Sequence[_About],
                 said: Sequence[_Said]) -> tuple[list[TypeSlice], list[bytes]]:
    """The digests and the sketch of each slice. It is one sequence, so one task streams it."""
    told = []
    for number, (frame, one, counts) in enumerate(zip(resolved, about, said, strict=True)):
        if counts.assertions:
            integer = one.kind.is_integer
            typed = frame.where("kept IS NOT NULL").withColumn("subject", sql.col("subject").cast("long" if integer else "string"))
            order = "pos" if one.table.entity_field is None else "subject"
            ordered = typed.repartition(1).sortWithinPartitions(order, "kept").select("pos", *SLICE_COLUMNS)
            told.append(frames.mapped(ordered, "streams.hash_slice", integer, SLICED).select(
                sql.lit(number), *(name for name, _ in SLICED)))
    answers = [tuple(row) for row in collected(told)]
    digests = {number: of_columns for number, *of_columns, _ in answers}
    sketches = {number: bytes(sketch) for number, *_, sketch in answers}
    nothing = (hash_fixed(np.empty(0, np.int64)),) * len(SLICE_COLUMNS)
    return ([TypeSlice(one.table.label_type, counts.assertions, ColumnType("int64") if one.kind.is_integer else one.kind,
                       tuple(digests.get(number, nothing))) for number, (one, counts) in enumerate(zip(about, said, strict=True))],
            [sketches.get(number, bytes(8 * WORDS)) for number in range(len(about))])


def _measure_lags(frames: Frames, resolved: Sequence[DataFrame], said: Sequence[_Said]) -> list[ObservedLag]:
    """`coverage.measure_lag` over each slice: the lags of all types are numbered at once, those of one type after the other."""
    firsts = [0, *accumulate(counts.assertions for counts in said)]
    wanted = {(number, percent): first + nearest_rank(counts.assertions, percent)
              for number, (counts, first) in enumerate(zip(said, firsts, strict=False)) if counts.assertions for percent in PERCENTILES}
    at: dict[int, int] = {}
    if wanted:
        lags = together([frame.where("kept IS NOT NULL").select(sql.lit(number).alias("type"), "lag")
                         for number, frame in enumerate(resolved)])
        ordered = frames.numbered(lags, "rank", firsts[-1], ["type", "lag"])
        at = {row[0]: row[1] for row in ordered.where(sql.col("rank").isin(sorted(set(wanted.values())))).select("rank", "lag").collect()}
    return [ObservedLag(counts.assertions, counts.soon, *(at[wanted[number, percent]] for percent in PERCENTILES))
            if counts.assertions else ObservedLag(0, 0, None, None, None) for number, counts in enumerate(said)]
