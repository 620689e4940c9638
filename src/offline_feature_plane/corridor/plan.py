"""Planning: an asked intent becomes a plan in which everything that decides the dataset is pinned (`domain.md` §7, `decisions.md` D4).

    asked ──▶ profile ──▶ inputs pinned ──▶ full contract ──▶ evidence judged ──▶ basis proved ──▶ identity ──▶ plan

Nothing is written. Whatever is wrong is said here, before a run exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_feature_plane.contracts.intent import BuildIntent, RangeBasis, SelectorBasis
from offline_feature_plane.contracts.intent_rules import parse_intent
from offline_feature_plane.contracts.meaning import identity
from offline_feature_plane.contracts.plan import BuildPlan, Estimate, Pins, ProfileRef, pins_digest
from offline_feature_plane.contracts.plane import Settings, config_meaning, memory_bytes
from offline_feature_plane.contracts.profile import FeatureProfile, read_profile
from offline_feature_plane.contracts.replay_receipt import completeness_receipt
from offline_feature_plane.corridor.at_hand import Home, PinnedTopic
from offline_feature_plane.corridor.checks import check_ids, check_pins, check_supersession, judge_truth
from offline_feature_plane.corridor.shortform import FilePin, as_long, as_written, expand, is_long_form, read_short
from offline_feature_plane.corridor.shortform import Pins as AtHand
from offline_feature_plane.corridor.sizing import estimate, list_sources
from offline_feature_plane.corridor.task import check_fields, fields_read, task_of
from offline_feature_plane.documents import Document
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.completeness import EvidenceKind, refusal
from offline_feature_plane.domain.gates import GateResult
from offline_feature_plane.domain.identity import closure_digest, config_digest, dataset_fingerprint, dataset_manifest_id, payload_digest
from offline_feature_plane.domain.instants import format_instant, parse_instant
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.errors import (
    BasisUnresolved,
    FeatureProfileUnresolved,
    LabelTypeScopeUnresolved,
    OfsError,
)
from offline_feature_plane.ports import EventInput, LabelTable, PlainTable


@dataclass(frozen=True)
class Asked:
    """An intent as it was handed over: the parsed document and the folder that its refs are relative to."""

    document: Document
    folder: Path


@dataclass(frozen=True)
class Planned:
    """A plan and the values that run it: what `ofs plan` prints and `ofs build` builds."""

    plan: BuildPlan
    task: Task
    events: tuple[EventInput, ...]
    labels: tuple[LabelTable, ...]
    gates: tuple[GateResult, ...]
    completeness: dict[str, Any]
    evidence_kind: EvidenceKind
    request_id: str | None
    payload_digest: str
    registered: tuple[str, ...]

    @property
    def pins(self) -> Pins:
        """Everything that decides the dataset."""
        return self.plan.pins

    @property
    def pins_digest(self) -> str:
        """The digest of the pins."""
        return self.plan.pins_digest

    @property
    def dm_id(self) -> str:
        """The dataset's id."""
        return self.pins.dataset_manifest_id

    @property
    def platform_run_id(self) -> str:
        """The run that the dataset belongs to."""
        return str(self.pins.intent["platform_run_id"])

    def document(self) -> dict[str, Any]:
        """The plan as a JSON-ready document."""
        return self.plan.model_dump(mode="json")

    def source_evidence(self) -> dict[str, Any]:
        """Which files were read, for the manifest's evidence."""
        return {source.name: {"kind": source.kind, "log_id": source.log_id, "files": [file.path for file in source.files]}
                for source in self.plan.sources}


def plan(asked: Asked, home: Home) -> Planned:
    """Resolve, validate and pin an intent.

    Raises:
        OfsError: whatever stands in the way, with its place in the intent, the profile or the plane.
    """
    try:
        return _plan(asked, home)
    except OfsError as error:
        raise _located(error, asked.document) from None


def _located(error: OfsError, document: Document) -> OfsError:
    """The error with file and line of its place in the intent as it was written; one that names another place as it is."""
    if error.path is not None and not error.path.startswith("$"):
        return error
    if error.path is not None and not is_long_form(document.value):
        error.path = as_written(error.path, {})
    elif error.path is not None:
        error.path = as_long(error.path)
    return document.locate(error)


