"""Floor, OFS, window SQL and, if they are asked for, its peers on simulated worlds: whole processes, side by side, medians and ratios.

    python benchmarks/bench.py [--events 1000000 10000000] [--repeats 5] [--profile features.yaml] [--peers polars pandas spark feast]
                               [--limits 1GB]

With limits, builds that may take only so much memory stand beside the unlimited one, and must make the same rows.
Results go to `benchmarks/results/<profile>.json`, `peers.json` or `limits.json`, with the facts of the machine, beside those of other
sizes that were measured on it, and are printed as a Markdown table.
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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.arrow_types import settled_schema
from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.verify import columns_of
from offline_feature_plane.key_file import make_key
from offline_feature_plane.leaves import settle
from offline_feature_plane.simulation import World, write_files

HERE = Path(__file__).parent
Given = TypeVar("Given")
SCRATCH = HERE.parent / ".bench"
PEERS_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"
# Beyond, they would take many minutes, or more memory or disk than most machines have.
MOST_EVENTS = {"floor": 10_000_000, "window_sql": 10_000_000, "polars": 10_000_000, "pandas": 1_000_000, "spark": 1_000_000,
               "feast": 100_000}


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


def apart(work: Callable[[Given], Path], given: Given) -> Path:
    """What a function makes, in a process of its own: the most that this one ever had would count as the peak of those that it starts."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, given).result()


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
    """The same features by another library, in the environment that has it; Feast gets finished ones, which it joins."""
    if name == "feast":
        script, made = str(HERE / "peers" / "feast_join.py"), folder / "feast"
        if not made.exists():
            made.mkdir()
            timed([str(PEERS_PYTHON), script, "cut", "transactions.parquet", "finished.arrow", "feast"], folder)
        return timed([str(PEERS_PYTHON), script, "join", "transactions.parquet", "feast", "feast.parquet"], folder)
    python = PEERS_PYTHON if name == "spark" else Path(sys.executable)
    return timed([str(python), str(HERE / "peers" / f"{name}_windows.py"), "transactions.parquet", "chargebacks.parquet",
                  f"{name}.parquet"], folder)


def measure(events: int, repeats: int, profile: str, peers: Sequence[str], limits: Sequence[str]) -> dict[str, Timing]:
    """Medians of every subject; the subjects take turns so that a slow moment of the machine hits all of them."""
    folder = apart(prepare, events)
    build(folder, profile)  # compiles what is not compiled yet
    content = content_of(folder)
    subjects: dict[str, Callable[[], Timing]] = {}
    if events <= MOST_EVENTS["floor"]:
        table, manifest = apart(finished, folder), folder / "manifest.json"
        shutil.copy(next(folder.glob("store/*/ofs/manifests/*.json")), manifest)
        subjects["floor"] = lambda: timed([sys.executable, str(HERE / "floor.py"), "transactions.parquet", str(table), str(manifest),
                                           "floor"], folder)
    subjects["ofs"] = lambda: build(folder, profile)
    subjects |= {f"ofs within {limit}": partial(build_alike, folder, profile, limit, content) for limit in limits}
    if profile == "features.yaml" and not limits and events <= MOST_EVENTS["window_sql"]:
        subjects["window_sql"] = lambda: timed([sys.executable, str(HERE / "window_sql.py"), "transactions.parquet", "chargebacks.parquet",
                                                "sql.parquet"], folder)
    subjects |= {name: partial(peer, name, folder) for name in peers if events <= MOST_EVENTS[name]}
    found: dict[str, list[Timing]] = {name: [] for name in subjects}
    for _ in range(repeats):
        for name, run in subjects.items():
            shutil.rmtree(folder / "floor", ignore_errors=True)
            found[name].append(run())
    return {name: middle(runs) for name, runs in found.items()}


def build_alike(folder: Path, profile: str, limit: str, content: str) -> Timing:
    """`ofs build` within a limit, which must make the rows that are made without."""
    found = build(folder, profile, limit)
    if content_of(folder) != content:
        sys.exit(f"within {limit} the rows are others")
    return found


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
    parser.add_argument("--profile", default="features.yaml", choices=["features.yaml", "labelled.yaml", "wide.yaml"])
    parser.add_argument("--peers", nargs="*", default=[], choices=["polars", "pandas", "spark", "feast"])
    parser.add_argument("--limits", nargs="*", default=[])
    chosen = parser.parse_args()
    here = HERE / "results" / f"{name_of(chosen)}.json"
    result: dict[str, Any] = {"machine": machine(), "profile": chosen.profile, "sizes": {}}
    known = json.loads(here.read_bytes()) if here.exists() else {}
    if {**known, "sizes": {}} == result:
        result = known  # more sizes, measured on the same machine
    print("| events | subject | wall s | CPU s | peak MB | ÷ floor |\n|---:|---|---:|---:|---:|---:|")
    for events in chosen.events:
        timings = measure(events, chosen.repeats, chosen.profile, chosen.peers, chosen.limits)
        result["sizes"][str(events)] = {"repeats": chosen.repeats, "timings": {name: asdict(one) for name, one in timings.items()},
                                        "ratios": ratios(timings)}
        floor = timings.get("floor")
        for name, timing in timings.items():
            print(f"| {events:,} | {name} | {timing.wall_s:.1f} | {timing.cpu_s:.1f} | {timing.peak_mb:,.0f} "
                  f"| {'' if floor is None else f'{timing.wall_s / floor.wall_s:.2f}'} |")
    here.parent.mkdir(exist_ok=True)
    here.write_text(json.dumps(result, indent=2) + "\n")


def ratios(timings: Mapping[str, Timing]) -> dict[str, float]:
    """Wall times against each other."""
    ours = timings["ofs"].wall_s
    over_floor = {"ofs_over_floor": ours / timings["floor"].wall_s} if "floor" in timings else {}
    called = {"window_sql": "duckdb_sql"}
    return over_floor | {f"{called.get(name, name.replace(' ', '_'))}_over_ofs": one.wall_s / ours
                         for name, one in timings.items() if name not in {"floor", "ofs"}}


if __name__ == "__main__":
    main()
