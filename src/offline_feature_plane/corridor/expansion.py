"""The second step of planning: the intent expanded to the full contract with its feature closure, and compared with what is pinned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from offline_feature_plane.contracts.intent import BuildIntent, IntentKind
from offline_feature_plane.contracts.intent_rules import parse_intent
from offline_feature_plane.corridor.checks import check_entities, check_ids, check_pins, check_scenarios, check_words
from offline_feature_plane.corridor.found_gaps import find_gaps
from offline_feature_plane.corridor.inputs import PlanningInputs, SubmittedIntent
from offline_feature_plane.corridor.intent_task import check_fields, fields_read
from offline_feature_plane.corridor.pinning import PinnedInputs
from offline_feature_plane.corridor.shortform import FillIns, expand
from offline_feature_plane.domain.closure import Closure


@dataclass(frozen=True)
class ExpandedIntent:
    """A validated contract, what was filled in to write it out, and everything that its feature set uses."""

    intent: BuildIntent
    filled: list[dict[str, Any]]
    closure: Closure


def write_out(submitted: SubmittedIntent, pinned: PinnedInputs, inputs: PlanningInputs,
              kind: IntentKind | None = "dataset_build") -> ExpandedIntent:
    """Write an intent out as the full contract; `kind` is the one that the caller serves, None: any.

    Raises:
        OfsError: the contract's problems; pins of a long form that differ from what the plane has; names that the profile does not declare.
    """
    settings, profile = inputs.settings, pinned.profile
    written = submitted.document.value
    stated = written.get("replay_basis")  # then nobody need know how far a log reaches
    basis = () if stated else tuple(entry for one in pinned.events.values() for entry in one.basis())
    document, filled = expand(written, settings=settings, kind=kind, fill_ins=FillIns(
        code_release_id=inputs.code_release_id, actor=inputs.actor, basis=basis,
        gaps=find_gaps(stated or basis, pinned.events) if written.get("gaps") == "as_found" else (),
        label_logs={table.label_type: table.log_id for table in pinned.labels}, profile_digest=pinned.profile_digest,
        feature_set=pinned.set_ref, feature_label_types=pinned.feature_label_types,
        key_id=None if pinned.token_key is None else pinned.token_key.key_id))
    intent = parse_intent(document, kind)
    check_pins(intent, pinned, inputs.code_release_id)
    check_scenarios(intent)
    subject = intent.subject
    scope = profile.scope(subject.rows_source, subject.made_of)
    check_fields(intent, scope)
    entities = check_entities(scope, pinned)
    closure = profile.closure(pinned.set_ref, subject.rows_source, list(settings.labels), also=sorted(fields_read(intent) | entities),
                              made_of=subject.made_of)
    check_ids(intent, closure, pinned.events, pinned.labels)
    check_words(intent, closure, pinned.labels)
    return ExpandedIntent(intent, filled, closure)
