"""The reducers that add up: numbers of events, sums, means and deviations of a window, each from prefix sums of its key's slots.

Integers take one or two limbs (`kernels.exact`); floats and squares as many as their column needs (`kernels.limbs`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.kernels.edits import Edits
from offline_feature_plane.kernels.exact import GREATEST, Sums, count_ranges, count_up
from offline_feature_plane.kernels.limbs import deviation_limbs, round_deviations, round_means, round_sums
from offline_feature_plane.kernels.limbsums import LimbSums, parts_of, shifted
from offline_feature_plane.kernels.reducing import Answer, Argument, FeatureRequest, Inputs, Overflow, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import Bools, Int32s, Int64s

LARGEST = int(np.finfo(np.float64).max)


def count_marks(argument: Argument) -> Int32s:
    """Prefix counts of the slots that have a value; empty if all have."""
    if not argument.marks.size:
        return np.empty(0, np.int32)
    counts = np.empty(argument.marks.shape[0] + 1, np.int32)
    count_up(argument.marks, counts)
    return counts


def _sum(argument: Argument) -> Sums:
    return Sums(argument.passing_values(), argument.slots.fullest)


def _float_sum(argument: Argument) -> LimbSums:
    return LimbSums(parts_of(argument, floats=True), argument.slots.fullest)


def _moments(argument: Argument, *, floats: bool) -> tuple[LimbSums, LimbSums]:
    """The sums of an argument's values and of their squares."""
    parts, fullest = parts_of(argument, floats=floats), argument.slots.fullest
    return LimbSums(parts, fullest), LimbSums(parts, fullest, by=parts)


def _float_moments(argument: Argument) -> tuple[LimbSums, LimbSums]:
    return _moments(argument, floats=True)


def _integer_moments(argument: Argument) -> tuple[LimbSums, LimbSums]:
    return _moments(argument, floats=False)


class Added:
    """Sums of one column of slots, of which all of a key's fit int64, over a window that is edited."""

    def __init__(self, column: npt.NDArray[Any]) -> None:
        self._column, self._total = column, 0

    def advance(self, edits: Edits) -> tuple[Int64s, None]:
        """Add what enters and subtract what leaves."""
        moved = self._column[np.abs(edits.slots) - 1] * np.sign(edits.slots).astype(np.int64)
        totals = np.concatenate([[0], np.cumsum(moved)]) + self._total
        self._total = int(totals[-1])
        return totals[edits.ends][None], None


def is_float(feature: FeatureRequest) -> bool:
    """Are its values floats?"""
    return feature.values is not None and feature.values.dtype == np.float64


class CountReducer(Reducer[None]):
    """Events of a window, or those that have a value."""

    result, never_null = np.int64, True

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:  # noqa: ARG002 - one shape for all
        """A difference of two prefix counts, or of two places."""
        counts, window = inputs.argument.once(count_marks), feature.window

        def count(rows: Located, out: npt.NDArray[Any], _valid: Bools) -> None:
            count_ranges(counts, rows.hi, rows.lo[window, :rows.n], out)
        return count

    def follow(self, inputs: Inputs, feature: FeatureRequest) -> Added:  # noqa: ARG002 - same
        """One more, one less."""
        marks = inputs.argument.marks
        return Added(marks if marks.size else np.ones(inputs.slots.n, np.bool_))


class RatioReducer(Reducer[None]):
    """Events that have a value by all events: one float64 division of integers below 2³¹."""

    result = np.float64

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:  # noqa: ARG002 - same
        """Two counts, divided; null where there is nothing to divide by."""
        counts, window = inputs.argument.once(count_marks), feature.window

        def divide(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            lo = rows.lo[window, :rows.n]
            held = np.empty(rows.n, np.int64)
            count_ranges(counts, rows.hi, lo, held)
            np.greater(rows.hi, lo, out=valid)
            out[:] = 0.0
            np.divide(held, rows.hi - lo, out=out, where=valid)
        return divide


class SumReducer(Reducer[None]):
    """Exact sums, of floats rounded once; one beyond the limit, or beyond all float64, is an overflow."""

    never_null, needs_numbers = True, True

    def dtype(self, feature: FeatureRequest) -> np.dtype[Any]:
        """float64 of floats, else int64."""
        return np.dtype(np.float64 if is_float(feature) else np.int64)

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:  # noqa: ARG002 - same
        """A difference of two prefix sums."""
        window, limit = feature.window, feature.limit
        if is_float(feature):
            floats = inputs.argument.once(_float_sum)
            scratch = np.empty(floats.size, np.uint64)

            def add_floats(rows: Located, out: npt.NDArray[Any], _valid: Bools) -> Overflow | None:
                lo = rows.lo[window, :rows.n]
                row = int(round_sums(floats.sums, floats.size, floats.least, rows.hi, lo, scratch, out))
                return None if row < 0 else Overflow(row, shifted(floats.total(int(rows.hi[row]), int(lo[row])), floats.least), LARGEST)
            return add_floats
        sums = inputs.argument.once(_sum)

        def add(rows: Located, out: npt.NDArray[Any], _valid: Bools) -> Overflow | None:
            lo = rows.lo[window, :rows.n]
            row = sums.sum(rows.hi, lo, limit, out)
            if row < 0:
                return None
            return Overflow(row, sums.total(int(rows.hi[row]), int(lo[row])), GREATEST if limit is None else limit)
        return add

    def follow(self, inputs: Inputs, feature: FeatureRequest) -> Added | None:
        """Integers by the value; they must be small enough (`kernels.merging`)."""
        return None if is_float(feature) else Added(inputs.argument.values)


class MeanReducer(Reducer[None]):
    """Exact sums divided by counts, rounded once."""

    result, needs_numbers = np.float64, True

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:  # noqa: ARG002 - same
        """Two differences and one division."""
        counts, window, scale = inputs.argument.once(count_marks), feature.window, feature.scale
        if is_float(feature):
            floats = inputs.argument.once(_float_sum)
            scratch = np.empty(floats.size + 2, np.uint64)

            def average_floats(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
                round_means(floats.sums, floats.size, floats.least, counts, rows.hi, rows.lo[window, :rows.n], scratch, out, valid)
            return average_floats
        sums = inputs.argument.once(_sum)

        def average(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            sums.mean(rows.hi, rows.lo[window, :rows.n], counts, scale, out, valid)
        return average


class StddevReducer(Reducer[None]):
    """Sample standard deviations: the exact variance rounded once, then its root."""

    result, needs_numbers = np.float64, True

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: None, line: int) -> Answer:  # noqa: ARG002 - same
        """Four differences, one division, one root."""
        counts, window, scale = inputs.argument.once(count_marks), feature.window, feature.scale
        sums, squares = inputs.argument.once(_float_moments if is_float(feature) else _integer_moments)
        scratch = np.empty(deviation_limbs(sums.size, squares.size), np.uint64)

        def deviate(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            round_deviations(sums.sums, sums.size, squares.sums, squares.size, sums.least, scale, counts, rows.hi,
                             rows.lo[window, :rows.n], scratch, out, valid)
        return deviate
