"""The plane: settings become adapters, adapters serve the use cases. The one place that knows all of them (composition root)."""

from __future__ import annotations

import itertools
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.authenticity import authenticate
from offline_feature_plane.corridor.build import Built
from offline_feature_plane.corridor.build import build as build_dataset
from offline_feature_plane.corridor.claims import Worker
from offline_feature_plane.corridor.dataset import Dataset, open_dataset
from offline_feature_plane.corridor.drift import check_drift
from offline_feature_plane.corridor.plan import Planned, SubmittedIntent
from offline_feature_plane.corridor.plan import plan as make_plan
from offline_feature_plane.corridor.preview import Preview
from offline_feature_plane.corridor.preview import preview as make_preview
from offline_feature_plane.corridor.publish import by_id_key, manifest_key
from offline_feature_plane.corridor.recompute import recompute as compute_again
from offline_feature_plane.corridor.refusals import keep_refusal
from offline_feature_plane.corridor.shortform import write_pin
from offline_feature_plane.corridor.steps import Machine
from offline_feature_plane.corridor.verify import Verification
from offline_feature_plane.corridor.verify import verify as verify_dataset
from offline_feature_plane.documents import Document, load_document
from offline_feature_plane.domain.canonical import load_json, sha256_of
from offline_feature_plane.errors import (
    DatasetNotFound,
    DigestMismatch,
    OfsError,
    RefInvalid,
    RefNotFound,
    ResourceExceeded,
    RunNotFound,
    SchemaInvalid,
)
from offline_feature_plane.kernels.compiling import prepare_cache, warm
from offline_feature_plane.ledger.heartbeat import Heartbeat
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.planning_inputs import PlaneInputs
from offline_feature_plane.ports import Clock, Engine, Ledger, LedgerEvent, ObjectStore, Ports, Progress, Run
from offline_feature_plane.settings import Settings, load_settings
from offline_feature_plane.worker_identity import has_died, this_worker

Intent = str | Path | Mapping[str, Any]

LEASE_US = 15_000_000
_RUN = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_LOOKS = itertools.count()


class SystemClock:
    """This machine's clock."""

    def now_us(self) -> int:
        """µs since the epoch, UTC."""
        return time.time_ns() // 1_000

    def sleep_us(self, span_us: int) -> None:
        """Wait."""
        time.sleep(span_us / 1e6)


@dataclass(frozen=True)
class Pinned:
    """A short intent written out: the full contract, what was filled in, and the fingerprint of both forms."""

    document: dict[str, Any]
    filled: list[dict[str, Any]]
    fingerprint: str

    @property
    def text(self) -> str:
        """The full contract as YAML."""
        return write_pin(self.document)


@dataclass(frozen=True)
class RunHistory:
    """A run as the ledger knows it, and its verified history."""

    run: Run
    events: tuple[LedgerEvent, ...]


@dataclass(frozen=True)
class Listing:
    """The datasets of a plane, and why some of its manifests cannot be believed."""

    datasets: tuple[DatasetManifest, ...]
    damaged: tuple[OfsError, ...]


def open_plane(path: str | Path = "plane.yaml", **overrides: Any) -> Plane:
    """Open the plane that a `plane.yaml` describes.

    Args:
        path: the file.
        overrides: settings that win over file and environment, by dotted name: `open_plane("plane.yaml", **{"engine.threads": 2})`.

    Raises:
        SettingsInvalid: with every problem, file and line. RefNotFound: no such file.
    """
    return Plane(load_settings(Path(path), os.environ, overrides), Path(path).resolve().parent)


