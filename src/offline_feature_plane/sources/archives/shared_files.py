"""A file that several segments share, many records at a time: which of its records are those of one of them (`domain.md` §1.4).

```
 file      0/7  1/3  0/8   ?   1/4  1/5  0/9        ? does not say where it stands, and belongs to what is before it
 0 [7,10)   ■         ■    ■              ■   ──▶   held against the index entry, as if it were alone in its file
```

Whose a row is that says no place is known only when all before it were decoded, so the file is decoded for each of its segments, unless
one of them keeps its rows apart for the others (`sources.archives.dividing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.errors import OfsError
from offline_feature_plane.sources.archives.misplaced import unindexed, unlike_entries
from offline_feature_plane.sources.archives.segments import Segment, is_of
from offline_feature_plane.sources.decoding.batches import Expected, Refused
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Int64s

__all__ = ["Share"]

Bools = npt.NDArray[np.bool_]


def _lanes_of(segment: Segment) -> Expected:
    """The lanes that records of a file may be in, that of the segment first; all count in one kind of offsets."""
    mine = segment.topic, segment.evidence.partition
    lanes = dict.fromkeys((one.topic, one.partition) for one in segment.entries)
    return Expected(*mine, segment.evidence.offset_kind, tuple(lane for lane in lanes if lane != mine))


@dataclass(frozen=True)
class _Spans:
    """Offsets that the entries of a lane cover, none twice, in their order."""

    firsts: npt.NDArray[Any]
    ends: npt.NDArray[Any]

    @classmethod
    def of(cls, spans: Sequence[tuple[int, int]]) -> _Spans:
        """Those of some entries."""
        joined: list[list[int]] = []
        for first, end in sorted(spans):
            if joined and first <= joined[-1][1]:
                joined[-1][1] = max(end, joined[-1][1])
            else:
                joined.append([first, end])
        kind = np.int64 if all(end < 1 << 63 for _, end in joined) else object
        return cls(np.array([first for first, _ in joined], kind), np.array([end for _, end in joined], kind))

    def hold(self, numbers: npt.NDArray[Any]) -> Bools:
        """Which offsets they cover."""
        at = np.searchsorted(self.firsts, numbers, side="right") - 1
        return np.asarray((at >= 0) & (numbers < self.ends[np.maximum(at, 0)]), np.bool_)


class Share:
    """What one segment has of the records of its file, which come in batches; the law of it is `segments.records_of_entry`."""

    def __init__(self, segment: Segment) -> None:
        self._segment, self.expected = segment, _lanes_of(segment)
        expected = self.expected
        spans: dict[tuple[str, int], list[tuple[int, int]]] = {lane: [] for lane in expected.lanes}
        mine: list[tuple[int, int]] = []
        for one in segment.entries:
            span = int(one.first_offset), int(one.next_offset)
            spans[one.topic, one.partition].append(span)
            if is_of(segment, one):
                mine.append(span)
        self._spans, self._mine = [_Spans.of(spans[lane]) for lane in expected.lanes], _Spans.of(mine)
        self._unread: list[Decoded] = []  # what stands before the first record
        self._before: bool | None = None
        self._count = 0

    def take(self, batch: Decoded, refused: Refused | None) -> Iterator[tuple[Decoded, Refused | None]]:
        """The next batch of the file: what is the segment's, and the first record that is refused."""
        self._count += batch.n
        n, error = (batch.n, None) if refused is None else (refused.row, refused.error)
        is_held, is_ours = self._placed(batch)
        placed = batch.placed
        strange = np.flatnonzero(placed[:n] & ~is_held[:n])
        if len(strange):
            n, error = int(strange[0]), self._strange(batch, int(strange[0]))
        rows = np.arange(n)
        latest = np.maximum.accumulate(np.where(placed[:n], rows, -1))
        first = int(np.argmax(latest >= 0)) if n and latest[-1] >= 0 else n
        if self._before is None and first:
            self._unread.append(batch.taken(rows[:first]))
        if self._before is None and first < n and is_ours[first]:
            yield from ((one, None) for one in self._unread)
        begun = np.full(n, bool(self._before))
        inside = np.where(latest >= 0, is_ours[np.maximum(latest, 0)], begun) if n else begun
        if first < n:
            self._before, self._unread = bool(inside[-1]), []
        mine = np.flatnonzero(inside)
        if error is not None or len(mine):
            yield batch.taken(mine), None if error is None else Refused(len(mine), error)

    def settle(self) -> None:
        """The file has no more. Raises ReplayBasisMismatch: it holds not what its entries count together."""
        if (odd := unlike_entries(self._segment.file.relative, self._segment.entries, self._count)) is not None:
            raise odd

    def lanes_of(self, batch: Decoded) -> Int64s:
        """Which lane each row of a batch says, by its place among those expected; −1: none of them, or nothing."""
        lanes: Int64s = np.where(batch.decoded, 0 if batch.lanes is None else batch.lanes, -1)
        for row, one in batch.by_law.items():
            lane = (one.topic, one.partition)
            is_known = one.offset_kind == self.expected.offset_kind and lane in self.expected.lanes
            lanes[row] = self.expected.lanes.index(lane) if is_known else -1
        return lanes

    def _placed(self, batch: Decoded) -> tuple[Bools, Bools]:
        """Which records stand in any entry, and which in that of the segment."""
        lanes = self.lanes_of(batch)
        is_held = np.zeros(batch.n, np.bool_)
        for at in np.unique(lanes[lanes >= 0]).tolist():
            rows = np.flatnonzero(lanes == at)
            is_held[rows] = self._spans[at].hold(batch.numbers[rows])
        is_ours = lanes == 0
        rows = np.flatnonzero(is_ours)
        is_ours[rows] = self._mine.hold(batch.numbers[rows])
        return is_held, is_ours

    def _strange(self, batch: Decoded, row: int) -> OfsError:
        topic, partition = self.expected.lanes[0 if batch.lanes is None else batch.lanes[row]]
        told = batch.by_law.get(row)
        return unindexed(self._segment.file.relative, f"{topic}/{partition}@{batch.numbers[row]}" if told is None else told.place)
