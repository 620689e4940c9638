"""The total order of events: (ts, topic, partition, offset, event id) (`decisions.md` D14, `features.md`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def total_order(ts: Integers, tie_keys: Callable[[Integers], Sequence[Integers]]) -> Integers | None:
    """The permutation that puts rows in the total order; None if they are in it already.

    Args:
        ts: int64 µs.
        tie_keys: gives, for the rows that share their instant with another one, the further sort keys, the strongest first. So texts are
            ranked only where they decide something.
    """
    order: Integers | None = None
    if (ts[1:] < ts[:-1]).any():
        order = np.argsort(ts, kind="stable")
        ts = ts[order]
    same = ts[1:] == ts[:-1]
    if not same.any():
        return order
    tied = np.zeros(len(ts), np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    places = np.flatnonzero(tied)
    rows = places if order is None else order[places]
    keys = [ts[places], *(key for key in tie_keys(rows) if (key != key[0]).any())]
    if _ascend(keys):
        return order
    if order is None:
        order = np.arange(len(ts), dtype=np.int64)
    order[places] = rows[np.lexsort(keys[::-1])]
    return order


def _ascend(keys: Sequence[Integers]) -> bool:
    """Are rows in the order of their keys already, the strongest first? Sorting is stable, so those of a well-kept log are."""
    equal = np.ones(len(keys[0]) - 1, np.bool_)
    for key in keys:
        if (equal & (key[1:] < key[:-1])).any():
            return False
        equal &= key[1:] == key[:-1]
    return True
