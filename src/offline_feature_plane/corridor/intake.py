"""Admission of datasets to a training: from manifests and the facts beside them to an answer (`domain.md` §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.contracts.model import validate
from offline_feature_plane.contracts.training_profile import TrainingProfile
from offline_feature_plane.corridor.standing import Standing
from offline_feature_plane.documents import Document, load_document
from offline_feature_plane.domain.gates import GateResult
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.domain.intake import Demand, Offer, judge_intake
from offline_feature_plane.errors import OfsError, SchemaInvalid, all_codes


@dataclass(frozen=True)
class Admission:
    """May the training take the datasets? Every check with its verdict; `notices` are no reason to refuse, but to know."""

    datasets: tuple[str, ...]
    demand: Demand
    profile: str | None
    checks: tuple[GateResult, ...]
    notices: tuple[str, ...] = ()

    @property
    def admitted(self) -> bool:
        """Did every check pass?"""
        return all(check.passed for check in self.checks)

    @property
    def exit_status(self) -> int:
        """0, or that of the first failed check's family (`decisions.md` H)."""
        failed = (check.reason_code for check in self.checks if check.reason_code is not None)
        return next((all_codes()[code].exit_status for code in failed), 0)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"admitted": self.admitted, "datasets": list(self.datasets),
                "request": self.demand.describe() | {"training_profile": self.profile},
                "checks": [check.describe() | {"sentences": list(check.sentences)} for check in self.checks], "notices": list(self.notices)}


def read_training_profile(profile: Path | Mapping[str, Any]) -> TrainingProfile:
    """A training profile from its file, or from a mapping.

    Raises:
        RefNotFound: no such file. SchemaInvalid: it is malformed; with file, line and every problem.
    """
    document = load_document(profile) if isinstance(profile, Path) else Document(profile, "training profile")
    try:
        return validate(TrainingProfile, document.value)
    except OfsError as wrong:
        raise document.locate(wrong) from None


def read_start(start: str | datetime) -> int:
    """When a training starts, in µs. Raises SchemaInvalid."""
    try:
        return parse_instant(start)
    except ValueError as wrong:
        raise SchemaInvalid(f"the start of the training cannot be read: {wrong}.", path="execution_start",
                            fix="Write a UTC instant, such as 2026-09-01T00:00:00Z.") from None


def admit(offered: Sequence[tuple[DatasetManifest, Standing]], profile: TrainingProfile | None, *, platform_run_id: str,
          execution_start_us: int) -> Admission:
    """Hold datasets against what a training wants.

    Args:
        offered: authenticated manifests, and how each dataset stands.
        profile: what the training wants; None: only that they agree with each other.
        platform_run_id: the run that the training is for.
        execution_start_us: when it starts.

    Raises:
        ManifestRefMissing: nothing is offered. DigestMismatch: a fact about a dataset is damaged, so nobody knows how it stands.
    """
    for _, standing in offered:
        if standing.damaged:
            raise standing.damaged[0]
    demand = Demand(platform_run_id, execution_start_us)
    if profile is not None:
        demand = Demand(platform_run_id, execution_start_us, profile.manifest_schema, profile.feature_set, profile.closure_digest,
                        profile.resolution_rule)
    offers = tuple(dict.fromkeys(_offer(manifest, standing) for manifest, standing in offered))
    notices = dict.fromkeys(f"{fact.supersedes} was replaced by {fact.dataset_manifest_id}: {fact.backfill_reason}"
                            for _, standing in offered for fact in standing.superseded_by)
    notices |= dict.fromkeys(f"split {split} of {one.dataset_manifest_id} is for evaluation: its labels are as of {asof}, those that are "
                             f"learned as of {one.label_asof_utc}" for one in offers for split, asof in one.evaluations)
    return Admission(tuple(one.dataset_manifest_id for one in offers), demand, None if profile is None else
                     f"{profile.policy_id}@{profile.revision}", judge_intake(offers, demand), tuple(notices))


def _offer(manifest: DatasetManifest, standing: Standing) -> Offer:
    features, labels, eligibility = manifest.feature_definition_set, manifest.label_basis, manifest.core.eligibility
    return Offer(manifest.dataset_manifest_id, manifest.dataset_fingerprint, manifest.schema_version, manifest.platform_run_id,
                 f"{features['feature_set_id']}@{features['feature_set_version']}", manifest.core.closure_digest,
                 str(labels["label_asof_utc"]), str(labels["resolution_rule"]), eligibility.training_ready, tuple(eligibility.reasons),
                 None if standing.retirement is None else str(standing.retirement), tuple(manifest.core.evaluation_asofs.items()))
