"""The ends of a window: its first and last event, and the one before the row."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.reducing import Answer, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import BOOLS, FLOATS, INT32S, INT64S, Bools, raise_to

FIRST, LAST, PREVIOUS = 0, 1, 2
_EXACT = 2**53


@register_jitable
def _pick(hi: Any, own: Any, lo: Any, which: Any) -> Any:
    """The slot at an end of the range lo … hi - 1, or -1; `PREVIOUS` leaves out the row's own event, which is the last if inside."""
    end = hi - np.int32(1) if which == PREVIOUS and own else hi
    if lo >= end:
        return np.int32(-1)
    return lo if which == FIRST else end - np.int32(1)


@register_jitable
def _seconds(passed: Any) -> Any:
    """Microseconds from 0 to 2⁶² as the nearest float64 of seconds: 10⁶ = 64 · 15,625, and an odd divisor has no ties."""
    if passed <= _EXACT:
        return passed / 1e6
    whole, rest = passed // 15_625, passed % 15_625
    shift = 0
    while whole << shift < _EXACT >> 1:
        shift += 1
    rest <<= shift
    nearest = (whole << shift) + rest // 15_625 + (1 if 2 * (rest % 15_625) > 15_625 else 0)
    return nearest / 2.0 ** (shift + 6)


@compiled(types.void(INT32S, BOOLS, INT32S, types.int64, INT64S, BOOLS, INT64S, BOOLS))
def read_end(hi: Any, own: Any, lo: Any, which: Any, values: Any, marks: Any, out: Any, valid: Any) -> None:
    """Write the value of the event at one end of each range; null if there is none or its value is."""
    for r in range(hi.shape[0]):
        slot = _pick(hi[r], own[r], lo[r], which)
        valid[r] = slot >= 0 and (marks.shape[0] == 0 or marks[slot])
        out[r] = values[slot] if valid[r] else 0


@compiled(types.void(INT32S, BOOLS, INT32S, types.int64, INT64S, INT64S, FLOATS, BOOLS))
def measure_since(hi: Any, own: Any, lo: Any, which: Any, slot_ts: Any, row_ts: Any, out: Any, valid: Any) -> None:
    """Write the seconds from the event at one end of each range to the row, rounded once; null if there is none."""
    for r in range(hi.shape[0]):
        slot = _pick(hi[r], own[r], lo[r], which)
        valid[r] = slot >= 0
        out[r] = 0.0
        if slot >= 0:
            out[r] = _seconds(row_ts[r] - slot_ts[slot])


class _ValueReducer(Reducer[None]):
    which: ClassVar[int]

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:  # noqa: ARG002 - one shape for all
        """The value at that end, in the argument's own type."""
        values, marks, window, which = inputs.argument.values, inputs.argument.marks, feature.window, self.which

        def read(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            found = np.empty(rows.n, np.int64)
            read_end(rows.hi, rows.own, rows.lo[window, :rows.n], which, values, marks, found, valid)
            out[:] = raise_to(found, out.dtype)
        return read


class _SecondsReducer(Reducer[None]):
    result = np.float64
    which: ClassVar[int]

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:  # noqa: ARG002 - same
        """The time from that end to the row."""
        ts, window, which = inputs.slots.ts, feature.window, self.which

        def measure(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            measure_since(rows.hi, rows.own, rows.lo[window, :rows.n], which, ts, rows.ts, out, valid)
        return measure


class FirstReducer(_ValueReducer):
    """The value of a window's first event."""

    which = FIRST


class LastReducer(_ValueReducer):
    """The value of a window's last event."""

    which = LAST


class PreviousReducer(_ValueReducer):
    """The value of the last event before the row's own."""

    which = PREVIOUS


class SecondsSinceFirstReducer(_SecondsReducer):
    """Seconds since a window's first event."""

    which = FIRST


class SecondsSinceLastReducer(_SecondsReducer):
    """Seconds since the last event before the row's own."""

    which = PREVIOUS
