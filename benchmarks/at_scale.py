"""Builds from a log of which an archive has most and a Kafka topic the rest, within a limit of memory, at any size.

    python benchmarks/at_scale.py [--events 1000000] [--limit 2GB …] [--form parquet] [--partitions 4] [--archived 0.9] [--overlap 0.02]
                                  [--last 1.0] [--verify sample] [--profile features.yaml] [--threads 1 2] [--repeats 1] [--results]

The archive has the first nine tenths of every partition, and the topic what follows and the end of that once more, which is compared. Each
thousandth record is a retry. `--last` asks for the last part of the log only. The broker is the one of the tests (`make
.services/kafka/ready`), whose partitions begin where retention would have left them. Builds within several limits (`none` is no limit) and
by several numbers of threads take turns, and must make the same rows; of repeats the quickest counts. Prints records per second of CPU and
of wall time, the peak of memory of all processes, and of the work folder on disk; `--results` writes them to
`benchmarks/results/logs/at_scale.json`. Kernels are compiled before, for the compiler takes memory. Ends with status 1 if a build takes
more than its limit, or, where that is more, than the least that a plan says of its feature set.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from simulated_log import TOPIC, Log, messages, write_archive

from offline_feature_plane.adapters import open_cluster
from offline_feature_plane.contracts.kafka import KafkaSecurity
from offline_feature_plane.contracts.plane import memory_bytes
from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.domain.footprint import least_bytes
from offline_feature_plane.key_file import make_key
from offline_feature_plane.machines import warm_kernels
from offline_feature_plane.simulation import World
from offline_feature_plane.sources.kafka.access import KafkaAccess

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from bench import SCRATCH, apart, content_of, machine  # noqa: E402
from kafka_broker import Broker  # noqa: E402 - only where the tests are

AT_ONCE = 100_000


@dataclass(frozen=True)
class Asked:
    """The log of a measurement, and who has which part of it."""

    events: int
    partitions: int
    archived: float
    overlap: float
    form: str
    per_segment: int
    last: float = 1.0

    @property
    def count(self) -> int:
        """So many records are asked for."""
        return self.events - sum(one["start_offset"] for one in self.basis())

    def basis(self) -> list[dict[str, int]]:
        """From where to where in each partition."""
        log = self.log
        return [{"partition": one, "start_offset": log.end(one, 1 - self.last), "end_offset": log.end(one)}
                for one in range(self.partitions)]

    @property
    def log(self) -> Log:
        """The log itself."""
        world = World(self.events, customers=max(1_000, self.events // 100), terminals=max(100, self.events // 1_000), days=180)
        return Log(world, self.partitions)

    @property
    def folder(self) -> Path:
        """Where its archive and plane are."""
        return SCRATCH / f"log-{self.events}-{self.partitions}-{self.archived}-{self.form}-{self.per_segment}"


@dataclass(frozen=True)
class Run:
    """One whole build. Megabytes are millions of bytes; `replay_cpu_s` is the part of CPU until all events are in order."""

    wall_s: float
    cpu_s: float
    replay_s: float
    replay_cpu_s: float
    replayed_mb: float
    peak_mb: float
    disk_mb: float
    steps: list[dict[str, Any]]

    def describe(self, events: int) -> str:
        """For people."""
        steps = ", ".join(f"{one['step']} {one['cpu_ms'] / 1000:.1f}" for one in self.steps if one.get("cpu_ms"))
        return (f"{self.wall_s:.1f} s, {self.cpu_s:.1f} s of CPU ({steps}); {events / self.wall_s:,.0f} events/s; replay "
                f"{self.replay_s:.1f} s, {events / self.replay_cpu_s:,.0f} events/s of CPU; peak {self.replayed_mb:,.0f} MB "
                f"until it ended, {self.peak_mb:,.0f} MB in all; work folder {self.disk_mb:,.0f} MB")


def make_topic(broker: Broker, asked: Asked) -> None:
    """The topic of the broker, whose partitions begin where the archive is about to end, and hold what follows."""
    topic, log = broker.new_topic(TOPIC, partitions=asked.partitions, unique=False), asked.log
    starts = {one: log.end(one, asked.archived - asked.overlap) for one in range(asked.partitions)}
    broker.begin_at(topic, starts)
    producer = broker.producer(linger_ms=50, batch_size=1_000_000, compression_type="lz4", queue_buffering_max_messages=AT_ONCE * 2)
    for partition, start in starts.items():
        end = log.end(partition)
        for at in range(start, end, AT_ONCE):
            for value, time_ms in messages(log.records(partition, at, min(at + AT_ONCE, end))):
                producer.produce(topic, value, partition=partition, timestamp=time_ms)
            if producer.flush(300):
                sys.exit("the broker does not take what is produced")


def prepare(asked: Asked, log_id: str) -> Path:
    """The archive, labels and the plane's documents but `plane.yaml`."""
    folder = asked.folder
    if not (folder / "chargebacks.parquet").exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_archive(folder / "archive", asked.log, asked.archived, asked.form, log_id, asked.per_segment)
        asked.log.write_labels(folder / "chargebacks.parquet")
        make_key(folder / "tokens.key")
    index = folder / "archive" / "index.json"
    said = json.loads(index.read_bytes())
    for segment in said["segments"]:
        segment["log_id"] = log_id  # a topic made anew is another log
    index.write_text(json.dumps(said))
    for file in (HERE / "profile").iterdir():
        shutil.copy(file, folder / file.name)
    return folder


