"""The first step of planning: the profile, events and labels that an intent names, pinned by digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_feature_plane.contracts.intent import IntentKind
from offline_feature_plane.contracts.intent_rules import parse_intent
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.contracts.profile import FeatureProfile, read_profile
from offline_feature_plane.corridor.inputs import PlanningInputs, SubmittedIntent
from offline_feature_plane.corridor.shortform import FillIns, expand, is_long_form, read_short
from offline_feature_plane.documents import Document
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.closure_documents import describe
from offline_feature_plane.domain.identity import closure_digest
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.domain.rows import TokenKey
from offline_feature_plane.errors import BasisUnresolved, FeatureProfileUnresolved, LabelTypeScopeUnresolved, OfsError, SchemaInvalid
from offline_feature_plane.ports.inputs import EventSource, LabelStore, PinnedEvents, PinnedLabels


@dataclass(frozen=True)
class PinnedInputs:
    """What one intent is made from, pinned. `events` are by topic; `read_by` says which source or store pinned each, as `name@version`."""

    profile_ref: str
    profile: FeatureProfile
    profile_digest: str
    set_ref: str
    set_digest: str
    feature_label_types: tuple[str, ...]
    events: Mapping[str, PinnedEvents]
    read_by: Mapping[str, str]
    labels: tuple[PinnedLabels, ...]
    labels_read_by: Mapping[str, str]
    token_key: TokenKey | None


def pin_inputs(submitted: SubmittedIntent, inputs: PlanningInputs, kind: IntentKind | None = "dataset_build") -> PinnedInputs:
    """Find everything that an intent names, and pin it; `kind` is the one that the caller serves, None: any.

    Raises:
        OfsError: the intent's shape, the profile, a topic or a label type that plane.yaml does not map, and what pinning raises.
    """
    settings = inputs.settings
    head = _read_head(submitted.document.value, settings, kind)
    document, profile_digest = inputs.profile(head.profile_ref, submitted.folder)
    profile = _read_profile(document, head, inputs)
    set_ref = head.set_ref or _only_set(profile)
    drawn = _draw(document, profile, set_ref, head, settings)
    owners = {topic: source for source in inputs.event_sources for topic in source.topics}
    topics = sorted(set(head.topics or _topics_of(drawn, owners, document)), key=str.encode)
    _check_topics(drawn, topics, owners)
    label_types = sorted({*head.label_types, *drawn.label_types()})
    keepers = {label_type: store for store in inputs.label_stores for label_type in store.label_types}
    return PinnedInputs(
        profile_ref=head.profile_ref, profile=profile, profile_digest=profile_digest, set_ref=set_ref,
        set_digest=closure_digest(describe(drawn)),
        feature_label_types=drawn.label_types(),
        events={topic: _owner(topic, owners).pin(topic) for topic in topics},
        read_by={topic: _registered(owners[topic]) for topic in topics},
        labels=_pin_labels(label_types, keepers, head.asof_us),
        labels_read_by={label_type: _registered(keepers[label_type]) for label_type in label_types}, token_key=inputs.token_key())


def _draw(document: Document, profile: FeatureProfile, set_ref: str, head: _Head, settings: Settings) -> Closure:
    """What the set uses over these rows; what does not fit them stands in the profile, what the profile has not in the intent."""
    try:
        return profile.closure(set_ref, head.rows, list(settings.labels), made_of=head.made_of)
    except (FeatureProfileUnresolved, SchemaInvalid):
        raise
    except OfsError as wrong:
        raise document.locate(wrong) from None


@dataclass(frozen=True)
class _Head:
    """As much of an intent as must be known before anything can be pinned."""

    rows: str
    made_of: tuple[str, str] | None
    profile_ref: str
    set_ref: str | None
    label_types: tuple[str, ...]
    asof_us: int
    topics: tuple[str, ...]


# A placeholder while a short form is too broken to know the real input, so that all of its other problems are reported at once.
_UNSEEN = FillIns(code_release_id="unseen", actor=("unseen", "declared"), profile_digest="sha256:" + "0" * 64, feature_set="unseen@v1",
                  basis=({"topic": "unseen", "files": ["unseen"], "log_id": "sha256:" + "0" * 64},), key_id="0" * 16)


def _read_head(document: Any, settings: Settings, kind: IntentKind | None) -> _Head:
    if is_long_form(document):
        intent = parse_intent(document, kind)
        chosen = intent.feature_definition_set
        return _Head(intent.subject.rows_source, intent.subject.made_of, chosen.profile_ref,
                     f"{chosen.feature_set_id}@{chosen.feature_set_version}",
                     tuple(intent.label_basis.label_types), parse_instant(intent.latest_asof_utc),
                     tuple(entry.topic for entry in intent.replay_basis))
    try:
        short = read_short(document, settings)
    except OfsError:
        if isinstance(document, Mapping):
            expand(document, settings=settings, fill_ins=_UNSEEN)
        raise
    topics = tuple(str(entry["topic"]) for entry in short.replay_basis or () if "topic" in entry)
    label_types = (*short.label.label_types(), *(short.labels or ()))
    return _Head(*short.subject, short.features, short.set, label_types, parse_instant(short.latest_asof), topics)


def _read_profile(document: Document, head: _Head, inputs: PlanningInputs) -> FeatureProfile:
    own = head.rows if head.made_of is None else head.made_of[0]  # what the fields of a short form are of
    try:
        return read_profile(document.value, rows=own, stem=Path(head.profile_ref).stem, label_types=list(inputs.settings.labels),
                            supports=inputs.supports)
    except OfsError as error:
        raise document.locate(error) from None


def _only_set(profile: FeatureProfile) -> str:
    refs = profile.set_refs()
    if len(refs) != 1:
        raise FeatureProfileUnresolved(f"the profile has {len(refs)} feature sets: {', '.join(refs)}.", path="$.set",
                                       fix="Name one, for example `set: " + refs[0] + "`.")
    return refs[0]


def _topics_of(closure: Closure, owners: Mapping[str, EventSource], profile: Document) -> Sequence[str]:
    """Where the events of a closure's sources are: topics of their event types' names; else any topic that mixes types may hold them."""
    mixed = [topic for topic, source in owners.items() if source.mixes_types(topic)]
    found: list[str] = []
    for source, event_type in ((one, event_type) for one in closure.sources for event_type in one.event_types):
        if event_type not in owners and not mixed:
            # The short form names its source after the rows, and those of contexts after these.
            said = next((path for path in (f"$.sources.{source.name}.event_types", f"$.contexts.{source.name}")
                         if path in profile.positions), None)
            wrong = BasisUnresolved(f"plane.yaml maps no events of type {event_type!r}; it maps {', '.join(owners) or 'none'}.",
                                    path=said or "$.rows", fix="Add the table under `events:`, or correct the name.")
            raise wrong if said is None else profile.locate(wrong)
        found += [event_type] if event_type in owners else mixed
    return found


def _check_topics(closure: Closure, topics: Sequence[str], owners: Mapping[str, EventSource]) -> None:
    """Every source has a topic in the basis, or one that mixes types may hold its events: else its features would be of nothing.

    Raises:
        BasisUnresolved: a source has none, or plane.yaml does not have a topic.
    """
    mixed = [topic for topic in topics if _owner(topic, owners).mixes_types(topic)]
    if mixed:
        return
    for source in closure.sources:
        if source.event_types and not set(source.event_types) & set(topics):
            raise BasisUnresolved(f"the feature set reads {source.name}, and the basis has no topic with its events; it has "
                                  f"{', '.join(topics)}.", path="$.replay_basis",
                                  fix=f"Add an entry for {' or '.join(source.event_types)}, or choose a feature set without it.")


def _owner(topic: str, owners: Mapping[str, EventSource]) -> EventSource:
    if topic not in owners:
        raise BasisUnresolved(f"plane.yaml has no topic {topic!r}; it has {', '.join(owners) or 'none'}.", path="$.replay_basis",
                              fix="Add it under `events:` or `archives:`, or correct the name.")
    return owners[topic]


def _pin_labels(label_types: Sequence[str], keepers: Mapping[str, LabelStore], asof_us: int) -> tuple[PinnedLabels, ...]:
    """The timelines of some types in their order; each store is asked once."""
    kept_by: dict[LabelStore, list[str]] = {}
    for label_type in label_types:
        kept_by.setdefault(_keeper(label_type, keepers), []).append(label_type)
    found = {one.label_type: one for keeper, names in kept_by.items() for one in keeper.pin(names, asof_us)}
    return tuple(found[label_type] for label_type in label_types)


def _keeper(label_type: str, keepers: Mapping[str, LabelStore]) -> LabelStore:
    if label_type not in keepers:
        known = ", ".join(keepers) or "none"
        raise LabelTypeScopeUnresolved(f"plane.yaml maps no label timeline {label_type!r}; it maps {known}.", path="$.label.type",
                                       fix="Add it under `labels:`, or correct the name.")
    return keepers[label_type]


def _registered(found: EventSource | LabelStore) -> str:
    return f"{found.name}@{found.version}"
