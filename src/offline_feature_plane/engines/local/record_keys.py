"""Semantic keys of records that come again: of one key the first record is the event (`domain.md` §1.5).

Of every record 64 bits of its key and 128 of its hash are kept, in memory or in files. Marks that occur once say nothing more. Where one
occurs again, equal hashes are equal records: what is hashed holds run, type and id. Unequal ones are looked at themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.engines.local.history.places import Numbers, Place
from offline_feature_plane.engines.local.lowering import as_numpy
from offline_feature_plane.errors import OfsError, ReplayEventIdConflict
from offline_feature_plane.kernels.marking import mark_texts

__all__ = ["Keyed", "Keys", "Repeats", "keyed"]

_BLOCK = 1 << 20
_LIKELY = 20  # bits: a megabyte
_MIX = np.uint64(0x9E3779B97F4A7C15)
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Keyed:
    """A record as it is told from others of its mark: where it stands among all of its source, and which it is."""

    row: int
    kind: str
    event_id: str
    said: bytes
    place: str
    order: tuple[bytes, int, int]


class Repeats:
    """Which records of a source are there again, by their rows."""

    def __init__(self, n: int) -> None:
        self._bits = np.zeros(n // 8 + 1, np.uint8)
        self.count = 0

    def add(self, rows: Int64s) -> None:
        """Mark some, each once."""
        np.bitwise_or.at(self._bits, rows >> 3, np.left_shift(1, rows & 7).astype(np.uint8))
        self.count += len(rows)

    def among(self, start: int, stop: int) -> npt.NDArray[np.bool_] | None:
        """Which of a range of rows are; None: none of them."""
        first = start >> 3
        part = self._bits[first:(stop >> 3) + 1]
        if not part.any():
            return None
        return np.unpackbits(part, bitorder="little")[start - 8 * first:stop - 8 * first].view(np.bool_)


class Keys:
    """The keys of all records of one source, in the order in which they were read, topic by topic.

    Args:
        place: where they are kept.
        name: of what is kept there.
        most: so many records at most.
    """

    def __init__(self, place: Place, name: str, most: int) -> None:
        self._marks: Numbers = place.numbers(f"{name}.marks", np.uint64, most)
        self._said: Numbers = place.numbers(f"{name}.said", np.dtype("V16"), most)
        self._seeds: dict[str, int] = {}

    @property
    def n(self) -> int:
        """How many records."""
        return self._marks.n

    def append(self, batch: pa.RecordBatch) -> None:
        """The next records. Raises StorageIoFailure."""
        kinds, ids = batch["event_type"], batch["event_id"]
        seeds = np.array([self._seed(kind) for kind in kinds.dictionary.to_pylist()], np.uint64)[as_numpy(kinds.indices, np.int32)]
        _, offsets, data = ids.buffers()
        marks = np.empty(len(ids), np.uint64)
        mark_texts(np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8),
                   np.frombuffer(offsets, np.int32)[ids.offset:ids.offset + len(ids) + 1], seeds, marks)
        hashes = batch["payload_hash"]
        said = np.frombuffer(hashes.buffers()[1], np.dtype("V32"))[hashes.offset:hashes.offset + len(hashes)]
        self._marks.append(marks)
        self._said.append(said.view(np.uint8).reshape(-1, 32)[:, :16].copy().view(np.dtype("V16")).reshape(-1))

    def repeats(self, at_once: int, look: Callable[[Int64s], Iterator[Keyed]]) -> tuple[Repeats, tuple[tuple[Any, ...], OfsError] | None]:
        """Find what comes again.

        Args:
            at_once: so many marks are compared at once.
            look: gives the records of some rows, ascending.

        Returns:
            The later ones of equal records; and the first that has another content than an earlier one of its key, with its place in the
            order of coordinates.
        """
        found, conflicts = Repeats(self.n), list[tuple[tuple[Any, ...], OfsError]]()
        parts = -(-self.n // at_once)
        for part in range(parts):
            twice = self._twice(parts, part)
            if len(twice):
                self._settle(*self._suspects(twice), found, conflicts, look)
        self._marks.remove()
        self._said.remove()
        return found, min(conflicts, key=lambda one: one[0], default=None)

    def _seed(self, kind: str) -> int:
        if kind not in self._seeds:
            self._seeds[kind] = int.from_bytes(hashlib.sha256(kind.encode()).digest()[:8], "big")
        return self._seeds[kind]

    def _twice(self, parts: int, part: int) -> npt.NDArray[np.uint64]:
        """The marks of one part of all that occur more than once."""
        chosen = []
        for start in range(0, self.n, _BLOCK):
            marks = self._marks.read(start, min(start + _BLOCK, self.n))
            chosen.append(marks if parts == 1 else marks[(marks * _MIX >> np.uint64(32)) % np.uint64(parts) == part])
        ordered = np.concatenate(chosen)
        ordered.sort()
        return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])

    def _suspects(self, twice: npt.NDArray[np.uint64]) -> tuple[Int64s, npt.NDArray[np.int64], npt.NDArray[np.void]]:
        """Rows of these marks, which one each has, and their hashes; by mark and row."""
        rows, which, said = [], [], []
        likely = np.zeros(1 << _LIKELY, np.bool_)  # by the first bits of marks: most of all records are told from these by them
        likely[twice >> np.uint64(64 - _LIKELY)] = True
        for start in range(0, self.n, _BLOCK):
            stop = min(start + _BLOCK, self.n)
            marks = self._marks.read(start, stop)
            mine = np.flatnonzero(likely[marks >> np.uint64(64 - _LIKELY)])
            places = np.searchsorted(twice, marks[mine])
            alike = twice[np.minimum(places, len(twice) - 1)] == marks[mine]
            mine, places = mine[alike], places[alike]
            if len(mine):
                rows.append(start + mine)
                which.append(places)
                said.append(self._said.read(start, stop)[mine])
        all_rows, all_which = np.concatenate(rows), np.concatenate(which)
        order = np.argsort(all_which, kind="stable")
        return all_rows[order], all_which[order], np.concatenate(said)[order]

    def _settle(self, rows: Int64s, which: npt.NDArray[np.int64], said: npt.NDArray[np.void], found: Repeats,
                conflicts: list[tuple[tuple[Any, ...], OfsError]], look: Callable[[Int64s], Iterator[Keyed]]) -> None:
        words = said.view(np.uint64).reshape(-1, 2)
        starts = np.flatnonzero(np.concatenate(([True], which[1:] != which[:-1])))
        group = np.cumsum(np.concatenate(([True], which[1:] != which[:-1]))) - 1
        unlike = (words != words[starts][group]).any(axis=1)
        strange = np.zeros(len(starts), np.bool_)
        strange[group[unlike]] = True
        later = np.ones(len(rows), np.bool_)
        later[starts] = False
        found.add(rows[later & ~strange[group]])
        if strange.any():
            _look_again(look(np.sort(rows[strange[group]])), found, conflicts)


def _look_again(records: Iterator[Keyed], found: Repeats, conflicts: list[tuple[tuple[Any, ...], OfsError]]) -> None:
    """Records that share marks, by their keys themselves."""
    firsts: dict[tuple[str, str], Keyed] = {}
    again: list[int] = []
    for one in records:
        first = firsts.setdefault((one.kind, one.event_id), one)
        if first is one:
            continue
        if first.said == one.said:
            again.append(one.row)
        else:
            conflicts.append((one.order, ReplayEventIdConflict(
                f"{one.kind} {one.event_id} has one content at {first.place} and another at {one.place}.", path=one.place,
                fix="Find out which of the two is true; a producer must not reuse an event id.")))
            break  # rows ascend, so it is the first of these
    found.add(np.array(again, np.int64))


def keyed(batch: pa.RecordBatch, topic: str, at: int, wanted: Sequence[int]) -> Iterator[Keyed]:
    """Some records of a batch whose first one has the row `at` among all of its source."""
    part = batch.select(["event_type", "event_id", "payload_hash", "partition", "offset", "position"]).take(
        pa.array([row - at for row in wanted], pa.int64()))
    for row, one in zip(wanted, part.to_pylist(), strict=True):
        yield Keyed(row, one["event_type"], one["event_id"], one["payload_hash"], f"{topic}/{one['partition']}@{one['offset']}",
                    (topic.encode(), one["partition"], one["position"]))
