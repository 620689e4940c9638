"""The run facts view: what another plane wrote down about a run, and the evidence that its outputs may be read (`domain.md` §7).

OFS reads it by an explicit ref, checks its shape, and takes its digest. `domain.gates.judge_inputs` judges what it says.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue

from offline_feature_plane.contracts.model import Codes, Contract, Text, shown, validate
from offline_feature_plane.domain.canonical import digest
from offline_feature_plane.errors import RunFactsUnavailable, RunScopeInvalid

__all__ = ["RunFacts", "parse_run_facts", "run_facts_digest"]

_HEX64 = re.compile(r"[0-9a-f]{64}")
_GATE = re.compile(r"[A-Za-z0-9_.-]{1,128}")

_CODES: Codes = ((r"\$\.(platform_run_id|scenario_run_id|run_id)", RunScopeInvalid), (r"\$.*", RunFactsUnavailable))


def _hex64(text: str) -> str:
    if not _HEX64.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a digest of 64 hex digits")
    return text


def _gate(text: str) -> str:
    if not _GATE.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a valid gate id; use up to 128 of A-Za-z0-9_.-")
    return text


Hex64 = Annotated[str, AfterValidator(_hex64)]
GateId = Annotated[str, AfterValidator(_gate)]
Seed = Annotated[int, Field(ge=0)]


class Digest(Contract):
    """A digest with its algorithm."""

    algo: Text
    hex: Hex64


class Scope(Contract):
    """Which world a receipt is about; what it leaves out, it leaves open."""

    manifest_fingerprint: Text
    parameter_hash: Text | None = None
    seed: Seed | None = None
    scenario_id: str | int | None = None
    run_id: Text | None = None


class Locator(Contract):
    """Where an output is and what world it is of."""

    output_id: Text
    path: Text
    manifest_fingerprint: Text | None = None
    parameter_hash: Text | None = None
    seed: Seed | None = None
    scenario_id: str | int | None = None
    run_id: Text | None = None
    schema_ref: Text | None = None
    dictionary_ref: Text | None = None
    produced_at_utc: Text | None = None
    content_digest: Digest | None = None


class GateReceipt(Contract):
    """What a gate said about a world. Any status other than PASS counts as not passed."""

    gate_id: GateId
    status: str | None = None
    scope: Scope
    produced_at_utc: Text | None = None
    receipt_kind: Text | None = None
    digest: Digest | None = None
    artifacts: dict[str, JsonValue] | None = None
    notes: JsonValue = None


class InstanceReceipt(Contract):
    """What was said about one output itself: the exact target and its digest."""

    output_id: Text
    status: str | None = None
    scope: Scope
    target_ref: Locator
    target_digest: Digest
    bundle_manifest_ref: JsonValue = None
    receipt_kind: Text | None = None
    artifacts: dict[str, JsonValue] | None = None


class RunPins(Contract):
    """What the run was pinned to."""

    manifest_fingerprint: Text
    parameter_hash: Text
    seed: Seed
    scenario_id: str | int
    platform_run_id: Text
    scenario_run_id: Text
    run_id: Text


class PolicyRevision(Contract):
    """A policy, its revision and the digest of its text."""

    policy_id: Text
    revision: Text
    content_digest: Hex64


class RunFacts(Contract):
    """The whole view."""

    run_id: Text
    platform_run_id: Text
    scenario_run_id: Text
    pins: RunPins
    locators: list[Locator]
    gate_receipts: list[GateReceipt]
    policy_rev: PolicyRevision
    bundle_hash: Hex64
    plan_ref: Text
    record_ref: Text
    status_ref: Text
    output_roles: dict[str, JsonValue] | None = None
    intended_outputs: list[Text] | None = None
    instance_receipts: list[InstanceReceipt] = Field(default_factory=list)
    run_config_digest: Text | None = None
    service_release_id: Text | None = None
    environment: Text | None = None
    provenance: dict[str, JsonValue] | None = None
    oracle_pack_ref: JsonValue = None
    evidence_notes: list[Text] | None = None

    def document(self) -> dict[str, Any]:
        """The view as a plain document, what it leaves out left out."""
        return self.model_dump(mode="json", exclude_none=True)


def parse_run_facts(document: Any) -> RunFacts:
    """A parsed document as a run facts view.

    Raises:
        RunFactsUnavailable, RunScopeInvalid: it is not one; with every problem.
    """
    return validate(RunFacts, document, _CODES, RunFactsUnavailable)


def run_facts_digest(facts: RunFacts) -> str:
    """Digest of a view as it was read (recipe `ofs.run_facts.v1`): a part of the identity of datasets that read world inputs."""
    return digest("ofs.run_facts.v1", facts.document(), as_stored=True)
