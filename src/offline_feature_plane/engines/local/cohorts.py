"""Cohorts from columns: neighbouring events in the order of time, so that days, splits and the maturity cut are runs (`ports.cohorts`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.instants import US_PER_DAY
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.labels import STATUSES, ResolvedType
from offline_feature_plane.ports.cohorts import COHORTS

Int64s = npt.NDArray[np.int64]

_RESOLVED = STATUSES.index("RESOLVED")
_TABLE = 1 << 22  # so many counters are quicker than sorting


def count_cohorts(ts: Int64s, rows: Int64s, split: npt.NDArray[np.int16], mature: npt.NDArray[np.bool_], task: Task,
                  labels: Mapping[str, ResolvedType]) -> list[pa.Table]:
    """The cells of some subject events, per label type.

    Args:
        ts: the instants of these events, ascending.
        rows: their positions in `labels`.
        split: their split by its place in the task, −1 for none; without splits there is one, `all`.
        mature: which of them are mature.
        task: names splits and label types.
        labels: what holds at the as-of.
    """
    if not len(ts):
        return []
    day = ts // US_PER_DAY
    begins = np.ones(len(ts), np.bool_)
    begins[1:] = (day[1:] != day[:-1]) | (split[1:] != split[:-1]) | (mature[1:] != mature[:-1])
    first = np.flatnonzero(begins)
    names = pa.array([*(one.name for one in task.splits or ()), *([] if task.splits else ["all"]), None], pa.string())
    runs = {"split": names.take(pa.array(split[first] % len(names))), "day": pa.array(day[first].astype(np.int32)),
            "mature": pa.array(mature[first])}
    return [_cells(name, runs, first, ts, labels[name].status[rows], labels[name].observed, rows) for name in task.labels.types]


def _cells(label_type: str, runs: Mapping[str, pa.Array], first: Int64s, ts: Int64s, status: npt.NDArray[np.int8], observed: Int64s,
           rows: Int64s) -> pa.Table:
    """One label type: an answer by its lag, anything else by its status alone."""
    counted: list[tuple[Int64s, Int64s | None, Int64s, str]] = []
    for code, name in enumerate(STATUSES):
        if code != _RESOLVED:
            events = np.add.reduceat((status == code).astype(np.int64), first)
            counted.append((np.flatnonzero(events), None, events[events > 0], name))
    answered = np.flatnonzero(status == _RESOLVED)
    if len(answered):
        run = np.repeat(np.arange(len(first)), np.diff(first, append=len(ts)))[answered]
        lag = -((ts[answered] - observed[rows[answered]]) // US_PER_DAY)  # `maturity.days_between`; instants are within 9,999 years
        counted.append((*_count_pairs(run, lag), STATUSES[_RESOLVED]))
    return pa.concat_tables([pa.table({
        "label_type": pa.repeat(label_type, len(run)), **{key: values.take(pa.array(run)) for key, values in runs.items()},
        "status": pa.repeat(name, len(run)), "lag_days": pa.nulls(len(run), pa.int32()) if lag is None else pa.array(lag.astype(np.int32)),
        "events": pa.array(events, pa.int64())}, COHORTS) for run, lag, events, name in counted])


def _count_pairs(run: Int64s, lag: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """How often each run and lag meet: runs, lags, counts. Runs lie close together; lags mostly do."""
    least = int(lag.min())
    span = int(lag.max()) - least + 1
    code = run * span + (lag - least)
    if span * (int(run[-1]) + 1) <= _TABLE:
        counts = np.bincount(code)
        found = np.flatnonzero(counts)
        counts = counts[found]
    else:
        found, counts = np.unique(code, return_counts=True)
    return found // span, found % span + least, counts
