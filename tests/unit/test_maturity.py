"""Lags in whole days, and what follows from them for maturity, splits and the as-of (`domain.md` §1.7, `decisions.md` D25)."""

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from offline_feature_plane.domain.coverage import measure_lag
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, US_PER_DAY
from offline_feature_plane.domain.maturity import LagDays, days_between, measure_days, settled_by, weigh

instants = st.integers(-(2**63), 2**63 - 1)


@given(instants, instants, st.integers(-400, 400))
def test_a_label_is_in_by_its_maturity_iff_its_days_are_not_above(event, observed, days):
    """Rounded up, a lag is at most `days` exactly if the label is known `days` × 86,400 s after its event.

    ──●event ─────────────● observed ≤ event + days ──▶
    """
    assert (days_between(event, observed) <= days) == (observed <= event + days * US_PER_DAY)


@given(st.lists(st.integers(-(10**13), 10**13), min_size=1, max_size=300))
def test_percentiles_of_days_are_those_of_microseconds_rounded_up(lags):
    """Counting by day loses nothing: the nearest-rank percentile of rounded lags is the rounded percentile of the exact ones."""
    exact, found = measure_lag(lags, None), measure_days(Counter(days_between(0, lag) for lag in lags))
    assert found == LagDays(len(lags), *(days_between(0, us) for us in (exact.p50_us, exact.p90_us, exact.p99_us)))


def test_no_answer_has_no_lag():
    """Without an answer nothing is said about lags, and no point is proposed; the intent's own maturity is still weighed."""
    assert measure_days({}) == LagDays(0, None, None, None)
    (own,) = weigh({}, [(30, "intent")], asof_us=100 * US_PER_DAY, end_us=80 * US_PER_DAY)
    assert (own.known, own.last_end_us, own.earliest_asof_us) == (None, 70 * US_PER_DAY, 110 * US_PER_DAY)


def test_days_are_settled_when_their_slow_labels_had_time():
    """Events of a day are old enough iff the youngest of them is as old as the lag that 99 % do not exceed.

    ───────────────┤ day 90 │ day 91 ├──────────── 8 days ──────────┤ as-of: noon of day 99
                   its last event is    8.5 days old; one of day 91 may be 7.5
    """
    lags = {2: 98, 8: 1, 500: 1}
    noon = 99 * US_PER_DAY + US_PER_DAY // 2
    assert settled_by(lags, noon) == 91
    assert settled_by({-3: 5}, noon) == 99


def test_maturities_say_when_a_split_must_end_and_the_as_of_may_be():
    """A maturity of m days: splits end by as-of − m, or the as-of is at the split's end + m; equal ones are one, with both reasons."""
    found = weigh({1: 89, 20: 10, 70: 1}, [(20, "intent"), (90, "asked")], asof_us=200 * US_PER_DAY, end_us=150 * US_PER_DAY)
    assert [(one.days, one.why, one.known, one.last_end_us // US_PER_DAY, (one.earliest_asof_us or 0) // US_PER_DAY) for one in found] == [
        (20, ("p90", "p99", "intent"), Fraction(99, 100), 180, 170), (90, ("asked",), Fraction(1), 110, 240)]


def test_what_lies_beyond_the_calendar_is_not_proposed():
    """No as-of after the year 9999, and no split that ends before the year 1."""
    late, early = weigh({1: 1}, [(2, "asked")], asof_us=EARLIEST_US + US_PER_DAY, end_us=LATEST_US)
    assert late.earliest_asof_us is None
    assert (late.last_end_us, early.last_end_us) == (EARLIEST_US, EARLIEST_US)
