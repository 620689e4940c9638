"""Quotients and logarithms of integers: what the kernels divide is what a fraction rounds to."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.fading import POWERS, fading_weight
from offline_feature_plane.domain.logarithms import POINT, log2_of
from offline_feature_plane.kernels.entropies import _quotient, spread_evenly, tabulate_steps
from offline_feature_plane.kernels.fading import powers
from offline_feature_plane.kernels.quotients import WIDEST, WORK, ratio

MOST = 2 ** (32 * WIDEST) - 1
DIVISORS = st.one_of(st.integers(1, MOST), st.integers(1, 2**70), st.integers(0, 255).map(lambda bits: 2**bits),
                     st.integers(1, 255).map(lambda bits: 2**bits - 1), st.integers(32, 255).map(lambda bits: 2**bits + 1),
                     st.just(MOST), st.integers(1, 2**32).map(lambda low: (2**63 << 64 | low) << 64))


def limbs(number: int, size: int) -> list[np.uint64]:
    """A number as limbs, the lowest first."""
    return [np.uint64(number >> 64 * place & 2**64 - 1) for place in range(size)]


def divide(above: int, below: int, exponent: int) -> float:
    """What the kernel says of above · 2^exponent ÷ below."""
    above_size, below_size = above.bit_length() // 64 + 1, below.bit_length() // 64 + 1
    numbers = np.array([*limbs(above, above_size), *limbs(below, below_size)], np.uint64)
    with np.errstate(over="ignore"):
        return ratio(numbers, 0, above_size, above_size, below_size, np.int64(exponent), np.zeros(WORK, np.uint64))


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.integers(0, 2**90), st.integers(0, 2**700)), DIVISORS, st.sampled_from([0, -3, -300, 64]))
def test_a_ratio_is_rounded_once(above, below, exponent):
    """The float64 nearest to the exact quotient, ties to even; infinite beyond all of them."""
    exact = Fraction(above) * Fraction(2) ** exponent / below
    assert divide(above, below, exponent) == (math.inf if exact >= Fraction(2) ** 1024 else float(exact))


@settings(max_examples=150, deadline=None)
@given(st.integers(2**53, 2**55), DIVISORS, st.integers(0, 90), st.sampled_from([-1, 0, 1]))
def test_a_ratio_near_a_tie_goes_to_its_side(bits, below, places, aside):
    """Quotients of 54 and 55 bits lie between two float64 or beside the middle of them; one more or less of the dividend decides."""
    above = (bits * below << places) + aside
    assert divide(above, below, -places) == float(Fraction(above, below << places))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**92), st.one_of(st.integers(1, 2**31 - 1), st.sampled_from([1, 2, 3, 2**30, 2**31 - 1])))
def test_an_entropy_is_rounded_once(above, below):
    """The dividend has 92 bits at most."""
    with np.errstate(over="ignore"):
        assert _quotient(*reversed(limbs(above, 2)), np.uint64(below)) == float(Fraction(above, below))


def test_steps_are_those_of_the_definition():
    """Up to every count, the steps add up to c · log₂ c, modulo 2⁶⁴ where it is larger."""
    steps = np.empty(3_000, np.int64)
    steps[0] = 0
    tabulate_steps(steps)
    assert [int(step) for step in steps[1:]] == [c * log2_of(c) - (c - 1) * log2_of(max(1, c - 1)) for c in range(1, 3_000)]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 2**31))
def test_logarithms_are_right_to_two_units(number):
    """Powers of two are exact; doubling adds one; all others are off by less than two units of 2^−56, so that log₂ 2³¹ fits 61 bits."""
    with localcontext(prec=60):
        exact = Decimal(number).ln() / Decimal(2).ln() * 2**POINT
        assert -2 < log2_of(number) - exact <= Decimal("1e-20")
    assert log2_of(2 * number) == log2_of(number) + 2**POINT


@pytest.mark.parametrize("part", range(4))
def test_powers_of_two_are_rounded_down(part):
    """Every entry of either table, the definition's and the kernels', is the greatest integer up to 2^62 · 2^(b ÷ 256^(k+1))."""
    with localcontext(prec=60):
        for byte in range(256):
            exact = int(Decimal(2) ** (62 + Decimal(byte) / 256 ** (part + 1)))
            assert POWERS[256 * part + byte] == powers()[256 * part + byte] == exact


@settings(max_examples=100, deadline=None)
@given(st.integers(-2**60, 2**60), st.integers(1, 8 * 10**13))
def test_weights_halve_with_age(ts_us, half_life_us):
    """A mantissa has 32 bits, is off by less than two units, and a half-life is one of the exponent: the mantissa stays.

    ```
     ts − h ──────────── ts ──────────── ts + h
       w ÷ 2              w               2 · w
    ```
    """
    mantissa, exponent = fading_weight(ts_us, half_life_us)
    assert fading_weight(ts_us - half_life_us, half_life_us) == (mantissa, exponent - 1)
    with localcontext(prec=60):
        exact = Decimal(2) ** (31 + Decimal(ts_us - exponent * half_life_us) / half_life_us)
        assert -2 < mantissa - exact <= 0
    assert mantissa.bit_length() == 32


@pytest.fixture(scope="module")
def step_table(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Room for the steps of every count that there can be, in a file of holes: only the pages that a test writes take any."""
    return np.memmap(tmp_path_factory.mktemp("steps") / "steps", np.int64, "w+", shape=(2**31,)).view(np.ndarray)


