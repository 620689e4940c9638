"""Labels: timelines are read, joined to their events and resolved, each event's assertions in one task (`decisions.md` D22, D26)."""

from __future__ import annotations

from collections.abc import Sequence
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
from offline_feature_plane.engines.local.labels import STATUSES
from offline_feature_plane.engines.spark.assertion_ids import refuse_shared_ids
from offline_feature_plane.engines.spark.assertions import ASSERTIONS, RESOLVED, Resolving, Timeline, carried
from offline_feature_plane.engines.spark.replaying import Replayed
from offline_feature_plane.engines.spark.streams import SLICE_COLUMNS, SLICED
from offline_feature_plane.engines.spark.tables import Frames, collected, together
from offline_feature_plane.errors import LabelTypeScopeUnresolved
from offline_feature_plane.kernels.leafhash import hash_fixed
from offline_feature_plane.ports import LabelFacts
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
class _Met:
    """Pairs of an assertion and an event, assertions that met one, pairs that are known at the latest as-of."""

    pairs: int
    inside: int
    known: int


@dataclass
class _Said:
    """Assertions that count, those that came soon, events by status and value."""

    assertions: int = 0
    soon: int = 0
    subjects: dict[tuple[int, str | None], int] = field(default_factory=dict)


def resolve_labels(frames: Frames, tables: Sequence[LabelTable], replayed: Replayed, task: Task) -> Labelled:
    """Resolve every label type that the task's rows or features need. Raises as `engines.local.labels.resolve_labels`."""
    find_rule(task.labels.rule)
    by_type: dict[str, LabelTable] = {}
    for table in tables:
        if table.label_type in by_type:
            raise LabelTypeScopeUnresolved(f"the label type {table.label_type} has several timelines.", fix="Map one timeline per type.")
        by_type[table.label_type] = table
    types = tuple(sorted({*task.labels.types, *task.closure.label_types()}))
    for label_type in types:
        if label_type not in by_type:
            raise LabelTypeScopeUnresolved(f"no timeline is mapped for the label type {label_type}.", known=sorted(by_type),
                                           fix=f"Add it under `labels:` in plane.yaml; mapped are {', '.join(sorted(by_type)) or 'none'}.")
    timelines = [by_type[label_type] for label_type in types]
    pairs = [_pair(frames, table, replayed) for table in timelines]
    refuse_shared_ids(frames, pairs, timelines, task.latest_asof_us)
    resolved = [_resolve(frames, one, table, replayed, task) for one, table in zip(pairs, timelines, strict=True)]
    met = _count_met(pairs, task.latest_asof_us)
    said = _count_said(resolved, timelines)
    frames.release(*pairs)
    lags = _measure_lags(frames, resolved, said)
    slices, sketches = _hash_slices(frames, resolved, timelines, said, replayed.facts.id_type)
    per_type = dict(zip(types, map(_facts, timelines, met, said, lags), strict=True))
    held = tuple(_carrying(frame, number, table, task) for number, (frame, table) in enumerate(zip(resolved, timelines, strict=True)))
    return Labelled(types, held, LabelFacts(
        assertions_read=sum(facts["assertions_read"] for facts in per_type.values()),
        assertions_eligible=sum(facts["assertions_eligible"] for facts in per_type.values()),
        slice_digest=slice_digest(slices), per_type=per_type, sketches=dict(zip(types, sketches, strict=True))))


def _pair(frames: Frames, table: LabelTable, replayed: Replayed) -> DataFrame:
    """The assertions of a type with the events that they are about, and when each of them counts."""
    id_type = replayed.facts.id_type
    parts = frames.parts(max(_rows_of(table), replayed.n))
    files = frames.spark.range(0, len(table.files), 1, len(table.files))
    told = frames.mapped(files, "assertions.read", Timeline(table, id_type), ASSERTIONS)
    name = "num" if id_type.is_integer else "id"
    about = told.drop("id" if name == "num" else "num").repartition(parts, name)
    pairs = about.join(replayed.frame.select("pos", "ts", name).repartition(parts, name), name)
    if table.observed_column is not None:
        pairs = pairs.withColumn("effective", sql.coalesce("effective", "observed"))
    else:
        pairs = pairs.withColumn("effective", sql.coalesce("effective", "ts"))
        pairs = pairs.withColumn("observed", sql.col("effective") + sql.lit(table.observed_after_us or 0).cast("long"))
    return frames.keep(pairs.withColumn("entry", sql.greatest("observed", "effective")))


