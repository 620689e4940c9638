"""Stretches: parts of the lanes of logs, each read from one place, and all of them read as one log (`domain.md` §1.3–1.5).

```
 lane (topic, partition, kind, log)   ──[ segment )[ segment )[ range of a bus ──────)──▶
                                         first   next = first …                 next
```
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.findings import Compared, Spot
from offline_feature_plane.errors import ReplayDuplicateOffsetMismatch

__all__ = ["Item", "Stretch", "Undecodable", "lane_of", "read_in_order", "touches"]

Lane = tuple[str, int, str, str]


@dataclass(frozen=True)
class Undecodable:
    """A record that cannot be decoded. Where a source does not know its offset, it is taken as the first possible one."""

    number: int


# What reading a stretch gives: a record or one that cannot be decoded, and between them what is wrong somewhere, and what was compared.
Item = Record | Undecodable | Spot | Compared


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

        A `Spot` or `Compared` between them stands for no record.

        The end is reached only if the source has proved it: whatever breaks off before `next_offset` raises.

        Raises:
            ReplayBasisMismatch: what is there is not what is claimed, or a record is not what its hash says.
            SourceUnreadable: something is broken.
        """


def lane_of(stretch: Stretch) -> Lane:
    """What its offsets count in: topic, partition, kind, log."""
    said = stretch.evidence
    return said.topic, said.partition, said.offset_kind, said.log_id


def touches(stretch: Stretch, item: Range) -> bool:
    """Does a stretch cover any of a range, in the same log?"""
    first, end = stretch.evidence.span
    return lane_of(stretch) == (item.topic, item.partition, item.offset_kind, item.log_id) and first < item.end and end > item.start


def read_in_order(stretches: Sequence[Stretch], ranges: Sequence[Range]) -> Iterator[tuple[Lane, Item]]:
    """Yield the records of some ranges by partition and offset, each coordinate once, with their lane; and what was found on the way.

    Args:
        stretches: by partition and first offset. Where they overlap, the first one gives the record and the others must agree.
        ranges: what is wanted of them.

    Raises:
        ReplayBasisMismatch, SourceUnreadable: as `Stretch.check` and `Stretch.read`.
        ReplayDuplicateOffsetMismatch: overlapping stretches disagree about a coordinate.
    """
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda one: one.check(), stretches):
            pass
    kept: dict[tuple[int, int], str | None] = {}  # coordinates that another stretch may hold too
    spans = [(one.evidence.partition, *one.evidence.span) for one in stretches]
    for at, stretch in enumerate(stretches):
        wanted = [(one.start, one.end) for one in ranges if touches(stretch, one)]
        shared = [span for place, span in enumerate(spans) if place != at and _overlap(span, spans[at])]
        lane = lane_of(stretch)
        for record in stretch.read():
            if isinstance(record, (Spot, Compared)):
                yield lane, record
            elif _inside(wanted, record.number):
                if shared and any(span[1] <= record.number < span[2] for span in shared):
                    here = stretch.evidence.partition, record.number
                    known, said = kept.get(here), record.digest if isinstance(record, Record) else None
                    if here in kept and known != said:  # other bytes, or one of the two cannot be read
                        coordinate = f"{stretch.evidence.topic}/{stretch.evidence.partition}@{record.number}"
                        raise ReplayDuplicateOffsetMismatch(f"two segments hold different events at {coordinate}.", path=coordinate,
                                                            fix="Find out which segment is true and remove the other from the index.")
                    if here in kept:
                        continue
                    kept[here] = said
                yield lane, record


def _inside(wanted: Sequence[tuple[int, int]], number: int) -> bool:
    for start, end in wanted:  # noqa: SIM110 - once a record: a loop is quicker than a generator
        if start <= number < end:
            return True
    return False


def _overlap(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return one[0] == other[0] and one[1] < other[2] and one[2] > other[1]
