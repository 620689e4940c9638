"""Labels of a window's events as known at each row: counts of matched and of resolved ones (`decisions.md` D22, D23).

```
   event e of the key      ●───────────────────────────────────▶ time
   its label                     ▲ FRAUD at 3      ▲ reversed at 8
   in the window                       (5 ─────────────── 12]
   counted                             ███████████·
```

An event's status changes when its label becomes known or is reversed, whether or not the event is in a window yet: with a delay it enters
after its label changed. A change takes effect for rows at its instant and later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.reducing import Answer, FeatureRequest, Inputs, Reducer
from offline_feature_plane.kernels.sliding import Located
from offline_feature_plane.kernels.slots import INT8S, INT32S, INT64S, Bools, build_slots


@dataclass(frozen=True)
class LabelChanges:
    """From `at_us[i]` on, the label of the event at `event_position[i]` is `matched[i]` (one of the values asked for) and `resolved[i]`.

    All of length m, in any order; of two changes of one event at one instant the later in the arrays counts. Before its first change
    an event is neither. Changes of positions that are no group event are passed over.
    """

    event_position: npt.NDArray[np.int64]
    at_us: npt.NDArray[np.int64]
    matched: npt.NDArray[np.int8]
    resolved: npt.NDArray[np.int8]


@compiled(types.void(INT32S, INT64S, INT32S, types.int32[:, ::1], INT64S, INT32S, INT64S, INT32S, INT8S, INT8S, INT32S,
                     types.int64[:, ::1], types.int64[:, ::1]))
def count_labels(key: Any, ts: Any, hi: Any, lo: Any, windows: Any,  # noqa: C901 - one walk, one kernel
                 change_first: Any, change_at: Any, change_slot: Any, change_status: Any, status: Any, state: Any,
                 matched: Any, resolved: Any) -> None:
    """Write each row's matched and resolved events per window.

    A status has bit 0 if matched and bit 1 if resolved. `state` holds per key the next change and the end of the slots that entered, then
    per window its lower end, matched and resolved.
    """
    stride = 3 * windows.shape[0] + 2
    n = key.shape[0]
    for r in range(n):
        k = key[r]
        if k < 0:
            for j in range(windows.shape[0]):
                matched[j, r] = 0
                resolved[j, r] = 0
            continue
        base = np.int64(k) * stride
        change, entered, end = state[base], state[base + 1], hi[r]
        while change < change_first[k + 1] and change_at[change] <= ts[r]:
            slot, now = change_slot[change], change_status[change]
            was = status[slot]
            status[slot] = now
            if slot < entered and now != was:
                for j in range(windows.shape[0]):
                    place = base + 2 + 3 * j
                    if slot >= state[place]:
                        state[place + 1] += (now & 1) - (was & 1)
                        state[place + 2] += (now >> 1) - (was >> 1)
            change += 1
        state[base], state[base + 1] = change, end
        for j in range(windows.shape[0]):
            place = base + 2 + 3 * j
            start, hits, answers = lo[windows[j], r], state[place + 1], state[place + 2]
            for slot in range(state[place], min(start, entered)):
                hits -= status[slot] & 1
                answers -= status[slot] >> 1
            for slot in range(max(entered, start), end):
                hits += status[slot] & 1
                answers += status[slot] >> 1
            state[place], state[place + 1], state[place + 2] = start, hits, answers
            matched[j, r] = hits
            resolved[j, r] = answers


class Labelled:
    """The label status of a group's events as time goes on: `matched` and `resolved` hold a line per window."""

    def __init__(self, inputs: Inputs, changes: LabelChanges, windows: Sequence[int]) -> None:
        slots = inputs.slots
        order = np.argsort(changes.at_us, kind="stable")
        position = np.asarray(changes.event_position, np.int64)[order]
        slot = slots.slot_of[position]
        by_key = build_slots(np.asarray(changes.at_us, np.int64)[order], inputs.key[position], slot >= 0, slots.first.shape[0] - 1)
        self._first, self._at = by_key.first, by_key.ts
        self._slot = by_key.gather(slot, None).astype(np.int32)
        status = (np.asarray(changes.matched)[order] != 0) + 2 * (np.asarray(changes.resolved)[order] != 0)
        self._change = by_key.gather(status, None).astype(np.int8)
        self._status = np.zeros(slots.n, np.int8)
        self._windows = np.array(windows, np.int64)
        state = np.zeros((slots.first.shape[0] - 1, 3 * len(windows) + 2), np.int32)
        state[:, 0] = by_key.first[:-1]
        state[:, 1] = slots.first[:-1]
        state[:, 2::3] = slots.first[:-1, None]
        self._state = state.reshape(-1)
        self.matched, self.resolved = np.empty((len(windows), inputs.block), np.int64), np.empty((len(windows), inputs.block), np.int64)

    def advance(self, rows: Located) -> None:
        """Hold a block's counts."""
        count_labels(rows.key, rows.ts, rows.hi, rows.lo, self._windows, self._first, self._at, self._slot, self._change, self._status,
                     self._state, self.matched, self.resolved)


class _LabelReducer(Reducer[Labelled]):
    state = "labels"

    def open_state(self, inputs: Inputs, feature: FeatureRequest, windows: Sequence[int]) -> Labelled:
        """The status of every event, and counts per window. Raises ValueError for labels that the run does not have."""
        if feature.label not in inputs.label_changes:
            raise ValueError(f"there are no label changes of {feature.label!r}")
        return Labelled(inputs, inputs.label_changes[feature.label], windows)


class LabelCountReducer(_LabelReducer):
    """The number of events of a window whose label matches."""

    result, never_null = np.int64, True

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: Labelled, line: int) -> Answer:  # noqa: ARG002 - one shape for all
        """The state's line."""
        def read(rows: Located, out: npt.NDArray[Any], _valid: Bools) -> None:
            out[:] = state.matched[line, :rows.n]
        return read


class LabelRateReducer(_LabelReducer):
    """Matches by events, or by resolved events: one float64 division of integers below 2³¹."""

    result = np.float64

    def answer(self, inputs: Inputs, feature: FeatureRequest, state: Labelled, line: int) -> Answer:  # noqa: ARG002 - same
        """The state's line, divided; null where there is nothing to divide by."""
        window, of_resolved = feature.window, feature.of_resolved

        def divide(rows: Located, out: npt.NDArray[Any], valid: Bools) -> None:
            of = state.resolved[line, :rows.n] if of_resolved else rows.hi - rows.lo[window, :rows.n]
            np.greater(of, 0, out=valid)
            out[:] = 0.0
            np.divide(state.matched[line, :rows.n], of, out=out, where=valid)
        return divide
