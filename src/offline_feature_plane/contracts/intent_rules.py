"""What a BuildIntent must say beyond its shape: rules across its fields, checked at once (`domain.md` §2, `decisions.md` D16, D24, D25).

Each rule looks only at parts that are sound by themselves, so that a mistake in one place hides none in another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from offline_feature_plane.contracts.basis_rules import basis_rules, gap_rules
from offline_feature_plane.contracts.intent import (
    INTENT_SCHEMA,
    NO_RUN_FACTS,
    BuildIntent,
    CombinedTarget,
    CoveragePolicy,
    IntentKind,
    LabelBasis,
    SamplingRule,
    SplitRange,
    Subject,
    TargetRule,
    TypeRule,
)
from offline_feature_plane.contracts.model import Codes, find_problems, json_path, shown, sound, with_advice
from offline_feature_plane.domain.coverage import default_policy, parse_share
from offline_feature_plane.domain.elsewhere import INTENTS
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, US_PER_DAY, format_instant, parse_duration, parse_instant
from offline_feature_plane.errors import (
    BasisUnresolved,
    CodeReleaseMissing,
    ConfigRevisionMissing,
    FeatureProfileUnresolved,
    IntentKindUnsupported,
    LabelAsofMissing,
    LabelPolicyInvalid,
    LabelTypeScopeUnresolved,
    LeakagePolicyViolation,
    PolicyRevisionMissing,
    Problem,
    RequestIdInvalid,
    RunFactsUnavailable,
    RunScopeInvalid,
    SchemaInvalid,
    SupersessionLinkInvalid,
    refuse,
)

__all__ = ["INTENT_CODES", "find_intent_problems", "parse_intent"]

INTENT_CODES: Codes = (
    (r"\$\.request_id", RequestIdInvalid),
    (r"\$\.intent_kind", IntentKindUnsupported),
    (r"\$\.(platform_run_id|scenario_run_ids).*", RunScopeInvalid),
    (r"\$\.(replay_basis|gaps).*", BasisUnresolved),
    (r"\$\.label_basis\.(label_types|store).*", LabelTypeScopeUnresolved),
    (r"\$\.label_basis\.immature", LabelPolicyInvalid),
    (r"\$\.label_basis.*|\$\.splits\[\d+\]\.label_asof_utc", LabelAsofMissing),
    (r"\$\.feature_definition_set.*", FeatureProfileUnresolved),
    (r"\$\.(target|coverage_policy).*", LabelPolicyInvalid),
    (r"\$\.(run_facts_ref|join_scope.*)", RunFactsUnavailable),
    (r"\$\.(supersedes|backfill_reason)", SupersessionLinkInvalid),
    (r"\$\.policy_revision", PolicyRevisionMissing),
    (r"\$\.config_revision", ConfigRevisionMissing),
    (r"\$\.ofs_code_release_id", CodeReleaseMissing),
)

# Which command serves a kind of intent, in a sentence.
_SERVED_BY: Final[dict[Any, str]] = {
    "dataset_build": "`ofs build` builds it",
    "parity_rebuild": "`ofs plan` says whether it can be checked; `ofs parity` is to serve it, and this release does not have it yet",
    "forensic_rebuild": "`ofs plan` says what there is of its basis; `ofs forensic` is to serve it, and this release does not have it yet"}


def parse_intent(document: Any, kind: IntentKind | None = "dataset_build") -> BuildIntent:
    """A document as a BuildIntent that keeps every rule, its defaults written out.

    Args:
        document: the full form.
        kind: the one kind that the caller serves; None: any of them.

    Raises:
        OfsError: of the first problem's code, carrying every problem.
    """
    problems = find_intent_problems(document, kind)
    if problems:
        raise refuse(problems)
    intent = BuildIntent.model_validate(document)
    rules = intent.target.by_type() if intent.target is not None else {}
    defaults = {name: policy.min_answered for name, rule in rules.items() if (policy := default_policy(rule.unlabeled)) is not None}
    if not defaults.keys() - intent.coverage_policy.answered_min.keys():
        return intent
    answered = {**defaults, **intent.coverage_policy.answered_min}
    return intent.model_copy(update={"coverage_policy": intent.coverage_policy.model_copy(update={"answered_min": answered})})


def find_intent_problems(document: Any, kind: IntentKind | None = "dataset_build") -> list[Problem]:
    """Every problem of a full form: of its shape, then across its fields."""
    problems = with_advice(find_problems(BuildIntent, document, INTENT_CODES), INTENTS)
    if not isinstance(document, Mapping):
        return problems
    if document.get("schema_version", INTENT_SCHEMA) != INTENT_SCHEMA:
        return problems[:1] if problems and problems[0].path == "$.schema_version" else [
            Problem("$.schema_version", SchemaInvalid.code, f"{INTENT_SCHEMA} is expected, not {shown(document['schema_version'])}")]
    seen = {problem.path for problem in problems}
    rules = (*_kind_rules(document, kind), *_subject_rules(document), *basis_rules(document), *gap_rules(document),
             *_label_rules(document), *_target_rules(document), *_split_rules(document),
             *_sampling_rules(document), *_evidence_rules(document))
    return problems + [problem for problem in rules if problem.path not in seen]


def _kind_rules(document: Mapping[str, Any], kind: IntentKind | None) -> Iterator[Problem]:
    asked = document.get("intent_kind")
    if kind is not None and asked in _SERVED_BY and asked != kind:
        yield Problem("$.intent_kind", IntentKindUnsupported.code, f"this command serves {kind}, not {asked}; {_SERVED_BY[asked]}")
    if document.get("parity_anchor_ref") is not None and asked in {"dataset_build", "forensic_rebuild"}:
        yield Problem("$.parity_anchor_ref", IntentKindUnsupported.code, "only a parity_rebuild has an anchor")


def _subject_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    subject = sound(Subject, document.get("subject"))
    if subject is None:
        return
    if subject.entity is not None and document.get("visibility") == "arrival":
        yield Problem("$.visibility", SchemaInvalid.code, "the instants of a spine are asked for, they do not arrive; leave this out")
    if subject.calendar is not None:
        if subject.entity is None:
            yield Problem("$.subject.entity", SchemaInvalid.code, "a calendar makes rows about entities; name the field that says whom")
        for name, sentence in subject.calendar.faults():
            yield Problem(f"$.subject.calendar.{name}", SchemaInvalid.code, sentence)


def _label_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    basis = sound(LabelBasis, document.get("label_basis"))
    if basis is None:
        return
    path = "$.label_basis.label_types"
    if not basis.label_types and document.get("non_training_allowed") is not True and document.get("intent_kind") == "dataset_build":
        yield Problem(path, LabelTypeScopeUnresolved.code, "a training dataset needs at least one label type")
    for label_type in _rules_by_type(document):
        if label_type not in basis.label_types:
            yield Problem(path, LabelTypeScopeUnresolved.code, f"the target's label type {label_type} is not in the list")
    for label_type in basis.label_types:
        if label_type not in basis.store:
            yield Problem("$.label_basis.store", LabelTypeScopeUnresolved.code, f"no log is given for the label type {label_type}")


def _rules_by_type(document: Mapping[str, Any]) -> dict[str, tuple[str, TypeRule]]:
    """Per label type of the target, where its rule stands and what it says; nothing of a target that is unsound."""
    given = document.get("target")
    if (one := sound(TargetRule, given)) is not None:
        return {label_type: ("$.target", rule) for label_type, rule in one.by_type().items()}
    several = sound(CombinedTarget, given)
    rules = several.by_type() if several is not None else {}
    return {label_type: (json_path(["target", "types", label_type]), rule) for label_type, rule in rules.items()}


def _target_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    basis, policy = sound(LabelBasis, document.get("label_basis")), sound(CoveragePolicy, document.get("coverage_policy", {}))
    shares = "$.coverage_policy.answered_min"
    for label_type, (path, rule) in _rules_by_type(document).items():
        if both := sorted(set(rule.positive) & set(rule.negative or ())):
            yield Problem(f"{path}.negative", LabelPolicyInvalid.code, f"{', '.join(both)} cannot be positive and negative")
        if basis is not None and basis.maturity_days is None and rule.unlabeled == "negative_when_mature":
            yield Problem(f"{path}.unlabeled", LabelPolicyInvalid.code,
                          "negative_when_mature needs label_basis.maturity_days: without it a missing label means nothing")
        if policy is not None and rule.unlabeled == "exclude" and label_type not in policy.answered_min:
            yield Problem(shares, LabelPolicyInvalid.code, f"unlabeled: exclude needs a minimum share of answers for {label_type}")
        if policy is not None and rule.unlabeled == "refuse" and parse_share(policy.answered_min.get(label_type, "1")) < 1:
            yield Problem(shares, LabelPolicyInvalid.code,
                          f"unlabeled: refuse needs an answer for every {label_type}; leave the share out, or say exclude")
    for label_type in policy.answered_min if policy is not None and basis is not None else ():
        if label_type not in basis.label_types:  # type: ignore[union-attr]
            yield Problem(shares, LabelPolicyInvalid.code, f"{label_type} is not a label type of this intent")


def _split_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Splits are half-open, disjoint, `gap` apart, and end by the maturity cut (`decisions.md` D25).

    ──[ train )──gap──[ test )────┤ as_of − maturity        ┤ as_of
    """
    given = document.get("splits")
    listed = given if isinstance(given, list) else []
    parts = [(number, split) for number, entry in enumerate(listed) if (split := sound(SplitRange, entry))]
    for name, count in Counter(split.name for _, split in parts).items():
        if count > 1:
            yield Problem("$.splits", SchemaInvalid.code, f"the split {name} appears {count} times")
    for number, split in parts:
        if split.from_utc >= split.to_utc:
            yield Problem(f"$.splits[{number}]", SchemaInvalid.code, f"{split.name} ends at {split.to_utc}, "
                          f"not after its start {split.from_utc}")
    gap_us = _gap_us(document.get("gap"))
    ordered = sorted((item for item in parts if item[1].from_utc < item[1].to_utc), key=lambda item: item[1].from_utc)
    for (_, before), (number, after) in pairwise(ordered):
        if after.from_utc < before.to_utc:
            yield Problem(f"$.splits[{number}]", SchemaInvalid.code, f"{after.name} begins at {after.from_utc}, before {before.name} "
                          f"ends at {before.to_utc}")
        elif parse_instant(after.from_utc) - parse_instant(before.to_utc) < gap_us:
            yield Problem(f"$.splits[{number}]", LeakagePolicyViolation.code, f"{after.name} begins at {after.from_utc}, less than the gap "
                          f"of {document['gap']} after {before.name} ends at {before.to_utc}")
    if len(listed) < 2:
        yield from (Problem(f"$.{name}", SchemaInvalid.code, "without two splits there is nothing to keep apart; name them under `splits`")
                    for name in ("gap", "disjoint_by") if isinstance(document.get(name), str))
    if (basis := sound(LabelBasis, document.get("label_basis"))) is not None:
        yield from _evaluation_rules(basis, parts, all_sound=len(parts) == len(listed))
        yield from _maturity_rules(basis, parts)


