"""One feature group over all events: the object that engines call (`features.md`, How it is computed).

    run = GroupRun(ts=ts, key=key, n_keys=n, is_event=is_event, is_row=is_row, current=False, delay_us=0, windows=[Sliding(day), Latest(5)],
                   label_changes={}, features=[FeatureRequest("count", 0), FeatureRequest("sum", 1, amounts)])
    for start, stop in chunks:
        columns = run.advance(start, stop)

Positions are walked once, stretch by stretch, each key by key (`kernels.keyorder`) in blocks that stay in the processor's cache: windows
are located, then every column reads or updates its own state. Results do not depend on how positions are cut into chunks. A run belongs to
one thread at a time; several runs go in parallel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.kernels import catalog
from offline_feature_plane.kernels.exact import GREATEST, SumOverflow
from offline_feature_plane.kernels.keyorder import KeyOrder, Lines, Picked, Records
from offline_feature_plane.kernels.labelled import LabelChanges
from offline_feature_plane.kernels.reducing import Answer, Argument, FeatureRequest, Inputs, Overflow, Reducer, State
from offline_feature_plane.kernels.sliding import FARTHEST_US
from offline_feature_plane.kernels.slots import Bools, Int32s, Int64s, Slots, build_slots, freeze
from offline_feature_plane.kernels.windows import Located, Window, Windows

__all__ = ["FeatureRequest", "GroupRun", "LabelChanges", "SumOverflow"]

Column = tuple[npt.NDArray[Any], Bools | None]
_LONGEST_HALF_LIFE = 1 << 47   # µs: parts of one are counted in 16 more bits
_BLOCK = 1 << 14   # rows that pass through all features while they are in the cache
_STRETCH = 1 << 18   # positions that are walked by key at once: the more, the more often a key's memory is still at hand
_ROOM = 1 << 26   # bytes that their results may take, unless four blocks take more


class GroupRun:
    """Windows of one group, advanced chunk by chunk over positions in the total order.

    Args:
        ts: int64[N] instants in µs, not decreasing.
        key: int32[N] codes 0 … n_keys - 1; -1 where the position is neither event nor row of a key. Such a row is null everywhere.
        n_keys: how many codes there are.
        is_event: bool[N], the positions that are events of the group.
        is_row: bool[N], the positions to output.
        current: whether a row's own event, if it is one of the group, is inside its windows.
        delay_us: how long before the row's instant windows end.
        windows: of any kind that `kernels.windows` knows.
        label_changes: per handle how labels of events become known; already cut at the label as-of.
        features: the columns to compute.

    Raises:
        ValueError: arrays of unequal length, instants that decrease or lie 36,500 years from the epoch, keys out of range, an unknown
            function, a negative delay, `current` together with a delay, or more events than 32-bit slots hold.
    """

    def __init__(self, *, ts: Int64s, key: Int32s, n_keys: int, is_event: Bools, is_row: Bools, current: bool, delay_us: int,
                 windows: Sequence[Window], label_changes: Mapping[Any, LabelChanges], features: Sequence[FeatureRequest]) -> None:
        reducers = [catalog.reducer(feature.function) for feature in features]
        _refuse_nonsense(ts, (key, is_event, is_row), current=current, delay_us=delay_us)
        for feature, reducer in zip(features, reducers, strict=True):
            _refuse_feature(feature, reducer, ts, len(windows))
        self._ts, self._key, self._is_event, self._is_row = freeze(ts), freeze(key), freeze(is_event), freeze(is_row)
        self._next = 0
        self._kinds = [reducer.dtype(feature) for feature, reducer in zip(features, reducers, strict=True)]
        self._marked = [not reducer.never_null for reducer in reducers]
        self._stretch = max(4 * _BLOCK, min(_STRETCH, _ROOM // (9 * max(1, len(features))) // _BLOCK * _BLOCK))
        self._order, self._picked, self._block = KeyOrder(n_keys), Picked(_BLOCK), Lines(_BLOCK, self._kinds, self._marked)
        slots = build_slots(self._ts, self._key, self._is_event, n_keys)
        self._windows = Windows(slots, current=current, delay_us=delay_us, windows=windows, block=_BLOCK)
        self._jobs = _plan(slots, self._key, label_changes, self._windows.ends, list(zip(features, reducers, strict=True)))

    def advance(self, start: int, stop: int) -> list[Column]:
        """The columns of the rows among positions start … stop - 1, in order: values, and which are valid (None = all).

        Each column has the type that its reducer declares; values under nulls are 0. Chunks must follow each other from position 0.

        Raises:
            SumOverflow: a final result is beyond its limit: the earliest such position, then the first such feature. The run is then spent.
            ValueError: this chunk does not follow the last one.
        """
        if start != self._next or not start <= stop <= self._ts.shape[0]:
            raise ValueError(f"positions {start} to {stop} do not follow {self._next} of {self._ts.shape[0]}")
        is_row = self._is_row[start:stop]
        lines = Lines(int(np.count_nonzero(is_row)), self._kinds, self._marked)
        at = 0
        for low in range(start, stop, self._stretch):
            at += self._walk(low, min(low + self._stretch, stop), lines, at)
        self._next = stop
        known = self._key[start:stop][is_row] >= 0
        columns = [(values, known if valid is None else valid) for values, valid in lines.columns()]
        return [(values, None if valid.all() else valid) for values, valid in columns]

    def _walk(self, start: int, stop: int, lines: Lines, at: int) -> int:
        """Write the results of a stretch from entry `at` on; returns how many rows it has. Raises SumOverflow."""
        ts, key, is_event, is_row = (array[start:stop] for array in (self._ts, self._key, self._is_event, self._is_row))
        rows = int(np.count_nonzero(is_row))
        place = np.empty(0, np.int32) if rows == stop - start else np.cumsum(is_row, dtype=np.int32) - np.int32(1)
        records, order = Records(rows, len(self._kinds), sum(self._marked)), self._order.of(key)
        beyond: list[tuple[int, int, Overflow]] = []
        for low in range(0, stop - start, _BLOCK):
            block, home = self._picked.fill(order[low:low + _BLOCK], ts, key, is_event, is_row, place)
            located = self._windows.locate(*block)
            outs = self._block.room(located[0].n)
            beyond += [found for job in self._jobs for found in job(located, outs, home)]
            self._block.spread(located[0].n)
            records.put(home, self._block.values, self._block.valid)
        if beyond:
            row, feature, found = min(beyond)
            raise SumOverflow(feature, start + int(np.flatnonzero(is_row)[row]), found.total, found.limit)
        records.take(at, lines.values, lines.valid)
        return rows


Out = tuple[npt.NDArray[Any], Bools]
Job = Callable[[Sequence[Located], Sequence[Out], Int32s], Sequence[tuple[int, int, Overflow]]]  # the row's place, feature


def _plan(slots: Slots, key: Int32s, label_changes: Mapping[Any, LabelChanges], ends: Sequence[int],
          features: Sequence[tuple[FeatureRequest, Reducer[Any]]]) -> list[Job]:
    """One job per state, then one per feature without; features that share an argument, an upper end and a state share the job."""
    arguments: dict[Any, Argument] = {}
    shared: dict[tuple[Any, ...], list[int]] = {}
    for index, (feature, reducer) in enumerate(features):
        same = (id(feature.values), id(feature.valid))
        arguments.setdefault(same, Argument(slots, feature.values, feature.valid))
        end = ends[feature.window]
        alike = (feature.label, feature.share, feature.most) if reducer.state is not None else index
        shared.setdefault((reducer.state, same, end, alike), []).append(index)
    jobs = []
    for (_, same, end, _), indexes in sorted(shared.items(), key=lambda item: item[0][0] is None):
        windows = sorted({features[index][0].window for index in indexes})
        inputs = Inputs(slots, key, arguments[same], label_changes, _BLOCK)
        first, opener = features[indexes[0]]
        state, answers = opener.open_state(inputs, first, windows), []
        for index in indexes:
            feature, reducer = features[index]
            answers.append((index, reducer.answer(inputs, feature, state, windows.index(feature.window))))
        jobs.append(_job(end, state, answers))
    return jobs


def _job(end: int, state: State | None, answers: Sequence[tuple[int, Answer]]) -> Job:
    """Advance one state, if there is one, and let its features answer while the block is in the cache."""
    def work(located: Sequence[Located], outs: Sequence[Out], home: Int32s) -> Sequence[tuple[int, int, Overflow]]:
        rows = located[end]
        if state is not None:
            state.advance(rows)
        beyond = [(index, answer, found) for index, answer in answers if (found := answer(rows, *outs[index])) is not None]
        return [_earliest(index, answer, rows, outs[index], home, found) for index, answer, found in beyond]
    return work


def _earliest(index: int, answer: Answer, rows: Located, out: Out, home: Int32s, found: Overflow) -> tuple[int, int, Overflow]:
    """Of a block's rows beyond their limit the first one in the total order, where `found` is the first one of the block."""
    earliest, others = found, tuple(np.empty_like(line) for line in out)
    while True:
        place = int(home[earliest.row])
        before = np.flatnonzero(home < place)
        rows, home = rows.only(before), home[before]
        more = answer(rows, *(line[:rows.n] for line in others))
        if more is None:
            return place, index, earliest
        earliest = more


