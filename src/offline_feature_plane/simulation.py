"""A simulated card-payment world: customers, terminals, two kinds of fraud, chargebacks that come late and are sometimes reversed.

Every value is a pure function of (seed, what, index) through a counter-based mixer, so a world can be made in pieces of any size, of any
length, and comes out the same on every machine and library version: only integer operations and IEEE multiplications are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_feature_plane.arrow_types import decimal_array
from offline_feature_plane.domain.columns import ColumnType

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
START_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z

# Share of a day's payments that happened by the start of each hour, per 10,000: quiet nights, busy evenings.
_BY_HOUR = np.array([0, 120, 200, 260, 310, 370, 470, 680, 1010, 1430, 1890, 2370, 2890, 3430, 3950, 4470, 5010, 5590, 6240, 6950, 7660,
                     8320, 8950, 9530, 10_000], dtype=np.float64)

Uint = npt.NDArray[np.uint64]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """A world's size and its seed.

    Attributes:
        late_us: how far payments arrive out of order.
        crime: how many cards and terminals fall into criminal hands, against the usual.
    """

    events: int
    customers: int
    terminals: int
    days: int
    seed: int = 7
    start_us: int = START_US
    late_us: int = 2 * HOUR_US
    crime: float = 1.0

    def drawn(self, what: int, index: Uint) -> Float:
        """Uniform numbers in [0, 1), one per index, independent for each `what` (SplitMix64's finaliser over a counter)."""
        with np.errstate(over="ignore"):
            state = index * np.uint64(0x9E3779B97F4A7C15) + np.uint64((self.seed * 1_000_003 + what * 7_919 + 1) & 0xFFFFFFFFFFFFFFFF)
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 0xD6E8FEB86659FD93)):
                state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
            state ^= state >> np.uint64(32)
        return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def picked(self, what: int, index: Uint, size: int, *, skew: int) -> Int:
        """Indexes below `size`; the higher the skew, the more the low ones are preferred."""
        share = self.drawn(what, index)
        weight = share.copy()
        for _ in range(skew - 1):
            weight *= share
        return (weight * size).astype(np.int64)


@dataclass(frozen=True)
class Payments:
    """A piece of the event log, columns of equal length in arrival order; `fraud` is what really happened (known to nobody at the time)."""

    tx_id: Int
    ts_us: Int
    customer: Int
    terminal: Int
    cents: Int
    online: npt.NDArray[np.bool_]
    fraud: npt.NDArray[np.bool_]


def payments(world: World, start: int, stop: int) -> Payments:
    """Events `[start, stop)` of the log."""
    return payments_at(world, np.arange(start, stop, dtype=np.uint64))


def payments_at(world: World, index: Uint) -> Payments:
    """The events at some places of the log."""
    share = (index.astype(np.float64) + world.drawn(1, index)) / world.events * world.days
    day = np.minimum(share.astype(np.int64), world.days - 1)
    within = np.interp((share - day) * 10_000, _BY_HOUR, np.arange(25, dtype=np.float64))
    ts_us = world.start_us + day * DAY_US + (within * HOUR_US).astype(np.int64)
    ts_us -= (world.drawn(2, index) * world.drawn(3, index) * world.late_us).astype(np.int64)
    ts_us = np.maximum(ts_us, world.start_us) // 1_000_000 * 1_000_000  # terminals write whole seconds: ties are real
    customer = world.picked(4, index, world.customers, skew=2)
    favourite = customer.astype(np.uint64) * np.uint64(8) + (world.drawn(6, index) * 8).astype(np.uint64)
    nearby = world.picked(5, favourite, world.terminals, skew=1)
    anywhere = world.picked(7, index, world.terminals, skew=2)
    terminal = np.where(world.drawn(8, index) < 0.8, nearby, anywhere)
    usual = 400 + world.drawn(9, customer.astype(np.uint64)) * 9_600
    cents = (usual * (0.2 + world.drawn(10, index) * 0.8 + world.drawn(11, index) * world.drawn(12, index))).astype(np.int64)
    card_hit = _compromised(world, 20, customer, day, days=14, share=0.02) & (world.drawn(13, index) < 0.33)
    terminal_hit = _compromised(world, 30, terminal, day, days=28, share=0.01) & (world.drawn(14, index) < 0.6)
    cents = np.where(card_hit, cents * 5, cents)
    return Payments(index.astype(np.int64) + 1, ts_us, customer, terminal, cents, world.drawn(15, index) < 0.3, card_hit | terminal_hit)