class Plane:
    """One plane: ask it to plan, preview, build, show and verify. Use it as a context, or just let it go."""

    def __init__(self, settings: Settings, folder: Path, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.folder = folder
        self.clock = clock or SystemClock()
        self.inputs = PlaneInputs(settings, lambda: self.store, lambda: _engine(settings.engine.name))

    def __enter__(self) -> Self:
        """The plane itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing stays open between calls."""

    @cached_property
    def store(self) -> ObjectStore:
        """The artifact store."""
        return LocalStore(Path(self.settings.store))

    @cached_property
    def ledger(self) -> Ledger:
        """The run ledger."""
        return SqliteLedger(Path(self.settings.ledger), self.clock)

    # --- planning -------------------------------------------------------------------------------------------

    def plan(self, intent: Intent) -> Planned:
        """Validate, resolve and pin an intent; nothing is written. Raises OfsError."""
        planned = self._planned(intent)
        check_drift(planned, self.ledger)
        return planned

    def pin(self, intent: Intent) -> Pinned:
        """The full contract that an intent expands to."""
        pins = self._planned(intent).pins
        return Pinned(pins.intent, pins.filled, pins.dataset_fingerprint)

    def preview(self, intent: Intent, *, rows: int = 5, keys: Mapping[str, str] | None = None, progress: Progress | None = None) -> Preview:
        """Some rows, computed as a build would; nothing is written, and an edited profile revision may be looked at."""
        planned, hear = self._planned(intent), progress or _silent
        machine = self._machine(hear, is_needed=True)
        with self._scratch() as folder:
            return make_preview(planned, machine, folder, rows=rows, keys=keys or {}, progress=hear)

    def build(self, intent: Intent, *, recompute: bool = False, progress: Progress | None = None) -> Built:
        """Build and publish, or return what is published already; with `recompute`, compute it again and compare.

        Raises:
            OfsError: whatever stood in the way; the ledger has it if a run began. A basis that is refused as incomplete opens no run,
                but its receipt is kept in the store.
        """
        hear, began = progress or _silent, self.clock.now_us()
        try:
            planned = self.plan(intent)
        except OfsError as refused:
            with suppress(OfsError):  # the first error is the one that counts
                keep_refusal(refused, self.store)
            raise
        ready = self.clock.now_us()
        machine = self._machine(hear, is_needed=recompute or not self.inputs.is_published(planned.platform_run_id, planned.dm_id))
        before = {"plan": (ready - began) / 1e6, "kernels": (self.clock.now_us() - ready) / 1e6}
        ports = Ports(self.store, self.ledger, self.clock)
        if recompute and self.inputs.is_published(planned.platform_run_id, planned.dm_id):
            with self._scratch() as folder:
                built = compute_again(planned, ports, machine, folder, hear)
        else:
            built = build_dataset(planned, ports, machine, self._worker(), hear)
        return replace(built, timings={**before, **built.timings})

    # --- looking --------------------------------------------------------------------------------------------

    def runs(self, *, limit: int = 20) -> Sequence[Run]:
        """The newest runs of the ledger."""
        return self.ledger.runs(limit=limit)

    def run(self, name: str) -> RunHistory:
        """A run and its history, by run key, an unambiguous beginning of it, or request id. Raises RunNotFound."""
        found = self.ledger.find(name)
        if len(found) != 1:
            many = "more than one run matches" if found else "no run matches"
            raise RunNotFound(f"{many} {name!r}.", fix="`ofs runs` lists them.", name=name)
        return RunHistory(found[0], tuple(self.ledger.events(found[0].run_key)))

    def datasets(self) -> list[DatasetManifest]:
        """The manifests of this plane's run."""
        found = self.list_datasets()
        if found.damaged:
            raise found.damaged[0]
        return list(found.datasets)

    def list_datasets(self) -> Listing:
        """The same, with what cannot be believed set apart instead of raised."""
        good, damaged = [], []
        for key in (one for one in self.store.list(f"{self.settings.run_scope}/ofs/manifests") if one.endswith(".json")):
            try:
                good.append(authenticate(self.store.get(key), key, self.store))
            except OfsError as wrong:
                damaged.append(wrong)
        return Listing(tuple(good), tuple(damaged))

    def manifest(self, ref: str) -> DatasetManifest:
        """A manifest by its id, an unambiguous beginning of it, or the path of its file.

        Raises:
            DatasetNotFound: no such dataset. ManifestInvalid, DigestMismatch: it is not the one that was published.
        """
        return authenticate(*self._found(ref), self.store)

    def dataset(self, ref: str) -> Dataset:
        """A dataset for use: every file is checked against the manifest before this returns.

        Raises:
            DatasetNotFound: no such dataset. DigestMismatch: a file is gone, or not the published one.
        """
        return open_dataset(self.manifest(ref), self.store, Path(self.settings.work) / "copies")

    def verify(self, ref: str, *, progress: Progress | None = None) -> Verification:
        """Hash everything again and hold it against the manifest."""
        raw, key = self._found(ref)
        with self._scratch() as folder:
            return verify_dataset(raw, key, self.store, folder, progress or _silent)

    # --- inside ---------------------------------------------------------------------------------------------

    def _planned(self, intent: Intent) -> Planned:
        return make_plan(self._asked(intent), self.inputs)

    def _asked(self, intent: Intent) -> SubmittedIntent:
        if isinstance(intent, Mapping):
            return SubmittedIntent(Document(intent, "intent"), self.folder)
        path = Path(intent)
        return SubmittedIntent(load_document(path), path.resolve().parent)

    def _machine(self, progress: Progress, *, is_needed: bool) -> Machine:
        """What computes; compiled kernels only if something will be computed."""
        chosen = self.settings.engine
        prepare_cache(_cache_folder())
        if is_needed and chosen.name == "local":
            progress("compile", 0, 0)
            warm()  # before a lease begins: the compiler holds the interpreter
        return Machine(_engine(chosen.name), Path(self.settings.work), chosen.memory_limit, chosen.threads, _versions(),
                       sha256_of(str(self.settings.ledger).encode())[7:19])

    def _worker(self) -> Worker:
        ledger = self.ledger
        return Worker(this_worker(), LEASE_US, lambda run: Heartbeat(ledger, run, lease_us=LEASE_US), has_died)

    def _found(self, ref: str) -> tuple[bytes, str]:
        """The bytes of a manifest and its key, from an id, the beginning of one in this plane's run, or the path of a manifest's file."""
        name = Path(ref).stem if ref.endswith(".json") else ref
        keys: list[str] = []
        try:
            pointer = load_json(self.store.get(by_id_key(name)))
            keys = [str(pointer["manifest_key"])] if isinstance(pointer, dict) else []
        except (RefNotFound, RefInvalid, SchemaInvalid, ResourceExceeded, KeyError):
            pass
        if not keys or not re.fullmatch(_RUN + re.escape(manifest_key("", name)), keys[0]):  # none, a damaged one, or a beginning
            found = self.store.list(f"{self.settings.run_scope}/ofs/manifests")
            keys = [key for key in found if name and Path(key).stem.startswith(name) and key.endswith(".json")]
        if len(keys) != 1:
            raise DatasetNotFound(f"{'more than one dataset matches' if keys else 'no dataset matches'} {ref!r}.",
                                  fix="`ofs datasets` lists them.", ref=ref)
        try:
            return self.store.get(keys[0]), keys[0]
        except RefNotFound as gone:
            raise DigestMismatch(f"{name} was published, but its manifest {self.store.uri(keys[0])} is missing.", path=keys[0],
                                 fix="Restore the store from a copy.") from gone

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A name for a work folder, created when needed; removed afterwards, with every new empty folder above it."""
        folder = Path(self.settings.work) / f"look-{os.getpid()}-{next(_LOOKS)}"
        missing = [one for one in folder.parents if not one.exists()]
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # somebody else works there by now
                for parent in missing:
                    parent.rmdir()


def warm_kernels() -> float:
    """Compile the window kernels, or load them; seconds."""
    prepare_cache(_cache_folder())
    return warm().seconds


def _engine(name: str) -> Engine:
    if name == "oracle":
        from offline_feature_plane.engines.oracle import OracleEngine

        return OracleEngine()
    from offline_feature_plane.engines.local import LocalEngine

    return LocalEngine()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "offline-feature-plane"


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in
                                                    ("offline-feature-plane", "duckdb", "numba", "numpy", "pyarrow", "tzdata")}}


def _silent(step: str, done: int, total: int) -> None:
    """Report nothing."""