def _refuse_nonsense(ts: Int64s, arrays: Sequence[npt.NDArray[Any]], *, current: bool, delay_us: int) -> None:
    """Raise ValueError for what no caller may ask: kernels check no bounds."""
    _refuse_lengths(ts, arrays)
    if ts.shape[0] and (bool((ts[1:] < ts[:-1]).any()) or not -FARTHEST_US < int(ts[0]) <= int(ts[-1]) < FARTHEST_US):
        raise ValueError("instants must not decrease, nor exceed ±2⁶⁰ µs")
    if delay_us < 0 or (current and delay_us):
        raise ValueError(f"no window has delay {delay_us} with current={current}")


def _refuse_feature(feature: FeatureRequest, reducer: Reducer[Any], ts: Int64s, windows: int) -> None:
    """The same for one feature."""
    _refuse_lengths(ts, [array for array in (feature.values, feature.valid) if array is not None])
    if not 0 <= feature.window < windows:
        raise ValueError(f"there is no {feature.function} over window {feature.window} of {windows}")
    if reducer.needs_numbers and feature.values is None:
        raise ValueError(f"{feature.function} needs values")
    if not 0 <= feature.place < feature.most:
        raise ValueError(f"there is no place {feature.place} among {feature.most} values")
    if not 0 <= feature.half_life_us < _LONGEST_HALF_LIFE:
        raise ValueError(f"a half-life of {feature.half_life_us} µs is out of range")
    if not 0 <= feature.scale <= 18 or not 0 <= (feature.limit or 0) <= GREATEST:
        raise ValueError(f"scale {feature.scale} or limit {feature.limit} is out of range")


def _refuse_lengths(ts: Int64s, arrays: Sequence[npt.NDArray[Any]]) -> None:
    if any(array.shape != ts.shape for array in arrays):
        raise ValueError(f"every array must have one entry for each of the {ts.shape[0]} positions")
