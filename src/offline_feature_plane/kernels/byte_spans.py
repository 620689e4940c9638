"""Spans of bytes: copied and compared. What kernels of texts share, their types included."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.words import half_at, put_half, put_word, word_at

__all__ = ["BYTES", "INT64_ROWS", "KINDS", "PAIR", "READ_BYTES", "TRIPLE", "compared", "put"]

READ_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
BYTES = types.uint8[::1]
INT64_ROWS = types.int64[:, ::1]
KINDS = types.int8[:, ::1]
_tuple: Any = types.UniTuple
PAIR, TRIPLE = _tuple(types.int64, 2), _tuple(types.int64, 3)


@compiled(types.int64(READ_BYTES, types.int64, types.int64, BYTES, types.int64))
def put(data: Any, start: Any, end: Any, out: Any, pos: Any) -> Any:
    """Copy some bytes, from the first to the last, each read once; the place behind them."""
    while start + 8 <= end:
        put_word(out, pos, word_at(data, start))
        start += 8
        pos += 8
    if start + 4 <= end:
        put_half(out, pos, half_at(data, start))
        start += 4
        pos += 4
    while start < end:
        out[pos] = data[start]
        start += 1
        pos += 1
    return pos


@compiled(types.int64(READ_BYTES, types.int64, types.int64, READ_BYTES, types.int64, types.int64))
def compared(data: Any, start: Any, end: Any, other: Any, other_start: Any, other_end: Any) -> Any:
    """Below, equal to or above 0 as some bytes are below, equal to or above others."""
    size, other_size = end - start, other_end - other_start
    for i in range(min(size, other_size)):
        difference = np.int64(data[start + i]) - np.int64(other[other_start + i])
        if difference:
            return difference
    return size - other_size
