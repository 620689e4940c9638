"""Sliding windows located as ranges of slots, by cursors that only move forward (`features.md`, Sliding window).

```
   slots of one key   ──[·][·][·][·][·][·][·][·]──▶ time
                             ▲lo         ▲hi
          T-d-w ─────────────(───────────]── T-d          window = slots lo … hi - 1
```

`hi` is one past the last visible event: all with `ts ≤ T − d`; without a delay, all before the row in the total order, plus the row's own
event if it is included. Each cursor passes every slot at most once, so one hot key and millions of cold ones both cost linear time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.slots import (
    BOOLS,
    INT32S,
    INT64S,
    READ_BOOL,
    READ_INT32,
    READ_INT64,
    Bools,
    Int32s,
    Int64s,
    Slots,
)

FARTHEST_US = 2**60   # 36,500 years: instants beyond it are refused, so that T − d − w never wraps
LONGEST_US = 2**61    # any length from here on reaches before every instant


@compiled(types.int64(READ_INT64, READ_INT32, READ_BOOL, READ_BOOL, INT64S, INT32S, INT32S, INT64S, types.int64, types.boolean,
                      INT32S, INT64S, INT32S, BOOLS, types.int32[:, ::1]))
def locate(ts: Any, key: Any, is_event: Any, is_row: Any, slot_ts: Any,  # noqa: C901 - one walk, one kernel
           first: Any, state: Any, reach: Any, delay: Any, current: Any,
           row_key: Any, row_ts: Any, row_hi: Any, row_own: Any, row_lo: Any) -> Any:
    """Walk positions, each key's in order, and write, per row: key, instant, `hi`, whether its own event is inside, and `lo` per window.

    `state` holds per key the cursor of visible slots, then one `lo` per window; `reach[w]` is delay + length. Returns the number of rows.
    """
    windows = reach.shape[0]
    stride = windows + 1
    n = key.shape[0]
    rows = 0
    for i in range(n):
        k = key[i]
        if k < 0:
            if is_row[i]:
                row_key[rows] = -1
                row_ts[rows] = ts[i]
                row_hi[rows] = 0
                row_own[rows] = False
                for w in range(windows):
                    row_lo[w, rows] = 0
                rows += 1
            continue
        base = np.int64(k) * stride
        own = is_event[i] and delay == 0
        if is_row[i]:
            instant = ts[i]
            hi = state[base]
            if delay > 0:
                end = first[k + 1]
                while hi < end and slot_ts[hi] <= instant - delay:
                    hi += 1
                state[base] = hi
            included = own and current
            if included:
                hi += 1
            for w in range(windows):
                lo = state[base + 1 + w]
                start = instant - reach[w]
                while lo < hi and slot_ts[lo] <= start:
                    lo += 1
                state[base + 1 + w] = lo
                row_lo[w, rows] = lo
            row_key[rows] = k
            row_ts[rows] = instant
            row_hi[rows] = hi
            row_own[rows] = included
            rows += 1
        if own:
            state[base] += 1
    return rows


@dataclass(frozen=True)
class Located:
    """The `n` rows of one block, those of one key in their order.

    `key` int32 (-1 = null), `ts` int64, `hi` int32, `own` bool (its own event is inside), `lo` int32[windows, ≥ n].
    """

    n: int
    key: Int32s
    ts: Int64s
    hi: Int32s
    own: Bools
    lo: npt.NDArray[np.int32]

    def only(self, chosen: npt.NDArray[np.intp]) -> Located:
        """Some of the rows, by their numbers."""
        return Located(len(chosen), self.key[chosen], self.ts[chosen], self.hi[chosen], self.own[chosen],
                       np.ascontiguousarray(self.lo[:, chosen]))


class Locator:
    """Cursors per key and reused buffers; `locate` must be called with blocks of at most `block` positions, each key's in their order."""

    def __init__(self, slots: Slots, *, current: bool, delay_us: int, windows: Sequence[int | None], block: int) -> None:
        self._slot_ts, self._first, self._current = slots.ts, slots.first, current
        self._delay = min(delay_us, LONGEST_US)
        reach = [min(LONGEST_US if length is None else length, LONGEST_US) + self._delay for length in windows]
        self._reach = np.array(reach, np.int64)
        self._state = np.repeat(slots.first[:-1], len(windows) + 1)
        self._key, self._ts = np.empty(block, np.int32), np.empty(block, np.int64)
        self._hi, self._own = np.empty(block, np.int32), np.empty(block, np.bool_)
        self._lo = np.empty((len(windows), block), np.int32)

    def locate(self, ts: Int64s, key: Int32s, is_event: Bools, is_row: Bools) -> Located:
        """Locate the windows of one block of positions (read-only arrays); valid until the next call."""
        n = int(locate(ts, key, is_event, is_row, self._slot_ts, self._first, self._state, self._reach, self._delay, self._current,
                       self._key, self._ts, self._hi, self._own, self._lo))
        return Located(n, self._key[:n], self._ts[:n], self._hi[:n], self._own[:n], self._lo)
