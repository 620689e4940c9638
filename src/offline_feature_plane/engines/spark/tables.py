"""Frames in the hands of the driver: what every step does with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as sql

from offline_feature_plane.engines.spark.remote import Place, mapped

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, GroupedData, SparkSession

    from offline_feature_plane.engines.spark.wire import Shape

_BITS = 33  # of `monotonically_increasing_id`: the row within its partition


@dataclass(frozen=True)
class Sizes:
    """How work is cut: events of one task, events that a task computes at once, assertions of one task. Results do not depend on it."""

    task_rows: int = 500_000
    slab_rows: int = 1 << 18
    batch_rows: int = 1 << 16


@dataclass
class Frames:
    """A Spark session with what a build keeps in it; `close` gives everything back."""

    spark: SparkSession
    sizes: Sizes
    place: Place
    _kept: list[DataFrame] = field(default_factory=list)

    def expect(self, rows: int) -> None:
        """Let shuffles that do not say in how many parts they are be as many as so many rows are worked on in."""
        self.spark.conf.set("spark.sql.shuffle.partitions", self.parts(rows))

    def mapped(self, frame: DataFrame, work: str, spec: Any, shape: Shape) -> DataFrame:
        """A frame through a function of this package, batch by batch."""
        return mapped(frame, work, spec, shape, self.place)

    def keep(self, frame: DataFrame) -> DataFrame:
        """Compute a frame once, when it is first asked for, and keep it until `release` or `close`."""
        frame.persist()
        self._kept.append(frame)
        return frame

    def release(self, *frames: DataFrame) -> None:
        """Forget frames that are no longer needed."""
        for frame in frames:
            frame.unpersist()
            self._kept = [one for one in self._kept if one is not frame]

    def close(self) -> None:
        """Forget all frames."""
        self.release(*self._kept)

    def without(self, frame: DataFrame, gone: DataFrame, rows: int, *keys: str) -> DataFrame:
        """The rows, about so many, whose keys are not among others."""
        parts = self.parts(rows)
        return frame.repartition(parts, *keys).join(gone.repartition(parts, *keys), list(keys), "left_anti")

    def parts(self, rows: int) -> int:
        """In how many parts so many rows are worked on."""
        return max(1, -(-rows // self.sizes.task_rows))

    def grouped(self, frame: DataFrame, rows: int, *keys: str) -> GroupedData:
        """The frame by some columns, of about so many rows; in as many parts as everything else, whatever the session's default is."""
        return frame.repartition(self.parts(rows), *keys).groupBy(*keys)

    def numbered(self, frame: DataFrame, name: str, rows: int, order: Sequence[str]) -> DataFrame:
        """The frame with the number of each row in an order that has no ties, from 0; kept. `rows`: about how many there are."""
        sorted_rows = frame.repartitionByRange(self.parts(rows), *order).sortWithinPartitions(*order)
        kept = self.keep(sorted_rows.withColumn("_at", sql.monotonically_increasing_id()))
        counted = kept.groupBy(sql.shiftright("_at", _BITS).cast("int").alias("part_")).count().collect()
        return kept.withColumn(name, started(sql.shiftright("_at", _BITS).cast("int"), {row[0]: row[1] for row in counted})
                               + sql.col("_at").bitwiseAND(sql.lit((1 << _BITS) - 1))).drop("_at")


def together(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of several frames of one shape."""
    return reduce(lambda one, other: one.union(other), frames)


def collected(frames: Sequence[DataFrame]) -> list[Any]:
    """The rows of several frames of one shape, by one job. They must be few."""
    return together(frames).collect() if frames else []


def started(part: Column, counts: dict[int, int]) -> Column:
    """How many rows the parts before a part hold, from the rows of each."""
    before, starts = 0, []
    for number in range(max(counts, default=-1) + 1):
        starts.append(before)
        before += counts.get(number, 0)
    return sql.array(*(sql.lit(one).cast("long") for one in starts or [0]))[part]
