"""What an aggregation over a union of events is made of: parts that other kernels compute over its pieces, and how they come together.

```
   mean over A and B      sum(A) + sum(B)  ÷  count(A) + count(B)
   last over A and B      the value at the greater of the last places of A and of B
```

Pieces hold different events of one key. Sums that may leave int64, and all of floats, come together digit by digit (`kernels.digits`).
Whatever is not here (distinct values, places among values) has no parts of fixed size; nor has a window that is told by the events in it
instead of by time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.kernels.digits import Digits, Joined, digits_of, join
from offline_feature_plane.kernels.ends import FIRST, measure_since
from offline_feature_plane.kernels.exact import GREATEST, LEAST, SumOverflow, divide_each, mean_ranges, sum_ranges
from offline_feature_plane.kernels.labelled import LabelChanges
from offline_feature_plane.kernels.limbs import deviation_limbs, round_deviations, round_means, round_sums
from offline_feature_plane.kernels.reducing import FeatureRequest
from offline_feature_plane.kernels.slots import Bools, Int32s, Int64s
from offline_feature_plane.kernels.summing import LARGEST, is_float
from offline_feature_plane.kernels.windows import Latest, Session, Window

__all__ = ["Merged", "Part", "Sought", "Whole", "finish_each", "is_told_by_time", "resolved_of", "take_apart"]

Column = tuple[npt.NDArray[Any], Bools]
_SAFE = 2.0**62   # sums of magnitudes up to here stay in int64, whatever is left out
_ENDS = {"first": "min", "last": "max", "previous": "max", "seconds_since_first": "min", "seconds_since_last": "max"}
_BEFORE_THE_ROW = ("previous", "seconds_since_last")


@dataclass(frozen=True)
class Part:
    """One column over each piece: added up over them, or the least or the greatest; of the row's own event too unless `past_only`."""

    request: FeatureRequest
    merge: str = "add"
    past_only: bool = False


@dataclass(frozen=True)
class Sought:
    """The rows that are asked for: their positions, and the instants of all positions."""

    rows: Int64s
    ts: Int64s


@dataclass(frozen=True)
class Merged:
    """Parts, and the column that follows from their merged values. `finish` may raise SumOverflow, of feature 0."""

    parts: tuple[Part, ...]
    finish: Callable[[Sequence[Column], Sought], Column]


def finish_each(merged: Mapping[int, Merged], column: Callable[[Part], Column], sought: Sought) -> dict[int, Column]:
    """The columns that follow from merged parts. Raises SumOverflow: of the earliest row, then the first feature, beyond its limits."""
    columns, beyond = dict[int, Column](), []
    for index, one in merged.items():
        try:
            columns[index] = one.finish([column(part) for part in one.parts], sought)
        except SumOverflow as wrong:
            beyond.append((wrong.position, index, wrong.total, wrong.limit))
    if beyond:
        position, index, total, limit = min(beyond)
        raise SumOverflow(index, position, total, limit)
    return columns


def is_told_by_time(window: Window) -> bool:
    """Is a window of a union the union of the windows of its pieces?"""
    return not isinstance(window, Latest | Session)


def resolved_of(changes: LabelChanges) -> LabelChanges:
    """The same changes, as if to be resolved were to match."""
    return replace(changes, matched=changes.resolved)


class Whole:
    """What parts are computed over, each column made once, so that requests share what they can.

    Args:
        n: how many positions there are.
        is_event: bool[n], the group's events.
    """

    def __init__(self, n: int, is_event: Bools) -> None:
        self.position: Int64s = np.arange(n)
        self._is_event = is_event
        self._digits: dict[Any, Digits] = {}

    def digits(self, request: FeatureRequest, *, squared: bool = False) -> Digits:
        """The argument, or its squares, by digits; of what is null, and of no event, 0."""
        which = id(request.values), id(request.valid), squared
        if which not in self._digits:
            self._digits[which] = digits_of(self._counted(request), squared=squared)
        return self._digits[which]

    def stays_small(self, request: FeatureRequest) -> bool:
        """Can no sum of some of the values leave int64?"""
        return not is_float(request) and float(np.abs(self._counted(request).astype(np.float64)).sum()) < _SAFE

    def _counted(self, request: FeatureRequest) -> npt.NDArray[Any]:
        if request.values is None:
            raise ValueError("this function needs values")
        values = request.values if is_float(request) else request.values.astype(np.int64, copy=False)
        counted = self._is_event if request.valid is None else self._is_event & request.valid
        return np.where(counted, values, values.dtype.type(0))


