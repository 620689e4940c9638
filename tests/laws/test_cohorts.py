"""Cohorts add up: to the coverage that gates judge, to the accounting, whatever the pieces they were counted in (`ports.cohorts`)."""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from two_engines import label_task

from offline_feature_plane.corridor.cohorts import CORE_MONTHS, add_cohorts, core_cohorts, count_lags, cover_splits
from offline_feature_plane.domain.accounting import is_mature, split_of
from offline_feature_plane.domain.instants import US_PER_DAY
from offline_feature_plane.domain.maturity import days_between
from offline_feature_plane.domain.periods import PERIODS
from offline_feature_plane.domain.rows import LabelTask, Split
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.local.cohorts import count_cohorts
from offline_feature_plane.engines.local.labels import STATUSES, ResolvedType
from offline_feature_plane.ports.cohorts import COHORTS, KEYS, add_up
from offline_feature_plane.testing.drawing import draw_apart_world, draw_world


def counted(world):
    """What the local engine selects of a world."""
    with tempfile.TemporaryDirectory() as name:
        events, labels = world.write(Path(name))
        (Path(name) / "work").mkdir()
        with LocalEngine().session(world.task, work=Path(name) / "work", threads=1) as session:
            session.replay(events)
            session.labels(labels)
            return session.select()


def cell(day, status="RESOLVED", *, lag=None, split="train", mature=True, events=1, label_type="fraud"):
    """One cell."""
    return {"label_type": label_type, "split": split, "day": day, "mature": mature, "status": status, "lag_days": lag, "events": events}


def cells(*told):
    """A table of cells."""
    return add_up([pa.Table.from_pylist([one], COHORTS) for one in told])


@pytest.mark.parametrize(("draw", "seed"), [(draw_world, 1), (draw_world, 4), (draw_world, 9), (draw_world, 23), (draw_apart_world, 2),
                                            (draw_apart_world, 5)])
def test_cohorts_add_up_to_coverage_and_accounting(draw, seed):
    """Mature cells in splits are the coverage of each type; all cells are the events that are subjects and pass `where`.

    An event whose entity stands in an earlier split is in no split's cohort, for it is no row of its own.
    """
    world = draw(seed)
    found = counted(world)
    assert (found.accounting["earlier_split"] > 0) == (draw is draw_apart_world)
    subjects = sum(count for name, count in found.accounting.items() if name in (
        "outside_splits", "earlier_split", "immature", "unlabeled", "label_conflict", "cold", "sampled_out", "row"))
    for name in world.task.labels.types:
        own = found.cohorts.filter(pc.equal(found.cohorts["label_type"], name))
        assert (pc.sum(own["events"]).as_py() or 0) == subjects
        inside = own.filter(pc.and_(pc.is_valid(own["split"]), own["mature"]))
        by_status = {status: pc.sum(inside.filter(pc.equal(inside["status"], status))["events"]).as_py() or 0
                     for status in ("RESOLVED", "NOT_FOUND", "CONFLICT")}
        coverage = found.coverage.get(name, dict.fromkeys(("resolved", "not_found", "conflict"), 0))
        assert by_status == {status: coverage[status.lower()] for status in by_status}
        apart = cover_splits(found.cohorts, [name], [split.name for split in world.task.splits] or ["all"])[name].values()
        assert {status: sum(one[status.lower()] for one in apart) for status in by_status} == by_status
        for period in (None, *PERIODS):
            assert sum(one.found.subjects for one in add_cohorts(found.cohorts, name, period)) == subjects


def test_parts_add_up_to_one_table():
    """The same cells in other pieces and another order are the same table, each key once."""
    told = [cell(day, lag=lag, events=day + 1) for day in range(5) for lag in (1, 2)] + [cell(3, "NOT_FOUND", split=None)]
    whole = cells(*told)
    assert add_up([cells(*told[5:]), cells(*told[:5])]).equals(whole)
    twice = add_up([whole, whole])
    assert twice["events"].to_pylist() == [2 * events for events in whole["events"].to_pylist()]
    assert twice.select(KEYS).equals(whole.select(KEYS))


