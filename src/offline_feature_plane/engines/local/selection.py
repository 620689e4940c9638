"""Which events become rows, with which target, split and marks: the dispositions in their order (`decisions.md` D13, D17–D19, D24, D25).

Everything here is counting and masks over many events at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.accounting import check_accounting
from offline_feature_plane.domain.rows import DISPOSITIONS, Task
from offline_feature_plane.domain.windows import warm_from
from offline_feature_plane.engines.local.asofs import asofs_at
from offline_feature_plane.engines.local.cohorts import count_cohorts
from offline_feature_plane.engines.local.events import Events, History
from offline_feature_plane.engines.local.expressions import find_true
from offline_feature_plane.engines.local.labels import STATUSES, ResolvedType
from offline_feature_plane.engines.local.row_access import BLOCK, fields_at
from offline_feature_plane.engines.local.sampled import UNKNOWN, sample
from offline_feature_plane.engines.local.targets import find_targets
from offline_feature_plane.ports import ReplayFacts, SelectionFacts
from offline_feature_plane.ports.cohorts import add_up

__all__ = ["UNKNOWN", "Chosen", "Keeping", "Marked", "Selected", "find_candidates", "select_rows"]

_RESOLVED, _NOT_FOUND, _CONFLICT = (STATUSES.index(name) for name in ("RESOLVED", "NOT_FOUND", "CONFLICT"))

Bools = npt.NDArray[np.bool_]
Int8s = npt.NDArray[np.int8]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Selected:
    """The chosen rows among some neighbouring events, by `positions`, ascending: target (UNKNOWN = null), split, marks and weight."""

    positions: Int64s
    target: Int8s
    split: npt.NDArray[np.int16]
    mature: Bools
    cold: Bools
    weight: npt.NDArray[np.float64] | None

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.positions)

    def take(self, rows: slice | Bools, shift: int = 0) -> Selected:
        """Some of them, with positions counted from `shift`."""
        positions = self.positions[rows]
        return Selected(positions - shift if shift else positions, self.target[rows], self.split[rows], self.mature[rows], self.cold[rows],
                        None if self.weight is None else self.weight[rows])


Over = Callable[[int, int], Mapping[str, ResolvedType]]
Marked = Callable[[int, int], Bools]
"""Which of the events at positions `start … stop − 1` something is true of; asked from the first event to the last."""


class Chosen(Protocol):
    """The positions of chosen events."""

    def positions(self, start: int, stop: int) -> Int64s:
        """Those among the events at positions `start … stop − 1`, counted from `start`."""


class Keeping(Chosen, Protocol):
    """Where chosen rows are kept until they are computed."""

    def keep(self, rows: Selected, stop: int) -> None:
        """Take the rows of the next events, up to the one before position `stop`."""

    def within(self, start: int, stop: int) -> Selected:
        """The rows among the events at positions `start … stop − 1`, counted from `start`."""


def select_rows(history: History, task: Task, labels: Over, replayed: ReplayFacts, keeping: Keeping,
                block: int = BLOCK, strays: Marked | None = None, lacking: Marked | None = None) -> SelectionFacts:
    """Decide for every event what becomes of it; the first disposition that applies wins.

    Args:
        history: all admitted events.
        task: what decides.
        labels: per label type what holds, at their as-of, of the events at positions `start … stop − 1`.
        replayed: what reading left out, for the accounting.
        keeping: takes the rows.
        block: how many events are looked at at once.
        strays: which events are of an entity that an earlier split has; None: none.
        lacking: which events lack a context that every row must have; None: none.

    Raises:
        NumericOverflow: `subject.where` leaves its type.
        RowAccountingBroken: the dispositions do not sum to the events read.
    """
    warm = _warm_from(history, task)
    wanted = {(task.subject, field.name) for field in task.closure.source(task.subject).fields if field.name in _looks_at(task)}
    left_out, tallies = Counter(replayed.dispositions), _Tallies(task)
    for start in range(0, history.n, block):
        stop = min(start + block, history.n)
        rows, dropped = _select(history.window(start, stop, wanted), task, labels(start, stop), warm, tallies,
                                *(None if marked is None else marked(start, stop) for marked in (strays, lacking)))
        left_out.update(dropped)
        keeping.keep(rows.take(slice(None), -start), stop)
    counts: dict[str, int] = {name: left_out[name] for name in DISPOSITIONS}
    counts["row"] = tallies.rows
    check_accounting(counts, replayed.events_read)
    return SelectionFacts(counts, tallies.coverage, tallies.splits, tallies.beyond, add_up(tallies.cohorts))


def _looks_at(task: Task) -> frozenset[str]:
    """The fields that decide."""
    by = task.sampling.by if task.sampling is not None else None
    return (frozenset() if task.where is None else frozenset(task.where.names())) | ({by} if by is not None else set())


class _Tallies:
    """The counts that gates judge, summed over the events seen so far."""

    def __init__(self, task: Task) -> None:
        self.rows, self.beyond = 0, 0
        self._task = task
        self.coverage: dict[str, dict[str, int]] = {}
        self.splits: dict[str, dict[str, int]] = {}
        self.cohorts: list[pa.Table] = []

    def cover(self, name: str, states: ResolvedType, mature: Int64s) -> None:
        """Count the states of mature subject rows."""
        _add(self.coverage.setdefault(name, {}), _covered(states, mature))

    def take(self, rows: Selected, ts: Int64s) -> None:
        """Count chosen rows."""
        self.rows += rows.n
        self.beyond += int(np.count_nonzero(ts > asofs_at(ts, self._task)))
        for name, found in _count_splits(self._task, rows).items():
            _add(self.splits.setdefault(name, {}), found)


def _add(to: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        to[name] = to.get(name, 0) + count


def find_candidates(events: Events, task: Task) -> tuple[Int64s, npt.NDArray[np.int16]]:
    """Which of some events are subjects, pass `where` and lie in a split, and in which. Raises NumericOverflow: `where` leaves its type."""
    left = _subjects(events, task)
    split, outside = _split_codes(events.ts[left.rows], task)
    return left.rows[~outside], split[~outside]


def _subjects(events: Events, task: Task) -> _Remaining:
    left = _Remaining(events, task)
    left.drop("context", events.source[left.rows] != task.closure.place(task.subject))
    left.drop_where()
    return left


def _select(events: Events, task: Task, labels: Mapping[str, ResolvedType], warm: int | None, tallies: _Tallies,
            strays: Bools | None, lacking: Bools | None) -> tuple[Selected, dict[str, int]]:
    """The rows among some neighbouring events, and how many each disposition took."""
    left = _subjects(events, task)
    split, outside = _split_codes(events.ts[left.rows], task)
    mature = _is_mature(events.ts[left.rows], task)
    at_home = split if strays is None else np.where(strays[left.rows], np.int16(-1), split)
    tallies.cohorts += count_cohorts(events.ts[left.rows], left.rows, at_home, mature, task, labels)
    split, mature = split[~outside], mature[~outside]
    left.drop("outside_splits", outside)
    if strays is not None:
        gone = strays[left.rows]
        split, mature = split[~gone], mature[~gone]
        left.drop("earlier_split", gone)
    for name in task.labels.types:
        tallies.cover(name, labels[name], left.rows[mature])
    if task.labels.maturity_us is not None and task.labels.immature == "exclude":
        split = split[mature]
        left.drop("immature", ~mature)
        mature = mature[mature]
    target, unlabeled, conflicting = find_targets(left.rows, mature, task.target, labels)
    gone = unlabeled | conflicting
    split, mature, target = split[~gone], mature[~gone], target[~gone]
    left.drop("unlabeled", unlabeled, "label_conflict", conflicting)
    if lacking is not None:
        gone = lacking[left.rows]
        split, mature, target = split[~gone], mature[~gone], target[~gone]
        left.drop("missing_context", gone)
    ts = events.ts[left.rows]
    rows = Selected(left.rows, target, split, mature, ts < warm if warm is not None else np.zeros(len(ts), np.bool_), None)
    if task.cold_rows == "exclude":
        left.drop("cold", rows.cold)
        rows = rows.take(~rows.cold)
    if task.sampling is not None:
        kept, weights = sample(events, rows.positions, rows.target, task)
        left.drop("sampled_out", ~kept)
        rows = replace(rows, weight=weights).take(kept)
    tallies.take(rows, events.ts[rows.positions])
    return rows, left.counts


class _Remaining:
    """The events that nothing dropped so far, and how many each disposition took."""

    def __init__(self, events: Events, task: Task) -> None:
        self.events, self.task = events, task
        self.rows: Int64s = np.arange(events.n, dtype=np.int64)
        self.counts: dict[str, int] = {}

    def drop(self, *reasons: str | Bools) -> None:
        """Take away rows: pairs of a disposition and a mask over the remaining rows; masks exclude each other."""
        gone: Bools = np.zeros(len(self.rows), dtype=np.bool_)
        for name, mask in zip(reasons[::2], reasons[1::2], strict=True):
            self.counts[str(name)] = int(np.count_nonzero(mask))
            gone |= mask  # type: ignore[arg-type]  # every second one is a mask
        if gone.any():
            self.rows = self.rows[~gone]

    def drop_where(self) -> None:
        """Take away the rows for which `subject.where` is not True, block by block."""
        where = self.task.where
        if where is None:
            return
        passes = np.empty(len(self.rows), dtype=np.bool_)
        for start in range(0, len(self.rows), BLOCK):
            block = self.rows[start:start + BLOCK]
            passes[start:start + BLOCK] = find_true(where, fields_at(self.events, self.task.subject, where.names(), block), len(block))
        self.drop("where", ~passes)


def _split_codes(ts: Int64s, task: Task) -> tuple[npt.NDArray[np.int16], Bools]:
    """The split of each instant, and which lie in none. Without splits there is one, `all`."""
    if not task.splits:
        return np.zeros(len(ts), dtype=np.int16), np.zeros(len(ts), dtype=np.bool_)
    codes = np.full(len(ts), -1, dtype=np.int16)
    for place, split in reversed(tuple(enumerate(task.splits))):
        codes[(ts >= split.start_us) & (ts < split.end_us)] = place
    return codes, codes < 0


def _is_mature(ts: Int64s, task: Task) -> Bools:
    if task.labels.maturity_us is None:
        return np.ones(len(ts), dtype=np.bool_)
    return ts <= asofs_at(ts, task) - task.labels.maturity_us


def _covered(states: ResolvedType, rows: Int64s) -> dict[str, int]:
    found = np.bincount(states.status[rows], minlength=3)
    return {"subjects": len(rows), "resolved": int(found[_RESOLVED]), "not_found": int(found[_NOT_FOUND]),
            "conflict": int(found[_CONFLICT])}


def _warm_from(history: History, task: Task) -> int | None:
    """From when on every window of a row begins in the known history of its source; None: from the beginning (`decisions.md` D19)."""
    declared, depths = dict(task.history_start_us), task.closure.depths()
    found: list[int] = []
    for place, source in enumerate(task.closure.sources):
        start = declared.get(source.name)
        if start is None:
            start = history.first_instant(place)
        if start is not None:  # else no event: there is no history that a window could miss
            found += [warm for window, delay_us in depths.get(source.name, ()) if (warm := warm_from(window, delay_us, start)) is not None]
    return max(found, default=None)


def _count_splits(task: Task, rows: Selected) -> dict[str, dict[str, int]]:
    names = [one.name for one in task.splits] or ["all"]
    found = {}
    for place, name in enumerate(names):
        mine = rows.split == place
        targets = np.bincount(rows.target[mine].astype(np.int64) + 1, minlength=3)
        found[name] = {"rows": int(np.count_nonzero(mine)), "positive": int(targets[2]), "negative": int(targets[1]),
                       "unknown": int(targets[0]), "cold": int(np.count_nonzero(rows.cold & mine))}
    return found
