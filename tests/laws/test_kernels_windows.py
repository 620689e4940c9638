"""Window kernels against the definition, word for word, over small random worlds."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.aggregations import nearest_root
from offline_feature_plane.domain.fading import fading_weight
from offline_feature_plane.domain.logarithms import log2_of
from offline_feature_plane.kernels import grouprun
from offline_feature_plane.kernels.grouprun import FeatureRequest, GroupRun, LabelChanges, SumOverflow
from offline_feature_plane.kernels.windows import Latest, Session, Since, Sliding, Tumbling, Window

GREATEST = 2**63 - 1


@dataclass
class World:
    """A drawn world: positions in order, windows, arguments and label changes (event position, at, matched, resolved)."""

    ts: list[int]
    key: list[int]
    is_event: list[bool]
    is_row: list[bool]
    current: bool
    delay: int
    windows: list[Window]
    numbers: list[int | None]
    floats: list[float | None]
    changes: list[tuple[int, int, int, int]]
    cuts: list[int] = field(default_factory=list)
    block: int = 1 << 15
    known: dict[tuple[int, Window], list[int]] = field(default_factory=dict, repr=False)


def window_of(world: World, row: int, window: Window) -> list[int]:
    """The positions of a row's window by the definition: of what it sees, ts ≤ T − d, before the row if d = 0, itself iff `current`."""
    if (row, window) in world.known:
        return world.known[row, window]
    upper = world.ts[row] - world.delay
    seen = [i for i, ts in enumerate(world.ts) if world.is_event[i] and world.key[i] == world.key[row] and ts <= upper
            and (world.delay > 0 or i < row or (i == row and world.current))]
    found = world.known[row, window] = [seen[place] for place in places_of(window, upper, [world.ts[i] for i in seen])]
    return found


def places_of(window: Window, upper: int, seen: list[int]) -> list[int]:
    """Which of the instants seen up to T − d a window holds, each judged by itself."""
    match window:
        case Sliding(length_us=length):
            return [i for i, ts in enumerate(seen) if length is None or ts > upper - length]
        case Latest(events=events):
            return [i for i in range(len(seen)) if len(seen) - i <= events]
        case Since(starts=starts):
            start = max((at for at in starts.tolist() if at <= upper), default=None)
            return [i for i, ts in enumerate(seen) if start is None or ts >= start]
        case Tumbling(length_us=length):
            end = next(at for at in range(upper, upper - length, -1) if at % length == 0)
            return [i for i, ts in enumerate(seen) if end - length <= ts < end]
        case Session(gap_us=gap, most_us=most):
            pauses = [later - ts for ts, later in itertools.pairwise([*seen, upper])]
            return [i for i, ts in enumerate(seen) if ts > upper - most and max(pauses[i:]) < gap]


def deviation(values: list[Fraction]) -> float | None:
    """The root of the sample variance, which is rounded to 53 bits whatever its size."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return nearest_root(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def quantile(ordered: list[Fraction], share: Fraction, unit: int) -> float | None:
    """The value at place (n − 1) · share, between two of them in proportion."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return float((low + (place - math.floor(place)) * (high - low)) / unit)


def slope(points: list[tuple[int, Fraction]]) -> float | None:
    """Per day, of the least-squares line through values at instants in µs."""
    n = len(points)
    t, x = (sum(column) for column in zip(*points, strict=True)) if points else (0, 0)
    below = n * sum(at * at for at, _ in points) - t * t
    return float((n * sum(at * value for at, value in points) - t * x) * 86_400_000_000 / below) if below else None


def faded(points: list[tuple[int, Fraction]], half_life: int) -> float | None:
    """The mean with weights that halve; what is 64 half-lives older than the latest has none."""
    counted = [(*fading_weight(at, half_life), value) for at, value in points if at > points[-1][0] - 64 * half_life]
    weights = [mantissa * Fraction(2) ** (exponent - counted[-1][1]) for mantissa, exponent, _ in counted]
    return float(sum(weight * value for weight, (*_, value) in zip(weights, counted, strict=True)) / sum(weights)) if points else None


def entropy(values: list[Any]) -> float | None:
    """The bits that a value carries, by counts of equal ones and logarithms as integers."""
    counts = [values.count(value) for value in set(values)]
    below = sum(counts)
    above = sum(count * (log2_of(below) - log2_of(count)) for count in counts)
    return float(Fraction(above, below * 2**56)) if below else None


def frequent(values: list[Any]) -> list[Any]:
    """Each value once: the ones that occur more often first, then those that were seen later."""
    latest = {value: place for place, value in enumerate(values)}
    return sorted(latest, key=lambda value: (-values.count(value), -latest[value]))


