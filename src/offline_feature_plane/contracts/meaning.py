"""What a dataset means: the identity document that its fingerprint is taken of (`domain.md` §3, `decisions.md` D9–D13)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from offline_feature_plane.contracts.intent import BuildIntent, FileSetBasis, RawIdentifiers
from offline_feature_plane.domain.basis import Range, canonical_basis, describe_basis
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.closure_documents import describe
from offline_feature_plane.domain.gaps import canonical_gaps, describe_gaps
from offline_feature_plane.domain.identity import closure_digest
from offline_feature_plane.domain.resolution import find_rule

__all__ = ["identity"]


def identity(intent: BuildIntent, *, ranges: Iterable[Range] = (), closure: Closure, config_digest: str,
             run_facts_digest: str | None = None, world_inputs: Sequence[Mapping[str, Any]] = (),
             tzdata: str | None = None) -> dict[str, Any]:
    """Everything that decides rows and verdicts, every default written out; what `domain.identity.dataset_fingerprint` hashes.

    In: what the intent means and what it was resolved to; `visibility`, `disjoint_by`, the as-of of a split and the
    subject's `entity` and `calendar`, and the declared gaps of the basis, came later and are named only where they are asked for.
    Out: the actor and the request id, paths, files' names, the label store's marker (what was observed after the cut changes no
    row), why identifiers are raw, supersession.

    Args:
        intent: the validated contract.
        ranges: what its ranges and selectors were resolved to, with log ids; plain tables are in the intent.
        closure: the resolved closure of its feature set.
        config_digest: of the meaning-bearing settings in use.
        run_facts_digest: of the run facts view that was read.
        world_inputs: output id, path and digest of each world input used.
        tzdata: version of the zone rules, if the closure names a zone.
    """
    resolved = list(ranges)
    tables = sorted(({"topic": entry.topic, "log_id": entry.log_id} for entry in intent.replay_basis if isinstance(entry, FileSetBasis)),
                    key=lambda entry: entry["topic"].encode())
    basis = canonical_basis(resolved) if resolved else ()
    gaps = canonical_gaps([one.to_gap() for one in intent.gaps], basis)
    label = intent.label_basis
    asked = intent.document()
    return {
        "intent_kind": intent.intent_kind,
        "purpose": intent.purpose,
        "platform_run_id": intent.platform_run_id,
        "scenario_run_ids": asked["scenario_run_ids"],
        "replay_basis": {"tables": tables, "ranges": describe_basis(basis), **({"gaps": describe_gaps(gaps)} if gaps else {})},
        "label_basis": {"label_asof_utc": label.label_asof_utc, "resolution_rule": label.resolution_rule,
                        "rule_digest": find_rule(label.resolution_rule).digest, "maturity_days": label.maturity_days,
                        "immature": label.immature, "label_types": list(label.label_types)},
        "features": {"feature_set_id": intent.feature_definition_set.feature_set_id,
                     "feature_set_version": intent.feature_definition_set.feature_set_version,
                     "closure_digest": closure_digest(describe(closure))},
        "subject": {name: value for name, value in asked["subject"].items() if name not in {"entity", "calendar"} or value is not None},
        "target": asked["target"],
        "splits": asked["splits"],
        "gap": intent.gap,
        "sampling": asked["sampling"],
        "identifiers": {"mode": "raw"} if isinstance(intent.identifiers, RawIdentifiers) else asked["identifiers"],
        "cold_rows": intent.cold_rows,
        "coverage_policy": asked["coverage_policy"],
        "correction": intent.correction,
        "join_scope": asked["join_scope"],
        "run_facts_digest": run_facts_digest,
        "world_inputs": sorted((dict(one) for one in world_inputs), key=lambda one: str(one.get("output_id")).encode()),
        "policy_revision": intent.policy_revision,
        "config_revision": intent.config_revision,
        "config_digest": config_digest,
        "ofs_code_release_id": intent.ofs_code_release_id,
        "tzdata": tzdata,
        **({} if intent.visibility == "event_time" else {"visibility": intent.visibility}),
        **({} if intent.disjoint_by is None else {"disjoint_by": intent.disjoint_by}),
    }
