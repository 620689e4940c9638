"""Numbers of distinct values in sliding windows, by links between occurrences of a value within its key.

```
   values    A  B  A  C  B          an entering slot is new if its previous occurrence lies before the window;
   before    ·  ·  0  ·  1          a leaving slot takes its value along if its next occurrence is not inside
   after     2  4  ·  ·  ·
```
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.edits import Edits
from offline_feature_plane.kernels.reducing import Answer, Argument, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import BOOLS, INT32S, INT64S, Bools, Int32s, Int64s

_NEVER = np.int32(2**31 - 1)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_THIRTY_TWO = np.uint64(32)


@compiled(types.void(INT64S, BOOLS, INT32S, INT32S, INT32S, INT32S))
def link(values: Any, marks: Any, first: Any, table: Any, before: Any, after: Any) -> None:
    """Link each slot to the previous (-1: none) and next (2³¹-1: none) slot of its key with the same value.

    `table` is scratch for the last slot of each value, a power of two and at least twice the fullest key, filled with -1. Entries of
    former keys lie below the key's first slot, so it is never cleared. An unmarked slot never counts: it seems to have occurred
    before (2³¹-1) and to occur again (-1).
    """
    for k in range(first.shape[0] - 1):
        start, end = first[k], first[k + 1]
        size = 4
        while size < 2 * (end - start):
            size *= 2
        mask = np.uint64(size - 1)
        for slot in range(start, end):
            if marks.shape[0] > 0 and not marks[slot]:
                before[slot], after[slot] = _NEVER, np.int32(-1)
                continue
            value = values[slot]
            mixed = np.uint64(value) * _MIX
            place = (mixed ^ (mixed >> _THIRTY_TWO)) & mask
            last = table[place]
            while last >= start and values[last] != value:
                place = (place + np.uint64(1)) & mask
                last = table[place]
            table[place] = slot
            after[slot] = _NEVER
            before[slot] = -1
            if last >= start:
                before[slot] = last
                after[last] = slot


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


def links_of(argument: Argument) -> tuple[Int32s, Int32s]:
    """The previous and the next slot of each slot's value."""
    n, fullest = argument.slots.n, argument.slots.fullest
    before, after = np.empty(n, np.int32), np.empty(n, np.int32)
    table = np.full(max(4, 1 << (2 * fullest - 1).bit_length()) if fullest else 4, -1, np.int32)
    link(argument.values, argument.marks, argument.slots.first, table, before, after)
    return before, after


def numbers_of(argument: Argument) -> Int32s:
    """The number of each slot's value."""
    before, number = links_of(argument)
    number_values(before, argument.marks, argument.slots.first, number)
    return number


@compiled(types.void(INT32S, INT32S, types.int32[:, ::1], INT64S, INT32S, INT32S, INT32S, types.int64[:, ::1]))
def count_distinct(key: Any, hi: Any, lo: Any, windows: Any,
                   before: Any, after: Any, state: Any, out: Any) -> None:
    """Write each row's number of distinct values per window.

    `state` holds per key the end of the slots that entered, then per window its lower end and count.
    """
    stride = 2 * windows.shape[0] + 1
    n = key.shape[0]
    for r in range(n):
        k = key[r]
        if k < 0:
            for j in range(windows.shape[0]):
                out[j, r] = 0
            continue
        base = np.int64(k) * stride
        entered, end = state[base], hi[r]
        state[base] = end
        for j in range(windows.shape[0]):
            place = base + 1 + 2 * j
            start, count = lo[windows[j], r], state[place + 1]
            for slot in range(state[place], min(start, entered)):
                if after[slot] >= entered:
                    count -= 1
            for slot in range(max(entered, start), end):
                if before[slot] < start:
                    count += 1
            state[place], state[place + 1] = start, count
            out[j, r] = count


class Distinct:
    """Numbers of distinct values of one column of slots over some windows: `counts` holds a line per window."""

    def __init__(self, inputs: Inputs, windows: Sequence[int]) -> None:
        first = inputs.slots.first
        self._windows = np.array(windows, np.int64)
        self._state = np.zeros((first.shape[0] - 1, 2 * len(windows) + 1), np.int32)
        self._state[:, 0] = first[:-1]
        self._state[:, 1::2] = first[:-1, None]
        self._state = self._state.reshape(-1)
        self._before, self._after = links_of(inputs.argument)
        self.counts = np.empty((len(windows), inputs.block), np.int64)

    def advance(self, rows: Located) -> None:
        """Hold a block's results."""
        count_distinct(rows.key, rows.hi, rows.lo, self._windows, self._before, self._after, self._state, self.counts)


@compiled(types.void(INT32S, INT64S, INT32S, INT32S, INT64S, INT64S))
def follow_distinct(edits: Any, ends: Any, number: Any, counts: Any, state: Any, out: Any) -> None:
    """Write each row's number of distinct values; `counts` holds how many slots with a number are inside, `state` the number of numbers."""
    kinds, at = state[0], np.int64(0)
    for r in range(ends.shape[0]):
        while at < ends[r]:
            edit = edits[at]
            one = number[abs(edit) - 1]
            at += 1
            if one < 0:
                continue
            if edit > 0:
                kinds += 1 if counts[one] == 0 else 0
                counts[one] += 1
            else:
                counts[one] -= 1
                kinds -= 1 if counts[one] == 0 else 0
        out[r] = kinds
    state[0] = kinds


class DistinctOneByOne:
    """Numbers of distinct values of a window that is edited."""

    def __init__(self, argument: Argument) -> None:
        self._number = argument.once(numbers_of)
        self._counts, self._state = np.zeros(argument.slots.n, np.int32), np.zeros(1, np.int64)

    def advance(self, edits: Edits) -> tuple[Int64s, None]:
        """Count them."""
        out = np.empty(len(edits.ends), np.int64)
        follow_distinct(edits.slots, edits.ends, self._number, self._counts, self._state, out)
        return out[None], None


class DistinctReducer(Reducer[Distinct]):
    """The number of different values of a window."""

    result, never_null, state = np.int64, True, "distinct"

    def open_state(self, inputs: Inputs, feature: FeatureRequest, windows: Sequence[int]) -> Distinct:  # noqa: ARG002 - one shape for all
        """Links between occurrences, and a count per window."""
        return Distinct(inputs, windows)

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: Distinct, line: int) -> Answer:  # noqa: ARG002 - same
        """The state's line."""
        def read(rows: Located, out: npt.NDArray[Any], _valid: Bools) -> None:
            out[:] = state.counts[line, :rows.n]
        return read

    def follow(self, inputs: Inputs, feature: FeatureRequest) -> DistinctOneByOne:  # noqa: ARG002 - same
        """Counts per value."""
        return DistinctOneByOne(inputs.argument)
