"""Streaks: how many of the latest slots of a window are marked, without a gap.

```
   marks      ✓  ✓  ·  ✓  ✓  ✓          begins    0  0  3  3  3  3       a slot that is not marked: a streak begins after it
              ▲lo               ▲hi     streak    hi − max(lo, begins[hi − 1])
```
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.reducing import Answer, Argument, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import BOOLS, INT32S, INT64S, Bools, Int32s


@compiled(types.void(BOOLS, INT32S))
def link_streaks(marks: Any, begins: Any) -> None:
    """Write per slot where the marks that end with it begin, over the bounds of keys; the next slot if it is not marked."""
    start = np.int32(0)
    for slot in range(marks.shape[0]):
        if not marks[slot]:
            start = np.int32(slot + 1)
        begins[slot] = start


@compiled(types.void(INT32S, INT32S, INT32S, INT64S))
def count_streaks(begins: Any, hi: Any, lo: Any, out: Any) -> None:
    """How many slots lie between the beginning of the streak that ends with each range, or of the range, and its end."""
    n = hi.shape[0]
    for r in range(n):
        out[r] = hi[r] - lo[r]
        if out[r] > 0 and begins.shape[0] > 0:
            out[r] = hi[r] - max(lo[r], begins[hi[r] - 1])


def _begins(argument: Argument) -> Int32s:
    """Where each slot's streak begins; empty if all slots are marked."""
    begins = np.empty(argument.marks.shape[0], np.int32)
    link_streaks(argument.marks, begins)
    return begins


class StreakReducer(Reducer[None]):
    """Marked events at the end of a window."""

    result, never_null = np.int64, True

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:  # noqa: ARG002 - one shape for all
        """A difference of two places."""
        begins, window = inputs.argument.once(_begins), feature.window

        def count(rows: Located, out: npt.NDArray[Any], _valid: Bools) -> None:
            count_streaks(begins, rows.hi, rows.lo[window, :rows.n], out)
        return count