def status_at(world: World, event: int, instant: int) -> tuple[int, int]:
    """The label status of an event at an instant: the latest change not after it, the later listed of equals."""
    known = [(at, order, matched, resolved) for order, (position, at, matched, resolved) in enumerate(world.changes)
             if position == event and at <= instant]
    return max(known)[2:] if known else (0, 0)


def expect(world: World, row: int, request: FeatureRequest, values: list[Any] | None, scale: int = 0) -> Any:
    """The value of one feature for one row, or None."""
    if world.key[row] < 0:
        return None
    inside = window_of(world, row, world.windows[request.window])
    before = [i for i in inside if i != row]
    present = [values[i] for i in inside if values[i] is not None] if values is not None else inside
    statuses = [status_at(world, i, world.ts[row]) for i in inside] if request.label is not None else []
    matched, resolved = sum(status[0] for status in statuses), sum(status[1] for status in statuses)
    divisor = resolved if request.of_resolved else len(inside)
    seconds = lambda i: float(Fraction(world.ts[row] - world.ts[i], 10**6))  # noqa: E731 - one expression, used twice below
    is_real = request.function in ("sum", "mean", "stddev", "median", "quantile")  # exact numbers are slow: only where they are asked for
    exact = sorted(map(Fraction, present)) if is_real else []
    total = sum(exact, Fraction())
    points = lambda: [(world.ts[i], Fraction(values[i]) / 10**scale) for i in inside if values[i] is not None]  # noqa: E731 - same
    answers = {
        "count": lambda: len(present), "distinct": lambda: len(set(present)),
        "sum": lambda: float(total) if request.values is not None and request.values.dtype == np.float64 else int(total),
        "mean": lambda: float(total / (len(present) * 10**scale)) if present else None,
        "stddev": lambda: deviation([value / 10**scale for value in exact]), "median": lambda: quantile(exact, Fraction(1, 2), 10**scale),
        "quantile": lambda: quantile(exact, Fraction(request.share), 10**scale),
        "streak": lambda: next((place for place, i in enumerate(reversed(inside)) if values[i] is None), len(inside)),
        "trend": lambda: slope(points()), "ewma": lambda: faded(points(), request.half_life_us),
        "mode": lambda: next(iter(frequent(present)), None),
        "top_k": lambda: dict(enumerate(frequent(present))).get(request.place),
        "entropy": lambda: entropy(present),
        "ratio": lambda: len(present) / len(inside) if inside else None,
        "min": lambda: min(present, default=None), "max": lambda: max(present, default=None),
        "first": lambda: values[inside[0]] if inside else None, "last": lambda: values[inside[-1]] if inside else None,
        "previous": lambda: values[before[-1]] if before else None,
        "seconds_since_first": lambda: seconds(inside[0]) if inside else None,
        "seconds_since_last": lambda: seconds(before[-1]) if before else None,
        "label_count": lambda: matched, "label_rate": lambda: matched / divisor if divisor else None,
    }
    return answers[request.function]()


