"""How fast record archives are read: a simulated archive of N payments in every form that segments have.

    python benchmarks/replay.py [--records 200000] [--sources 1] [--law] [--keep DIR]

Prints records per second of CPU time and of wall time for each form. Reading is everything from bytes to typed batches: pins, strict
decoding, hashes, scope, typing. `--law` adds the way of the law, one record after the other. `--sources` adds sources without events: a
topic is decoded once, whatever their number. `--keep` writes the archives there, for builds, and measures nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from offline_feature_plane.domain.admission import Admission, Scope
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.simulation import World, pieces
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.testing.archives import ArchiveWriter, SegmentForm, archived

FORMS: tuple[SegmentForm, ...] = get_args(SegmentForm)
FIELDS = tuple(Field(name, ColumnType.parse(kind), (name,)) for name, kind in (
    ("customer_id", "string"), ("terminal_id", "string"), ("amount", "decimal(12,2)"), ("channel", "string"), ("cents", "int64"),
    ("online", "bool")))


def records(world: World) -> Iterator[dict[str, Any]]:
    """The payments of a world as archived records with flat payloads of six fields."""
    for piece in pieces(world):
        columns = zip(piece.tx_id.tolist(), piece.ts_us.tolist(), piece.customer.tolist(), piece.terminal.tolist(), piece.cents.tolist(),
                      piece.online.tolist(), strict=True)
        for number, ts_us, customer, terminal, cents, online in columns:
            payload = {"customer_id": f"C{customer:06}", "terminal_id": f"T{terminal:06}", "amount": Decimal(cents).scaleb(-2),
                       "channel": "online" if online else "in_person", "cents": cents, "online": online}
            yield archived(f"tx-{number}", ts_us, payload, offset=number - 1, log_us=ts_us + 1_500_000)


def write(root: Path, world: World, form: SegmentForm) -> None:
    """An archive of a world's payments."""
    with ArchiveWriter(root, form=form, per_segment=100_000) as out:
        for one in records(world):
            out.add(one)


def measure(root: Path, sources: tuple[Source, ...], *, law: bool) -> tuple[int, float, float]:
    """Read an archive whole: events, CPU seconds, wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    archive = ArchiveSource({"transaction": ArchiveMapping(root)}).pin("transaction")
    log, counts = archive.reading(archive.ranges(), sources), list[int]()
    if law:
        log.read(Admission("run1", (), sources), lambda _, batch: counts.append(batch.num_rows))
    else:
        log.scan(Scope.of("run1", (), sources), lambda _, batch: counts.append(batch.num_rows))
    return sum(counts), time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Write, read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--sources", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--law", action="store_true")
    parser.add_argument("--forms", nargs="*", default=FORMS)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    sources = (Source("tx", ("transaction",), FIELDS),
               *(Source(f"other{number}", (f"other{number}",), FIELDS) for number in range(1, asked.sources)))
    world = World(asked.records, customers=max(100, asked.records // 100), terminals=1_000, days=180)
    for form in asked.forms:
        if asked.keep is not None:
            write(asked.keep / form, world, form)
            continue
        with TemporaryDirectory() as folder:
            write(Path(folder), world, form)
            for law in (False, True) if asked.law else (False,):
                events, cpu, wall = min((measure(Path(folder), sources, law=law) for _ in range(asked.repeats)), key=lambda run: run[1])
                print(f"{form:10} {'law' if law else 'scan':5} {events:>10,} events   {events / cpu:>10,.0f} records/s of CPU   "
                      f"{events / wall:>10,.0f} records/s", flush=True)


if __name__ == "__main__":
    main()
