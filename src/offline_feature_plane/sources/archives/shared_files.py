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
from offline_feature_plane.sources.archives.dividing import Entry
from offline_feature_plane.sources.archives.misplaced import unindexed, unlike_entries
from offline_feature_plane.sources.archives.segments import Segment
from offline_feature_plane.sources.decoding.batches import Expected, Refused
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Int64s

__all__ = ["Share"]


@dataclass(frozen=True)
class _Lane:
    """The entries of one lane, none of which overlap, by their first offsets; `places` are theirs among the entries of the file."""

    firsts: npt.NDArray[Any]
    ends: npt.NDArray[Any]
    places: Int64s

    @classmethod
    def of(cls, spans: Sequence[tuple[int, int, int]]) -> _Lane:
        """That of some entries: first offset, end, place."""
        firsts, ends, places = zip(*sorted(spans), strict=True)
        kind = np.int64 if max(ends) < 1 << 63 else object
        return cls(np.array(firsts, kind), np.array(ends, kind), np.array(places, np.int64))

    @property
    def is_plain(self) -> bool:
        """Is no offset in two of them?"""
        return bool((self.firsts[1:] >= self.ends[:-1]).all())

    def find(self, numbers: npt.NDArray[Any]) -> Int64s:
        """Which entry each of some offsets is in; −1: none."""
        at = np.searchsorted(self.firsts, numbers, side="right") - 1
        inside = np.asarray((at >= 0) & (numbers < self.ends[np.maximum(at, 0)]), np.bool_)
        return np.where(inside, self.places[np.maximum(at, 0)], -1)


class Share:
    """What one segment has of the records of its file, which come in batches; the law of it is `segments.records_of_entry`.

    `entries` are all of the file. Where they are not `is_plain`, they count in several kinds of offsets or overlap, and the law is asked.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self.entries: list[Entry] = []
        spans: dict[tuple[str, int], list[tuple[int, int, int]]] = {segment.entry[:2]: []}
        for place, one in enumerate(segment.entries):
            self.entries.append((one.topic, one.partition, int(one.first_offset)))
            spans.setdefault((one.topic, one.partition), []).append((int(one.first_offset), int(one.next_offset), place))
        mine, *others = spans
        self.expected = Expected(*mine, segment.evidence.offset_kind, tuple(others))
        self._lanes = [_Lane.of(held) for held in spans.values()]
        self._mine = self.entries.index(segment.entry)
        self.is_plain = all(one.is_plain for one in self._lanes) and len({one.offset_kind for one in segment.entries}) == 1
        self._unread: list[Decoded] = []  # what stands before the first that says its place
        self._before: bool | None = None
        self._count = 0

    def take(self, batch: Decoded, refused: Refused | None, owners: Int64s) -> Iterator[tuple[Decoded, Refused | None]]:
        """The next batch of the file, and whose its rows are: what is the segment's, and the first record that is refused."""
        self._count += batch.n
        n, error = (batch.n, None) if refused is None else (refused.row, refused.error)
        placed, is_ours = batch.placed, owners == self._mine
        strange = np.flatnonzero(placed[:n] & (owners[:n] < 0))
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

    def owners(self, batch: Decoded) -> Int64s:
        """Whose each row of a batch is, as a place among the entries; −1: it says no place, or one in none of them."""
        lanes: Int64s = np.where(batch.decoded, 0 if batch.lanes is None else batch.lanes, -1)
        for row, one in batch.by_law.items():
            lane = (one.topic, one.partition)
            is_known = one.offset_kind == self.expected.offset_kind and lane in self.expected.lanes
            lanes[row] = self.expected.lanes.index(lane) if is_known else -1
        owners = np.full(batch.n, -1, np.int64)
        for at in np.unique(lanes[lanes >= 0]).tolist():
            rows = np.flatnonzero(lanes == at)
            owners[rows] = self._lanes[at].find(batch.numbers[rows])
        return owners

    def _strange(self, batch: Decoded, row: int) -> OfsError:
        topic, partition = self.expected.lanes[0 if batch.lanes is None else batch.lanes[row]]
        told = batch.by_law.get(row)
        return unindexed(self._segment.file.relative, f"{topic}/{partition}@{batch.numbers[row]}" if told is None else told.place)