def write_plane(folder: Path, servers: str, verify: str) -> None:
    """`plane.yaml`: the benchmark's, whose events are a log."""
    lines = (folder / "plane.yaml").read_text().splitlines()
    places = [f"archives: {{{TOPIC}: {{path: archive}}}}", f"kafka: {{{TOPIC}: {{servers: '{servers}'}}}}", "work: work"]
    lines = [one for one in lines if not one.startswith(("events:", f"  {TOPIC}:"))]
    (folder / "plane.yaml").write_text("\n".join([*lines, *places, f"verify_overlap: {verify}", ""]))


def write_intent(folder: Path, asked: Asked, profile: str, log_id: str) -> None:
    """`intent.yaml`: the benchmark's, which names its ranges where it asks for a part of the log."""
    said = (HERE / "profile" / "intent.yaml").read_text().replace("features.yaml", profile)
    named = f"topic: {TOPIC}, offset_kind: kafka_offset, log_id: {log_id}"
    ranges = [f"  - {{{named}, partition: {one['partition']}, start_offset: '{one['start_offset']}', end_offset: '{one['end_offset']}'}}"
              for one in asked.basis()]
    (folder / "intent.yaml").write_text(said if asked.last == 1 else "\n".join([f"{said}replay_basis:", *ranges, ""]))


def build(folder: Path, limit: str | None, threads: int | None) -> Run:
    """`ofs build` from an empty store, watched."""
    for name in ("store", "work", "ledger.sqlite"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    within = {name: str(value) for name, value in (("OFS_ENGINE__MEMORY_LIMIT", limit), ("OFS_ENGINE__THREADS", threads))
              if value is not None}
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "offline_feature_plane", "build", "intent.yaml", "--json", "--profile"], cwd=folder,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **within})
    with watched(process.pid, folder / "work") as most:
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        sys.exit(f"the build failed:\n{output}")
    steps = json.loads(output)["profile"]
    upto = [one["step"] for one in steps].index("replay") + 1
    cpu, replay = sum(one["cpu_ms"] for one in steps[:upto] if one.get("cpu_ms")) / 1000, steps[upto - 1]["seconds"]
    peak = max(usage.ru_maxrss * 1024, most["memory"])
    return Run(wall, usage.ru_utime + usage.ru_stime, replay, cpu,
               steps[upto - 1]["peak_memory_bytes"] / 1e6, peak / 1e6, most["disk"] / 1e6, steps)


