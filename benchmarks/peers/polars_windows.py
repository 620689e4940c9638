"""The benchmark features by Polars: `rolling_*_by … over key`, with the target joined.

    python benchmarks/peers/polars_windows.py TRANSACTIONS.parquet CHARGEBACKS.parquet OUT.parquet

Windows are open at both ends, as in `window_sql.py`: events of one instant are not told apart. Sums are of cents: Polars has no sum of
decimals that rolls.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import polars as pl

WINDOWS = ("1d", "7d", "30d")
AS_OF = datetime(2026, 9, 1, tzinfo=UTC)


def features() -> list[pl.Expr]:
    """Counts, sums and maxima per key and window; nothing is a sum of 0."""
    found = []
    for key in ("customer", "terminal"):
        for window in WINDOWS:
            rolled: dict[str, Any] = {"window_size": window, "closed": "none"}
            count, total = (pl.col(name).rolling_sum_by("tx_time", **rolled).over(f"{key}_id").fill_null(0) for name in ("one", "cents"))
            largest = pl.col("cents").rolling_max_by("tx_time", **rolled).over(f"{key}_id")
            found += [count.alias(f"{key}__n_{window}"), total.alias(f"{key}__total_{window}"), largest.alias(f"{key}__largest_{window}")]
    return found


def main(transactions: str, chargebacks: str, out: str) -> None:
    """Compute and write."""
    known = (pl.scan_parquet(chargebacks).filter(pl.col("reported_at") <= AS_OF).sort("reported_at", "case_id")
             .group_by("tx_id").agg(pl.col("outcome").last()))
    cents = (pl.col("amount") * 100).cast(pl.Int64)
    events = pl.scan_parquet(transactions).sort("tx_time", "tx_id").with_columns(pl.lit(1, pl.Int64).alias("one"), cents.alias("cents"))
    target = (pl.col("outcome") == "CHARGEBACK").fill_null(value=False).cast(pl.Int8).alias("target")
    made = events.with_columns(features()).join(known, on="tx_id", how="left").sort("tx_time", "tx_id")
    columns = [name.meta.output_name() for name in features()]
    made.select("tx_id", "tx_time", *columns, target).sink_parquet(out, compression="zstd", compression_level=1)


if __name__ == "__main__":
    main(*sys.argv[1:4])