def take_apart(request: FeatureRequest, whole: Whole) -> Merged | None:  # noqa: C901, PLR0911 - one for each kind
    """How a request over a window that is told by time follows from parts; None: it does not."""
    count = Part(replace(request, function="count", label=None, share=None))
    match request.function:
        case "count" | "count_if":
            return Merged((count,), _as_it_is)
        case "ratio":
            return Merged((count, Part(FeatureRequest("count", request.window))), _divide)
        case "sum" | "sum_if" | "mean" if whole.stays_small(request):
            added = Part(replace(request, function="sum", limit=None, scale=0))
            if request.function != "mean":
                return Merged((added,), lambda parts, sought: _within(parts, sought, request.limit))
            return Merged((added, count), lambda parts, _: _average(parts, 10**request.scale))
        case "sum" | "sum_if":
            digits = whole.digits(request)
            return Merged(_summed(request, digits), lambda parts, sought: _total(_joined(parts, digits), request, sought))
        case "mean":
            digits = whole.digits(request)
            return Merged((count, *_summed(request, digits)), lambda parts, _: _mean(_joined(parts[1:], digits), parts[0], request))
        case "stddev":
            digits, squares = whole.digits(request), whole.digits(request, squared=True)
            return Merged((count, *_summed(request, digits), *_summed(request, squares)),
                          lambda parts, _: _deviation(parts, (digits, squares), request))
        case "min" | "max":
            return Merged((Part(request, request.function),), _as_it_is)
        case "first" | "last" | "previous" | "seconds_since_first" | "seconds_since_last":
            place = Part(FeatureRequest(_ENDS[request.function], request.window, whole.position), _ENDS[request.function],
                         request.function in _BEFORE_THE_ROW)
            return Merged((place,), _passed if request.values is None else lambda parts, _: _value_at(parts, request))
        case "label_count" | "label_rate":
            matched = Part(FeatureRequest("label_count", request.window, label=request.label))
            if request.function == "label_count":
                return Merged((matched,), _as_it_is)
            of = (FeatureRequest("label_count", request.window, label=("resolved", request.label)) if request.of_resolved
                  else FeatureRequest("count", request.window))
            return Merged((matched, Part(of)), _divide)
    return None


def _as_it_is(parts: Sequence[Column], _sought: Sought) -> Column:
    return parts[0]


def _within(parts: Sequence[Column], sought: Sought, limit: int | None) -> Column:
    """Sums, if none is beyond its limit."""
    totals, most = parts[0][0], GREATEST if limit is None else limit
    beyond = np.flatnonzero(np.abs(totals) > most)
    if len(beyond):
        raise SumOverflow(0, int(sought.rows[beyond[0]]), int(totals[beyond[0]]), most)
    return parts[0]


def _divide(parts: Sequence[Column], _sought: Sought) -> Column:
    (above, _), (below, _) = parts
    valid, out = below > 0, np.zeros(len(below))
    np.divide(above, below, out=out, where=valid)
    return out, valid


def _average(parts: Sequence[Column], unit: int) -> Column:
    (totals, _), (counts, _) = parts
    valid, out = counts > 0, np.zeros(len(counts))
    divide_each(totals >> 63, totals, np.maximum(counts, 1), unit, out)
    out[~valid] = 0.0
    return out, valid


def _summed(request: FeatureRequest, digits: Digits) -> tuple[Part, ...]:
    """Sums of each digit; a null's digits are 0."""
    return tuple(Part(FeatureRequest("sum", request.window, column)) for column in digits.columns)


