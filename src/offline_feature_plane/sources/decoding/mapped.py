"""Members of another tool's records as ours: what a mapping shares for columns and for documents (`domain.foreign_records`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.foreign_records import UNIT_US, UNVERSIONED, Lifting
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US
from offline_feature_plane.kernels.instant_texts import read_instants, read_walls
from offline_feature_plane.kernels.json_kinds import ABSENT, INTEGER, OTHER, TEXT
from offline_feature_plane.kernels.typed_texts import read_integers
from offline_feature_plane.sources.decoding.batches import STORED, places
from offline_feature_plane.sources.decoding.spelled import Spelled
from offline_feature_plane.sources.decoding.wanted import Bytes, Int64s
from offline_feature_plane.wall_clocks import wall_to_utc

__all__ = ["TIMES", "Gathered", "Moments", "constant", "gathered", "instants_in", "on_walls"]

Bools = npt.NDArray[np.bool_]

TIMES: Final = ("ts_utc", "log_time_utc")
_COUNTED: Final = frozenset({"event_id", "schema_version", "platform_run_id", "scenario_run_id", "offset"})  # whose numbers are texts
_MOST: Final = 1 << 62


@dataclass(frozen=True)
class Gathered:
    """Members by their rows in `STORED`, and which records the law must see."""

    data: Bytes
    kinds: npt.NDArray[np.int8]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    asks: Bools


@dataclass(frozen=True)
class Moments:
    """A time of every record in µs, and which of them are for the law."""

    us: Int64s
    doubted: Bools


def gathered(data: Bytes, said: Mapping[str, Spelled], fixed: Mapping[str, Any], n: int) -> Gathered:
    """Members of n records as `STORED` has them, but for times and payload, which stay absent.

    Args:
        data: where those stand that the records have.
        said: these, by name.
        fixed: what all records share, for the others.
        n: records.
    """
    kinds, starts, ends = places(len(STORED), n)
    asks, parts, size = np.zeros(n, np.bool_), [data], len(data)
    for row, name in enumerate(STORED):
        if name in TIMES or name == "payload":
            continue
        if (one := said.get(name)) is not None:
            kinds[row], starts[row], ends[row] = one.kinds, one.starts, one.ends
            asks |= one.asks
        absent = kinds[row] == ABSENT
        value = fixed.get(name) if one is None else None
        if name == "schema_version" and value is None:
            value = UNVERSIONED
        if value is not None and absent.any():
            text = np.frombuffer(str(value).encode("utf-8", "surrogatepass"), np.uint8)
            where = slice(None) if one is None else absent  # what no record says is one value for all
            kinds[row, where], starts[row, where], ends[row, where] = _kind_of(value), size, size + len(text)
            parts.append(text)
            size += len(text)
        if name in _COUNTED:
            asks |= _as_texts(data, kinds[row], starts[row])
        elif name == "partition":
            kinds[row, kinds[row] == TEXT] = INTEGER
    return Gathered(np.concatenate(parts), kinds, starts, ends, asks)


def _kind_of(value: Any) -> int:
    return TEXT if type(value) is str else INTEGER if type(value) is int else OTHER


def _as_texts(data: Bytes, kinds: npt.NDArray[np.int8], starts: Int64s) -> Bools:
    """Let numbers be texts. −0 is 0 as a number, but not as a text, so that it is for the law."""
    numbers = kinds == INTEGER
    kinds[numbers] = TEXT
    negative = np.flatnonzero(numbers)
    asks = np.zeros(len(kinds), np.bool_)
    if len(negative) and len(data):
        asks[negative] = data.take(starts[negative], mode="clip") == ord("-")
    return asks


def constant(value: Any, n: int) -> Spelled:
    """One value for n records."""
    none = Spelled.nothing(n)
    if value is None:
        return none
    text = np.frombuffer(str(value).encode("utf-8", "surrogatepass"), np.uint8)
    return Spelled(text, np.full(n, _kind_of(value), np.int8), none.starts, none.ends + len(text), none.asks)


def instants_in(name: str, said: Spelled, lifting: Lifting) -> Moments:
    """The times of a member that is texts, or numbers of its unit."""
    n = len(said.kinds)
    us, asks = np.zeros(n, np.int64), np.zeros(n, np.bool_)
    unit = lifting.places[name].unit
    if unit is not None:
        per = UNIT_US[unit]
        read_integers(said.data, said.kinds, said.starts, said.ends, _MOST, False, us, asks)  # noqa: FBT003 - kernels have no keywords
        asks |= (said.kinds != INTEGER) | (us > LATEST_US // per) | (us < -(-EARLIEST_US // per))
        return Moments(np.where(asks, 0, us) * per, asks | said.asks)
    read_instants(said.data, said.kinds, said.starts, said.ends, us, asks)
    if asks.any():
        walls = np.zeros(n, np.bool_)
        read_walls(said.data, said.kinds, said.starts, said.ends, us, asks, walls)
        rows = np.flatnonzero(walls)
        found = on_walls(us[rows], lifting.zone)
        us[rows], asks[rows] = found.us, found.doubted
    return Moments(us, asks | said.asks | (said.kinds == ABSENT))


def on_walls(us: Int64s, zone: str | None) -> Moments:
    """Readings of a wall of the years 1 to 9999 as instants; without a zone they are for the law."""
    if zone is None:
        return Moments(us, np.ones(len(us), np.bool_))
    instants, doubted = wall_to_utc(us, zone)
    doubted = doubted | (instants < EARLIEST_US) | (instants > LATEST_US)
    return Moments(np.where(doubted, 0, instants), doubted)