def _plan(asked: Asked, home: Home) -> Planned:
    settings = home.settings
    head = _head(asked.document.value, settings)
    profile_document, profile_digest = home.profile(head.profile_ref, asked.folder)
    profile = _read_profile(profile_document, head, settings)
    set_ref = head.set_ref or _only_set(profile)
    drawn = profile.closure(set_ref, head.rows, list(settings.labels))

    tables, archives = _pin_events(head.topics or _topics(drawn, settings), home)
    label_types = sorted({*head.label_types, *drawn.label_types()})
    labels = tuple(_pin_labels(label_type, home) for label_type in label_types)
    key = home.token_key()
    full, filled = expand(asked.document.value, settings=settings, pins=AtHand(
        code_release_id=home.code_release_id, actor=home.actor,
        tables={topic: FilePin(table.log_id, tuple(file.relative for file in table.files)) for topic, table in tables.items()},
        ranges=tuple(item for archive in archives.values() for item in archive.ranges()),
        label_logs={table.label_type: table.log_id for table in labels}, profile_digest=profile_digest, feature_set=set_ref,
        feature_label_types=drawn.label_types(), key_id=key.key_id if key else None))
    intent = parse_intent(full)
    check_pins(intent, tables, profile_digest, home)

    check_fields(intent, profile.scope(intent.subject.source))
    closure = profile.closure(set_ref, intent.subject.source, list(settings.labels), also=sorted(fields_read(intent)))
    check_ids(intent, closure, tables)
    truth = judge_truth(closure, home, tables)
    facts_digest, world, gates = home.judge_inputs(intent, asked.folder)
    ranges, selectors = _resolve_ranges(intent, archives, home)
    verdict = home.completeness(list(archives.values()), ranges)
    if wrong := refusal(verdict):
        raise wrong

    histories = {source.name: _history(source.event_types, settings) for source in closure.sources}
    task = task_of(intent, closure, key, histories)
    events: tuple[EventInput, ...] = (*(tables[topic] for topic in sorted(tables)), *home.slices(list(archives.values()), ranges, task))
    meant = identity(intent, ranges=ranges, closure=closure,
                     config_digest=config_digest(config_meaning(settings, topics={*tables, *archives}, label_types=label_types,
                                                         outputs=intent.required_output_ids)),
                     run_facts_digest=facts_digest, world_inputs=world, tzdata=home.tzdata if _names_zone(closure, task) else None)
    fingerprint = dataset_fingerprint(meant)
    check_supersession(intent, dataset_manifest_id(fingerprint), home)
    described = closure.describe()
    pins = Pins(intent=intent.document(), filled=filled, dataset_fingerprint=fingerprint,
                dataset_manifest_id=dataset_manifest_id(fingerprint), identity=meant, closure=described,
                profile=ProfileRef(ref=head.profile_ref, policy_id=profile.policy_id, revision=profile.revision, feature_set=set_ref,
                                   file_digest=profile_digest, closure_digest=closure_digest(described),
                                   versioned=profile.is_versioned()),
                world={"inputs": [dict(one) for one in world]},
                history_start={name: None if start is None else format_instant(start) for name, start in histories.items()})
    receipt = completeness_receipt(intent.platform_run_id, verdict, selectors)
    sources = list_sources(tables.values(), [(topic, archive.evidence) for topic, archive in archives.items()], labels, ranges)
    cost = estimate(sources, closure)
    return Planned(
        plan=BuildPlan(pins=pins, pins_digest=pins_digest(pins), feasibility="FEASIBLE",
                       sources=sources, estimate=cost,
                       warnings=_warn(profile, cost, settings)),
        task=task, events=events, labels=labels, gates=(truth, *gates),
        completeness=receipt.model_dump(mode="json") if archives else _files_complete(tables.values()),
        evidence_kind="archive_chain" if archives else "pinned_files", request_id=intent.request_id,
        payload_digest=payload_digest(intent.payload()), registered=_registered(closure, intent))


@dataclass(frozen=True)
class _Head:
    """As much of an intent as must be known before anything can be pinned."""

    rows: str
    profile_ref: str
    set_ref: str | None
    label_types: tuple[str, ...]
    topics: tuple[str, ...]


# Stands for what is at hand while a short form is too broken to know it, so that every other problem of it shows at once.
_UNSEEN = AtHand(code_release_id="unseen", actor=("unseen", "declared"), tables={"unseen": FilePin("sha256:" + "0" * 64, ("unseen",))},
                 profile_digest="sha256:" + "0" * 64, feature_set="unseen@v1", key_id="0" * 16)


def _head(document: Any, settings: Settings) -> _Head:
    if is_long_form(document):
        intent = parse_intent(document)
        chosen = intent.feature_definition_set
        return _Head(intent.subject.source, chosen.profile_ref, f"{chosen.feature_set_id}@{chosen.feature_set_version}",
                     tuple(intent.label_basis.label_types), tuple(sorted({entry.topic for entry in intent.replay_basis})))
    try:
        short = read_short(document, settings)
    except OfsError:
        if isinstance(document, Mapping):
            expand(document, settings=settings, pins=_UNSEEN)
        raise
    topics = {str(entry["topic"]) for entry in short.replay_basis or () if "topic" in entry}
    return _Head(short.rows, short.features, short.set, (short.label.type, *(short.labels or ())), tuple(sorted(topics)))


