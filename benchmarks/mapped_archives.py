"""How fast archives of other tools are read: N simulated payments as a table's Parquet, and as a connector's JSON Lines.

    python benchmarks/mapped_archives.py [--records N] [--law] [--partitions 1] [--forms columns struct text raw connect flat]

Prints records per second of CPU time and of wall time for each form. Reading is everything from a file to typed batches of six fields:
pins, lifting, payload hashes, scope, typing. `--law` adds the way of the law, one record after the other. With `--partitions` the file
holds so many of them, each record in the next one.

    columns   Parquet, the payload's fields as columns        text      Parquet, the payload as JSON text
    struct    Parquet, the payload one struct                 connect   JSON Lines, the payload nested        flat   all on one level
    raw       Parquet, the envelope as bytes of JSON
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_feature_plane.domain.admission import Admission, Scope
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.foreign_records import Place, lifting_of
from offline_feature_plane.simulation import World, pieces
from offline_feature_plane.sources.archives.indexing import IndexWish, make_index
from offline_feature_plane.sources.archives.places import FolderPlace
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource

FIELDS = tuple(Field(name, ColumnType.parse(kind), (name,)) for name, kind in (
    ("customer_id", "string"), ("terminal_id", "string"), ("amount", "decimal(12,2)"), ("channel", "string"), ("cents", "int64"),
    ("online", "bool")))
PAYLOAD = tuple(one.name for one in FIELDS)
OF_THE_LOG = {"partition": Place(("partition",)), "offset": Place(("offset",)), "log_time_utc": Place(("timestamp",), unit="ms")}
FLAT = {**OF_THE_LOG, "event_id": Place(("tx_id",)), "ts_utc": Place(("at",))}
NESTED = {**OF_THE_LOG, "event_id": Place(("key",)), "ts_utc": Place(("at",)), "payload": Place(("value",))}
RAW = {**OF_THE_LOG, "event_id": Place(("value", "tx_id")), "ts_utc": Place(("value", "at")), "payload": Place(("value", "payload"))}
PLACES: Mapping[str, Mapping[str, Place]] = {"columns": FLAT, "flat": FLAT, "struct": NESTED, "text": NESTED, "connect": NESTED, "raw": RAW}


def payments(world: World, partitions: int) -> pa.Table:
    """The payments of a world as a table, as a warehouse exports them."""
    parts = []
    for piece in pieces(world):
        cents, number = pa.array(piece.cents), piece.tx_id - 1
        parts.append(pa.table({
            "partition": pa.array(number % partitions).cast(pa.int32()), "offset": pa.array(number // partitions),
            "timestamp": pa.array(piece.ts_us // 1_000 + 1_500), "tx_id": pa.array([f"tx-{one}" for one in piece.tx_id.tolist()]),
            "at": pa.array(piece.ts_us).cast(pa.timestamp("us", "UTC")),
            "customer_id": pa.array([f"C{one:06}" for one in piece.customer.tolist()]),
            "terminal_id": pa.array([f"T{one:06}" for one in piece.terminal.tolist()]),
            "amount": pc.multiply(cents.cast(pa.decimal128(19, 0)), pa.scalar(Decimal("0.01"))).cast(pa.decimal128(12, 2)),
            "channel": pa.array(["online" if one else "in_person" for one in piece.online.tolist()]),
            "cents": cents, "online": pa.array(piece.online.tolist())}))
    return pa.concat_tables(parts)


def write(root: Path, table: pa.Table, form: str) -> None:
    """The table as one file of a form."""
    root.mkdir()
    if form == "columns":
        pq.write_table(table, root / "part.parquet", compression="zstd", row_group_size=131_072)
        return
    head = table.select(["partition", "offset", "timestamp", "at"]).append_column("key", table["tx_id"])
    if form == "struct":
        inner = table.select(PAYLOAD).combine_chunks()
        whole = pa.StructArray.from_arrays([one.combine_chunks() for one in inner.columns], list(PAYLOAD))
        pq.write_table(head.append_column("value", whole), root / "part.parquet", compression="zstd", row_group_size=131_072)
        return
    values = [json.dumps({**one, "amount": float(one["amount"])}) for one in table.select(PAYLOAD).to_pylist()]
    if form == "raw":
        names, times = table["tx_id"].to_pylist(), pc.strftime(table["at"], "%Y-%m-%dT%H:%M:%SZ").to_pylist()
        held = [f'{{"tx_id": "{name}", "at": "{at}", "payload": {value}}}'.encode()
                for name, at, value in zip(names, times, values, strict=True)]
        raw = table.select(["partition", "offset", "timestamp"]).append_column("value", pa.array(held))
        pq.write_table(raw, root / "part.parquet", compression="zstd", row_group_size=131_072)
        return
    if form == "text":
        pq.write_table(head.append_column("value", pa.array(values)), root / "part.parquet", compression="zstd", row_group_size=131_072)
        return
    with (root / "part.json").open("w", encoding="utf-8") as file:
        for one, value in zip(head.to_pylist(), values, strict=True):
            first = {"partition": one["partition"], "offset": one["offset"], "timestamp": one["timestamp"],
                     "at": one["at"].isoformat().replace("+00:00", "Z")}
            if form == "connect":
                file.write(f'{json.dumps({**first, "key": one["key"]})[:-1]}, "value": {value}}}\n')
            else:
                file.write(f'{json.dumps({**first, "tx_id": one["key"]})[:-1]}, {value[1:]}\n')


def measure(act: Callable[[], Any]) -> tuple[Any, float, float]:
    """What something gives, CPU seconds, wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = act()
    return found, time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Write, read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--law", action="store_true")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--forms", nargs="*", default=list(PLACES))
    asked = parser.parse_args()
    pa.set_cpu_count(1)
    sources = (Source("tx", ("transaction",), FIELDS),)
    table = payments(World(asked.records, customers=max(100, asked.records // 100), terminals=1_000, days=180), asked.partitions)
    for form in asked.forms:
        with TemporaryDirectory() as folder:
            root = Path(folder) / "lake"
            write(root, table, form)
            lifting = lifting_of(PLACES[form], "transaction", "run1", None)
            make_index(FolderPlace(root), IndexWish(lifting=lifting), lambda *_: None)
            archive = ArchiveSource({"transaction": ArchiveMapping(root, members=PLACES[form], run="run1")}).pin("transaction")
            for law in (False, True) if asked.law else (False,):
                def read(archive: Any = archive, law: bool = law) -> int:  # noqa: FBT001 - bound here, asked nowhere
                    log, counts = archive.reading(archive.ranges(), sources), list[int]()
                    take = lambda _, batch: counts.append(batch.num_rows)  # noqa: E731 - as one line
                    if law:
                        log.read(Admission("run1", (), sources), take)
                    else:
                        log.scan(Scope.of("run1", (), sources), take)
                    return sum(counts)
                events, cpu, wall = min((measure(read) for _ in range(asked.repeats)), key=lambda run: run[1])
                print(f"{form:8} {'law' if law else 'scan':5} {events:>10,} events   {events / cpu:>10,.0f} records/s of CPU   "
                      f"{events / wall:>10,.0f} records/s", flush=True)


if __name__ == "__main__":
    main()
