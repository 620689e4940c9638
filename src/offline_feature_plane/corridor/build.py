"""The build corridor: a planned intent in, a published dataset out.

plan ──▶ replay ──▶ labels ──▶ selection ──▶ rows ──▶ files ──▶ manifest ──▶ published once
         └──── each step leaves a receipt, and the ledger remembers it ────┘

`build` claims the run of an intent, `settle` decides what it still needs, `make_dataset` makes it, `compute` is the heart of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from offline_feature_plane.contracts.manifest import ArtifactRef, DatasetManifest
from offline_feature_plane.corridor.authenticity import authenticate, check_words, parse_manifest
from offline_feature_plane.corridor.claims import Worker, claim, held, submit
from offline_feature_plane.corridor.dataset import open_dataset, open_published
from offline_feature_plane.corridor.drift import remember_set
from offline_feature_plane.corridor.layout import manifest_key
from offline_feature_plane.corridor.manifest import Computed, write_manifest
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.publish import Manifest, Published, find_published, read_vow
from offline_feature_plane.corridor.receipts import Receipts, write_run_receipt
from offline_feature_plane.corridor.settlement import settle
from offline_feature_plane.corridor.steps import Machine, replay, resolve_labels, select_rows, stage_rows
from offline_feature_plane.corridor.storing import pin_plan, store_files
from offline_feature_plane.corridor.supersession import claim_link, link_superseded
from offline_feature_plane.corridor.verify import check_artifacts
from offline_feature_plane.corridor.workfolders import scratch
from offline_feature_plane.domain.canonical import canonical_bytes, sha256_of
from offline_feature_plane.errors import DigestMismatch, FeatureProfileDrift, RunEnded
from offline_feature_plane.ports import Ports, Progress, Run


def build(planned: Planned, ports: Ports, machine: Machine, worker: Worker, progress: Progress) -> Built:
    """Bring the run of this intent to its end and answer with the published dataset.

    The same intent again returns the finished run, resumes a crashed one, and opens a new one after a failure (`decisions.md` D6).

    Raises:
        RunEnded: a stated request id whose run failed. RunBusy: another worker has it.
        OfsError: whatever ended this attempt; the ledger has it.
    """
    run = submit(planned, ports.ledger)
    if run.state in {"FAILED", "CANCELLED"}:
        raise RunEnded(f"the run of request {run.request_id} ended {run.state} ({run.reason_code}).",
                       fix="Use a new request_id, or leave it out.", run_key=run.run_key, reason_code=run.reason_code)
    seconds: dict[str, float] = {}
    published: Published | None = None
    while published is None and (run := claim(run, ports.ledger, ports.clock, worker, progress)).state != "DONE":
        machine.sweep(run.run_key, before=run.attempt)
        with held(run, ports.ledger, worker) as lease, scratch(machine.folder(run.run_key, run.attempt)) as folder:
            attempt = Attempt(planned, run, ports, machine, folder, lease.check, progress, seconds)
            published = settle(ports.store, ports.ledger, run, dm_id=planned.dm_id, work=partial(make_dataset, attempt),
                               verify=attempt.verify_staged, close=attempt.close)
    machine.sweep(run.run_key, before=run.attempt + 1)
    return _answer(planned, ports, machine, published, ports.ledger.run(run.run_key), seconds)


def make_dataset(attempt: Attempt) -> bytes:
    """The manifest of a planned dataset, with all of its data in the store; or the manifest that is published already and verifies."""
    planned, run, store = attempt.planned, attempt.run, attempt.ports.store
    if (standing := find_published(store, planned.platform_run_id, planned.dm_id)) is not None:
        open_published(authenticate(standing, manifest_key(planned.platform_run_id, planned.dm_id), store), store, attempt.folder)
        attempt.claim_link()
        return standing
    plan = pin_plan(planned, run, store)
    receipts = Receipts(attempt.ports.clock, attempt.seconds, attempt.check).kept(store, run, planned.dm_id, plan.digest, attempt.note)
    computed = compute(planned, attempt.machine, attempt.folder, receipts, attempt.progress)
    files = store_files(computed.staged, planned.dm_id, run, store, receipts, attempt.progress)
    manifest = write_manifest(plan, planned, computed, files, receipts.written, attempt.machine, run, attempt.ledger_head())
    return canonical_bytes(manifest.model_dump(mode="json"))


def compute(planned: Planned, machine: Machine, folder: Path, receipts: Receipts, progress: Progress) -> Computed:
    """Everything up to staged files, in a work folder; nothing is published."""
    with scratch(folder / "scratch") as spill, machine.session(planned.task, spill, progress) as session:
        replayed = replay(session, planned, receipts)
        labelled = resolve_labels(session, planned, receipts)
        selected = select_rows(session, planned, replayed, labelled, receipts)
        staged = stage_rows(session, folder / "staged", receipts)
        return Computed(replayed, labelled, selected.facts, selected.gates, session.columns(), staged)


@dataclass(frozen=True)
class Attempt:
    """One attempt of one claimed run: what its steps work with. `seconds` collects where the time goes."""

    planned: Planned
    run: Run
    ports: Ports
    machine: Machine
    folder: Path
    check: Callable[[], None]
    progress: Progress
    seconds: dict[str, float]

    def note(self, kind: str, receipt: ArtifactRef) -> None:
        """Let the ledger remember a step by its receipt's digest."""
        self.ports.ledger.note(self.run.run_key, attempt=self.run.attempt, kind=kind, details=receipt.model_dump())

    def ledger_head(self) -> str:
        """The newest link of the run's history."""
        return self.ports.ledger.head(self.run.run_key)

    def verify_staged(self, manifest: Manifest) -> None:
        """Read back all that a staged manifest names, before the vow; then its profile revision and its link are taken.

        Raises:
            DigestMismatch, ManifestInvalid: something is missing. FeatureProfileDrift: the revision means something else already.
            SupersessionLinkInvalid: what it should replace has come to replace it.
        """
        staged = parse_manifest(manifest.data, f"the staged manifest of {manifest.dm_id}")
        for check in (*check_words(staged), *check_artifacts(staged, self.ports.store)):
            if not check.passed:
                raise DigestMismatch(f"what run {self.run.run_key} staged is incomplete or damaged; "
                                     f"failed check: {check.name} ({check.detail}).",
                                     fix="Find out what else changes the store, then run again.")
        open_dataset(staged, self.ports.store, self.folder)
        remember_set(self.planned, self.ports.ledger)
        self.claim_link()

    def claim_link(self) -> None:
        """Claim the place after the dataset that this one replaces, if the intent names one; a run that has vowed has done so before."""
        intent, run, store = self.planned.pins.intent, self.run, self.ports.store
        if intent["supersedes"] is not None and read_vow(store, run.platform_run_id, run.run_key) is None:
            claim_link(store, run, self.planned.dm_id, intent["supersedes"], intent["backfill_reason"])

    def close(self, published: Published) -> None:
        """State which dataset this one replaces, if the intent says so, and how the run ended."""
        intent = self.planned.pins.intent
        if intent["supersedes"] is not None:
            link_superseded(self.ports.store, self.planned.platform_run_id, self.planned.dm_id, intent["supersedes"],
                            intent["backfill_reason"])
        with suppress(FeatureProfileDrift):  # what is published stays; a ledger that was lost learns of it again
            remember_set(self.planned, self.ports.ledger)
        write_run_receipt(self.ports.store, self.ports.clock, self.run, published)


