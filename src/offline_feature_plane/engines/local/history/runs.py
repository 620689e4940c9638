"""Sorted runs: pieces of inputs in the total order, and their merging.

```
   run 1   ──●──●─●────●──▶│        of every run that goes on, the last row at hand bounds what can be said:
   run 2        ●──●─●─●───│──●─●   rows up to the least of them (│) are complete; they are ordered and handed on
   run 3     ●───●──●──────│─●──●
```
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.footprint import uniting_bytes
from offline_feature_plane.engines.local.columns import IdColumn, Integers, Loaded
from offline_feature_plane.engines.local.dictionaries import encode
from offline_feature_plane.engines.local.history.places import Numbers, Place, Texts
from offline_feature_plane.engines.local.lowering import as_arrow
from offline_feature_plane.engines.local.ordering import order_keys, topic_ranks, total_order, whole_arrival
from offline_feature_plane.errors import ResourceExceeded

__all__ = ["Pieces", "Run", "merged", "unify", "write_run"]

_TEXTS, _LEAST_TEXTS = 1 << 21, 1 << 16  # at once, which makes one table of hashes worth its while
_TEXT = 32                               # bytes of a usual one
Codes = npt.NDArray[np.int32]
Recode = Mapping[str, Codes]  # by dictionary: the final code of every code of a run, and −1 at its end


@dataclass(frozen=True)
class Run:
    """A piece of one input in the total order. `shape` is the piece without rows; `homes` names the dictionary of each text field."""

    shape: Loaded
    ts: Numbers
    ids: Numbers | Texts
    partition: Numbers | None
    offset: Numbers | None
    arrival: Numbers | None
    fields: Mapping[str, tuple[Numbers, Numbers | None]]
    dictionaries: Mapping[str, Texts]
    homes: Mapping[str, str]

    @property
    def n(self) -> int:
        """Rows."""
        return self.ts.n

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        return sum(column.size_bytes for column in self._columns())

    def read(self, start: int, stop: int, recode: Recode) -> Loaded:
        """Some rows, texts as final codes."""
        fields: dict[str, Any] = {}
        for name, (data, valid) in self.fields.items():
            values = data.read(start, stop)
            if name in self.homes:
                values = recode[self.homes[name]][values]
            fields[name] = values, None if valid is None else valid.read(start, stop).view(np.bool_)
        partition, offset, arrival = (None if one is None else one.read(start, stop) for one in (self.partition, self.offset, self.arrival))
        return replace(self.shape, ts=self.ts.read(start, stop), ids=self.read_ids(start, stop), partition=partition, offset=offset,
                       arrival=arrival, fields=fields)

    def read_ids(self, start: int, stop: int) -> IdColumn:
        """Some rows' ids."""
        return self.ids.read(start, stop)

    def remove(self) -> None:
        """Give its space back."""
        for column in self._columns():
            column.remove()

    def _columns(self) -> Iterator[Numbers | Texts]:
        for one in (self.ts, self.ids, self.partition, self.offset, self.arrival, *self.dictionaries.values()):
            if one is not None:
                yield one
        for data, valid in self.fields.values():
            yield data
            if valid is not None:
                yield valid


