"""From what the phases found to the manifest: pure assembly, no decision (`domain.md` §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.contracts.manifest import (
    ArtifactRef,
    Core,
    DatasetManifest,
    Eligibility,
    Evidence,
    Gate,
    Part,
    Provenance,
    SchemaColumn,
    SplitFacts,
    TypeCoverage,
)
from offline_feature_plane.contracts.plan import Pins
from offline_feature_plane.corridor.receipts import storable
from offline_feature_plane.corridor.stage import Staged
from offline_feature_plane.domain.columns import Column
from offline_feature_plane.domain.completeness import Completeness
from offline_feature_plane.domain.content import LEAF_ROWS
from offline_feature_plane.domain.identity import closure_digest
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.ports import LabelFacts, ReplayFacts, SelectionFacts

# Counts that grow with what is observed after the cut, or about events of others: receipts have them, a core must not.
_BEYOND_THE_CUT = frozenset({"assertions_read", "assertions_after_asof", "assertions_outside_basis", "assertions_repeated"})
COLD_WARNING_SHARE = 10  # percent of a split's rows (`decisions.md` D19)


@dataclass(frozen=True)
class Found:
    """What the phases of one attempt found, before anything is published."""

    replay: ReplayFacts
    labels: LabelFacts
    selection: SelectionFacts
    gates: tuple[Gate, ...]
    columns: tuple[Column, ...]
    staged: Staged
    completeness: Completeness


def write_core(pins: Pins, task: Task, found: Found, registered: Sequence[str]) -> Core:
    """The part of a manifest that every run of this meaning must reproduce.

    Args:
        pins: the plan's pins.
        task: what the engine was asked.
        found: what the phases found.
        registered: everything that was found by name, as `name@version`.
    """
    selection, staged = found.selection, found.staged
    failed = [gate for gate in found.gates if gate.verdict != "PASS"]
    training = pins.identity["purpose"] == "training"
    reasons = [*(f"{gate.gate}: {gate.reason_code}" for gate in failed), *([] if training else ["built for a purpose other than training"])]
    return Core(
        identity=pins.identity,
        purpose="training" if training else "non_training",
        content_digest=staged.content_digest,
        column_digests=staged.content.column_digests_digest,
        leaf_rows=LEAF_ROWS,
        leaves=staged.leaf_count,
        events_digest=found.replay.events_digest,
        label_slice_digest=found.labels.slice_digest,
        row_count=staged.rows,
        columns=[SchemaColumn(name=column.name, type=str(column.type), role=column.role, nullable=column.nullable,
                              numeric_class=column.numeric_class, lineage=column.lineage, identifier=column.identifier,
                              meaning=column.meaning) for column in found.columns],
        row_accounting=dict(selection.accounting),
        splits=_splits(task, selection),
        coverage=[TypeCoverage(label_type=label_type, **counts) for label_type, counts in sorted(selection.coverage.items())],
        labels=_label_facts(task, found.labels),
        replay={"events_read": found.replay.events_read, "events_admitted": found.replay.events_admitted,
                "first_event": _instant(found.replay.first_ts_us), "last_event": _instant(found.replay.last_ts_us),
                "history_start": pins.history_start},
        closure_digest=closure_digest(pins.closure),
        closure=pins.closure,
        gates=list(found.gates),
        warnings=warn(task, selection),
        eligibility=Eligibility(training_ready=training and not failed, complete=found.completeness.is_complete,
                                evidence_kind=found.completeness.kind, reasons=reasons),
        registered=sorted(registered),
    )


def write_manifest(pins: Pins, core: Core, evidence: Evidence) -> DatasetManifest:
    """The whole document: v0's names on top, core, evidence."""
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
        core=core,
        evidence=evidence,
    )


def write_parts(staged: Staged, prefix: str) -> list[Part]:
    """The staged files as they will stand in the store: under the run's own prefix, named by their digest."""
    return [Part(key=f"{prefix}{part.sha256.removeprefix('sha256:')}.parquet", sha256=part.sha256, size_bytes=part.size_bytes,
                 rows=part.rows, first_row=part.first_row) for part in staged.parts]


def warn(task: Task, selection: SelectionFacts) -> list[str]:
    """What an owner should know although nothing is wrong."""
    found = [f"{facts['cold']:,} of {facts['rows']:,} rows of split {name} are cold: their deepest window begins before the known history."
             for name, facts in sorted(selection.splits.items())
             if task.cold_rows == "mark" and facts["cold"] * 100 > facts["rows"] * COLD_WARNING_SHARE]
    if task.closure.label_types() and selection.rows_beyond_asof:
        found.append(f"{selection.rows_beyond_asof:,} rows lie after the label as-of: online, their label features would have known more.")
    return found


def artifact(name: str, key: str, sha256: str) -> ArtifactRef:
    """A reference to a stored document."""
    return ArtifactRef(name=name, key=key, sha256=sha256)


def _splits(task: Task, selection: SelectionFacts) -> list[SplitFacts]:
    ranges: list[tuple[str, str | None, str | None]] = [(split.name, format_instant(split.start_us), format_instant(split.end_us))
                                                        for split in task.splits]
    return [SplitFacts(name=name, start=start, end=end, **{kind: int(selection.splits[name][kind])
                                                           for kind in ("rows", "positive", "negative", "unknown", "cold")})
            for name, start, end in ranges or [("all", None, None)]]


def _label_facts(task: Task, facts: LabelFacts) -> dict[str, Any]:
    return {"label_asof_utc": format_instant(task.labels.asof_us), "resolution_rule": task.labels.rule,
            "assertions_eligible": facts.assertions_eligible,
            "per_type": storable({name: {key: value for key, value in one.items() if key not in _BEYOND_THE_CUT}
                                  for name, one in facts.per_type.items()})}


def _instant(us: int | None) -> str | None:
    return None if us is None else format_instant(us)