def test_a_period_is_told_apart_by_split_and_maturity():
    """Cohorts stand in the order of time, then of their splits, the mature ones first; a week begins on its Monday.

    1970-01-01, a Thursday, is in the week of 1969-12-29

         01-01          01-05               01-06
    ──────●──────────────●───────────────────●───────▶
        train          train, test         none, young
    """
    found = cells(cell(0, lag=3, events=2), cell(4, "CONFLICT"), cell(4, lag=1, split="test"),
                  cell(5, "NOT_FOUND", split=None, mature=False, events=7))
    weeks = add_cohorts(found, "fraud", "week")
    assert [(one.start, one.split, one.mature, one.found.resolved, one.found.not_found, one.found.conflict, one.lag.p99)
            for one in weeks] == [
        ("1969-12-29", "train", True, 2, 0, 0, 3), ("1970-01-05", "train", True, 0, 0, 1, None), ("1970-01-05", "test", True, 1, 0, 0, 1),
        ("1970-01-05", None, False, 0, 7, 0, None)]
    assert [one.split for one in add_cohorts(found, "fraud")] == ["train", "test", None]
    assert add_cohorts(found, "other") == ()


def test_lags_are_counted_of_old_enough_events():
    """With `before_day` only answers about events of earlier days count; silence and conflicts have no lag."""
    found = cells(cell(0, lag=3, events=2), cell(5, lag=1), cell(6, lag=1), cell(0, "NOT_FOUND"), cell(0, "CONFLICT"))
    assert count_lags(found, "fraud") == {1: 2, 3: 2}
    assert count_lags(found, "fraud", before_day=6) == {1: 1, 3: 2}


def test_a_core_tells_a_bounded_number_of_months():
    """However long a history is, a core holds its latest months, and one line for all that was before; nothing is left out of the sums."""
    found = cells(*(cell(day, lag=1) for day in range(0, 31 * (CORE_MONTHS + 40), 31)), cell(9, "NOT_FOUND", split=None, events=50))
    told = core_cohorts(found, ["fraud"])["fraud"]
    assert len(told["months"]) == CORE_MONTHS + 1
    assert told["months"][0]["from"] is None
    assert sum(one["subjects"] for one in told["months"]) == CORE_MONTHS + 40 == told["splits"][0]["subjects"]


@pytest.mark.parametrize("reach_days", [3, 40, 3_000_000])
def test_columns_are_counted_as_one_would_by_hand(reach_days):
    """However far lags reach, before the event too, counting columns gives what asking each event gives.

    ──●──●──────●┤ split │●──●───────┤ maturity cut │●──●──▶   observed anywhere within the reach
    """
    random, n = np.random.default_rng(reach_days), 400
    ts = np.sort(random.integers(0, 12 * US_PER_DAY, n))
    observed = ts + random.integers(-reach_days * US_PER_DAY, reach_days * US_PER_DAY, n)
    status, rows = random.integers(0, 3, n + 5).astype(np.int8), np.arange(5, n + 5)
    splits = (Split("train", US_PER_DAY, 4 * US_PER_DAY), Split("test", 5 * US_PER_DAY, 9 * US_PER_DAY + 7))
    task = replace(label_task(), splits=splits, labels=LabelTask(30 * US_PER_DAY, "latest_observed.v1", ("fraud",), 20 * US_PER_DAY + 5))
    codes = np.array([next((place for place, one in enumerate(splits) if one.start_us <= at < one.end_us), -1) for at in ts], np.int16)
    mature = ts <= 10 * US_PER_DAY - 5
    known = np.concatenate([np.zeros(5, np.int64), observed])
    states = ResolvedType("fraud", status, status, pa.array([]), known, status, pa.array([]), None)
    expected = Counter(
        ("fraud", split_of(at, splits), at // US_PER_DAY, is_mature(at, task.labels), STATUSES[code],
         days_between(at, seen) if STATUSES[code] == "RESOLVED" else None)
        for at, seen, code in zip(ts.tolist(), observed.tolist(), status[5:].tolist(), strict=True))
    found = add_up(count_cohorts(ts, rows, codes, mature, task, {"fraud": states}))
    assert dict(zip(zip(*(found[name].to_pylist() for name in KEYS), strict=True), found["events"].to_pylist(), strict=True)) == expected
