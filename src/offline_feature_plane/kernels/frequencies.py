"""The most frequent values of sliding windows, by a heap per key and window (`docs/decisions/0028`).

```
   values of a key     A  B  A  C  B        numbers    0  1  0  2  1        in the order of their first occurrence
   weight of a number  occurrences inside · 2³² + the slot of the latest      so weights of values that are inside differ
   heap of a window    numbers by weight, the greatest on top                 all of the key's; what is outside weighs 0, below the others
```

A slot enters and leaves once, each in log n steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.distinct import links_of, numbers_of
from offline_feature_plane.kernels.edits import Edits
from offline_feature_plane.kernels.reducing import Answer, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import BOOLS, INT32S, INT64S, Bools, Int32s, Int64s, raise_to

_ONCE = np.int64(2**32)
_SLOT = np.int64(2**32 - 1)


@register_jitable
def _rise(heap: Any, at: Any, weight: Any, base: Any, number: Any) -> None:
    """Move a number that became heavier to its place."""
    place, mine = np.int64(at[number]), weight[number]
    while place > base:
        parent = base + ((place - base - 1) >> 1)
        other = heap[parent]
        if weight[other] >= mine:
            break
        heap[place], at[other] = other, place
        place = parent
    heap[place], at[number] = number, place


@register_jitable
def _sink(heap: Any, at: Any, weight: Any, base: Any, end: Any, number: Any) -> None:
    """Move a number that became lighter to its place."""
    place, mine = np.int64(at[number]), weight[number]
    while True:
        child = 2 * place - base + 1
        if child >= end:
            break
        if child + 1 < end and weight[heap[child + 1]] > weight[heap[child]]:
            child += 1
        other = heap[child]
        if weight[other] <= mine:
            break
        heap[place], at[other] = other, place
        place = child
    heap[place], at[number] = number, place


@register_jitable
def _heaviest(heap: Any, weight: Any, base: Any, end: Any, edge: Any, found: Any, r: Any) -> None:
    """Write the latest slots of the heaviest numbers to `found[…, r]`, then -1; `edge` holds places below those that were taken."""
    edge[0], size = base, min(1, end - base)
    for i in range(found.shape[0]):
        found[i, r] = -1
        if size == 0:
            continue
        best = 0
        for j in range(1, size):
            if weight[heap[edge[j]]] > weight[heap[edge[best]]]:
                best = j
        place = np.int64(edge[best])
        mine = weight[heap[place]]
        if mine < _ONCE:
            size = 0
            continue
        found[i, r] = mine & _SLOT
        child = 2 * place - base + 1
        size -= 1
        edge[best] = edge[size]
        for j in range(child, min(child + 2, end)):
            edge[size] = j
            size += 1


@compiled(types.void(INT32S, INT32S, types.int32[:, ::1], INT64S, INT32S, INT32S, INT32S, types.int64[:, ::1], types.int32[:, ::1],
                     types.int32[:, ::1], INT32S, types.int32[:, :, ::1]))
def find_frequent(key: Any, hi: Any, lo: Any, windows: Any,
                  number: Any, first: Any, state: Any, weight: Any, heap: Any, at: Any, edge: Any, found: Any) -> None:
    """Write per window and row the latest slots of the most frequent values, as many as `found` has places for.

    `state` holds per key the end of the slots that entered, then the lower end of each window.
    """
    stride = windows.shape[0] + 1
    n = key.shape[0]
    for r in range(n):
        k = key[r]
        if k < 0:
            found[:, :, r] = -1
            continue
        base, low, up = np.int64(k) * stride, np.int64(first[k]), np.int64(first[k + 1])
        entered, end = state[base], hi[r]
        state[base] = end
        for j in range(windows.shape[0]):
            mine, pile, places = weight[j], heap[j], at[j]
            start = lo[windows[j], r]
            for slot in range(state[base + 1 + j], min(start, entered)):
                one = number[slot]
                if one >= 0:
                    mine[one] = mine[one] - _ONCE if mine[one] >= 2 * _ONCE else 0
                    _sink(pile, places, mine, low, up, one)
            for slot in range(max(entered, start), end):
                one = number[slot]
                if one >= 0:
                    mine[one] = (mine[one] & ~_SLOT) + _ONCE + slot
                    _rise(pile, places, mine, low, one)
            state[base + 1 + j] = start
            _heaviest(pile, mine, low, up, edge, found[j], r)


class Frequent:
    """The latest slots of the most frequent values of some windows: `found` holds a table per window, a line per place."""

    def __init__(self, inputs: Inputs, windows: Sequence[int], most: int) -> None:
        slots = inputs.slots
        self._number, self._first, self._windows = inputs.argument.once(numbers_of), slots.first, np.array(windows, np.int64)
        self._state = np.repeat(slots.first[:-1], len(windows) + 1)
        self._weight = np.zeros((len(windows), slots.n), np.int64)
        self._heap = np.tile(np.arange(slots.n, dtype=np.int32), (len(windows), 1))
        self._at, self._edge = self._heap.copy(), np.empty(most + 2, np.int32)
        self.found = np.empty((len(windows), most, inputs.block), np.int32)

    def advance(self, rows: Located) -> None:
        """Hold a block's results."""
        find_frequent(rows.key, rows.hi, rows.lo, self._windows, self._number, self._first, self._state, self._weight, self._heap,
                      self._at, self._edge, self.found)


