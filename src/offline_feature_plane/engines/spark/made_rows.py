"""Rows that a calendar makes, in Spark: the first event of each entity, then the periods that end after it (`docs/decisions/0036`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as sql

from offline_feature_plane.domain.calendars import Calendar
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.spark.tables import Frames
from offline_feature_plane.engines.spark.wire import field_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["made_rows"]


def made_rows(frames: Frames, rows: DataFrame, n: int, task: Task, calendar: Calendar, entity: str) -> DataFrame:
    """What a calendar makes of about `n` events in columns of theirs: at the end of each period a row about who had one."""
    fields = field_columns(task.closure)
    theirs, own = fields[calendar.source, entity][0], fields[task.subject, entity][0]
    there = rows.where((sql.col("src") == task.closure.place(calendar.source)) & sql.col(theirs).isNotNull())
    first = frames.grouped(there, n, theirs).agg(sql.min("ts").alias("first"))
    ends = sql.array(*(sql.struct(sql.lit(at_us).cast("long").alias("at"), sql.lit(day).alias("day"))
                       for at_us, day in calendar.ends().items()))
    asked = first.withColumn("asked", sql.explode(ends)).where(sql.col("first") <= sql.col("asked.at"))
    made = {"inp": sql.lit(-1), "part": sql.lit(0), "off": sql.lit(""), "num": sql.lit(0).cast("long"),
            "id": sql.concat_ws("@", sql.col(theirs).cast("string"), sql.col("asked.day")),
            "src": sql.lit(task.closure.place(task.subject)), "ts": sql.col("asked.at"), own: sql.col(theirs)}
    return asked.select(*(made.get(name, sql.lit(None)).cast(kind).alias(name) for name, kind in rows.dtypes))
