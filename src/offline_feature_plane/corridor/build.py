"""The build corridor: a planned intent in, a published dataset out.

plan ──▶ replay ──▶ labels ──▶ select ──▶ gates ──▶ rows ──▶ stage ──▶ manifest ──▶ publish
└────────────── each step leaves a receipt, the ledger remembers ──────────┘
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.attempt import Attempt, Doors, Progress, compute, scratch
from offline_feature_plane.corridor.conduct import INTERRUPTED_CODE, conduct
from offline_feature_plane.corridor.dataset import parse_manifest
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.publish import manifest_key
from offline_feature_plane.corridor.receipts import Receipts
from offline_feature_plane.errors import (
    Fenced,
    LabelHistoryChanged,
    NondeterminismDetected,
    OfsError,
    ReplayBasisMismatch,
    RunBusy,
    RunEnded,
)
from offline_feature_plane.ports import Ledger, Run

WORKER_DIED_CODE: Final = "WORKER_DIED"

Outcome = Literal["PUBLISHED", "ALREADY_PUBLISHED", "REPRODUCED"]


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
        with _given_back(run, doors.ledger), scratch(folder), doors.keep_alive(run) as lease:
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
    before = {source.name: source.log_id for source in manifest.evidence.sources if source.kind == "labels"}
    return tuple(f"the {source.name} labels are in other files than when this was published; `ofs build --recompute` tells whether "
                 "what was known at the as-of has changed." for source in planned.plan.sources
                 if source.kind == "labels" and before.get(source.name) != source.log_id)


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
    with scratch(folder):
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


@contextmanager
def _given_back(run: Run, ledger: Ledger) -> Iterator[None]:
    """A run whose attempt ends without a word in the ledger is queued again at once; one that was left already stays as it was left."""
    try:
        yield
    except BaseException as ended:
        with suppress(OfsError):
            ledger.release(run.run_key, attempt=run.attempt, reason_code=ended.code if isinstance(ended, OfsError) else INTERRUPTED_CODE)
        raise