def _joined(parts: Sequence[Column], digits: Digits) -> Joined:
    return join([values for values, _ in parts], digits.least)


def _total(joined: Joined, request: FeatureRequest, sought: Sought) -> Column:
    """Sums, integers if none is beyond its limit, floats rounded once."""
    hi, lo = _rows(len(sought.rows))
    if is_float(request):
        floats, limit = np.empty(len(hi)), LARGEST
        row = int(round_sums(joined.sums, joined.size, joined.least, hi, lo, np.empty(joined.size, np.uint64), floats))
        out: npt.NDArray[Any] = floats
    else:
        limit = GREATEST if request.limit is None else request.limit
        out = np.empty(len(hi), np.int64)
        low, high = _two_limbs(joined)
        row = int(sum_ranges(low, high, hi, lo, LEAST if request.limit is None else -limit, limit, out))
    if row >= 0:
        raise SumOverflow(0, int(sought.rows[row]), joined.total(row), limit)
    return out, np.ones(len(hi), np.bool_)


def _mean(joined: Joined, counted: Column, request: FeatureRequest) -> Column:
    hi, lo = _rows(len(counted[0]))
    out, valid, counts = np.empty(len(hi)), np.empty(len(hi), np.bool_), _after_none(counted)
    if is_float(request):
        round_means(joined.sums, joined.size, joined.least, counts, hi, lo, np.empty(joined.size + 2, np.uint64), out, valid)
    else:
        mean_ranges(*_two_limbs(joined), counts, hi, lo, 10**request.scale, out, valid)
    return out, valid


def _deviation(parts: Sequence[Column], digits: tuple[Digits, Digits], request: FeatureRequest) -> Column:
    at = 1 + len(digits[0].columns)
    sums, squares = _joined(parts[1:at], digits[0]), _joined(parts[at:], digits[1])
    hi, lo = _rows(len(parts[0][0]))
    out, valid = np.empty(len(hi)), np.empty(len(hi), np.bool_)
    round_deviations(sums.sums, sums.size, squares.sums, squares.size, sums.least, request.scale, _after_none(parts[0]), hi, lo,
                     np.empty(deviation_limbs(sums.size, squares.size), np.uint64), out, valid)
    return out, valid


def _rows(n: int) -> tuple[Int32s, Int32s]:
    """Rows as ranges of what `join` lays out."""
    return np.arange(1, n + 1, dtype=np.int32), np.zeros(n, np.int32)


def _after_none(counted: Column) -> Int32s:
    """Counts as `join` lays sums out."""
    return np.concatenate([[0], counted[0]]).astype(np.int32)


def _two_limbs(joined: Joined) -> tuple[Int64s, Int64s]:
    """The lower and the higher limbs of sums of integers."""
    limbs = joined.sums.view(np.int64).reshape(-1, joined.size)
    low = np.ascontiguousarray(limbs[:, 0])
    return low, low >> 63 if joined.size == 1 else np.ascontiguousarray(limbs[:, 1])


def _value_at(parts: Sequence[Column], request: FeatureRequest) -> Column:
    """The values at some positions, as the kernels give them: no negative zero, and 0 under a null."""
    at, found = parts[0]
    if request.values is None:
        raise ValueError("there are no values to take")
    values = request.values[at]
    valid = found if request.valid is None else found & request.valid[at]
    return np.where(valid, values + 0.0 if values.dtype == np.float64 else values, values.dtype.type(0)), valid


def _passed(parts: Sequence[Column], sought: Sought) -> Column:
    """Seconds from some positions to the rows."""
    at, found = parts[0]
    lo = np.arange(len(at), dtype=np.int32)
    out, valid = np.zeros(len(at)), np.zeros(len(at), np.bool_)
    measure_since(lo + found, np.zeros(len(at), np.bool_), lo, FIRST, sought.ts[at], sought.ts[sought.rows], out, valid)
    return out, valid
