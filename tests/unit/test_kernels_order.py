"""Positions by their keys, and results brought back into the total order (`kernels.keyorder`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from offline_feature_plane.kernels.grouprun import FeatureRequest, GroupRun, SumOverflow
from offline_feature_plane.kernels.keyorder import KeyOrder, Lines, Records
from offline_feature_plane.kernels.slots import freeze
from offline_feature_plane.kernels.windows import Sliding


@pytest.mark.parametrize("n_keys", [1, 2, 2047, 2048, 5_000_000])
def test_positions_come_by_key_and_those_of_one_key_in_their_order(n_keys: int) -> None:
    """A stable order by key, strangers first, however many digits the keys have."""
    key = np.random.default_rng(n_keys).integers(-1, n_keys, 10_000).astype(np.int32)
    key[:3] = n_keys - 1, -1, 0
    assert KeyOrder(n_keys).of(freeze(key)).tolist() == np.argsort(key, kind="stable").tolist()


def test_no_position_has_no_order() -> None:
    """Nothing in, nothing out."""
    assert KeyOrder(3).of(freeze(np.empty(0, np.int32))).tolist() == []


def test_what_goes_through_records_is_what_was_written() -> None:
    """Columns of every width come back bit by bit, in the places that were named, behind what is there already."""
    kinds: list[np.dtype[Any]] = [np.dtype(kind) for kind in (np.float64, np.int8, np.int32, np.int64, np.float32, np.bool_)]
    marked = [True, False, True, False, True, True]
    written, home = Lines(100, kinds, marked), np.random.default_rng(1).permutation(70).astype(np.int32)
    random = np.random.default_rng(2)
    expected: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
    for values, valid in written.room(70):
        values[:] = random.integers(-100, 100, 70).astype(values.dtype)
        valid[:] = random.random(70) < 0.5
        expected.append((values.copy(), valid.copy()))
    written.spread(70)
    records, found = Records(70, len(kinds), sum(marked)), Lines(75, kinds, marked)
    records.put(home, written.values, written.valid)
    records.take(5, found.values, found.valid)
    for (values, valid), (data, marks), kind, has_marks in zip(found.columns(), expected, kinds, marked, strict=True):
        assert values.dtype == kind
        assert values[5:][home].tobytes() == data.tobytes()
        assert (valid is None) is not has_marks
        assert valid is None or valid[5:][home].tolist() == marks.tolist()


def test_the_earliest_overflow_is_named_whatever_key_it_has() -> None:
    """Of several sums beyond their limit the first in the total order is told, though its key is walked last.

    ```
    key 0     ·  ·  ·  ·  9     beyond, walked first
    key 1     ·  ·  ·  9        beyond
    key 2     ·  ·  9           beyond, first in time
    ```
    """
    n = 50_000
    key = (np.arange(n) % 3).astype(np.int32)
    amount = np.zeros(n, np.int64)
    for position in (40_001, 30_002, 45_000):
        amount[position] = 99
    every = np.ones(n, np.bool_)
    run = GroupRun(ts=np.arange(n, dtype=np.int64), key=key, n_keys=3, is_event=every, is_row=np.arange(n) % 2 == 0, current=True,
                   delay_us=0, windows=[Sliding(None)], label_changes={},
                   features=[FeatureRequest("count", 0), FeatureRequest("sum", 0, amount, limit=50)])
    with pytest.raises(SumOverflow) as caught:
        run.advance(0, n)
    first = min(position for position in range(n) if position % 2 == 0
                and any(spike % 3 == position % 3 and spike <= position for spike in (40_001, 30_002, 45_000)))
    assert (caught.value.feature, caught.value.position, caught.value.total, caught.value.limit) == (1, first, 99, 50)