def write_run(place: Place, piece: Loaded, homes: Mapping[str, str]) -> Run:
    """Order a piece and keep it.

    Args:
        place: a new place.
        piece: rows as they were read.
        homes: text fields → name of the dictionary that they share, as `shared_names`.

    Raises:
        StorageIoFailure: the work folder failed. ResourceExceeded: more distinct texts than one dictionary holds.
    """
    order = total_order(piece.ts, partial(order_keys, [piece], np.array([0, piece.n]), piece.arrival))

    def number(name: str, values: npt.NDArray[Any]) -> Numbers:
        column = place.numbers(name, values.dtype, len(values))
        column.append(values if order is None else values.take(order))
        return column

    def text(name: str, texts: pa.ChunkedArray) -> Texts:
        column = place.texts(name)
        for chunk in texts.chunks:
            column.append(chunk)
        return column

    ids = number("ids", piece.ids) if isinstance(piece.ids, np.ndarray) else text(
        "ids", piece.ids if order is None else piece.ids.take(as_arrow(order)))
    partition, offset, arrival = (None if values is None else number(name, values) for name, values in (
        ("partition", piece.partition), ("offset", piece.offset), ("arrival", piece.arrival)))
    fields: dict[str, tuple[Numbers, Numbers | None]] = {}
    texts: dict[str, list[str]] = {}
    for at, (name, values) in enumerate(piece.fields.items()):
        if isinstance(values, pa.ChunkedArray):
            texts.setdefault(homes[name], []).append(name)
        else:
            data, valid = values
            fields[name] = number(f"{at}", data), None if valid is None else number(f"{at}.valid", valid)
    dictionaries: dict[str, Texts] = {}
    for home, names in texts.items():
        with _one_dictionary(home):
            codes, dictionary = encode([piece.fields[name] for name in names])
        dictionaries[home] = text(f"dictionary.{len(dictionaries)}", pa.chunked_array([dictionary]))
        fields |= {name: (number(f"codes.{len(fields) + at}", one), None) for at, (name, one) in enumerate(
            zip(names, codes, strict=True))}
    no_ids = np.empty(0, np.int64) if isinstance(piece.ids, np.ndarray) else pa.chunked_array([], pa.string())
    nothing = replace(piece, ts=np.empty(0, np.int64), ids=no_ids, partition=None, offset=None, arrival=None, fields={})
    return Run(nothing, number("ts", piece.ts), ids, partition, offset, arrival, fields, dictionaries,
               {name: home for home, names in texts.items() for name in names})