MOST_VALUES = 2**31 - 1


@st.composite
def held_counts(draw: st.DrawFn) -> tuple[int, int, int]:
    """How often a window holds each of three values; two more fit."""
    bits = draw(st.integers(1, 31))
    n = draw(st.integers(2 ** (bits - 1), min(2**bits, MOST_VALUES) - 2 + (bits < 31)))
    one = draw(st.one_of(st.integers(0, n), st.integers(max(0, n - 3), n)))
    other = draw(st.integers(0, n - one))
    return one, other, n - one - other


@settings(max_examples=150, deadline=None)
@example((2**28 + 5, 1, 0))  # from 2²⁸ on, a step may be less than one before it: 2²⁸ + 7 has such a one
@example((2**30 - 1, 1, 0))
@example((MOST_VALUES - 2, 0, 0))
@example((1, MOST_VALUES - 3, 0))
@example((0, 0, MOST_VALUES - 2))
@given(held_counts())
def test_an_entropy_of_any_counts_is_exact(step_table, counts):
    """A value enters, another one enters, the first one leaves: each time the state is the law's integer, whatever is held beside them."""
    held = list(counts)

    def expected() -> tuple[list[int], float]:
        n = sum(held)
        dividend = n * log2_of(n) - sum(count * log2_of(count) for count in held if count)
        return [n, *np.array(limbs(dividend, 2), np.uint64).view(np.int64).tolist()], float(Fraction(dividend, n << POINT))

    for count in range(1, 3):
        for most in (sum(held) + count, held[0] + count, held[1] + count, max(held[0], 1), max(held[1], 1), sum(held)):
            step_table[most] = most * log2_of(most) - (most - 1) * log2_of(max(1, most - 1))
    state, found = np.array([0, 0, *expected()[0]], np.int64), np.array([held], np.int32)
    out, valid = np.empty((1, 1)), np.empty((1, 1), np.bool_)
    for hi, lo, value, change in ((1, 0, 0, 1), (2, 0, 1, 1), (2, 1, 0, -1)):
        spread_evenly(np.zeros(1, np.int32), np.array([hi], np.int32), np.array([[lo]], np.int32), np.zeros(1, np.int64),
                      np.array([0, 1], np.int32), step_table, state, found, out, valid)
        held[value] += change
        assert found[0].tolist() == held
        assert (state[2:].tolist(), out[0, 0]) == expected()
