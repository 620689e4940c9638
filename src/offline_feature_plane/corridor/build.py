"""The build corridor: a planned intent in, a published dataset out.

plan ──▶ replay ──▶ labels ──▶ select ──▶ gates ──▶ rows ──▶ stage ──▶ manifest ──▶ publish
└────────────── each step leaves a receipt, the ledger remembers ──────────┘
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from offline_feature_plane.contracts.manifest import ArtifactRef, DatasetManifest, Evidence
from offline_feature_plane.corridor.conduct import INTERRUPTED_CODE, conduct
from offline_feature_plane.corridor.dataset import open_dataset, parse_manifest
from offline_feature_plane.corridor.gates import as_contract, judge, refuse_failed
from offline_feature_plane.corridor.manifest import Found, artifact, write_core, write_manifest, write_parts
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.publish import (
    Manifest,
    data_prefix,
    find_published,
    link_superseded,
    manifest_key,
    plan_key,
)
from offline_feature_plane.corridor.receipts import Receipts
from offline_feature_plane.corridor.stage import COLUMN_DIGESTS_NAME, Staged, stage
from offline_feature_plane.domain.accounting import check_accounting
from offline_feature_plane.domain.canonical import canonical_bytes, sha256_of
from offline_feature_plane.errors import (
    BuildPlanImmutabilityViolation,
    DatasetArtifactImmutabilityViolation,
    Fenced,
    LabelHistoryChanged,
    NondeterminismDetected,
    OfsError,
    ReplayBasisMismatch,
    RunBusy,
    RunEnded,
    StorageIoFailure,
)
from offline_feature_plane.ports import Clock, Engine, Ledger, ObjectStore, Run

Progress = Callable[[str, int, int], None]
WORKER_DIED_CODE: Final = "WORKER_DIED"

Outcome = Literal["PUBLISHED", "ALREADY_PUBLISHED", "REPRODUCED"]


class Lease(Protocol):
    """A claim that is being kept alive."""

    def check(self) -> None:
        """Raises Fenced once the claim was lost."""


@dataclass(frozen=True)
class Doors:
    """What a build speaks to; `plane` opens them."""

    store: ObjectStore
    ledger: Ledger
    engine: Engine
    clock: Clock
    work: Path
    worker: str
    lease_us: int
    keep_alive: Callable[[Run], AbstractContextManager[Lease]]
    versions: dict[str, str]
    memory_limit: str | None = None
    threads: int | None = None
    has_died: Callable[[str], bool] = field(default=lambda _: False)


@dataclass(frozen=True)
class Built:
    """The answer to a build: what stands published, the run that answered, and where the time went (seconds per step).

    `notices` say what the asker should know beside the manifest's own warnings.
    """

    outcome: Outcome
    manifest: DatasetManifest
    manifest_ref: str
    run: Run | None
    timings: dict[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        core = self.manifest.core
        return {"outcome": self.outcome, "dataset_manifest_id": self.manifest.dataset_manifest_id, "manifest_ref": self.manifest_ref,
                "dataset_fingerprint": self.manifest.dataset_fingerprint, "content_digest": core.content_digest,
                "row_count": core.row_count, "splits": [split.model_dump() for split in core.splits],
                "eligibility": core.eligibility.model_dump(), "warnings": [*core.warnings, *self.notices],
                "run_key": self.run.run_key if self.run else None, "request_id": self.run.request_id if self.run else None,
                "seconds": {step: round(took, 3) for step, took in self.timings.items()}}


def build(planned: Planned, doors: Doors, progress: Progress, timings: dict[str, float]) -> Built:
    """Bring the run of this intent to its end and answer with the published dataset.

    The same intent again returns the finished run, resumes a crashed one, and opens a new one after a failure (`decisions.md` D6).

    Raises:
        RunEnded: a stated request id whose run failed. RunBusy: another worker has it.
        OfsError: whatever ended this attempt; the ledger has it.
    """
    run = submit(planned, doors.ledger)
    if run.state in {"FAILED", "CANCELLED"}:
        raise RunEnded(f"the run of request {run.request_id} ended {run.state} ({run.reason_code}).",
                       fix="Use a new request_id, or leave it out.", run_key=run.run_key, reason_code=run.reason_code)
    published = None
    while published is None and (run := _claim(run, doors, progress)).state != "DONE":
        folder = doors.work / f"{run.run_key}.{run.attempt}"
        with _given_back(run, doors.ledger), _scratch(folder), doors.keep_alive(run) as lease:
            attempt = Attempt(planned, run, doors, lease, folder, progress, timings)
            published = conduct(doors.store, doors.ledger, run, dm_id=planned.dm_id, work=attempt.work, verify=attempt.verify_staged,
                                link=attempt.link)
    for left in doors.work.glob(f"{run.run_key}.*"):  # of attempts that were killed
        shutil.rmtree(left, ignore_errors=True)
    ended = doors.ledger.run(run.run_key)
    key = manifest_key(planned.platform_run_id, planned.dm_id)
    manifest = parse_manifest(published.manifest.data if published else doors.store.get(key), key)
    outcome: Outcome = "PUBLISHED" if published and published.outcome == "PUBLISHED" else "ALREADY_PUBLISHED"
    notices = (*planned.plan.warnings, *(_notice(planned, manifest) if outcome == "ALREADY_PUBLISHED" else ()))
    return Built(outcome, manifest, doors.store.uri(key), ended, timings, notices)


def _notice(planned: Planned, manifest: DatasetManifest) -> tuple[str, ...]:
    """A label file may have grown since publication, which changes nothing, or been edited, which only a comparison can tell."""
    before: dict[str, Any] = manifest.evidence.sources
    return tuple(f"the {source.name} labels are in other files than when this was published; `ofs build --recompute` tells whether "
                 "what was known at the as-of has changed." for source in planned.plan.sources
                 if source.kind == "labels" and before.get(source.name, {}).get("log_id") != source.log_id)


def _claim(run: Run, doors: Doors, progress: Progress) -> Run:
    """Claim a run, or see it DONE by another worker while waiting.

    A lease is waited for up to twice its length. That of a worker which is known to have died is given back in its name: the attempt
    fences it, should it live after all.
    """
    deadline = doors.clock.now_us() + 2 * doors.lease_us
    while True:
        try:
            return doors.ledger.claim(run.run_key, worker=doors.worker, lease_us=doors.lease_us)
        except RunEnded:
            if (ended := doors.ledger.run(run.run_key)).state == "DONE":
                return ended
            raise
        except RunBusy:
            if doors.clock.now_us() > deadline:
                raise
        busy = doors.ledger.run(run.run_key)
        if busy.state == "RUNNING" and busy.worker is not None and doors.has_died(busy.worker):
            with suppress(Fenced):
                doors.ledger.release(run.run_key, attempt=busy.attempt, reason_code=WORKER_DIED_CODE)
            continue
        progress("wait", 0, 0)
        time.sleep(doors.lease_us / 30e6)


def recompute(planned: Planned, doors: Doors, progress: Progress, timings: dict[str, float]) -> Built:
    """Compute a published dataset again and compare; nothing is written (`decisions.md` D5).

    Raises:
        ReplayBasisMismatch: the events are not the ones of the published dataset.
        LabelHistoryChanged: the label assertions below the cut are not.
        NondeterminismDetected: both are, and the rows differ.
    """
    key = manifest_key(planned.platform_run_id, planned.dm_id)
    standing = parse_manifest(doors.store.get(key), key)
    folder = doors.work / f"recompute-{planned.dm_id}.{os.getpid()}"
    with _scratch(folder):
        found = compute(planned, doors, folder, Receipts.silent(doors.clock, timings), lambda: None, progress)
    core = standing.core
    if found.replay.events_digest != core.events_digest:
        raise ReplayBasisMismatch(f"the events of {planned.dm_id} had digest {core.events_digest}, now {found.replay.events_digest}.")
    if found.labels.slice_digest != core.label_slice_digest:
        raise LabelHistoryChanged(f"the labels of {planned.dm_id} known at the as-of had digest {core.label_slice_digest}, "
                                  f"now {found.labels.slice_digest}.",
                                  fix="Assertions were added, changed or removed below the cut: ask the owner of the label timeline.")
    if found.staged.content_digest != core.content_digest:
        raise NondeterminismDetected(f"{planned.dm_id} has content {core.content_digest}, computed again {found.staged.content_digest}.",
                                     fix="Report this as a defect, with both digests.")
    return Built("REPRODUCED", standing, doors.store.uri(key), None, timings)


def submit(planned: Planned, ledger: Ledger) -> Run:
    """The run of this intent: a new one, or the one that its request has already."""
    payload = planned.document()["pins"]
    if planned.request_id is None:
        return ledger.submit_unnamed(payload_digest=planned.payload_digest, platform_run_id=planned.platform_run_id, payload=payload).run
    return ledger.submit(request_id=planned.request_id, payload_digest=planned.payload_digest,
                         platform_run_id=planned.platform_run_id, payload=payload).run


def compute(planned: Planned, doors: Doors, folder: Path, receipts: Receipts, check: Callable[[], None], progress: Progress) -> Found:
    """Replay, labels, selection, gates, rows: everything up to staged files, with a receipt for each step.

    Args:
        planned: what to build.
        doors: the engine is taken from here.
        folder: an existing empty folder for scratch files and staged parts.
        receipts: keeps what each step found.
        check: called between steps; raises if this worker should stop.
        progress: called as (step, done, total).
    """
    scratch, staging = folder / "scratch", folder / "staged"
    scratch.mkdir()
    staging.mkdir()
    with doors.engine.session(planned.task, work=scratch, memory_limit=doors.memory_limit, threads=doors.threads,
                              progress=progress) as session:
        with receipts.phase("replay") as facts:
            replay = session.replay(planned.events)
            facts.update(events_read=replay.events_read, events_admitted=replay.events_admitted, dispositions=dict(replay.dispositions),
                         events_digest=replay.events_digest, completeness=planned.completeness)
        check()
        with receipts.phase("labels") as facts:
            labels = session.labels(planned.labels)
            facts.update(assertions_read=labels.assertions_read, assertions_eligible=labels.assertions_eligible,
                         slice_digest=labels.slice_digest, per_type={name: dict(one) for name, one in labels.per_type.items()})
        check()
        with receipts.phase("selection") as facts:
            selection = session.select()
            check_accounting(selection.accounting, replay.events_read)
            gates = judge(planned, labels, selection)
            facts.update(accounting=dict(selection.accounting), coverage={name: dict(one) for name, one in selection.coverage.items()},
                         splits={name: dict(one) for name, one in selection.splits.items()},
                         gates=[gate.describe() for gate in gates])
            refuse_failed(planned, gates, labels, selection)
        check()
        with receipts.phase("staging") as facts:
            columns = session.columns()
            staged = stage(columns, session.rows(), staging)
            facts.update(rows=staged.rows, content_digest=staged.content_digest, parts=len(staged.parts))
    return Found(replay, labels, selection, tuple(as_contract(gates)), columns, staged, planned.evidence_kind)


@dataclass(frozen=True)
class Attempt:
    """One attempt of one claimed run: what `conduct` calls to have the work done."""

    planned: Planned
    run: Run
    doors: Doors
    lease: Lease
    folder: Path
    progress: Progress
    timings: dict[str, float]

    def work(self) -> bytes:
        """The manifest's bytes, with all data standing in the store; or the manifest that stands already and verifies."""
        standing = find_published(self.doors.store, self.planned.platform_run_id, self.planned.dm_id)
        if standing is not None:
            open_dataset(parse_manifest(standing, f"the manifest of {self.planned.dm_id}"), self.doors.store, self.folder)
            return standing
        receipts = Receipts(self.doors.store, self.doors.clock, self.run, self.planned, self.timings, self._note)
        pins = self._pin_plan()
        found = compute(self.planned, self.doors, self.folder, receipts, self.lease.check, self.progress)
        self.lease.check()
        with receipts.phase("publication") as facts:
            prefix = f"{data_prefix(self.planned.platform_run_id, self.planned.dm_id, self.run.run_key)}/"
            self._upload(found.staged, prefix)
            facts.update(parts=len(found.staged.parts), prefix=prefix)
        core = write_core(self.planned.pins, self.planned.task, found, self.planned.registered)
        evidence = Evidence(
            parts=write_parts(found.staged, prefix),
            column_digests=artifact("column digests", f"{prefix}{COLUMN_DIGESTS_NAME}", found.staged.content.column_digests_digest),
            plan=artifact("plan", plan_key(self.planned.platform_run_id, self.run.run_key), sha256_of(pins)),
            receipts=receipts.written, engine=f"{self.doors.engine.name}@{self.doors.engine.version}", versions=self.doors.versions,
            profile=self.planned.pins.profile.model_dump(), sources=self.planned.source_evidence(),
            publisher={"run_key": self.run.run_key, "request_id": self.run.request_id, "attempt": self.run.attempt,
                       "actor": self.planned.pins.intent["actor"], "ledger_head": self.doors.ledger.head(self.run.run_key)})
        manifest = write_manifest(self.planned.pins, core, evidence)
        return canonical_bytes(manifest.model_dump(mode="json"))

    def link(self) -> None:
        """State which dataset this one replaces, if the intent says so."""
        intent = self.planned.pins.intent
        if intent["supersedes"] is not None:
            link_superseded(self.doors.store, self.planned.platform_run_id, self.planned.dm_id, intent["supersedes"],
                            intent["backfill_reason"])

    def _note(self, kind: str, receipt: ArtifactRef) -> None:
        """Let the ledger remember a step by its receipt's digest."""
        self.doors.ledger.note(self.run.run_key, attempt=self.run.attempt, kind=kind, details=receipt.model_dump())

    def verify_staged(self, manifest: Manifest) -> None:
        """Hash the data of a staged manifest again. Raises DigestMismatch, ManifestInvalid."""
        open_dataset(parse_manifest(manifest.data, f"the staged manifest of {manifest.dm_id}"), self.doors.store, self.folder)

    def _pin_plan(self) -> bytes:
        """Write the pins once per run; a later attempt must have the same (`decisions.md` D4)."""
        key = plan_key(self.planned.platform_run_id, self.run.run_key)
        pins = canonical_bytes(self.planned.document()["pins"])
        if self.doors.store.put_new(key, pins) == "exists" and self.doors.store.get(key) != pins:
            raise BuildPlanImmutabilityViolation(f"the plan of run {self.run.run_key} was pinned differently by an earlier attempt.",
                                                 path=key, fix="Something that the plan pins has changed: ask again without a request_id.")
        return pins

    def _upload(self, staged: Staged, prefix: str) -> None:
        for done, (part, target) in enumerate(zip(staged.parts, write_parts(staged, prefix), strict=True), start=1):
            self._put(target.key, part.path, part.sha256)
            self.progress("publish", done, len(staged.parts))
        self._put(f"{prefix}{COLUMN_DIGESTS_NAME}", staged.column_digests_path, staged.content.column_digests_digest)

    def _put(self, key: str, path: Path, digest: str) -> None:
        if self.doors.store.put_file(key, path) == "exists" and sha256_of(self.doors.store.get(key)) != digest:
            raise DatasetArtifactImmutabilityViolation(f"{self.doors.store.uri(key)} holds other bytes than this run staged.", path=key,
                                                       fix="Look who wrote it; the run's folder belongs to the run alone.")


@contextmanager
def _given_back(run: Run, ledger: Ledger) -> Iterator[None]:
    """A run whose attempt ends without a word in the ledger is queued again at once; one that was left already stays as it was left."""
    try:
        yield
    except BaseException as ended:
        with suppress(OfsError):
            ledger.release(run.run_key, attempt=run.attempt, reason_code=ended.code if isinstance(ended, OfsError) else INTERRUPTED_CODE)
        raise


class _scratch:  # noqa: N801 - reads as a word in a with statement
    """A fresh folder that is gone after the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        except OSError as wrong:
            raise StorageIoFailure(f"the work folder {self.folder} cannot be made: {wrong.strerror}.",
                                   fix="Free space there, or set `work` in plane.yaml to a folder that can be written.") from wrong

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


