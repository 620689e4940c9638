"""Checks of a validated intent while it is planned: its own pins, the datasets it names, the columns that carry labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from offline_feature_plane.contracts.intent import NO_RUN_FACTS, BuildIntent, FileSetBasis
from offline_feature_plane.contracts.model import json_path, nearest
from offline_feature_plane.corridor.pinning import PinnedInputs
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.gates import GateResult, judge_truth_fields
from offline_feature_plane.errors import (
    AggregationUnsupported,
    CodeReleaseMismatch,
    FeatureProfileDrift,
    LabelPolicyInvalid,
    LabelTypeScopeUnresolved,
    Problem,
    ReplayBasisMismatch,
    RunScopeInvalid,
    TruthFieldAsFeature,
    refuse,
)
from offline_feature_plane.ports.inputs import LabelStore, PinnedEvents, PinnedLabels


def check_pins(intent: BuildIntent, pinned: PinnedInputs, installed: str) -> None:
    """Compare what a long form states with what the plane has. `installed` is the code release.

    Raises:
        CodeReleaseMismatch, ReplayBasisMismatch, FeatureProfileDrift: the release, a table's files, the profile.
    """
    if intent.ofs_code_release_id != installed:
        raise CodeReleaseMismatch(f"the intent is pinned to {intent.ofs_code_release_id}; installed is {installed}.",
                                  path="$.ofs_code_release_id", fix="Install the pinned release, or pin the intent again.")
    for number, entry in enumerate(intent.replay_basis):
        if isinstance(entry, FileSetBasis) and entry.log_id not in (found := pinned.events[entry.topic].log_ids):
            raise ReplayBasisMismatch(f"the files of {entry.topic} have log id {', '.join(found)}, the intent pins {entry.log_id}.",
                                      path=f"$.replay_basis[{number}].log_id")
    stated = intent.feature_definition_set.profile_digest
    if stated is not None and stated != pinned.profile_digest:
        raise FeatureProfileDrift(f"the profile has digest {pinned.profile_digest}; the intent pins {stated}.",
                                  path="$.feature_definition_set.profile_digest",
                                  fix="Restore the pinned profile, or pin the intent again.")


def check_scenarios(intent: BuildIntent) -> None:
    """Scenario runs narrow records; rows of plain tables belong to none (`decisions.md` D17). Raises RunScopeInvalid."""
    tables = any(isinstance(entry, FileSetBasis) for entry in intent.replay_basis)
    if intent.scenario_run_ids and tables and intent.run_facts_ref == NO_RUN_FACTS:  # run facts are held to them too
        raise RunScopeInvalid("plain tables say of no row which scenario run it belongs to.", path="$.scenario_run_ids",
                              fix="Leave scenario_run_ids out.")


def check_words(intent: BuildIntent, closure: Closure, labels: Sequence[PinnedLabels]) -> None:
    """Label values that the intent or a feature names are among those that plane.yaml maps, where it lists them all.

    Raises:
        LabelPolicyInvalid: with every word that no label can ever have.
    """
    known = {table.label_type: table.vocabulary for table in labels}
    rules = intent.target.by_type() if intent.target is not None else {}
    named = [(label_type, json_path(["target", *(["types", label_type] if len(rules) > 1 else []), kind]), value)
             for label_type, rule in rules.items() for kind in ("positive", "negative") for value in getattr(rule, kind) or ()]
    named += [(call.label_type, feature.column, value) for group in closure.groups for feature in group.features
              if (call := feature.aggregation).label_type is not None for value in call.values]
    problems = [Problem(path, LabelPolicyInvalid.code, f"no {label_type} label can be {value!r}. {nearest(value, sorted(words))}")
                for label_type, path, value in dict.fromkeys(named) if (words := known.get(label_type)) is not None and value not in words]
    if problems:
        raise refuse(problems)


def check_entities(known: Mapping[str, ColumnType], pinned: PinnedInputs) -> frozenset[str]:
    """The subject's fields that hold entities which labels are about (`domain.entity_labels`).

    Args:
        known: what conditions over the subject may read, by name.
        pinned: has the timelines.

    Raises:
        LabelTypeScopeUnresolved: the profile has no such field, or it can hold no entity.
        AggregationUnsupported: a feature would look at labels of entities.
    """
    found = set()
    for one in pinned.labels:
        name, at = one.entity_field, f"labels.{one.label_type}.applies_to"
        if name is None:
            continue
        if one.label_type in pinned.feature_label_types:
            raise AggregationUnsupported(f"features cannot look at {one.label_type} labels: they are about entities, not about events.",
                                         path=f"labels.{one.label_type}.entity",
                                         fix="Take them for the target or as columns of labels; features need a timeline about events.")
        kind = known.get(name) if name != "ts" else None
        if kind is None:
            has = ", ".join(sorted(known.keys() - {"ts"}))
            raise LabelTypeScopeUnresolved(
                f"{one.label_type} labels are about what the field {name!r} holds, and rows have no such field; they have {has}.", path=at,
                fix="Declare it under `fields:` of the profile, or name another in `applies_to:`.")
        if kind.kind != "string" and not kind.is_integer:
            raise LabelTypeScopeUnresolved(f"{one.label_type} labels are about what the field {name!r} holds, and that is {kind}.", path=at,
                                           fix="Entities are text or integers; name another field in `applies_to:`.")
        found.add(name)
    return frozenset(found)


def check_ids(intent: BuildIntent, closure: Closure, events: Mapping[str, PinnedEvents], labels: Sequence[PinnedLabels]) -> None:
    """Labels refer to events by id, so events without ids can have none (`decisions.md` D14), but for those about entities."""
    by_id = {one.label_type for one in labels if one.entity_field is None}
    learned = {intent.subject.rows_source} if intent.target is not None and by_id & set(intent.label_basis.label_types) else set()
    looked_at = {group.source for group in closure.groups if any(feature.aggregation.label_type for feature in group.features)}
    for source in closure.sources:
        nameless = [topic for topic in source.event_types if topic in events and not events[topic].names_events]
        if nameless and source.name in learned | looked_at:
            raise LabelTypeScopeUnresolved(f"labels refer to events by id, and events.{nameless[0]} has no id column.", path="$.label",
                                           fix=f"Add `id:` to events.{nameless[0]} in plane.yaml, or use `target: none`.")


def judge_truth(closure: Closure, events: Mapping[str, PinnedEvents], stores: Sequence[LabelStore]) -> GateResult:
    """No field that carries truth may feed a feature, whatever the purpose (`decisions.md` D26).

    Raises:
        TruthFieldAsFeature: a field reads a column that a timeline takes labels from, in the very same file.
    """
    truth = {topic: frozenset[str]().union(*(store.truth_columns(one.table_files) for store in stores)) for topic, one in events.items()}
    read = {f"{source.name}.{field.name}": column for source in closure.sources for field in source.fields
            for column in (field.path[0], ".".join(field.path))
            if any(column in truth.get(topic, ()) for topic in source.event_types)}
    result = judge_truth_fields(read, read.values())
    if not result.passed:
        raise TruthFieldAsFeature("; ".join(result.sentences) + ".", path=min(result.details["used"]))
    return result
