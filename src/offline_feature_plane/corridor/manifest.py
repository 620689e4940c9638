"""From what the phases found to the manifest: pure assembly, no decision (`domain.md` §6)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.contracts.anomaly_report import ANOMALY_REPORT
from offline_feature_plane.contracts.manifest import (
    ArtifactRef,
    Core,
    DatasetManifest,
    Eligibility,
    Evidence,
    Provenance,
    SplitFacts,
    TypeCoverage,
)
from offline_feature_plane.contracts.plan import Pins
from offline_feature_plane.corridor.cohorts import core_cohorts
from offline_feature_plane.corridor.feature_catalog import schema_column
from offline_feature_plane.corridor.gates import as_contract
from offline_feature_plane.corridor.over_gaps import tell_rows
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.receipts import storable
from offline_feature_plane.corridor.stage import Staged
from offline_feature_plane.corridor.steps import Machine
from offline_feature_plane.corridor.storing import PinnedPlan, StoredFiles
from offline_feature_plane.domain.columns import Column
from offline_feature_plane.domain.completeness import Completeness
from offline_feature_plane.domain.content import LEAF_ROWS
from offline_feature_plane.domain.findings import conflicts_of
from offline_feature_plane.domain.gaps import DeclaredGap, describe_gaps, tell_gaps
from offline_feature_plane.domain.gates import GateResult
from offline_feature_plane.domain.identity import closure_digest
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.label_sketch import pack
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.ports import LabelFacts, ReplayFacts, Run, SelectionFacts

# Counts that grow with what is observed after the cut, or about events of others: receipts have them, a core must not.
_BEYOND_THE_CUT = frozenset({"assertions_read", "assertions_after_asof", "assertions_outside_basis", "assertions_repeated"})
_PLACES = frozenset({"conflicts_at"})  # for whoever looks before a build
_MOST_VALUES = 5
COLD_WARNING_SHARE = 10  # percent of a split's rows (`decisions.md` D19)
CONTEXT_WARNING_SHARE = 10  # percent of the events that nothing else had left out until then


@dataclass(frozen=True)
class Computed:
    """What the steps of one attempt found and staged, before anything is published."""

    replayed: ReplayFacts
    labelled: LabelFacts
    selection: SelectionFacts
    gates: tuple[GateResult, ...]
    columns: tuple[Column, ...]
    staged: Staged
    rows_with_hidden_events: int
    over_gaps: tuple[dict[str, Any], ...] = ()


def write_manifest(plan: PinnedPlan, planned: Planned, computed: Computed, files: StoredFiles, receipts: Sequence[ArtifactRef],
                   machine: Machine, run: Run, ledger_head: str) -> DatasetManifest:
    """The whole document: the names of v0 on top, the core, the evidence.

    Args:
        plan: the pins that the run began with.
        planned: what this attempt builds.
        computed: what its steps found.
        files: where its data is.
        receipts: where its receipts are.
        machine: what it ran on.
        run: as claimed.
        ledger_head: the newest link of the run's history.
    """
    pins = plan.pins
    intent: Mapping[str, Any] = pins.intent
    return DatasetManifest(
        dataset_manifest_id=pins.dataset_manifest_id,
        dataset_fingerprint=pins.dataset_fingerprint,
        platform_run_id=intent["platform_run_id"],
        scenario_run_ids=list(intent.get("scenario_run_ids") or []),
        replay_basis=[*pins.identity["replay_basis"]["tables"], *pins.identity["replay_basis"]["ranges"]],
        label_basis=pins.identity["label_basis"],
        feature_definition_set={"feature_set_id": pins.closure["feature_set_id"],
                                "feature_set_version": pins.closure["feature_set_version"],
                                "profile": f"{pins.profile.policy_id}@{pins.profile.revision}"},
        provenance=Provenance(ofs_code_release_id=intent["ofs_code_release_id"], policy_revision=intent["policy_revision"],
                              config_revision=intent["config_revision"], run_config_digest=pins.identity["config_digest"]),
        core=write_core(pins, planned.task, computed, completeness=planned.completeness, registered=planned.registered),
        evidence=Evidence(
            parts=list(files.parts), column_digests=files.column_digests, plan=plan.ref,
            receipts=[one for one in receipts if one.name != ANOMALY_REPORT],
            anomaly_report=next((one for one in receipts if one.name == ANOMALY_REPORT), None),
            engine=f"{machine.engine.name}@{machine.engine.version}", versions=machine.versions, profile=pins.profile.model_dump(),
            meanings=storable({column: unicodedata.normalize("NFC", said) for column, said in planned.task.closure.meanings().items()}),
            sources=planned.source_evidence(),
            label_sketches={label_type: pack(sketch) for label_type, sketch in sorted(computed.labelled.sketches.items())},
            publisher={"run_key": run.run_key, "request_id": run.request_id, "attempt": run.attempt, "actor": intent["actor"],
                       "ledger_head": ledger_head}))


def write_core(pins: Pins, task: Task, computed: Computed, *, completeness: Completeness, registered: Sequence[str]) -> Core:
    """The part of a manifest that every run of this meaning must reproduce.

    Args:
        pins: the plan's pins.
        task: the task of the engine.
        computed: what the steps found.
        completeness: the verdict on the basis.
        registered: everything that was found by name, as `name@version`.
    """
    selection, staged = computed.selection, computed.staged
    gates = as_contract(computed.gates)
    failed = [gate for gate in gates if gate.verdict != "PASS"]
    training = pins.identity["purpose"] == "training"
    reasons = [*(f"{gate.gate}: {gate.reason_code}" for gate in failed), *([] if training else ["built for a purpose other than training"])]
    return Core(
        identity=pins.identity,
        purpose="training" if training else "non_training",
        content_digest=staged.content_digest,
        column_digests=staged.content.column_digests_digest,
        leaf_rows=LEAF_ROWS,
        leaves=staged.leaf_count,
        events_digest=computed.replayed.events_digest,
        label_slice_digest=computed.labelled.slice_digest,
        row_count=staged.rows,
        columns=[schema_column(column) for column in computed.columns],
        row_accounting=dict(selection.accounting),
        splits=_splits(task, selection),
        coverage=[TypeCoverage(label_type=label_type, **counts) for label_type, counts in sorted(selection.coverage.items())],
        labels=_label_facts(task, computed.labelled, selection),
        replay={"events_read": computed.replayed.events_read, "events_admitted": computed.replayed.events_admitted,
                "first_event": _instant(computed.replayed.first_ts_us), "last_event": _instant(computed.replayed.last_ts_us),
                "history_start": pins.history_start, "visibility": task.visibility,
                "rows_with_hidden_events": computed.rows_with_hidden_events,
                **({"scenarios": dict(computed.replayed.scenarios)} if computed.replayed.scenarios else {})},
        closure_digest=closure_digest(pins.closure),
        closure=pins.closure,
        gaps=describe_gaps(completeness.gaps),
        rows_over_gaps=list(computed.over_gaps),
        gates=gates,
        warnings=[*warn_of_gaps(completeness.gaps, task), *tell_rows(computed.over_gaps, staged.rows),
                  *warn(task, computed.replayed, computed.labelled, selection)],
        eligibility=Eligibility(training_ready=training and not failed,
                                complete=completeness.is_complete and not conflicts_of(computed.replayed.findings),
                                evidence_kind="pinned_files" if completeness.kind == "pinned_files" else "log_offsets", reasons=reasons),
        registered=sorted(registered),
    )


def warn_of_gaps(gaps: Sequence[DeclaredGap], task: Task) -> list[str]:
    """What rows do not know where something of the basis is missing."""
    if not gaps:
        return []
    found = [f"the dataset lacks {tell_gaps(gaps)}: rows whose windows reach over it count less than happened."]
    if task.visibility == "arrival":
        found.append("what a row saw is told by the events that are there: a missing one may have come later than those behind it.")
    return found


def warn(task: Task, replayed: ReplayFacts, labelled: LabelFacts, selection: SelectionFacts) -> list[str]:
    """What an owner should know although nothing is wrong."""
    found = [f"{facts['cold']:,} of {facts['rows']:,} rows of split {name} are cold: their deepest window begins before the known history."
             for name, facts in sorted(selection.splits.items())
             if task.cold_rows == "mark" and facts["cold"] * 100 > facts["rows"] * COLD_WARNING_SHARE]
    lacking, later = selection.accounting["missing_context"], ("cold", "sampled_out", "row")
    if lacking * 100 > (asked := lacking + sum(selection.accounting[name] for name in later)) * CONTEXT_WARNING_SHARE:
        names = ", ".join(group.name for group in task.closure.demanded())
        found.append(f"{lacking:,} of {asked:,} events became no rows, for they lack a context that the profile demands: {names}.")
    if task.closure.label_types() and selection.rows_beyond_asof:
        found.append(f"{selection.rows_beyond_asof:,} rows lie after the label as-of: online, their label features would have known more.")
    found += [f"no record of the basis is of the scenario run {name}." for name, count in replayed.scenarios.items() if not count]
    if undecodable := replayed.dispositions.get("undecodable"):
        found.append(f"{undecodable:,} records of the basis cannot be decoded; no window has them.")
    if quarantined := replayed.dispositions.get("future_quarantined"):
        found.append(f"{quarantined:,} events lie further ahead of their log's time than `max_ahead` allows; no window has them.")
    for part in task.target.parts if task.target is not None else ():
        known = labelled.values_of(part.label_type)
        found += [f"no {part.label_type} known at the as-of says {value}, which the target names."
                  for value in (*part.positive, *(part.negative or ())) if value not in known]
        if part.negative is not None and (others := sorted(known.keys() - {*part.positive, *part.negative}, key=str.encode)):
            count = sum(known[value] for value in others)
            told = ", ".join([*others[:_MOST_VALUES], *(["…"] if others[_MOST_VALUES:] else [])])
            found.append(f"{part.label_type} labels that say {told} are "
                         f"neither positive nor negative to the target: {count:,} of them answer nothing.")
    return [*found, *_tell_adrift(labelled.per_type)]


def _tell_adrift(per_type: Any) -> list[str]:
    """Of which label types assertions supersede what is not there: they may correct nothing, so that both stand."""
    return [f"{facts['assertions_adrift']:,} {name} assertions supersede an id that is not known of the same "
            f"{facts.get('applies_to', 'event')} at the as-of, and replace nothing: "
            f"{_adrift(facts['first_adrift'])}{', …' if facts['assertions_adrift'] > 1 else ''}."
            for name, facts in sorted(per_type.items()) if facts.get("assertions_adrift")]


def _adrift(first: Mapping[str, Any]) -> str:
    name = "one without an id" if first["assertion_id"] is None else repr(first["assertion_id"])
    return f"{name} names {first['supersedes']!r}"


def tell_strangers(per_type: Any) -> list[str]:
    """Of which label types assertions are about nothing in the basis, from the facts of label resolution by type.

    Not among the warnings of a core: how many there are may change with every delivery of labels.
    """
    return [f"{facts['assertions_outside_basis']:,} of {facts['assertions_read']:,} {name} assertions are about "
            f"{'entities without an event' if 'applies_to' in facts else 'events that are not'} in the basis."
            for name, facts in sorted(per_type.items()) if facts["assertions_outside_basis"]]


def _splits(task: Task, selection: SelectionFacts) -> list[SplitFacts]:
    ranges = [(split.name, _instant(split.start_us), _instant(split.end_us), _instant(split.asof_us)) for split in task.splits]
    return [SplitFacts(name=name, start=start, end=end, label_asof_utc=asof, **{
                kind: int(selection.splits[name][kind]) for kind in ("rows", "positive", "negative", "unknown", "cold")})
            for name, start, end, asof in ranges or [("all", None, None, None)]]


def _label_facts(task: Task, facts: LabelFacts, selection: SelectionFacts) -> dict[str, Any]:
    cohorts = core_cohorts(selection.cohorts, task.labels.types)
    return {"label_asof_utc": format_instant(task.labels.asof_us), "resolution_rule": task.labels.rule,
            "assertions_eligible": facts.assertions_eligible,
            "per_type": storable({name: {key: value for key, value in one.items() if key not in _BEYOND_THE_CUT | _PLACES}
                                  | cohorts.get(name, {}) for name, one in facts.per_type.items()})}


def _instant(us: int | None) -> str | None:
    return None if us is None else format_instant(us)
