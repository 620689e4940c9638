"""Replay: shares are read and typed, repeats left out, events numbered once in the total order (`decisions.md` D14, D15, D18)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as sql

from offline_feature_plane.domain.admission import nothing_admitted
from offline_feature_plane.domain.canonical import digest
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.ends import Ends
from offline_feature_plane.domain.findings import Finding
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.spark.made_rows import made_rows
from offline_feature_plane.engines.spark.remote import understood
from offline_feature_plane.engines.spark.repeats import COMPARED, RAW
from offline_feature_plane.engines.spark.shares import OUT_OF_SCOPE, PLACE, Reading, events_shape, shares_of
from offline_feature_plane.engines.spark.streams import DIGESTED, Lines, Repeating
from offline_feature_plane.engines.spark.tables import Frames, collected
from offline_feature_plane.engines.spark.wire import NOTE, field_columns
from offline_feature_plane.errors import FeatureProfileInvalid, ReplayEventIdConflict
from offline_feature_plane.ports import ReplayFacts
from offline_feature_plane.ports.inputs import EventInput, PlainTable, ReadReport, RecordLog, Told

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

EVENTS_RECIPE = "ofs.events.v1"
_ORDER = [name for name, _ in PLACE]
_SHOWN = 5


@dataclass(frozen=True)
class Replayed:
    """All `n` admitted events, their facts, and when the first one of each source was.

    `frame` holds `pos` (0 … n − 1 in the total order), `ts`, `src`, `num`, `id`, the fields, and, where arrival counts, `arr` and
    `arrived`, the place in the order of arrival.
    """

    frame: DataFrame
    n: int
    facts: ReplayFacts
    first_us: dict[int, int]


def replay(frames: Frames, inputs: Sequence[EventInput], task: Task) -> Replayed:
    """Read every input of a build. Raises as `engines.local.reading.read_events`."""
    ordered = sorted(inputs, key=lambda one: one.topic.encode())
    report = Told()
    left_out = report.left_out
    used = [(place, item, source) for place, item in enumerate(ordered) if (source := _source_of(item, task, left_out)) is not None]
    tables = {place: item for place, item, _ in used if isinstance(item, PlainTable)}
    logs = {place: item for place, item, _ in used if not isinstance(item, PlainTable)}
    whole = not logs and task.calendar is None and all(
        table.id_column is not None and table.id_type.is_integer for table in tables.values())
    reading = Reading(task, shares_of(used), whole)
    if not reading.shares:
        raise nothing_admitted([item.topic for item in inputs], left_out)
    shares = frames.spark.range(0, len(reading.shares), 1, len(reading.shares))
    made = frames.keep(frames.mapped(shares, "shares.read", reading, events_shape(task)))
    read = _read_notes(made, report)
    frames.expect(read)
    rows = made.where("note IS NULL").drop("note")
    if logs:
        rows = _without_repeated_records(frames, rows, read, [item.topic for item in ordered], logs, report)
    records = _records_digests(frames, rows, logs, task)
    told = {source: facts for source, *facts in rows.groupBy("src").agg(sql.count("*"), sql.min("ts"), sql.max("ts")).collect()}
    left_out["other_scope"] += told.pop(OUT_OF_SCOPE, [0])[0]
    if not told:
        raise nothing_admitted([item.topic for item in inputs], left_out)
    n = sum(count for count, _, _ in told.values())
    rows = rows.where(sql.col("src") >= 0)
    named = {place: table for place, table in tables.items() if table.id_column is not None}
    if named and (repeats := _repeated_rows(frames, rows, n, reading, named)) is not None:
        rows = frames.without(rows, repeats, n, "inp", "row")
        left_out["duplicate"] += (gone := repeats.count())
        n -= gone
    if task.calendar is not None and task.entity is not None:
        asked = frames.keep(made_rows(frames, rows, n, task, task.calendar, task.entity))
        count, first, last = asked.agg(sql.count("*"), sql.min("ts"), sql.max("ts")).collect()[0]
        if count:
            told[task.closure.place(task.subject)] = [count, first, last]
            rows, n = rows.unionByName(asked), n + count
    events = _numbered(frames, rows, n, task)
    frames.release(made)
    facts = ReplayFacts(
        events_read=n + left_out.total(), events_admitted=n,
        dispositions=report.dispositions,
        events_digest=_events_digest(inputs, ordered, records, task),
        first_ts_us=min(first for _, first, _ in told.values()), last_ts_us=max(last for _, _, last in told.values()),
        id_type=ColumnType("int64" if whole else "string"), findings=report.findings, compared=report.compared,
        scenarios=report.of_scenarios(task.scenario_run_ids), ends=report.ends)
    return Replayed(events, n, facts, {source: first for source, (_, first, _) in told.items()})


def _source_of(item: EventInput, task: Task, left_out: Counter[str]) -> int | None:
    """The source of a table's events, 0 for a log, whose records say it themselves; None: there is none, so its rows are out of scope."""
    if not isinstance(item, PlainTable):
        return 0
    found = [index for index, source in enumerate(task.closure.sources) if item.topic in source.event_types]
    if len(found) > 1:
        names = ", ".join(task.closure.sources[index].name for index in found)
        raise FeatureProfileInvalid(f"the event type {item.topic} belongs to several sources: {names}.", path="sources",
                                    fix="Let each event type belong to one source.")
    if not found:
        left_out["other_scope"] += item.rows
        return None
    item.check_columns(task.closure.sources[found[0]])
    return found[0]


