"""How well one column separates two classes, and how far apart two splits of it are: from counts by value (`domain.suspicion`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["below", "deal", "distance", "doubled_wins", "doubled_wins_by_share", "mix"]

Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def mix(key: int, places: Int64s) -> Words:
    """One number in [0, 2⁶⁴) for each place, different ones for different places: the outputs of SplitMix64 from the state `key`."""
    word = places.astype(np.uint64) + np.uint64(1)
    word *= np.uint64(0x9E3779B97F4A7C15)
    word += np.uint64(key)
    word ^= word >> np.uint64(30)
    word *= np.uint64(0xBF58476D1CE4E5B9)
    word ^= word >> np.uint64(27)
    word *= np.uint64(0x94D049BB133111EB)
    word ^= word >> np.uint64(31)
    return word


def below(words: Words, limit: int) -> npt.NDArray[np.bool_]:
    """Which numbers are below a limit in [0, 2⁶⁴]."""
    return np.ones(len(words), dtype=np.bool_) if limit >= 2**64 else words < np.uint64(limit)


def deal(key: int, rows: int, chosen: int) -> Int64s:
    """So many of the rows 0 … rows − 1: those whose numbers are smallest."""
    if not 0 < chosen < rows:
        return np.arange(max(chosen, 0), dtype=np.int64)
    return np.argpartition(mix(key, np.arange(rows, dtype=np.int64)), chosen)[:chosen].astype(np.int64)


def doubled_wins(positives: Int64s, negatives: Int64s, nulls: tuple[int, int] = (0, 0)) -> int:
    """Twice the pairs that the positive wins, ties counting half, if nulls are beyond all values at the end that separates better.

    Args:
        positives: how many positive rows have each value, in the order of values.
        negatives: the same of negative rows.
        nulls: how many positive and negative rows have none.
    """
    valued = _doubled_wins(positives, negatives)
    null_positives, null_negatives = nulls
    tied = null_positives * null_negatives
    lowest = valued + tied + 2 * null_negatives * int(positives.sum())
    highest = valued + tied + 2 * null_positives * int(negatives.sum())
    pairs = (int(positives.sum()) + null_positives) * (int(negatives.sum()) + null_negatives)
    return max(lowest, highest, key=lambda wins: abs(wins - pairs))


def doubled_wins_by_share(positives: Int64s, negatives: Int64s) -> int:
    """The same, if the values are ordered by the share of positives that each has."""
    rows = positives + negatives
    order = np.argsort(np.divide(positives, rows, out=np.zeros(len(rows)), where=rows > 0), kind="stable")
    return _doubled_wins(positives[order], negatives[order])


def distance(first: Sequence[Int64s], second: Sequence[Int64s], *, ordered: bool) -> float | None:
    """The largest difference between two splits in the share of rows below any threshold, or within any set of values.

    Args:
        first: rows by value in order, and one element, the rows without a value.
        second: the same of the other split, with the same values.
        ordered: are thresholds meant? Nulls are then beyond all values, at the end that tells more.

    Returns:
        None if a split has no rows.
    """
    here, there = np.concatenate(first), np.concatenate(second)
    if not here.sum() or not there.sum():
        return None
    apart = here / here.sum() - there / there.sum()
    if not ordered:
        return float(np.abs(apart).sum() / 2)
    sums = np.concatenate([[0.0], np.cumsum(apart[:-1])])
    return float(max(np.abs(sums).max(), np.abs(sums + apart[-1]).max()))


def _doubled_wins(positives: Int64s, negatives: Int64s) -> int:
    beaten = 2 * (np.cumsum(negatives) - negatives) + negatives
    return int(np.dot(positives, beaten))