@dataclass(frozen=True)
class Built:
    """The answer to a build: what is published, the run that answered, and where the time went (seconds per step).

    `notices` say what the user should know beside the manifest's own warnings.
    """

    outcome: Literal["PUBLISHED", "ALREADY_PUBLISHED", "REPRODUCED"]
    manifest: DatasetManifest
    manifest_ref: str
    run: Run | None
    timings: Mapping[str, float] = field(default_factory=dict)
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


def _answer(planned: Planned, ports: Ports, machine: Machine, published: Published | None, run: Run, seconds: dict[str, float]) -> Built:
    """What is published. Whatever was not stored by this very call is authenticated and hashed again (`decisions.md` D5)."""
    key = manifest_key(planned.platform_run_id, planned.dm_id)
    raw = find_published(ports.store, planned.platform_run_id, planned.dm_id)
    if raw is None or (run.result is not None and sha256_of(raw) != run.result["manifest_digest"]):
        raise DigestMismatch(f"run {run.run_key} published {planned.dm_id}; "
                             f"its manifest is {'missing' if raw is None else 'a different one'}.",
                             path=key, fix="Restore the store from a copy, or build the dataset again with a new request_id.")
    manifest = authenticate(raw, key, ports.store)
    is_new = published is not None and published.outcome == "PUBLISHED"
    if not (is_new and "publication" in seconds):
        open_published(manifest, ports.store, machine.work / "copies")
    notices = planned.plan.warnings if is_new else [*planned.plan.warnings, *_notice(planned, manifest)]
    return Built("PUBLISHED" if is_new else "ALREADY_PUBLISHED", manifest, ports.store.uri(key), run, seconds, tuple(notices))


def _notice(planned: Planned, manifest: DatasetManifest) -> tuple[str, ...]:
    """A label file may have grown since publication, which changes nothing, or been edited, which only a comparison can tell."""
    before = {source.name: source.log_id for source in manifest.evidence.sources if source.kind == "labels"}
    return tuple(f"the {source.name} labels are in different files than at publication; `ofs build --recompute` shows whether "
                 "what was known at the as-of has changed." for source in planned.plan.sources
                 if source.kind == "labels" and before.get(source.name) != source.log_id)
