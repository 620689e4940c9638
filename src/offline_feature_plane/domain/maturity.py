"""How long labels take, in whole days, and what follows for maturity, splits and the as-of (`domain.md` §1.7, `decisions.md` D25).

```
 ──[ split )──────────┤ as_of − maturity        ┤ as_of
           └── its last event waits `maturity` ─▶     a label with a lag of at most `maturity` days has arrived
```

Days are rounded up, because maturity is stated in whole days: an event's label is in by its maturity iff its lag, rounded up, is not above.
Rounding up keeps order, so a percentile of rounded lags is the rounded percentile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from offline_feature_plane.domain.coverage import PERCENTILES, nearest_rank
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, US_PER_DAY

__all__ = ["ENOUGH", "LONGEST_MATURITY_DAYS", "Choice", "LagDays", "days_between", "measure_days", "settled_by", "weigh"]

LONGEST_MATURITY_DAYS = 36_500
ENOUGH = 100  # so many answers before a 99 % point is one of them


@dataclass(frozen=True)
class LagDays:
    """How many days after their events the answers that hold became known: nearest-rank percentiles, None if there is no answer."""

    answers: int
    p50: int | None
    p90: int | None
    p99: int | None


@dataclass(frozen=True)
class Choice:
    """One maturity and what follows from it.

    Attributes:
        days: the maturity.
        why: where it comes from: `p90`, `p99`, `intent`, `asked`.
        known: the share of answers that were known within so many days; None if there is no answer.
        last_end_us: the last instant at which a split may end at the intent's as-of.
        earliest_asof_us: the earliest as-of at which everything before the given end is mature; None beyond the year 9999.
    """

    days: int
    why: tuple[str, ...]
    known: Fraction | None
    last_end_us: int
    earliest_asof_us: int | None


def days_between(start_us: int, end_us: int) -> int:
    """Whole days from one instant to another, rounded up.

    >>> days_between(0, US_PER_DAY), days_between(0, US_PER_DAY + 1), days_between(1, 0), days_between(US_PER_DAY, 0)
    (1, 2, 0, -1)
    """
    return -((start_us - end_us) // US_PER_DAY)


def measure_days(lags: Mapping[int, int]) -> LagDays:
    """The percentiles of lags that are counted by day.

    >>> measure_days({3: 98, 7: 1, 90: 1})
    LagDays(answers=100, p50=3, p90=3, p99=7)
    """
    total, ordered = sum(lags.values()), sorted(lags)
    if not total:
        return LagDays(0, None, None, None)
    found, before, place = [], 0, 0
    for rank in (nearest_rank(total, percent) for percent in PERCENTILES):
        while before + lags[ordered[place]] <= rank:
            before, place = before + lags[ordered[place]], place + 1
        found.append(ordered[place])
    return LagDays(total, *found)


def settled_by(lags: Mapping[int, int], asof_us: int) -> int:
    """The first day, in days since 1970-01-01, whose events may be too young for their slow labels: younger than 99 % of the lags.

    Of young events only the quick labels are in, so that percentiles over all events flatter. Whoever wants to know how long labels take
    looks at the days before this one.
    """
    slow = max(measure_days(lags).p99 or 0, 0)
    return asof_us // US_PER_DAY - slow


def weigh(lags: Mapping[int, int], wanted: Iterable[tuple[int, str]], *, asof_us: int, end_us: int) -> tuple[Choice, ...]:
    """What each wanted maturity means; the points at which 90 % and 99 % of the answers are in are wanted always. By days.

    Args:
        lags: answers by their lag in days, of events old enough to have theirs.
        wanted: maturities in days, each with where it comes from.
        asof_us: the intent's as-of.
        end_us: the end of the last split.

    >>> [(one.days, one.why, str(one.known)) for one in weigh({2: 90, 8: 10}, [(5, "intent"), (8, "asked")], asof_us=0, end_us=0)]
    [(2, ('p90',), '9/10'), (5, ('intent',), '9/10'), (8, ('p99', 'asked'), '1')]
    """
    measured, total = measure_days(lags), sum(lags.values())
    points = [(max(days, 1), name) for days, name in ((measured.p90, "p90"), (measured.p99, "p99")) if days is not None]
    reasons: dict[int, list[str]] = {}
    for days, why in (*points, *wanted):
        reasons.setdefault(days, []).append(why)
    found: list[Choice] = []
    for days, why_all in sorted(reasons.items()):
        known = Fraction(sum(count for lag, count in lags.items() if lag <= days), total) if total else None
        asof = end_us + days * US_PER_DAY
        found.append(Choice(days, tuple(dict.fromkeys(why_all)), known, max(EARLIEST_US, asof_us - days * US_PER_DAY),
                            asof if asof <= LATEST_US else None))
    return tuple(found)
