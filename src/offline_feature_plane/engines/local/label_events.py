"""Which events assertions are about: by their ids, which mostly are found without a hash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.arrow_types import arrow_type
from offline_feature_plane.engines.local.connection import Database, foreign_errors
from offline_feature_plane.engines.local.events import History
from offline_feature_plane.kernels.timelines import place_numbers

Int64s = npt.NDArray[np.int64]

_PIECE = 1 << 20


def find_events(database: Database, subjects: Int64s | pa.Array, events: History, most: int) -> tuple[Int64s, Int64s]:
    """Every pair of an assertion and an event that it is about: row and position, sorted by row, then position.

    An assertion is about every event that carries its id, in whatever source; mostly that is one.
    """
    none = np.empty(0, np.int64)
    if not len(subjects) or not events.n:
        return none, none
    found = _find_counted_up(subjects, events, most) if isinstance(subjects, np.ndarray) else None
    return _find_by_join(database, subjects, events) if found is None else found


def _find_counted_up(subjects: Int64s, events: History, most: int) -> tuple[Int64s, Int64s] | None:
    """As `find_events`, for ids that were counted up: a table of places beats any hash. None if they were not, or events share one."""
    first, last = int(subjects.min()), int(subjects.max())
    if last - first >= min(4 * events.n + 1_000_000, most // 4):
        return None
    places = np.full(last - first + 1, -1, np.int32)
    for start, ids in _ids_of(events):
        if not place_numbers(ids.to_numpy(), first, start, places):
            return None
    found = places[subjects - first]
    met = found >= 0
    return (np.arange(len(subjects)), found.astype(np.int64)) if met.all() else (np.flatnonzero(met), found[met].astype(np.int64))


def _find_by_join(database: Database, subjects: Int64s | pa.Array, events: History) -> tuple[Int64s, Int64s]:
    """As `find_events`, whatever ids look like."""
    kind = arrow_type(events.id_type)
    schema = pa.schema([("id", kind), ("position", pa.int32())])
    batches = (pa.record_batch([chunk.cast(kind), pa.array(np.arange(at, at + len(chunk), dtype=np.int32))], schema)
               for start, ids in _ids_of(events) for at, chunk in _numbered(ids, start))
    rows = pa.table({"id": subjects, "row": pa.array(np.arange(len(subjects), dtype=np.int32))})
    with (foreign_errors("joining labels to events"), database.cursor() as connection,
          closing(pa.RecordBatchReader.from_batches(schema, batches)) as reader):
        connection.register("ofs_events", reader)
        connection.register("ofs_subjects", rows)
        pairs = connection.execute("SELECT s.row, e.position FROM ofs_events e JOIN ofs_subjects s ON e.id = s.id").fetchnumpy()
    position = np.full(len(subjects), -1, np.int64)
    position[pairs["row"]] = pairs["position"]
    if (position[pairs["row"]] == pairs["position"]).all():
        met = np.flatnonzero(position >= 0)
        return met, position[met]
    order = np.lexsort((pairs["position"], pairs["row"]))
    return pairs["row"][order].astype(np.int64), pairs["position"][order].astype(np.int64)


def _ids_of(events: History) -> Iterator[tuple[int, pa.ChunkedArray]]:
    """All ids, in pieces, each with its first position."""
    for start in range(0, events.n, _PIECE):
        yield start, events.ids.slice(start, min(_PIECE, events.n - start))


def _numbered(ids: pa.ChunkedArray, start: int) -> Iterator[tuple[int, pa.Array]]:
    for chunk in ids.chunks:
        yield start, chunk
        start += len(chunk)
