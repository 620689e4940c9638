"""Stretches: parts of the lanes of logs, each read from one place, and all of them read as one log (`domain.md` §1.3–1.5).

```
 lane (topic, partition, kind, log)   ──[ segment )[ segment )[ range of a bus ──────)──▶
                                         first   next = first …                 next
```
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.basis import Lane, Range
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.findings import Alone, Compared, Spot
from offline_feature_plane.sources.decoding.decoded import Decoded, one_by_one
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs.side_by_side import Disagreement, side_by_side
from offline_feature_plane.threads import two_at_once

__all__ = ["Aside", "Batch", "DistantStretch", "DividedStretch", "Item", "PinnedStretch", "QuickStretch", "SteppedStretch",
           "Stretch", "Together", "Undecodable", "ahead", "check", "in_batches", "in_groups", "lane_of", "merged", "pins_of",
           "read_in_order", "touches", "wanted_of"]


@dataclass(frozen=True)
class Undecodable:
    """A coordinate without a record: it cannot be decoded, or its value is null. An offset that is not known is the first possible one."""

    number: int
    reason: Literal["undecodable", "null_value"] = "undecodable"


# What is told between records: what is wrong somewhere, what was compared, and what only another holder has.
Aside = Spot | Compared | Alone
Item = Record | Undecodable | Aside  # what reading a stretch gives: a record, or one that cannot be decoded
Batch = Decoded | Aside  # the same, many records at a time

AnyStretch = TypeVar("AnyStretch", bound="Stretch")

_ASIDES = (Spot, Compared, Alone)
_AT_ONCE = 4_096
COMING = 2


class Stretch(Protocol):
    """One part of one lane, `[first_offset, next_offset)`, in one place: a segment of an archive, or a range of a bus.

    It can be pickled: engines read the partitions of a log in different processes, so whatever is open is opened by `read`.
    """

    @property
    def evidence(self) -> SegmentEvidence:
        """What it claims to hold. Its topic is the name in plane.yaml, which records need not say."""

    @property
    def most(self) -> int:
        """It holds not more records than this."""

    def check(self) -> None:
        """Hold it against its pin; called for all stretches of a log before the first of them is read.

        Raises:
            ReplayBasisMismatch: it is not what was pinned, or gone.
        """

    def read(self) -> Iterator[Item]:
        """Its records by ascending offset, each decoded by `domain.admission`, none outside of its span.

        An `Aside` between them stands for no record.

        The end is reached only if the source has proved it: whatever breaks off before `next_offset` raises.

        Raises:
            ReplayBasisMismatch: what is there is not what is claimed, or a record is not what its hash says.
            SourceUnreadable: something is broken.
        """


@runtime_checkable
class QuickStretch(Stretch, Protocol):
    """A stretch whose records can be decoded many at a time."""

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """As `read`, in batches; of payloads that were not decoded one by one only what is wanted is found."""


@runtime_checkable
class SteppedStretch(QuickStretch, Protocol):
    """A quick stretch that is at hand, whose batches are made in two steps, each of which may have a thread of its own."""

    def steps(self, wanted: Wanted) -> Generator[Callable[[], Batch | None]]:
        """As `batches`: what is left to be done for each batch. It is called once, in order; None: it only looked at what was there."""


@runtime_checkable
class DistantStretch(Stretch, Protocol):
    """A stretch that takes its time to come."""

    def begin(self) -> Stretch:
        """The same, which begins to come now, into a buffer of its own size, and can be read once.

        Raises:
            OfsError: what `read` would raise before its first record.
        """


@runtime_checkable
class PinnedStretch(Stretch, Protocol):
    """A stretch of which what was read may be kept for another attempt."""

    @property
    def size_bytes(self) -> int:
        """How much is read of it, as far as that is known beforehand."""

    def pin(self) -> Mapping[str, Any]:
        """Everything that decides which records it gives: where that is the same, so are they. A document without large integers."""


@runtime_checkable
class DividedStretch(Stretch, Protocol):
    """A stretch that can be read in parts."""

    def parts(self, most: int) -> Sequence[Stretch]:
        """Stretches that follow each other and give together what this one gives, each of about so many records."""


@dataclass(frozen=True)
class Together:
    """What stretches of one holder, that are read as one, are together."""

    held: tuple[Stretch, ...]

    @property
    def most(self) -> int:
        """As `Stretch.most`."""
        return sum(one.most for one in self.held)

    @property
    def size_bytes(self) -> int:
        """As `PinnedStretch.size_bytes`."""
        return sum(one.size_bytes for one in self.held if isinstance(one, PinnedStretch))

    def check(self) -> None:
        """As `Stretch.check`."""
        for one in self.held:
            one.check()


def pins_of(stretches: Sequence[Stretch]) -> list[dict[str, Any]]:
    """The pins of those that have one."""
    return [dict(one.pin()) for one in stretches if isinstance(one, PinnedStretch)]


def lane_of(stretch: Stretch) -> Lane:
    """What its offsets count in: topic, partition, kind, log."""
    return stretch.evidence.lane


def touches(stretch: Stretch, item: Range) -> bool:
    """Does a stretch cover any of a range, in the same log?"""
    first, end = stretch.evidence.span
    return lane_of(stretch) == item.lane and first < item.end and end > item.start


def read_in_order(stretches: Sequence[Stretch], ranges: Sequence[Range]) -> Iterator[tuple[Lane, Item]]:
    """Yield the records of some ranges by partition and offset, each coordinate once, with their lane; and what was found on the way.

    Args:
        stretches: by partition and first offset; those that overlap are read side by side, and must agree.
        ranges: what is wanted of them.

    Raises:
        ReplayBasisMismatch, SourceUnreadable: as `Stretch.check` and `Stretch.read`.
        ReplayDuplicateOffsetMismatch: overlapping stretches disagree about a coordinate.
    """
    check(stretches)
    for group in ahead(in_groups(stretches)):
        lane = lane_of(group[0])
        for item in merged(group, wanted_of(group[0], ranges)):
            yield lane, item


def in_groups(stretches: Sequence[AnyStretch]) -> Iterator[list[AnyStretch]]:
    """Stretches one by one, but for those of one lane that overlap, which are read side by side."""
    group: list[AnyStretch] = []
    end = 0
    for stretch in stretches:
        first, following = stretch.evidence.span
        if group and (lane_of(group[0]) != lane_of(stretch) or first >= end):
            yield group
            group = []
        end = max(end, following) if group else following
        group.append(stretch)
    if group:
        yield group


def ahead(groups: Iterable[list[Stretch]], most: int = COMING) -> Iterator[list[Stretch]]:
    """The same; while one is read, the next ones that come from afar, so many at most, are on their way."""
    coming: deque[list[Stretch]] = deque()
    for group in groups:
        coming.append([one.begin() if isinstance(one, DistantStretch) else one for one in group])
        if len(coming) > most:
            yield coming.popleft()
    yield from coming


def merged(group: Sequence[Stretch], wanted: Sequence[tuple[int, int]]) -> Iterator[Item]:
    """The records of stretches that overlap, by offset, each coordinate once: the first stretch gives it, the others must agree.

    Where they do not, it is noted, and reading goes on, so that all of it is known in the end.

    Raises:
        ReplayDuplicateOffsetMismatch: at the end, if they disagreed about a coordinate. What `Stretch.read` raises.
    """
    latest: tuple[int, int, Record | Undecodable] | None = None
    told = Disagreement(*lane_of(group[0])[:2])
    for number, place, item in side_by_side([(one.evidence.span[0], _placed(one, wanted)) for one in group]):
        if isinstance(item, _ASIDES):
            yield item
        elif latest is None or latest[0] != number or latest[1] == place:
            latest = number, place, item
            yield item
        elif _said(latest[2]) != _said(item):  # other bytes, or one of the two cannot be read
            yield from told.note(number, group[latest[1]].evidence.ref, group[place].evidence.ref)
    told.settle()


def _placed(stretch: Stretch, wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, Item]]:
    """What is wanted of a stretch, each with its offset; what is found on the way stands where reading is."""
    at = stretch.evidence.span[0]
    for item in stretch.read():
        if isinstance(item, _ASIDES):
            yield at, item
        elif _inside(wanted, item.number):
            at = item.number
            yield at, item


def _said(item: Record | Undecodable) -> str:
    return item.digest if isinstance(item, Record) else item.reason


def wanted_of(stretch: Stretch, ranges: Sequence[Range]) -> list[tuple[int, int]]:
    """What is wanted of a stretch's lane."""
    lane = lane_of(stretch)
    return [(one.start, one.end) for one in ranges if lane == one.lane]


def check(stretches: Sequence[Stretch]) -> None:
    """Hold stretches against their pins. Raises as `Stretch.check`."""
    for _ in two_at_once(lambda one: one.check(), stretches):
        pass


def in_batches(items: Iterator[Item]) -> Iterator[Batch]:
    """What is read one by one, many at a time. Raises as it does."""
    held: list[Record | Undecodable] = []
    for item in items:
        if isinstance(item, _ASIDES):
            yield item
            continue
        held.append(item)
        if len(held) == _AT_ONCE:
            yield _batch_of(held)
            held = []
    if held:
        yield _batch_of(held)


def _batch_of(items: Sequence[Record | Undecodable]) -> Decoded:
    return one_by_one([item if isinstance(item, Record) else None for item in items], [item.number for item in items],
                      np.array([isinstance(item, Undecodable) and item.reason == "null_value" for item in items], np.bool_))


def _inside(wanted: Sequence[tuple[int, int]], number: int) -> bool:
    for start, end in wanted:  # noqa: SIM110 - once a record: a loop is quicker than a generator
        if start <= number < end:
            return True
    return False
