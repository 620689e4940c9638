"""A session of the Spark engine: frames from step to step, their rows by the functions of the local engine (`docs/decisions/0027`).

replay ──▶ labels ──▶ select ──▶ rows
replaying  labelling  choosing   windows, assembling     what the tasks run: shares, repeats, assertions, choosing, windows, assembling
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as sql

from offline_feature_plane.domain.accounting import check_accounting
from offline_feature_plane.domain.closure import Group
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.content import LEAF_ROWS, Leaf
from offline_feature_plane.domain.rows import DISPOSITIONS, Task, row_columns
from offline_feature_plane.domain.spines import asked_again
from offline_feature_plane.engines.local.label_sketches import labels_of
from offline_feature_plane.engines.spark.assembling import LEAF, Assembling, received
from offline_feature_plane.engines.spark.assertions import carried
from offline_feature_plane.engines.spark.choosing import CHOSEN, MARKS, Choosing, Standing, choice_shape, standing_shape, summed
from offline_feature_plane.engines.spark.labelling import Labelled, resolve_labels, subject_of
from offline_feature_plane.engines.spark.remote import answers, sharing, understood
from offline_feature_plane.engines.spark.replaying import Replayed, replay
from offline_feature_plane.engines.spark.tables import Frames, started
from offline_feature_plane.engines.spark.windows import Windowing, made_shape
from offline_feature_plane.engines.spark.wire import Key, Shape, field_columns, kind_of
from offline_feature_plane.engines.stepwise import Progress, need, unheard
from offline_feature_plane.errors import EngineFailed, OfsError
from offline_feature_plane.ports import EventLabels, LabelFacts, ReplayFacts, SelectionFacts
from offline_feature_plane.ports.cohorts import COHORTS, add_up
from offline_feature_plane.ports.inputs import EventInput, LabelTable, PlainTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class _Chosen:
    """All events with their labels and what becomes of them; `row_no` of the rows; how many rows there are.

    `overflow`: the first condition of a group that leaves its type.
    """

    frame: DataFrame
    rows: int
    facts: SelectionFacts
    overflow: OfsError | None


class SparkEngineSession:
    """One build's work, in order: replay, labels, select, rows. What is kept in Spark goes when the session is closed."""

    def __init__(self, task: Task, frames: Frames, progress: Progress | None) -> None:
        self._task, self._frames, self._tell = task, frames, progress or unheard
        self._open = replace(task, token_key=None)  # what every task but the last may know
        self._replayed: Replayed | None = None
        self._timelines: dict[str, LabelTable] = {}
        self._labelled: Labelled | None = None
        self._chosen: _Chosen | None = None
        self._leaves: list[Leaf] = []
        self._hidden = 0

    def replay(self, inputs: Sequence[EventInput]) -> ReplayFacts:
        """Read, type, deduplicate and order all events. Raises as the local engine, and as `remote.answers`."""
        with sharing(file for one in inputs if isinstance(one, PlainTable) for file in one.files), answers("reading events"):
            self._replayed = replay(self._frames, inputs, self._open)
        self._tell("replay", self._replayed.facts.events_read, self._replayed.facts.events_read)
        return self._replayed.facts

    def labels(self, inputs: Sequence[LabelTable]) -> LabelFacts:
        """Read the timelines and resolve them. Raises as the local engine, and as `remote.answers`."""
        with sharing(file for one in inputs for file in one.files), answers("resolving labels"):
            self._labelled = resolve_labels(self._frames, inputs, need(self._replayed, "replay"), self._open)
        self._timelines = {one.label_type: one for one in inputs}
        self._tell("labels", self._labelled.facts.assertions_read, self._labelled.facts.assertions_read)
        return self._labelled.facts

    def labels_of(self, label_type: str, positions: Sequence[int]) -> Sequence[EventLabels]:
        """As the port says; the driver reads them. Raises as the local engine, and as `remote.answers`."""
        replayed, table = need(self._replayed, "replay"), self._timelines[label_type]
        name = "num" if replayed.facts.id_type.is_integer else "id"
        with answers("looking for the events of labels"):
            found = [tuple(row) for row in replayed.frame.where(sql.col("pos").isin(list(positions))).select(
                "pos", name, subject_of(table, replayed, self._task), "ts").collect()]
        kind = self._task.label_subject(table.entity_field, replayed.facts.id_type)
        return labels_of(table, kind, sorted(found, key=lambda one: one[0]))

    def select(self) -> SelectionFacts:
        """Decide for every event what becomes of it. Raises as the local engine, and as `remote.answers`."""
        replayed = need(self._replayed, "replay")
        with answers("selecting rows"):
            self._chosen = self._choose(replayed, need(self._labelled, "labels"))
        self._tell("select", replayed.n, replayed.n)
        return self._chosen.facts

    def rows(self, limit: int | None = None) -> Iterator[pa.RecordBatch]:
        """Finished rows in the total order, leaf by leaf; only the first `limit` of them if it is given.

        Raises:
            NumericOverflow: a sum, a condition or an expression leaves its type. DigestMismatch: a leaf arrived damaged.
            As `remote.answers`.
        """
        chosen = need(self._chosen, "select")
        if chosen.overflow is not None:
            raise chosen.overflow
        wanted = chosen.rows if limit is None else min(limit, chosen.rows)
        self._leaves, self._hidden = [], 0
        self._tell("rows", 0, wanted)
        done = 0
        if wanted:
            with answers("computing rows"):
                for number, n, hidden, digests, stream, sha in self._leaf_by_leaf(chosen, wanted):
                    batch, leaf = received(number, n, digests, stream, sha)
                    if number != len(self._leaves) or n != min(LEAF_ROWS, wanted - done):
                        raise EngineFailed(f"leaf {number} of {n} rows came after {done} of {wanted}.", fix="Please report this.")
                    self._leaves.append(leaf)
                    self._hidden, done = self._hidden + hidden, done + n
                    yield batch
                    self._tell("rows", done, wanted)
        if done != wanted:
            raise EngineFailed(f"{done} rows came of {wanted}.", fix="Please report this.")

    def leaves(self) -> Sequence[Leaf]:
        """The leaves of the rows that were given so far, digested where they were computed."""
        return tuple(self._leaves)

    def rows_with_hidden_events(self) -> int:
        """Of the rows that were given so far, how many have an event in a window that arrived after them."""
        return self._hidden

    def execution(self) -> dict[str, Any]:
        """In how many parts events and rows are worked on, once there are some."""
        found: dict[str, Any] = {"way": "spark"}
        if self._replayed is not None:
            found["parts_of_events"] = self._frames.parts(self._replayed.n)
        if self._chosen is not None:
            found["parts_of_rows"] = self._frames.parts(self._chosen.rows)
        return found

    def columns(self) -> tuple[Column, ...]:
        """The schema of `rows`, known after `replay`."""
        return row_columns(self._task, need(self._replayed, "replay").facts.id_type)

    def _choose(self, replayed: Replayed, labelled: Labelled) -> _Chosen:
        task, frames = self._open, self._frames
        self._check_spine(replayed)
        parts = frames.parts(replayed.n)
        joined = replayed.frame.repartition(parts, "pos")
        held: Shape = tuple((name, kind) for name, kind in (
            ("pos", "long"), ("ts", "long"), ("src", "int"), ("num", "long"), ("id", "string"), *self._arrival(),
            *((column, kind_of(kind)) for column, kind in field_columns(task.closure).values())))
        for number, (name, labels) in enumerate(zip(labelled.types, labelled.frames, strict=True)):
            joined = joined.join(labels.repartition(parts, "pos"), "pos", "left")
            held += carried(number, stepped=False) + (carried(number, stepped=True) if name in task.closure.label_types() else ())
        marks = {"stray": None if task.disjoint_by is None else self._strays(replayed, task.disjoint_by),
                 "lacks": self._lacking(replayed, labelled) if task.closure.demanded() else None}
        for marked in (one for one in marks.values() if one is not None):
            joined = joined.join(marked.repartition(parts, "pos"), "pos", "left")
        each = -(-replayed.n // parts)
        placed = joined.withColumn("part_", (sql.col("pos") / sql.lit(each)).cast("int")).repartitionById(parts, "part_")
        declared = dict(task.history_start_us)
        start = {source.name: replayed.first_us.get(place) if declared.get(source.name) is None else declared[source.name]
                 for place, source in enumerate(task.closure.sources)}
        how = Choosing(replace(task, history_start_us=tuple(start.items())), labelled.types, replayed.facts.id_type, held,
                       frames.sizes.batch_rows)
        looked_at = [*(name for name, _ in held), *(name for name in MARKS if marks[name] is not None)]
        made = frames.keep(frames.mapped(placed.sortWithinPartitions("pos").select("part_", *looked_at), "choosing.choose",
                                         how, choice_shape(how)))
        notes = sorted((json.loads(row[0]) for row in made.where("note IS NOT NULL").select("note").collect()), key=lambda one: one["part"])
        for note in notes:
            if note["refused"] is not None:
                raise understood(note["refused"])
        counts = {note["part"]: note["rows"] for note in notes}
        facts = summed([note["counted"] for note in notes])
        accounting: dict[str, int] = {name: replayed.facts.dispositions.get(name, 0) + facts["accounting"].get(name, 0)
                                      for name in DISPOSITIONS}
        check_accounting(accounting, replayed.facts.events_read)
        rows = sum(counts.values())
        numbered = made.where("note IS NULL").drop("note").withColumn("row_no", sql.col("rank") + started(sql.col("part_"), counts))
        cohorts = add_up(pa.Table.from_pydict(note["cohorts"], COHORTS) for note in notes)
        overflow = min((note["overflow"] for note in notes if note["overflow"] is not None), default=None, key=lambda one: one[0])
        return _Chosen(numbered, rows, SelectionFacts(accounting, facts["coverage"], facts["splits"], facts["rows_beyond_asof"], cohorts),
                       None if overflow is None else understood(overflow[1]))

    def _check_spine(self, replayed: Replayed) -> None:
        """Raises SpineInvalid: a spine asks for an entity twice at one instant."""
        task = self._open
        if task.entity is None:
            return
        entity, _ = field_columns(task.closure)[task.subject, task.entity]
        place = task.closure.place(task.subject)
        spine = replayed.frame.where(sql.col("src") == place)
        asked = self._frames.grouped(spine, replayed.n, entity, "ts").agg(sql.count("*").alias("times"))
        again, first = asked.where("times > 1").agg(sql.sum(sql.col("times") - 1), sql.min("ts")).collect()[0]
        if again:
            raise asked_again(task, again, first)

    def _strays(self, replayed: Replayed, by: str) -> DataFrame:
        """The events of an entity that belongs to an earlier split, by `pos`: an entity's first candidate says where it belongs."""
        task, frames = self._open, self._frames
        names = {by, *(() if task.where is None else task.where.names())}
        fields = {key: column for key, column in field_columns(task.closure).items() if key[0] == task.subject and key[1] in names}
        entity, kind = fields[task.subject, by]
        how = Standing(task, fields, (entity, kind_of(kind)), replayed.facts.id_type)
        standing = frames.mapped(replayed.frame.select("pos", "ts", "src", *(column for column, _ in fields.values())), "choosing.stand",
                                 how, standing_shape(how))
        home = sql.first("split").over(Window.partitionBy(entity).orderBy("pos"))
        placed = standing.repartition(frames.parts(replayed.n), entity).withColumn("home", home)
        return placed.where(sql.col("split") != sql.col("home")).select("pos", sql.lit(True).alias("stray"))  # noqa: FBT003 - a column of it

    def _lacking(self, replayed: Replayed, labelled: Labelled) -> DataFrame:
        """The subject's events that lack a context which every row must have, by `pos`: each context counts what it is the latest of."""
        task = self._open
        asked = replayed.frame.withColumn("row_no", sql.when(sql.col("src") == task.closure.place(task.subject), sql.col("pos")))
        every, having = field_columns(task.closure), asked.where("row_no IS NOT NULL").select("pos")
        subjects = having
        for group in task.closure.demanded():
            how = self._windowing(group.presence(), every, labelled, 0)
            counted = self._group(asked, how, replayed.n).where(sql.col(how.made[0][0]) > 0)
            having = having.join(counted.select(sql.col("row_no").alias("pos")), "pos", "left_semi")
        return subjects.join(having, "pos", "left_anti").select("pos", sql.lit(True).alias("lacks"))  # noqa: FBT003 - a column of it

    def _leaf_by_leaf(self, chosen: _Chosen, wanted: int) -> Iterator[Any]:
        """Rows of LEAF in their order. To fetch one is a job of its own: where there are several they are computed before, side by side."""
        leaves = self._finished(chosen, wanted)
        if wanted > LEAF_ROWS:
            leaves = self._frames.keep(leaves)
            leaves.select("leaf").collect()
        yield from leaves.toLocalIterator(prefetchPartitions=True)

    def _finished(self, chosen: _Chosen, wanted: int) -> DataFrame:
        """The rows as leaves, one of them in each part."""
        task, frames = self._task, self._frames
        replayed, labelled = need(self._replayed, "replay"), need(self._labelled, "labels")
        parts = frames.parts(chosen.rows)
        every = field_columns(task.closure)
        names = frozenset[str]().union(*(one.expression.names() for one in (*task.closure.row_features, *task.closure.derived)))
        names |= set() if task.veiled is None else {task.veiled.name}
        fields = {key: column for key, column in every.items() if key[0] == task.subject and key[1] in names}
        labels = [column for name in task.labels.types for column, _ in carried(labelled.number(name), stepped=False)]
        rows = chosen.frame.where(sql.col("row_no") < wanted).select(
            "row_no", "num", "id", "ts", "src", *(name for name, _ in CHOSEN if name not in ("rank", "part_")),
            *(column for column, _ in fields.values()), *labels).repartition(parts, "row_no")
        made: list[tuple[str, str, ColumnType]] = []
        hidden = []
        for place, group in enumerate(task.closure.groups):
            how = self._windowing(group, every, labelled, len(made))
            computed = self._group(chosen.frame, how, wanted).repartition(parts, "row_no").withColumnRenamed("hidden", f"hidden{place}")
            rows = rows.join(computed, "row_no", "left")
            made += [(feature.column, column, feature.type) for feature, (column, _) in zip(group.features, how.made, strict=True)]
            hidden += [f"hidden{place}"] if task.visibility == "arrival" else []
        leaves = -(-wanted // LEAF_ROWS)
        by_leaf = rows.withColumn("leaf_", (sql.col("row_no") / sql.lit(LEAF_ROWS)).cast("int")).repartitionById(leaves, "leaf_")
        assembling = Assembling(task, labelled.types, replayed.facts.id_type, fields, tuple(made), tuple(hidden))
        return frames.mapped(by_leaf.drop("leaf_").sortWithinPartitions("row_no"), "assembling.assemble", assembling, LEAF)

    def _windowing(self, group: Group, every: dict[Key, tuple[str, ColumnType]], labelled: Labelled, first: int) -> Windowing:
        read = group.reads()
        fields = {key: column for key, column in every.items() if key[0] == group.source and key[1] in read}
        made = tuple((f"c{first + number}", kind_of(feature.type)) for number, feature in enumerate(group.features))
        source = self._task.closure.place(group.source)
        return Windowing(self._open, group, source, tuple(f"k{number}" for number in range(len(group.key))), fields, labelled.types, made,
                         self._frames.sizes.slab_rows)

    def _group(self, events: DataFrame, how: Windowing, wanted: int) -> DataFrame:
        """One group's columns of the rows that have a key."""
        group, task, every = how.group, self._task, field_columns(self._task.closure)
        own, number = sql.col("src") == how.place, sql.when(sql.col("row_no") < wanted, sql.col("row_no"))
        keys = [sql.col(every[group.source, name][0]) if group.source == task.subject
                else sql.when(own, sql.col(every[group.source, name][0])).otherwise(sql.col(every[task.subject, name][0]))
                for name in group.key]
        stepped = sorted({feature.aggregation.label_type for feature in group.features if feature.aggregation.label_type is not None})
        labels = [column for name in stepped for column in (
            f"l{how.types.index(name)}_status", f"l{how.types.index(name)}_value",
            *(column for column, _ in carried(how.types.index(name), stepped=True)))]
        held = events.where(own | (sql.col("row_no") < wanted)).select(
            "pos", "ts", "src", *(name for name, _ in self._arrival()), number.alias("row_no"),
            *(key.alias(name) for key, name in zip(keys, how.keys, strict=True)), *(column for column, _ in how.fields.values()), *labels)
        if group.null_key == "skip":
            held = held.dropna("any", subset=list(how.keys))
        parts = self._frames.parts(need(self._replayed, "replay").n)
        return self._frames.mapped(held.repartition(parts, *how.keys).sortWithinPartitions(*how.keys, "pos"), "windows.compute", how,
                                   made_shape(how))

    def _arrival(self) -> Shape:
        return (("arr", "long"), ("arrived", "long")) if self._task.visibility == "arrival" else ()
