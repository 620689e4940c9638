"""The gates between selection and rows: judged on counts, before a feature is computed (`decisions.md` D10, D24, D26)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from offline_feature_plane.contracts.manifest import Gate
from offline_feature_plane.contracts.plan import Pins
from offline_feature_plane.corridor.cohorts import cover_splits
from offline_feature_plane.domain.completeness import Completeness
from offline_feature_plane.domain.gates import (
    GateResult,
    judge_completeness,
    judge_coverage,
    judge_decoding,
    judge_lag,
    judge_overlap,
    judge_target,
)
from offline_feature_plane.domain.outcomes import Situation, Use, is_refused
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.errors import LabelScopeEmpty, RefusedError, all_codes
from offline_feature_plane.ports import LabelFacts, ReplayFacts, SelectionFacts

# Where an intent says what keeps events from becoming rows.
_DROPPED_BY = {"context": "$.subject.source", "where": "$.subject.where", "outside_splits": "$.splits", "earlier_split": "$.disjoint_by",
               "immature": "$.label_basis.maturity_days", "unlabeled": "$.target", "label_conflict": "$.coverage_policy.conflicts_max",
               "missing_context": "$.feature_definition_set.profile_ref", "cold": "$.cold_rows", "sampled_out": "$.sampling"}
_WITHOUT_CONTEXT = " Where contexts are missing: give them what was known before these rows, or declare `missing: null` in the profile."
_MOST_VALUES = 10
# What a failed gate says of the basis; a declared gap has been settled while planning.
_SITUATIONS: dict[str, Situation] = {"decoding": "undecodable", "overlap": "holders_disagree"}
_ADVICE = {
    "coverage": "Wait for more labels, move the as-of, or state what is enough under label.coverage, and which share may be in conflict "
                "under label.conflicts.",
    "decoding": "Correct the segments and generate their index again, or declare the records: `ofs archive index` does with "
                "--declare-undecodable, an archiver under `dispositions`. What is on a bus stays there: archive it with such a "
                "declaration, or let the basis leave the offsets out.",
}


class Judged(Protocol):
    """What of a plan the gates look at."""

    @property
    def pins(self) -> Pins:
        """The plan's pins."""

    @property
    def use(self) -> Use:
        """What is built is for."""

    @property
    def task(self) -> Task:
        """The task of the engine."""

    @property
    def completeness(self) -> Completeness:
        """The verdict on the basis."""

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """What was judged while planning."""

    def place(self, path: str) -> str:
        """Where the intent says what stands at a JSON path of the full contract."""


def judge(planned: Judged, replayed: ReplayFacts, labels: LabelFacts, selection: SelectionFacts) -> tuple[GateResult, ...]:
    """Every gate of a build: those of the plan, then completeness, overlap, decoding, coverage, lag and target."""
    policy = planned.pins.intent["coverage_policy"]
    target = planned.task.target
    overlap, whole = judge_overlap(replayed.findings, replayed.compared), judge_completeness(planned.completeness.gaps)
    found = [*planned.gates,
             *([] if whole.passed else [whole]),  # it is judged while planning, and only what lacks something says so
             *([] if overlap.passed else [overlap]),  # whether somebody else holds the log too is no meaning
             judge_records(planned, replayed),
             judge_coverage(selection.coverage, policy["answered_min"], policy["conflicts_max"],
                            unlabeled={part.label_type: part.unlabeled for part in target.parts} if target else {},
                            by_split=_cover_each(planned.task, selection)),
             judge_lag(labels.per_type)]
    if target is not None:
        found.append(judge_target(selection.splits))
    return tuple(found)


def judge_records(planned: Judged, replayed: ReplayFacts) -> GateResult:
    """The gate `decoding`, of what was read."""
    training = planned.use == "training"  # else the verdict is in the core, which no index may change
    return judge_decoding(replayed.dispositions.get("undecodable", 0), planned.completeness.declared("undecodable") if training else 0,
                          replayed.findings, [one for held in planned.completeness.evidence for one in held])


def _cover_each(task: Task, selection: SelectionFacts) -> dict[str, dict[str, dict[str, int]]]:
    """The coverage of each split, where some have as-ofs of their own."""
    if not task.has_evaluation_splits:
        return {}
    return cover_splits(selection.cohorts, task.labels.types, [split.name for split in task.splits])


def refuse_failed(planned: Judged, gates: Sequence[GateResult], labels: LabelFacts, selection: SelectionFacts) -> None:
    """Stop a build if a gate failed that ends it (`domain.outcomes`); another one goes on and carries the verdicts.

    Raises:
        LabelScopeEmpty: no row is left, or labels are needed and none is known at the as-of.
        RefusedError: the first failed gate's code; the message has every failed gate's sentences.
    """
    _refuse_emptiness(planned, labels, selection)
    failed = [gate for gate in gates if not gate.passed and is_refused(planned.use, _SITUATIONS.get(gate.gate, "gate_failed"))]
    if not failed:
        return
    error = all_codes().get(failed[0].reason_code or "", RefusedError)
    path, fix = _mend(failed[0], planned.task, labels, selection)
    raise error("; ".join(sentence for gate in failed for sentence in gate.sentences) + ".",
                path=planned.place(path) if path is not None and path.startswith("$") else path,
                fix=fix or error.fix or "Correct what the message names, or set `non_training_allowed: true`.",
                gates=[gate.describe() for gate in failed])


def _mend(gate: GateResult, task: Task, labels: LabelFacts, selection: SelectionFacts) -> tuple[str | None, str | None]:
    """Where a failed gate is to be mended, and how."""
    if gate.gate != "target" or task.target is None:
        return gate.path, _ADVICE.get(gate.gate)
    if left_out := selection.accounting.get("sampled_out"):
        return "$.sampling", f"Raise the rates under `sampling`, which left out {left_out:,} rows, or widen the split."
    known = "; ".join(f"{part.label_type} {', '.join(sorted(labels.per_type[part.label_type]['values'])[:_MOST_VALUES])}"
                      for part in task.target.parts)
    return gate.path, f"Widen the split or move its bounds; check that label.positive names values that the timeline has: {known}."


def as_contract(gates: Sequence[GateResult]) -> list[Gate]:
    """The verdicts as a manifest carries them."""
    return [Gate.model_validate(gate.describe()) for gate in gates]


def _refuse_emptiness(planned: Judged, labels: LabelFacts, selection: SelectionFacts) -> None:
    task = planned.task
    if task.target is not None and not labels.assertions_eligible:
        names = [part.label_type for part in task.target.parts] if len(task.target.parts) == 1 else []
        raise LabelScopeEmpty("no label assertion about these events was known at the as-of.", path=".".join(["labels", *names]),
                              fix="Check that the labels name the ids of these events, or with `entity:` what a field of theirs holds, and "
                                  "that they are observed, and hold, by the as-of.",
                              assertions_read=labels.assertions_read)
    if not selection.accounting.get("row"):
        counts = {name: count for name, count in selection.accounting.items() if count}
        most = max(counts, key=lambda name: counts[name], default="")
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        raise LabelScopeEmpty(f"no event remains that could become a row: {told}.",
                              path=planned.place(_DROPPED_BY[most]) if most in _DROPPED_BY else None,
                              fix="Look at the largest count: widen the splits, move the as-of, or relax `where`."
                                  + (_WITHOUT_CONTEXT if counts.get("missing_context") else ""),
                              accounting=dict(selection.accounting))
