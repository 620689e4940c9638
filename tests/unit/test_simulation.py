"""The simulated world: a pure function of its seed, with ties, late arrivals, skew, and labels that come late and are taken back."""

import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.simulation import (
    DAY_US,
    START_US,
    World,
    disputes,
    disputes_table,
    payments,
    payments_table,
    pieces,
    write_files,
)

WORLD = World(events=20_000, customers=600, terminals=200, days=180)


def columns(paid):
    """All columns of a piece, end to end."""
    return np.concatenate([np.asarray(getattr(paid, name)).astype(np.int64) for name in vars(paid)])


@pytest.mark.parametrize("size", [1, 777, 20_000])
def test_a_world_is_the_same_in_pieces_of_any_size(size):
    """Every value is a function of (seed, what, index): cutting the log elsewhere changes nothing."""
    some = World(events=900, customers=30, terminals=10, days=60) if size == 1 else WORLD
    whole, cut = payments(some, 0, some.events), list(pieces(some, size))
    for name in vars(whole):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(piece, name) for piece in cut]))


def test_a_world_is_the_same_everywhere():
    """The bytes of a small world are pinned: another machine, library or release makes the same one."""
    paid = payments(WORLD, 0, 5_000)
    told = disputes(WORLD, paid)
    assert hashlib.sha256(columns(paid).tobytes()).hexdigest()[:16] == "12f6fc43a4e0195d"
    assert hashlib.sha256(columns(told).tobytes()).hexdigest()[:16] == "a937d47f3c07ab7a"


def test_another_seed_is_another_world():
    """Seeds, also negative ones, choose worlds."""
    worlds = [World(events=500, customers=30, terminals=10, days=60, seed=seed) for seed in (7, 8, 0, -1)]
    seen = {columns(payments(one, 0, 500)).tobytes() for one in worlds}
    assert len(seen) == 4


def test_payments_look_like_payments():
    """Ids count up, time stays inside the days, some payments tie, some arrive out of order, few customers pay most."""
    paid = payments(WORLD, 0, WORLD.events)
    assert np.array_equal(paid.tx_id, np.arange(1, WORLD.events + 1))
    assert paid.ts_us.min() >= START_US
    assert paid.ts_us.max() < START_US + 180 * DAY_US
    assert len(np.unique(paid.ts_us)) < WORLD.events
    assert 0 < (np.diff(paid.ts_us) < 0).sum() < WORLD.events // 2
    counts = np.sort(np.bincount(paid.customer, minlength=600))
    assert counts[-60:].sum() > 2 * counts[:300].sum() // 3
    assert paid.customer.max() < 600
    assert paid.terminal.max() < 200
    assert (paid.cents > 0).all()
    assert 0.005 < paid.fraud.mean() < 0.05


def test_more_crime_is_more_fraud_and_nothing_else():
    """`crime` compromises more cards and terminals; who pays where and when stays."""
    usual, worse = payments(WORLD, 0, 20_000), payments(World(20_000, 600, 200, 180, crime=2.5), 0, 20_000)
    assert worse.fraud.sum() > 1.5 * usual.fraud.sum()
    assert np.array_equal(usual.ts_us, worse.ts_us)
    assert np.array_equal(usual.terminal, worse.terminal)
    assert (worse.fraud | ~usual.fraud).all()


def test_labels_come_late_and_are_taken_back():
    """A chargeback is reported 1 to 45 days after its payment; a reversal names an earlier case of the same payment and comes after it.

    payment ──1…45 d──▶ CHARGEBACK ──1…21 d──▶ NO_CHARGEBACK, replaces it
    """
    paid = payments(WORLD, 0, WORLD.events)
    told = disputes(WORLD, paid)
    first = told.supersedes == 0
    lag = told.reported_us - paid.ts_us[told.tx_id - 1]
    assert lag[first].min() >= DAY_US
    assert lag[first].max() <= 45 * DAY_US
    assert told.confirmed[first].all()
    assert not told.confirmed[~first].any()
    assert 0 < (~first).sum() < first.sum() // 5
    assert len(np.unique(told.assertion)) == len(told.assertion)
    reported = dict(zip(told.assertion.tolist(), zip(told.reported_us.tolist(), told.tx_id.tolist(), strict=True), strict=True))
    for case, replaced in zip(told.assertion[~first].tolist(), told.supersedes[~first].tolist(), strict=True):
        assert reported[replaced][1] == reported[case][1]
        assert reported[replaced][0] < reported[case][0]
    assert (np.diff(told.reported_us) >= 0).all()


def test_files_hold_the_world(tmp_path):
    """What is written is what was simulated, cents as decimals, times in UTC."""
    small = World(events=3_000, customers=90, terminals=30, days=180)
    events, labels = write_files(small, tmp_path / "new")
    paid = payments(small, 0, small.events)
    assert pq.read_table(events).equals(payments_table(paid))
    assert pq.read_table(labels).equals(disputes_table(disputes(small, paid)))
    assert str(pq.read_schema(events).field("amount").type) == "decimal128(12, 2)"
    assert str(pq.read_schema(events).field("tx_time").type) == "timestamp[us, tz=UTC]"
