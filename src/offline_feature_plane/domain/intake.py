"""Intake: may a training take these datasets? Judged on what their manifests say, before a byte of data is read.

    manifests ──▶ run scope · schema version · feature set · one meaning · eligibility · standing · leakage guard ──▶ admitted, or not

All checks are answered, so that whoever asked sees everything that stands in the way at once (`domain.md` §6, `decisions.md` D10, D25).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from offline_feature_plane.domain.gates import GateResult, judged
from offline_feature_plane.domain.instants import format_instant, parse_instant
from offline_feature_plane.domain.resolution import RULES
from offline_feature_plane.errors import (
    DatasetRetired,
    FeatureSchemaIncompatible,
    LeakageGuardViolation,
    ManifestImmutabilityViolation,
    ManifestRefMissing,
    RunScopeInvalid,
    TrainingNotReady,
)

__all__ = ["Demand", "Offer", "judge_intake"]

ELIGIBILITY_CLAUSE = "observed_time<=label_asof_utc"  # what every rule of ours begins with; trainings name it instead of a rule


@dataclass(frozen=True)
class Offer:
    """What the manifest of one dataset says, as far as an intake asks. `retired` says when and why, if it was.

    `evaluations` names the splits that have a label as-of of their own, each with it.
    """

    dataset_manifest_id: str
    dataset_fingerprint: str
    schema_version: str
    platform_run_id: str
    feature_set: str
    closure_digest: str
    label_asof_utc: str
    resolution_rule: str
    training_ready: bool
    reasons: tuple[str, ...] = ()
    retired: str | None = None
    evaluations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Demand:
    """What a training wants. What a training profile would say is None where there is none: then the datasets need only agree.

    `execution_start_us` is when the training starts: labels that become known later would come from its future.
    """

    platform_run_id: str
    execution_start_us: int
    manifest_schema: str | None = None
    feature_set: str | None = None
    closure_digest: str | None = None
    resolution_rule: str | None = None

    def describe(self) -> dict[str, Any]:
        """For documents."""
        return {"platform_run_id": self.platform_run_id, "execution_start_utc": format_instant(self.execution_start_us),
                "manifest_schema": self.manifest_schema, "feature_set": self.feature_set, "closure_digest": self.closure_digest,
                "resolution_rule": self.resolution_rule}


def judge_intake(offers: Sequence[Offer], demand: Demand) -> tuple[GateResult, ...]:
    """Every check of an intake, in the order in which they are told. The same dataset named twice is one.

    Raises:
        ManifestRefMissing: nothing is offered.
    """
    if not offers:
        raise ManifestRefMissing("a training without a dataset was asked about.")
    some = list(dict.fromkeys(offers))
    first = some[0]
    schema, features, closure = (demand.manifest_schema or first.schema_version, demand.feature_set or first.feature_set,
                                 demand.closure_digest or first.closure_digest)
    unready = (f"{one.dataset_manifest_id} is not for training: {'; '.join(one.reasons) or 'its gates did not pass'}"
               for one in some if not one.training_ready)
    retired = (f"{one.dataset_manifest_id} was {one.retired}" for one in some if one.retired is not None)
    return (
        judged("run_scope", RunScopeInvalid, _differences("run", some, "platform_run_id", demand.platform_run_id),
               {"platform_run_id": demand.platform_run_id}),
        judged("schema_version", FeatureSchemaIncompatible, _differences("manifest schema", some, "schema_version", demand.manifest_schema),
               {"manifest_schema": schema}),
        judged("feature_set", FeatureSchemaIncompatible,
               (*_differences("feature set", some, "feature_set", demand.feature_set),
                *_differences("feature closure", some, "closure_digest", demand.closure_digest)),
               {"feature_set": features, "closure_digest": closure}),
        judged("one_meaning", ManifestImmutabilityViolation, _two_meanings(some), {}),
        judged("eligibility", TrainingNotReady, unready, {}),
        judged("standing", DatasetRetired, retired, {}),
        judged("leakage_guard", LeakageGuardViolation, (*_leaks(some, demand.execution_start_us), *_other_rules(some, demand)),
               {"label_asof_utc": first.label_asof_utc, "resolution_rule": first.resolution_rule}),
    )


def _differences(what: str, offers: Sequence[Offer], name: str, wanted: str | None) -> Iterator[str]:
    """Datasets whose value is not the wanted one; if none is wanted, not that of the first."""
    first = offers[0]
    for one in offers:
        value, agreed = getattr(one, name), getattr(first, name)
        if wanted is not None and value != wanted:
            yield f"{one.dataset_manifest_id} has {what} {value}; the training wants {wanted}"
        elif wanted is None and value != agreed:
            yield f"{one.dataset_manifest_id} has {what} {value}; {first.dataset_manifest_id} has {agreed}"


def _two_meanings(offers: Sequence[Offer]) -> Iterator[str]:
    """One id stands for one fingerprint."""
    seen: dict[str, str] = {}
    for one in offers:
        known = seen.setdefault(one.dataset_manifest_id, one.dataset_fingerprint)
        if known != one.dataset_fingerprint:
            yield f"{one.dataset_manifest_id} stands for two fingerprints: {known} and {one.dataset_fingerprint}"


def _leaks(offers: Sequence[Offer], start_us: int) -> Iterator[str]:
    """One label as-of, which is an instant and has passed when the training starts; compared as instants, however they are written.

    Those of splits that are judged later may differ: they too must have passed.
    """
    known: list[tuple[str, int, bool]] = []
    for one in offers:
        mine = ((f"split {split} of {one.dataset_manifest_id}", asof) for split, asof in one.evaluations)
        for name, text in ((one.dataset_manifest_id, one.label_asof_utc), *mine):
            try:
                known.append((name, parse_instant(text), name == one.dataset_manifest_id))
            except ValueError as wrong:
                yield f"the label as-of of {name} is not an instant: {wrong}"
    learned = [(name, asof) for name, asof, is_learned in known if is_learned]
    for name, asof, is_learned in known:
        if asof > start_us:
            yield f"{name} has labels as of {format_instant(asof)}; the training starts before, at {format_instant(start_us)}"
        if is_learned and asof != learned[0][1]:
            yield f"{name} has labels as of {format_instant(asof)}; {learned[0][0]} as of {format_instant(learned[0][1])}"


def _other_rules(offers: Sequence[Offer], demand: Demand) -> Iterator[str]:
    """One rule, and the wanted one; who wants only the clause takes any registered rule."""
    plain = [replace(one, resolution_rule=_plain(one.resolution_rule)) for one in offers]
    wanted = None if demand.resolution_rule is None else _plain(demand.resolution_rule)
    if wanted == ELIGIBILITY_CLAUSE:
        yield from (f"{one.dataset_manifest_id} has the label rule {one.resolution_rule}, which nobody here knows to keep {wanted}"
                    for one in plain if one.resolution_rule not in (*RULES, wanted))
        wanted = None
    yield from _differences("the label rule", plain, "resolution_rule", wanted)


def _plain(rule: str) -> str:
    """A rule's name without what does not count: case and blanks."""
    return "".join(rule.lower().split())
