"""Slopes of least-squares lines through the values of a window, exact and rounded once (`docs/decisions/0028`).

```
   slope per µs      (n · Σtx − Σt · Σx) ÷ (n · Σt² − (Σt)²)         t from the group's first event; a line has no origin
```

Four prefix sums, each of as many limbs as it needs (`kernels.limbs`), and one division (`kernels.quotients`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.limbs import (
    UINT64S,
    UInt64s,
    add_product,
    bits_of,
    positive,
    subtract,
    subtract_positive,
)
from offline_feature_plane.kernels.limbsums import LimbSums, Parts, parts_of
from offline_feature_plane.kernels.quotients import WORK, grow, ratio
from offline_feature_plane.kernels.reducing import Answer, Argument, FeatureRequest, Inputs, Overflow, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import BOOLS, FLOATS, INT32S, Bools
from offline_feature_plane.kernels.summing import LARGEST, count_marks, is_float

_DAY_US = 86_400_000_000
_ZERO = np.uint64(0)


@compiled(types.int64(UINT64S, types.int64, UINT64S, types.int64, UINT64S, types.int64, UINT64S, types.int64, types.int64, types.uint64,
                      types.uint64, INT32S, INT32S, INT32S, UINT64S, UINT64S, FLOATS, BOOLS))
def round_slopes(times: Any, t: Any, squares: Any, tt: Any, values: Any, x: Any, products: Any, tx: Any, least: Any, up: Any, down: Any,
                 counts: Any, hi: Any, lo: Any, scratch: Any, work: Any, out: Any, valid: Any) -> Any:
    """Each range's slope times `up` ÷ `down`; null for fewer than two different instants. Returns the first row beyond float64, or -1.

    `t`, `tt`, `x` and `tx` are the limbs of the sums before them, values are in units of 2^`least`. `scratch` is that of `_Moments`.
    """
    offender: Any = np.int64(-1)
    below_size, above_size = max(2 * t, tt + 1) + 1, max(tx + 1, t + x) + 2
    above = below_size
    count, time = above + above_size, above + above_size + 1
    other = time + t
    rows = hi.shape[0]
    for r in range(rows):
        n = counts[hi[r]] - counts[lo[r]] if counts.shape[0] > 0 else hi[r] - lo[r]
        out[r], valid[r] = 0.0, False
        if n < 2:
            continue
        scratch[:count] = _ZERO
        scratch[count] = np.uint64(n)
        subtract(squares, tt, hi[r], lo[r], scratch, other)
        add_product(scratch, 0, below_size, count, 1, other, tt, False)  # noqa: FBT003 - kernels have no keywords
        subtract(times, t, hi[r], lo[r], scratch, time)
        add_product(scratch, 0, below_size, time, t, time, t, True)  # noqa: FBT003 - same
        if bits_of(scratch, 0, below_size) == 0:
            continue
        negative = subtract_positive(products, tx, hi[r], lo[r], scratch, other)
        add_product(scratch, above, above + above_size, count, 1, other, tx, negative)
        negative = subtract_positive(values, x, hi[r], lo[r], scratch, other)
        add_product(scratch, above, above + above_size, time, t, other, x, not negative)
        falling = positive(scratch, above, above_size)
        grow(scratch, above, above_size, up)
        grow(scratch, 0, below_size, down)
        slope = ratio(scratch, above, above_size, 0, below_size, least, work)
        if math.isinf(slope) and offender < 0:
            offender = r
        valid[r] = True
        out[r] = -slope if falling and slope != 0.0 else slope
    return offender


@dataclass(frozen=True)
class _Moments:
    """Prefix sums of instants, their squares, values, and products of both, of the slots that have a value."""

    times: LimbSums
    squares: LimbSums
    values: LimbSums
    products: LimbSums

    @property
    def scratch(self) -> UInt64s:
        """Room for a row's numbers."""
        t, tt, x, tx = (sums.size for sums in (self.times, self.squares, self.values, self.products))
        return np.empty(max(2 * t, tt + 1) + max(tx + 1, t + x) + 4 + t + max(tt, x, tx), np.uint64)

    def slope(self, hi: int, lo: int, count: int) -> Fraction:
        """One range's exact slope per µs, in units of 2^least."""
        t, tt, x, tx = (sums.total(hi, lo) for sums in (self.times, self.squares, self.values, self.products))
        return Fraction(count * tx - t * x, count * tt - t * t)


def _moments(argument: Argument, *, floats: bool) -> _Moments:
    slots = argument.slots
    since = slots.ts - (slots.ts.min() if slots.n else 0)
    if argument.marks.size:
        since *= argument.marks
    time = Parts(since, np.empty(0, np.int32), 0, int(since.max(initial=0)).bit_length())
    value = parts_of(argument, floats=floats)
    return _Moments(LimbSums(time, slots.fullest), LimbSums(time, slots.fullest, by=time), LimbSums(value, slots.fullest),
                    LimbSums(value, slots.fullest, by=time))


def _float_moments(argument: Argument) -> _Moments:
    return _moments(argument, floats=True)


def _integer_moments(argument: Argument) -> _Moments:
    return _moments(argument, floats=False)


class TrendReducer(Reducer[None]):
    """Slopes per day."""

    result, needs_numbers = np.float64, True

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:  # noqa: ARG002 - one shape for all
        """Four differences and one division."""
        counts, window = inputs.argument.once(count_marks), feature.window
        sums = inputs.argument.once(_float_moments if is_float(feature) else _integer_moments)
        per = Fraction(_DAY_US, 10**feature.scale)
        scratch, work = sums.scratch, np.empty(WORK, np.uint64)

        def fit(rows: Located, out: npt.NDArray[Any], valid: Bools) -> Overflow | None:
            lo = rows.lo[window, :rows.n]
            row = int(round_slopes(sums.times.sums, sums.times.size, sums.squares.sums, sums.squares.size, sums.values.sums,
                                   sums.values.size, sums.products.sums, sums.products.size, sums.values.least, per.numerator,
                                   per.denominator, counts, rows.hi, lo, scratch, work, out, valid))
            if row < 0:
                return None
            high, low = int(rows.hi[row]), int(lo[row])
            count = int(counts[high] - counts[low]) if counts.size else high - low
            return Overflow(row, int(sums.slope(high, low, count) * per * Fraction(2) ** sums.values.least), LARGEST)
        return fit
