"""Order statistics of sliding windows: quantiles by a tree of counts per key and window (`features.md` Numbers).

```
   values of a key   3  9  3  7          ranks   0  3  1  2        ties by place, which changes no value
   tree of counts    how many of the values up to a rank are inside: entering and leaving add and subtract along one path
   place k           the path down to the k-th value that is inside
```

Each tree shares the layout of the slots, so memory is four bytes per slot and window; an event enters and leaves once, each in log n steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.edits import Edits
from offline_feature_plane.kernels.exact import divide_wide
from offline_feature_plane.kernels.limbs import UINT64S, add_shifted, nearest, positive, split, times
from offline_feature_plane.kernels.reducing import Answer, Argument, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import BOOLS, FLOATS, INT32S, INT64S, Bools, Int32s, Int64s, raise_to

_PRECISION = 53
_WIDEST = 36   # limbs that hold any two float64 times a weight, and two below the point
_ZERO = np.uint64(0)


@register_jitable
def count_value(tree: Any, base: Any, size: Any, rank: Any, by: Any) -> None:
    """Count `by` more values of a rank in the tree at `tree[base … base + size]`."""
    place = np.int64(rank) + 1
    while place <= size:
        tree[base + place - 1] += by
        place += place & -place


@register_jitable
def count_edits(edits: Any, marks: Any, rank: Any, owner: Any, first: Any, tree: Any, k: Any, inside: Any) -> Any:
    """Count the marked slots that enter and leave; the key of the slot that moved last, from `k` on, and how many are inside."""
    for edit in edits:
        slot = abs(edit) - 1
        if marks.shape[0] == 0 or marks[slot]:
            k = np.int64(owner[slot])
            by = np.int32(1) if edit > 0 else np.int32(-1)
            count_value(tree, np.int64(first[k]), np.int64(first[k + 1]) - np.int64(first[k]), rank[slot], by)
            inside += by
    return k, inside


@register_jitable
def rank_at(tree: Any, base: Any, size: Any, place: Any) -> Any:
    """The rank of the value at `place` (0 is the least) among those that are inside."""
    step, at = np.int64(1), np.int64(0)
    while step * 2 <= size:
        step *= 2
    while step > 0:
        if at + step <= size and tree[base + at + step - 1] <= place:
            at += step
            place -= tree[base + at - 1]
        step //= 2
    return at


@compiled(types.void(INT32S, INT32S, types.int32[:, ::1], INT64S, INT64S, BOOLS, INT32S, INT32S, types.int32[:, ::1], INT32S, types.int64,
                     types.int64, types.int64[:, ::1], types.int64[:, ::1], types.int64[:, ::1], types.boolean[:, ::1]))
def find_places(key: Any, hi: Any, lo: Any, windows: Any,  # noqa: C901 - one walk, one kernel
                ordered: Any, marks: Any, rank: Any, first: Any, tree: Any, state: Any, numerator: Any,
                denominator: Any, below: Any, above: Any, part: Any, valid: Any) -> None:
    """Write per row and window the two values around place (n − 1) · numerator ÷ denominator, and the part of the way between them.

    `state` holds per key the end of the slots that entered, then per window its lower end and how many are inside.
    """
    stride = 2 * windows.shape[0] + 1
    n = key.shape[0]
    for r in range(n):
        k = key[r]
        for j in range(windows.shape[0]):
            below[j, r] = above[j, r] = part[j, r] = 0
            valid[j, r] = False
        if k < 0:
            continue
        base, at = np.int64(k) * stride, np.int64(first[k])
        size = np.int64(first[k + 1]) - at
        entered, end = state[base], hi[r]
        state[base] = end
        for j in range(windows.shape[0]):
            place = base + 1 + 2 * j
            start, inside = lo[windows[j], r], state[place + 1]
            for slot in range(state[place], min(start, entered)):
                if marks.shape[0] == 0 or marks[slot]:
                    count_value(tree[j], at, size, rank[slot], np.int32(-1))
                    inside -= 1
            for slot in range(max(entered, start), end):
                if marks.shape[0] == 0 or marks[slot]:
                    count_value(tree[j], at, size, rank[slot], np.int32(1))
                    inside += 1
            state[place], state[place + 1] = start, inside
            if inside > 0:
                ahead = np.int64(inside - 1) * numerator
                low = ahead // denominator
                valid[j, r] = True
                below[j, r] = above[j, r] = ordered[at + rank_at(tree[j], at, size, low)]
                part[j, r] = ahead - low * denominator
                if part[j, r] > 0:
                    above[j, r] = ordered[at + rank_at(tree[j], at, size, low + 1)]


@compiled(types.void(INT64S, INT64S, INT64S, types.int64, types.int64, FLOATS))
def between_integers(below: Any, above: Any, part: Any, whole: Any, unit: Any, out: Any) -> None:
    """The float64 nearest to (below · (whole − part) + above · part) ÷ (whole · unit)."""
    for r in range(below.shape[0]):
        high, low = np.int64(0), _ZERO
        for value, weight in ((below[r], whole - part[r]), (above[r], part[r])):
            over, under = times(np.uint64(-value) if value < 0 else np.uint64(value), np.uint64(weight))
            before = low
            if value < 0:
                low -= under
                high -= np.int64(over) + (1 if before < under else 0)
            else:
                low += under
                high += np.int64(over) + (1 if low < before else 0)
        out[r] = divide_wide(high, low, np.uint64(whole), np.uint64(unit))


@compiled(types.void(FLOATS, FLOATS, INT64S, types.int64, UINT64S, FLOATS))
def between_floats(below: Any, above: Any, part: Any, whole: Any, limbs: Any, out: Any) -> None:
    """The float64 nearest to (below · (whole − part) + above · part) ÷ whole; `limbs` has room for the widest sum."""
    for r in range(below.shape[0]):
        out[r] = below[r]
        if part[r] == 0 or below[r] == above[r]:
            continue
        first, lowest = math.frexp(below[r])
        second, highest = math.frexp(above[r])
        least = min(lowest, highest) if first != 0.0 and second != 0.0 else lowest if first != 0.0 else highest
        size = (max(abs(lowest - least) if first != 0.0 else 0, abs(highest - least) if second != 0.0 else 0) + _PRECISION + 16) // 64 + 1
        limbs[:size + 2] = _ZERO
        for fraction, exponent, weight in ((first, lowest, whole - part[r]), (second, highest, part[r])):
            if fraction != 0.0:
                over, under = times(np.uint64(math.ldexp(abs(fraction), _PRECISION)), np.uint64(weight))
                add_shifted(limbs, 2, size, over, under, np.int64(exponent - least), fraction < 0.0)
        negative = positive(limbs, 2, size)
        used = size + 2
        while used > 2 and limbs[used - 1] == _ZERO:
            used -= 1
        more = split(limbs, used, np.uint64(whole))
        found = nearest(limbs, used, least - _PRECISION - 128, more)
        out[r] = -found if negative and found != 0.0 else found


def ranked(argument: Argument) -> tuple[Int64s, Int32s, Int32s]:
    """The values of each key in their order, each slot's rank among them, and each slot's key."""
    slots, values = argument.slots, argument.values
    owner = np.repeat(np.arange(slots.first.shape[0] - 1, dtype=np.int32), np.diff(slots.first))
    order = np.lexsort((values, owner))
    rank = np.empty(slots.n, np.int32)
    rank[order] = np.arange(slots.n, dtype=np.int32) - slots.first[owner]
    return values[order], rank, owner


class Ranks:
    """The values around one place of some windows: `below`, `above`, `part` (of `whole`) and `valid` hold a line per window."""

    def __init__(self, inputs: Inputs, feature: FeatureRequest, windows: Sequence[int]) -> None:
        slots = inputs.slots
        self._ordered, self._rank, _ = inputs.argument.once(ranked)
        self._first, self._marks, self._windows = slots.first, inputs.argument.marks, np.array(windows, np.int64)
        self._tree = np.zeros((len(windows), slots.n), np.int32)
        state = np.zeros((slots.first.shape[0] - 1, 2 * len(windows) + 1), np.int32)
        state[:, 0] = slots.first[:-1]
        state[:, 1::2] = slots.first[:-1, None]
        self._state = state.reshape(-1)
        self._numerator, self.whole = _place(feature)
        self.below, self.above, self.part = (np.empty((len(windows), inputs.block), np.int64) for _ in range(3))
        self.valid = np.empty((len(windows), inputs.block), np.bool_)

    def advance(self, rows: Located) -> None:
        """Hold a block's results."""
        find_places(rows.key, rows.hi, rows.lo, self._windows, self._ordered, self._marks, self._rank, self._first, self._tree, self._state,
                    self._numerator, self.whole, self.below, self.above, self.part, self.valid)


