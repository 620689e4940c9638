"""`domain.assertion_ids` over frames: assertions are grouped by id, those of all types by one job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as sql

from offline_feature_plane.domain.assertion_ids import shared_id
from offline_feature_plane.engines.spark.tables import Frames, collected
from offline_feature_plane.ports.inputs import LabelTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def refuse_shared_ids(frames: Frames, pairs: Sequence[DataFrame], timelines: Sequence[LabelTable], asof_us: int) -> None:
    """Hold the assertions of each type that count at the as-of, paired with what they are about, against the law.

    Raises:
        LabelTimelineInconsistent: two of one type about different subjects share an id.
    """
    named = [(number, _named(frame, asof_us), sum(file.rows for file in table.files))
             for number, (frame, table) in enumerate(zip(pairs, timelines, strict=True)) if table.id_column is not None]
    told = collected([frames.grouped(frame, rows, "aid").agg(sql.min("said").alias("first"), sql.countDistinct("said.subject").alias("n"))
                      .where("n > 1").select(sql.lit(number), "first.arow").limit(1) for number, frame, rows in named])
    for number in sorted(row[0] for row in told):
        frame, rows, table = next((frame, rows, timelines[place]) for place, frame, rows in named if place == number)
        firsts = frames.grouped(frame, rows, "aid").agg(sql.min("said").alias("first"))
        met = frame.join(firsts, "aid").where("said.subject <> first.subject").select("said", "first", "aid")
        said, first, name = met.orderBy("said.arow").first()
        about = [int(one.subject) if "num" in pairs[number].columns else str(one.subject) for one in (first, said)]
        raise shared_id(table.label_type, name, about, [table.place(one.arow) for one in (first, said)],
                        entity_field=table.entity_field)


def _named(frame: DataFrame, asof_us: int) -> DataFrame:
    subject = sql.col("num" if "num" in frame.columns else "id").cast("string").alias("subject")
    return frame.where((sql.col("entry") <= asof_us) & sql.col("aid").isNotNull()).select("aid", sql.struct("arow", subject).alias("said"))
