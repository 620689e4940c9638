"""The benchmark features by PySpark window functions on `local[2]`, with the target joined.

    python benchmarks/peers/spark_windows.py TRANSACTIONS.parquet CHARGEBACKS.parquet OUT.parquet

Windows are open at both ends, as in `window_sql.py`.
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it

WINDOWS = {"1d": 1, "7d": 7, "30d": 30}
DAY_US = 86_400_000_000


def main(transactions: str, chargebacks: str, out: str) -> None:
    """Compute and write."""
    spark = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.memory", "12g")
             .config("spark.sql.session.timeZone", "UTC").config("spark.sql.shuffle.partitions", "8")
             .config("spark.driver.bindAddress", "127.0.0.1").config("spark.sql.parquet.compression.codec", "zstd").getOrCreate())
    events = spark.read.parquet(transactions).withColumn("at", F.unix_micros("tx_time"))
    features = []
    for key in ("customer", "terminal"):
        for name, days in WINDOWS.items():
            window = Window.partitionBy(f"{key}_id").orderBy("at").rangeBetween(-days * DAY_US + 1, -1)
            features += [F.count(F.lit(1)).over(window).alias(f"{key}__n_{name}"),
                         F.coalesce(F.sum("amount").over(window), F.lit(0)).alias(f"{key}__total_{name}"),
                         F.max("amount").over(window).alias(f"{key}__largest_{name}")]
    known = (spark.read.parquet(chargebacks).where("reported_at <= timestamp'2026-09-01 00:00:00'").groupBy("tx_id")
             .agg(F.max_by("outcome", F.struct("reported_at", "case_id")).alias("outcome")))
    made = events.select("tx_id", "tx_time", *features).join(known, "tx_id", "left")
    target = F.coalesce(F.col("outcome") == "CHARGEBACK", F.lit(False)).cast("tinyint").alias("target")  # noqa: FBT003 - the value
    columns = [name for name in made.columns if name != "outcome"]
    made.select(*columns, target).orderBy("tx_time", "tx_id").write.mode("overwrite").parquet(out)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:4])
