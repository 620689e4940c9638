"""The plane: settings become adapters, adapters serve the use cases. The one place that knows all of them (composition root)."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor import build as building
from offline_feature_plane.corridor.attempt import Doors
from offline_feature_plane.corridor.dataset import Dataset, open_dataset, parse_manifest
from offline_feature_plane.corridor.plan import Asked, Planned
from offline_feature_plane.corridor.plan import plan as make_plan
from offline_feature_plane.corridor.preview import Preview
from offline_feature_plane.corridor.preview import preview as make_preview
from offline_feature_plane.corridor.publish import by_id_key
from offline_feature_plane.corridor.shortform import write_pin
from offline_feature_plane.corridor.verify import Verification
from offline_feature_plane.corridor.verify import verify as verify_dataset
from offline_feature_plane.documents import Document, load_document
from offline_feature_plane.domain.canonical import load_json
from offline_feature_plane.errors import DatasetNotFound, FeatureProfileDrift, OfsError, RunNotFound, StorageIoFailure
from offline_feature_plane.home import PlaneHome, has_died, this_worker
from offline_feature_plane.kernels.compiling import prepare_cache, warm
from offline_feature_plane.ledger.heartbeat import Heartbeat
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.ports import Clock, Engine, Ledger, LedgerEvent, ObjectStore, Run
from offline_feature_plane.settings import Settings, load_settings

Progress = Callable[[str, int, int], None]
Intent = str | Path | Mapping[str, Any]

LEASE_US = 15_000_000


class SystemClock:
    """This machine's clock."""

    def now_us(self) -> int:
        """µs since the epoch, UTC."""
        return time.time_ns() // 1_000


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
        self.home = PlaneHome(settings, lambda: self.store, lambda: _engine(settings.engine.name))

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

    # --- asking ---------------------------------------------------------------------------------------------

    def plan(self, intent: Intent) -> Planned:
        """Validate, resolve and pin an intent; nothing is written. Raises every error of the asking side."""
        asked = self._asked(intent)
        return make_plan(asked, self.home.hearing(asked.document))

    def pin(self, intent: Intent) -> Pinned:
        """The full contract that an intent stands for."""
        pins = self.plan(intent).pins
        return Pinned(pins.intent, pins.filled, pins.dataset_fingerprint)

    def preview(self, intent: Intent, *, rows: int = 5, keys: Mapping[str, str] | None = None, progress: Progress | None = None) -> Preview:
        """Some rows, computed as a build would; nothing is written."""
        planned = self.plan(intent)
        doors = self._doors(progress)
        with self._scratch() as folder:
            return make_preview(planned, doors, folder, rows=rows, keys=keys or {}, progress=progress or _silent)

    def build(self, intent: Intent, *, recompute: bool = False, progress: Progress | None = None) -> building.Built:
        """Build and publish, or return what is published already; with `recompute`, compute it again and compare.

        Raises:
            OfsError: whatever stood in the way; the ledger has it if a run began.
        """
        began = self.clock.now_us()
        planned = self.plan(intent)
        self._refuse_drift(planned)
        ready = self.clock.now_us()
        doors = self._doors(progress)
        timings = {"plan": (ready - began) / 1e6, "kernels": (self.clock.now_us() - ready) / 1e6}
        if recompute and self.home.is_published(planned.dm_id):
            return building.recompute(planned, doors, progress or _silent, timings)
        return building.build(planned, doors, progress or _silent, timings)

    # --- looking --------------------------------------------------------------------------------------------

    def runs(self, *, limit: int = 20) -> Sequence[Run]:
        """The newest runs of the ledger."""
        return self.ledger.runs(limit=limit)

    def run(self, name: str) -> tuple[Run, Sequence[LedgerEvent]]:
        """A run and its history, by run key, an unambiguous beginning of it, or request id. Raises RunNotFound."""
        found = [run for run in self.ledger.runs(limit=100_000) if run.run_key.startswith(name) or run.request_id == name] if name else []
        if len(found) != 1:
            raise RunNotFound(f"{len(found)} runs answer to {name!r}.", fix="`ofs runs` lists them.", name=name)
        return found[0], self.ledger.events(found[0].run_key)

    def datasets(self) -> list[DatasetManifest]:
        """The manifests of this plane's run."""
        return [parse_manifest(self.store.get(key), key) for key in self.store.list(f"{self.settings.run_scope}/ofs/manifests")]

    def manifest(self, ref: str) -> DatasetManifest:
        """A manifest by its id, an unambiguous beginning of it, or the path of its file. Raises DatasetNotFound, ManifestInvalid."""
        return parse_manifest(*self._found(ref))

    def dataset(self, ref: str) -> Dataset:
        """A dataset for use: every file is checked against the manifest before this returns.

        Raises:
            DatasetNotFound: no such dataset. DigestMismatch: a file is gone, or not the published one.
        """
        return open_dataset(self.manifest(ref), self.store, self._copies())

    def verify(self, ref: str, *, progress: Progress | None = None) -> Verification:
        """Hash everything again and hold it against the manifest."""
        data, key = self._found(ref)
        with self._scratch() as folder:
            return verify_dataset(parse_manifest(data, key), data, self.store, folder, progress or _silent)

    # --- inside ---------------------------------------------------------------------------------------------

    def _asked(self, intent: Intent) -> Asked:
        if isinstance(intent, Mapping):
            return Asked(Document(intent, "intent"), self.folder)
        path = Path(intent)
        return Asked(load_document(path), path.resolve().parent)

    def _refuse_drift(self, planned: Planned) -> None:
        """One profile revision, one closure (`decisions.md` D11)."""
        profile = planned.pins.profile
        if not profile.versioned:
            return
        name = f"{profile.policy_id}@{profile.revision}/{profile.feature_set}/{planned.task.subject}"
        known = self.ledger.remember_closure(profile=name, digest=profile.closure_digest)
        if known != profile.closure_digest:
            raise FeatureProfileDrift(f"{profile.policy_id}@{profile.revision} was used before with closure {known}; "
                                      f"it now means {profile.closure_digest}.", path=profile.ref)

    def _doors(self, progress: Progress | None) -> Doors:
        prepare_cache(_cache_folder())
        if progress is not None:
            progress("compile", 0, 0)
        if self.settings.engine.name == "local":
            warm()  # before a lease begins: the compiler holds the interpreter
        chosen = self.settings.engine
        ledger = self.ledger
        return Doors(store=self.store, ledger=ledger, engine=_engine(chosen.name), clock=self.clock, work=Path(self.settings.work),
                              worker=this_worker(), has_died=has_died, lease_us=LEASE_US,
                              keep_alive=lambda run: Heartbeat(ledger, run, lease_us=LEASE_US), versions=_versions(),
                              memory_limit=chosen.memory_limit, threads=chosen.threads)

    def _found(self, ref: str) -> tuple[bytes, str]:
        name = ref
        if ref.endswith(".json"):
            try:
                name = str(load_json(Path(ref).read_bytes(), name=ref)["dataset_manifest_id"])
            except (OSError, KeyError, TypeError, OfsError) as wrong:
                raise DatasetNotFound(f"{ref} is no manifest that can be read.", fix="Name the dataset by its dm_… id.") from wrong
        try:
            pointer = load_json(self.store.get(by_id_key(name)))
            return self.store.get(pointer["manifest_key"]), pointer["manifest_key"]
        except (OfsError, KeyError, TypeError):  # no pointer, or a harmed one
            keys = [key for key in self.store.list(f"{self.settings.run_scope}/ofs/manifests") if Path(key).stem.startswith(name)]
            if len(keys) != 1 or not name:
                raise DatasetNotFound(f"{len(keys)} datasets answer to {ref!r}.", fix="`ofs datasets` lists them.", ref=ref) from None
            return self.store.get(keys[0]), keys[0]

    def _copies(self) -> Path:
        folder = Path(self.settings.work) / "copies"
        with self._working():
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def _working(self) -> Iterator[None]:
        """What goes wrong with the work folder is told as such."""
        try:
            yield
        except OSError as wrong:
            raise StorageIoFailure(f"the work folder {self.settings.work} cannot be used: {wrong.strerror}.", path="work",
                                   fix="Set `work:` in plane.yaml to a folder that can be written.") from wrong

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with self._working():
            Path(self.settings.work).mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="look-", dir=self.settings.work))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


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
    """Tell nobody."""


