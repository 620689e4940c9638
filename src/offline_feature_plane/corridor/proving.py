"""The third step of planning: the evidence. Which world inputs may be read, that no field reveals the label, that the basis is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.contracts.intent import BuildIntent, RangeBasis, SelectorBasis
from offline_feature_plane.contracts.replay_receipt import completeness_receipt
from offline_feature_plane.corridor.checks import judge_truth
from offline_feature_plane.corridor.expansion import ExpandedIntent
from offline_feature_plane.corridor.inputs import Granted, PlanningInputs, SubmittedIntent
from offline_feature_plane.corridor.pinning import PinnedInputs
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis
from offline_feature_plane.domain.completeness import Completeness, combine, refusal
from offline_feature_plane.domain.gates import GateResult
from offline_feature_plane.ports.inputs import PinnedEvents

Resolved = tuple[tuple[Selector, tuple[Range, ...]], ...]


@dataclass(frozen=True)
class Proof:
    """The canonical basis with the verdict and receipt of its completeness, what of the world may be read, and the gates so far."""

    ranges: tuple[Range, ...]
    completeness: Completeness
    receipt: dict[str, Any]
    granted: Granted
    gates: tuple[GateResult, ...]


def prove(expanded: ExpandedIntent, pinned: PinnedInputs, submitted: SubmittedIntent, inputs: PlanningInputs) -> Proof:
    """Compare a contract with the evidence that the plane has.

    Raises:
        OfsError: a field carries truth; a world input has no PASS; a selector cannot be settled; the basis is incomplete, in which case
            the error's field `completeness` is the whole receipt.
    """
    intent = expanded.intent
    truth = judge_truth(expanded.closure, pinned.events, inputs.label_stores)
    granted = inputs.grant(intent, submitted)
    ranges, selectors = _resolve_ranges(intent, pinned.events)
    verdict = combine([events.completeness(ranges) for events in pinned.events.values()])
    receipt = completeness_receipt(intent.platform_run_id, verdict, selectors).model_dump(mode="json")
    if wrong := refusal(verdict):
        wrong.fields["completeness"] = receipt
        raise wrong
    return Proof(ranges, verdict, receipt, granted, (truth, *granted.gates))


def _resolve_ranges(intent: BuildIntent, events: Mapping[str, PinnedEvents]) -> tuple[tuple[Range, ...], Resolved]:
    selectors = tuple((selector, events[selector.topic].resolve(selector)) for entry in intent.replay_basis
                      if isinstance(entry, SelectorBasis) for selector in (entry.to_selector(),))
    stated = [entry.to_range() for entry in intent.replay_basis if isinstance(entry, RangeBasis)]
    ranges = [*stated, *(item for _, found in selectors for item in found)]
    return canonical_basis(ranges) if ranges else (), selectors
