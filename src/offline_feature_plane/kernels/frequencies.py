"""How often values occur in sliding windows: the most frequent ones, and how evenly all are spread (`docs/decisions/0028`).

```
   values of a key     A  B  A  C  B        numbers    0  1  0  2  1        in the order of their first occurrence
   weight of a number  occurrences inside · 2³² + the slot of the latest      so weights of values that are inside differ
   heap of a window    numbers by weight, the greatest on top                 all of the key's; what is outside weighs 0, below the others
```

A slot enters and leaves once, each in log n steps. An entropy needs no heap: one more or one less of c changes a sum of integers by what a
table says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.domain.logarithms import POINT
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.distinct import link
from offline_feature_plane.kernels.exact import divide_wide
from offline_feature_plane.kernels.limbs import times
from offline_feature_plane.kernels.reducing import Answer, Argument, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located, prefetch
from offline_feature_plane.kernels.slots import BOOLS, INT32S, INT64S, Bools, Int32s, Int64s, raise_to

_ONCE = np.int64(2**32)
_SLOT = np.int64(2**32 - 1)
_MANTISSA = 62
_ONE, _TWO, _KEPT = np.uint64(1), np.uint64(2), np.uint64(_MANTISSA)
_UNIT = 2.0**-POINT


@compiled(types.void(INT32S, BOOLS, INT32S, INT32S))
def number_values(before: Any, marks: Any, first: Any, number: Any) -> None:
    """Number the values of each key from its first slot on; -1 where a slot is not marked. `before` links equal values."""
    for k in range(first.shape[0] - 1):
        fresh = first[k]
        for slot in range(first[k], first[k + 1]):
            if marks.shape[0] > 0 and not marks[slot]:
                number[slot] = -1
            elif before[slot] < 0:
                number[slot] = fresh
                fresh += np.int32(1)
            else:
                number[slot] = number[before[slot]]


def _numbers(argument: Argument) -> Int32s:
    """The number of each slot's value."""
    n, fullest = argument.slots.n, argument.slots.fullest
    before, after = np.empty(n, np.int32), np.empty(n, np.int32)
    table = np.full(max(4, 1 << (2 * fullest).bit_length()), -1, np.int32)
    link(argument.values, argument.marks, argument.slots.first, table, before, after)
    number_values(before, argument.marks, argument.slots.first, after)
    return after


# --- the most frequent --------------------------------------------------------------------------------------


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
        if r + 24 < n:
            prefetch(state, np.int64(key[r + 24]) * stride)
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
        self._number, self._first, self._windows = inputs.argument.once(_numbers), slots.first, np.array(windows, np.int64)
        self._state = np.repeat(slots.first[:-1], len(windows) + 1)
        self._weight = np.zeros((len(windows), slots.n), np.int64)
        self._heap = np.tile(np.arange(slots.n, dtype=np.int32), (len(windows), 1))
        self._at, self._edge = self._heap.copy(), np.empty(most + 2, np.int32)
        self.found = np.empty((len(windows), most, inputs.block), np.int32)

    def advance(self, rows: Located) -> None:
        """Hold a block's results."""
        find_frequent(rows.key, rows.hi, rows.lo, self._windows, self._number, self._first, self._state, self._weight, self._heap,
                      self._at, self._edge, self.found)


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
            slots = state.found[line, place, :rows.n]
            np.greater_equal(slots, 0, out=valid)
            out[:] = raise_to(np.where(valid, values[slots] if values.size else 0, 0), out.dtype)
            out[~valid] = 0
        return read


# --- entropy ------------------------------------------------------------------------------------------------


@register_jitable
def _log2(number: Any) -> Any:
    """As `domain.logarithms.log2_of`."""
    whole = np.int64(0)
    while number >> (whole + 1) > 0:
        whole += 1
    mantissa, found = np.uint64(number) << np.uint64(_MANTISSA - whole), whole
    for _ in range(POINT):
        high, low = times(mantissa, mantissa)
        mantissa = (high << _TWO) | (low >> _KEPT)
        found <<= 1
        if mantissa >> np.uint64(_MANTISSA + 1) > 0:
            mantissa >>= _ONE
            found |= 1
    return found


