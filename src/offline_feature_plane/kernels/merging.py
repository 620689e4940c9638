"""What an aggregation over a union of events is made of: parts that other kernels compute over its pieces, and how they come together.

```
   mean over A and B      sum(A) + sum(B)  ÷  count(A) + count(B)
   last over A and B      the value at the greater of the last places of A and of B
```

Pieces hold different events of one key. Whatever is not here (distinct values, places among values, sums of floats) has no parts of fixed
size, or none that are exact; nor has a window that is told by the events in it instead of by time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.kernels.ends import FIRST, measure_since
from offline_feature_plane.kernels.exact import GREATEST, SumOverflow, divide_each
from offline_feature_plane.kernels.labelled import LabelChanges
from offline_feature_plane.kernels.reducing import FeatureRequest
from offline_feature_plane.kernels.slots import Bools, Int64s
from offline_feature_plane.kernels.windows import Latest, Session, Window

__all__ = ["Merged", "Part", "Sought", "is_told_by_time", "resolved_of", "take_apart"]

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


def is_told_by_time(window: Window) -> bool:
    """Is a window of a union the union of the windows of its pieces?"""
    return not isinstance(window, Latest | Session)


def resolved_of(changes: LabelChanges) -> LabelChanges:
    """The same changes, as if to be resolved were to match."""
    return replace(changes, matched=changes.resolved)


def take_apart(request: FeatureRequest, position: Int64s, is_event: Bools) -> Merged | None:  # noqa: PLR0911 - one for each kind
    """How a request follows from parts; None: it does not.

    Args:
        request: over a window that is told by time.
        position: 0 … N - 1, the same array for all requests, which then share its columns.
        is_event: bool[N], the group's events.
    """
    count = Part(replace(request, function="count", label=None, share=None))
    match request.function:
        case "count" | "count_if":
            return Merged((count,), _as_it_is)
        case "ratio":
            return Merged((count, Part(FeatureRequest("count", request.window))), _divide)
        case "sum" | "sum_if" | "mean" if _stays_small(request, is_event):
            added = Part(replace(request, function="sum", limit=None, scale=0))
            if request.function != "mean":
                return Merged((added,), lambda parts, sought: _within(parts, sought, request.limit))
            return Merged((added, count), lambda parts, _: _average(parts, 10**request.scale))
        case "min" | "max":
            return Merged((Part(request, request.function),), _as_it_is)
        case "first" | "last" | "previous" | "seconds_since_first" | "seconds_since_last":
            place = Part(FeatureRequest(_ENDS[request.function], request.window, position), _ENDS[request.function],
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


def _stays_small(request: FeatureRequest, is_event: Bools) -> bool:
    """Can no sum of some of the values leave int64? Sums of floats are exact only as long integers."""
    values = request.values
    if values is None or values.dtype == np.float64:
        return False
    counted = is_event if request.valid is None else is_event & request.valid
    return float(np.abs(values.astype(np.float64)).sum(where=counted)) < _SAFE


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