def most_allowed(limit: str, profile: str, events: int) -> float:
    """The megabytes that a build may take: its limit, or what every build of the feature set takes."""
    said = read_profile(yaml.safe_load((HERE / "profile" / profile).read_text()))
    closure = said.closure("bench@v1", TOPIC)
    return max(memory_bytes(limit), least_bytes(closure, events, text_ids=True)) / 1e6


@contextmanager
def watched(pid: int, work: Path) -> Iterator[Mapping[str, int]]:
    """The most that a process and its children together had in memory, and that was in a folder, while the block runs; in bytes."""
    most, over = {"memory": 0, "disk": 0}, threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            most["memory"] = max(most["memory"], _resident(pid))
            most["disk"] = max(most["disk"], _taken(work))
    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield most
    finally:
        over.set()
        watching.join()


def _resident(pid: int) -> int:
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident(int(child)) for child in children)
    return 0


def _taken(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):  # which passes over what is gone by then
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(place, name), follow_symlinks=False).st_blocks * 512  # noqa: PTH116, PTH118 - five times a second
    return total


def measure(asked: Asked, verify: str, profile: str, limits: list[str], threads: list[int | None], repeats: int) -> dict[str, Run]:
    """Builds within each limit, by each number of threads; all of them must make the same rows."""
    broker = Broker()
    try:
        make_topic(broker, asked)
        log_id = open_cluster(KafkaAccess(broker.address(), KafkaSecurity())).topic_id(TOPIC)
        folder = apart(_prepared, (asked, str(log_id)))
        write_plane(folder, broker.address(), verify)
        write_intent(folder, asked, profile, str(log_id))
        apart(_warmed, None)
        found, content, over = dict[str, Run](), dict[str, str](), list[str]()
        for limit, count in [(limit, count) for _ in range(repeats) for limit in limits for count in threads]:
            name = limit if count is None else f"{limit}, threads: {count}"
            run = build(folder, None if limit == "none" else limit, count)
            content[name] = content_of(folder)
            print(f"{name:>6}  {run.describe(asked.count)}  {content[name][:23]}", flush=True)
            if limit != "none" and run.peak_mb > (most := most_allowed(limit, profile, asked.count)):
                over.append(f"{name}: {run.peak_mb:,.0f} MB instead of {most:,.0f}")
            found[name] = min(run, found.get(name, run), key=lambda one: one.replay_s)
        if len(set(content.values())) > 1:
            sys.exit(f"the rows differ: {content}")
        if over:
            sys.exit(f"builds took more memory than they may: {'; '.join(over)}")
        return found
    finally:
        broker.close()


def _prepared(given: tuple[Asked, str]) -> Path:
    return prepare(*given)


def _warmed(_: None) -> float:
    return warm_kernels()


def main() -> None:
    """Make the log, build, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--limit", nargs="+", default=["2GB"], dest="limits")
    parser.add_argument("--form", choices=["parquet", "jsonl.zst"], default="parquet")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--archived", type=float, default=0.9)
    parser.add_argument("--overlap", type=float, default=0.02)
    parser.add_argument("--last", type=float, default=1.0)
    parser.add_argument("--per-segment", type=int, default=250_000)
    parser.add_argument("--verify", choices=["sample", "full", "off"], default="sample")
    parser.add_argument("--profile", default="features.yaml", choices=["features.yaml", "labelled.yaml", "wide.yaml"])
    parser.add_argument("--threads", nargs="+", type=int, default=[None])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--results", action="store_true")
    chosen = parser.parse_args()
    asked = Asked(chosen.events, chosen.partitions, chosen.archived, chosen.overlap, chosen.form, chosen.per_segment, chosen.last)
    found = measure(asked, chosen.verify, chosen.profile, chosen.limits, chosen.threads, chosen.repeats)
    if chosen.results:
        here = HERE / "results" / "logs" / "at_scale.json"
        known = json.loads(here.read_bytes()) if here.exists() else {}
        known[f"{asked.count} {chosen.form}"] = {"machine": machine(), **asdict(asked), "load": os.getloadavg()[2],
                                                  "runs": {name: asdict(one) for name, one in found.items()}}
        here.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