@compiled(types.void(INT64S))
def tabulate_steps(steps: Any) -> None:
    """Write by how much c · log₂ c is greater than (c − 1) · log₂ (c − 1), in units of 2^-`POINT`."""
    before = np.int64(0)
    for c in range(1, steps.shape[0]):
        after = c * _log2(c)  # may leave 64 bits; the difference does not
        steps[c] = after - before
        before = after


@compiled(types.void(INT32S, INT32S, types.int32[:, ::1], INT64S, INT32S, INT64S, INT64S, types.int32[:, ::1], types.float64[:, ::1],
                     types.boolean[:, ::1]))
def spread_evenly(key: Any, hi: Any, lo: Any, windows: Any, number: Any,
                  steps: Any, state: Any, counts: Any, out: Any, valid: Any) -> None:
    """Write each row's entropy per window: (n · log₂ n − Σ c · log₂ c) ÷ n.

    `state` holds per key the end of the slots that entered, then per window its lower end, n, and the dividend as two limbs.
    """
    stride = 4 * windows.shape[0] + 1
    rows = key.shape[0]
    for r in range(rows):
        if r + 24 < rows:
            prefetch(state, np.int64(key[r + 24]) * stride)
        k = key[r]
        if k < 0:
            out[:, r], valid[:, r] = 0.0, False
            continue
        base = np.int64(k) * stride
        entered, end = state[base], np.int64(hi[r])
        state[base] = end
        for j in range(windows.shape[0]):
            place = base + 1 + 4 * j
            start, n, low, high = np.int64(lo[windows[j], r]), state[place + 1], np.uint64(state[place + 2]), state[place + 3]
            for slot in range(state[place], min(start, entered)):
                one = number[slot]
                if one >= 0:
                    less = np.uint64(steps[n] - steps[counts[j, one]])
                    high -= 1 if low < less else 0
                    low -= less
                    n -= 1
                    counts[j, one] -= 1
            for slot in range(max(entered, start), end):
                one = number[slot]
                if one >= 0:
                    n += 1
                    counts[j, one] += 1
                    more = np.uint64(steps[n] - steps[counts[j, one]])
                    low += more
                    high += 1 if low < more else 0
            state[place], state[place + 1], state[place + 2], state[place + 3] = start, n, np.int64(low), high
            valid[j, r] = n > 0
            out[j, r] = divide_wide(high, low, np.uint64(n), _ONE) * _UNIT if n > 0 else 0.0


def _steps(argument: Argument) -> Int64s:
    steps = np.zeros(argument.slots.fullest + 1, np.int64)
    tabulate_steps(steps)
    return steps


class Spread:
    """Entropies of one column of slots over some windows: `values` and `valid` hold a line per window."""

    def __init__(self, inputs: Inputs, windows: Sequence[int]) -> None:
        slots = inputs.slots
        self._number, self._steps = inputs.argument.once(_numbers), inputs.argument.once(_steps)
        self._windows = np.array(windows, np.int64)
        state = np.zeros((slots.first.shape[0] - 1, 4 * len(windows) + 1), np.int64)
        state[:, 0] = slots.first[:-1]
        state[:, 1::4] = slots.first[:-1, None]
        self._state, self._counts = state.reshape(-1), np.zeros((len(windows), slots.n), np.int32)
        self.values, self.valid = np.empty((len(windows), inputs.block)), np.empty((len(windows), inputs.block), np.bool_)

    def advance(self, rows: Located) -> None:
        """Hold a block's results."""
        spread_evenly(rows.key, rows.hi, rows.lo, self._windows, self._number, self._steps, self._state, self._counts, self.values,
                      self.valid)


class EntropyReducer(Reducer[Spread]):
    """Bits that a window's values carry."""

    result, state = np.float64, "spread"

    def open_state(self, inputs: Inputs, feature: FeatureRequest, windows: Sequence[int]) -> Spread:  # noqa: ARG002 - one shape for all
        """A count per value and window, and a sum of integers per window."""
        return Spread(inputs, windows)

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: Spread, line: int) -> Answer:  # noqa: ARG002 - same
        """The state's line."""
        def read(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            out[:], valid[:] = state.values[line, :rows.n], state.valid[line, :rows.n]
        return read
