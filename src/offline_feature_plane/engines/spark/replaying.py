"""Replay: shares are read and typed, repeats left out, events numbered once in the total order (`decisions.md` D14, D15, D18)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as sql

from offline_feature_plane.domain.canonical import digest
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.spark.remote import understood
from offline_feature_plane.engines.spark.repeats import COMPARED, RAW
from offline_feature_plane.engines.spark.shares import OUT_OF_SCOPE, PLACE, Reading, events_shape, shares_of
from offline_feature_plane.engines.spark.streams import DIGESTED, Lines
from offline_feature_plane.engines.spark.tables import Frames
from offline_feature_plane.engines.spark.wire import field_columns
from offline_feature_plane.errors import FeatureProfileInvalid, ReplayEventIdConflict, ReplayEventsEmpty
from offline_feature_plane.ports import ReplayFacts
from offline_feature_plane.ports.inputs import EventInput, PlainTable, RecordLog

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

EVENTS_RECIPE = "ofs.events.v1"
_ORDER = [name for name, _ in PLACE]
_SHOWN = 5


@dataclass(frozen=True)
class Replayed:
    """All admitted events: a frame of `pos` (0 … n − 1 in the total order), `ts`, `src`, `num`, `id`, the fields, and, where arrival counts,
    `arr` and `arrived` (the place in the order of arrival); how many, their facts, and when each source's first event was.
    """

    frame: DataFrame
    n: int
    facts: ReplayFacts
    first_us: dict[int, int]


def replay(frames: Frames, inputs: Sequence[EventInput], task: Task) -> Replayed:
    """Read every input of a build. Raises as `engines.local.reading.read_events`."""
    ordered = sorted(inputs, key=lambda one: one.topic.encode())
    sources = [_source_of(item, task) if isinstance(item, PlainTable) else None for item in ordered]
    left_out: Counter[str] = Counter()
    for item, source in zip(ordered, sources, strict=True):
        if isinstance(item, PlainTable):
            if source is None:
                left_out["other_scope"] += item.rows
            else:
                item.check_columns(task.closure.sources[source])
    used = [(place, item, source) for place, (item, source) in enumerate(zip(ordered, sources, strict=True))
            if source is not None or not isinstance(item, PlainTable)]
    whole = all(isinstance(item, PlainTable) and item.id_column is not None and item.id_type.is_integer for _, item, _ in used)
    reading = Reading(replace(task, token_key=None), shares_of(used), whole)
    if not reading.shares:
        raise _empty(inputs)
    made = frames.keep(frames.mapped(frames.spark.range(0, len(reading.shares), 1, len(reading.shares)), "shares.read", reading,
                                     events_shape(task)))
    _read_notes(made, left_out)
    rows = made.where("note IS NULL").drop("note")
    logs = [(place, item) for place, item, _ in used if not isinstance(item, PlainTable)]
    kept = _without_repeated_records(frames, rows, [item.topic for item in ordered], left_out) if logs else rows
    records = {place: _records_digests(frames, kept, place, item, task) for place, item in logs}
    by_source = {row[0]: (row[1], row[2], row[3]) for row in kept.groupBy("src").agg(sql.count("*"), sql.min("ts"), sql.max("ts")).collect()}
    left_out["other_scope"] += by_source.pop(OUT_OF_SCOPE, (0, 0, 0))[0]
    if not by_source:
        raise _empty(inputs)
    kept = kept.where(sql.col("src") >= 0)
    tables = [(place, item) for place, item, _ in used if isinstance(item, PlainTable) and item.id_column is not None]
    repeats = _repeated_rows(frames, kept, reading, tables) if tables else None
    n = sum(count for count, _, _ in by_source.values())
    if repeats is not None:
        kept = kept.join(repeats, ["inp", "row"], "left_anti")
        left_out["duplicate"] += (gone := repeats.count())
        n -= gone
    events = _numbered(frames, kept, n, task)
    frames.release(made)
    facts = ReplayFacts(
        events_read=n + left_out.total(), events_admitted=n,
        dispositions={reason: count for reason, count in left_out.items() if count},
        events_digest=_events_digest(inputs, ordered, records, task),
        first_ts_us=min(first for _, first, _ in by_source.values()), last_ts_us=max(last for _, _, last in by_source.values()),
        id_type=ColumnType("int64" if whole else "string"))
    return Replayed(events, n, facts, {source: first for source, (_, first, _) in by_source.items()})


def _source_of(table: PlainTable, task: Task) -> int | None:
    found = [index for index, source in enumerate(task.closure.sources) if table.topic in source.event_types]
    if len(found) > 1:
        names = ", ".join(task.closure.sources[index].name for index in found)
        raise FeatureProfileInvalid(f"the event type {table.topic} belongs to several sources: {names}.", path="sources",
                                    fix="Let each event type belong to one source.")
    return found[0] if found else None


def _empty(inputs: Sequence[EventInput]) -> ReplayEventsEmpty:
    return ReplayEventsEmpty(f"{', '.join(item.topic for item in inputs) or 'the basis'} holds no event of the profile's sources.",
                             fix="Check `event_types` in the profile and the replay basis.")


def _read_notes(made: DataFrame, left_out: Counter[str]) -> None:
    """Add up what the shares left out; raise what the first of them refused."""
    notes = sorted((json.loads(row[0]) for row in made.where("note IS NOT NULL").select("note").collect()), key=lambda note: note["share"])
    for note in notes:
        if note["refused"] is not None:
            raise understood(note["refused"])
        left_out.update(note["left_out"])


def _without_repeated_records(frames: Frames, rows: DataFrame, topics: Sequence[str], left_out: Counter[str]) -> DataFrame:
    """Records whose id stands at several coordinates: the first one is the event. Raises ReplayEventIdConflict: they differ."""
    place = sql.struct("inp", "part", "off")
    ids = frames.keep(rows.where("kind IS NOT NULL").groupBy("kind", "id").agg(
        sql.count("*").alias("times"), sql.min(place).alias("first"), sql.countDistinct("said").alias("contents")).where("times > 1"))
    times = ids.agg(sql.sum(sql.col("times") - 1), sql.max("contents")).collect()[0]
    if not times[0]:
        frames.release(ids)
        return rows
    if times[1] > 1:
        kind, name = ids.where("contents > 1").orderBy("first").select("kind", "id").first()
        held = rows.where((sql.col("kind") == kind) & (sql.col("id") == name)).orderBy("inp", "part", "off").select(
            "inp", "part", "off", "said").collect()
        first, other = held[0], next(row for row in held if row[3] != held[0][3])
        named = [f"{topics[row[0]]}/{row[1]}@{row[2][3:]}" for row in (first, other)]
        raise ReplayEventIdConflict(f"{kind} {name} has one content at {named[0]} and another at {named[1]}.", path=named[1],
                                    fix="Find out which of the two is true; a producer must not reuse an event id.")
    left_out["duplicate"] += times[0]
    again = rows.where("kind IS NOT NULL").join(ids.select("kind", "id", "first"), ["kind", "id"]).where(place > sql.col("first")).select(
        "inp", "part", "off")
    return rows.join(again, ["inp", "part", "off"], "left_anti")


def _records_digests(frames: Frames, rows: DataFrame, place: int, log: RecordLog, task: Task) -> dict[int, str]:
    """Per source the SHA-256 over the lines of a log's events in the order of coordinates: one sequence, so one task streams it."""
    begins = {one.partition: f"{one.log_id}\t{one.partition}\t{one.offset_kind}" for one in log.lanes}
    found = {}
    for source in range(len(task.closure.sources)):
        mine = rows.where((sql.col("inp") == place) & (sql.col("src") == source)).select("part", "off", "said")
        told = frames.mapped(mine.repartition(1).sortWithinPartitions("part", "off"), "streams.hash_lines", Lines(begins), DIGESTED).collect()
        found[source] = told[0][0] if told else Lines(begins).of_nothing
    return found


