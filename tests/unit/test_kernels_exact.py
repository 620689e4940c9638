"""Exact sums and correctly rounded quotients of the kernels, held against Python's integers and Fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offline_feature_plane.kernels.ends import FIRST, measure_since
from offline_feature_plane.kernels.exact import Sums, divide_each
from offline_feature_plane.kernels.slots import lower, raise_to

sums_128 = st.one_of(st.integers(-2**94, 2**94), st.integers(-2**54, 2**54), st.integers(-100, 100),
                     st.builds(lambda power, nudge: 2**power + nudge, st.integers(0, 94), st.integers(-3, 3)))


def divide(total: int, count: int, unit: int) -> float:
    """One quotient by the kernel."""
    out = np.empty(1, np.float64)
    below = total % 2**64
    divide_each(np.array([total >> 64]), np.array([below - 2**64 if below >= 2**63 else below]), np.array([count]), unit, out)
    return float(out[0])


@settings(max_examples=600, deadline=None)
@given(sums_128, st.integers(1, 2**31 - 1), st.integers(0, 18))
@example(0, 1, 18)
@example(2**53 + 1, 1, 0)
@example(2**53 + 3, 1, 0)
@example(-(2**94) + 1, 3, 18)
@example(1, 2**31 - 1, 18)
def test_a_quotient_is_the_nearest_float(total: int, count: int, scale: int) -> None:
    """Law: Σ ÷ (n · 10^s) is the float64 nearest to the exact ratio, ties to even, for sums of up to 95 bits."""
    assert divide(total, count, 10**scale) == float(Fraction(total, count * 10**scale))


@settings(max_examples=300, deadline=None)
@given(st.integers(2**52, 2**53 - 1), st.integers(0, 38), st.sampled_from([-1, 0, 1]), st.sampled_from([1, 2, 4, 3, 7, 1000]))
def test_halfway_cases_go_to_even(mantissa: int, shift: int, nudge: int, count: int) -> None:
    """Law: a ratio exactly halfway between two floats goes to the even one, and the smallest excess decides otherwise."""
    total = ((2 * mantissa + 1) << shift) * count + nudge
    if abs(total) < 2**94:
        assert divide(total, count, 1) == float(Fraction(total, count))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.integers(-2**63, 2**63 - 1), st.integers(-5, 5)), max_size=30), st.data())
def test_ranges_of_prefix_sums_are_exact(values: list[int], data: st.DataObject) -> None:
    """Law: the sum of any range is exact in 128 bits, and a sum that leaves int64 is reported."""
    array = np.array(values, np.int64)
    sums = Sums(array, len(values))
    lo = data.draw(st.integers(0, len(values)))
    hi = data.draw(st.integers(lo, len(values)))
    exact = sum(values[lo:hi])
    assert sums.total(hi, lo) == exact
    out = np.empty(1, np.int64)
    row = sums.sum(np.array([hi], np.int32), np.array([lo], np.int32), None, out)
    assert (row == -1) == (-2**63 <= exact < 2**63)
    assert row == 0 or out[0] == exact


def test_a_limit_is_part_of_the_lawful_range() -> None:
    """Law: ±(10¹⁸ − 1) fits a decimal of 18 digits, one more does not, on both sides."""
    out = np.empty(1, np.int64)
    hi, lo = np.array([1], np.int32), np.array([0], np.int32)
    for value, row in [(10**18 - 1, -1), (10**18, 0), (1 - 10**18, -1), (-(10**18), 0)]:
        assert Sums(np.array([value]), 1).sum(hi, lo, 10**18 - 1, out) == row


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.integers(0, 2**61), st.integers(2**53 - 9, 2**53 + 9), st.integers(0, 10**7)))
def test_seconds_are_rounded_once(passed: int) -> None:
    """Law: seconds are the float64 nearest to µs ÷ 10⁶, also over centuries (event ●──passed──● row)."""
    out, valid = np.empty(1, np.float64), np.empty(1, np.bool_)
    measure_since(np.array([1], np.int32), np.array([False]), np.array([0], np.int32), FIRST, np.array([0]), np.array([passed]), out, valid)
    assert valid[0]
    assert out[0] == float(Fraction(passed, 10**6))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=9))
def test_lowered_floats_order_as_floats_do(values: list[float]) -> None:
    """Law: the bits that stand for floats order and equal as the floats do, and lead back to them (−0.0 to 0.0)."""
    array = np.array(values)
    bits = lower(array)
    assert np.array_equal(bits[:, None] < bits[None, :], array[:, None] < array[None, :])
    assert np.array_equal(raise_to(bits, array.dtype), array)
    assert not np.signbit(raise_to(lower(np.array([-0.0])), array.dtype)).any()
