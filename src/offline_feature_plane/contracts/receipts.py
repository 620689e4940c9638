"""Receipts: what a phase of one attempt did and found. They may carry clocks and are never compared (`decisions.md` D4)."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from offline_feature_plane.contracts.manifest import ArtifactRef
from offline_feature_plane.contracts.model import Contract

Phase = Literal["replay", "labels", "selection", "staging", "publication"]
PhaseStatus = Literal["COMPLETE", "FAILED"]


class RunReceipt(Contract):
    """How a run ended successfully: the request, the provenance, the attempts and the result (`domain.md` §4).

    Written once the manifest is visible and before the ledger says DONE. `receipts` are those of the publishing run's phases.
    """

    schema_version: Literal["learning.ofs_run_receipt.v1"] = "learning.ofs_run_receipt.v1"
    run_key: str
    request_id: str
    platform_run_id: str
    outcome: Literal["PUBLISHED", "ALREADY_PUBLISHED"]
    dataset_manifest_id: str
    manifest_key: str
    manifest_digest: str
    core_digest: str
    pins_digest: str
    attempt: int
    full_run_attempts: int
    publish_retry_attempts: int
    asked: dict[str, JsonValue]
    provenance: dict[str, JsonValue]
    receipts: list[ArtifactRef]
    finished_at: str


class FailureReceipt(Contract):
    """Why a run ended without a dataset: the attempt that ended it, and the error as `--json` shows it.

    Written once the tombstone stands and before the ledger says FAILED or CANCELLED. `receipts` are those of the phases that the attempt
    came to, the one that failed among them, and its anomaly report, if it has one.
    """

    schema_version: Literal["learning.ofs_failure_receipt.v1"] = "learning.ofs_failure_receipt.v1"
    run_key: str
    request_id: str
    platform_run_id: str
    attempt: int
    full_run_attempts: int
    publish_retry_attempts: int
    worker: str | None
    error: dict[str, JsonValue]
    receipts: list[ArtifactRef]
    finished_at: str


class QuarantineReceipt(Contract):
    """Why a run is kept away from every worker: its record in the ledger cannot be believed."""

    schema_version: Literal["learning.ofs_quarantine_receipt.v1"] = "learning.ofs_quarantine_receipt.v1"
    run_key: str
    platform_run_id: str
    error: dict[str, JsonValue]
    found_at: str


class PhaseCost(Contract):
    """What a phase used: rows that went through, bytes that were read and written, CPU time of all threads.

    `peak_memory_bytes` is the most memory that the process had had at once by its end.
    """

    rows: int | None
    bytes_read: int
    bytes_written: int
    cpu_ms: int
    peak_memory_bytes: int


class PhaseReceipt(Contract):
    """One phase of one attempt: the pinned input it worked from, what it found, how long it took and what it used.

    `status` is COMPLETE or FAILED; a failed phase writes its receipt before the run ends (`domain.md` §1.4).
    """

    schema_version: Literal["learning.ofs_phase_receipt.v1"] = "learning.ofs_phase_receipt.v1"
    phase: Phase
    status: PhaseStatus
    run_key: str
    request_id: str
    platform_run_id: str
    dataset_manifest_id: str
    attempt: int
    pins_digest: str
    started_at: str
    finished_at: str
    duration_ms: int
    cost: PhaseCost | None = None
    facts: dict[str, JsonValue]
