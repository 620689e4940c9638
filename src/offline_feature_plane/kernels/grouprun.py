"""One feature group over all events: the object that engines call (`features.md`, How it is computed).

    run = GroupRun(ts=ts, key=key, n_keys=n, is_event=is_event, is_row=is_row, current=False, delay_us=0, windows=[day, None],
                   label_changes={}, features=[FeatureRequest("count", 0), FeatureRequest("sum", 1, amounts)])
    for start, stop in chunks:
        columns = run.advance(start, stop)

Positions are walked once, in blocks that stay in the processor's cache: windows are located, then every column reads or updates its
own state. Results do not depend on how positions are cut into chunks. A run belongs to one thread at a time; several runs go in parallel.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.kernels.distinct import Distinct
from offline_feature_plane.kernels.ends import FIRST, LAST, PREVIOUS, measure_since, read_end
from offline_feature_plane.kernels.exact import GREATEST, SumOverflow, Sums, count_marks, count_ranges
from offline_feature_plane.kernels.extremes import Extremes
from offline_feature_plane.kernels.labelled import LabelChanges, Labelled
from offline_feature_plane.kernels.sliding import FARTHEST_US, Located, Locator
from offline_feature_plane.kernels.slots import Bools, Int32s, Int64s, Slots, build_slots, freeze, raise_to

__all__ = ["FUNCTIONS", "FeatureRequest", "GroupRun", "LabelChanges", "SumOverflow"]

Column = tuple[npt.NDArray[Any], Bools | None]
FUNCTIONS = ("count", "distinct", "sum", "mean", "min", "max", "first", "last", "previous", "seconds_since_first", "seconds_since_last",
             "label_count", "label_rate")
_ENDS = {"first": FIRST, "last": LAST, "previous": PREVIOUS, "seconds_since_first": FIRST, "seconds_since_last": PREVIOUS}
_FLOAT_RESULTS = ("mean", "seconds_since_first", "seconds_since_last", "label_rate")
_ZERO_WHEN_EMPTY = ("count", "distinct", "sum", "label_count")
_BLOCK = 1 << 15   # rows that pass through all features while they are in the cache


@dataclass(frozen=True)
class FeatureRequest:
    """One output column: `function` over window `window` (index into the run's windows).

    `values` int64, float64 or int32[N] and `valid` bool[N] or None (all valid) are the argument over all positions; `count` without
    values counts events. Requests that pass the same array objects share their state. `scale`: decimal digits of `values`, for
    `mean`. `limit`: greatest lawful magnitude of a `sum`, int64 if None. `label` names one of the run's label changes; `of_resolved`
    divides by resolved events.
    """

    function: str
    window: int
    values: npt.NDArray[Any] | None = None
    valid: Bools | None = None
    label: Hashable | None = None
    of_resolved: bool = False
    scale: int = 0
    limit: int | None = None


class GroupRun:
    """Windows of one group, advanced chunk by chunk over positions that stand in the total order.

    Args:
        ts: int64[N] instants in µs, not decreasing.
        key: int32[N] codes 0 … n_keys - 1; -1 where the position is neither event nor row of a key. Such a row is null everywhere.
        n_keys: how many codes there are.
        is_event: bool[N], the positions that are events of the group.
        is_row: bool[N], the positions to output.
        current: whether a row's own event, if it is one of the group, is inside its windows.
        delay_us: how long before the row's instant windows end.
        windows: lengths in µs; None = lifetime.
        label_changes: per handle how labels of events become known; already cut at the label as-of.
        features: the columns to compute.

    Raises:
        ValueError: arrays of unequal length, instants that decrease or lie 36,500 years from the epoch, keys out of range, an unknown
            function, a negative delay, `current` together with a delay, or more events than 32-bit slots hold.
    """

    def __init__(self, *, ts: Int64s, key: Int32s, n_keys: int, is_event: Bools, is_row: Bools, current: bool, delay_us: int,
                 windows: Sequence[int | None], label_changes: Mapping[Any, LabelChanges], features: Sequence[FeatureRequest]) -> None:
        _refuse_nonsense(ts, (key, is_event, is_row), current=current, delay_us=delay_us, windows=windows, features=features)
        self._ts, self._key, self._is_event, self._is_row = freeze(ts), freeze(key), freeze(is_event), freeze(is_row)
        self._next = 0
        self._types = [_result_type(feature) for feature in features]
        self._zeroes = [feature.function in _ZERO_WHEN_EMPTY for feature in features]
        slots = build_slots(self._ts, self._key, self._is_event, n_keys)
        self._locator = Locator(slots, current=current, delay_us=delay_us, windows=windows, block=_BLOCK)
        self._jobs = _plan(slots, self._key, label_changes, features)

    def advance(self, start: int, stop: int) -> list[Column]:
        """The columns of the rows among positions start … stop - 1, in order: values, and which are valid (None = all).

        `count`, `distinct`, `label_count`, `sum` are int64, means, rates and seconds float64, the others of their argument's type;
        0 stands under nulls. Chunks must follow each other from position 0.

        Raises:
            SumOverflow: a final sum is beyond its limit: the earliest such position, then the first such feature. The run is then spent.
            ValueError: this chunk does not follow the last one.
        """
        if start != self._next or not start <= stop <= self._ts.shape[0]:
            raise ValueError(f"positions {start} to {stop} do not follow {self._next} of {self._ts.shape[0]}")
        rows = int(np.count_nonzero(self._is_row[start:stop]))
        known = np.empty(rows, np.bool_)
        columns = [(np.empty(rows, kind), known if zeroes else np.empty(rows, np.bool_))
                   for kind, zeroes in zip(self._types, self._zeroes, strict=True)]
        at = 0
        for low in range(start, stop, _BLOCK):
            part = slice(low, min(low + _BLOCK, stop))
            located = self._locator.locate(self._ts[part], self._key[part], self._is_event[part], self._is_row[part])
            block = slice(at, at + located.n)
            np.greater_equal(located.key, 0, out=known[block])
            outs = [(values[block], valid[block]) for values, valid in columns]
            overflows = [found for job in self._jobs for found in job(located, outs)]
            if overflows:
                row, feature, total, limit = min(overflows)
                raise SumOverflow(feature, low + int(np.flatnonzero(self._is_row[part])[row]), total, limit)
            at += located.n
        self._next = stop
        return [(values, None if valid.all() else valid) for values, valid in columns]


Overflow = tuple[int, int, int, int]   # row within the block, feature, exact total, limit
Out = tuple[npt.NDArray[Any], Bools]
Job = Callable[[Located, Sequence[Out]], Sequence[Overflow]]


class _Argument:
    """An argument's columns of slots, each built when the first feature needs it and then shared."""

    def __init__(self, slots: Slots, values: npt.NDArray[Any] | None, valid: Bools | None) -> None:
        self._slots, self._values = slots, values
        self._valid = None if valid is None or valid.all() else valid

    @cached_property
    def marks(self) -> Bools | None:
        return None if self._valid is None else self._slots.gather_marks(self._valid)

    @cached_property
    def counts(self) -> Int32s:
        return count_marks(self.marks)

    @cached_property
    def values(self) -> Int64s:
        return self._slots.gather(self._given, self._valid)

    @cached_property
    def sums(self) -> Sums:
        kept = self.__dict__.get("values")
        return Sums(self._slots.gather(self._given, self._valid) if kept is None else kept, self._slots.fullest)

    @property
    def _given(self) -> npt.NDArray[Any]:
        if self._values is None:
            raise ValueError("this function needs values")
        return self._values


def _plan(slots: Slots, key: Int32s, label_changes: Mapping[Any, LabelChanges], features: Sequence[FeatureRequest]) -> list[Job]:
    """One job per piece of work; features that share an argument and a state share the job."""
    arguments: dict[tuple[int, int], _Argument] = {}
    shared: dict[tuple[Any, ...], list[int]] = {}
    for index, feature in enumerate(features):
        same = (id(feature.values), id(feature.valid))
        arguments.setdefault(same, _Argument(slots, feature.values, feature.valid))
        if feature.function in ("min", "max", "distinct"):
            shared.setdefault((feature.function, same), []).append(index)
        elif feature.function in ("label_count", "label_rate"):
            shared.setdefault(("label", feature.label), []).append(index)
        else:
            shared.setdefault(("alone", same, index), []).append(index)
    jobs = []
    for (kind, source, *_), indexes in sorted(shared.items(), key=lambda item: item[0][0] == "alone"):
        windows = sorted({features[index].window for index in indexes})
        lines = [(index, windows.index(features[index].window)) for index in indexes]
        if kind == "label":
            jobs.append(_count_labels(Labelled(slots, key, _changes(label_changes, source), windows), lines, features))
        elif kind == "distinct":
            found = arguments[source]
            jobs.append(_fill(Distinct(found.values, found.marks, slots.first, slots.fullest, windows), lines))
        elif kind == "alone":
            jobs.append(_read(slots, arguments[source], indexes[0], features[indexes[0]]))
        else:
            found = arguments[source]
            jobs.append(_fill(Extremes(found.values, found.marks, slots.first, windows, least=kind == "min"), lines))
    return jobs


def _fill(state: Extremes | Distinct, lines: Sequence[tuple[int, int]]) -> Job:
    """Update one state and hand its lines to the features."""
    widest = 1 + max(line for _, line in lines)
    values, valid = np.empty((widest, _BLOCK), np.int64), np.empty((widest, _BLOCK), np.bool_)

    def work(rows: Located, outs: Sequence[Out]) -> Sequence[Overflow]:
        state.write(rows, values, valid)
        for index, line in lines:
            out, out_valid = outs[index]
            out[:] = raise_to(values[line, :rows.n], out.dtype)
            if isinstance(state, Extremes):
                out_valid[:] = valid[line, :rows.n]
        return ()
    return work


def _count_labels(state: Labelled, lines: Sequence[tuple[int, int]], features: Sequence[FeatureRequest]) -> Job:
    """Update one label state; counts go out as they are, rates as one float64 division of integers below 2³¹."""
    widest = 1 + max(line for _, line in lines)
    matched, resolved = np.empty((widest, _BLOCK), np.int64), np.empty((widest, _BLOCK), np.int64)

    def work(rows: Located, outs: Sequence[Out]) -> Sequence[Overflow]:
        state.write(rows, matched, resolved)
        for index, line in lines:
            (out, valid), feature = outs[index], features[index]
            if feature.function == "label_count":
                out[:] = matched[line, :rows.n]
                continue
            of = resolved[line, :rows.n] if feature.of_resolved else rows.hi - rows.lo[feature.window, :rows.n]
            np.greater(of, 0, out=valid)
            out[:] = 0.0
            np.divide(matched[line, :rows.n], of, out=out, where=valid)
        return ()
    return work


def _read(slots: Slots, argument: _Argument, index: int, feature: FeatureRequest) -> Job:  # noqa: C901 - one small job per function
    """A job without state of its own: counts, sums, means, ends and seconds."""
    function, window = feature.function, feature.window
    if function == "count":
        counts = argument.counts

        def count(rows: Located, outs: Sequence[Out]) -> Sequence[Overflow]:
            count_ranges(counts, rows.hi, rows.lo[window, :rows.n], outs[index][0])
            return ()
        return count
    if function == "sum":
        sums, limit = argument.sums, feature.limit

        def add(rows: Located, outs: Sequence[Out]) -> Sequence[Overflow]:
            lo = rows.lo[window, :rows.n]
            row = sums.sum(rows.hi, lo, limit, outs[index][0])
            if row < 0:
                return ()
            total = sums.total(int(rows.hi[row]), int(lo[row]))
            return ((row, index, total, GREATEST if limit is None else limit),)
        return add
    if function == "mean":
        parts, present, scale = argument.sums, argument.counts, feature.scale

        def average(rows: Located, outs: Sequence[Out]) -> Sequence[Overflow]:
            parts.mean(rows.hi, rows.lo[window, :rows.n], present, scale, *outs[index])
            return ()
        return average
    which = _ENDS[function]
    if function in ("seconds_since_first", "seconds_since_last"):
        def measure(rows: Located, outs: Sequence[Out]) -> Sequence[Overflow]:
            measure_since(rows.hi, rows.own, rows.lo[window, :rows.n], which, slots_ts, rows.ts, *outs[index])
            return ()
        slots_ts = slots.ts
        return measure
    values, marks = argument.values, np.empty(0, np.bool_) if argument.marks is None else argument.marks

    def read(rows: Located, outs: Sequence[Out]) -> Sequence[Overflow]:
        out, valid = outs[index]
        found = np.empty(rows.n, np.int64)
        read_end(rows.hi, rows.own, rows.lo[window, :rows.n], which, values, marks, found, valid)
        out[:] = raise_to(found, out.dtype)
        return ()
    return read


def _changes(label_changes: Mapping[Any, LabelChanges], label: Hashable) -> LabelChanges:
    if label not in label_changes:
        raise ValueError(f"there are no label changes of {label!r}")
    return label_changes[label]


def _result_type(feature: FeatureRequest) -> np.dtype[Any]:
    if feature.function in _FLOAT_RESULTS:
        return np.dtype(np.float64)
    if feature.function in _ZERO_WHEN_EMPTY or feature.values is None:
        return np.dtype(np.int64)
    return feature.values.dtype


def _refuse_nonsense(ts: Int64s, others: Sequence[npt.NDArray[Any]], *, current: bool, delay_us: int, windows: Sequence[int | None],
                     features: Sequence[FeatureRequest]) -> None:
    """Raise ValueError for what no caller may ask: kernels check no bounds."""
    arrays = [*others, *(array for feature in features for array in (feature.values, feature.valid) if array is not None)]
    if any(array.shape != ts.shape for array in arrays):
        raise ValueError(f"every array must have one entry for each of the {ts.shape[0]} positions")
    if ts.shape[0] and (bool((ts[1:] < ts[:-1]).any()) or not -FARTHEST_US < int(ts[0]) <= int(ts[-1]) < FARTHEST_US):
        raise ValueError("instants must not decrease, nor lie beyond ±2⁶⁰ µs")
    if delay_us < 0 or (current and delay_us) or any(length is not None and length <= 0 for length in windows):
        raise ValueError(f"no window has delay {delay_us} with current={current} and lengths {list(windows)}")
    for feature in features:
        if feature.function not in FUNCTIONS or not 0 <= feature.window < len(windows):
            raise ValueError(f"there is no {feature.function} over window {feature.window} of {len(windows)}")
        if feature.function in ("sum", "mean") and (feature.values is None or feature.values.dtype == np.float64):
            raise ValueError(f"{feature.function} needs integer values")
        if not 0 <= feature.scale <= 18 or not 0 <= (feature.limit or 0) <= GREATEST:
            raise ValueError(f"scale {feature.scale} or limit {feature.limit} is out of range")