def _compromised(world: World, what: int, who: Int, day: Int, *, days: int, share: float) -> npt.NDArray[np.bool_]:
    """Is this card or terminal in criminal hands on this day? Each 60-day term draws anew."""
    term, within = np.divmod(day, 60)
    key = who.astype(np.uint64) * np.uint64(64) + term.astype(np.uint64)
    begin = (world.drawn(what, key) * (60 - days)).astype(np.int64)
    hit: npt.NDArray[np.bool_] = (world.drawn(what + 1, key) < share * 4 * world.crime) & (within >= begin) & (within < begin + days)
    return hit


@dataclass(frozen=True)
class Disputes:
    """A piece of the label timeline: what was asserted about which payment, and when it became known."""

    assertion: Int
    supersedes: Int
    tx_id: Int
    reported_us: Int
    confirmed: npt.NDArray[np.bool_]
    by_hand: npt.NDArray[np.bool_]


def disputes(world: World, paid: Payments) -> Disputes:
    """The assertions about these payments: a chargeback 1 to 45 days later for most frauds, a few mistakes, some reversals."""
    index = paid.tx_id.astype(np.uint64)
    mistaken = ~paid.fraud & (world.drawn(40, index) < 0.0005)
    told = (paid.fraud & (world.drawn(41, index) < 0.97)) | mistaken
    delay = DAY_US + (world.drawn(42, index) * world.drawn(43, index) * 44 * DAY_US).astype(np.int64)
    reported = paid.ts_us + delay
    reversed_ = told & (mistaken | (world.drawn(44, index) < 0.02))
    again = reported + DAY_US + (world.drawn(45, index) * 20 * DAY_US).astype(np.int64)
    by_hand = world.drawn(46, index) < 0.1

    def both(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> Int:
        return np.concatenate([first[told], second[reversed_]])

    ones, zeros = np.ones(len(index), dtype=np.int64), np.zeros(len(index), dtype=np.int64)
    order = np.argsort(both(reported, again), kind="stable")
    return Disputes(assertion=both(paid.tx_id * 2, paid.tx_id * 2 + 1)[order], supersedes=both(zeros, paid.tx_id * 2)[order],
                    tx_id=both(paid.tx_id, paid.tx_id)[order], reported_us=both(reported, again)[order],
                    confirmed=both(ones, zeros)[order].astype(np.bool_),
                    by_hand=both(by_hand.astype(np.int64), ones)[order].astype(np.bool_))


def pieces(world: World, size: int = 1_000_000) -> Iterator[Payments]:
    """The whole log, piece by piece."""
    for start in range(0, world.events, size):
        yield payments(world, start, min(start + size, world.events))


def payments_table(paid: Payments) -> pa.Table:
    """Payments as a user's file has them: ids, an instant in UTC, cents as decimal(12,2)."""
    return pa.table({"tx_id": paid.tx_id, "tx_time": pa.array(paid.ts_us, pa.timestamp("us", "UTC")),
                     "customer_id": _named("C", paid.customer), "terminal_id": _named("T", paid.terminal),
                     "amount": decimal_array(paid.cents, ColumnType("decimal", 12, 2)),
                     "channel": _chosen(paid.online, "online", "in_person")})


def disputes_table(told: Disputes) -> pa.Table:
    """The timeline as a user's file has it."""
    superseded = told.supersedes != 0
    return pa.table({"case_id": _named("D", told.assertion), "tx_id": told.tx_id,
                     "reported_at": pa.array(told.reported_us, pa.timestamp("us", "UTC")),
                     "outcome": _chosen(told.confirmed, "CHARGEBACK", "NO_CHARGEBACK"),
                     "reported_by": _chosen(told.by_hand, "HUMAN", "EXTERNAL"),
                     "replaces": pc.if_else(pa.array(superseded), _named("D", told.supersedes), pa.scalar(None, pa.string()))})


def write_files(world: World, folder: Path) -> tuple[Path, Path]:
    """Write `transactions.parquet` and `chargebacks.parquet`, streaming; memory does not grow with the world."""
    folder.mkdir(parents=True, exist_ok=True)
    events, labels = folder / "transactions.parquet", folder / "chargebacks.parquet"
    head = payments(world, 0, 1)
    with (pq.ParquetWriter(events, payments_table(head).schema, compression="zstd") as out,
          pq.ParquetWriter(labels, disputes_table(disputes(world, head)).schema, compression="zstd") as told):
        for piece in pieces(world):
            out.write_table(payments_table(piece))
            told.write_table(disputes_table(disputes(world, piece)))
    return events, labels


def _named(prefix: str, numbers: Int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width=6, padding="0")
    return pc.binary_join_element_wise(pa.scalar(prefix), digits, "")


def _chosen(condition: npt.NDArray[np.bool_], yes: str, no: str) -> pa.Array:
    return pc.if_else(pa.array(condition), pa.scalar(yes), pa.scalar(no))
