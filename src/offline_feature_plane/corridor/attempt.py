"""One attempt of a claimed run: replay, labels, selection, gates, rows, staged files, and what stands in the store for publication.

Each step takes values and returns values, and leaves a receipt; `conduct` decides when an attempt's work is wanted at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from offline_feature_plane.contracts.manifest import ArtifactRef, Evidence
from offline_feature_plane.corridor.dataset import open_dataset, parse_manifest
from offline_feature_plane.corridor.gates import as_contract, judge, refuse_failed
from offline_feature_plane.corridor.manifest import Found, artifact, write_core, write_manifest, write_parts
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.publish import (
    Manifest,
    data_prefix,
    find_published,
    link_superseded,
    plan_key,
)
from offline_feature_plane.corridor.receipts import Receipts
from offline_feature_plane.corridor.stage import COLUMN_DIGESTS_NAME, Staged, stage
from offline_feature_plane.domain.accounting import check_accounting
from offline_feature_plane.domain.canonical import canonical_bytes, sha256_of
from offline_feature_plane.errors import (
    BuildPlanImmutabilityViolation,
    DatasetArtifactImmutabilityViolation,
    StorageIoFailure,
)
from offline_feature_plane.ports import Clock, Engine, Ledger, ObjectStore, Run

Progress = Callable[[str, int, int], None]


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
                         events_digest=replay.events_digest, completeness=planned.receipt)
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
    return Found(replay, labels, selection, tuple(as_contract(gates)), columns, staged, planned.completeness)


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


class scratch:  # noqa: N801 - reads as a word in a with statement
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
