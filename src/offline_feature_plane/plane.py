"""The plane: settings become adapters, adapters serve the use cases. The one place that knows all of them (composition root)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from offline_feature_plane.adapters import (
    SystemClock,
    load_labels,
    make_engine,
    open_bucket_archive,
    open_cluster,
    open_label_stores,
    open_ledger,
    open_store,
    open_stream,
)
from offline_feature_plane.contracts.audit import LeakageAudit
from offline_feature_plane.contracts.intent import Actor, IntentKind
from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.contracts.receipts import PhaseReceipt
from offline_feature_plane.corridor.answer import Built, Pinned, RunHistory
from offline_feature_plane.corridor.audit import audit as audit_dataset
from offline_feature_plane.corridor.authenticity import authenticate
from offline_feature_plane.corridor.build import build as build_dataset
from offline_feature_plane.corridor.catalog import Listing, find_manifest, list_manifests
from offline_feature_plane.corridor.checkup import Checkup, examine
from offline_feature_plane.corridor.claims import Worker, end_cancelled, submit
from offline_feature_plane.corridor.collection import Collection, collect
from offline_feature_plane.corridor.croissant import describe
from offline_feature_plane.corridor.dataset import Dataset, open_published
from offline_feature_plane.corridor.drift import check_drift
from offline_feature_plane.corridor.feature_catalog import CataloguedFeature, planned_features
from offline_feature_plane.corridor.intake import Admission, read_start, read_training_profile
from offline_feature_plane.corridor.intake import admit as admit_datasets
from offline_feature_plane.corridor.label_report import LabelReport, check_wishes, report_labels
from offline_feature_plane.corridor.ledger_check import LedgerReport, check_ledger
from offline_feature_plane.corridor.plan import Planned, SubmittedIntent
from offline_feature_plane.corridor.plan import plan as make_plan
from offline_feature_plane.corridor.preview import Preview
from offline_feature_plane.corridor.preview import preview as make_preview
from offline_feature_plane.corridor.publish import keep_plan
from offline_feature_plane.corridor.rebuilding import Rebuilding, rebuild
from offline_feature_plane.corridor.receipts import Costs, StepCost, read_phases
from offline_feature_plane.corridor.recompute import recompute as compute_again
from offline_feature_plane.corridor.refusals import keep_refusal
from offline_feature_plane.corridor.retirement import Retired, refuse_retired
from offline_feature_plane.corridor.retirement import retire as retire_dataset
from offline_feature_plane.corridor.settlement import cancel as cancel_run
from offline_feature_plane.corridor.standing import Standing, read_standing
from offline_feature_plane.corridor.steps import Machine
from offline_feature_plane.corridor.verify import Verification
from offline_feature_plane.corridor.verify import verify as verify_dataset
from offline_feature_plane.corridor.worker import Ended, Post, plan_again, retry, serve
from offline_feature_plane.corridor.workfolders import collect_copies, collect_kept, collect_work, hold_copies, look
from offline_feature_plane.documents import Document, load_document
from offline_feature_plane.domain.periods import Period
from offline_feature_plane.domain.suspicion import Probe
from offline_feature_plane.errors import (
    DatasetNotFound,
    OfsError,
    RunNotFound,
    RunScopeInvalid,
)
from offline_feature_plane.ledger.heartbeat import Heartbeat
from offline_feature_plane.machines import ledger_name, make_machine
from offline_feature_plane.planning_inputs import PlaneInputs
from offline_feature_plane.ports import Clock, Ledger, ObjectStore, Ports, Progress, Quarantined, Run, Submitted
from offline_feature_plane.settings import Settings, load_settings
from offline_feature_plane.stopping import heed
from offline_feature_plane.worker_identity import has_died, this_worker

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from offline_feature_plane.labelstores.postgres.loading import Loaded

Intent = str | Path | Mapping[str, Any]
Trouble = Callable[[OfsError], None]

LEASE_US = 15_000_000


def open_plane(path: str | Path = "plane.yaml", *, spark: SparkSession | None = None, **overrides: Any) -> Plane:
    """Open the plane that a `plane.yaml` describes.

    Args:
        path: the file.
        spark: the session that `engine: {name: spark}` computes in; None: the active one, else a new one for each build.
        overrides: settings that win over file and environment, by dotted name: `open_plane("plane.yaml", **{"engine.threads": 2})`.

    Raises:
        SettingsInvalid: with every problem, file and line. RefNotFound: no such file.
    """
    return Plane(load_settings(Path(path), os.environ, overrides), Path(path).resolve().parent, spark=spark)


class Plane:
    """One plane: ask it to plan, preview, build, show and verify. Use it as a context, or just let it go."""

    def __init__(self, settings: Settings, folder: Path, *, clock: Clock | None = None, spark: SparkSession | None = None) -> None:
        self.settings = settings
        self.folder = folder
        self.clock = clock or SystemClock()
        self._spark = spark
        self.inputs = PlaneInputs(settings, folder, lambda: self.store, lambda: make_engine(settings.engine, spark),
                                  lambda: open_label_stores(settings), partial(open_bucket_archive, Path(settings.work), self.clock),
                                  open_cluster, open_stream)

    def __enter__(self) -> Self:
        """The plane itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let the ledger go, and with it what it keeps open between calls."""
        self.__dict__.pop("ledger", None)

    @cached_property
    def store(self) -> ObjectStore:
        """The artifact store."""
        return open_store(self.settings, self.clock)

    @cached_property
    def ledger(self) -> Ledger:
        """The run ledger."""
        return open_ledger(self.settings.ledger, self.clock)

    # --- planning -------------------------------------------------------------------------------------------

    def plan(self, intent: Intent) -> Planned:
        """Validate, resolve and pin an intent of any kind; nothing is written. Raises OfsError, also for what would not be built.

        What a build of its kind makes of its basis is the plan's `answer`: parity over a gap is UNCHECKABLE, which is no error.
        """
        planned = self._buildable(intent, kind=None)
        refuse_retired(self.store, planned.platform_run_id, planned.dm_id)
        return planned

    def pin(self, intent: Intent) -> Pinned:
        """The full contract that an intent expands to."""
        pins = self._planned(intent).pins
        return Pinned(pins.intent, pins.filled, pins.dataset_fingerprint)

    def features(self, intent: Intent) -> tuple[CataloguedFeature, ...]:
        """The catalog of the features that an intent asks for. Raises as `pin`."""
        return planned_features(self._planned(intent))

    def preview(self, intent: Intent, *, rows: int = 5, keys: Mapping[str, str] | None = None, progress: Progress | None = None) -> Preview:
        """Some rows, computed as a build would; nothing is written, and an edited profile revision may be looked at."""
        planned, hear = self._planned(intent), progress or _silent
        machine = self._machine(hear, is_needed=True, planned=planned)
        with look(Path(self.settings.work)) as folder:
            return make_preview(planned, machine, folder, rows=rows, keys=keys or {}, progress=hear)

    def labels(self, intent: Intent, *, by: Period = "month", maturity_days: Sequence[int] = (),
               progress: Progress | None = None) -> LabelReport:
        """How far an intent's labels are: coverage over time, how long they take, and what follows for maturity, splits and the as-of.

        Nothing is written, and gates that fail are told, not raised.

        Args:
            intent: what would be built.
            by: how event time is cut.
            maturity_days: maturities that are weighed beside the intent's own.
            progress: is told of each step.

        Raises:
            LabelPolicyInvalid: another period, or a maturity that is not a number of days from 1 on.
            OfsError: as `preview`.
        """
        check_wishes(by, maturity_days)
        planned, hear = self._planned(intent), progress or _silent
        machine = self._machine(hear, is_needed=False)  # no window is computed
        with look(Path(self.settings.work)) as folder:
            return report_labels(planned, machine, folder, period=by, wanted=maturity_days, progress=hear)

    def build(self, intent: Intent, *, recompute: bool = False, progress: Progress | None = None, costs: Costs | None = None) -> Built:
        """Build and publish, or return what is published already; with `recompute`, compute it again and compare.

        Args:
            intent: what is asked for.
            recompute: compute it again even if it is published.
            progress: is told of each step.
            costs: a dictionary that is emptied, and filled with what each step took; the answer has it too, an error does not.

        Raises:
            OfsError: whatever stood in the way; the ledger has it if a run began. A basis that is refused as incomplete opens no run,
                but its receipt is kept in the store.
        """
        hear, began, costs = progress or _silent, self.clock.now_us(), {} if costs is None else costs
        costs.clear()
        try:
            planned = self._buildable(intent)  # whether it was retired is asked by its run, which may have to end first
        except OfsError as refused:
            with suppress(OfsError):  # the first error is the one that counts
                keep_refusal(refused, self.store)
            raise
        ready = self.clock.now_us()
        costs["plan"] = StepCost((ready - began) / 1e6)
        is_published = self.inputs.is_published(planned.platform_run_id, planned.dm_id)
        machine = self._machine(hear, is_needed=recompute or not is_published, planned=planned)
        costs["kernels"] = StepCost((self.clock.now_us() - ready) / 1e6)
        ports = Ports(self.store, self.ledger, self.clock)
        if recompute and is_published:
            with look(Path(self.settings.work)) as folder:
                return compute_again(planned, ports, machine, folder, hear, costs)
        return build_dataset(planned, ports, machine, self._worker(), hear, costs)

    # --- operating ------------------------------------------------------------------------------------------

    def enqueue(self, intent: Intent) -> Submitted:
        """Plan an intent and leave its run to the workers; the same intent again is the same run.

        Raises:
            RunScopeInvalid: no worker of this plane would take the run. OfsError: as `plan`.
        """
        planned = self._buildable(intent)
        refuse_retired(self.store, planned.platform_run_id, planned.dm_id)
        if planned.platform_run_id != self.settings.run_scope:
            raise RunScopeInvalid(f"the intent belongs to {planned.platform_run_id}; workers of this plane work for "
                                  f"{self.settings.run_scope}.", path="$.platform_run_id", fix="Use the plane of that run scope.")
        submitted = submit(planned, self.ledger)
        keep_plan(self.store, submitted.run)
        return submitted

    def work(self, *, once: bool = False, progress: Progress | None = None, trouble: Trouble | None = None) -> Iterator[Ended]:
        """Work on the due runs of this plane's scope, and yield what became of each; forever, or until nothing is due.

        Args:
            once: end when nothing is due.
            progress: is told of each step.
            trouble: is told of a ledger or store that failed, before the worker waits for it.

        Raises:
            LedgerUnavailable, StorageIoFailure: at the start, or with `once`.
        """
        hear = progress or _silent
        machine = self._machine(hear, is_needed=True)
        return serve(Post(self.settings.run_scope, Ports(self.store, self.ledger, self.clock), machine, self._worker(),
                          lambda run: plan_again(run, self.inputs), hear, trouble or (lambda _: None)), once=once)

    def retry_publish(self, name: str, *, progress: Progress | None = None) -> Ended:
        """Publish what a PUBLISH_PENDING run has staged; nothing is computed. Counted, and bounded (`domain.md` §4).

        Raises:
            RunNotFound. RetryNotPending: nothing is staged to be published. RunBusy: a worker was quicker.
            RunScopeInvalid: the run is another scope's. OfsError: why it could not be published; the ledger has it.
        """
        machine = self._machine(progress or _silent, is_needed=False)
        return retry(self._own_run(name), Ports(self.store, self.ledger, self.clock), machine, self._worker(), progress or _silent)

    def cancel(self, name: str, *, reason: str) -> Run:
        """Cancel a run that has not committed; one that is RUNNING ends when its worker looks up next, or now if that worker is gone.

        Raises:
            RunNotFound. RunEnded: it has ended. PublicationVowed: it has committed. RunScopeInvalid: it is another scope's.
            SchemaInvalid: the reason says nothing.
        """
        run = cancel_run(self.store, self.ledger, self._own_run(name).run_key, reason=reason)
        return run if run.state == "CANCELLED" else end_cancelled(run, self.ledger, self._worker())

    def load_labels(self, paths: Sequence[str | Path], *, store: str | None = None, progress: Progress | None = None) -> Loaded:
        """Append the assertions of some files to a label store: all that it does not have yet, or none.

        Args:
            paths: Parquet, CSV or JSON Lines files with the columns of a store, or folders of them.
            store: its address; None: the one store that `labels:` in plane.yaml names.
            progress: is told of each step.

        Raises:
            SettingsInvalid: no store is named, or several. RequestCommandUnsupported: the driver is not installed.
            OfsError: a row is wrong, or the store is not there (`labelstores.postgres.loading.load`); nothing was loaded.
        """
        return load_labels(self.settings, store, [Path(path) for path in paths], progress or _silent)

    # --- looking --------------------------------------------------------------------------------------------

    def runs(self, *, limit: int = 20) -> Sequence[Run]:
        """The newest runs of the ledger."""
        return self.ledger.runs(limit=limit)

    def run(self, name: str) -> RunHistory:
        """A run and its history, by run key, an unambiguous beginning of it, or request id. Raises RunNotFound."""
        found = self._run(name)
        return RunHistory(found, tuple(self.ledger.events(found.run_key)))

    def phases(self, name: str) -> tuple[PhaseReceipt, ...]:
        """What each phase of a run took and found, attempt by attempt, whoever worked on it and however it ended.

        Raises:
            RunNotFound. RefNotFound, DigestMismatch: a receipt is gone, or is not what was written. StorageIoFailure.
        """
        return read_phases(self.store, self.run(name).events)

    def quarantined(self) -> Sequence[Quarantined]:
        """The runs that no worker may take, because their record in the ledger cannot be believed."""
        return self.ledger.quarantined()

    def datasets(self) -> list[DatasetManifest]:
        """The manifests of this plane's run, the retired ones too."""
        found = self.list_datasets()
        if found.damaged:
            raise found.damaged[0]
        return list(found.datasets)

    def list_datasets(self) -> Listing:
        """The same, with what was retired, and with what cannot be believed set apart instead of raised."""
        return list_manifests(self.store, self.settings.run_scope)

    def manifest(self, ref: str) -> DatasetManifest:
        """A manifest by its id, an unambiguous beginning of it, or the path of its file.

        Raises:
            DatasetNotFound: no such dataset. ManifestInvalid, DigestMismatch: it is not the one that was published.
        """
        return authenticate(*find_manifest(ref, self.store, self.settings.run_scope), self.store)

    def standing(self, ref: str) -> Standing:
        """Whether a dataset was retired, and which ones it replaces or is replaced by. Raises as `manifest`."""
        manifest = self.manifest(ref)
        return read_standing(self.store, manifest.platform_run_id, manifest.dataset_manifest_id)

    def dataset(self, ref: str) -> Dataset:
        """A dataset for use: every file is checked against the manifest before this returns.

        A retired dataset whose data is kept opens with a warning that says why it was retired.

        Raises:
            DatasetNotFound: no such dataset. DatasetRetired: its data has expired.
            DigestMismatch: a file is gone, or not the published one.
        """
        opened = open_published(self.manifest(ref), self.store, hold_copies(Path(self.settings.work), self.store))
        for notice in opened.notices:
            warnings.warn(notice, stacklevel=2)
        return opened

    def croissant(self, ref: str, *, license_: str | None = None) -> dict[str, Any]:
        """A dataset's metadata in the Croissant 1.0 format, a JSON-LD document; what a manifest does not know, its license, is said here.

        Raises:
            DatasetNotFound, ManifestInvalid, DigestMismatch: as `manifest`, or its publication receipt is not the one that it names.
            DatasetRetired: its data has expired.
        """
        return describe(self.manifest(ref), self.store, license_=license_)

    def verify(self, ref: str, *, progress: Progress | None = None) -> Verification:
        """Hash everything again and hold it against the manifest."""
        raw, key = find_manifest(ref, self.store, self.settings.run_scope)
        with look(Path(self.settings.work)) as folder:
            return verify_dataset(raw, key, self.store, folder, progress or _silent)

    def audit(self, ref: str, probe: Probe | None = None, *, progress: Progress | None = None) -> LeakageAudit:
        """What bounds each column of a dataset, and whether a feature predicts the target too well on its own or moved between splits.

        Args:
            ref: as `dataset`, whose files are checked first.
            probe: how closely to look.
            progress: is told of each step.

        Raises:
            OfsError: as `dataset`; nothing that is found is raised.
        """
        opened = open_published(self.manifest(ref), self.store, hold_copies(Path(self.settings.work), self.store))
        return audit_dataset(opened, probe or Probe(), progress or _silent)

    def admit(self, *refs: str, profile: Intent | None = None, platform_run_id: str | None = None,
              execution_start: str | datetime | None = None) -> Admission:
        """May a training take these datasets? Answered from their manifests and from what is known of them; no data is read.

        Args:
            refs: the datasets, as for `manifest`; the same one twice is one.
            profile: the training profile, a path or a mapping; None: the datasets need only agree with each other.
            platform_run_id: the run that the training is for; None: this plane's.
            execution_start: when the training starts, a UTC instant; None: now.

        Raises:
            ManifestRefMissing: no ref. SchemaInvalid: the profile or the start is malformed. DatasetNotFound, ManifestInvalid,
                DigestMismatch: as `manifest`, or a fact about a dataset is damaged.
        """
        start = self.clock.now_us() if execution_start is None else read_start(execution_start)
        wanted = None if profile is None else read_training_profile(profile if isinstance(profile, Mapping) else Path(profile))
        manifests = [self.manifest(ref) for ref in refs]
        offered = [(one, read_standing(self.store, one.platform_run_id, one.dataset_manifest_id)) for one in manifests]
        return admit_datasets(offered, wanted, platform_run_id=platform_run_id or self.settings.run_scope, execution_start_us=start)

    # --- keeping --------------------------------------------------------------------------------------------

    def retire(self, ref: str, *, reason: str, expire_data: bool = False) -> Retired:
        """Retire a dataset: its meaning is not built again, and with `expire_data` its data may be collected. Neither can be taken back.

        Raises:
            DatasetNotFound: no such dataset, or only the beginning of its id. ManifestInvalid, DigestMismatch: it is not the one that was
                published. SchemaInvalid: a reason that is not a line of text.
        """
        raw, key = find_manifest(ref, self.store, self.settings.run_scope)
        manifest = authenticate(raw, key, self.store)
        if Path(ref).stem != manifest.dataset_manifest_id:  # a slip of the hand must not retire another one
            raise DatasetNotFound(f"{ref!a} is only the beginning of {manifest.dataset_manifest_id}, and what is retired stays retired.",
                                  fix="Give the whole id.")
        name, source = self.inputs.actor
        return retire_dataset(manifest, raw, self.store, self.clock, Actor(name=name, source=source),
                              reason=reason, expire_data=expire_data)

    def collect(self, *, apply: bool, progress: Progress | None = None) -> Collection:
        """Find what nobody reads any more in this plane's scope of the store and in its work folder, and with `apply` remove it.

        Raises:
            StorageIoFailure: the store failed; what was removed before is gone.
        """
        found = collect(self.store, self.settings.run_scope, progress or _silent, apply=apply)
        work = Path(self.settings.work)
        return replace(found, items=(*found.items, *collect_work(work, apply=apply), *collect_copies(work, apply=apply),
                                     *collect_kept(work, self.store, self.settings.run_scope, ledger_name(self.settings), apply=apply)))

    def check_ledger(self, *, progress: Progress | None = None) -> LedgerReport:
        """Check every run's history, and hold the runs of this plane's scope against their commit records. Nothing is written.

        Raises:
            LedgerUnavailable, StorageIoFailure.
        """
        return check_ledger(self.ledger, self.store, self.settings.run_scope, progress or _silent)

    def rebuild_ledger(self, *, apply: bool, progress: Progress | None = None) -> Rebuilding:
        """Tell the runs of this plane's scope from the store, and with `apply` give them to a ledger that has none.

        Raises:
            LedgerNotEmpty: the ledger has runs of this scope. LedgerUnavailable, StorageIoFailure.
        """
        return rebuild(self.store, self.ledger, self.clock, self.settings.run_scope, progress or _silent, apply=apply)

    def doctor(self, *, within_days: int = 3) -> Checkup:
        """Which datasets can no longer be built again, or soon no longer, because a bus lets their events go, or what they rest on is gone.

        Args:
            within_days: what a bus may let go within so many days is told.

        Raises:
            StorageIoFailure: the store cannot be read; a source that cannot be asked is told.
        """
        return examine(self.list_datasets(), self.inputs, now_us=self.clock.now_us(), within_days=within_days)

    # --- inside ---------------------------------------------------------------------------------------------

    def _run(self, name: str) -> Run:
        found = self.ledger.find(name)
        if len(found) != 1:
            many = "more than one run matches" if found else "no run matches"
            raise RunNotFound(f"{many} {name!r}.", fix="`ofs runs` lists them.", name=name)
        return found[0]

    def _own_run(self, name: str) -> Run:
        run = self._run(name)
        if run.platform_run_id != self.settings.run_scope:
            raise RunScopeInvalid(f"run {run.run_key} belongs to {run.platform_run_id}; this plane works for {self.settings.run_scope}.",
                                  fix="Use the plane of that run.", run_key=run.run_key)
        return run

    def _planned(self, intent: Intent, *, kind: IntentKind | None = "dataset_build") -> Planned:
        return make_plan(self._asked(intent), self.inputs, now_us=self.clock.now_us(), kind=kind)

    def _buildable(self, intent: Intent, *, kind: IntentKind | None = "dataset_build") -> Planned:
        planned = self._planned(intent, kind=kind)
        check_drift(planned.pins, self.ledger)
        return planned

    def _asked(self, intent: Intent) -> SubmittedIntent:
        if isinstance(intent, Mapping):
            return SubmittedIntent(Document(intent, "intent"), self.folder)
        path = Path(intent)
        return SubmittedIntent(load_document(path), path.resolve().parent)

    def _machine(self, progress: Progress, *, is_needed: bool, planned: Planned | None = None) -> Machine:
        return make_machine(self.settings, self._spark, progress, is_needed=is_needed, task=None if planned is None else planned.task,
                            records=planned is None or planned.reads_records)

    def _worker(self) -> Worker:
        ledger = self.ledger
        return Worker(this_worker(), LEASE_US, lambda run: Heartbeat(ledger, run, lease_us=LEASE_US), has_died, heed)


def _silent(step: str, done: int, total: int) -> None:
    """Report nothing."""