@compiled(types.void(INT32S, INT64S, INT64S, BOOLS, INT32S, INT32S, INT32S, INT32S, types.int64, types.int64, INT64S, INT64S, INT64S,
                     INT64S, BOOLS))
def follow_places(edits: Any, ends: Any, ordered: Any, marks: Any, rank: Any, owner: Any, first: Any, tree: Any, numerator: Any,
                  denominator: Any, state: Any, below: Any, above: Any, part: Any, valid: Any) -> None:
    """Write what `find_places` does; `state` holds the key of the slot that came or went last, and how many are inside."""
    k, inside, start = state[0], state[1], np.int64(0)
    for r in range(ends.shape[0]):
        k, inside = count_edits(edits[start:ends[r]], marks, rank, owner, first, tree, k, inside)
        start = ends[r]
        below[r] = above[r] = part[r] = 0
        valid[r] = inside > 0
        if inside > 0:
            base, size = np.int64(first[k]), np.int64(first[k + 1]) - np.int64(first[k])
            ahead = (inside - 1) * numerator
            low = ahead // denominator
            below[r] = above[r] = ordered[base + rank_at(tree, base, size, low)]
            part[r] = ahead - low * denominator
            if part[r] > 0:
                above[r] = ordered[base + rank_at(tree, base, size, low + 1)]
    state[0], state[1] = k, inside