@compiled(types.void(INT32S, INT64S, INT32S, INT32S, BOOLS, INT32S, INT32S, INT64S, INT32S, INT32S, INT64S, INT32S, types.int32[:, ::1]))
def follow_frequent(edits: Any, ends: Any, number: Any, before: Any, inside: Any, owner: Any,
                    first: Any, weight: Any, heap: Any, at: Any, state: Any, edge: Any, found: Any) -> None:
    """Write what `find_frequent` does. `inside` marks slots; of a value whose latest slot leaves, `before` leads to the latest that stays.

    `state` holds the key of the slot that came or went last.
    """
    k, done = state[0], np.int64(0)
    for r in range(ends.shape[0]):
        while done < ends[r]:
            edit = edits[done]
            slot = np.int64(abs(edit) - 1)
            one = number[slot]
            done += 1
            if one < 0:
                continue
            k = np.int64(owner[slot])
            low, up = np.int64(first[k]), np.int64(first[k + 1])
            was = weight[one]
            inside[slot] = edit > 0
            if edit > 0:
                weight[one] = (was & ~_SLOT) + _ONCE + max(was & _SLOT, slot)
                _rise(heap, at, weight, low, one)
            else:
                latest = was & _SLOT
                if was < 2 * _ONCE:
                    weight[one] = 0
                else:
                    while not inside[latest]:
                        latest = np.int64(before[latest])
                    weight[one] = (was & ~_SLOT) - _ONCE + latest
                _sink(heap, at, weight, low, up, one)
        if k < 0:
            found[:, r] = -1
        else:
            _heaviest(heap, weight, np.int64(first[k]), np.int64(first[k + 1]), edge, found, r)
    state[0] = k


class FrequentOneByOne:
    """The most frequent values of a window that is edited, a line per place."""

    def __init__(self, inputs: Inputs, feature: FeatureRequest) -> None:
        slots, argument = inputs.slots, inputs.argument
        self._values, self._number, self._first = argument.values, argument.once(numbers_of), slots.first
        self._before, self._inside = argument.once(links_of)[0], np.zeros(slots.n, np.bool_)
        self._owner = np.repeat(np.arange(slots.first.shape[0] - 1, dtype=np.int32), np.diff(slots.first))
        self._weight, self._heap = np.zeros(slots.n, np.int64), np.arange(slots.n, dtype=np.int32)
        self._at, self._edge = self._heap.copy(), np.empty(feature.most + 2, np.int32)
        self._state, self._most = np.full(1, -1, np.int64), feature.most
        self._kind = np.dtype(np.int64) if feature.values is None else feature.values.dtype

    def advance(self, edits: Edits) -> tuple[npt.NDArray[Any], Bools]:
        """Take the values at the slots that are found."""
        found = np.empty((self._most, len(edits.ends)), np.int32)
        follow_frequent(edits.slots, edits.ends, self._number, self._before, self._inside, self._owner, self._first, self._weight,
                        self._heap, self._at, self._state, self._edge, found)
        return _values_at(self._values, found, self._kind)


def _values_at(values: Int64s, slots: Int32s, kind: np.dtype[Any]) -> tuple[npt.NDArray[Any], Bools]:
    """The values at some slots, and 0 where there is none."""
    valid = slots >= 0
    out = raise_to(np.where(valid, values[slots] if values.size else 0, 0), kind)
    out[~valid] = 0
    return out, valid


class FrequentReducer(Reducer[Frequent]):
    """The value at one place of those that a window has most often."""

    state = "frequent"

    def open_state(self, inputs: Inputs, feature: FeatureRequest, windows: Sequence[int]) -> Frequent:
        """A heap of values per window."""
        return Frequent(inputs, windows, feature.most)

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: Frequent, line: int) -> Answer:
        """The value at the slot that was found."""
        values, place = inputs.argument.values, feature.place

        def read(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            out[:], valid[:] = _values_at(values, state.found[line, place, :rows.n], out.dtype)
        return read

    def follow(self, inputs: Inputs, feature: FeatureRequest) -> FrequentOneByOne:
        """A heap of values."""
        return FrequentOneByOne(inputs, feature)