def _evaluation_rules(basis: LabelBasis, parts: list[tuple[int, SplitRange]], *, all_sound: bool) -> Iterator[Problem]:
    """A split that is judged by what is known later lies after all that is learned, and no row lies after its own as-of (record 0034).

    ──[ train )──[ test ──┼── )──────────────┤
                          as_of              as_of of test
    """
    evaluated = [(number, split, split.label_asof_utc) for number, split in parts if split.label_asof_utc is not None]
    learned = [split for _, split in parts if split.label_asof_utc is None]
    last = max(learned, key=lambda split: split.to_utc, default=None)
    for number, split, asof in evaluated:
        path = f"$.splits[{number}].label_asof_utc"
        if asof <= basis.label_asof_utc:
            yield Problem(path, LeakagePolicyViolation.code, f"{split.name} is judged by labels as of {asof}, which is not after the as-of "
                          f"{basis.label_asof_utc} of the other splits; leave it out, or state a later one")
        elif last is None and all_sound:
            yield Problem(path, LeakagePolicyViolation.code, "every split has an as-of of its own, so that nothing is learned as of "
                          f"{basis.label_asof_utc}; leave it out of the splits that a model is trained on")
        elif last is not None and split.from_utc < last.to_utc:
            yield Problem(path, LeakagePolicyViolation.code, f"{split.name} begins at {split.from_utc}, before {last.name} ends at "
                          f"{last.to_utc}: what has an as-of of its own must lie after everything that is learned")
    for number, split in parts if evaluated else ():
        asof = split.label_asof_utc or basis.label_asof_utc
        if split.to_utc > asof and (basis.maturity_days is None or basis.immature == "mark"):  # else maturity asks for more
            yield Problem(f"$.splits[{number}].to_utc", LeakagePolicyViolation.code, f"{split.name} ends at {split.to_utc}, after its "
                          f"as-of {asof}; where splits have several as-ofs, each ends by its own")


