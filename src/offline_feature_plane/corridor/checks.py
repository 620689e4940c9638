"""What a validated intent is held against before its plan stands: its own pins, the datasets it names, the columns that carry truth."""

from __future__ import annotations

from collections.abc import Mapping

from offline_feature_plane.contracts.intent import BuildIntent, FileSetBasis
from offline_feature_plane.corridor.at_hand import Home
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.gates import GateResult, judge_truth_fields
from offline_feature_plane.errors import (
    CodeReleaseMismatch,
    FeatureProfileDrift,
    LabelTypeScopeUnresolved,
    ReplayBasisMismatch,
    SupersessionLinkInvalid,
    TruthFieldAsFeature,
)
from offline_feature_plane.ports import PlainTable


def check_pins(intent: BuildIntent, tables: Mapping[str, PlainTable], profile_digest: str, home: Home) -> None:
    """Hold what a long form states against what is at hand."""
    if intent.ofs_code_release_id != home.code_release_id:
        raise CodeReleaseMismatch(f"the intent is pinned to {intent.ofs_code_release_id}; installed is {home.code_release_id}.",
                                  path="$.ofs_code_release_id", fix="Install the pinned release, or pin the intent again.")
    for number, entry in enumerate(intent.replay_basis):
        if isinstance(entry, FileSetBasis) and entry.topic in tables and entry.log_id != tables[entry.topic].log_id:
            raise ReplayBasisMismatch(f"the files of {entry.topic} have log id {tables[entry.topic].log_id}, the intent pins "
                                      f"{entry.log_id}.", path=f"$.replay_basis[{number}].log_id")
    pinned = intent.feature_definition_set.profile_digest
    if pinned is not None and pinned != profile_digest:
        raise FeatureProfileDrift(f"the profile has digest {profile_digest}, the intent pins {pinned}.",
                                  path="$.feature_definition_set.profile_digest",
                                  fix="Restore the pinned profile, or pin the intent again.")


def check_ids(intent: BuildIntent, closure: Closure, tables: Mapping[str, PlainTable]) -> None:
    """Labels refer to events by id, so events without ids can have none (`decisions.md` D14)."""
    learned = {intent.subject.source} if intent.target is not None else set()
    looked_at = {group.source for group in closure.groups if any(feature.aggregation.label_type for feature in group.features)}
    for source in closure.sources:
        nameless = [topic for topic in source.event_types if topic in tables and tables[topic].id_column is None]
        if nameless and source.name in learned | looked_at:
            raise LabelTypeScopeUnresolved(f"labels refer to events by id, and events.{nameless[0]} maps no id.", path="$.label",
                                           fix=f"Add `id:` to events.{nameless[0]} in plane.yaml, or ask with `target: none`.")


def check_supersession(intent: BuildIntent, dm_id: str, home: Home) -> None:
    """What is replaced stands published, and does not itself replace, over any number of links, what replaces it."""
    old = intent.supersedes
    if old is None:
        return
    if not home.is_published(old):
        raise SupersessionLinkInvalid(f"{old} is not published here.", path="$.supersedes", fix="Name a dataset that `ofs datasets` lists.")
    reached, todo = {old}, [old]
    while todo:
        found = set(home.superseded(todo.pop())) - reached
        reached |= found
        todo += found
    if dm_id in reached:
        raise SupersessionLinkInvalid(f"{old} replaces {dm_id}, or is it: the links would form a circle.", path="$.supersedes",
                                      fix="Leave `supersedes` out.")


def judge_truth(closure: Closure, home: Home, tables: Mapping[str, PlainTable]) -> GateResult:
    """No field that carries truth may feed a feature, whatever the purpose (`decisions.md` D26)."""
    read = {f"{source.name}.{field.name}": field.path[0] for source in closure.sources for field in source.fields
            if any(topic in tables and field.path[0] in home.truth_columns(topic) for topic in source.event_types)}
    result = judge_truth_fields(read, read.values())
    if not result.passed:
        raise TruthFieldAsFeature("; ".join(result.sentences) + ".", fix="Remove the field from the profile: it would tell the answer.")
    return result
