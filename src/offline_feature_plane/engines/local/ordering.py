"""The total order of events: (ts, topic, partition, offset, event id), after ts by arrival if that counts (`decisions.md` D14, D21)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa

from offline_feature_plane.engines.local.columns import Integers, Loaded
from offline_feature_plane.engines.local.dictionaries import ranks
from offline_feature_plane.engines.local.lowering import as_arrow

__all__ = ["inverse", "order_keys", "tie_keys", "topic_ranks", "total_order", "whole_arrival"]


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


def order_keys(loaded: Sequence[Loaded], starts: Integers, arrival: Integers | None, rows: Integers) -> list[Integers]:
    """What orders rows of one instant, the strongest key first: their arrival, if it counts, then `tie_keys`."""
    return [*([] if arrival is None else [arrival[rows]]), *tie_keys(loaded, starts, rows)]


def whole_arrival(loaded: Sequence[Loaded]) -> Integers | None:
    """When every row arrived; None if that does not count."""
    known = [one.arrival for one in loaded if one.arrival is not None]
    return np.concatenate(known) if len(known) == len(loaded) else None


def inverse(order: Integers | None, total: int) -> Integers:
    """The place of every row in an order."""
    places = np.arange(total)
    if order is None:
        return places
    found = np.empty(total, np.int64)
    found[order] = places
    return found


def topic_ranks(loaded: Iterable[Loaded]) -> dict[tuple[int, str], int]:
    """The place of each topic in the order, from where its events stand among others of their instant, and its name."""
    return {one: rank for rank, one in enumerate(sorted({(one.standing, one.topic) for one in loaded},
                                                        key=lambda one: (one[0], one[1].encode())))}


def tie_keys(loaded: Sequence[Loaded], starts: Integers, rows: Integers) -> list[Integers]:
    """Topic, partition, offset and id rank of some rows of several inputs side by side, each from its start on."""
    topics = topic_ranks(loaded)
    keys = [np.zeros(len(rows), np.int64) for _ in range(4)]
    texts = []
    for one, start in zip(loaded, starts.tolist(), strict=False):
        if len(loaded) == 1:
            mine, local = np.arange(len(rows)), rows
        else:
            mine = np.flatnonzero((rows >= start) & (rows < start + one.n))
            local = rows[mine] - start
        keys[0][mine] = topics[one.standing, one.topic]
        if one.partition is not None and one.offset is not None:
            keys[1][mine], keys[2][mine] = one.partition[local], one.offset[local]
        if isinstance(one.ids, pa.ChunkedArray):
            texts.append((mine, one.ids.take(as_arrow(local))))
        else:
            keys[3][mine] = one.ids[local]
    if texts:
        keys[3][np.concatenate([mine for mine, _ in texts])] = ranks(pa.chunked_array(
            [chunk for _, ids in texts for chunk in ids.chunks], pa.string()))
    return keys


def _ascend(keys: Sequence[Integers]) -> bool:
    """Are rows in the order of their keys already, the strongest first? Sorting is stable, so those of a well-kept log are."""
    equal = np.ones(len(keys[0]) - 1, np.bool_)
    for key in keys:
        if (equal & (key[1:] < key[:-1])).any():
            return False
        equal &= key[1:] == key[:-1]
    return True
