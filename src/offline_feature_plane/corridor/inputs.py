"""What planning may look at: an intent as it was submitted, and what the plane offers to pin it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from offline_feature_plane.contracts.intent import BuildIntent
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.corridor.shortform import ActorSource
from offline_feature_plane.documents import Document
from offline_feature_plane.domain.gates import GateResult
from offline_feature_plane.domain.rows import TokenKey
from offline_feature_plane.ports.inputs import EventSource, LabelStore


@dataclass(frozen=True)
class SubmittedIntent:
    """An intent as it was submitted: the parsed document and the folder that its refs are relative to."""

    document: Document
    folder: Path


@dataclass(frozen=True)
class Granted:
    """The digest of the run facts view that was read, the world inputs that it grants, and the gates that granted them."""

    run_facts_digest: str | None
    inputs: tuple[Mapping[str, Any], ...]
    gates: tuple[GateResult, ...]


class PlanningInputs(Protocol):
    """What a plane offers for planning."""

    @property
    def settings(self) -> Settings:
        """The plane's settings."""

    @property
    def folder(self) -> Path:
        """The plane's folder."""

    @property
    def code_release_id(self) -> str:
        """The installed release and the digest of its files."""

    @property
    def tzdata(self) -> str:
        """The version of the zone rules."""

    @property
    def actor(self) -> tuple[str, ActorSource]:
        """Who makes the request, and how that is known."""

    @property
    def event_sources(self) -> Sequence[EventSource]:
        """Where events come from; a topic belongs to one of them."""

    @property
    def label_stores(self) -> Sequence[LabelStore]:
        """Where label timelines come from; a label type belongs to one of them."""

    def supports(self, function: str) -> bool:
        """Does the plane's engine compute this aggregation?"""

    def profile(self, ref: str, folder: Path) -> tuple[Document, str]:
        """A profile document and the digest of its bytes; `ref` is relative to the intent's folder and must lie under a root."""

    def token_key(self) -> TokenKey | None:
        """The plane's token key; None if it has none."""

    def grant(self, intent: BuildIntent, submitted: SubmittedIntent) -> Granted:
        """No PASS, no read (`domain.md` §7): what the intent may publish and read of the world."""

    def is_published(self, platform_run_id: str, dm_id: str) -> bool:
        """Is there a manifest with this id?"""

    def check_link(self, platform_run_id: str, new: str, old: str, reason: str | None) -> None:
        """May the dataset `new` replace `old`, for this reason? Raises SupersessionLinkInvalid, or why `old` cannot be believed."""