def _maturity_rules(basis: LabelBasis, parts: list[tuple[int, SplitRange]]) -> Iterator[Problem]:
    if basis.maturity_days is None or basis.immature == "mark":
        return
    for number, split in parts:
        own = split.label_asof_utc or basis.label_asof_utc
        cut_us = max(EARLIEST_US, parse_instant(own) - basis.maturity_days * US_PER_DAY)
        if parse_instant(split.to_utc) > cut_us:
            asof_us = parse_instant(split.to_utc) + basis.maturity_days * US_PER_DAY
            which = "the as-of" if split.label_asof_utc is None else "its as-of"
            later = f"move {which} to {format_instant(asof_us)}, or " if asof_us <= LATEST_US else ""
            yield Problem(f"$.splits[{number}].to_utc", LeakagePolicyViolation.code, f"{split.name} ends at {split.to_utc}, where labels "
                          f"are not mature yet; the last possible end is {format_instant(cut_us)} (or {later}set immature: mark)")


def _gap_us(gap: Any) -> int:
    try:
        return parse_duration(gap) if isinstance(gap, str) else 0
    except ValueError:
        return 0


def _sampling_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    sampling = sound(SamplingRule, document.get("sampling"))
    if sampling is None:
        return
    for label_class, rate in sampling.rates.items():
        if rate == "0":
            yield Problem(f"$.sampling.rates.{label_class}", SchemaInvalid.code,
                          "a rate of 0 keeps nothing; leave these rows out with a condition in `where`")
        elif document.get("target", ...) is None and label_class != "unlabeled":
            yield Problem(f"$.sampling.rates.{label_class}", SchemaInvalid.code, "without a target every row is unlabeled")


def _evidence_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    scope = document.get("join_scope")
    wanted = scope.get("required_output_ids") if isinstance(scope, Mapping) else None
    if document.get("run_facts_ref") == NO_RUN_FACTS and isinstance(wanted, list) and wanted:
        yield Problem("$.run_facts_ref", RunFactsUnavailable.code,
                      f"`none` is possible only without required outputs; here they are {', '.join(map(str, wanted))}")
    link, reason = document.get("supersedes"), document.get("backfill_reason")
    if link is not None and reason is None:
        yield Problem("$.backfill_reason", SupersessionLinkInvalid.code, "state why this dataset supersedes another")
    if link is None and reason is not None:
        yield Problem("$.supersedes", SupersessionLinkInvalid.code, "a backfill reason needs `supersedes`, the dataset that is replaced")