def columns_of(values: list[Any], dtype: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """A list with Nones as values and validity."""
    valid = np.array([value is not None for value in values], np.bool_)
    return np.array([0 if value is None else value for value in values], dtype), None if valid.all() else valid


def requests_of(world: World) -> list[tuple[FeatureRequest, list[Any] | None]]:
    """Every function over every window, with the plain values it stands on."""
    numbers, floats = columns_of(world.numbers, np.int64), columns_of(world.floats, np.float64)
    codes = numbers[0].astype(np.int32)
    found: list[tuple[FeatureRequest, list[Any] | None]] = []
    for window in range(len(world.windows)):
        found += [(FeatureRequest(function, window), None) for function in ("count", "seconds_since_first", "seconds_since_last")]
        found += [(FeatureRequest(function, window, *numbers, scale=2), world.numbers)
                  for function in ("count", "distinct", "sum", "mean", "min", "max", "first", "last", "previous")]
        found += [(FeatureRequest(function, window, *numbers, scale=2), world.numbers)
                  for function in ("stddev", "median", "ratio", "streak", "mode", "entropy")]
        found += [(FeatureRequest("quantile", window, *numbers, scale=2, share=share), world.numbers) for share in ("0.3", "0.9999", "1")]
        found += [(FeatureRequest(function, window, *floats), world.floats)
                  for function in ("distinct", "min", "max", "last", "sum", "mean", "stddev", "median", "mode", "entropy")]
        found += [(FeatureRequest("quantile", window, *floats, share=share), world.floats) for share in ("0", "0.75")]
        found += [(FeatureRequest("top_k", window, *numbers, most=3, place=place), world.numbers) for place in range(3)]
        found += [(FeatureRequest("trend", window, *numbers, scale=2), world.numbers)]
        found += [(FeatureRequest("ewma", window, *numbers, scale=2, half_life_us=half_life), world.numbers)
                  for half_life in (1, 1_000_003)]
        found += [(FeatureRequest("ewma", window, *floats, half_life_us=3), world.floats)]
        if all(value is None or abs(value) < 1e300 for value in world.floats):
            found += [(FeatureRequest("trend", window, *floats), world.floats)]
        if all(value is None or abs(value) < 2**31 for value in world.numbers):
            found += [(FeatureRequest(function, window, codes, numbers[1]), world.numbers)
                      for function in ("max", "previous", "distinct", "mode")]
        found += [(FeatureRequest("label_count", window, label="fraud"), None), (FeatureRequest("label_rate", window, label="fraud"), None),
                  (FeatureRequest("label_rate", window, label="fraud", of_resolved=True), None)]
    return found


def open_run(world: World, features: list[FeatureRequest]) -> GroupRun:
    """A run over the world."""
    position, at, matched, resolved = (np.array(column, np.int64) for column in zip(*world.changes, strict=True)) if world.changes else (
        np.empty(0, np.int64),) * 4
    return GroupRun(ts=np.array(world.ts, np.int64), key=np.array(world.key, np.int32), n_keys=max([*world.key, 0]) + 1,
                    is_event=np.array(world.is_event, np.bool_), is_row=np.array(world.is_row, np.bool_), current=world.current,
                    delay_us=world.delay, windows=world.windows, features=features,
                    label_changes={"fraud": LabelChanges(position, at, matched.astype(np.int8), resolved.astype(np.int8))})


def compute(world: World, features: list[FeatureRequest]) -> list[list[Any]]:
    """Each feature's values over all rows, None where null, computed in the world's chunks and blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouprun, "_BLOCK", world.block)
        run = open_run(world, features)
        results: list[list[Any]] = [[] for _ in features]
        for start, stop in itertools.pairwise([0, *sorted(world.cuts), len(world.ts)]):
            for result, (values, valid) in zip(results, run.advance(start, stop), strict=True):
                assert valid is None or not valid.all()
                assert valid is None or not values[~valid].any(), "zero stands under nulls"
                there = np.ones(len(values), np.bool_) if valid is None else valid
                result += [value if present else None for value, present in zip(values.tolist(), there, strict=True)]
    return results


def check(world: World) -> None:
    """Compare every function with its definition."""
    requests = requests_of(world)
    rows = [i for i, asked in enumerate(world.is_row) if asked]
    for (request, values), got in zip(requests, compute(world, [request for request, _ in requests]), strict=True):
        wanted = [expect(world, row, request, values, request.scale) for row in rows]
        assert got == wanted, (request.function, world.windows[request.window], request.values)


def kinds_of_windows(base: int) -> st.SearchStrategy[Window]:
    """Windows of every kind whose ends touch instants around `base`."""
    starts = st.lists(st.integers(base - 60, base + 80), max_size=6, unique=True)
    gaps = st.tuples(st.sampled_from([1, 2, 3, 8]), st.sampled_from([0, 1, 4, 40]))
    return st.one_of(st.sampled_from([1, 2, 5, 8, 60, 2**62, None]).map(Sliding), st.sampled_from([1, 2, 3, 50]).map(Latest),
                     starts.map(lambda found: Since(np.array(sorted(found), np.int64))),
                     st.sampled_from([1, 2, 7, 40]).map(Tumbling), gaps.map(lambda pair: Session(pair[0], pair[0] + pair[1])))


@st.composite
def worlds(draw: st.DrawFn, most: int = 24) -> World:
    """Worlds with ties, idle keys, null keys, rows that are no events, nulls, reversals and early or late labels."""
    n = draw(st.integers(0, most))
    steps = draw(st.lists(st.sampled_from([0, 0, 1, 1, 2, 7, 40]), min_size=n, max_size=n))
    ts = list(itertools.accumulate(steps, initial=draw(st.sampled_from([-5, 0, 10**15]))))[1:]
    several = lambda values: draw(st.lists(values, min_size=n, max_size=n))  # noqa: E731 - drawn lists of one length
    key = several(st.sampled_from(draw(st.sampled_from([[0], [0, 1], [-1, 0, 1, 2, 5]]))))
    everything = draw(st.booleans())
    delay = draw(st.sampled_from([0, 0, 1, 3, 50]))
    numbers = draw(st.sampled_from([st.integers(-3, 3), st.sampled_from([None, 1, 2, -7]), st.sampled_from([2**62, -2**62, 5, None])]))
    floats = st.sampled_from([None, 0.5, -0.0, 0.0, -1.25, 1e300, 5e-324, -1e300])
    base = ts[0] if ts else 0
    changes = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(base - 2, base + 60), st.sampled_from([(0, 0), (0, 1), (1, 1)])),
                            max_size=16)) if n else []
    return World(ts=ts, key=key, is_event=[True] * n if everything else several(st.booleans()),
                 is_row=[True] * n if everything else several(st.booleans()), current=delay == 0 and draw(st.booleans()), delay=delay,
                 windows=draw(st.lists(kinds_of_windows(base), min_size=1, max_size=4)),
                 numbers=several(numbers), floats=several(floats), changes=[(i, at, *both) for i, at, both in changes],
                 cuts=draw(st.lists(st.integers(0, n), max_size=3)), block=draw(st.sampled_from([1, 2, 5, 1 << 15])))


def fits(world: World) -> bool:
    """Whether every window's sum fits int64."""
    return sum(abs(number) for number in world.numbers if number is not None) <= GREATEST


@settings(max_examples=40, deadline=None)
@given(worlds().filter(fits))
def test_every_function_equals_its_definition(world: World) -> None:
    """Law: every function over every window equals its definition, whatever the delay, ties, nulls, keys, labels and chunks.

    ```
             T-d-w                         T-d                 T
     ─────────(───────────────────────────]───────────────────●──▶
         open        events counted    closed             the row
    ```
    """
    check(world)


@pytest.mark.long
@settings(max_examples=20_000, deadline=None)
@given(worlds(most=60).filter(fits))
def test_every_function_equals_its_definition_at_length(world: World) -> None:
    """Law: as above, over many more and larger worlds (T − d − w < ts ≤ T − d)."""
    check(world)


@settings(max_examples=25, deadline=None)
@given(worlds())
def test_a_sum_overflows_only_if_its_final_value_does(world: World) -> None:
    """Law: sums are exact in between; the first row whose own sum leaves int64 is named with its exact total.

    ```
     values   2⁶²   2⁶²  −2⁶²      sum over three = 2⁶² fits, though 2⁶² + 2⁶² does not
    ```
    """
    values, valid = columns_of(world.numbers, np.int64)
    features = [FeatureRequest("sum", window, values, valid) for window in range(len(world.windows))]
    wanted = [(row, index, total) for row, asked in enumerate(world.is_row) if asked for index, feature in enumerate(features)
              if (total := expect(world, row, feature, world.numbers)) is not None and not -2**63 <= total <= GREATEST]
    if not wanted:
        compute(world, features)
        return
    with pytest.raises(SumOverflow) as caught:
        compute(world, features)
    assert (caught.value.position, caught.value.feature, caught.value.total) == wanted[0]


@settings(max_examples=25, deadline=None)
@given(worlds())
def test_means_are_exact_where_sums_overflow(world: World) -> None:
    """Law: a mean divides the exact 128-bit sum even where the sum itself would not fit (2⁶² + 2⁶² over 2 events = 2⁶²)."""
    values, valid = columns_of(world.numbers, np.int64)
    features = [FeatureRequest("mean", 0, values, valid, scale=scale) for scale in (0, 18)]
    rows = [row for row, asked in enumerate(world.is_row) if asked]
    for feature, got in zip(features, compute(world, features), strict=True):
        assert got == [expect(world, row, feature, world.numbers, feature.scale) for row in rows]


def test_an_idle_key_forgets_what_left_its_window() -> None:
    """Law: a key that sleeps longer than every window starts anew, whoever else was busy meanwhile.

    ```
     key 0   ●0                               ●100  ●101
     key 1       ●10 ●11 ●12 … ●19
     w = 5   (95 ──────────────── 100]   counts 0, then 0, then 1
    ```
    """
    ts = [0, *range(10, 20), 100, 101]
    n = len(ts)
    world = World(ts=ts, key=[0, *[1] * 10, 0, 0], is_event=[True] * n, is_row=[True] * n, current=False, delay=0,
                  windows=[Sliding(5), Sliding(None)], numbers=list(range(n)), floats=[float(i) for i in range(n)], changes=[(0, 3, 1, 1)])
    check(world)
    assert [compute(world, [FeatureRequest("count", 0)])[0][i] for i in (0, 11, 12)] == [0, 0, 1]


def test_a_label_is_known_from_its_instant_and_before_its_event_enters() -> None:
    """Law: a change acts on rows at its instant and later, and on events that enter a delayed window after it.

    ```
     event      ●0
     label           ▲3 FRAUD        ▲8 reversed
     in (T−12, T−5]      enters at 5 ─────────────── leaves at 12
     rows       ●4   ●5   ●7   ●8   ●11  ●12
     fraud       0    1    1    0    0    none left
    ```
    """
    ts = [0, 4, 5, 7, 8, 11, 12]
    world = World(ts=ts, key=[0] * 7, is_event=[True] + [False] * 6, is_row=[False] + [True] * 6, current=False, delay=5,
                  windows=[Sliding(7)], numbers=[1] * 7, floats=[1.0] * 7, changes=[(0, 8, 0, 1), (0, 3, 1, 1)])
    check(world)
    assert compute(world, [FeatureRequest("label_count", 0, label="fraud"), FeatureRequest("label_rate", 0, label="fraud")]) == [
        [0, 1, 1, 0, 0, 0], [None, 1.0, 1.0, 0.0, 0.0, None]]


@pytest.mark.parametrize(("current", "delay"), [(False, 0), (True, 0), (False, 1), (False, 5)])
def test_every_kind_ends_exactly_at_its_edges(current: bool, delay: int) -> None:
    """Law: a pause of the gap ends a session, a boundary begins a period, a length ago is out; an instant nearer is not.

    ```
     events     ●0  ●3  ●8  ●12  ●16  ●20          ●40  ●45  ●49          gap 5: 3 to 8 and 40 to 45 are as long
     rows        each event, and an instant before and after it
    ```
    """
    events = (0, 3, 8, 12, 16, 20, 40, 45, 49)
    ts = sorted([*events, *(at + shift for at in events for shift in (-1, 1, 4, 5, 6))])
    n, first = len(ts), [place for place, at in enumerate(ts) if at in events and ts.index(at) == place]
    check(World(ts=ts, key=[0] * n, is_event=[place in first for place in range(n)], is_row=[True] * n, current=current, delay=delay,
                windows=[Session(5, 5), Session(5, 12), Session(4, 9), Tumbling(4), Tumbling(5), Since(np.array([0, 8, 16, 41])), Latest(2),
                         Sliding(5)],
                numbers=list(range(n)), floats=[float(place) for place in range(n)], changes=[(first[2], 12, 1, 1)], block=16))


def test_one_hot_key_and_all_different_keys_agree_with_the_definition() -> None:
    """Law: one key with every event and one key per event are the same law (windows (T − 9, T])."""
    n = 60
    for keys in ([0] * n, list(range(n))):
        check(World(ts=[i // 3 for i in range(n)], key=keys, is_event=[True] * n, is_row=[True] * n, current=True, delay=0,
                    windows=[Sliding(9), Sliding(30), Latest(4), Tumbling(7), Session(3, 8), Since(np.arange(0, 80, 6))],
                    numbers=[(i * 37) % 11 - 5 for i in range(n)], floats=[(i * 31) % 7 / 4 for i in range(n)],
                    changes=[(i, i // 3 + 4, 1, 1) for i in range(0, n, 3)], cuts=[7, 50], block=32))


def test_a_trend_beyond_float64_is_named_with_its_exact_total() -> None:
    """Law: a slope that is no float64 is an overflow of its row; no earlier row hides it and nothing becomes infinite.

    ```
     value   −1e308  −1e308   1e308
     ts         0       7       8        rows see what is before them, and themselves: 2e308 · 86.4e9 a day and more
    ```
    """
    world = World(ts=[0, 7, 8], key=[0] * 3, is_event=[True] * 3, is_row=[True] * 3, current=True, delay=0, windows=[Sliding(None)],
                  numbers=[1] * 3, floats=[-1e308, -1e308, 1e308], changes=[])
    with pytest.raises(SumOverflow) as caught:
        compute(world, [FeatureRequest("trend", 0, *columns_of(world.floats, np.float64))])
    points = [(ts, Fraction(value)) for ts, value in zip(world.ts, world.floats, strict=True) if value is not None]
    middle, mean = (sum(column) / Fraction(3) for column in zip(*points, strict=True))
    total = sum((at - middle) * (value - mean) for at, value in points) / sum((at - middle) ** 2 for at, _ in points)
    assert (caught.value.position, caught.value.total) == (2, int(total * 86_400_000_000))
