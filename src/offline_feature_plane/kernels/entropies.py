"""Entropies of the values of sliding windows, by counts per key and window (`domain.logarithms`, `docs/decisions/0028`).

```
   n · log₂ n − Σ c · log₂ c        one more of c: + step(n + 1) − step(c + 1)        step(c) = c · log₂ c − (c − 1) · log₂ (c − 1)
```

Logarithms are integers, so the sum is the same whatever entered and left before. A slot enters and leaves once, each in one step.

No bound is left to luck, for a key has less than 2³¹ slots (`windows`, `slots`), and a logarithm in units of 2^-56 is below 31 · 2⁵⁶ and
less than two units off:

    step(c)                    between 0 and 2⁶², though c · log₂ c is not: differences are right modulo 2⁶⁴
    step(n) − step(c), c ≤ n   below 2⁶²; never negative up to n = 2²⁷, but it can be beyond, by up to 2n + 2c units: it has a sign
    n · log₂ n − Σ c · log₂ c  between 0 and 2⁹²: the state
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.distinct import numbers_of
from offline_feature_plane.kernels.edits import Edits
from offline_feature_plane.kernels.limbs import times
from offline_feature_plane.kernels.reducing import Answer, Argument, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import INT32S, INT64S, Bools, Int64s

_POINT, _MANTISSA = 56, 62   # bits after the point of a logarithm, and of a mantissa
_ZERO, _ONE, _TWO, _KEPT = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(_MANTISSA)
_HALF, _LIMB, _TOP, _THIRTY_ONE = np.uint64(32), np.uint64(64), np.uint64(63), np.uint64(31)
_LOW = np.uint64(2**32 - 1)
_WHOLE, _UNIT, _SIGN = np.int64(2**_POINT), 2.0**-_POINT, np.int64(63)


@register_jitable
def _log2(number: Any) -> Any:
    """As `domain.logarithms.log2_of`."""
    whole = np.int64(0)
    while number >> (whole + 1) > 0:
        whole += 1
    mantissa, found = np.uint64(number) << np.uint64(_MANTISSA - whole), whole
    for _ in range(_POINT):
        high, low = times(mantissa, mantissa)
        mantissa = (high << _TWO) | (low >> _KEPT)
        found <<= 1
        if mantissa >> np.uint64(_MANTISSA + 1) > 0:
            mantissa >>= _ONE
            found |= 1
    return found


@compiled(types.void(INT64S))
def tabulate_steps(steps: Any) -> None:
    """Write by how much c · log₂ c is greater than (c − 1) · log₂ (c − 1), in units of 2^-56."""
    for c in range(1, steps.shape[0]):  # first the logarithms
        steps[c] = steps[c >> 1] + _WHOLE if c & 1 == 0 else _log2(c)
    before = np.int64(0)
    for c in range(1, steps.shape[0]):
        after = c * steps[c]  # may leave 64 bits; the difference does not
        steps[c] = after - before
        before = after


@register_jitable
def _quotient(high: Any, low: Any, n: Any) -> Any:
    """The float64 nearest to (high · 2⁶⁴ + low) ÷ n, for a dividend below 2⁹⁶ and 0 < n < 2³¹."""
    if high == _ZERO and low == _ZERO:
        return 0.0
    places: Any = np.int64(0)
    while high >> _THIRTY_ONE == _ZERO:
        step = np.uint64(16) if high >> np.uint64(15) == _ZERO else _ONE
        high, low = (high << step) | (low >> (_LIMB - step)), low << step
        places -= np.int64(step)
    first, rest = high // n, high % n
    middle = (rest << _HALF) | (low >> _HALF)
    second, rest = middle // n, middle % n
    lowest = (rest << _HALF) | (low & _LOW)
    third, rest = lowest // n, lowest % n
    upper, lower = (first << _HALF) | second, third   # the quotient has 65 bits or more: upper · 2³² + lower
    while upper >> _TOP == _ZERO:
        step = np.uint64(16) if upper >> np.uint64(47) == _ZERO else _ONE
        lower <<= step
        upper = (upper << step) | (lower >> _HALF)
        lower &= _LOW
        places -= np.int64(step)
    sticky = _ONE if lower != _ZERO or rest != _ZERO else _ZERO   # 64 bits and whether more follow: the conversion rounds once
    return math.ldexp(float(upper | sticky), int(places + 32))


@compiled(types.void(INT32S, INT32S, types.int32[:, ::1], INT64S, INT32S, INT64S, INT64S, types.int32[:, ::1],
                     types.float64[:, ::1], types.boolean[:, ::1]))
def spread_evenly(key: Any, hi: Any, lo: Any, windows: Any, number: Any,
                  steps: Any, state: Any, counts: Any, out: Any, valid: Any) -> None:
    """Write each row's entropy per window: (n · log₂ n − Σ c · log₂ c) ÷ n.

    `state` holds per key the end of the slots that entered, then per window its lower end, n, and the dividend as two limbs.
    """
    stride = 4 * windows.shape[0] + 1
    rows = key.shape[0]
    for r in range(rows):
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
                    change = steps[n] - steps[counts[j, one]]
                    less = np.uint64(change)
                    high -= (change >> _SIGN) + (1 if low < less else 0)
                    low -= less
                    n -= 1
                    counts[j, one] -= 1
            for slot in range(max(entered, start), end):
                one = number[slot]
                if one >= 0:
                    n += 1
                    counts[j, one] += 1
                    change = steps[n] - steps[counts[j, one]]
                    more = np.uint64(change)
                    low += more
                    high += (change >> _SIGN) + (1 if low < more else 0)
            state[place], state[place + 1], state[place + 2], state[place + 3] = start, n, np.int64(low), high
            valid[j, r] = n > 0
            out[j, r] = _quotient(np.uint64(high), low, np.uint64(n)) * _UNIT if n > 0 else 0.0


def _steps(argument: Argument) -> Int64s:
    steps = np.zeros(argument.slots.fullest + 1, np.int64)
    tabulate_steps(steps)
    return steps


class Spread:
    """Entropies of one column of slots over some windows: `values` and `valid` hold a line per window."""

    def __init__(self, inputs: Inputs, windows: Sequence[int]) -> None:
        slots = inputs.slots
        self._number, self._steps = inputs.argument.once(numbers_of), inputs.argument.once(_steps)
        self._windows = np.array(windows, np.int64)
        state = np.zeros((slots.first.shape[0] - 1, 4 * len(windows) + 1), np.int64)
        state[:, 0] = slots.first[:-1]
        state[:, 1::4] = slots.first[:-1, None]
        self._state, self._counts = state.reshape(-1), np.zeros((len(windows), slots.n), np.int32)
        self.values, self.valid = np.empty((len(windows), inputs.block)), np.empty((len(windows), inputs.block), np.bool_)

    def advance(self, rows: Located) -> None:
        """Hold a block's results."""
        spread_evenly(rows.key, rows.hi, rows.lo, self._windows, self._number, self._steps, self._state, self._counts,
                      self.values, self.valid)


