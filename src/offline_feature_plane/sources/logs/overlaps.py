"""An overlap read: segments of the archive that a bus has too, held against it (`domain.md` §1.3, `decisions.md` D20).

The records are the archive's, whatever the bus says. What the bus says differently is a spot beside them: for training it ends the
build, for other purposes it is told.

    archive   ──e7──e8──e9───────e11──▶          read
    bus       ──e7──x───e9──e10──e11──▶          e8 is another event there, e10 is not in the archive
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.findings import Spot
from offline_feature_plane.errors import OfsError
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs.beside import Beside, Choice
from offline_feature_plane.sources.logs.chosen import ChosenStretch, numbers_of
from offline_feature_plane.sources.logs.stretches import (
    Batch,
    DistantStretch,
    DividedStretch,
    Item,
    QuickStretch,
    Stretch,
    Together,
    Undecodable,
    in_batches,
    lane_of,
    pins_of,
)

__all__ = ["ComparedStretch", "SomeOf", "runs_of"]

# What reads the part of a bus that both holders have, within a span.
SomeOf = Callable[[tuple[int, int], Choice], ChosenStretch]

_AT_ONCE = 4_096  # records of ours that are read one by one, and compared together


@dataclass(frozen=True)
class ComparedStretch(Together):
    """A `Stretch`: adjacent segments of an archive, read while `others`, the bus over what both hold, is read beside them.

    What it holds, and what is checked, is the archive's: a bus that is gone is no reason not to read it.

    `is_sparse`: the other holder may lack records that were there, for it is compacted. `some_of` gives more `others`, for parts of it.
    One that is a part shares `halted` with the others: what ended the comparison. Only the last one `is_last`.
    """

    others: tuple[ChosenStretch, ...]
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

    def pin(self) -> Mapping[str, Any]:
        """As `PinnedStretch.pin`: of both holders, and which records are compared."""
        return {"archive": pins_of(self.held), "bus": pins_of(self.others), "choice": self.choice.pin(), "sparse": self.is_sparse,
                "last": self.is_last}

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
            return replace(self, others=tuple(cast("ChosenStretch", one.begin()) if isinstance(one, DistantStretch) else one
                                              for one in self.others))
        except OfsError:  # whoever reads it meets that again, where it is told
            return self

    def read(self) -> Iterator[Item]:
        """The archive's records, and between them what the bus has otherwise."""
        beside, held = self._beside(), list[Record]()
        for one in self.held:
            odd = Counter[str]()
            for item in one.read():
                yield item
                if isinstance(item, Record):
                    held.append(item)
                elif isinstance(item, Undecodable):
                    odd[item.reason] += 1
                if len(held) == _AT_ONCE:
                    yield from _meet(beside, held)
                    held = []
            beside.excuse(*one.evidence.excused(odd["undecodable"], odd["null_value"]))
        yield from _meet(beside, held)
        yield from beside.end()

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """As `read`, many records at a time: the archive's are decoded together, and of the bus only what is compared."""
        beside = self._beside()
        for one in self.held:
            undecodable = null_values = 0
            for batch in one.batches(wanted) if isinstance(one, QuickStretch) else in_batches(one.read()):
                yield batch
                if isinstance(batch, Decoded):
                    rows = np.flatnonzero(batch.decoded)
                    deleted = 0 if batch.deletions is None else int(batch.deletions.sum())
                    undecodable, null_values = undecodable + batch.n - len(rows) - deleted, null_values + deleted
                    yield from beside.meet(batch.numbers[rows], partial(_told, batch, rows))
            beside.excuse(*one.evidence.excused(undecodable, null_values))
        yield from beside.end()

    def _part(self, held: tuple[Stretch, ...], some_of: SomeOf) -> ComparedStretch:
        choice = self.choice.within(held[0].evidence.span[0], held[-1].evidence.span[1])
        others = tuple(some_of(span, choice) for span in choice.spans)
        return replace(self, held=held, others=others, choice=choice)

    def _beside(self) -> Beside:
        return Beside(chain.from_iterable(one.chosen() for one in self.others), self.choice, "/".join(map(str, lane_of(self)[:2])),
                      [] if self.halted is None else self.halted, is_sparse=self.is_sparse, is_last=self.is_last)


def runs_of(stretches: Sequence[Stretch]) -> list[tuple[Stretch, ...]]:
    """Stretches of one lane, by first offset, in runs of which each one begins where the one before it ends."""
    found: list[list[Stretch]] = []
    for one in stretches:
        if found and found[-1][-1].evidence.span[1] == one.evidence.span[0]:
            found[-1].append(one)
        else:
            found.append([one])
    return [tuple(run) for run in found]


def _meet(beside: Beside, held: Sequence[Record]) -> Iterator[Spot]:
    return beside.meet(numbers_of([one.number for one in held]), lambda place: (held[place].digest, held[place].payload is None))


def _told(batch: Decoded, rows: npt.NDArray[np.int64], place: int) -> tuple[str, bool]:
    """The hash of one of the decoded records of a batch, and whether it is a deletion."""
    row = rows[place]
    return f"sha256:{batch.digests[row].tobytes().hex()}", not batch.has_payload[row]
