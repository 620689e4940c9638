"""Cohorts as plain Python: every subject event that passes `where` is asked for its day, split, maturity and answer (`ports.cohorts`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from offline_feature_plane.domain.accounting import is_mature, split_of
from offline_feature_plane.domain.evaluation import is_true
from offline_feature_plane.domain.instants import US_PER_DAY
from offline_feature_plane.domain.maturity import days_between
from offline_feature_plane.domain.resolution import Assertion, resolve
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.oracle.meaning import Event, speaks_of, stands_earlier
from offline_feature_plane.ports.cohorts import COHORTS, add_up


def count_cohorts(events: Sequence[Event], assertions: Sequence[Assertion], task: Task) -> pa.Table:
    """The cells of a task's events, which are in their order. Raises as `resolve` and `is_true`."""
    counted: Counter[tuple[str, str | None, int, bool, str, int | None]] = Counter()
    for event in events:
        if event.source != task.subject or not is_true(task.where, event.scope()):
            continue
        labels = task.labels_at(event.ts_us)
        split = None if stands_earlier(event, events, task) else split_of(event.ts_us, task.splits)
        for label_type in labels.types:
            about = [one for one in assertions if one.label_type == label_type and speaks_of(one, event)]
            found = resolve(about, labels.asof_us, labels.rule)
            lag = None if found.observed_us is None else days_between(event.ts_us, found.observed_us)
            counted[label_type, split, event.ts_us // US_PER_DAY, is_mature(event.ts_us, labels), found.status, lag] += 1
    cells = [dict(zip(COHORTS.names, (*key, count), strict=True)) for key, count in counted.items()]
    return add_up([pa.Table.from_pylist(cells, COHORTS)])
