"""The benchmark features by pandas: `groupby(key).rolling(window)`, with the target joined.

    python benchmarks/peers/pandas_windows.py TRANSACTIONS.parquet CHARGEBACKS.parquet OUT.parquet

Windows are open at both ends, as in `window_sql.py`. Sums are of float64 cents, which pandas adds and subtracts.
"""

from __future__ import annotations

import sys

import pandas as pd

WINDOWS = ("1D", "7D", "30D")
AS_OF = pd.Timestamp("2026-09-01", tz="UTC")


def main(transactions: str, chargebacks: str, out: str) -> None:
    """Compute and write."""
    events = pd.read_parquet(transactions).sort_values(["tx_time", "tx_id"], ignore_index=True)
    events["cents"] = (events["amount"] * 100).astype("float64")
    made = events[["tx_id", "tx_time"]].copy()
    for key in ("customer", "terminal"):
        by_key = events.set_index("tx_time", drop=False).groupby(f"{key}_id", sort=False)["cents"]
        order = events.groupby(f"{key}_id", sort=False).indices  # the rows as `rolling` gives them: key after key
        place = [row for rows in order.values() for row in rows]
        for window in WINDOWS:
            rolling = by_key.rolling(window, closed="neither", min_periods=0)
            for name, values in (("n", rolling.count()), ("total", rolling.sum()), ("largest", rolling.max())):
                made[f"{key}__{name}_{window.lower()}"] = pd.Series(values.to_numpy(), index=place)
    labels = pd.read_parquet(chargebacks)
    known = labels[labels["reported_at"] <= AS_OF].sort_values(["reported_at", "case_id"]).groupby("tx_id")["outcome"].last()
    made["target"] = (events["tx_id"].map(known) == "CHARGEBACK").astype("int8")
    made.to_parquet(out, compression="zstd", index=False)


if __name__ == "__main__":
    main(*sys.argv[1:4])
