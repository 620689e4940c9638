"""Means whose weights halve with age, exact and rounded once (`domain.fading`, `docs/decisions/0028`).

```
   half-lives   ──┃─────────── 64 ───────────┃─────────── 64 ───────────┃──▶     blocks, counted from 1970
   slots               ·  ▲start  ·  ·  ·    ▲middle ·  ·  ·  ▲latest
                          └── one sum ───────┴─ and 2⁶⁴ times another ┘
```

A weight is mantissa · 2^exponent, and what is 64 half-lives older than the latest value counts for nothing. So a window lies in two blocks
at most, and prefix sums need only the exponent within its block: their width does not depend on how long the history is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.limbs import UINT64S, UInt64s, bits_of, positive, subtract, times
from offline_feature_plane.kernels.limbsums import LimbSums, Parts, parts_of
from offline_feature_plane.kernels.quotients import WORK, grow, ratio
from offline_feature_plane.kernels.reducing import Answer, Argument, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import BOOLS, FLOATS, INT32S, INT64S, Bools, Int32s
from offline_feature_plane.kernels.summing import is_float

_FADED = 64                    # half-lives after which an event weighs nothing
_MANTISSA, _HIGHEST = 32, 63   # bits of a mantissa, and the greatest exponent within a block
_ZERO, _ONE, _TOP = np.uint64(0), np.uint64(1), np.uint64(63)


@compiled(types.void(INT64S, BOOLS, INT32S, types.int64, UINT64S, INT64S, INT32S, INT32S, INT32S))
def weigh(ts: Any, marks: Any, first: Any, half_life: Any, powers: Any, mantissa: Any, shift: Any, start: Any, middle: Any) -> None:
    """Write each slot's weight, mantissa 0 if it is not marked, and what its key's latest marked slot up to it leaves of the past.

    That is the first slot that has not faded, and the first one of the same block.
    """
    for k in range(first.shape[0] - 1):
        earliest = block = first[k]
        for slot in range(first[k], first[k + 1]):
            mantissa[slot], shift[slot] = np.int64(0), np.int32(0)
            if marks.shape[0] == 0 or marks[slot]:
                exponent = ts[slot] // half_life
                above = (ts[slot] - exponent * half_life) << 16
                whole = above // half_life
                phase = (whole << 16) | (((above - whole * half_life) << 16) // half_life)
                product = powers[phase >> 24]
                for part in range(1, 4):
                    high, low = times(product, powers[256 * part + ((phase >> (24 - 8 * part)) & 255)])
                    product = (high << np.uint64(2)) | (low >> np.uint64(62))
                mantissa[slot], shift[slot] = np.int64(product >> np.uint64(31)), np.int32(exponent & _HIGHEST)
                if (ts[block] // half_life) >> 6 != exponent >> 6:
                    block = np.int32(slot)
                while ts[earliest] <= ts[slot] - _FADED * half_life:
                    earliest += np.int32(1)
            start[slot], middle[slot] = earliest, block


@register_jitable
def _over_blocks(sums: Any, size: Any, hi: Any, middle: Any, lo: Any, scratch: Any, at: Any) -> None:
    """Write the sum over `lo … middle` and 2⁶⁴ times that over `middle … hi` to the `size` + 1 limbs at `scratch[at …]`."""
    after = at + size + 1
    subtract(sums, size, middle, lo, scratch, after)
    subtract(sums, size, hi, middle, scratch, at + 1)
    fill = ~_ZERO if scratch[after + size - 1] >> _TOP != _ZERO else _ZERO
    scratch[at], carry = scratch[after], _ZERO
    for j in range(1, size + 1):
        part = scratch[after + j] if j < size else fill
        before = scratch[at + j]
        more = before + part
        scratch[at + j] = more + carry
        carry = _ONE if more < part or more + carry < carry else _ZERO


@compiled(types.void(UINT64S, types.int64, UINT64S, types.int64, types.int64, types.uint64, INT32S, INT32S, INT32S, INT32S, UINT64S,
                     UINT64S, FLOATS, BOOLS))
def round_faded(weights: Any, w: Any, products: Any, wx: Any, least: Any, unit: Any, start: Any, middle: Any, hi: Any, lo: Any,
                scratch: Any, work: Any, out: Any, valid: Any) -> None:
    """Each range's sum of products ÷ (sum of weights · `unit`); null without any weight. `w` and `wx` are the limbs of the sums."""
    above, n = w + 2, hi.shape[0]
    for r in range(n):
        out[r], valid[r] = 0.0, False
        if hi[r] <= lo[r]:
            continue
        low = max(lo[r], start[hi[r] - 1])
        between = max(low, middle[hi[r] - 1])
        _over_blocks(weights, w, hi[r], between, low, scratch, 0)
        scratch[w + 1] = _ZERO
        if bits_of(scratch, 0, w + 1) == 0:
            continue
        _over_blocks(products, wx, hi[r], between, low, scratch, above)
        negative = positive(scratch, above, wx + 1)
        grow(scratch, 0, w + 2, unit)
        mean = ratio(scratch, above, wx + 1, 0, w + 2, least, work)
        valid[r] = True
        out[r] = -mean if negative and mean != 0.0 else mean