def _read_notes(made: DataFrame, report: Told) -> int:
    """Add up what the shares told, and return how many rows they gave; raise what the first of them refused."""
    notes = sorted((json.loads(row[0]) for row in made.where("note IS NOT NULL").select("note").collect()), key=lambda note: note["share"])
    for note in notes:
        if note["refused"] is not None:
            raise understood(note["refused"])
        report.add(ReadReport(note["left_out"], tuple(map(Finding.from_document, note["findings"])), note["compared"],
                              note["scenarios"], tuple(map(Ends.from_document, note["ends"]))))
    return sum(note["rows"] for note in notes)


def _without_repeated_records(frames: Frames, rows: DataFrame, n: int, topics: Sequence[str], logs: Mapping[int, RecordLog],
                              report: Told) -> DataFrame:
    """Records whose id stands at several coordinates: the first one is the event. Raises ReplayEventIdConflict: they differ."""
    place = sql.struct("inp", "part", "off")
    records = rows.where("kind IS NOT NULL")
    counted = frames.grouped(records, n, "kind", "id").agg(
        sql.count("*").alias("times"), sql.min(place).alias("first"), (sql.min("said") != sql.max("said")).alias("differ"))
    ids = frames.keep(counted.where("times > 1"))
    differing = sql.when(sql.col("differ"), sql.struct("first", "kind", "id"))
    again, worst = ids.agg(sql.sum(sql.col("times") - 1), sql.min(differing)).collect()[0]
    if worst is not None:
        raise _records_conflict(records.where((sql.col("kind") == worst["kind"]) & (sql.col("id") == worst["id"])), topics)
    if not again:
        frames.release(ids)
        return rows
    later = records.join(ids.select("kind", "id", "first"), ["kind", "id"]).where(place > sql.col("first")).select("inp", "part", "off")
    told = []
    for at, log in logs.items():
        lanes = {one.partition: (log.topic, one.partition, one.offset_kind, one.log_id) for one in log.lanes}
        ordered = later.where(sql.col("inp") == at).select("part", "off").repartition(1).sortWithinPartitions("part", "off")
        told.append(frames.mapped(ordered, "streams.note_repeats", Repeating(lanes), NOTE))
    found = tuple(Finding.from_document(one) for row in collected(told) for one in json.loads(row[0]))
    report.add(ReadReport({"duplicate": again}, found))
    return frames.keep(frames.without(rows, later, n, "inp", "part", "off"))


def _records_conflict(held: DataFrame, topics: Sequence[str]) -> ReplayEventIdConflict:
    """The error about the records of one id."""
    by_place = held.orderBy("inp", "part", "off")
    first = by_place.first()
    other = by_place.where(sql.col("said") != first["said"]).first()
    named = [f"{topics[row['inp']]}/{row['part']}@{row['off'][3:]}" for row in (first, other)]
    return ReplayEventIdConflict(f"{first['kind']} {first['id']} has one content at {named[0]} and another at {named[1]}.", path=named[1],
                                 fix="Find out which of the two is true; a producer must not reuse an event id.")


def _records_digests(frames: Frames, rows: DataFrame, logs: Mapping[int, RecordLog], task: Task) -> dict[int, dict[int, str]]:
    """Per log and source the SHA-256 over the lines of its events in the order of coordinates: one sequence, which one task streams."""
    told, found = [], dict[int, dict[int, str]]()
    for place, log in logs.items():
        lines = Lines({one.partition: f"{one.log_id}\t{one.partition}\t{one.offset_kind}" for one in log.lanes})
        found[place] = dict.fromkeys(range(len(task.closure.sources)), lines.of_nothing)
        for source in found[place]:
            mine = rows.where((sql.col("inp") == place) & (sql.col("src") == source)).select("part", "off", "said")
            ordered = mine.repartition(1).sortWithinPartitions("part", "off")
            told.append(frames.mapped(ordered, "streams.hash_lines", lines, DIGESTED).select(sql.lit(place), sql.lit(source), "digest"))
    for place, source, digested in collected(told):
        found[place][source] = digested
    return found


def _events_digest(inputs: Sequence[EventInput], ordered: Sequence[EventInput], records: dict[int, dict[int, str]], task: Task) -> str:
    tables = [{"topic": item.topic, "log_id": item.log_id} for item in inputs if isinstance(item, PlainTable)]
    by_name = sorted(range(len(task.closure.sources)), key=lambda one: task.closure.sources[one].name)
    said = [{"topic": ordered[place].topic, "source": source, "records": records[place][source]}
            for place in sorted(records) for source in by_name]
    return digest(EVENTS_RECIPE, sorted(tables, key=lambda entry: entry["topic"].encode()) + said)


def _repeated_rows(frames: Frames, rows: DataFrame, n: int, reading: Reading, tables: Mapping[int, PlainTable]) -> DataFrame | None:
    """The rows (`inp`, `row`) of plain tables that say again what an earlier row of their id says; None if there are none.

    Raises:
        ReplayEventIdConflict: one id with two contents.
    """
    named = rows.where(sql.col("inp").isin(list(tables)))
    ids = frames.keep(frames.grouped(named, n, "inp", "num", "id").agg(sql.count("*").alias("times")).where("times > 1"))
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
        raise _conflict(compared, unlike[0], tables[unlike[0][0]])
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
    standing = sql.when(sql.col("src") == task.closure.place(task.subject), task.standing(task.subject)).otherwise(0)
    placed = rows.select("inp", "part", "off", standing.alias("standing"), *columns)
    order = ["ts", *(["standing"] if task.entity is not None else []), *_ORDER]
    return frames.numbered(placed, "pos", n, order).select("pos", *columns)
