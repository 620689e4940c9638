"""What a plane answers: to a build what is published, and the run that answered (`decisions.md` D5); a pinned intent; a run's history."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.authenticity import authenticate
from offline_feature_plane.corridor.dataset import open_published
from offline_feature_plane.corridor.layout import manifest_key
from offline_feature_plane.corridor.manifest import tell_strangers
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.publish import Published, find_published
from offline_feature_plane.corridor.receipts import Costs, StepCost, profile_lines, read_phase
from offline_feature_plane.corridor.shortform import write_pin
from offline_feature_plane.corridor.steps import Machine
from offline_feature_plane.corridor.workfolders import hold_copies
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import DigestMismatch, OfsError
from offline_feature_plane.ports import LedgerEvent, Ports, Run


@dataclass(frozen=True)
class Built:
    """The answer to a build: what is published, the run that answered, and where time and memory went, by step.

    `notices` say what the user should know beside the manifest's own warnings.
    """

    outcome: Literal["PUBLISHED", "ALREADY_PUBLISHED", "REPRODUCED"]
    manifest: DatasetManifest
    manifest_ref: str
    run: Run | None
    costs: Mapping[str, StepCost] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def timings(self) -> dict[str, float]:
        """Wall seconds by step."""
        return {step: cost.seconds for step, cost in self.costs.items()}

    def profile(self) -> list[dict[str, Any]]:
        """Where time and memory went, a line per step; of what is no phase of a run only the time is known."""
        return profile_lines(self.costs)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        core = self.manifest.core
        return {"outcome": self.outcome, "dataset_manifest_id": self.manifest.dataset_manifest_id, "manifest_ref": self.manifest_ref,
                "dataset_fingerprint": self.manifest.dataset_fingerprint, "content_digest": core.content_digest,
                "row_count": core.row_count, "splits": [split.model_dump() for split in core.splits],
                "eligibility": core.eligibility.model_dump(), "warnings": [*core.warnings, *self.notices],
                "run_key": self.run.run_key if self.run else None, "request_id": self.run.request_id if self.run else None,
                "seconds": {step: round(took, 3) for step, took in self.timings.items()}}


def answer(planned: Planned, ports: Ports, machine: Machine, published: Published | None, run: Run, costs: Costs) -> Built:
    """What is published. Whatever was not stored by this very call is authenticated and hashed again (`decisions.md` D5)."""
    key = manifest_key(planned.platform_run_id, planned.dm_id)
    raw = find_published(ports.store, planned.platform_run_id, planned.dm_id)
    if raw is None or (run.result is not None and sha256_of(raw) != run.result["manifest_digest"]):
        raise DigestMismatch(f"run {run.run_key} published {planned.dm_id}; "
                             f"its manifest is {'missing' if raw is None else 'a different one'}.",
                             path=key, fix="Restore the store from a copy, or build the dataset again with a new request_id.")
    manifest = authenticate(raw, key, ports.store)
    is_new = published is not None and published.outcome == "PUBLISHED"
    if not (is_new and "publication" in costs):
        open_published(manifest, ports.store, hold_copies(machine.work, ports.store))
    notices = [*planned.plan.warnings, *(_strangers(manifest, ports) if is_new else _notice(planned, manifest))]
    return Built("PUBLISHED" if is_new else "ALREADY_PUBLISHED", manifest, ports.store.uri(key), run, costs, tuple(notices))


def _strangers(manifest: DatasetManifest, ports: Ports) -> list[str]:
    """How many labels were about no event of the basis, as the receipt of their resolution says; nothing if it cannot be read."""
    with suppress(OfsError):
        return [sentence for ref in manifest.evidence.receipts if ref.name == "labels receipt"
                for sentence in tell_strangers(read_phase(ports.store, vars(ref)).facts["per_type"])]
    return []


def _notice(planned: Planned, manifest: DatasetManifest) -> tuple[str, ...]:
    """A label file may have grown since publication, which changes nothing, or been edited, which only a comparison can tell."""
    before = {source.name: source.log_id for source in manifest.evidence.sources if source.kind == "labels"}
    return tuple(f"the {source.name} labels are in another state than at publication; `ofs build --recompute` shows whether "
                 "what was known at the as-of has changed." for source in planned.plan.sources
                 if source.kind == "labels" and before.get(source.name) != source.log_id)


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
