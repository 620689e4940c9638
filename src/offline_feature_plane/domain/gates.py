"""Gates: what must hold before something is read or published, judged on plain values (`domain.md` §7, `decisions.md` D10, D24, D26).

A gate looks at counts or receipts and answers with a `GateResult`; the caller decides what a FAIL means for it. Only `judge_inputs`
raises by itself: without PASS there is no read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.coverage import Coverage, CoveragePolicy, Unlabeled, find_shortfalls, format_share, parse_share
from offline_feature_plane.domain.findings import Finding, conflicts_of
from offline_feature_plane.domain.gaps import DeclaredGap, tell_gaps
from offline_feature_plane.errors import (
    CoveragePolicyViolation,
    LabelLagImplausible,
    NoPassNoRead,
    OfsError,
    OwnershipBoundaryViolation,
    Problem,
    ReplayBasisMismatch,
    ReplayIncomplete,
    RunScopeInvalid,
    TargetDegenerate,
    TruthFieldAsFeature,
    refuse,
)

__all__ = ["GateMap", "GateResult", "WorldInput", "judge_completeness", "judge_coverage", "judge_decoding", "judge_inputs", "judge_lag",
           "judge_outputs", "judge_overlap", "judge_target", "judge_truth_fields", "judged"]

# Per gate: the outputs it authorises and the gates that must have passed before it.
GateMap = Mapping[str, Mapping[str, Sequence[str]]]
Facts = Mapping[str, Any]

_PLACES = 3  # of records that cannot be decoded, in a sentence; the anomaly report has all
_SCOPE = ("manifest_fingerprint", "parameter_hash", "seed", "scenario_id", "run_id")


@dataclass(frozen=True)
class GateResult:
    """One gate's answer. `details` is JSON-ready; `sentences` say what failed.

    `path` is where the full contract (`$.…`) or the plane's settings say what a failed gate holds against, or the first place in data
    that it is about; None where there is no such place.
    """

    gate: str
    verdict: Literal["PASS", "FAIL"]
    reason_code: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()
    path: str | None = None

    @property
    def passed(self) -> bool:
        """Did it pass?"""
        return self.verdict == "PASS"

    def describe(self) -> dict[str, Any]:
        """The answer as manifests carry it."""
        return {"gate": self.gate, "verdict": self.verdict, "reason_code": self.reason_code, "details": dict(self.details)}


@dataclass(frozen=True)
class WorldInput:
    """An output of another plane that may be read: where it is, and why it may be read."""

    output_id: str
    path: str
    content_digest: str | None
    evidence: tuple[Mapping[str, Any], ...]

    def describe(self) -> dict[str, Any]:
        """What enters identity and evidence."""
        return {"output_id": self.output_id, "path": self.path, "content_digest": self.content_digest,
                "evidence": [dict(one) for one in self.evidence]}


def judged(gate: str, code: type[OfsError], sentences: Iterable[str], details: Mapping[str, Any], path: str | None = None) -> GateResult:
    """The answer of a gate: FAIL, for the code and at the path, if there is a sentence that says what failed."""
    told = tuple(sentences)
    return GateResult(gate, "FAIL", code.code, details, told, path) if told else GateResult(gate, "PASS", None, details)


# --- no PASS, no read ---------------------------------------------------------------------------------------


def judge_inputs(run_facts: Facts | None, required_output_ids: Sequence[str], gate_map: GateMap, deny_list: Sequence[str], *,
                 platform_run_id: str, scenario_run_ids: Sequence[str] = (),
                 place: str = "$.join_scope.required_output_ids") -> tuple[WorldInput, ...]:
    """The world inputs that may be read, with their evidence.

    An output may be read iff its locator is known, it is not a truth product, nothing in its scope has failed, and either an instance
    receipt for exactly this target and digest says PASS, or, where no instance receipt exists, every gate mapped to it and every
    gate upstream of those does.

    Args:
        run_facts: the view as a plain document; None if there is none.
        required_output_ids: what is wanted; empty means no world inputs, and nothing is judged but the run scope.
        gate_map: which gate covers which outputs.
        deny_list: truth products, by name or shell pattern.
        platform_run_id: the run of the intent.
        scenario_run_ids: the scenario runs that may be read; empty means any.
        place: where the outputs were required; what is missing for them is reported there.

    Raises:
        RunScopeInvalid: the view is of another run. NoPassNoRead: anything else is missing. Both with every problem.
    """
    wanted = sorted(set(required_output_ids), key=str.encode)
    problems = list(_scope_problems(run_facts, platform_run_id, scenario_run_ids)) if run_facts is not None else []
    found: list[WorldInput] = []
    for output in wanted:
        faults: list[str] = []
        locator = None
        if any(fnmatchcase(output, pattern) for pattern in deny_list):
            faults.append("it is a truth product and can never be a world input")
        locators = [one for one in (run_facts or {}).get("locators", ()) if one["output_id"] == output]
        if run_facts is None:
            faults.append("there is no run facts view")
        elif len(locators) != 1:
            faults.append("it has no locator" if not locators else f"it has {len(locators)} locators")
        else:
            locator = locators[0]
            evidence, lacks = _evidence(run_facts, output, locator, gate_map)
            faults += lacks
        problems += [Problem(f"{place}.{output}", NoPassNoRead.code, fault) for fault in faults]
        if locator is not None and not faults:
            found.append(WorldInput(output, locator["path"], _hex(locator.get("content_digest")), tuple(evidence)))
    if problems:
        raise refuse(problems)
    return tuple(found)


def _scope_problems(run_facts: Facts, platform_run_id: str, scenario_run_ids: Sequence[str]) -> Iterator[Problem]:
    pins = run_facts["pins"]
    for name in ("platform_run_id", "scenario_run_id", "run_id"):
        if pins[name] != run_facts[name]:
            yield Problem(f"$.pins.{name}", RunScopeInvalid.code, f"the view is of {run_facts[name]}, but its pins say {pins[name]}")
    if run_facts["platform_run_id"] != platform_run_id:
        yield Problem("$.platform_run_id", RunScopeInvalid.code,
                      f"the view is of {run_facts['platform_run_id']}, but the intent is of {platform_run_id}")
    if scenario_run_ids and run_facts["scenario_run_id"] not in scenario_run_ids:
        yield Problem("$.scenario_run_id", RunScopeInvalid.code, f"the view is of {run_facts['scenario_run_id']}, the intent of "
                      f"{', '.join(scenario_run_ids)}")


def _evidence(facts: Facts, output: str, locator: Facts, gate_map: GateMap) -> tuple[list[dict[str, Any]], list[str]]:
    """The receipts that let an output be read, and what is missing for it."""
    refused = dict.fromkeys(one["gate_id"] for one in facts["gate_receipts"]
                            if one.get("status") == "FAIL" and _may_speak_of(one["scope"], locator))
    failed = [f"the gate {gate} failed" for gate in refused]
    mine = [one for one in facts.get("instance_receipts", ()) if one["output_id"] == output]
    failed += [f"an instance receipt for {one['target_ref']['path']} says FAIL" for one in mine
               if one.get("status") == "FAIL" and _may_speak_of(one["scope"], locator)]
    if mine:
        passed = [one for one in mine if one.get("status") == "PASS" and _is_target(one, locator)]
        lacks = [] if passed else ["no instance receipt for exactly this target and digest says PASS"]
        return [{"kind": "instance", "output_id": output, "target_digest": _hex(one["target_digest"]), "scope": dict(one["scope"])}
                for one in passed], failed + lacks
    gates = _needed_gates(output, gate_map)
    if not gates:
        return [], [*failed, "it has no instance receipt and no gate is mapped to it"]
    evidence, lacks = [], []
    for gate in gates:
        passed = [one for one in facts["gate_receipts"] if one["gate_id"] == gate and one.get("status") == "PASS"
                  and _speaks_of(one["scope"], locator)]
        evidence += [{"kind": "gate", "gate_id": gate, "digest": _hex(one.get("digest")), "scope": dict(one["scope"])} for one in passed]
        if not passed and gate not in refused:
            lacks.append(f"the gate {gate} has no PASS in its scope")
    return evidence, failed + lacks


def _needed_gates(output: str, gate_map: GateMap) -> list[str]:
    """The gates mapped to an output with everything upstream of them, in name order."""
    found: set[str] = set()
    todo = [gate for gate, rule in gate_map.items() if output in rule.get("outputs", ())]
    while todo:
        gate = todo.pop()
        if gate not in found:
            found.add(gate)
            todo += gate_map.get(gate, {}).get("upstream", ())
    return sorted(found)


def _speaks_of(scope: Facts, locator: Facts) -> bool:
    """Is a receipt's scope the locator's world? It names nothing that the locator says otherwise or not at all."""
    return all(scope.get(name) == locator.get(name) for name in _SCOPE if scope.get(name) is not None)


def _may_speak_of(scope: Facts, locator: Facts) -> bool:
    """Could a receipt's scope be the locator's world? What either leaves open excludes nothing: a FAIL blocks in doubt."""
    return all(scope.get(name) in (None, locator.get(name)) or locator.get(name) is None for name in _SCOPE)


def _is_target(receipt: Facts, locator: Facts) -> bool:
    target, digest = receipt["target_ref"], _hex(receipt["target_digest"])
    same = all(target.get(name) == locator.get(name) for name in ("output_id", "path", *_SCOPE))
    claimed = [_hex(one.get("content_digest")) for one in (target, locator) if one.get("content_digest") is not None]
    return same and _speaks_of(receipt["scope"], locator) and all(one == digest for one in claimed)


def _hex(digest: Facts | None) -> str | None:
    return None if digest is None else f"{digest['algo']}:{digest['hex']}"


def judge_outputs(granted: Sequence[str], wanted: str = "dataset_manifest") -> GateResult:
    """May OFS publish this kind of output here?"""
    faults = [] if wanted in granted else [f"the configuration grants OFS {', '.join(granted) or 'nothing'}, not {wanted}"]
    return judged("ownership", OwnershipBoundaryViolation, faults, {"wanted": wanted})


def judge_decoding(undecodable: int, declared: int, findings: Sequence[Finding] = (),
                   segments: Sequence[SegmentEvidence] = ()) -> GateResult:
    """Are all undecodable records known to those who keep the log? Others are holes that no offset shows (`domain.md` §1.4).

    Args:
        undecodable: how many the basis holds.
        declared: how many an archive's index declares, as dispositions of its segments; a bus declares none.
        findings: of the replay, for where they are.
        segments: those of the basis, for the files that they are in.
    """
    found = [(one, stretch) for one in findings if one.reason == "undecodable" for stretch in one.stretches]
    places = [_place(one, stretch, segments) for one, stretch in found[:_PLACES]]
    where = f" ({', '.join(told for told, _ in places)}{', …' if len(found) > _PLACES else ''})" if places else ""
    said = f"{undecodable:,} record{'' if undecodable == 1 else 's'} of the basis cannot be decoded{where}, but {declared:,} are declared"
    faults = [said] if undecodable > declared else []
    return judged("decoding", ReplayIncomplete, faults, {"undecodable": undecodable}, places[0][1] if places else None)


def _place(one: Finding, stretch: tuple[str, str], segments: Sequence[SegmentEvidence]) -> tuple[str, str]:
    """A stretch of one partition in a few words, and the shortest name of the place where it begins: its file, if a segment has it."""
    first, last = int(stretch[0]), int(stretch[1]) - 1
    place = f"{one.topic}/{one.partition}@{first}"
    told = place if first == last else f"{place} to {last}"
    held = next((said.ref for said in segments if said.lane == one.lane
                 and said.span[0] <= first < said.span[1]), None)
    return (told, place) if held is None else (f"{told} in {held}", held)


def judge_completeness(gaps: Sequence[DeclaredGap]) -> GateResult:
    """Is nothing of the basis declared to be missing (`domain.md` §1.10)?"""
    faults = [f"of the basis is declared to be missing: {tell_gaps(gaps, _PLACES)}"] if gaps else []
    return judged("completeness", ReplayIncomplete, faults, {"gaps": len(gaps)}, "$.gaps")


def judge_overlap(findings: Sequence[Finding], compared: int) -> GateResult:
    """Do all holders of the logs agree about what they hold (`domain.md` §1.3)?

    Args:
        findings: of the replay.
        compared: how many coordinates were compared.
    """
    conflicts = conflicts_of(findings)
    count = sum(one.count for one in conflicts)
    places = [f"{one.topic}/{one.partition}@{one.first_offset}" for one in conflicts]
    faults = []
    if conflicts:
        faults = [f"archive and bus disagree at {count:,} of {compared:,} compared coordinates: {conflicts[0].sentence or places[0]}"
                  .removesuffix(".")]
    return judged("overlap", ReplayBasisMismatch, faults, {"conflicts": count, "places": places})


# --- before publishing --------------------------------------------------------------------------------------


def judge_coverage(coverage: Mapping[str, Mapping[str, int]], answered_min: Mapping[str, str], conflicts_max: str, *,
                   unlabeled: Mapping[str, Unlabeled] | None = None,
                   by_split: Mapping[str, Mapping[str, Mapping[str, int]]] | None = None) -> GateResult:
    """Are enough mature subjects answered, and few enough in conflict?

    Args:
        coverage: per label type `subjects, resolved, not_found, conflict`.
        answered_min: per label type the demanded share as decimal text; a type that is not named is only shown.
        conflicts_max: the share that may be in conflict, for every named type.
        unlabeled: the rule of each of the target's label types; only there does silence mean a negative, under `negative_when_mature`.
        by_split: the same counts per label type and split, where splits are judged apart: where they have as-ofs of their own, one that is
            complete now would hide another that was hardly known then. A split without a mature subject has nothing to judge.
    """
    sentences: list[str] = []
    details: dict[str, Any] = {}
    path = "$.coverage_policy.answered_min"
    for label_type in sorted({*coverage, *answered_min}):
        meant = (unlabeled or {}).get(label_type, "refuse")
        told: dict[str, dict[str, Any]] = {}
        apart = (by_split or {}).get(label_type, {})
        for split, counts in ((None, coverage.get(label_type, {})), *apart.items()):
            found = Coverage(counts.get("resolved", 0), counts.get("not_found", 0), counts.get("conflict", 0))
            share = {"subjects": found.subjects, "answered": format_share(found.answered(meant)),
                     "conflicting": format_share(found.conflicting)}
            if split is None:
                details[label_type] = {**share, "answered_min": answered_min.get(label_type)}
            else:
                told[split] = share
            if label_type not in answered_min or (split is not None and not found.subjects):
                continue
            policy = CoveragePolicy(answered_min[label_type], conflicts_max)
            who = label_type if split is None else f"{label_type} in {split}"
            sentences += [f"{who}: {sentence}" for sentence in find_shortfalls(found, policy, meant)]
            if found.conflicting > parse_share(policy.max_conflict):  # each of them is no answer either
                path = "$.coverage_policy.conflicts_max"
        if told:
            details[label_type]["splits"] = told
    return judged("coverage", CoveragePolicyViolation, sentences, {"types": details, "conflicts_max": conflicts_max}, path)


def judge_target(splits: Mapping[str, Mapping[str, Any]]) -> GateResult:
    """Has every split at least one positive and one negative row?

    Args:
        splits: per split, in the order of time, `rows, positive, negative`.
    """
    lacking = [place for place, counts in enumerate(splits.values()) if not counts["positive"] or not counts["negative"]]
    details = {name: {"positive": counts["positive"], "negative": counts["negative"]} for name, counts in splits.items()}
    told = [f"{name} has {counts['positive']} positive and {counts['negative']} negative rows" for name, counts in details.items()]
    sentences = [told[place] for place in lacking] if splits else ["there is no split"]
    path = f"$.splits[{lacking[0]}]" if 0 < len(lacking) < len(splits) else "$.target"  # if all lack it, no bounds are wrong
    return judged("target", TargetDegenerate, sentences, details, path)


def judge_lag(per_type: Mapping[str, Mapping[str, Any]], types: Iterable[str] | None = None) -> GateResult:
    """Do labels seem to be observed when their event happens?

    Args:
        per_type: per label type the facts of label resolution; `observed_lag` holds `assertions` and `sooner` (those within 60 s of
            their event, or below the declared `min_lag_us`). Types about entities also have `applies_to`; there effective times count.
        types: which types are judged; None means all.
    """
    sentences, details, path = [], {}, None
    for label_type in sorted(per_type if types is None else types):
        lag = per_type.get(label_type, {}).get("observed_lag") or {"assertions": 0, "sooner": 0}
        declared = per_type.get(label_type, {}).get("min_lag_us")
        details[label_type] = {"assertions": lag["assertions"], "sooner": lag["sooner"], "min_lag_us": declared}
        if 2 * lag["sooner"] > lag["assertions"]:
            path = path or f"labels.{label_type}.observed"
            start = "effective time" if "applies_to" in per_type[label_type] else "event"
            soon = f"within 60 s of their {start}" if declared is None else f"sooner than the declared {declared / 1e6:g} s"
            sentences.append(f"{label_type}: {lag['sooner']} of {lag['assertions']} assertions are observed {soon}")
    return judged("label_lag", LabelLagImplausible, sentences, details, path)


def judge_truth_fields(fields: Mapping[str, str], truth_columns: Iterable[str]) -> GateResult:
    """Does a feature read a column that reveals the label?

    Args:
        fields: per profile field the column it is read from.
        truth_columns: columns of the same file that are mapped as labels.
    """
    truth = set(truth_columns)
    used = {name: column for name, column in fields.items() if column in truth}
    sentences = [f"the field {name} reads {column}, which is mapped as a label" for name, column in sorted(used.items())]
    return judged("truth_fields", TruthFieldAsFeature, sentences, {"truth_columns": sorted(truth), "used": sorted(used)})
