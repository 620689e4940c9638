"""Batches of a segment held against what its index entry claims: coordinates, order, count, last offset, log times (`domain.md` §1.4)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.errors import OfsError
from offline_feature_plane.sources.archives.misplaced import miscounted, misplaced, mistimed
from offline_feature_plane.sources.decoding.batches import Refused
from offline_feature_plane.sources.decoding.decoded import Decoded

__all__ = ["Claim"]


class Claim:
    """What was seen of a segment so far, beside what is claimed of it.

    Args:
        name: the segment's, for messages.
        topic: the one that its records say.
        evidence: what is claimed.
        log_times: and of when the log took its first and last record; None: nothing.
    """

    def __init__(self, name: str, topic: str, evidence: SegmentEvidence, log_times: tuple[int, int] | None) -> None:
        self._name, self._topic, self._evidence = name, topic, evidence
        self._first, self._end = evidence.span
        self._is_far = self._end + evidence.record_count >= 1 << 63  # numbers that int64 does not hold may be said, or assumed
        self._before, self._count = -1, 0
        self._unread = self._first - 1
        self._last: int | None = None
        self._log_times = log_times
        self._first_us: int | None = None
        self._last_us: int | None = None

    def hold(self, batch: Decoded, refused: Refused | None) -> Decoded:
        """The next batch, in which what does not say where it stands gets the first possible offset.

        Raises:
            ReplayBasisMismatch: a record stands where it cannot, there are too many, or one is refused, whatever comes first.
        """
        room = self._evidence.record_count - self._count
        seen = min(batch.n, room if refused is None else min(room, refused.row))
        held = self._numbered(replace(batch, numbers=batch.numbers.astype(object)) if self._is_far else batch)
        if (strange := self._strange(held, seen)) is not None:
            raise strange
        if refused is not None and refused.row <= room:  # a record is decoded before it is counted
            raise refused.error
        if held.n:
            first, last = (int(held.log_us[row]) if held.decoded[row] else None for row in (0, -1))
            self._first_us, self._last_us = self._first_us if self._count else first, last
        self._count += batch.n
        placed, rows = (np.flatnonzero(where[:max(room, 0)]) for where in (held.placed, held.decoded))
        if len(placed):
            self._before = int(held.numbers[placed[-1]])
        if len(rows):
            self._last = int(held.numbers[rows[-1]])
        if batch.n > room:
            self._count = self._evidence.record_count + 1
            raise self._miscounted()
        if held.n:
            self._unread = int(held.numbers[-1])
        return held

    def skip(self, rows: int, last: int) -> None:
        """Pass over so many records up to an offset, all of them seen to be where they should (`sources.archives.pruning`)."""
        self._count += rows
        if rows:
            self._before = self._unread = last
            self._last_us = None

    def settle(self) -> None:
        """There is no more. Raises ReplayBasisMismatch."""
        said = self._evidence.last_offset
        if self._count != self._evidence.record_count or (self._last is not None and said is not None and self._last > int(said)):
            raise self._miscounted()
        if (odd := mistimed(self._name, (self._first_us, self._last_us), self._log_times)) is not None:
            raise odd

    def _numbered(self, batch: Decoded) -> Decoded:
        placed = batch.placed
        if placed.all():
            return batch
        rows = np.arange(batch.n)
        latest = np.maximum.accumulate(np.where(placed, rows, -1))
        begun = np.where(latest < 0, self._unread, batch.numbers[np.maximum(latest, 0)])
        return replace(batch, numbers=np.where(placed, batch.numbers, begun + (rows - latest)))

    def _strange(self, batch: Decoded, seen: int) -> OfsError | None:
        """The error about the first coordinate that is not where the index has it."""
        rows = np.flatnonzero(batch.placed[:seen])
        numbers = batch.numbers[rows]
        before = np.concatenate((np.array([self._before], numbers.dtype), numbers))[:-1]
        wrong = np.asarray((numbers <= before) | (numbers < self._first) | (numbers >= self._end), np.bool_)
        told = batch.by_law
        for row, record in told.items():
            if row < seen and (record.topic, record.partition, record.offset_kind) != (
                    self._topic, self._evidence.partition, self._evidence.offset_kind):
                wrong[np.searchsorted(rows, row)] = True
        if not wrong.any():
            return None
        at = int(np.argmax(wrong))
        row, said = int(rows[at]), self._evidence
        lane = (self._topic, said.partition, said.offset_kind)
        if row in told:
            one = told[row]
            lane = (one.topic, one.partition, one.offset_kind)
        return misplaced(self._name, self._topic, said, (*lane, int(batch.numbers[row])), int(before[at]))

    def _miscounted(self) -> OfsError:
        return miscounted(self._name, self._evidence, self._count, self._last)
