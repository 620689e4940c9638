"""One attempt of one claimed run: what its steps work with, and what it checks and states around the publication."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from offline_feature_plane.contracts.manifest import ArtifactRef
from offline_feature_plane.contracts.model import validate
from offline_feature_plane.contracts.plan import Pins
from offline_feature_plane.corridor.authenticity import check_words, parse_manifest
from offline_feature_plane.corridor.dataset import open_dataset
from offline_feature_plane.corridor.drift import remember_set
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.publish import Manifest, Published, read_vow
from offline_feature_plane.corridor.receipts import Costs, write_failure_receipt, write_run_receipt
from offline_feature_plane.corridor.steps import Machine
from offline_feature_plane.corridor.supersession import claim_link, link_superseded
from offline_feature_plane.corridor.verify import check_artifacts
from offline_feature_plane.errors import BuildPlanImmutabilityViolation, DigestMismatch, FeatureProfileDrift, OfsError, RunEnded
from offline_feature_plane.ports import Ports, Progress, Run

# The plan of a claimed run, made when it is computed: publishing what was staged needs none.
MakePlan = Callable[[], Planned]


@dataclass(frozen=True)
class Attempt:
    """One attempt of one claimed run.

    `heed` raises once this process was told to stop, `is_ours` once the claim was lost; `costs` collects where time and memory go,
    `receipts` what the phases left.
    """

    run: Run
    plan: MakePlan
    ports: Ports
    machine: Machine
    folder: Path
    heed: Callable[[], None]
    is_ours: Callable[[], None]
    progress: Progress
    costs: Costs
    receipts: list[ArtifactRef] = field(default_factory=list)

    @cached_property
    def pins(self) -> Pins:
        """What was asked for. Raises BuildPlanImmutabilityViolation for a request that holds something else."""
        return validate(Pins, self.run.payload, default=BuildPlanImmutabilityViolation)

    def check(self) -> None:
        """Return if this attempt may go on.

        Raises:
            Fenced, LedgerUnavailable: the claim was lost. RunEnded: the run was cancelled. BaseException: this process was told to stop.
        """
        self.heed()
        self.is_ours()
        vow = read_vow(self.ports.store, self.run.platform_run_id, self.run.run_key)
        if vow is not None and vow.outcome == "tombstone":
            raise RunEnded(f"run {self.run.run_key} was closed while it was worked on ({vow.code}).", reason_code=vow.code,
                           run_key=self.run.run_key, fix="Run again without a request_id, or with a new one.")

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
        remember_set(self.pins, self.ports.ledger)
        self.claim_link(manifest.dm_id)

    def claim_link(self, dm_id: str) -> None:
        """Claim the place after the dataset that this one replaces, if the intent names one; a run that has vowed has done so before."""
        intent, run, store = self.pins.intent, self.run, self.ports.store
        if intent["supersedes"] is not None and read_vow(store, run.platform_run_id, run.run_key) is None:
            claim_link(store, run, dm_id, intent["supersedes"], intent["backfill_reason"])

    def close(self, published: Published) -> None:
        """State which dataset this one replaces, if the intent says so, and how the run ended."""
        intent = self.pins.intent
        if intent["supersedes"] is not None:
            link_superseded(self.ports.store, self.run.platform_run_id, published.manifest.dm_id, intent["supersedes"],
                            intent["backfill_reason"])
        with suppress(FeatureProfileDrift):  # what is published stays; a ledger that was lost learns of it again
            remember_set(self.pins, self.ports.ledger)
        write_run_receipt(self.ports.store, self.ports.clock, self.run, published)

    def tell(self, error: OfsError) -> None:
        """State why the run ends without a dataset."""
        write_failure_receipt(self.ports.store, self.ports.clock, self.run, error, self.receipts)