@cache
def powers() -> UInt64s:
    """⌊2^62 · 2^(b ÷ 256^(k+1))⌋ at place 256 · k + b, as `domain.fading` has them: products of roots of 2 with 128 bits."""
    found, root = [1 << 128], 2 << 128
    table: list[int] = []
    for bit in range(32):
        root = isqrt(root << 128)
        found = [power * factor >> 128 for power in found for factor in (1 << 128, root)]
        if bit % 8 == 7:
            table += [power >> 66 for power in found]
            found = [1 << 128]
    return np.array(table, np.uint64)


@dataclass(frozen=True)
class _Faded:
    """Prefix sums of weights, and of values times weights, and where each slot's window may start and changes its block."""

    weights: LimbSums
    products: LimbSums
    start: Int32s
    middle: Int32s

    @property
    def scratch(self) -> UInt64s:
        """Room for a row's numbers."""
        w, wx = self.weights.size, self.products.size
        return np.empty(w + 2 + wx + 1 + max(w, wx), np.uint64)


def _fade(argument: Argument, half_life_us: int, *, floats: bool) -> _Faded:
    slots = argument.slots
    mantissa = np.empty(slots.n, np.int64)
    shift, start, middle = (np.empty(slots.n, np.int32) for _ in range(3))
    weigh(slots.ts, argument.marks, slots.first, half_life_us, powers(), mantissa, shift, start, middle)
    weight = Parts(mantissa, shift, 0, _MANTISSA + _HIGHEST)
    value = parts_of(argument, floats=floats)
    return _Faded(LimbSums(weight, slots.fullest), LimbSums(value, slots.fullest, by=weight), start, middle)


def _fade_floats(argument: Argument, half_life_us: int) -> _Faded:
    return _fade(argument, half_life_us, floats=True)


def _fade_integers(argument: Argument, half_life_us: int) -> _Faded:
    return _fade(argument, half_life_us, floats=False)


class EwmaReducer(Reducer[None]):
    """Weighted means."""

    result, needs_numbers = np.float64, True

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:  # noqa: ARG002 - one shape for all
        """Four differences and one division."""
        window, unit = feature.window, 10**feature.scale
        faded = inputs.argument.once(_fade_floats if is_float(feature) else _fade_integers, feature.half_life_us)
        scratch, work = faded.scratch, np.empty(WORK, np.uint64)

        def average(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            round_faded(faded.weights.sums, faded.weights.size, faded.products.sums, faded.products.size, faded.products.least, unit,
                        faded.start, faded.middle, rows.hi, rows.lo[window, :rows.n], scratch, work, out, valid)
        return average