def _events_digest(inputs: Sequence[EventInput], ordered: Sequence[EventInput], records: dict[int, dict[int, str]], task: Task) -> str:
    tables = [{"topic": item.topic, "log_id": item.log_id} for item in inputs if isinstance(item, PlainTable)]
    by_name = sorted(range(len(task.closure.sources)), key=lambda one: task.closure.sources[one].name)
    said = [{"topic": ordered[place].topic, "source": source, "records": records[place][source]}
            for place in sorted(records) for source in by_name]
    return digest(EVENTS_RECIPE, sorted(tables, key=lambda entry: entry["topic"].encode()) + said)


def _repeated_rows(frames: Frames, rows: DataFrame, reading: Reading, tables: Sequence[tuple[int, PlainTable]]) -> DataFrame | None:
    """The rows (`inp`, `row`) of plain tables that say again what an earlier row of their id says; None if there are none.

    Raises:
        ReplayEventIdConflict: one id with two contents.
    """
    named = rows.where(sql.col("inp").isin([place for place, _ in tables]))
    ids = frames.keep(named.groupBy("inp", "num", "id").agg(sql.count("*").alias("times")).where("times > 1"))
    count = ids.agg(sql.sum("times")).collect()[0][0] or 0
    if not count:
        frames.release(ids)
        return None
    suspects = named.join(ids.drop("times"), ["inp", "num", "id"]).select("inp", "num", "id", "row", "share")
    parts = frames.parts(count)
    raw = frames.mapped(suspects.repartition(parts, "share").sortWithinPartitions("share", "row"), "repeats.fetch", reading, RAW)
    by_id = raw.repartition(parts, "inp", "num", "id").sortWithinPartitions("inp", "num", "id", "row")
    compared = frames.keep(frames.mapped(by_id, "repeats.compare", None, COMPARED))
    unlike = compared.where("differs >= 0").groupBy("inp").agg(sql.min("differs")).orderBy("inp").collect()
    if unlike:
        raise _conflict(compared, unlike[0], dict(tables)[unlike[0][0]])
    return compared.select("inp", "row")


