"""The floor: what it costs to move the bytes. Sort the input by the total order; write the finished table with our own writer settings.

    python benchmarks/floor.py TRANSACTIONS.parquet FINISHED.arrow MANIFEST.json OUT_FOLDER

FINISHED.arrow is the finished table as an uncompressed, memory-mapped Arrow file, so that reading it costs next to nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import pyarrow as pa

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.parts import PartWriter
from offline_feature_plane.corridor.verify import columns_of


def main(transactions: str, finished: str, manifest: str, out: str) -> None:
    """Sort, then write."""
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    ordered = connection.sql("SELECT * FROM read_parquet(?) ORDER BY tx_time, tx_id", params=[transactions]).to_arrow_reader(1_000_000)
    rows = sum(batch.num_rows for batch in ordered)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with pa.memory_map(finished) as mapped:
        table = pa.ipc.open_file(mapped)
        writer = PartWriter(columns_of(DatasetManifest.model_validate_json(Path(manifest).read_bytes())), folder)
        for index in range(table.num_record_batches):
            writer.write(table.get_batch(index))
        writer.finish()
    print(f"{rows} rows sorted and written")


if __name__ == "__main__":
    main(*sys.argv[1:5])