def _resolve(frames: Frames, pairs: DataFrame, table: LabelTable, replayed: Replayed, task: Task) -> DataFrame:
    """What `assertions.resolve` says of a type."""
    id_type = replayed.facts.id_type
    parts = frames.parts(max(_rows_of(table), replayed.n))
    found = pairs.where(sql.col("entry") <= task.latest_asof_us).drop("arow").repartition(parts, "pos").sortWithinPartitions("pos")
    how = Resolving(table.label_type, task, id_type)
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
    told = collected([frame.groupBy("status", "value").agg(sql.lit(number), sql.count("*"), sql.count(sql.when(_is_soon(table), 1)))
                      for number, (frame, table) in enumerate(zip(resolved, timelines, strict=True))])
    found = [_Said() for _ in timelines]
    for status, value, number, count, soon in told:
        if status is None:
            found[number].assertions += count
            found[number].soon += soon
        else:
            found[number].subjects[status, value] = count
    return found


def _is_soon(table: LabelTable) -> Column:
    return sql.col("lag") < table.min_lag_us if table.min_lag_us is not None else sql.col("lag") <= PROMPT_US


def _facts(table: LabelTable, met: _Met, said: _Said, lag: ObservedLag) -> dict[str, Any]:
    read = _rows_of(table)
    resolved = {value: count for (status, value), count in said.subjects.items() if status == _RESOLVED}
    return {
        "assertions_read": read, "assertions_outside_basis": read - met.inside, "assertions_after_asof": met.pairs - met.known,
        "assumed_delay_us": table.observed_after_us if table.observed_column is None else None, "min_lag_us": table.min_lag_us,
        "assertions_eligible": said.assertions, "assertions_repeated": met.known - said.assertions,
        "subjects_resolved": sum(resolved.values()),
        "subjects_in_conflict": sum(count for (status, _), count in said.subjects.items() if status == _CONFLICT),
        "values": dict(sorted(resolved.items())), "observed_lag": asdict(lag)}


def _carrying(resolved: DataFrame, number: int, table: LabelTable, task: Task) -> DataFrame:
    """A type as events carry it."""
    shapes = [*carried(number, stepped=False), *(carried(number, stepped=True) if table.label_type in task.closure.label_types() else ())]
    return resolved.where("kept IS NULL").select("pos", *(sql.col(column.partition("_")[2]).alias(column) for column, _ in shapes))


def _hash_slices(frames: Frames, resolved: Sequence[DataFrame], timelines: Sequence[LabelTable], said: Sequence[_Said],
                 id_type: ColumnType) -> tuple[list[TypeSlice], list[bytes]]:
    """The digests and the sketch of each slice. It is one sequence, so one task streams it."""
    integer = id_type.is_integer
    kind = ColumnType("int64") if integer else id_type
    told = []
    for number, (frame, counts) in enumerate(zip(resolved, said, strict=True)):
        if counts.assertions:
            ordered = frame.where("kept IS NOT NULL").repartition(1).sortWithinPartitions("pos", "kept").select(
                "pos", *(sql.col(name).cast("long") if name == "subject" and integer else sql.col(name) for name in SLICE_COLUMNS))
            told.append(frames.mapped(ordered, "streams.hash_slice", integer, SLICED).select(
                sql.lit(number), *(name for name, _ in SLICED)))
    answers = [tuple(row) for row in collected(told)]
    digests = {number: of_columns for number, *of_columns, _ in answers}
    sketches = {number: bytes(sketch) for number, *_, sketch in answers}
    nothing = (hash_fixed(np.empty(0, np.int64)),) * len(SLICE_COLUMNS)
    return ([TypeSlice(table.label_type, counts.assertions, kind, tuple(digests.get(number, nothing)))
             for number, (table, counts) in enumerate(zip(timelines, said, strict=True))],
            [sketches.get(number, bytes(8 * WORDS)) for number in range(len(timelines))])


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
