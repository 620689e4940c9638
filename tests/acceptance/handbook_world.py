"""A small simulated world in the form of the handbook's data, full of edges, and a naive judge of its 14 features.

The judge is written from the definition in words: it walks over all events of a customer or terminal for every row, with exact fractions.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

DAY = 86_400
START = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())  # a Monday
CUSTOMER_BOUNDS = (1 * DAY, 7 * DAY, 30 * DAY)
TERMINAL_BOUNDS = (7 * DAY, 8 * DAY, 14 * DAY, 37 * DAY)


@dataclass(frozen=True)
class Payment:
    """One transaction: seconds since 1970, the amount as published (a float with noise below 1e-9), and when its label was known."""

    event_id: int
    ts: int
    customer: int
    terminal: int
    amount: float
    fraud: bool
    known: int

    @property
    def cents(self) -> int:
        """The amount in whole cents."""
        return int((Decimal(self.amount) * 100).to_integral_value())


def make_world(seed: int, *, late_labels: bool = False, anchors: int = 60) -> list[Payment]:
    """Payments of 9 customers at 6 terminals over 90 days, in no order, with ids in no order of time.

    Around every anchor: payments of the same customer and terminal exactly on each window bound, a second before and a second after it,
    and sometimes two or three in one second. Labels are known after 7 days to the second; with `late_labels` a third of them a second, a
    day or 20 days later.
    """
    draw = random.Random(seed)
    at: list[tuple[int, int, int]] = []
    for _ in range(anchors):
        ts, customer, terminal = START + draw.randrange(50 * DAY), draw.randrange(9), draw.randrange(6)
        at.append((ts, customer, terminal))
        at += [(ts + bound + draw.choice((-1, 0, 0, 1)), customer, draw.randrange(6)) for bound in CUSTOMER_BOUNDS]
        at += [(ts + bound + draw.choice((-1, 0, 0, 1)), draw.randrange(9), terminal) for bound in TERMINAL_BOUNDS]
        at += [(ts, customer, draw.randrange(6))] * draw.choice((0, 0, 1, 2))
        at += [(ts, draw.randrange(9), terminal)] * draw.choice((0, 1))
    for day in range(0, 84, 7):  # the edges of weekend and night
        at += [(START + day * DAY + second, draw.randrange(9), draw.randrange(6))
               for second in (-1, 0, 7 * 3_600 - 1, 7 * 3_600, 5 * DAY - 1, 5 * DAY) if day or second >= 0]
    ids = draw.sample(range(1, 100_000), len(at))
    late = (0, 0, 0, 0, 1, DAY, 20 * DAY) if late_labels else (0,)
    return [Payment(event_id, ts, customer, terminal, amount=draw.randrange(30_000) / 100 + draw.choice((0.0, 2e-10, -2e-10)),
                    fraud=draw.random() < 0.2, known=ts + 7 * DAY + draw.choice(late))
            for event_id, (ts, customer, terminal) in zip(ids, at, strict=True)]


Bound = Callable[[int, int], bool]


def judge(world: Sequence[Payment], *, younger: Bound = int.__le__, older: Bound = int.__gt__) -> list[dict[str, Any]]:
    """The 14 features of every payment, in the order of event ids.

    `younger` and `older` compare an event's second with the two bounds of a window; by definition ≤ and >. Other comparisons make
    the judge err on purpose.
    """
    by_customer, by_terminal = defaultdict(list), defaultdict(list)
    for one in world:
        by_customer[one.customer].append(one)
        by_terminal[one.terminal].append(one)
    return [_features(row, by_customer[row.customer], by_terminal[row.terminal], younger, older)
            for row in sorted(world, key=lambda one: one.event_id)]


def _features(row: Payment, of_customer: Sequence[Payment], of_terminal: Sequence[Payment], younger: Bound, older: Bound) -> dict[str, Any]:
    when = datetime.fromtimestamp(row.ts, tz=UTC)
    found: dict[str, Any] = {"event_id": row.event_id,
                             "TX_DURING_WEEKEND": int(when.weekday() >= 5), "TX_DURING_NIGHT": int(when.hour <= 6)}
    for days in (1, 7, 30):
        seen = [one for one in of_customer if older(one.ts, row.ts - days * DAY) and (one.ts, one.event_id) <= (row.ts, row.event_id)]
        found[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] = len(seen)
        found[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] = float(Fraction(sum(one.cents for one in seen), 100 * len(seen)))
    for days in (1, 7, 30):
        past = [one for one in of_terminal if older(one.ts, row.ts - (7 + days) * DAY) and younger(one.ts, row.ts - 7 * DAY)]
        frauds = sum(one.fraud and one.known <= row.ts for one in past)
        found[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] = len(past)
        found[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] = float(Fraction(frauds, len(past))) if past else 0.0
    return found


def write_world(world: Sequence[Payment], folder: Path) -> Path:
    """Write the three files of the form; what is published is the judge's answer."""
    folder.mkdir(parents=True)
    instant = pa.timestamp("ms", "UTC")
    pq.write_table(pa.table({
        "event_id": [one.event_id for one in world], "ts_utc": pa.array([one.ts * 1_000 for one in world], instant),
        "customer_id": pa.array([one.customer for one in world], pa.int32()),
        "terminal_id": pa.array([one.terminal for one in world], pa.int32()),
        "amount": [one.amount for one in world]}), folder / "transactions.parquet")
    pq.write_table(pa.table({
        "event_id": [one.event_id for one in world], "label_ts_utc": pa.array([one.known * 1_000 for one in world], instant),
        "is_fraud": pa.array([one.fraud for one in world]).cast(pa.int8())}), folder / "labels.parquet")
    publish(judge(world), folder)
    return folder


def publish(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write rows of features as the published ones."""
    pq.write_table(pa.Table.from_pylist(list(map(dict, rows))), folder / "features_published.parquet")


def bound_hits(world: Sequence[Payment], entity: str, bound: int) -> int:
    """How many payments have another one of the same customer or terminal exactly `bound` seconds before."""
    there = {(getattr(one, entity), one.ts) for one in world}
    return sum((getattr(one, entity), one.ts - bound) in there for one in world)
