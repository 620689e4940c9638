"""The adapters of this installation, by what settings call them. Drivers load when one is opened."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from offline_feature_plane.contracts.plane import EngineChoice, S3Access
from offline_feature_plane.errors import OfsError, RequestCommandUnsupported, SettingsInvalid
from offline_feature_plane.installation import installed_release, installed_version
from offline_feature_plane.labelstores.files import FileLabelStore
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.objects.s3.place import place_from
from offline_feature_plane.plain_files import is_private, read_small
from offline_feature_plane.ports import Clock, Engine, Ledger, ObjectStore, Progress, Spent
from offline_feature_plane.ports.inputs import LabelStore
from offline_feature_plane.postgres.address import LABEL_SCHEMA, address_from, is_address
from offline_feature_plane.s3.place import archive_place, is_bucket
from offline_feature_plane.settings import Settings
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.bus import Bus
from offline_feature_plane.sources.kinesis.access import KinesisAccess
from offline_feature_plane.sources.kinesis.bus import Stream

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from offline_feature_plane.labelstores.postgres.loading import Loaded
    from offline_feature_plane.sources.archives.places import ArchivePlace

_LONGEST_SECRET = 4_096
_IO, _STATUS = Path("/proc/self/io"), Path("/proc/self/status")


class SystemClock:
    """This machine's clock."""

    def now_us(self) -> int:
        """µs since the epoch, UTC."""
        return time.time_ns() // 1_000

    def sleep_us(self, span_us: int) -> None:
        """Wait."""
        time.sleep(span_us / 1e6)


def spent() -> Spent:
    """What this process has used, as Linux counts it; elsewhere CPU time and memory only."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    counts: dict[str, int] = {}
    with suppress(OSError, ValueError):
        counts = {name: int(count) for name, count in (line.split(": ") for line in _IO.read_text().splitlines())}
    return Spent(int((usage.ru_utime + usage.ru_stime) * 1e6), _peak_bytes(usage), counts.get("rchar", 0), counts.get("wchar", 0))


def _peak_bytes(usage: resource.struct_rusage) -> int:
    """The most memory this process had: on Linux `ru_maxrss` may be that of the process which started it, from before its own program."""
    with suppress(OSError, StopIteration):
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return usage.ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def open_ledger(place: str, clock: Clock) -> Ledger:
    """The run ledger at a place: a file, or the address of a database. Raises LedgerUnavailable, RequestCommandUnsupported."""
    if not is_address(place):
        from offline_feature_plane.ledger.sqlite import SqliteLedger

        return SqliteLedger(Path(place), clock)
    try:
        from offline_feature_plane.ledger.postgres.ledger import PostgresLedger
    except ImportError as missing:
        raise _no_driver("the ledger is a PostgreSQL database") from missing
    return PostgresLedger(address_from(place))


def open_label_stores(settings: Settings) -> tuple[LabelStore, ...]:
    """The label stores of a plane: its files, and if it has any, its databases. Raises RequestCommandUnsupported."""
    files = FileLabelStore.of(settings)
    if all(one.store is None for one in settings.labels.values()):
        return (files,)
    try:
        from offline_feature_plane.labelstores.postgres.store import PostgresLabelStore
    except ImportError as missing:
        raise _no_driver("labels are in a PostgreSQL database") from missing
    return files, PostgresLabelStore.of(settings)


def open_cluster(access: KafkaAccess) -> Bus:
    """A Kafka cluster. Raises RequestCommandUnsupported if the driver is not installed, SettingsInvalid for secrets and files."""
    try:
        from offline_feature_plane.sources.kafka.cluster import Cluster
    except ImportError as missing:
        raise RequestCommandUnsupported("events are on a Kafka cluster, and its driver is not installed.",
                                        fix="Run `pip install 'offline-feature-plane[kafka]'`.") from missing
    return Cluster(access, _secret)


def open_stream(access: KinesisAccess) -> Stream:
    """A stream of Kinesis. Raises RequestCommandUnsupported if the SDK is not installed, SettingsInvalid for what it cannot use."""
    try:
        from offline_feature_plane.sources.kinesis.service import Service
    except ImportError as missing:
        raise RequestCommandUnsupported("events are on a stream of Kinesis, and the library for it is not installed.",
                                        fix="Run `pip install 'offline-feature-plane[kinesis]'`.") from missing
    return Service(access)


def _secret(variable: str | None, file: str | None, place: str) -> str:
    """A secret that settings name, and never hold: in an environment variable, or the first line of a file. Raises SettingsInvalid."""
    if variable is not None:
        found = os.environ.get(variable)
        if not found:
            raise SettingsInvalid(f"the environment variable {variable} is not set.", path=f"{place}_env",
                                  fix=f"Set {variable} to the secret, in the environment of every process that reads.")
        return found
    try:
        text = read_small(Path(str(file)), _LONGEST_SECRET).decode("utf-8-sig")  # some editors begin with a mark
        return next(line for line in text.splitlines()[:1] if line)
    except (OSError, ValueError, StopIteration, OfsError) as wrong:
        said = getattr(wrong, "strerror", None) or "its first line holds no text"
        raise SettingsInvalid(f"the secret in {file} cannot be read: {said}.", path=f"{place}_file",
                              fix="Write it into the first line of a file that only this user may read.") from wrong


def load_labels(settings: Settings, place: str | None, paths: Sequence[Path], progress: Progress) -> Loaded:
    """Append the assertions of files to a label store, by default that of a plane's labels. Raises as `Plane.load_labels`."""
    places = {one.store for one in settings.labels.values() if one.store is not None}
    if place is None and len(places) != 1:
        raise SettingsInvalid(f"plane.yaml names {len(places) or 'no'} label stores.", path="$.labels",
                              fix="Say which one is meant with --store, or give a label type its `store:`.")
    if place is not None and not is_address(place):
        raise SettingsInvalid("a label store is a PostgreSQL database.", fix="Write postgresql://user@host:5432/database.")
    from offline_feature_plane.labelstores.incoming import find_incoming

    try:
        from offline_feature_plane.labelstores.postgres.loading import load
    except ImportError as missing:
        raise _no_driver("labels are in a PostgreSQL database") from missing
    return load(find_incoming(paths), address_from(place or places.pop(), LABEL_SCHEMA), progress)


