"""Nanoseconds per row of every aggregation that reads a field, each alone over one window, on a seeded world.

    python benchmarks/aggregations.py [--rows 1000000]

The world is that of `kernels.py`: 180 days, n ÷ 100 customers with skewed popularity, amounts in cents; beside it fields of few values and
of floats. The same once more with one key for all events, over windows that never let go. Setting up and locating are included.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from kernels import CHUNK, DAY, draw_world

from offline_feature_plane.kernels.compiling import warm

CALLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("mean(amount)", "amount", {}), ("mean(float)", "float", {}), ("stddev(amount)", "amount", {}), ("quantile(amount, 0.9)", "amount", {}),
    ("distinct(amount)", "amount", {}), ("distinct(shop)", "shop", {}), ("streak(condition)", "shop", {"condition": True}),
    ("mode(shop)", "shop", {}), ("mode(amount)", "amount", {}), ("top_k(shop, 3)", "shop", {"most": 3}),
    ("top_k(amount, 20)", "amount", {"most": 20}), ("entropy(shop)", "shop", {}), ("entropy(amount)", "amount", {}),
    ("trend(amount)", "amount", {}), ("trend(float)", "float", {}), ("ewma(amount, half_life: 1d)", "amount", {"half_life_us": DAY}),
    ("ewma(float, half_life: 1d)", "float", {"half_life_us": DAY}))


def seconds(world: dict[str, Any], key: str, window: Any, call: tuple[str, str, dict[str, Any]]) -> float:
    """How long one call takes over one window."""
    from offline_feature_plane.kernels.grouprun import FeatureRequest, GroupRun  # noqa: PLC0415 - imported once warm
    text, field, more = call
    options = {name: value for name, value in more.items() if name != "condition"}
    n, values = world["ts"].shape[0], world[field]
    valid = world["shop"] != 0 if "condition" in more else None
    function = text.partition("(")[0]
    share = "0.9" if function == "quantile" else None
    features = [FeatureRequest(function, 0, values, valid, share=share, scale=2 if field == "amount" else 0, place=place, **options)
                for place in range(options.get("most", 1))]
    start = time.perf_counter()
    run = GroupRun(ts=world["ts"], key=world[key], n_keys=world[key + "s"], is_event=world["all"], is_row=world["all"], current=False,
                   delay_us=0, windows=[window], label_changes={}, features=features)
    for low in range(0, n, CHUNK):
        run.advance(low, min(low + CHUNK, n))
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    n = parser.parse_args().rows
    print(warm())
    from offline_feature_plane.kernels.windows import Latest, Sliding  # noqa: PLC0415 - same
    random = np.random.default_rng(11)
    world = draw_world(n)
    world |= {"one": np.zeros(n, np.int32), "ones": 1, "shop": (random.random(n) ** 2 * 12).astype(np.int64),
              "float": np.exp(random.normal(3.0, 2.0, n))}
    columns = {"customer, 7d": ("customer", Sliding(7 * DAY)), "customer, lifetime": ("customer", Sliding(None)),
               "one key, 7d": ("one", Sliding(7 * DAY)), "one key, last 1000": ("one", Latest(1000)),
               "one key, lifetime": ("one", Sliding(None))}
    print(f"{'ns per row, ' + format(n, ','):<30}" + "".join(f"{name:>20}" for name in columns))
    for call in CALLS:
        found = [seconds(world, key, window, call) / n * 1e9 for key, window in columns.values()]
        print(f"{call[0]:<30}" + "".join(f"{one:>20.0f}" for one in found))


if __name__ == "__main__":
    main()
