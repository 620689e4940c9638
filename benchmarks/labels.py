"""Which share of a build labels take, and its peak of memory: N events with 3 assertions for every 10 of them.

    python benchmarks/labels.py [--events 10000000] [--repeats 3] [--profile labelled.yaml] [--most 15]

Every tenth event of the labelled ones is judged twice: a person supersedes the first assertion. Each build is a process of its own, on an
empty store, and `ofs build --profile` says what its steps took. Prints the run with the middle wall time; ends with 1 if labels took more
than `--most` percent of its wall time. Their share of the CPU time of the steps is printed too: others on the machine lengthen it less.
What lays groups out while labels are resolved counts with the labels. Peaks are those of the process by the end of each step.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from bench import SCRATCH, apart, prepare

DAY_US = 86_400_000_000
AGAIN = 10  # of so many labelled events one is judged a second time
LABELLED = 3 * AGAIN / (10 * (AGAIN + 1))  # the share of events that makes 3 assertions for 10 events


def prepare_labels(events: int) -> Path:
    """A folder with the world of the benchmarks and this many assertions instead of its own."""
    folder = SCRATCH / f"labels-{events}"
    folder.mkdir(parents=True, exist_ok=True)
    world = prepare(events)
    for name in ("transactions.parquet", "tokens.key", "plane.yaml", "features.yaml", "labelled.yaml", "wide.yaml"):
        (folder / name).unlink(missing_ok=True)
        shutil.copy(world / name, folder / name)
    if not (folder / "chargebacks.parquet").exists():
        written = folder / "chargebacks.part"
        with pq.ParquetWriter(written, _assertions(pa.array([0]), pa.array([0]), 0).schema, compression="zstd") as out:
            for start, (ids, times) in _events(folder / "transactions.parquet"):
                out.write_table(_assertions(ids, times, start))
        written.rename(folder / "chargebacks.parquet")
    return folder


def _events(path: Path) -> Iterator[tuple[int, tuple[pa.Array, pa.Array]]]:
    """Ids and times, in pieces, each with the number of its first event."""
    start = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(1_000_000, columns=["tx_id", "tx_time"]):
            yield start, (batch.column("tx_id"), batch.column("tx_time").cast(pa.int64()))
            start += batch.num_rows


def _assertions(ids: pa.Array, times: pa.Array, seed: int) -> pa.Table:
    """Assertions about some of these events, shuffled, as the plane of the benchmarks maps them; they come days and weeks later."""
    random = np.random.default_rng([7, seed])
    places = np.flatnonzero(random.random(len(ids)) < LABELLED)
    again = places[random.random(len(places)) < 1 / AGAIN]
    every = np.concatenate([places, again])
    second = np.arange(len(every)) >= len(places)
    numbers = ids.to_numpy()[every]
    first = times.to_numpy()[every] + (1 + numbers % 39) * DAY_US
    judged = pa.array(second)
    name = pc.binary_join_element_wise(pa.scalar("D"), pa.array(numbers).cast(pa.string()), "")
    told = pa.table({
        "case_id": pc.if_else(judged, pc.binary_join_element_wise(name, pa.scalar("b"), ""), name), "tx_id": pa.array(numbers),
        "reported_at": pa.array(np.where(second, first + 5 * DAY_US, first), pa.timestamp("us", "UTC")),
        "outcome": pc.if_else(pa.array(second | (numbers % 3 == 0)), "NO_CHARGEBACK", "CHARGEBACK"),
        "reported_by": pc.if_else(judged, "HUMAN", "EXTERNAL"),
        "replaces": pc.if_else(judged, name, pa.scalar(None, pa.string()))})
    return told.take(pa.array(random.permutation(len(told))))


def build(folder: Path, profile: str) -> list[dict[str, Any]]:
    """`ofs build --profile` from an empty store: a line per step."""
    for name in ("store", "ledger.sqlite"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    intent = (Path(__file__).parent / "profile" / "intent.yaml").read_text().replace("features.yaml", profile)
    (folder / "intent.yaml").write_text(intent)
    command = [sys.executable, "-m", "offline_feature_plane", "build", "intent.yaml", "--json", "--profile"]
    answered = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if answered.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{answered.stdout}{answered.stderr}")
    found: list[dict[str, Any]] = json.loads(answered.stdout)["profile"]
    return found


def seconds_of(steps: list[dict[str, Any]]) -> float:
    """The wall time of all steps."""
    return sum(float(step["seconds"]) for step in steps)


def main() -> None:
    """Build, print the steps, judge the share of the labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", default="labelled.yaml", choices=["features.yaml", "labelled.yaml", "wide.yaml"])
    parser.add_argument("--most", type=float, default=15.0, help="percent of the wall time that labels may take")
    asked = parser.parse_args()
    folder = apart(prepare_labels, asked.events)
    build(folder, asked.profile)  # compiles what is not compiled yet
    steps = sorted((build(folder, asked.profile) for _ in range(asked.repeats)), key=seconds_of)[asked.repeats // 2]
    whole = seconds_of(steps)
    labels = next(step for step in steps if step["step"] == "labels")
    share = 100 * labels["seconds"] / whole
    used_share = 100 * labels.get("cpu_ms", 0) / (sum(step.get("cpu_ms", 0) for step in steps) or 1)
    print(f"{asked.events:,} events, {labels['rows']:,} assertions, {asked.profile}: {whole:.1f} s, of which labels take {share:.1f} % "
          f"({used_share:.1f} % of the CPU)\n")
    print("| step | wall s | share | CPU s | peak MiB |\n|---|---:|---:|---:|---:|")
    for step in steps:
        used = f"{step['cpu_ms'] / 1000:.2f} | {step['peak_memory_bytes'] / 2**20:,.0f}" if "cpu_ms" in step else " | "
        print(f"| {step['step']} | {step['seconds']:.2f} | {100 * step['seconds'] / whole:.1f} % | {used} |")
    sys.exit(1 if share > asked.most else 0)


if __name__ == "__main__":
    main()
