"""How fast a label store on PostgreSQL is loaded and read: N assertions of one type, every tenth superseding another.

    python benchmarks/stored_labels.py [--assertions 1000000] [--repeats 3] [--store postgresql://…]

Without an address it starts the server of the tests. Prints rows per second of wall time and of this process's CPU time (the server's is
its own), and the peak of memory. `read` is what a build does: one snapshot as of a cut, into a digested Parquet file. `by rows` is the
other way that was tried: a server-side cursor in binary, from the driver's values into Arrow.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.filesets import pin_files
from offline_feature_plane.labelstores.incoming import find_incoming
from offline_feature_plane.labelstores.postgres.loading import load
from offline_feature_plane.labelstores.postgres.reading import measure, write_file
from offline_feature_plane.labelstores.postgres.schema import whole_script
from offline_feature_plane.postgres.address import Address, address_from

CUT = "2030-01-01"
START_US = 1_767_225_600_000_000
PIECE = 50_000


def write_assertions(path: Path, count: int) -> None:
    """The file to load."""
    with pq.ParquetWriter(path, _assertions(0, 1).schema) as writer:
        for start in range(0, count, 500_000):
            writer.write_table(_assertions(start, min(count, start + 500_000)))


def _assertions(start: int, stop: int) -> pa.Table:
    numbers = np.arange(start, stop)
    names = pc.binary_join_element_wise("cb-", pa.array(numbers).cast(pa.string()), "")
    before = pc.binary_join_element_wise("cb-", pa.array(np.maximum(numbers - 1, 0)).cast(pa.string()), "")
    supersedes = numbers % 10 == 9
    return pa.table({
        "label_assertion_id": names, "label_type": pa.array(np.full(len(numbers), "chargeback")),
        "event_id": pa.array((numbers - supersedes) * 3), "label_value": pa.array(np.where(supersedes, "LEGIT", "CHARGEBACK")),
        "observed_time": pa.array(START_US + numbers * 1_234_567, pa.timestamp("us", "UTC")),
        "effective_time": pa.array(START_US + numbers * 1_000_000, pa.timestamp("us", "UTC")),
        "source_type": pa.array(np.full(len(numbers), "EXTERNAL")),
        "supersedes": pc.if_else(pa.array(supersedes), before, pa.scalar(None, pa.string()))})


def read(address: Address, folder: Path) -> int:
    """As a build reads."""
    cut = parse_instant(CUT)
    write_file(address, "chargeback", cut, measure(address, ["chargeback"], cut)["chargeback"], folder / "read.parquet")
    return pin_files(folder / "read.parquet").rows


def read_by_rows(address: Address) -> int:
    """By the driver's values."""
    rows = 0
    with psycopg.connect(address.conninfo) as connection, psycopg.ServerCursor(connection, "read") as cursor:
        connection.execute(f"SET search_path TO {address.schema}")
        cursor.itersize = PIECE
        cursor.execute("""SELECT event_id, label_value, observed_time, effective_time, source_type, label_assertion_id, supersedes
                          FROM label_assertions WHERE label_type = 'chargeback' AND observed_time <= '2030-01-01Z'""", binary=True)
        while values := cursor.fetchmany(PIECE):
            rows += len(pa.table(list(map(list, zip(*values, strict=True))), names=[column.name for column in cursor.description or ()]))
    return rows


@contextmanager
def a_store(given: str | None) -> Iterator[Address]:
    """The store of an address, or one on a new server."""
    if given is not None:
        yield address_from(given)
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from postgres_server import OWNER, Server  # noqa: PLC0415 - only where the tests are

    server = Server()
    try:
        server.sql(whole_script("ofs_labels"), user=OWNER)
        yield address_from(server.url("ofs_labels"))
    finally:
        server.close()


def timed(what: str, repeats: int, work: Callable[[], Any], count: int) -> None:
    """Do it some times, and print the quickest."""
    runs = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = min(runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:12} {count:>10,} assertions {wall:>8.2f} s {count / wall:>9,.0f}/s {count / cpu:>9,.0f}/s of CPU {peak:>6,.0f} MiB peak")


def main() -> None:
    """Load, read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assertions", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--store", help="the address of a label store that this may fill")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder, a_store(asked.store) as address:
        path = Path(folder) / "in.parquet"
        write_assertions(path, asked.assertions)
        timed("load", 1, lambda: load(find_incoming([path]), address, lambda *_: None), asked.assertions)
        timed("load again", 1, lambda: load(find_incoming([path]), address, lambda *_: None), asked.assertions)
        timed("read", asked.repeats, lambda: read(address, Path(folder)), asked.assertions)
        timed("by rows", asked.repeats, lambda: read_by_rows(address), asked.assertions)


if __name__ == "__main__":
    main()
