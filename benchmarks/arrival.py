"""What `visibility: arrival` costs: seconds of one group with one hot key or many keys, by the number of events.

    python benchmarks/arrival.py [--events 50000 100000 200000] [--alone] [--only distinct …]

The world: events of 30 days, of which a tenth arrive up to six hours late; the group looks back 7 days and over the whole history.
`--alone` computes every row with hidden events in a world of its own, however large: a few thousand events of one key are then enough.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pyarrow as pa

from offline_feature_plane.domain.closure import Aggregation, Feature, Group, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.engines.local import arrivals
from offline_feature_plane.engines.local.events import Arrivals, Events, Values
from offline_feature_plane.kernels.compiling import warm

DAY = 86_400_000_000
WHOLE, REAL = ColumnType("int64"), ColumnType("float64")
PLAIN = {"count": "", "sum": "units", "mean": "units", "max": "units", "last": "units", "seconds_since_last": ""}
HARD = {"stddev": "units", "sum": "price", "distinct": "units", "median": "units", "mode": "units", "entropy": "units"}
BY_TIME = (Window("sliding", "7d", 7 * DAY), Window("lifetime", "lifetime"))
BY_EVENTS = (Window("last", "last10", count=10), Window("session", "session1h", DAY, gap_us=DAY // 24))


def draw_events(n: int) -> Events:
    """Events in the total order, and when they arrived."""
    random = np.random.default_rng(7)
    ts = np.sort(random.integers(0, 30 * DAY, n))
    at = ts + np.where(random.random(n) < 0.1, random.integers(0, DAY // 4, n), 0)
    place = np.empty(n, np.int64)
    place[np.argsort(at, kind="stable")] = np.arange(n)
    units = random.integers(0, 1000, n)
    fields = {("tx", "units"): Values(WHOLE, units), ("tx", "price"): Values(REAL, units * 0.1)}
    return Events(n, ts, np.zeros(n, np.int8), pa.chunked_array([pa.array(np.arange(n))]), WHOLE, fields, Arrivals(at, place))


def measure(events: Events, keys: int, calls: dict[str, str], windows: tuple[Window, ...]) -> float:
    """Seconds for all rows of one group."""
    codes = np.random.default_rng(8).integers(0, keys, events.n).astype(np.int32)
    features = tuple(Feature(f"{function}_{window.label}", Aggregation(function, argument or None), window, WHOLE)
                     for window in windows for function, argument in calls.items())
    group = Group("g", "v1", "tx", ("who",), where=None, current=False, delay_us=0, null_key="skip", features=features)
    start = time.perf_counter()
    columns = arrivals.ArrivedColumns(events, group, 0, (codes, keys), np.ones(events.n, np.bool_), {}, events.arrivals, 2**60)
    for low in range(0, events.n, 1 << 18):
        columns.advance(low, min(low + (1 << 18), events.n))
    return time.perf_counter() - start


def main() -> None:
    """Print one line per size."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, nargs="+", default=[50_000, 100_000, 200_000])
    options.add_argument("--alone", action="store_true")
    options.add_argument("--only", nargs="+", default=[], help="some functions, each by itself")
    asked = options.parse_args()
    warm()
    if asked.alone:
        arrivals._WORTH = 2**40  # noqa: SLF001 - what it would cost otherwise
    each = [(f"{len(PLAIN)} plain", PLAIN), *((name, {name: argument}) for name, argument in HARD.items())]
    for n in asked.events:
        events = draw_events(n)
        for name, calls in each:
            for windows in (BY_TIME, BY_EVENTS):
                if not asked.only or name in asked.only:
                    one, many = (measure(events, keys, calls, windows) for keys in (1, max(1, n // 100)))
                    said = ", ".join(window.label for window in windows)
                    print(f"{n:>9,} events, {name:>8} over {said}: one key {one:7.2f} s, {n // 100:,} keys {many:6.2f} s", flush=True)


if __name__ == "__main__":
    main()
