"""An overlap read: segments of the archive that a bus has too, held against it record by record (`domain.md` §1.3, `decisions.md` D20).

The records are the archive's, whatever the bus says. What the bus says differently is a spot beside them: for training it ends the
build, for other purposes it is told.

    archive   ──e7──e8──e9───────e11──▶          read
    bus       ──e7──x───e9──e10──e11──▶          e8 is another event there, e10 is not in the archive
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.cutover import CHECKED_BELOW, VerifyOverlap, check_key, is_checked
from offline_feature_plane.domain.findings import MOST_ALONE, Alone, Compared, Spot
from offline_feature_plane.errors import OfsError, ReplayBasisMismatch
from offline_feature_plane.kernels.separating import below, mix
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs.stretches import (
    Batch,
    DistantStretch,
    DividedStretch,
    Item,
    PinnedStretch,
    QuickStretch,
    Stretch,
    Undecodable,
    in_batches,
    lane_of,
)

__all__ = ["NOT_COMPARED", "Choice", "ComparedStretch", "SomeOf", "runs_of"]

# What reads the part of a bus that both holders have, within a span.
SomeOf = Callable[[tuple[int, int], "Choice"], Stretch]

NOT_COMPARED = "overlap_not_compared"  # the bus could not be read where it should have been compared


@dataclass(frozen=True)
class Choice:
    """Which coordinates of the overlaps of one partition are compared (`domain.cutover.is_checked`)."""

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
        inside = np.zeros(len(numbers), np.bool_)
        for start, end in self.spans:
            inside |= (numbers >= start) & (numbers < end)
        if self.mode == "sample":
            inside &= np.isin(numbers, np.array(sorted(self.ends), np.int64)) | below(mix(self.key, numbers), CHECKED_BELOW)
        found: list[int] = np.flatnonzero(inside).tolist() if self.mode != "off" else []
        return found

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


@dataclass(frozen=True)
class ComparedStretch:
    """A `Stretch`: adjacent segments of an archive, read while `others`, the bus over what both hold, is read beside them.

    `is_sparse`: the other holder may lack records that were there, for it is compacted. `some_of` gives more `others`, for parts of it.
    One that is a part shares `halted` with the others: what ended the comparison. Only the last one `is_last`.
    """

    held: tuple[Stretch, ...]
    others: tuple[Stretch, ...]
    choice: Choice
    is_sparse: bool
    some_of: SomeOf | None = None
    is_last: bool = True
    halted: list[str] | None = None

    @property
    def evidence(self) -> SegmentEvidence:
        """What the segments claim together."""
        first, last = self.held[0].evidence, self.held[-1].evidence
        lasts = [one.evidence.last_offset for one in self.held if one.evidence.last_offset is not None]
        return replace(first, next_offset=last.next_offset, last_offset=lasts[-1] if lasts else None,
                       record_count=sum(one.evidence.record_count for one in self.held))

    @property
    def most(self) -> int:
        """As `Stretch.most`: what the archive holds."""
        return sum(one.most for one in self.held)

    @property
    def size_bytes(self) -> int:
        """As `PinnedStretch.size_bytes`: of the archive."""
        return sum(one.size_bytes for one in self.held if isinstance(one, PinnedStretch))

    def pin(self) -> Mapping[str, Any]:
        """As `PinnedStretch.pin`: of both holders, and which records are compared."""
        pins = [[dict(one.pin()) for one in side if isinstance(one, PinnedStretch)] for side in (self.held, self.others)]
        return {"archive": pins[0], "bus": pins[1], "choice": self.choice.pin(), "sparse": self.is_sparse, "last": self.is_last}

    def parts(self, most: int) -> Sequence[Stretch]:
        """As `DividedStretch.parts`: some segments each. The bus is asked for what is beside them, if it can be read from anywhere on."""
        if self.some_of is None or not all(isinstance(one, DividedStretch) for one in self.others):
            return [self]
        some: list[list[Stretch]] = [[]]
        for one in self.held:
            if sum(held.most for held in some[-1]) >= most:
                some.append([])
            some[-1].append(one)
        halted = list[str]()
        return [replace(self._part(tuple(held), self.some_of), is_last=held is some[-1], halted=halted) for held in some]

    def begin(self) -> ComparedStretch:
        """As `DistantStretch.begin`: the bus, if it is to be had."""
        if self.halted:
            return self
        try:
            return replace(self, others=tuple(one.begin() if isinstance(one, DistantStretch) else one for one in self.others))
        except OfsError:  # whoever reads it meets that again, where it is told
            return self

    def check(self) -> None:
        """As `Stretch.check`, of the archive alone: a bus that is gone is no reason not to read it."""
        for one in self.held:
            one.check()

    def read(self) -> Iterator[Item]:
        """The archive's records, and between them what the bus has otherwise."""
        beside = self._beside()
        for item in chain.from_iterable(one.read() for one in self.held):
            yield item
            if isinstance(item, Record) and self.choice(item.number):
                yield from beside.meet(item.number, item.digest, is_deletion=item.payload is None)
            elif isinstance(item, Undecodable):
                beside.excuse(1)
        yield from beside.end()

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """As `read`, many records at a time: the archive's are decoded together, and of the bus only what is compared."""
        beside = self._beside()
        for one in self.held:
            for batch in one.batches(wanted) if isinstance(one, QuickStretch) else in_batches(one.read()):
                yield batch
                if isinstance(batch, Decoded):
                    beside.excuse(batch.n - int(np.count_nonzero(batch.decoded)))
                    for row in self.choice.rows(batch.numbers):
                        if batch.decoded[row]:
                            yield from beside.meet(int(batch.numbers[row]), f"sha256:{batch.digests[row].tobytes().hex()}",
                                                   is_deletion=not batch.has_payload[row])
        yield from beside.end()

    def _part(self, held: tuple[Stretch, ...], some_of: SomeOf) -> ComparedStretch:
        choice = self.choice.within(held[0].evidence.span[0], held[-1].evidence.span[1])
        others = tuple(some_of(span, choice) for span in choice.spans)
        return replace(self, held=held, others=others, choice=choice)

    def _beside(self) -> _Beside:
        return _Beside(self, chain.from_iterable(_known(one.read()) for one in self.others))


