"""Slots: the events of each key side by side, in the total order.

Key `k` owns slots `first[k] … first[k + 1]`, one per event of the group, so that a window of a key is a range of slots and everything
a feature reads lies close together. Values enter as int64, floats as bits that order as they do, so one set of kernels serves all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

READ_INT64 = types.Array(types.int64, 1, "C", readonly=True)
READ_INT32 = types.Array(types.int32, 1, "C", readonly=True)
READ_BOOL = types.Array(types.boolean, 1, "C", readonly=True)
INT64S, INT32S, INT8S = types.int64[::1], types.int32[::1], types.int8[::1]
BOOLS, FLOATS = types.boolean[::1], types.float64[::1]
MOST_SLOTS = 2**31 - 2
_BLOCK = 1 << 20


@compiled(types.int32(READ_INT32, READ_BOOL, INT32S))
def count_slots(key: Any, is_event: Any, counts: Any) -> Any:
    """Add each key's number of events to `counts`; returns the greatest key seen, -1 if none, -2 if one is below -1."""
    greatest = np.int32(-1)
    for i in range(key.shape[0]):
        k = key[i]
        if k < -1:
            return np.int32(-2)
        greatest = max(greatest, k)
        if k >= 0 and k < counts.shape[0] and is_event[i]:
            counts[k] += 1
    return greatest


@compiled(types.void(READ_INT32, READ_BOOL, INT32S, INT32S))
def place(key: Any, is_event: Any, cursor: Any, slot_of: Any) -> None:
    """Give every event its slot (-1 for positions that are none); `cursor` starts at each key's first slot."""
    for i in range(key.shape[0]):
        k = key[i]
        if k >= 0 and is_event[i]:
            slot_of[i] = cursor[k]
            cursor[k] += 1
        else:
            slot_of[i] = -1


@compiled(types.void(INT32S, READ_INT64, INT64S))
def scatter(slot_of: Any, values: Any, out: Any) -> None:
    """Write each event's value to its slot."""
    for i in range(values.shape[0]):
        slot = slot_of[i]
        if slot >= 0:
            out[slot] = values[i]


@compiled(types.void(INT32S, READ_BOOL, BOOLS))
def scatter_marks(slot_of: Any, marks: Any, out: Any) -> None:
    """Write each event's mark to its slot."""
    for i in range(marks.shape[0]):
        slot = slot_of[i]
        if slot >= 0:
            out[slot] = marks[i]


@dataclass(frozen=True)
class Slots:
    """The slots of one group.

    `first` int32[n_keys + 1]; `slot_of` int32[N] maps a position to its slot or -1 (needed only while columns are gathered);
    `ts` int64[n] the instant per slot; `fullest` the greatest number of events of one key.
    """

    n: int
    first: Int32s
    slot_of: Int32s
    ts: Int64s
    fullest: int

    def gather(self, values: npt.NDArray[Any], valid: Bools | None) -> Int64s:
        """The values per slot as int64, floats as ordered bits, 0 where null."""
        out = np.zeros(self.n, np.int64)
        for start in range(0, values.shape[0], _BLOCK):
            block = lower(values[start:start + _BLOCK])
            if valid is not None:
                block = np.where(valid[start:start + _BLOCK], block, 0)
            scatter(self.slot_of[start:start + _BLOCK], freeze(block), out)
        return out

    def gather_marks(self, marks: Bools) -> Bools:
        """The marks per slot."""
        out = np.zeros(self.n, np.bool_)
        scatter_marks(self.slot_of, freeze(marks), out)
        return out


def build_slots(ts: Int64s, key: Int32s, is_event: Bools, n_keys: int) -> Slots:
    """Count, lay out and place the events of each key in two walks over the positions.

    Raises:
        ValueError: a key is outside of -1 … n_keys - 1, or there are 2³¹ - 2 events or more.
    """
    if ts.shape[0] >= MOST_SLOTS:
        raise ValueError(f"{ts.shape[0]} events do not fit 32-bit slots; split the work by key")
    first = np.zeros(n_keys + 1, np.int32)
    greatest = count_slots(freeze(key), freeze(is_event), first[1:])
    if greatest == -2 or greatest >= n_keys:
        raise ValueError(f"keys must be -1 … {n_keys - 1}")
    fullest = int(first.max(initial=0))
    np.cumsum(first, out=first)
    slot_of = np.empty(ts.shape[0], np.int32)
    place(freeze(key), freeze(is_event), first[:-1].copy(), slot_of)
    slots = Slots(int(first[-1]), first, slot_of, np.empty(int(first[-1]), np.int64), fullest)
    scatter(slot_of, freeze(ts), slots.ts)
    return slots


def freeze(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A contiguous read-only view: kernels take inputs as read-only, for columns that come from Arrow are."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def lower(values: npt.NDArray[Any]) -> Int64s:
    """Values as int64: integers widened, floats as bits that order as the floats do (−0.0 as 0.0)."""
    if values.dtype != np.float64:
        return values.astype(np.int64, copy=False)
    bits = (values + 0.0).view(np.int64)
    return bits ^ ((bits >> 63) & np.int64(2**63 - 1))


def raise_to(values: Int64s, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The opposite of `lower`: int64 back to the type of the column they came from."""
    if dtype != np.float64:
        return values.astype(dtype, copy=False)
    return (values ^ ((values >> 63) & np.int64(2**63 - 1))).view(np.float64)
