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
from offline_feature_plane.kernels.reducing import Answer, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located, prefetch
from offline_feature_plane.kernels.slots import BOOLS, INT32S, INT64S, Bools, raise_to


@compiled(types.void(INT32S, INT32S, types.int32[:, ::1], INT64S, INT64S, BOOLS, types.int64, INT32S, INT32S, INT32S,
                     types.int64[:, ::1], types.boolean[:, ::1]))
def find_greatest(key: Any, hi: Any, lo: Any, windows: Any,  # noqa: C901 - one walk, one kernel
                  values: Any, marks: Any, flip: Any, first: Any, state: Any, stack: Any, out: Any, valid: Any) -> None:
    """Write each row's greatest marked value per window; `flip` = -1 turns the order round and finds the least.

    `state` holds per key: slots pushed, top of the stack, then a head per window; `stack` shares the layout of the slots.
    """
    stride = windows.shape[0] + 2
    n = key.shape[0]
    for r in range(n):
        if r + 24 < n:
            prefetch(state, np.int64(key[r + 24]) * stride)
        if r + 8 < n and key[r + 8] >= 0:
            ahead = np.int64(key[r + 8]) * stride
            prefetch(stack, np.int64(state[ahead + 1]) - 1)
            prefetch(values, np.int64(state[ahead]))
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


class MinReducer(_ExtremeReducer):
    """The least value of a window."""

    state, least = "least", True


class MaxReducer(_ExtremeReducer):
    """The greatest value of a window."""

    state, least = "greatest", False
