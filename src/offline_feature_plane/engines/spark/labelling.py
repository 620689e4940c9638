"""Labels: timelines are read, joined to their events and resolved, each event's assertions in one task (`decisions.md` D22, D26)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as sql

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.coverage import PERCENTILES, PROMPT_US, ObservedLag, nearest_rank
from offline_feature_plane.domain.label_slice import TypeSlice, slice_digest
from offline_feature_plane.domain.resolution import find_rule
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.labels import STATUSES
from offline_feature_plane.engines.spark.assertions import ASSERTIONS, RESOLVED, Resolving, Timeline, carried
from offline_feature_plane.engines.spark.replaying import Replayed
from offline_feature_plane.engines.spark.streams import SLICE_COLUMNS, SLICED
from offline_feature_plane.engines.spark.tables import Frames
from offline_feature_plane.errors import LabelTypeScopeUnresolved
from offline_feature_plane.kernels.leafhash import hash_fixed
from offline_feature_plane.ports import LabelFacts
from offline_feature_plane.ports.inputs import LabelTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

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


def resolve_labels(frames: Frames, tables: Sequence[LabelTable], replayed: Replayed, task: Task) -> Labelled:
    """Resolve every label type that the task's rows or features need. Raises as `engines.local.labels.resolve_labels`."""
    find_rule(task.labels.rule)
    by_type: dict[str, LabelTable] = {}
    for table in tables:
        if table.label_type in by_type:
            raise LabelTypeScopeUnresolved(f"the label type {table.label_type} has several timelines.", fix="Map one timeline per type.")
        by_type[table.label_type] = table
    types = tuple(sorted({*task.labels.types, *task.closure.label_types()}))
    made, slices, per_type = [], [], {}
    for number, label_type in enumerate(types):
        if label_type not in by_type:
            raise LabelTypeScopeUnresolved(f"no timeline is mapped for the label type {label_type}.", known=sorted(by_type),
                                           fix=f"Add it under `labels:` in plane.yaml; mapped are {', '.join(sorted(by_type)) or 'none'}.")
        held, one, per_type[label_type] = _resolve(frames, by_type[label_type], number, replayed, task)
        made.append(held)
        slices.append(one)
    return Labelled(types, tuple(made), LabelFacts(
        assertions_read=sum(facts["assertions_read"] for facts in per_type.values()),
        assertions_eligible=sum(facts["assertions_eligible"] for facts in per_type.values()),
        slice_digest=slice_digest(slices), per_type=per_type))


def _resolve(frames: Frames, table: LabelTable, number: int, replayed: Replayed, task: Task) -> tuple[DataFrame, TypeSlice, dict[str, Any]]:
    id_type, asof = replayed.facts.id_type, task.labels.asof_us
    read = sum(file.rows for file in table.files)
    parts = frames.parts(max(read, replayed.n))
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
    pairs = frames.keep(pairs.withColumn("entry", sql.greatest("observed", "effective")))
    met, inside, known = pairs.agg(sql.count("*"), sql.countDistinct("arow"), sql.count(sql.when(sql.col("entry") <= asof, 1))).collect()[0]
    stepped = table.label_type in task.closure.label_types()
    found = pairs.where(sql.col("entry") <= asof).drop("arow").repartition(parts, "pos").sortWithinPartitions("pos")
    resolved = frames.keep(frames.mapped(found, "assertions.resolve", Resolving(table.label_type, task.labels.rule, asof, id_type, stepped),
                                         RESOLVED))
    kept = resolved.where("kept IS NOT NULL")
    held = resolved.where("kept IS NULL")
    lag = _measure_lag(frames, kept, table.min_lag_us)
    counts = {(row[0], row[1]): row[2] for row in held.groupBy("status", "value").count().collect()}
    facts = {
        "assertions_read": read, "assertions_outside_basis": read - inside, "assertions_after_asof": met - known,
        "assumed_delay_us": table.observed_after_us if table.observed_column is None else None, "min_lag_us": table.min_lag_us,
        "assertions_eligible": lag.assertions, "assertions_repeated": known - lag.assertions,
        "subjects_resolved": sum(count for (status, _), count in counts.items() if status == _RESOLVED),
        "subjects_in_conflict": sum(count for (status, _), count in counts.items() if status == _CONFLICT),
        "values": {value: counts[_RESOLVED, value] for value in sorted(value for status, value in counts if status == _RESOLVED)},
        "observed_lag": asdict(lag)}
    one = _hash_slice(frames, kept, table.label_type, lag.assertions, id_type)
    frames.release(pairs)
    shapes = [*carried(number, stepped=False), *(carried(number, stepped=True) if stepped else ())]
    return held.select("pos", *(sql.col(column.partition("_")[2]).alias(column) for column, _ in shapes)), one, facts


def _hash_slice(frames: Frames, kept: DataFrame, label_type: str, count: int, id_type: ColumnType) -> TypeSlice:
    """One sequence, so one task streams it."""
    integer = id_type.is_integer
    kind = ColumnType("int64") if integer else id_type
    if not count:
        return TypeSlice(label_type, 0, kind, (hash_fixed(np.empty(0, np.int64)),) * len(SLICE_COLUMNS))
    ordered = kept.repartition(1).sortWithinPartitions("pos", "kept").select(
        *(sql.col(name).cast("long") if name == "subject" and integer else sql.col(name) for name in SLICE_COLUMNS))
    digests = frames.mapped(ordered, "streams.hash_slice", integer, SLICED).collect()[0]
    return TypeSlice(label_type, count, kind, tuple(digests))


def _measure_lag(frames: Frames, kept: DataFrame, min_lag_us: int | None) -> ObservedLag:
    """`coverage.measure_lag` over the slice."""
    soon = sql.col("lag") < min_lag_us if min_lag_us is not None else sql.col("lag") <= PROMPT_US
    count, sooner = kept.agg(sql.count("*"), sql.count(sql.when(soon, 1))).collect()[0]
    if not count:
        return ObservedLag(0, 0, None, None, None)
    wanted = [nearest_rank(count, percent) for percent in PERCENTILES]
    ordered = frames.numbered(kept.select("lag"), "rank", count, ["lag"])
    at = {row[0]: row[1] for row in ordered.where(sql.col("rank").isin(wanted)).select("rank", "lag").collect()}
    return ObservedLag(count, sooner, *(at[place] for place in wanted))