class QuantileOneByOne:
    """Places among the values of a window that is edited, and what lies there."""

    def __init__(self, inputs: Inputs, feature: FeatureRequest) -> None:
        self._feature, self._marks, self._first = feature, inputs.argument.marks, inputs.slots.first
        self._ordered, self._rank, self._owner = inputs.argument.once(ranked)
        self._tree, self._state = np.zeros(inputs.slots.n, np.int32), np.zeros(2, np.int64)

    def advance(self, edits: Edits) -> tuple[npt.NDArray[np.float64], Bools]:
        """Find the values around the place, and what lies between them."""
        rows = len(edits.ends)
        below, above, part = (np.empty(rows, np.int64) for _ in range(3))
        out, valid = np.empty(rows), np.empty(rows, np.bool_)
        numerator, whole = _place(self._feature)
        follow_places(edits.slots, edits.ends, self._ordered, self._marks, self._rank, self._owner, self._first, self._tree, numerator,
                      whole, self._state, below, above, part, valid)
        _between(self._feature, below, above, part, whole, out)
        return out[None], valid[None]


def _place(feature: FeatureRequest) -> tuple[int, int]:
    """The part of the way from the least value to the greatest."""
    return Decimal(feature.share or "0.5").as_integer_ratio()


def _between(feature: FeatureRequest, below: Int64s, above: Int64s, part: Int64s, whole: int, out: npt.NDArray[Any]) -> None:
    """Write what lies `part` of `whole` between two values."""
    if feature.values is not None and feature.values.dtype == np.float64:
        kind = np.dtype(np.float64)
        between_floats(raise_to(below, kind), raise_to(above, kind), part, whole, np.empty(_WIDEST, np.uint64), out)
    else:
        between_integers(below, above, part, whole, 10**feature.scale, out)


class QuantileReducer(Reducer[Ranks]):
    """The exact value at a place of a window's ordered values, between two of them in proportion, rounded once."""

    result, state, needs_numbers = np.float64, "ranks", True

    def open_state(self, inputs: Inputs, feature: FeatureRequest, windows: Sequence[int]) -> Ranks:
        """Trees of counts for one place."""
        return Ranks(inputs, feature, windows)

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: Ranks, line: int) -> Answer:  # noqa: ARG002 - one shape for all
        """The values around the place, and what lies between them."""
        def read(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            valid[:] = state.valid[line, :rows.n]
            _between(feature, state.below[line, :rows.n], state.above[line, :rows.n], state.part[line, :rows.n], state.whole, out)
        return read

    def follow(self, inputs: Inputs, feature: FeatureRequest) -> QuantileOneByOne:
        """A tree of counts."""
        return QuantileOneByOne(inputs, feature)
