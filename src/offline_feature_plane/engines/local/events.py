"""All admitted events of a build as columns in the total order: what reading hands to selection and features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.columns import ColumnType


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


@dataclass(frozen=True)
class Arrivals:
    """When events arrived (`decisions.md` D21): `at` int64 µs, and `place` int64, which orders as arrival places do."""

    at: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]

    def take(self, positions: npt.NDArray[np.int64]) -> Arrivals:
        """Those of some positions."""
        return Arrivals(self.at[positions], self.place[positions])


@dataclass(frozen=True)
class Events:
    """`n` deduplicated events in the total order.

    `ts` int64 µs; `source` int8 index into `closure.sources`; `ids` an Arrow chunked array of int64 or string (the dataset's `event_id`);
    `fields[(source name, field name)]`. `arrivals` is known only where the task asks for it.
    """

    n: int
    ts: npt.NDArray[np.int64]
    source: npt.NDArray[np.int8]
    ids: pa.ChunkedArray
    id_type: ColumnType
    fields: Mapping[tuple[str, str], Values]
    arrivals: Arrivals | None = None
