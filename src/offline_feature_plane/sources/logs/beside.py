"""Two holders of one stretch, held against each other: where each has a record, and what stands at some offsets (`domain.md` §1.3).

    ours     ──e7──e8──e9───────e11──▶
    theirs   ──e7──x───e9──e10──e11──▶          e8 is another event there, e10 only theirs

Offsets are compared in arrays, a batch of each holder at a time, so it costs little to look at all of them; records one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.cutover import CHECKED_BELOW, VerifyOverlap, check_key, is_checked
from offline_feature_plane.domain.findings import MOST_ALONE, Alone, Compared, Spot
from offline_feature_plane.errors import OfsError, ReplayBasisMismatch
from offline_feature_plane.kernels.separating import below, mix
from offline_feature_plane.sources.logs.chosen import Chosen
from offline_feature_plane.sources.logs.stretches import Undecodable

__all__ = ["NOT_COMPARED", "Beside", "Choice"]

NOT_COMPARED = "overlap_not_compared"  # the bus could not be read where it should have been compared

_NONE, _NO_NULLS = np.empty(0, np.int64), np.empty(0, np.bool_)


@dataclass(frozen=True)
class Choice:
    """At which coordinates of the overlaps of one partition records are compared (`domain.cutover.is_checked`), not only offsets."""

    mode: VerifyOverlap
    spans: tuple[tuple[int, int], ...]
    ends: frozenset[int]
    key: int

    def __call__(self, offset: int) -> bool:
        """Is this one? Most are not: their hash says so before anything else is asked."""
        return is_checked(self.mode, offset, self.ends, self.key) and any(start <= offset < end for start, end in self.spans)

    def rows(self, numbers: npt.NDArray[Any]) -> list[int]:
        """Which of many offsets are, by their places: what `__call__` says of each."""
        if numbers.dtype == object:
            return [row for row, number in enumerate(numbers.tolist()) if self(number)]
        inside = self.covered(numbers)
        if self.mode == "sample":
            ends = np.array([end for end in sorted(self.ends) if end < 1 << 63], np.int64)  # a shard may have larger ones elsewhere
            inside &= np.isin(numbers, ends) | below(mix(self.key, numbers), CHECKED_BELOW)
        found: list[int] = np.flatnonzero(inside).tolist() if self.mode != "off" else []
        return found

    def covered(self, numbers: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which of many offsets lie in an overlap, whether their records are compared or not."""
        inside = np.zeros(len(numbers), np.bool_)
        for start, end in self.spans:
            inside |= ((numbers >= start) & (numbers < end)).astype(np.bool_)
        return inside

    def within(self, start: int, end: int) -> Choice:
        """The same, of a part of the partition."""
        return replace(self, spans=tuple((max(one, start), min(other, end)) for one, other in self.spans if one < end and other > start),
                       ends=frozenset(one for one in self.ends if start <= one < end))

    def pin(self) -> dict[str, Any]:
        """What decides which are compared."""
        return {"mode": self.mode, "spans": [list(map(str, span)) for span in self.spans], "ends": sorted(map(str, self.ends)),
                "key": str(self.key)}

    @classmethod
    def of(cls, mode: VerifyOverlap, spans: Sequence[tuple[int, int]], held: Sequence[SegmentEvidence]) -> Choice:
        """The choice of one partition, of whose archive these segments are read."""
        ends = {int(text) for one in held for text in (one.first_offset, one.last_offset) if text is not None}
        return cls(mode, tuple(spans), frozenset(ends), check_key(held[0].topic, held[0].partition, held[0].log_id))


