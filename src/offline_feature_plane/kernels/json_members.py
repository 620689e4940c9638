"""Members of JSON objects: put in the order of their keys, and followed along wanted paths."""

from __future__ import annotations

from typing import Any

from numba import types

from offline_feature_plane.kernels.byte_spans import BYTES, INT64_ROWS, READ_BYTES, compared, put
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.slots import INT64S, READ_INT64

__all__ = ["child_of", "put_in_order"]

_SORTED = 256  # members of one object that are put in order
_COMMA = 44


@compiled(types.int64(READ_BYTES, INT64_ROWS, INT64S, types.int64, types.int64, BYTES, types.int64))
def put_in_order(data: Any, members: Any, order: Any, first: Any, top: Any, out: Any,  # noqa: C901 - one walk, one kernel
                 pos: Any) -> Any:
    """Sort the members `first … top − 1` of an object by key, and so their texts, which end at `pos`; 0, or −1 if a key comes twice."""
    ascending = True
    for i in range(first + 1, top):
        difference = compared(data, members[i - 1, 0], members[i - 1, 1], data, members[i, 0], members[i, 1])
        if difference == 0:
            return -1
        if difference > 0:
            ascending = False
            break
    if ascending:
        return 0
    count = top - first
    if count > _SORTED:
        return -1
    for i in range(count):
        at = i
        while at > 0:
            before = first + order[at - 1]
            difference = compared(data, members[before, 0], members[before, 1], data, members[first + i, 0], members[first + i, 1])
            if difference == 0:
                return -1
            if difference < 0:
                break
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
    start, scratch = members[first, 2], pos
    for i in range(count):
        one = first + order[i]
        stop = members[one + 1, 2] - 1 if one + 1 < top else pos
        if i:
            out[scratch] = _COMMA
            scratch += 1
        scratch = put(out, members[one, 2], stop, out, scratch)
    put(out, pos, scratch, out, start)
    return 0


@compiled(types.int64(READ_BYTES, types.int64, types.int64, types.int64, READ_INT64, READ_BYTES, READ_INT64))
def child_of(data: Any, start: Any, end: Any, node: Any, edges: Any, keys: Any, bounds: Any) -> Any:
    """Which node the key of a member leads to from a node; −1 if nothing there is wanted. Edges are (node, child) pairs, keys beside."""
    for i in range(bounds.shape[0] - 1):
        if edges[2 * i] == node and bounds[i + 1] - bounds[i] == end - start and compared(
                data, start, end, keys, bounds[i], bounds[i + 1]) == 0:
            return edges[2 * i + 1]
    return -1
