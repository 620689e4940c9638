"""Records as they are stored, for whoever copies them: with every member, decoded or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.completeness import Completeness

__all__ = ["CopySource", "Stored"]


class Stored(NamedTuple):
    """One coordinate of a log.

    Attributes:
        number: the offset.
        record: the record, if it can be decoded.
        members: its members in the order of `domain.foreign_records.MEMBERS`, exactly as they are stored; None if there is no record.
        archived: when it was archived before, if it was.
        reason: why there is no record.
        value: what is stored there instead, if that is known.
    """

    number: int
    record: Record | None
    members: Sequence[Any] | None = None
    archived: str | None = None
    reason: Literal["undecodable", "null_value"] | None = None
    value: bytes | None = None


class CopySource(Protocol):
    """A topic that is pinned, and whose records can be copied: a bus, or an archive. It goes by the name that its records say."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def log_ids(self) -> tuple[str, ...]:
        """The logs that its offsets count in."""

    def ranges(self) -> tuple[Range, ...]:
        """What it holds."""

    def completeness(self, ranges: Sequence[Range]) -> Completeness:
        """Does it prove that it has all of some ranges?"""

    def contents(self, wanted: Range) -> Iterator[Stored]:
        """Everything in a range, each coordinate once, in order; the end is reached only if the source has proved it.

        Raises:
            ReplayBasisMismatch, ReplayBasisGap, ReplayDuplicateOffsetMismatch, SourceUnreadable, ResourceExceeded, and what the system
            behind it raises.
        """