def unify(runs: Sequence[Run], most: int) -> tuple[dict[str, pa.Array], list[dict[str, Codes]]]:
    """The final dictionaries, sorted by UTF-8 bytes, and per run what its codes become.

    Raises:
        ResourceExceeded: they would take more than `most` bytes, or one of them more than Arrow's 2 GiB.
    """
    final: dict[str, pa.Array] = {}
    recodes: list[dict[str, Codes]] = [{} for _ in runs]
    for home in dict.fromkeys(home for run in runs for home in run.dictionaries):
        owners = [place for place, run in enumerate(runs) if home in run.dictionaries]
        known = pa.array([], pa.string())
        for _, texts in _together(runs, owners, home, max(_LEAST_TEXTS, min(_TEXTS, most // uniting_bytes(_TEXT, 1)))):
            with _one_dictionary(home):
                known = pc.unique(pa.chunked_array([known, *texts.chunks], pa.string()))
            _check_room(home, known, sum(one.nbytes for one in final.values()), most)
        final[home] = known.take(pc.sort_indices(known))
        for places, texts in _together(runs, owners, home, _TEXTS):
            codes = pc.index_in(texts, value_set=final[home]).to_numpy().astype(np.int32)
            ends = np.cumsum([runs[place].dictionaries[home].n for place in places])
            for place, own in zip(places, np.split(codes, ends[:-1]), strict=True):
                recodes[place][home] = np.append(own, np.int32(-1))
    return final, recodes


def _check_room(home: str, texts: pa.Array, others: int, most: int) -> None:
    """Dictionaries cannot go to files: a build that would be killed for them says so before."""
    needed = others + uniting_bytes(texts.nbytes, len(texts))
    if needed > most:
        raise ResourceExceeded(
            f"{home} has {len(texts):,} distinct texts or more, which are kept in memory: that takes about {needed / 1e6:,.0f} MB, "
            f"and {most / 1e6:,.0f} MB are left for it within the limit.", path=home,
            fix="Raise `engine.memory_limit` in plane.yaml, build on a larger machine, or leave the field out of the profile.")


@contextmanager
def _one_dictionary(home: str) -> Iterator[None]:
    """Offsets of a dictionary have 32 bits."""
    try:
        yield
    except pa.ArrowCapacityError as wrong:
        raise ResourceExceeded(f"the distinct texts of {home} take more than 2 GiB, which is the most that one field may have.", path=home,
                               fix="Leave the field out of the profile, or shorten its texts before.") from wrong


def _together(runs: Sequence[Run], places: Sequence[int], home: str, most: int) -> Iterator[tuple[list[int], pa.ChunkedArray]]:
    """A dictionary of some runs, of as many at once as give about `most` texts."""
    taken: list[int] = []
    chunks: list[pa.Array] = []
    for place in places:
        texts = runs[place].dictionaries[home]
        taken.append(place)
        chunks += texts.read(0, texts.n).chunks
        if sum(map(len, chunks)) >= most:
            yield taken, pa.chunked_array(chunks, pa.string())
            taken, chunks = [], []
    if taken:
        yield taken, pa.chunked_array(chunks, pa.string())


@dataclass(frozen=True)
class Pieces:
    """Rows of several runs that follow all rows before them, side by side, and the permutation that puts them in the total order."""

    loaded: tuple[Loaded, ...]
    order: Integers | None

    def joined(self, values: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Arrays, one for each, as one in the total order."""
        whole = values[0] if len(values) == 1 else np.concatenate(values)
        return whole if self.order is None else whole.take(self.order)


def merged(runs: Sequence[Run], recodes: Sequence[Recode], rows: int) -> Iterator[Pieces]:
    """All rows of some runs in the total order.

    Args:
        runs: sorted runs.
        recodes: what their codes become.
        rows: how many of each run are at hand at once.
    """
    topics = topic_ranks(run.shape for run in runs)
    cursors = [_Cursor(run, recode, topics[run.shape.standing, run.shape.topic], rows) for run, recode in zip(runs, recodes, strict=True)]
    while cursors := [cursor for cursor in cursors if cursor.fill()]:
        cut = min((cursor.last for cursor in cursors if cursor.goes_on), default=None)
        loaded = tuple(piece for cursor in cursors if (piece := cursor.take_until(cut)) is not None)
        starts = np.cumsum([0, *(piece.n for piece in loaded)])
        ts = loaded[0].ts if len(loaded) == 1 else np.concatenate([piece.ts for piece in loaded])
        yield Pieces(loaded, None if len(loaded) == 1 else total_order(
            ts, partial(order_keys, loaded, starts, whole_arrival(loaded))))


_Place = tuple[int, int, int, int, int, Any]


class _Cursor:
    """Where merging stands in a run, with the rows that it has at hand."""

    def __init__(self, run: Run, recode: Recode, topic: int, rows: int) -> None:
        self._run, self._recode, self._topic, self._rows = run, recode, topic, rows
        self._next = 0
        self._held = run.read(0, 0, recode)

    @property
    def goes_on(self) -> bool:
        """Are there rows beyond those at hand?"""
        return self._next < self._run.n

    @property
    def last(self) -> _Place:
        """The place in the total order of the last row at hand."""
        return self._place(self._held.n - 1)

    def fill(self) -> bool:
        """Have rows at hand, if any are left."""
        if not self._held.n and self.goes_on:
            stop = min(self._next + self._rows, self._run.n)
            self._held = self._run.read(self._next, stop, self._recode)
            self._next = stop
        return self._held.n > 0

    def take_until(self, cut: _Place | None) -> Loaded | None:
        """The rows at hand that stand no later than `cut`; None if there are none."""
        held = self._held
        count = held.n if cut is None else bisect.bisect_right(
            range(int(np.searchsorted(held.ts, cut[0], "right"))), cut, lo=int(np.searchsorted(held.ts, cut[0])), key=self._place)
        self._held = _cut(held, count, held.n)
        return _cut(held, 0, count) if count else None

    def _place(self, row: int) -> _Place:
        held = self._held
        arrival, partition, offset = (0 if values is None else int(values[row]) for values in (held.arrival, held.partition, held.offset))
        one = held.ids[row]
        return int(held.ts[row]), arrival, self._topic, partition, offset, one.as_py().encode() if isinstance(one, pa.Scalar) else int(one)


def _cut(one: Loaded, start: int, stop: int) -> Loaded:
    fields: dict[str, Any] = {name: (values[0][start:stop], None if values[1] is None else values[1][start:stop])
                              for name, values in one.fields.items()}
    partition, offset, arrival = (None if values is None else values[start:stop] for values in (one.partition, one.offset, one.arrival))
    return replace(one, ts=one.ts[start:stop], ids=one.ids[start:stop], partition=partition, offset=offset, arrival=arrival, fields=fields)
