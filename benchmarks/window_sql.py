"""The benchmark features as DuckDB RANGE window SQL, with the target joined: what people write by hand.

    python benchmarks/window_sql.py TRANSACTIONS.parquet CHARGEBACKS.parquet OUT.parquet

Events at the same instant are not told apart here (the frame ends before the row's instant), nothing is hashed, tokenised or verified.
"""

from __future__ import annotations

import sys

import duckdb

WINDOWS = {"1d": 1, "7d": 7, "30d": 30}


def query(transactions: str, chargebacks: str) -> str:
    """The whole dataset as one statement."""
    frames, columns = [], []
    for key in ("customer", "terminal"):
        for name, days in WINDOWS.items():
            frame = f"{key}_{name}"
            frames.append(f"{frame} AS (PARTITION BY {key}_id ORDER BY epoch_us(tx_time) "
                          f"RANGE BETWEEN {days * 86_400_000_000 - 1} PRECEDING AND 1 PRECEDING)")
            columns += [f"count(*) OVER {frame} AS {key}__n_{name}", f"coalesce(sum(amount) OVER {frame}, 0) AS {key}__total_{name}",
                        f"max(amount) OVER {frame} AS {key}__largest_{name}"]
    return f"""
        WITH known AS (
            SELECT tx_id, arg_max(outcome, (reported_at, case_id)) AS outcome FROM read_parquet('{chargebacks}')
            WHERE reported_at <= TIMESTAMPTZ '2026-09-01 00:00:00+00' GROUP BY tx_id)
        SELECT e.tx_id, e.tx_time, {', '.join(columns)}, coalesce(k.outcome = 'CHARGEBACK', false)::TINYINT AS target
        FROM read_parquet('{transactions}') e LEFT JOIN known k USING (tx_id)
        WINDOW {', '.join(frames)}
        ORDER BY e.tx_time, e.tx_id"""


def main(transactions: str, chargebacks: str, out: str) -> None:
    """Compute and write."""
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"COPY ({query(transactions, chargebacks)}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")


if __name__ == "__main__":
    main(*sys.argv[1:4])
