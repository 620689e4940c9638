"""Planning: a submitted intent becomes a plan in which everything that decides the dataset is pinned (`domain.md` §7, `decisions.md` D4).

    submitted ──▶ inputs pinned ──▶ contract written out ──▶ evidence proved ──▶ meaning pinned ──▶ plan

Nothing is written. Whatever is wrong is said here, before a run exists.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_feature_plane.contracts.intent import BuildIntent, IntentKind
from offline_feature_plane.contracts.manifest import SourceUsed
from offline_feature_plane.contracts.meaning import identity
from offline_feature_plane.contracts.plan import BuildPlan, Estimate, Pins, ProfileRef, pins_digest
from offline_feature_plane.contracts.plane import Settings, config_meaning, memory_bytes
from offline_feature_plane.contracts.profile import FeatureProfile
from offline_feature_plane.corridor.expansion import ExpandedIntent, write_out
from offline_feature_plane.corridor.inputs import PlanningInputs, SubmittedIntent
from offline_feature_plane.corridor.intent_task import task_of
from offline_feature_plane.corridor.pinning import PinnedInputs, pin_inputs
from offline_feature_plane.corridor.proving import Proof, prove
from offline_feature_plane.corridor.shortform import is_long_form
from offline_feature_plane.corridor.sizing import estimate
from offline_feature_plane.corridor.written_places import as_long, as_written, place_of_asof
from offline_feature_plane.documents import Document
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.closure_documents import describe
from offline_feature_plane.domain.completeness import Completeness
from offline_feature_plane.domain.footprint import least_bytes
from offline_feature_plane.domain.gaps import DeclaredGap, describe_gaps
from offline_feature_plane.domain.gates import GateResult
from offline_feature_plane.domain.identity import closure_digest, config_digest, dataset_fingerprint, dataset_manifest_id, payload_digest
from offline_feature_plane.domain.instants import format_instant, parse_instant
from offline_feature_plane.domain.outcomes import Use, use_of
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.errors import ArrivalUnknown, LeakagePolicyViolation, OfsError
from offline_feature_plane.ports.inputs import EventInput, EventSource, PinnedLabels, PlainTable

__all__ = ["Planned", "SubmittedIntent", "plan"]


@dataclass(frozen=True)
class Planned:
    """A plan and the values that run it: what `ofs plan` prints and `ofs build` builds.

    `completeness` is the verdict on the basis, `receipt` the document that says so. `written` is the intent as it was submitted.
    """

    plan: BuildPlan
    task: Task
    events: tuple[EventInput, ...]
    labels: tuple[PinnedLabels, ...]
    gates: tuple[GateResult, ...]
    completeness: Completeness
    receipt: dict[str, Any]
    request_id: str | None
    payload_digest: str
    registered: tuple[str, ...]
    written: Document

    @property
    def reads_records(self) -> bool:
        """Are events read from the records of a log?"""
        return any(not isinstance(one, PlainTable) for one in self.events)

    @property
    def pins(self) -> Pins:
        """Everything that decides the dataset."""
        return self.plan.pins

    @property
    def pins_digest(self) -> str:
        """The digest of the pins."""
        return self.plan.pins_digest

    @property
    def use(self) -> Use:
        """What is built is for."""
        return self.plan.use

    @property
    def dm_id(self) -> str:
        """The dataset's id."""
        return self.pins.dataset_manifest_id

    @property
    def platform_run_id(self) -> str:
        """The run that the dataset belongs to."""
        return str(self.pins.intent["platform_run_id"])

    def place(self, path: str) -> str:
        """Where the intent that was submitted says what the full contract says at a JSON path: file, line and path."""
        own = path if is_long_form(self.written.value) else as_written(path, self.pins.intent)
        return f"{self.written.place(own)} {own}"

    def document(self) -> dict[str, Any]:
        """The plan as a JSON-ready document."""
        return self.plan.model_dump(mode="json")

    def source_evidence(self) -> list[SourceUsed]:
        """Which files and stretches of a bus were read, for the manifest's evidence."""
        return [SourceUsed(kind=source.kind, name=source.name, read_by=source.read_by, log_id=source.log_id,
                           files=[file.path for file in source.files], marker=source.marker, bus=source.bus, routes=source.routes)
                for source in self.plan.sources]


