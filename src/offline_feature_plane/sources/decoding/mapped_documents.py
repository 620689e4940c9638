"""Lines of another tool as records, many at a time: what `domain.foreign_records.Lifting.lift` makes of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.kernels.envelopes import read_payloads
from offline_feature_plane.kernels.json_kinds import ABSENT, ESCAPED, OTHER, TEXT
from offline_feature_plane.kernels.mapped_documents import are_blank, read_mapped
from offline_feature_plane.kernels.typed_texts import unescape
from offline_feature_plane.sources.decoding.batches import STORED, Members, places, room
from offline_feature_plane.sources.decoding.decoded import Found
from offline_feature_plane.sources.decoding.lines import Lines
from offline_feature_plane.sources.decoding.mapped import TIMES, Gathered, constant, gathered, instants_in
from offline_feature_plane.sources.decoding.spelled import Spelled
from offline_feature_plane.sources.decoding.wanted import Bytes, Int64s, Wanted, joined

__all__ = ["members_of_mapped_documents", "written_lines"]

Told = tuple[Bytes, Int64s, Int64s]  # texts, and where each of them stands

_OPEN: Final = ord("{")


def written_lines(lines: Lines) -> Lines:
    """Lines without those that are blank."""
    blank = np.zeros(len(lines.begins), np.bool_)
    are_blank(lines.data, lines.begins, lines.stops, blank)
    return Lines(lines.data, lines.begins[~blank], lines.stops[~blank]) if blank.any() else lines


def members_of_mapped_documents(lines: Lines, lifting: Lifting, fixed: Mapping[str, Any], wanted: Wanted) -> Members:
    """The members of records that stand in lines; `fixed` are those that all records of the file share."""
    return _Documents(lines, lifting, fixed, wanted).members()


class _Documents:
    """The documents of a batch, and what was found of them."""

    def __init__(self, lines: Lines, lifting: Lifting, fixed: Mapping[str, Any], wanted: Wanted) -> None:
        self._lines, self._lifting, self._fixed, self._wanted = lines, lifting, fixed, wanted
        self._n = len(lines.begins)
        place = lifting.places.get("payload")
        self._takes_rest = place is None
        self._base = () if place is None else place.path
        paths = {name: one.path for name, one in lifting.places.items() if one.path is not None}
        self._below = {} if self._base is None else {path: (*self._base, *path) for path in wanted.paths
                                                     if self._base or path[0] not in lifting.left_out}
        self._paths, self._above = paths, {path[:end] for path in paths.values() for end in range(1, len(path))}
        self._tree = Wanted.of([*paths.values(), *self._above, *self._below.values()])

    def members(self) -> Members:
        """Them."""
        lines, n = self._lines, self._n
        names = sorted(self._lifting.left_out) if self._takes_rest else list(self._base or ())[:1]
        every, told, told_starts, told_ends, spare = room(lines.data, lines.begins, lines.stops, self._tree)
        status = np.zeros(n, np.uint8)
        read_mapped(lines.data, lines.begins, lines.stops, *joined(names), self._takes_rest, *self._tree.tree, told, *spare, every.kinds,
                    every.starts, every.ends, told_starts, told_ends, status)
        status[lines.stops - lines.begins > MAX_DOCUMENT_BYTES] = 1
        for what in (every.kinds, every.starts, every.ends):
            what[:, status != 0] = ABSENT  # what was found of them may be of half a record
        said = {name: self._at(every, path) for name, path in self._paths.items()}
        mine = gathered(lines.data, {name: one for name, one in said.items() if name not in (*TIMES, "payload")}, self._fixed, n)
        moments = {name: instants_in(name, said[name] if name in said else constant(self._fixed.get(name), n), self._lifting)
                   for name in TIMES}
        for name, one in moments.items():
            mine.kinds[STORED.index(name)] = np.where(one.doubted, ABSENT, TEXT)
        at = STORED.index("payload")
        found = self._found(every)
        if self._takes_rest:
            mine.kinds[at] = OTHER
        elif self._base is not None:
            found, (told, told_starts, told_ends) = self._payloads(said["payload"], found, (told, told_starts, told_ends), mine, status)
        elif self._fixed.get("payload") is not None:
            status[:] = 1
        for path in self._above:  # which may go on inside of a text: what that holds is for the law
            kinds = every.kinds[self._tree.slot(path)]
            status[(kinds == TEXT) | (kinds == ESCAPED)] = 1
        status[mine.asks | (mine.kinds[:at] == ABSENT).any(axis=0)] = 1
        return Members(STORED, mine.data, mine.kinds, mine.starts, mine.ends, told, told_starts, told_ends, found, status,
                       {name: one.us for name, one in moments.items()}, holds_payloads=not self._takes_rest)

    def _at(self, every: Found, path: tuple[str, ...]) -> Spelled:
        slot = self._tree.slot(path)
        return Spelled(every.data, every.kinds[slot], every.starts[slot], every.ends[slot], np.zeros(self._n, np.bool_))

    def _found(self, every: Found) -> Found:
        """What is wanted of payloads that are objects."""
        kinds, starts, ends = places(max(1, len(self._wanted.paths)), self._n)
        for row, path in enumerate(self._wanted.paths):
            if path in self._below:
                slot = self._tree.slot(self._below[path])
                kinds[row], starts[row], ends[row] = every.kinds[slot], every.starts[slot], every.ends[slot]
        return Found(every.data, kinds, starts, ends)

    def _payloads(self, said: Spelled, found: Found, told: Told, mine: Gathered, status: npt.NDArray[np.uint8]) -> tuple[Found, Told]:
        """Payloads that lie deeper, or are the text of an object, are read by themselves."""
        at = STORED.index("payload")
        texts = (said.kinds == TEXT) | (said.kinds == ESCAPED)
        is_object = (said.kinds == OTHER) & (said.data.take(said.starts, mode="clip") == _OPEN)
        status[(said.kinds != ABSENT) & ~texts & ~is_object] = 1
        mine.kinds[at], mine.starts[at], mine.ends[at] = np.where(said.kinds == ABSENT, ABSENT, OTHER), said.starts, said.ends
        if len(self._base or ()) > 1:
            told = self._told(said.data, np.where(is_object, said.starts, -1), said.ends, Wanted(()), status)[1]
        if not texts.any():
            return found, told
        rows = np.flatnonzero(texts)
        starts, ends = said.starts[rows], said.ends[rows]
        plain = np.empty(int((ends - starts).sum()), np.uint8)
        unescape(said.data, np.full(len(rows), ESCAPED, np.int8), starts, ends, plain, 0, 0)
        inner_status = np.zeros(len(rows), np.uint8)
        inner, (more, begins, stops) = self._told(plain, starts, ends, self._wanted, inner_status)
        status[rows[(inner_status != 0) | (ends - starts > MAX_DOCUMENT_BYTES)]] = 1
        shift = len(found.data)
        found.kinds[:, rows], found.starts[:, rows], found.ends[:, rows] = inner.kinds, inner.starts + shift, inner.ends + shift
        mine.starts[at, rows], mine.ends[at, rows] = starts + shift, ends + shift
        told[1][rows], told[2][rows] = begins + len(told[0]), stops + len(told[0])
        return (Found(np.concatenate([found.data, plain]), found.kinds, found.starts, found.ends),
                (np.concatenate([told[0], more]), told[1], told[2]))

    def _told(self, data: Bytes, begins: Int64s, stops: Int64s, wanted: Wanted, status: npt.NDArray[np.uint8]) -> tuple[Found, Told]:
        """Objects told that begin somewhere; −1: there is none."""
        found, told, told_starts, told_ends, spare = room(data, np.maximum(begins, 0), stops, wanted)
        wrong = np.zeros(len(begins), np.uint8)
        read_payloads(data, begins, stops, *wanted.tree, told, *spare, found.kinds, found.starts, found.ends, told_starts, told_ends, wrong)
        status[wrong != 0] = 1
        return found, (told, told_starts, told_ends)