@compiled(types.void(INT32S, INT64S, INT32S, INT64S, INT32S, INT64S, types.float64[::1], types.boolean[::1]))
def follow_evenness(edits: Any, ends: Any, number: Any, steps: Any, counts: Any, state: Any, out: Any, valid: Any) -> None:
    """Write each row's entropy; `counts` holds how many slots with a number are inside, `state` n and the dividend as two limbs."""
    n, low, high, at = state[0], np.uint64(state[1]), state[2], np.int64(0)
    for r in range(ends.shape[0]):
        while at < ends[r]:
            edit = edits[at]
            one = number[abs(edit) - 1]
            at += 1
            if one < 0:
                continue
            if edit > 0:
                n += 1
                counts[one] += 1
                more = np.uint64(steps[n] - steps[counts[one]])
                low += more
                high += 1 if low < more else 0
            else:
                less = np.uint64(steps[n] - steps[counts[one]])
                high -= 1 if low < less else 0
                low -= less
                n -= 1
                counts[one] -= 1
        valid[r] = n > 0
        out[r] = _quotient(np.uint64(high), low, np.uint64(n)) * _UNIT if n > 0 else 0.0
    state[0], state[1], state[2] = n, np.int64(low), high


class SpreadOneByOne:
    """Entropies of a window that is edited."""

    def __init__(self, argument: Argument) -> None:
        self._number, self._steps = argument.once(numbers_of), argument.once(_steps)
        self._counts, self._state = np.zeros(argument.slots.n, np.int32), np.zeros(3, np.int64)

    def advance(self, edits: Edits) -> tuple[npt.NDArray[np.float64], Bools]:
        """Divide sums of integers."""
        out, valid = np.empty(len(edits.ends)), np.empty(len(edits.ends), np.bool_)
        follow_evenness(edits.slots, edits.ends, self._number, self._steps, self._counts, self._state, out, valid)
        return out[None], valid[None]


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

    def follow(self, inputs: Inputs, feature: FeatureRequest) -> SpreadOneByOne:  # noqa: ARG002 - same
        """Counts per value, and a sum of integers."""
        return SpreadOneByOne(inputs.argument)
