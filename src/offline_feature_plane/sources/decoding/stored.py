"""Records as they are stored, for whoever copies them: with every member, decoded or not; and as they are written again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.completeness import Completeness

__all__ = ["CopySource", "Rows", "SegmentForm", "Stored", "Writing"]

SegmentForm = Literal["jsonl.zst", "jsonl", "parquet"]


class Stored(NamedTuple):
    """One coordinate of a log.

    Attributes:
        number: the offset.
        record: the record, if it can be decoded.
        members: its members in the order of `domain.admission.MEMBERS`, exactly as they are stored; None if there is no record.
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


@dataclass(frozen=True)
class Writing:
    """How records are written: in which form, of which lane, and when they were archived unless they say so themselves."""

    form: SegmentForm
    lane: tuple[str, int, str]
    archived_at: str


@dataclass(frozen=True)
class Rows:
    """Coordinates of one lane in their order, as they are written.

    Attributes:
        numbers: offsets, int64 or Python integers.
        decoded: which have a record.
        deletions: which of the others are null values; the rest cannot be decoded.
        log_us: the log's own time of each record.
        bounds: each one's text, from its bound up to the next one's: a place in `text`, or, with `table`, how much its payload counts.
        text: lines, side by side; nothing, with `table`.
        table: the same as columns, of the types that segments have; None: they are lines.
    """

    numbers: npt.NDArray[Any]
    decoded: npt.NDArray[np.bool_]
    deletions: npt.NDArray[np.bool_]
    log_us: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    text: memoryview
    table: pa.Table | None = None

    @property
    def n(self) -> int:
        """How many."""
        return len(self.numbers)

    @property
    def text_bytes(self) -> int:
        """How much text they are."""
        return int(self.bounds[-1] - self.bounds[0])

    @property
    def lines(self) -> memoryview:
        """Their lines."""
        return self.text[self.bounds[0]:self.bounds[-1]]

    @property
    def times(self) -> tuple[int, int] | None:
        """The log times of the first and the last record."""
        found = np.flatnonzero(self.decoded)
        return (int(self.log_us[found[0]]), int(self.log_us[found[-1]])) if len(found) else None

    @property
    def odd(self) -> Mapping[str, int]:
        """How many have no record, by reason."""
        deleted = int(self.deletions.sum())
        return {"undecodable": int((~self.decoded).sum()) - deleted, "null_value": deleted}

    def part(self, first: int, end: int) -> Rows:
        """Some of them, by their places."""
        here = slice(first, end)
        return Rows(self.numbers[here], self.decoded[here], self.deletions[here], self.log_us[here], self.bounds[first:end + 1],
                    self.text, None if self.table is None else self.table.slice(first, end - first))

    def between(self, start: int, end: int) -> Iterator[Rows]:
        """Those whose offsets are in `[start, end)`."""
        inside = np.flatnonzero((self.numbers >= start) & (self.numbers < end))
        if len(inside) == self.n:
            yield self
            return
        for run in np.split(inside, np.flatnonzero(np.diff(inside) != 1) + 1):
            if len(run):
                yield self.part(int(run[0]), int(run[-1]) + 1)

    def fitting(self, most_rows: int, most_text: int) -> int:
        """How many of the first fit: each stands where there is less text than this before it."""
        return min(most_rows, self.n, int(np.searchsorted(self.bounds[:-1], self.bounds[0] + most_text)))


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

    def rows(self, wanted: Range, writing: Writing) -> Iterator[Rows]:
        """Everything in a range, each coordinate once, in order; the end is reached only if the source has proved it.

        Raises:
            ReplayBasisMismatch, ReplayBasisGap, ReplayDuplicateOffsetMismatch, SourceUnreadable, ResourceExceeded, and what the system
            behind it raises.
        """
