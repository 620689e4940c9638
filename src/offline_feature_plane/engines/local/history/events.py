"""All admitted events of a build in the total order, in memory or in files."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.engines.local.columns import IdColumn, as_text
from offline_feature_plane.engines.local.events import Events, Int64s, Key, Values
from offline_feature_plane.engines.local.history.arrivals import ArrivalColumns
from offline_feature_plane.engines.local.history.merging import Pieces
from offline_feature_plane.engines.local.history.places import Numbers, Place, Texts, ValueColumn
from offline_feature_plane.engines.local.lowering import as_arrow, as_numpy

__all__ = ["StoredEvents"]

_DTYPES = {"string": np.int32, "float64": np.float64}


class StoredEvents:
    """A `History` of columns. Fields stand at the events of their source only; an index of some positions is in memory anyway.

    Args:
        place: where columns are kept.
        sources: of the closure.
        most: events of each source, those that repeat others included.
        id_type: int64 if all ids are integers, else string.
        dictionaries: of the text fields, by field name.
        repeating: topics whose rows may repeat an event: of neighbours with one id only the first is taken.
        step: positions between two entries of the index.
        arrivals: takes when events arrived, if that counts; then `settle` must follow the last `append`.
    """

    def __init__(self, place: Place, sources: Sequence[Source], most: Sequence[int], id_type: ColumnType,
                 dictionaries: Mapping[str, pa.Array], repeating: Collection[str], step: int,
                 arrivals: ArrivalColumns | None = None) -> None:
        self.n, self.repeated, self.id_type, self._step = 0, 0, id_type, step
        self._sources, self._dictionaries, self._repeating = sources, dictionaries, repeating
        total = sum(most)
        self._ts = place.numbers("ts", np.int64, total)
        self._source = place.numbers("source", np.int8, total) if len(sources) > 1 else None
        self._ids = place.numbers("ids", np.int64, total) if id_type.kind == "int64" else place.texts("ids")
        self._fields = {(source.name, field.name): ValueColumn(place, f"{index}.{number}", _DTYPES.get(field.type.kind, np.int64), rows)
                        for index, (source, rows) in enumerate(zip(sources, most, strict=True))
                        for number, field in enumerate(source.fields)}
        self._types = {(source.name, field.name): field.type for source in sources for field in source.fields}
        self._instants: list[int] = []       # of every `step`-th position
        self._before: list[list[int]] = []   # events of each source before it
        self._counts = [0] * len(sources)
        self._firsts: list[int | None] = [None] * len(sources)
        self._last: tuple[int, str, int | str] | None = None
        self._arrivals = arrivals

    @property
    def size_bytes(self) -> int:
        """What they take."""
        columns = [self._ts, self._ids, *self._fields.values(), self._source, self._arrivals]
        return sum(column.size_bytes for column in columns if column is not None)

    @property
    def ids(self) -> _Ids:
        """As `History.ids`."""
        return _Ids(self._ids, 0)

    def append(self, pieces: Pieces) -> None:
        """Add the next events. Raises StorageIoFailure."""
        ts = pieces.joined([one.ts for one in pieces.loaded])
        source = pieces.joined([np.full(one.n, one.source, np.int8) for one in pieces.loaded])
        ids = self._joined_ids(pieces)
        kept = self._kept(pieces, ts, ids) if any(one.topic in self._repeating for one in pieces.loaded) else None
        if kept is not None:
            self.repeated += len(ts) - int(np.count_nonzero(kept))
            ts, source, ids = ts[kept], source[kept], ids[kept] if isinstance(ids, np.ndarray) else ids.filter(pa.array(kept))
        self._note(ts, source)
        self._ts.append(ts)
        if self._source is not None:
            self._source.append(source)
        self._ids.append(ids)
        self._append_fields(pieces, kept)
        if self._arrivals is not None:
            self._arrivals.append(pieces, kept)
        self.n += len(ts)

    def settle(self) -> None:
        """Find the places of all events in the order of arrival, where that counts. Raises StorageIoFailure."""
        if self._arrivals is not None:
            self._arrivals.settle(self.ids)

    def window(self, start: int, stop: int, fields: Collection[Key] | None = None) -> Events:
        """As `History.window`."""
        source = np.zeros(stop - start, np.int8) if self._source is None else self._source.read(start, stop)
        found = {}
        spans: dict[int, tuple[int, npt.NDArray[np.bool_]]] = {}
        names = [one.name for one in self._sources]
        for key in self._fields if fields is None else fields:
            place = names.index(key[0])
            if place not in spans:
                spans[place] = self._count_before(place, start), source == place
            found[key] = self._values(key, *spans[place])
        return Events(stop - start, self._ts.read(start, stop), source, _Ids(self._ids, start), self.id_type, found,
                      None if self._arrivals is None else self._arrivals.read(start, stop))

    def position_after(self, at_us: int) -> int:
        """As `History.position_after`."""
        step = bisect.bisect_right(self._instants, at_us) - 1
        if step < 0:
            return 0
        start = step * self._step
        return start + int(np.searchsorted(self._ts.read(start, min(start + self._step, self.n)), at_us, "right"))

    def instants_at(self, positions: Int64s) -> Int64s:
        """As `History.instants_at`; every part of the file is read once at most."""
        order = np.argsort(positions, kind="stable") if (positions[1:] < positions[:-1]).any() else None
        wanted = positions if order is None else positions[order]
        found = np.empty(len(positions), np.int64)
        ends = np.searchsorted(wanted, np.arange(0, self.n + self._step, self._step)).tolist()
        for step, (low, high) in enumerate(pairwise(ends)):
            if high > low:
                start = step * self._step
                found[low:high] = self._ts.read(start, min(start + self._step, self.n))[wanted[low:high] - start]
        if order is None:
            return found
        back = np.empty_like(found)
        back[order] = found
        return back

    def most_within(self, reach_us: int) -> int:
        """How many events at most lie within a reach before one of them, itself included, rounded up to the index."""
        steps = (step + 1 - max(0, bisect.bisect_right(self._instants, at - reach_us) - 1) for step, at in enumerate(self._instants))
        return min(self.n, self._step * max(steps, default=0))

    def first_instant(self, source: int) -> int | None:
        """As `History.first_instant`."""
        return self._firsts[source]

    def _joined_ids(self, pieces: Pieces) -> npt.NDArray[np.int64] | pa.Array:
        if self.id_type.kind == "int64":
            return pieces.joined([one.ids for one in pieces.loaded])
        whole = pa.chunked_array([chunk for one in pieces.loaded for chunk in as_text(one.ids).chunks], pa.string()).combine_chunks()
        return whole if pieces.order is None else whole.take(as_arrow(pieces.order))

    def _kept(self, pieces: Pieces, ts: Int64s, ids: npt.NDArray[np.int64] | pa.Array) -> npt.NDArray[np.bool_]:
        """Which rows are not their neighbour again."""
        topics = [one.topic for one in pieces.loaded]
        topic = pieces.joined([np.full(one.n, topics.index(one.topic), np.int32) for one in pieces.loaded])
        may = np.array([name in self._repeating for name in topics])
        kept = np.ones(len(ts), np.bool_)
        alike = ids[1:] == ids[:-1] if isinstance(ids, np.ndarray) else as_numpy(
            pc.equal(ids[1:], ids[:-1]).cast(pa.uint8()), np.uint8).view(np.bool_)
        kept[1:] = ~(alike & (ts[1:] == ts[:-1]) & (topic[1:] == topic[:-1]) & may[topic[1:]])
        def told(row: int) -> tuple[int, str, int | str]:
            one = ids[row]
            return int(ts[row]), topics[topic[row]], one.as_py() if isinstance(one, pa.Scalar) else int(one)
        kept[0] = not may[topic[0]] or told(0) != self._last
        self._last = told(len(ts) - 1)
        return kept

    def _note(self, ts: Int64s, source: npt.NDArray[np.int8]) -> None:
        """Keep the index and the counts in step with what is appended."""
        done = 0
        for at in range(-self.n % self._step, len(ts), self._step):
            self._count(source[done:at])
            self._instants.append(int(ts[at]))
            self._before.append(list(self._counts))
            done = at
        self._count(source[done:])
        for place, first in enumerate(self._firsts):
            if first is None and len(own := np.flatnonzero(source == place)[:1]):
                self._firsts[place] = int(ts[own[0]])

    def _count(self, source: npt.NDArray[np.int8]) -> None:
        for place, count in enumerate(np.bincount(source, minlength=len(self._counts)).tolist()):
            self._counts[place] += count

    def _append_fields(self, pieces: Pieces, kept: npt.NDArray[np.bool_] | None) -> None:
        place = pieces.joined([np.full(one.n, one.source, np.int8) for one in pieces.loaded])
        for number, source in enumerate(self._sources):
            own = [one for one in pieces.loaded if one.source == number]
            rows = self._rows_of(pieces, number, place, kept) if own and source.fields else None
            for field in source.fields if own else ():
                parts = [one.fields[field.name] for one in own]
                data = parts[0][0] if len(parts) == 1 else np.concatenate([part[0] for part in parts])
                valid = None if all(part[1] is None for part in parts) else np.concatenate(
                    [np.ones(len(part[0]), np.bool_) if part[1] is None else part[1] for part in parts])
                if rows is not None:
                    data, valid = data.take(rows), None if valid is None else valid.take(rows)
                self._fields[source.name, field.name].append(data, valid)

    @staticmethod
    def _rows_of(pieces: Pieces, number: int, place: npt.NDArray[np.int8], kept: npt.NDArray[np.bool_] | None) -> Int64s | None:
        """Which rows of a source's own pieces, side by side, follow each other in the total order; None: as they stand."""
        if pieces.order is None and kept is None:
            return None
        order = np.arange(len(place), dtype=np.int64) if pieces.order is None else pieces.order
        wanted = place == number if kept is None else (place == number) & kept
        side_by_side = np.concatenate([np.full(one.n, one.source == number) for one in pieces.loaded])
        found: Int64s = (np.cumsum(side_by_side) - 1)[order[wanted]]
        return found

    def _count_before(self, place: int, position: int) -> int:
        """How many events of a source stand before a position."""
        if self._source is None:
            return position
        step = min(position // self._step, len(self._before) - 1)
        if step < 0:
            return 0
        return self._before[step][place] + int(np.count_nonzero(self._source.read(step * self._step, position) == place))

    def _values(self, key: Key, first: int, own: npt.NDArray[np.bool_]) -> Values:
        column, count = self._fields[key], int(np.count_nonzero(own))
        data, valid = column.read(first, first + count)
        kind, dictionary = self._types[key], self._dictionaries.get(key[1])
        if count < len(own):
            spread, known = np.full(len(own), -1 if kind.kind == "string" else 0, data.dtype), own.copy()
            spread[own] = data
            if valid is not None:
                known[own] = valid
            data, valid = spread, known
        if kind.kind == "string":
            known = data >= 0
            valid = None if known.all() else known
        return Values(kind, data, valid, dictionary)


@dataclass(frozen=True)
class _Ids:
    """Ids from a position on."""

    column: Numbers | Texts
    first: int

    def slice(self, offset: int, length: int) -> pa.ChunkedArray:
        """As `Ids.slice`."""
        found: IdColumn = self.column.read(self.first + offset, self.first + offset + length)
        return pa.chunked_array([as_arrow(found)]) if isinstance(found, np.ndarray) else found