def _read_profile(document: Document, head: _Head, settings: Settings) -> FeatureProfile:
    try:
        return read_profile(document.value, rows=head.rows, stem=Path(head.profile_ref).stem, label_types=list(settings.labels))
    except OfsError as error:
        raise document.locate(error) from None


def _only_set(profile: FeatureProfile) -> str:
    refs = profile.set_refs()
    if len(refs) != 1:
        raise FeatureProfileUnresolved(f"the profile has {len(refs)} feature sets: {', '.join(refs)}.", path="$.set",
                                       fix="Say which one, for example `set: " + refs[0] + "`.")
    return refs[0]


def _topics(closure: Closure, settings: Settings) -> tuple[str, ...]:
    """Where the events of a closure's sources are: tables and archives of their event types; else every archive may hold them."""
    found: set[str] = set()
    for event_type in (one for source in closure.sources for one in source.event_types):
        if event_type in settings.events or event_type in settings.archives:
            found.add(event_type)
        elif settings.archives:
            found |= set(settings.archives)
        else:
            known = ", ".join(settings.events) or "none"
            raise BasisUnresolved(f"plane.yaml maps no events of type {event_type!r}; it maps {known}.", path="$.rows",
                                  fix="Add the table under `events:`, or correct the name.")
    return tuple(sorted(found))


def _pin_events(topics: Iterable[str], home: Home) -> tuple[dict[str, PlainTable], dict[str, PinnedTopic]]:
    tables: dict[str, PlainTable] = {}
    archives: dict[str, PinnedTopic] = {}
    for topic in topics:
        if topic in home.settings.events:
            tables[topic] = home.table(topic)
        elif topic in home.settings.archives:
            archives[topic] = home.archive(topic)
        else:
            known = ", ".join([*home.settings.events, *home.settings.archives]) or "none"
            raise BasisUnresolved(f"plane.yaml knows no topic {topic!r}; it knows {known}.", path="$.replay_basis",
                                  fix="Add it under `events:` or `archives:`, or correct the name.")
    return tables, archives


def _pin_labels(label_type: str, home: Home) -> LabelTable:
    if label_type not in home.settings.labels:
        known = ", ".join(home.settings.labels) or "none"
        raise LabelTypeScopeUnresolved(f"plane.yaml maps no label timeline {label_type!r}; it maps {known}.", path="$.label.type",
                                       fix="Add it under `labels:`, or correct the name.")
    return home.labels(label_type)


def _resolve_ranges(intent: BuildIntent, archives: Mapping[str, PinnedTopic],
                    home: Home) -> tuple[tuple[Range, ...], tuple[tuple[Selector, tuple[Range, ...]], ...]]:
    selectors = tuple((selector, home.resolve(archives[entry.topic], selector)) for entry in intent.replay_basis
                      if isinstance(entry, SelectorBasis) for selector in (entry.to_selector(),))
    stated = [entry.to_range() for entry in intent.replay_basis if isinstance(entry, RangeBasis)]
    ranges = [*stated, *(item for _, found in selectors for item in found)]
    return canonical_basis(ranges) if ranges else (), selectors


def _history(event_types: Sequence[str], settings: Settings) -> int | None:
    """From when on a source is complete: the latest start that any of its tables or archives declares."""
    mapped = (settings.events.get(one) or settings.archives.get(one) for one in event_types)
    starts = [parse_instant(one.history_start) for one in mapped if one is not None and one.history_start is not None]
    return max(starts, default=None)


def _names_zone(closure: Closure, task: Task) -> bool:
    wheres = [group.where for group in closure.groups if group.where is not None] + ([task.where] if task.where is not None else [])
    return any(one.zones() for one in (*wheres, *(item.expression for item in (*closure.row_features, *closure.derived))))


def _files_complete(tables: Iterable[PlainTable]) -> dict[str, Any]:
    """Plain tables are complete relative to their pinned files (`decisions.md` H)."""
    return {"status": "COMPLETE", "evidence_kind": "pinned_files",
            "tables": [{"topic": table.topic, "log_id": table.log_id, "files": len(table.files),
                        "rows": sum(file.rows for file in table.files)} for table in tables]}


def _warn(profile: FeatureProfile, cost: Estimate, settings: Settings) -> list[str]:
    """What the asker should know before building."""
    found = [] if profile.is_versioned() else ["unversioned profile: edits of revision `dev` are not noticed."]
    limit = settings.engine.memory_limit
    if limit is not None and memory_bytes(limit) < cost.memory_bytes:
        found.append(f"this build needs about {cost.memory_bytes / 1e9:.1f} GB; engine.memory_limit is {limit}, "
                     "and the events of a build are kept in memory.")
    return found


def _registered(closure: Closure, intent: BuildIntent) -> tuple[str, ...]:
    used = {feature.aggregation.function for group in closure.groups for feature in group.features}
    return tuple(sorted({*(f"aggregation:{name}@v1" for name in used), f"label_rule:{intent.label_basis.resolution_rule}"}))


