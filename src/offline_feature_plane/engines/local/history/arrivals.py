"""When the events of a history arrived, and their places in that order (`decisions.md` D21)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.engines.local.dictionaries import ranks
from offline_feature_plane.engines.local.events import Arrivals, Ids, Int64s
from offline_feature_plane.engines.local.history.merging import Pieces
from offline_feature_plane.engines.local.history.places import Numbers, Place
from offline_feature_plane.engines.local.lowering import as_arrow
from offline_feature_plane.engines.local.ordering import inverse, total_order

__all__ = ["ArrivalColumns"]

_PIECE = 1 << 20


class ArrivalColumns:
    """Arrivals of events in the total order, and what orders those of one instant; places are known once they are settled.

    Args:
        place: where they are kept.
        topics: the rank of every topic.
        most: of so many events at most.
    """

    def __init__(self, place: Place, topics: Mapping[str, int], most: int) -> None:
        self._topics = topics
        self._counted: set[int] = set()  # topics whose ids are integers, and are ordered as such
        self._at, self._place, self._topic, self._partition, self._offset = (
            place.numbers(name, np.int64, most) for name in ("arrival", "place", "topic", "partition", "offset"))

    @property
    def size_bytes(self) -> int:
        """What they take."""
        return sum(column.size_bytes for column in (self._at, self._place, self._topic, self._partition, self._offset))

    def append(self, pieces: Pieces, kept: npt.NDArray[np.bool_] | None) -> None:
        """Add those of the next events. Raises StorageIoFailure."""
        self._counted.update(self._topics[one.topic] for one in pieces.loaded if isinstance(one.ids, np.ndarray))
        columns: dict[Numbers, list[npt.NDArray[Any] | None]] = {
            self._at: [one.arrival for one in pieces.loaded],
            self._topic: [np.full(one.n, self._topics[one.topic], np.int64) for one in pieces.loaded],
            self._partition: [one.partition for one in pieces.loaded], self._offset: [one.offset for one in pieces.loaded]}
        for column, parts in columns.items():
            values = pieces.joined([np.zeros(one.n, np.int64) if part is None else part
                                    for one, part in zip(pieces.loaded, parts, strict=True)])
            column.append(values if kept is None else values[kept])

    def settle(self, ids: Ids) -> None:
        """Find the place of every event in the order of arrival: in memory, for about 40 bytes of each event. Raises StorageIoFailure."""
        n = self._at.n

        def ties(rows: Int64s) -> list[Int64s]:
            topic, partition, offset = (column.read(0, n)[rows] for column in (self._topic, self._partition, self._offset))
            return [topic, partition, offset, _id_ranks(ids, rows, n, np.isin(topic, list(self._counted)))]

        self._place.append(inverse(total_order(self._at.read(0, n), ties), n))

    def read(self, start: int, stop: int) -> Arrivals:
        """Those of a range. Raises StorageIoFailure."""
        return Arrivals(self._at.read(start, stop), self._place.read(start, stop))


def _id_ranks(ids: Ids, rows: Int64s, n: int, counted: npt.NDArray[np.bool_]) -> Int64s:
    """Numbers that order as the ids of some events do among those of one topic; every part of the file is read once.

    Where `counted`, ids are integers, though they may be written as texts beside the ids of other topics.
    """
    order = np.argsort(rows, kind="stable")
    wanted = rows[order]
    chunks = []
    for start in range(0, n, _PIECE):
        low, high = np.searchsorted(wanted, (start, start + _PIECE)).tolist()
        if high > low:
            chunks += ids.slice(start, min(_PIECE, n - start)).take(as_arrow(wanted[low:high] - start)).chunks
    taken = pa.chunked_array(chunks)
    found = np.empty(len(rows), np.int64)
    if pa.types.is_integer(taken.type):
        found[order] = taken.to_numpy()
        return found
    numbers, texts = np.flatnonzero(counted[order]), np.flatnonzero(~counted[order])
    found[order[numbers]] = taken.take(as_arrow(numbers)).cast(pa.int64()).to_numpy()
    found[order[texts]] = ranks(taken.take(as_arrow(texts)))
    return found