class Beside:
    """The other holder's offsets and chosen records, advanced as ours are read.

    Args:
        others: what it has, in batches by offset.
        choice: where records are compared.
        place: of the partition, for sentences.
        is_sparse: may it lack what was there? It is compacted.
        is_last: does nothing of the overlap follow?
        halted: what ended the comparison, shared by the parts of an overlap.
    """

    def __init__(self, others: Iterator[Chosen], choice: Choice, place: str, halted: list[str], *, is_sparse: bool,
                 is_last: bool) -> None:
        self._others, self._choice, self._place, self._is_sparse, self._is_last = others, choice, place, is_sparse, is_last
        self._excused = self._excused_nulls = 0
        self._halted = halted
        self._alone: list[Spot] = []
        self._null_alone = 0
        self._is_open: bool | None = None  # was the last thing that was seen a record that only the bus has?
        self._follows = False
        self._compared = 0
        self._numbers: npt.NDArray[Any] = _NONE  # theirs, of the batch that is looked at
        self._nulls: npt.NDArray[np.bool_] = _NO_NULLS  # which of them have a null value
        self._read = deque[Record | Undecodable]()
        self._is_over = False
        self._here = 0

    def excuse(self, records: int, null_values: int) -> None:
        """Wherever they stand, the other holder may have so many more than ours (`SegmentEvidence.excused`)."""
        self._excused += records
        self._excused_nulls += null_values

    def meet(self, numbers: npt.NDArray[Any], told: Callable[[int], tuple[str, bool]]) -> Iterator[Spot]:
        """Hold records of ours against theirs.

        Args:
            numbers: their offsets, ascending.
            told: gives of one of them, by its place among `numbers`, the hash, and whether it is a deletion.
        """
        left = np.flatnonzero(self._choice.covered(numbers))
        while len(left) and not self._halted:
            ours = numbers[left]
            self._here = int(ours[0])
            yield from self._fill()
            if self._halted:
                return
            many = len(ours) if self._is_over else int(np.searchsorted(ours, self._numbers[-1], "right"))
            seen = int(np.searchsorted(self._numbers, ours[-1], "right"))
            theirs, nulls = self._numbers[:seen], self._nulls[:seen]
            self._numbers, self._nulls = self._numbers[seen:], self._nulls[seen:]
            yield from self._hold(ours[:many], theirs, nulls, left[:many], told)
            left = left[many:]

    def end(self) -> Iterator[Spot | Compared | Alone]:
        """How many were compared, and what only the bus has."""
        while not self._halted and not self._is_over:
            yield from self._fill()
            for number, is_null in zip(self._numbers.tolist(), self._nulls.tolist(), strict=True):
                self._keep(number, is_null=is_null)
                self._here = number
            self._numbers, self._nulls = _NONE, _NO_NULLS
        yield Alone(tuple(self._alone), self._excused, self._follows, self._is_open, self._is_last, not self._halted, self._null_alone,
                    self._excused_nulls)
        yield Compared(self._compared)

    def _hold(self, ours: npt.NDArray[Any], theirs: npt.NDArray[Any], nulls: npt.NDArray[np.bool_], places: npt.NDArray[np.int64],
              told: Callable[[int], tuple[str, bool]]) -> Iterator[Spot]:
        """Compare all that both have up to some offset; `nulls` are of theirs, `places` those of ours, as `told` knows them."""
        rows, lacking = set(self._choice.rows(ours)), set[int]()
        if len(ours) and np.array_equal(ours, theirs):
            self._is_open = False
        else:
            self._keep_all(ours, theirs, nulls)
            lacking = set(np.flatnonzero(_absent(ours, theirs)).tolist())
        emptied = set(np.flatnonzero(~_absent(ours, theirs[nulls])).tolist()) if nulls.any() else set[int]()
        for row in sorted(rows | emptied if self._is_sparse else rows | emptied | lacking):
            self._compared += 1
            number = int(ours[row])
            if row not in lacking:
                yield from self._judge(number, *told(int(places[row])), is_null=row in emptied)
            elif not self._is_sparse:
                yield self._spot(number, f"the archive has an event at {self._place}@{number}, the bus has none.")

    def _judge(self, number: int, digest: str, is_deletion: bool, *, is_null: bool) -> Iterator[Spot]:  # noqa: FBT001 - as it is told
        """Hold one record of ours against theirs, which is there; of a deletion a bus may keep nothing but the place."""
        place = f"{self._place}@{number}"
        if is_null:
            if not is_deletion:
                yield self._spot(number, f"the archive has an event at {place}, the bus a null value.")
            return
        while self._read[0].number < number:
            self._read.popleft()
        theirs = self._read[0]
        if not isinstance(theirs, Record):
            yield self._spot(number, f"the record at {place} can be decoded in the archive, not on the bus.")
        elif theirs.digest != digest:
            yield self._spot(number, f"archive and bus hold different events at {place}: {digest[:19]}… and {theirs.digest[:19]}….")

    def _keep_all(self, ours: npt.NDArray[Any], theirs: npt.NDArray[Any], nulls: npt.NDArray[np.bool_]) -> None:
        """Keep what only they have; what stands between two of them is ours."""
        is_alone, passed = _absent(theirs, ours), 0
        alone = theirs[is_alone]
        for number, before, is_null in zip(alone.tolist(), np.searchsorted(ours, alone).tolist(), nulls[is_alone].tolist(), strict=True):
            if before > passed:
                self._is_open, passed = False, before
            self._keep(number, is_null=is_null)
        if len(ours) > passed:
            self._is_open = False

    def _keep(self, number: int, *, is_null: bool) -> None:
        self._compared += 1
        self._null_alone += is_null
        if not self._alone:
            self._follows = self._is_open is None
        if self._alone and (self._is_open or len(self._alone) >= MOST_ALONE):
            run = self._alone[-1]
            self._alone[-1] = replace(run, last=number, count=run.count + 1)
        else:
            self._alone.append(Spot(ReplayBasisMismatch.code, number))
        self._is_open = True

    def _fill(self) -> Iterator[Spot]:
        """Their next batch, if the one before is used up. A bus that breaks is compared no further: the archive is what is read."""
        try:
            while not len(self._numbers) and not self._is_over:
                found = next(self._others, None)
                if found is None:
                    self._is_over = True
                else:
                    self._numbers, self._nulls, self._read = found.numbers, found.nulls, deque(found.read)
        except OfsError as wrong:
            is_other = isinstance(wrong, ReplayBasisMismatch)
            spot = Spot(wrong.code, self._here, wrong.what) if is_other else Spot(NOT_COMPARED, self._here, f"{wrong.code}: {wrong.what}")
            self._halted.append(spot.reason)
            yield spot

    def _spot(self, number: int, sentence: str) -> Spot:
        return Spot(ReplayBasisMismatch.code, number, sentence)


def _absent(some: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which of some ascending numbers are not among others, ascending too."""
    if not len(others):
        return np.ones(len(some), np.bool_)
    places = np.minimum(np.searchsorted(others, some), len(others) - 1)
    return np.asarray(others[places] != some, np.bool_)