def plan(submitted: SubmittedIntent, inputs: PlanningInputs, *, now_us: int | None = None,
         kind: IntentKind | None = "dataset_build") -> Planned:
    """Resolve, validate and pin an intent.

    Args:
        submitted: as it was written.
        inputs: what the plane offers.
        kind: the one kind of intent that the caller serves; None: any, for who only looks.
        now_us: the time, for who asks anew; None for a run that was asked for before.

    Raises:
        OfsError: whatever prevents the plan, with its place in the intent, the profile or the plane.
    """
    try:
        pinned = pin_inputs(submitted, inputs, kind)
        expanded = write_out(submitted, pinned, inputs, kind)
        _check_asofs(expanded.intent, submitted.document.value, now_us)
        _check_arrival(expanded.intent, pinned)
        proof = prove(expanded, pinned, submitted, inputs)
        histories = _histories(expanded.closure, inputs.event_sources, {gap.stretch.topic for gap in proof.completeness.gaps})
        task = task_of(expanded.intent, expanded.closure, pinned.token_key, histories)
        pins = _pin_meaning(expanded, pinned, proof, task, histories, inputs, submitted.folder)
        if expanded.intent.supersedes is not None:
            inputs.check_link(expanded.intent.platform_run_id, pins.dataset_manifest_id, expanded.intent.supersedes,
                              expanded.intent.backfill_reason)
    except OfsError as error:
        raise _located(error, submitted.document) from None
    return Planned(
        plan=_write_plan(pins, expanded.closure, pinned, proof, inputs.settings), task=task,
        events=tuple(one.reading(proof.read, expanded.closure.sources) for one in pinned.events.values()), labels=pinned.labels,
        gates=proof.gates, completeness=proof.completeness, receipt=proof.receipt, request_id=expanded.intent.request_id,
        payload_digest=payload_digest(expanded.intent.payload(pins.dataset_fingerprint)),
        registered=_registered(expanded.closure, expanded.intent), written=submitted.document)


def _located(error: OfsError, document: Document) -> OfsError:
    """The error with file and line of its place in the intent as it was written; one that names another place as it is."""
    if error.path is not None and not error.path.startswith("$"):
        return error
    if error.path is not None and not is_long_form(document.value):
        error.path = as_written(error.path, {})
    elif error.path is not None:
        error.path = as_long(error.path)
    return document.locate(error)


def _check_asofs(intent: BuildIntent, written: Mapping[str, Any], now_us: int | None) -> None:
    """Labels that will be observed before an as-of in the future are not there yet, and would change it. Raises LeakagePolicyViolation."""
    asofs = [("the as-of", intent.label_basis.label_asof_utc, "$.label_basis.label_asof_utc"),
             *((f"{split.name}'s own as-of", split.label_asof_utc, place_of_asof(written, split.name)) for split in intent.splits
               if split.label_asof_utc is not None)]
    for which, asof, place in asofs:
        if now_us is not None and parse_instant(asof) > now_us:
            raise LeakagePolicyViolation(f"{which} {asof} lies in the future: it is {format_instant(now_us)} now, and labels that will be "
                                         "observed until then are not there yet.", path=place,
                                         fix="State an instant that has passed, for example midnight after the last export of labels.")


def _check_arrival(intent: BuildIntent, pinned: PinnedInputs) -> None:
    """Where rows see what had arrived, every topic must say when it did. Raises ArrivalUnknown (`decisions.md` D21)."""
    silent = [topic for topic, events in pinned.events.items() if not events.knows_arrival]
    if intent.visibility == "arrival" and silent:
        raise ArrivalUnknown(f"nothing says when events of {', '.join(silent)} arrived.", path="$.visibility")


def _histories(closure: Closure, sources: Sequence[EventSource], holed: Collection[str]) -> dict[str, int | None]:
    """Per source of the closure from when on it is complete: the latest start that is declared for any of its event types' topics.

    What plane.yaml declares of a topic does not hold where the intent declares that something of it is missing.
    """
    declared = {topic: start for source in sources for topic in source.topics
                if topic not in holed and (start := source.history_start_us(topic)) is not None}
    return {source.name: max((declared[one] for one in source.event_types if one in declared), default=None) for source in closure.sources}


def _names_a_zone(closure: Closure, task: Task) -> bool:
    """Do rows depend on what clocks show elsewhere than in UTC?"""
    return bool(closure.zones() or (task.where and task.where.zones()) or (task.calendar and task.calendar.zone != "UTC"))


