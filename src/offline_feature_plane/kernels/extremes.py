"""Greatest and least values of sliding windows by one monotonic stack per key that serves all windows.

```
   values of a key    5  3  4  2  1          stack after each: only what no later value equals or exceeds
   stack (slots)     [0]                      5
                     [0  1]                   5 3
                     [0  2]                   5 4        4 removes 3
                     [0  2  3]                5 4 2
                     [0  2  3  4]             5 4 2 1
                         ▲ head of a window: the first of them not before its lower end; that is its maximum
```

Nothing ever leaves at the bottom, so each window needs only its own head. Every slot is pushed and removed at most once, and a head moves
forward at most once per push.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.edits import Edits
from offline_feature_plane.kernels.ranks import count_edits, rank_at, ranked
from offline_feature_plane.kernels.reducing import Answer, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import BOOLS, INT32S, INT64S, Bools, raise_to


@compiled(types.void(INT32S, INT32S, types.int32[:, ::1], INT64S, INT64S, BOOLS, types.int64, INT32S, INT32S, INT32S,
                     types.int64[:, ::1], types.boolean[:, ::1]))
def find_greatest(key: Any, hi: Any, lo: Any, windows: Any,
                  values: Any, marks: Any, flip: Any, first: Any, state: Any, stack: Any, out: Any, valid: Any) -> None:
    """Write each row's greatest marked value per window; `flip` = -1 turns the order round and finds the least.

    `state` holds per key: slots pushed, top of the stack, then a head per window; `stack` shares the layout of the slots.
    """
    stride = windows.shape[0] + 2
    n = key.shape[0]
    for r in range(n):
        k = key[r]
        if k < 0:
            for j in range(windows.shape[0]):
                out[j, r] = 0
                valid[j, r] = False
            continue
        base = np.int64(k) * stride
        pushed, top = state[base], state[base + 1]
        lowest, bottom = top, first[k]
        while pushed < hi[r]:
            if marks.shape[0] == 0 or marks[pushed]:
                value = values[pushed] ^ flip
                while top > bottom and (values[stack[top - 1]] ^ flip) <= value:
                    top -= 1
                lowest = min(lowest, top)
                stack[top] = pushed
                top += 1
            pushed += 1
        state[base], state[base + 1] = pushed, top
        for j in range(windows.shape[0]):
            start = lo[windows[j], r]
            head = min(state[base + 2 + j], lowest)
            while head < top and stack[head] < start:
                head += 1
            state[base + 2 + j] = head
            found = head < top
            valid[j, r] = found
            out[j, r] = values[stack[head]] if found else 0


class Extremes:
    """The greatest (or least) values of one column of slots over some windows: `values` and `valid` hold a line per window."""

    def __init__(self, inputs: Inputs, windows: Sequence[int], *, least: bool) -> None:
        self._values, self._marks = inputs.argument.values, inputs.argument.marks
        self._first = inputs.slots.first
        self._windows = np.array(windows, np.int64)
        self._flip = -1 if least else 0
        self._state = np.repeat(self._first[:-1], len(windows) + 2)
        self._stack = np.empty(self._values.shape[0], np.int32)
        self.values, self.valid = np.empty((len(windows), inputs.block), np.int64), np.empty((len(windows), inputs.block), np.bool_)

    def advance(self, rows: Located) -> None:
        """Hold a block's results."""
        find_greatest(rows.key, rows.hi, rows.lo, self._windows, self._values, self._marks, self._flip, self._first, self._state,
                      self._stack, self.values, self.valid)


@compiled(types.void(INT32S, INT64S, INT64S, BOOLS, INT32S, INT32S, INT32S, INT32S, types.boolean, INT64S, INT64S, BOOLS))
def follow_extremes(edits: Any, ends: Any, ordered: Any, marks: Any, rank: Any, owner: Any, first: Any, tree: Any, least: Any, state: Any,
                    out: Any, valid: Any) -> None:
    """Write each row's least or greatest marked value; `state` holds the key of the slot that moved last, and how many are inside."""
    k, inside, start = state[0], state[1], np.int64(0)
    for r in range(ends.shape[0]):
        k, inside = count_edits(edits[start:ends[r]], marks, rank, owner, first, tree, k, inside)
        start = ends[r]
        valid[r], out[r] = inside > 0, 0
        if inside > 0:
            base = np.int64(first[k])
            out[r] = ordered[base + rank_at(tree, base, np.int64(first[k + 1]) - base, np.int64(0) if least else inside - 1)]
    state[0], state[1] = k, inside


class ExtremesOneByOne:
    """The greatest (or least) values of a window that is edited."""

    def __init__(self, inputs: Inputs, kind: np.dtype[Any], *, least: bool) -> None:
        self._ordered, self._rank, self._owner = inputs.argument.once(ranked)
        self._marks, self._first, self._kind, self._least = inputs.argument.marks, inputs.slots.first, kind, least
        self._tree, self._state = np.zeros(inputs.slots.n, np.int32), np.zeros(2, np.int64)

    def advance(self, edits: Edits) -> tuple[npt.NDArray[Any], Bools]:
        """Find them by their places."""
        out, valid = np.empty(len(edits.ends), np.int64), np.empty(len(edits.ends), np.bool_)
        follow_extremes(edits.slots, edits.ends, self._ordered, self._marks, self._rank, self._owner, self._first, self._tree, self._least,
                        self._state, out, valid)
        found = raise_to(out, self._kind)
        return np.where(valid, found, self._kind.type(0))[None], valid[None]


class _ExtremeReducer(Reducer[Extremes]):
    least: ClassVar[bool]

    def open_state(self, inputs: Inputs, feature: FeatureRequest, windows: Sequence[int]) -> Extremes:  # noqa: ARG002 - one shape for all
        """One stack for all windows."""
        return Extremes(inputs, windows, least=self.least)

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: Extremes, line: int) -> Answer:  # noqa: ARG002 - same
        """The state's line, in the argument's own type."""
        def read(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            out[:] = raise_to(state.values[line, :rows.n], out.dtype)
            valid[:] = state.valid[line, :rows.n]
        return read

    def follow(self, inputs: Inputs, feature: FeatureRequest) -> ExtremesOneByOne:
        """A tree of counts."""
        return ExtremesOneByOne(inputs, self.dtype(feature), least=self.least)


class MinReducer(_ExtremeReducer):
    """The least value of a window."""

    state, least = "least", True


class MaxReducer(_ExtremeReducer):
    """The greatest value of a window."""

    state, least = "greatest", False
