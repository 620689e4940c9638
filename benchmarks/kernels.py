"""Nanoseconds per row and feature of the window kernels, on a seeded world.

    python benchmarks/kernels.py [--rows 1000000] [--threads 2]

The world: 180 days, n ÷ 100 customers and n ÷ 1,000 terminals with skewed popularity, windows of 1, 7 and 30 days.
First the bench profile (count, sum, max over both keys, one thread per key), then each function alone over one key, then each
kind of window.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from offline_feature_plane.kernels.compiling import warm

DAY = 86_400_000_000
CHUNK = 1 << 17


def draw_world(n: int) -> dict[str, Any]:
    """Instants, two skewed keys and amounts in cents."""
    random = np.random.default_rng(7)
    ts = np.sort(random.integers(0, 180 * DAY, n))
    customers, terminals = max(1, n // 100), max(1, n // 1000)
    return {"ts": ts, "amount": random.integers(1, 1_000_000, n), "all": np.ones(n, np.bool_),
            "customer": ((random.random(n) ** 2) * customers).astype(np.int32), "customers": customers,
            "terminal": ((random.random(n) ** 2) * terminals).astype(np.int32), "terminals": terminals}


def run_group(world: dict[str, Any], key: str, functions: tuple[str, ...], windows: Sequence[Any] = ()) -> tuple[float, float]:
    """Seconds to set up and to advance one group, over 1, 7 and 30 days if no windows are named."""
    from offline_feature_plane.kernels.grouprun import FeatureRequest, GroupRun, LabelChanges  # noqa: PLC0415 - imported once warm
    from offline_feature_plane.kernels.windows import Sliding  # noqa: PLC0415 - same
    windows = windows or [Sliding(DAY), Sliding(7 * DAY), Sliding(30 * DAY)]
    amount, n = world["amount"], world["ts"].shape[0]
    labels: dict[Any, LabelChanges] = {}
    if any(function.startswith("label") for function in functions):
        marked = np.arange(0, n, 3)
        ones = np.ones(marked.shape[0], np.int8)
        labels["chargeback"] = LabelChanges(marked, world["ts"][marked] + 3 * DAY, ones, ones)
    features = [FeatureRequest(function, window, None if function == "count" else amount, label="chargeback")
                for window in range(len(windows)) for function in functions]
    start = time.perf_counter()
    run = GroupRun(ts=world["ts"], key=world[key], n_keys=world[key + "s"], is_event=world["all"], is_row=world["all"], current=False,
                   delay_us=0, windows=windows, label_changes=labels, features=features)
    ready = time.perf_counter()
    for low in range(0, n, CHUNK):
        run.advance(low, min(low + CHUNK, n))
    return ready - start, time.perf_counter() - ready


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    print(warm())
    from offline_feature_plane.kernels.windows import Latest, Session, Since, Sliding, Tumbling  # noqa: PLC0415 - same
    world = draw_world(asked.rows)
    start = time.perf_counter()
    with ThreadPoolExecutor(asked.threads) as pool:
        parts = list(pool.map(lambda key: run_group(world, key, ("count", "sum", "max")), ("customer", "terminal")))
    print(f"bench profile, {asked.rows:,} rows × 18 features, {asked.threads} threads: {time.perf_counter() - start:.2f} s; "
          + ", ".join(f"{key} {setup:.2f} + {walk:.2f} s"
                      for key, (setup, walk) in zip(("customer", "terminal"), parts, strict=True)))
    print(f"{'function':<22}{'set up ns/row':>14}{'walk ns/row':>13}{'per feature':>13}   (3 windows, key customer; locating included)")
    for functions in [("count",), ("sum",), ("mean",), ("max",), ("distinct",), ("last",), ("seconds_since_last",), ("label_rate",),
                      ("count", "sum", "max"), ("count", "sum", "mean", "min", "max", "label_rate")]:
        setup, walk = (seconds / asked.rows * 1e9 for seconds in run_group(world, "customer", functions))
        print(f"{'+'.join(functions):<22}{setup:>14.1f}{walk:>13.1f}{walk / 3 / len(functions):>13.1f}")
    kinds = {"7 days": Sliding(7 * DAY), "lifetime": Sliding(None), "last 5": Latest(5), "day to date": Since(np.arange(0, 181 * DAY, DAY)),
             "tumbling 1 day": Tumbling(DAY), "session 30 min": Session(DAY // 48, DAY)}
    print(f"{'window':<22}{'set up ns/row':>14}{'walk ns/row':>13}   (count+sum+max, key customer)")
    for name, window in kinds.items():
        setup, walk = (seconds / asked.rows * 1e9 for seconds in run_group(world, "customer", ("count", "sum", "max"), [window]))
        print(f"{name:<22}{setup:>14.1f}{walk:>13.1f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
