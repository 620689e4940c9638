"""What planning may look at: the things at hand of a plane, as small doors that the plane's home opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from offline_feature_plane.contracts.intent import BuildIntent
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.documents import Document
from offline_feature_plane.domain.basis import Range, Selector
from offline_feature_plane.domain.completeness import Completeness, SegmentEvidence
from offline_feature_plane.domain.gates import GateResult
from offline_feature_plane.domain.rows import Task, TokenKey
from offline_feature_plane.ports import LabelTable, PlainTable, RecordSlice


class PinnedTopic(Protocol):
    """One topic of an archive, pinned by its index."""

    @property
    def evidence(self) -> tuple[SegmentEvidence, ...]:
        """What each segment claims."""

    def ranges(self) -> tuple[Range, ...]:
        """Everything that it holds."""


class Home(Protocol):
    """What planning may look at; the plane provides it, opened for its settings."""

    @property
    def settings(self) -> Settings:
        """The plane's settings."""

    @property
    def code_release_id(self) -> str:
        """The installed release and the digest of its files."""

    @property
    def tzdata(self) -> str:
        """The version of the zone rules."""

    @property
    def actor(self) -> tuple[str, Any]:
        """Who asks, and how that is known."""

    def supports(self, function: str) -> bool:
        """Does the plane's engine compute this aggregation?"""

    def profile(self, ref: str, folder: Path) -> tuple[Document, str]:
        """A profile document and the digest of its bytes; `ref` is relative to the intent's folder and must lie under a root."""

    def table(self, topic: str) -> PlainTable:
        """Pin a plain table."""

    def archive(self, topic: str) -> PinnedTopic:
        """Pin an archive's topic."""

    def resolve(self, archive: PinnedTopic, selector: Selector) -> tuple[Range, ...]:
        """Ranges of a time selector."""

    def completeness(self, archives: Sequence[PinnedTopic], ranges: Sequence[Range]) -> Completeness:
        """Hold ranges against what the indexes claim."""

    def slices(self, archives: Sequence[PinnedTopic], ranges: Sequence[Range], task: Task) -> tuple[RecordSlice, ...]:
        """The events of ranges, ready for an engine."""

    def labels(self, label_type: str) -> LabelTable:
        """Pin a label timeline."""

    def truth_columns(self, topic: str) -> frozenset[str]:
        """Columns of a topic's files that are mapped as labels."""

    def token_key(self) -> TokenKey | None:
        """The plane's token key."""

    def judge_inputs(self, intent: BuildIntent, folder: Path) -> tuple[str | None, tuple[Mapping[str, Any], ...], tuple[GateResult, ...]]:
        """Digest of the run facts view, the world inputs it grants, and the gates that granted them."""

    def is_published(self, dm_id: str) -> bool:
        """Does a manifest of this id stand?"""

    def superseded(self, dm_id: str) -> Sequence[str]:
        """The datasets that this one replaces."""