def _no_driver(what: str) -> RequestCommandUnsupported:
    return RequestCommandUnsupported(f"{what}, and its driver is not installed.",
                                     fix="Run `pip install 'offline-feature-plane[postgres]'`.")


def open_store(settings: Settings, clock: Clock) -> ObjectStore:
    """The artifact store: a folder, or a bucket. Raises StorageIoFailure, RequestCommandUnsupported."""
    if not is_bucket(settings.store):
        return LocalStore(Path(settings.store))
    try:
        from offline_feature_plane.objects.s3.store import S3Store
    except ImportError as missing:
        raise RequestCommandUnsupported("the store is a bucket, and the library for S3 is not installed.",
                                        fix="Run `pip install 'offline-feature-plane[s3]'`.") from missing
    return S3Store(place_from(settings.store, settings.s3), clock)


def open_bucket_archive(work: Path, clock: Clock, address: str, access: S3Access) -> ArchivePlace:
    """An archive in a bucket, whose segments are fetched into the work folder. Raises SettingsInvalid, RequestCommandUnsupported."""
    try:
        from offline_feature_plane.sources.archives.buckets import BucketPlace
    except ImportError as missing:
        raise RequestCommandUnsupported("an archive is in a bucket, and the library for S3 is not installed.",
                                        fix="Run `pip install 'offline-feature-plane[s3]'`.") from missing
    return BucketPlace(archive_place(address, access), work, clock)


def make_engine(chosen: EngineChoice, spark: SparkSession | None = None) -> Engine:
    """The engine that settings choose; `spark` is the session to use, if the user brings one. Raises RequestCommandUnsupported."""
    if chosen.name == "oracle":
        from offline_feature_plane.engines.oracle import OracleEngine

        return OracleEngine()
    if chosen.name == "spark":
        from offline_feature_plane.engines.spark import SparkEngine

        # A new session asks nobody else which Python its tasks are to use.
        os.environ.setdefault("PYSPARK_PYTHON", chosen.conf.get("spark.pyspark.python", sys.executable))
        return SparkEngine(spark, chosen.master, chosen.conf, has_java=has_java(), kernels=cache_folder(), release=installed_release)
    from offline_feature_plane.engines.local import LocalEngine

    return LocalEngine()


def has_java() -> bool:
    """Is there a Java where Spark looks for one?"""
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=str(Path(home) / "bin") if home else None) is not None


def cache_folder() -> Path | None:
    """Where this user's compiled kernels are kept; None if others could put theirs there, for what is kept is loaded as code."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "offline-feature-plane"
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder if is_private(folder) else None


def library_versions(engine: str) -> dict[str, str]:
    """The versions of everything that computes or writes."""
    names = ("offline-feature-plane", "duckdb", "numba", "numpy", "pyarrow", "tzdata")
    found = {"python": platform.python_version(), **{name: installed_version(name) for name in names}}
    if engine == "spark":
        import pyspark  # that of a cluster may be no installed package

        found["pyspark"] = pyspark.__version__
    return found
