"""The third step of planning: the evidence. Which world inputs may be read, that no field reveals the label, that the basis is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.contracts.intent import BuildIntent, RangeBasis, SelectorBasis
from offline_feature_plane.contracts.replay_receipt import completeness_receipt
from offline_feature_plane.corridor.checks import judge_truth
from offline_feature_plane.corridor.expansion import ExpandedIntent
from offline_feature_plane.corridor.found_gaps import found_since
from offline_feature_plane.corridor.inputs import Granted, PlanningInputs, SubmittedIntent
from offline_feature_plane.corridor.pinning import PinnedInputs
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis
from offline_feature_plane.domain.completeness import Completeness, combine, refusal
from offline_feature_plane.domain.gaps import DeclaredGap, canonical_gaps, no_more_compacted, read_of
from offline_feature_plane.domain.gates import GateResult
from offline_feature_plane.errors import ReplayBasisMismatch, ReplayEventsEmpty
from offline_feature_plane.ports.inputs import PinnedEvents

Resolved = tuple[tuple[Selector, tuple[Range, ...]], ...]


@dataclass(frozen=True)
class Proof:
    """The canonical basis with the verdict and receipt of its completeness, what of the world may be read, and the gates so far.

    `read` is what is read of the basis: all but declared gaps, of which some may have been `found` since.
    """

    ranges: tuple[Range, ...]
    read: tuple[Range, ...]
    found: tuple[DeclaredGap, ...]
    completeness: Completeness
    receipt: dict[str, Any]
    granted: Granted
    gates: tuple[GateResult, ...]


def prove(expanded: ExpandedIntent, pinned: PinnedInputs, submitted: SubmittedIntent, inputs: PlanningInputs) -> Proof:
    """Compare a contract with the evidence that the plane has.

    Raises:
        OfsError: a field carries truth; a world input has no PASS; a selector cannot be settled; the basis is incomplete where its use
            does not allow that (`domain.outcomes`), in which case the error's field `completeness` is the whole receipt.
        ReplayBasisMismatch: a stretch that is declared as compacted is not any more.
    """
    intent = expanded.intent
    truth = judge_truth(expanded.closure, pinned.events, inputs.label_stores)
    granted = inputs.grant(intent, submitted)
    ranges, selectors = _resolve_ranges(intent, pinned.events)
    gaps = canonical_gaps([one.to_gap() for one in intent.gaps], ranges)
    read = read_of(ranges, gaps)
    if gaps and not read:
        raise ReplayEventsEmpty("everything that the basis names is declared to be missing.", path="$.gaps", fix="Name what there is.")
    verdict = combine([events.completeness(read) for events in pinned.events.values()]).lacking(gaps)
    receipt = completeness_receipt(intent.platform_run_id, verdict, selectors).model_dump(mode="json")
    if wrong := refusal(verdict, intent.use):
        wrong.fields["completeness"] = receipt
        raise wrong
    if restored := no_more_compacted(gaps, verdict.routes):
        raise ReplayBasisMismatch(f"{restored[0]} is declared as compacted, and is not any more: what is there now are other records.",
                                  path="$.gaps", fix="Write an intent without this gap: it is another dataset.")
    return Proof(ranges, read, found_since(gaps, pinned.events), verdict, receipt, granted, (truth, *granted.gates))


def _resolve_ranges(intent: BuildIntent, events: Mapping[str, PinnedEvents]) -> tuple[tuple[Range, ...], Resolved]:
    selectors = tuple((selector, events[selector.topic].resolve(selector)) for entry in intent.replay_basis
                      if isinstance(entry, SelectorBasis) for selector in (entry.to_selector(),))
    stated = [entry.to_range() for entry in intent.replay_basis if isinstance(entry, RangeBasis)]
    ranges = [*stated, *(item for _, found in selectors for item in found)]
    return canonical_basis(ranges) if ranges else (), selectors