def _conflict(compared: DataFrame, unlike: Any, table: PlainTable) -> ReplayEventIdConflict:
    place, column = unlike
    ids = compared.where((sql.col("inp") == place) & (sql.col("differs") == column)).groupBy("num", "id").agg(sql.min("row").alias("row"))
    count = ids.count()
    texts = [str(row[0]) if table.id_type.is_integer else row[1] for row in ids.orderBy("row").limit(_SHOWN).select("num", "id").collect()]
    name = table.columns[column][0]
    return ReplayEventIdConflict(
        f"{table.topic}: {count} event id{'s carry' if count > 1 else ' carries'} rows that differ in {name}: {', '.join(texts)}"
        f"{' …' if count > _SHOWN else ''}.", path=name, count=count, ids=texts,
        fix=f"Keep one row per {table.id_column}, or map a column that is unique.")


def _numbered(frames: Frames, rows: DataFrame, n: int, task: Task) -> DataFrame:
    """The events in the total order, numbered; and, where arrival counts, in the order of arrival too."""
    fields = [column for column, _ in field_columns(task.closure).values()]
    columns = ["ts", "src", "num", "id", *fields]
    if task.visibility == "arrival":
        arrived = frames.numbered(rows.select("arr", "inp", "part", "off", *columns), "arrived", n, ["arr", *_ORDER])
        return frames.numbered(arrived.select("arr", "arrived", *columns), "pos", n, ["ts", "arrived"])
    return frames.numbered(rows.select("inp", "part", "off", *columns), "pos", n, ["ts", *_ORDER]).select("pos", *columns)
