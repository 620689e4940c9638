"""Events as columns in the total order: what reading hands to labels, selection and features.

A `History` is all admitted events of a build, in memory (`Events`) or in files (`history.events.StoredEvents`); a window of it is `Events`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.columns import ColumnType

Int64s = npt.NDArray[np.int64]
Key = tuple[str, str]  # the names of a source and of its field


@dataclass(frozen=True)
class Values:
    """One field of one source over all events.

    `data` holds lowered values: int64 for bool, integers, decimals (scaled) and timestamps, float64 for float64, int32 codes into
    `dictionary` for strings (−1 where null). `valid` is None when no value is null. Where the event is of another source the value is null.
    A dictionary is sorted by UTF-8 bytes, so codes compare as texts do; fields whose texts are compared or meet as keys share one.
    """

    type: ColumnType
    data: npt.NDArray[np.int64] | npt.NDArray[np.float64] | npt.NDArray[np.int32]
    valid: npt.NDArray[np.bool_] | None = None
    dictionary: pa.Array | None = None

    def slice(self, start: int, stop: int) -> Values:
        """Some neighbouring rows; nothing is copied."""
        return replace(self, data=self.data[start:stop], valid=None if self.valid is None else self.valid[start:stop])


class Ids(Protocol):
    """Event ids by position."""

    def slice(self, offset: int, length: int) -> pa.ChunkedArray:
        """Those of some neighbouring events, int64 or string."""


class History(Protocol):
    """`n` deduplicated events in the total order."""

    @property
    def n(self) -> int:
        """How many."""

    @property
    def id_type(self) -> ColumnType:
        """The type of the dataset's `event_id`: int64 or string."""

    @property
    def ids(self) -> Ids:
        """Their ids."""

    def window(self, start: int, stop: int, fields: Collection[Key] | None = None) -> Events:
        """The events at positions `start … stop − 1`; with some fields, or all."""

    def position_after(self, at_us: int) -> int:
        """How many events are not later than an instant."""

    def instants_at(self, positions: Int64s) -> Int64s:
        """The instants of some events, whatever their order."""

    def first_instant(self, source: int) -> int | None:
        """When the first event of a source happened; None if there is none."""


@dataclass(frozen=True)
class Arrivals:
    """When events arrived (`decisions.md` D21): `at` int64 µs, and `place` int64, which orders as arrival places do."""

    at: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]

    def take(self, positions: slice | Int64s | npt.NDArray[np.bool_]) -> Arrivals:
        """Those of some positions."""
        return Arrivals(self.at[positions], self.place[positions])


@dataclass(frozen=True)
class Events:
    """`n` deduplicated events in the total order, in memory.

    `ts` int64 µs; `source` int8 index into `closure.sources`; `ids` an Arrow chunked array of int64 or string (the dataset's `event_id`);
    `fields[(source name, field name)]`. `arrivals` is known only where the task asks for it.
    """

    n: int
    ts: Int64s
    source: npt.NDArray[np.int8]
    ids: Ids
    id_type: ColumnType
    fields: Mapping[Key, Values]
    arrivals: Arrivals | None = None

    def window(self, start: int, stop: int, fields: Collection[Key] | None = None) -> Events:
        """As `History.window`; nothing is copied."""
        wanted = self.fields if fields is None else fields
        if (start, stop) == (0, self.n) and fields is None:
            return self
        return Events(stop - start, self.ts[start:stop], self.source[start:stop], self.ids.slice(start, stop - start), self.id_type,
                      {key: self.fields[key].slice(start, stop) for key in wanted},
                      None if self.arrivals is None else self.arrivals.take(slice(start, stop)))

    def position_after(self, at_us: int) -> int:
        """As `History.position_after`."""
        return int(np.searchsorted(self.ts, at_us, "right"))

    def instants_at(self, positions: Int64s) -> Int64s:
        """As `History.instants_at`."""
        return self.ts[positions]

    def first_instant(self, source: int) -> int | None:
        """As `History.first_instant`."""
        own = self.source == source
        first = int(np.argmax(own)) if self.n else 0
        return int(self.ts[first]) if self.n and own[first] else None
