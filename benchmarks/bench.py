"""Floor, OFS, window SQL and, if they are asked for, its peers on simulated worlds: whole processes, side by side, medians and ratios.

    python benchmarks/bench.py [--events 1000000 10000000] [--repeats 5] [--profile features.yaml] [--peers polars pandas spark]
                               [--limits 1GB]

With limits, builds that may take only so much memory stand beside the unlimited one, and must make the same rows.
Results go to `benchmarks/results/<profile>.json`, `peers.json` or `limits.json`, with the facts of the machine, and are printed as a
Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.arrow_types import settled_schema
from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.leaves import settle
from offline_feature_plane.corridor.verify import columns_of
from offline_feature_plane.key_file import make_key
from offline_feature_plane.simulation import World, write_files

HERE = Path(__file__).parent
SCRATCH = HERE.parent / ".bench"
PEERS_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"
MOST_EVENTS = {"pandas": 1_000_000, "spark": 1_000_000}  # they would take many minutes beyond


@dataclass(frozen=True)
class Timing:
    """One whole process: wall and CPU seconds, peak resident memory."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def timed(command: list[str], cwd: Path, environment: Mapping[str, str] | None = None) -> Timing:
    """Run a command to its end and measure it with its children; `environment` adds to ours."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, **(environment or {})})
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{output}")
    return Timing(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def prepare(events: int) -> Path:
    """A folder with the simulated world of this size and the benchmark plane."""
    folder = SCRATCH / str(events)
    if not (folder / "chargebacks.parquet").exists():
        write_files(World(events, customers=max(1_000, events // 100), terminals=max(100, events // 1_000), days=180), folder)
    if not (folder / "tokens.key").exists():
        make_key(folder / "tokens.key")
    for file in (HERE / "profile").iterdir():
        shutil.copy(file, folder / file.name)
    return folder


def build(folder: Path, profile: str, limit: str | None = None) -> Timing:
    """`ofs build` from an empty store, within a limit of memory if there is one."""
    for name in ("store", "ledger.sqlite"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    intent = (HERE / "profile" / "intent.yaml").read_text().replace("features.yaml", profile)
    (folder / "intent.yaml").write_text(intent)
    within = {} if limit is None else {"OFS_ENGINE__MEMORY_LIMIT": limit}
    return timed([sys.executable, "-m", "offline_feature_plane", "build", "intent.yaml", "--json"], folder, within)


def content_of(folder: Path) -> str:
    """The content digest of the dataset of the last build."""
    manifest = json.loads(next(folder.glob("store/*/ofs/manifests/*.json")).read_bytes())
    return str(manifest["core"]["content_digest"])


def finished(folder: Path) -> Path:
    """The finished table of the last build as an uncompressed Arrow file, as it is before it is written, for the floor."""
    target = folder / "finished.arrow"
    (manifest,) = folder.glob("store/*/ofs/manifests/*.json")
    columns = columns_of(DatasetManifest.model_validate_json(manifest.read_bytes()))
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, settled_schema(columns)) as out:
        for part in sorted(folder.glob("store/*/ofs/datasets/*/*/*.parquet")):
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(131_072):
                    out.write_batch(settle(columns, pa.Table.from_batches([batch])))
    return target


def peer(name: str, folder: Path) -> Timing:
    """The same features by another library, in the environment that has it."""
    python = PEERS_PYTHON if name == "spark" else Path(sys.executable)
    return timed([str(python), str(HERE / "peers" / f"{name}_windows.py"), "transactions.parquet", "chargebacks.parquet",
                  f"{name}.parquet"], folder)


def measure(events: int, repeats: int, profile: str, peers: Sequence[str], limits: Sequence[str]) -> dict[str, Timing]:
    """Medians of every subject; the subjects take turns so that a slow moment of the machine hits all of them."""
    folder = prepare(events)
    build(folder, profile)  # compiles what is not compiled yet
    table, manifest = finished(folder), folder / "manifest.json"
    shutil.copy(next(folder.glob("store/*/ofs/manifests/*.json")), manifest)
    content = content_of(folder)
    found: dict[str, list[Timing]] = {}
    for _ in range(repeats):
        shutil.rmtree(folder / "floor", ignore_errors=True)
        found.setdefault("floor", []).append(
            timed([sys.executable, str(HERE / "floor.py"), "transactions.parquet", str(table), str(manifest), "floor"], folder))
        found.setdefault("ofs", []).append(build(folder, profile))
        for limit in limits:
            found.setdefault(f"ofs within {limit}", []).append(build(folder, profile, limit))
            if content_of(folder) != content:
                sys.exit(f"within {limit} the rows are others")
        if profile == "features.yaml" and not limits:
            found.setdefault("window_sql", []).append(
                timed([sys.executable, str(HERE / "window_sql.py"), "transactions.parquet", "chargebacks.parquet", "sql.parquet"], folder))
        for name in peers:
            if events <= MOST_EVENTS.get(name, events):
                found.setdefault(name, []).append(peer(name, folder))
    return {name: middle(runs) for name, runs in found.items()}


def middle(runs: list[Timing]) -> Timing:
    """The median of each figure."""
    return Timing(*(statistics.median(getattr(run, figure) for run in runs) for figure in ("wall_s", "cpu_s", "peak_mb")))


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    named = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    return {"cpu": named[0] if named else "?", "cores": str(os.cpu_count()), "memory_gib": str(memory),
            "system": platform.platform(terse=True), "python": platform.python_version(),
            **{name: version(name) for name in ("duckdb", "pyarrow", "numba", "numpy")}}


def name_of(chosen: argparse.Namespace) -> str:
    """What the results are called."""
    return "limits" if chosen.limits else "peers" if chosen.peers else Path(chosen.profile).stem


def main() -> None:
    """Measure, print, write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", default="features.yaml", choices=["features.yaml", "labelled.yaml"])
    parser.add_argument("--peers", nargs="*", default=[], choices=["polars", "pandas", "spark"])
    parser.add_argument("--limits", nargs="*", default=[])
    chosen = parser.parse_args()
    result: dict[str, object] = {"machine": machine(), "profile": chosen.profile, "repeats": chosen.repeats, "sizes": {}}
    print("| events | subject | wall s | CPU s | peak MB | ÷ floor |\n|---:|---|---:|---:|---:|---:|")
    for events in chosen.events:
        timings = measure(events, chosen.repeats, chosen.profile, chosen.peers, chosen.limits)
        floor = timings["floor"].wall_s
        ratios = {"ofs_over_floor": timings["ofs"].wall_s / floor}
        ratios |= {f"{called}_over_ofs": timings[name].wall_s / timings["ofs"].wall_s for name, called in
                   {"window_sql": "duckdb_sql", **{name: name for name in chosen.peers},
                    **{f"ofs within {limit}": f"ofs_within_{limit}" for limit in chosen.limits}}.items() if name in timings}
        result["sizes"] |= {str(events): {"timings": {name: asdict(timing) for name, timing in timings.items()}, "ratios": ratios}}  # type: ignore[operator]
        for name, timing in timings.items():
            print(f"| {events:,} | {name} | {timing.wall_s:.1f} | {timing.cpu_s:.1f} | {timing.peak_mb:,.0f} "
                  f"| {timing.wall_s / floor:.2f} |")
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name_of(chosen)}.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
