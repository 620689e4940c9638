"""Cohorts for people and manifests: the cells that an engine counted, added up by split and by period of event time (`ports.cohorts`).

```
   2026-01 ─ train, mature ─┬─ 2026-02 ─ train, mature ─┬─ 2026-03 ─ in no split, mature ─┬─ 2026-04 ─ test, not mature yet ─▶
   resolved, not found, conflict; p50, p90, p99 of the lag in days                        as_of − maturity
```
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.coverage import Coverage, Unlabeled
from offline_feature_plane.domain.maturity import LagDays, measure_days
from offline_feature_plane.domain.periods import Period, first_day

__all__ = ["Cohort", "add_cohorts", "core_cohorts", "count_lags", "cover_splits"]

CORE_MONTHS = 120  # a manifest tells so many months apart; what was before them stands together
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Cohort:
    """Subject events of one split and one side of the maturity cut, and what holds of their label at the as-of.

    Attributes:
        split: None for events in no split.
        start: the first day of the period of event time, as text; None for all of them, or for what lies before the months told apart.
        mature: are they mature? Events of one day may be on both sides.
        found: how many have which answer.
        lag: how long the answers took.
    """

    split: str | None
    start: str | None
    mature: bool
    found: Coverage
    lag: LagDays

    def answered(self, unlabeled: Unlabeled | None) -> Fraction:
        """The share with an answer; silence is one only of mature events, where the target says so (`decisions.md` D24)."""
        return self.found.answered(unlabeled if unlabeled is not None and self.mature else "refuse")

    def document(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"split": self.split, "from": self.start, "mature": self.mature, "subjects": self.found.subjects,
                "resolved": self.found.resolved, "not_found": self.found.not_found, "conflict": self.found.conflict,
                "lag_days": {"p50": self.lag.p50, "p90": self.lag.p90, "p99": self.lag.p99}}


def add_cohorts(cells: pa.Table, label_type: str, period: Period | None = None, *, most: int | None = None) -> tuple[Cohort, ...]:
    """The cohorts of one label type, in the order of event time.

    Args:
        cells: as `ports.cohorts` says.
        label_type: whose cells count.
        period: apart by day, week or month; None: only by split.
        most: how many of the latest periods are told apart.
    """
    own = cells.filter(pc.equal(cells["label_type"], label_type))
    days = own["day"].unique().to_pylist()
    starts = {day: first_day(day, period) for day in days} if period is not None else {}
    apart = sorted(set(starts.values()))[-most:] if most is not None else starts.values()
    names = {start: date.fromordinal(start + _EPOCH_ORDINAL).isoformat() for start in apart}
    named = pa.array([names.get(starts.get(day)) for day in days], pa.string())  # type: ignore[arg-type]  # None names nothing
    earliest = own.group_by("split").aggregate([("day", "min")])
    first = dict(zip(earliest["split"].to_pylist(), earliest["day_min"].to_pylist(), strict=True))
    own = own.append_column("start", named.take(pc.index_in(own["day"], pa.array(days, pa.int32())).combine_chunks()))
    keys = ["split", "start", "mature", "status", "lag_days"]
    counted = own.group_by(keys).aggregate([("events", "sum")])
    statuses: defaultdict[tuple[str | None, str | None, bool], Counter[str]] = defaultdict(Counter)
    lags: defaultdict[tuple[str | None, str | None, bool], Counter[int]] = defaultdict(Counter)
    for split, start, mature, status, lag, events in zip(*(counted[name].to_pylist() for name in (*keys, "events_sum")), strict=True):
        statuses[split, start, mature][status] += events
        if lag is not None:
            lags[split, start, mature][lag] += events
    return tuple(Cohort(*key, Coverage(found["RESOLVED"], found["NOT_FOUND"], found["CONFLICT"]), measure_days(lags[key]))
                 for key, found in sorted(statuses.items(), key=lambda item: (item[0][1] or "", first[item[0][0]], not item[0][2])))


def count_lags(cells: pa.Table, label_type: str, *, before_day: int | None = None,
               later: Mapping[str, int] | None = None) -> dict[int, int]:
    """How many answers of a label type came after how many days; with `before_day`, of events of earlier days only.

    `later` has a later such day for some splits.
    """
    own = cells.filter(pc.and_(pc.equal(cells["label_type"], label_type), pc.equal(cells["status"], "RESOLVED")))
    if before_day is not None:
        old = pc.less(own["day"], before_day)
        for split, day in (later or {}).items():
            old = pc.or_kleene(old, pc.and_kleene(pc.equal(own["split"], split), pc.less(own["day"], day)))
        own = own.filter(old)
    counted = own.group_by("lag_days").aggregate([("events", "sum")])
    return dict(sorted(zip(counted["lag_days"].to_pylist(), counted["events_sum"].to_pylist(), strict=True)))


def cover_splits(cells: pa.Table, label_types: Sequence[str], splits: Sequence[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Of the mature subjects of each label type and split: `subjects, resolved, not_found, conflict`; over splits, a type's coverage."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for name in label_types:
        mature = {one.split: one.found for one in add_cohorts(cells, name) if one.mature}
        every = {split: mature.get(split, Coverage(0, 0, 0)) for split in splits}
        found[name] = {split: {"subjects": one.subjects, "resolved": one.resolved, "not_found": one.not_found, "conflict": one.conflict}
                       for split, one in every.items()}
    return found


def core_cohorts(cells: pa.Table, label_types: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What a manifest's core says per label type of the events in splits: `splits`, and `months` of event time; bounded in size."""
    inside = cells.filter(pc.is_valid(cells["split"]))
    return {name: {"splits": [one.document() for one in add_cohorts(inside, name)],
                   "months": [one.document() for one in add_cohorts(inside, name, "month", most=CORE_MONTHS)]} for name in label_types}