def runs_of(stretches: Sequence[Stretch]) -> list[tuple[Stretch, ...]]:
    """Stretches of one lane, by first offset, in runs of which each one begins where the one before it ends."""
    found: list[list[Stretch]] = []
    for one in stretches:
        if found and found[-1][-1].evidence.span[1] == one.evidence.span[0]:
            found[-1].append(one)
        else:
            found.append([one])
    return [tuple(run) for run in found]


class _Beside:
    """The other holder's records, advanced as ours are read."""

    def __init__(self, stretch: ComparedStretch, others: Iterator[Record | Undecodable]) -> None:
        self._others, self._choice, self._is_sparse = others, stretch.choice, stretch.is_sparse
        self._place = "/".join(map(str, lane_of(stretch)[:2]))
        self._excused = sum(count for one in stretch.held for _, count in one.evidence.dispositions)
        self._is_last, self._halted = stretch.is_last, list[str]() if stretch.halted is None else stretch.halted
        self._alone: list[Spot] = []
        self._is_open: bool | None = None  # was the last thing that was seen a record that only the bus has?
        self._follows = False
        self._compared = 0
        self._next: Record | Undecodable | None = None
        self._trouble: list[Spot] = []
        if not self._halted:
            self._advance(0)

    def excuse(self, count: int) -> None:
        """So many records of ours cannot be decoded: wherever they stand, the other holder may have as many more."""
        self._excused += count

    def meet(self, number: int, digest: str, *, is_deletion: bool) -> Iterator[Spot]:
        """Hold one of our records against theirs."""
        while self._next is not None and self._next.number < number:
            self._keep(self._next.number)
            self._advance(number)
        yield from self._told()
        if self._halted:
            return
        self._compared += 1
        self._is_open, theirs = False, self._next
        place = f"{self._place}@{number}"
        if theirs is None or theirs.number > number:
            if not self._is_sparse:
                yield self._spot(number, f"the archive has an event at {place}, the bus has none.")
            return
        if isinstance(theirs, Record):
            if theirs.digest != digest:
                yield self._spot(number, f"archive and bus hold different events at {place}: {digest[:19]}… and {theirs.digest[:19]}….")
        elif not (theirs.reason == "null_value" and is_deletion):  # of a deletion a bus keeps nothing but the place
            yield self._spot(number, f"the record at {place} can be decoded in the archive, not on the bus.")
        self._advance(number)
        yield from self._told()

    def end(self) -> Iterator[Spot | Compared | Alone]:
        """How many were compared, and what only the bus has."""
        while self._next is not None:
            self._keep(self._next.number)
            self._advance(self._next.number)
        yield from self._told()
        yield Alone(tuple(self._alone), self._excused, self._follows, self._is_open, self._is_last, not self._halted)
        yield Compared(self._compared)

    def _keep(self, number: int) -> None:
        self._compared += 1
        if not self._alone:
            self._follows = self._is_open is None
        if self._alone and (self._is_open or len(self._alone) >= MOST_ALONE):
            run = self._alone[-1]
            self._alone[-1] = replace(run, last=number, count=run.count + 1)
        else:
            self._alone.append(Spot(ReplayBasisMismatch.code, number))
        self._is_open = True

    def _advance(self, here: int) -> None:
        """The next record of theirs that is compared. A bus that breaks is compared no further: the archive is what is read."""
        try:
            self._next = next((one for one in self._others if self._choice(one.number)), None)
        except ReplayBasisMismatch as wrong:
            self._break(Spot(wrong.code, here, wrong.what))
        except OfsError as wrong:
            self._break(Spot(NOT_COMPARED, here, f"{wrong.code}: {wrong.what}"))

    def _break(self, spot: Spot) -> None:
        self._next = None
        self._halted.append(spot.reason)
        self._trouble.append(spot)

    def _told(self) -> Iterator[Spot]:
        yield from self._trouble
        self._trouble.clear()

    def _spot(self, number: int, sentence: str) -> Spot:
        return Spot(ReplayBasisMismatch.code, number, sentence)


def _known(items: Iterable[Item]) -> Iterator[Record | Undecodable]:
    return (one for one in items if isinstance(one, (Record, Undecodable)))
