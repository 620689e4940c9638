"""What a plane offers for planning: its event sources, label store, profiles, run facts, token key and published datasets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from offline_feature_plane.contracts.intent import NO_RUN_FACTS, BuildIntent
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.contracts.run_facts import parse_run_facts, run_facts_digest
from offline_feature_plane.corridor.inputs import Granted, SubmittedIntent
from offline_feature_plane.corridor.layout import manifest_key
from offline_feature_plane.corridor.shortform import ActorSource
from offline_feature_plane.corridor.supersession import check_link
from offline_feature_plane.documents import Document, parse_document
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.gates import GateResult, judge_inputs, judge_outputs
from offline_feature_plane.domain.rows import TokenKey
from offline_feature_plane.errors import (
    FeatureProfileInvalid,
    FeatureProfileUnresolved,
    OfsError,
    OwnershipBoundaryViolation,
    RunFactsUnavailable,
)
from offline_feature_plane.installation import current_user, installed_release, zone_rules
from offline_feature_plane.key_file import read_key
from offline_feature_plane.ports import Engine, ObjectStore
from offline_feature_plane.ports.inputs import EventSource, LabelStore
from offline_feature_plane.refs import read_ref
from offline_feature_plane.sources.archives.source import ArchiveSource, BucketDoor
from offline_feature_plane.sources.files import PlainTableSource
from offline_feature_plane.sources.kafka.bus import Connect
from offline_feature_plane.sources.kafka.source import KafkaSource
from offline_feature_plane.sources.kinesis.bus import Connect as ConnectStream
from offline_feature_plane.sources.kinesis.source import KinesisSource
from offline_feature_plane.sources.streams import join_streams


class PlaneInputs:
    """`corridor.inputs.PlanningInputs` over the adapters of this installation. Refs must lie under one of the plane's roots.

    Args:
        settings: the plane's.
        folder: the plane's.
        store: opens the artifact store; called only if an intent refers to other datasets.
        engine: gives the engine that will compute; planning asks it what it supports.
        label_stores: opens the label stores; called by the first plan.
        open_bucket: opens an archive in a bucket; called when it is pinned.
        connect: opens a Kafka cluster; called when a topic of one is pinned, and by whoever reads it then.
        connect_stream: opens a stream of Kinesis, likewise.
    """

    def __init__(self, settings: Settings, folder: Path, store: Callable[[], ObjectStore], engine: Callable[[], Engine],
                 label_stores: Callable[[], tuple[LabelStore, ...]], open_bucket: BucketDoor, connect: Connect,
                 connect_stream: ConnectStream) -> None:
        self.settings, self.folder = settings, folder
        self._store, self._engine, self._label_stores = store, engine, label_stores
        self.actor: tuple[str, ActorSource] = (current_user(), "os_user")
        self.tzdata = zone_rules()
        self.code_release_id = installed_release()
        # every kind of event source: a new one is a module and a line here
        archives = ArchiveSource.of(settings, open_bucket)
        opened = (KafkaSource.of(settings, connect), KinesisSource.of(settings, connect_stream), PlainTableSource.of(settings), archives)
        self.event_sources: tuple[EventSource, ...] = join_streams(opened, archives, settings.verify_overlap)

    @cached_property
    def label_stores(self) -> tuple[LabelStore, ...]:
        """Where label timelines come from. Raises RequestCommandUnsupported if a driver is not installed."""
        return self._label_stores()

    def supports(self, function: str) -> bool:
        """Does the plane's engine compute this aggregation?"""
        return self._engine().supports(function)

    def profile(self, ref: str, folder: Path) -> tuple[Document, str]:
        """A profile document and the digest of its bytes. Raises FeatureProfileInvalid, and as `read_ref`."""
        path, data = read_ref(ref, folder, self.settings.roots, "$.features", FeatureProfileUnresolved)
        return parse_document(data, path, FeatureProfileInvalid), sha256_of(data)

    def token_key(self) -> TokenKey | None:
        """The plane's token key. Raises as `read_key`."""
        return read_key(Path(self.settings.tokens.key_file), self.settings.store)

    def grant(self, intent: BuildIntent, submitted: SubmittedIntent) -> Granted:
        """No PASS, no read (`domain.md` §7). Raises OwnershipBoundaryViolation, RunFactsUnavailable, RunScopeInvalid, NoPassNoRead."""
        granted = judge_outputs(self.settings.outputs)
        if not granted.passed:
            raise OwnershipBoundaryViolation("; ".join(granted.sentences) + ".", fix="Add it under `outputs:` in plane.yaml, if you may.")
        if intent.run_facts_ref == NO_RUN_FACTS:
            return Granted(None, (), (granted,))
        path, data = read_ref(intent.run_facts_ref, submitted.folder, self.settings.roots, "$.run_facts_ref", RunFactsUnavailable)
        document = parse_document(data, path, RunFactsUnavailable)
        gate_map = {name: rule.model_dump() for name, rule in self.settings.gate_map.items()}
        try:
            facts = parse_run_facts(document.value)
            inputs = judge_inputs(facts.document(), intent.join_scope.required_output_ids, gate_map, self.settings.deny_outputs,
                                  platform_run_id=intent.platform_run_id, scenario_run_ids=intent.scenario_run_ids,
                                  place=_place_of_wish(submitted.document))
        except OfsError as wrong:
            raise document.locate(wrong) from None  # otherwise the problem is in the view
        said = tuple(one.describe() for one in inputs)
        return Granted(run_facts_digest(facts), said, (granted, GateResult("world_inputs", "PASS", None, {"inputs": list(said)})))

    def is_published(self, platform_run_id: str, dm_id: str) -> bool:
        """Is there a manifest with this id?"""
        return self._store().exists(manifest_key(platform_run_id, dm_id))

    def check_link(self, platform_run_id: str, new: str, old: str, reason: str | None) -> None:
        """May one dataset replace another? Raises as `corridor.supersession.check_link`."""
        check_link(self._store(), platform_run_id, new, old, reason)


def _place_of_wish(asked: Document) -> str:
    """Where the required outputs are stated: in the intent if it names them, else for the whole plane."""
    named = {"join_scope": "$.join_scope.required_output_ids", "required_outputs": "$.required_outputs"}
    place = next((path for name, path in named.items() if asked.value.get(name) is not None), None)
    return "plane.yaml $.required_outputs" if place is None else f"{asked.place(place)} {place}"