def _pin_meaning(expanded: ExpandedIntent, pinned: PinnedInputs, proof: Proof, task: Task, histories: Mapping[str, int | None],
                 inputs: PlanningInputs, folder: Path) -> Pins:
    """Everything that decides the dataset, with its fingerprint."""
    intent, closure = expanded.intent, expanded.closure
    meaningful = config_meaning(inputs.settings, topics=pinned.events.keys(), label_types=[one.label_type for one in pinned.labels],
                                outputs=intent.join_scope.required_output_ids, visibility=intent.visibility)
    meant = identity(intent, ranges=proof.ranges, closure=closure, config_digest=config_digest(meaningful),
                     run_facts_digest=proof.granted.run_facts_digest, world_inputs=proof.granted.inputs,
                     tzdata=inputs.tzdata if _names_a_zone(closure, task) else None)
    fingerprint = dataset_fingerprint(meant)
    described = describe(closure)
    profile = pinned.profile
    return Pins(
        intent=intent.document(), filled=expanded.filled, dataset_fingerprint=fingerprint,
        dataset_manifest_id=dataset_manifest_id(fingerprint), identity=meant, closure=described,
        profile=ProfileRef(ref=pinned.profile_ref, policy_id=profile.policy_id, revision=profile.revision, feature_set=pinned.set_ref,
                           file_digest=pinned.profile_digest, closure_digest=closure_digest(described), set_digest=pinned.set_digest,
                           versioned=profile.is_versioned()),
        world={"inputs": [dict(one) for one in proof.granted.inputs]},
        history_start={name: None if start is None else format_instant(start) for name, start in histories.items()},
        refs_from=Path(os.path.relpath(folder.resolve(), inputs.folder.resolve())).as_posix())


def _write_plan(pins: Pins, closure: Closure, pinned: PinnedInputs, proof: Proof, settings: Settings) -> BuildPlan:
    """The pins, where everything comes from, and about what it will cost."""
    routes = {topic: [one.describe() for one in proof.completeness.routes if one.wanted.topic == topic] for topic in pinned.events}
    sources = [*(events.describe(proof.read, pinned.read_by[topic]).model_copy(update={"routes": routes[topic]})
                 for topic, events in pinned.events.items()),
               *(one.describe(pinned.labels_read_by[one.label_type]) for one in pinned.labels)]
    made = pins.intent["subject"].get("calendar") is not None  # such rows are called by their entity and day
    cost = estimate(sources, closure, pins.intent["visibility"], text_ids=made)
    use, gaps = use_of(pins.identity["intent_kind"], pins.identity["purpose"]), describe_gaps(proof.completeness.gaps)
    return BuildPlan(pins=pins, pins_digest=pins_digest(pins), use=use, answer=proof.completeness.answer(use),
                     feasibility=proof.completeness.feasibility, gaps=gaps, sources=sources, estimate=cost,
                     warnings=[*_warn(pinned.profile, closure, cost, settings, text_ids=made or any(
                        source.kind not in {"labels", "plain_table"} for source in sources)),
                               *(notice for source in sources for notice in source.notices), *_warn_of_found(proof.found),
                               *_warn_of_other_logs(pins, pinned.labels)])


def _warn(profile: FeatureProfile, closure: Closure, cost: Estimate, settings: Settings, *, text_ids: bool) -> list[str]:
    """What the user should know before building."""
    found = [] if profile.is_versioned() else ["unversioned profile: edits of revision `dev` are not noticed."]
    limit = settings.engine.memory_limit
    if settings.engine.name == "local" and limit is not None and memory_bytes(limit) < cost.memory_bytes:
        found.append(f"in memory this build needs about {cost.memory_bytes / 1e9:.1f} GB; engine.memory_limit is {limit}: what does not "
                     "fit goes over files in the work folder.")
        if memory_bytes(limit) < (least := min(least_bytes(closure, cost.events, text_ids=text_ids), cost.memory_bytes)):
            found.append(f"engine.memory_limit is {limit}, and no build of this feature set takes less than about {least / 1e9:.2f} GB.")
    return found


def _warn_of_found(found: Sequence[DeclaredGap]) -> list[str]:
    """What is declared to be missing stays out, so that the intent goes on to mean the same dataset."""
    return [f"{gap} is declared to be missing, and is there by now: an intent without this gap is another dataset, which has it."
            for gap in found]


def _warn_of_other_logs(pins: Pins, labels: Sequence[PinnedLabels]) -> list[str]:
    """A pinned intent names the label log that was in use; growth is harmless, and only a comparison can detect an edit."""
    named = pins.intent["label_basis"]["store"]
    return [f"the intent was pinned with another state of the {one.label_type} labels; if what was known at the as-of has "
            "changed, so have the rows." for one in labels if named.get(one.label_type, one.log_id) != one.log_id]


def _registered(closure: Closure, intent: BuildIntent) -> tuple[str, ...]:
    """What was found by name and decides rows; sources and stores were found by name too, but belong to the evidence."""
    return tuple(sorted({*(f"aggregation:{one}" for one in closure.aggregations()), f"label_rule:{intent.label_basis.resolution_rule}"}))
