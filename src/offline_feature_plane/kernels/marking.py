"""Marks of texts: 64 bits for each, the same for the same text and seed. Others may share one; whoever minds looks again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from offline_feature_plane.kernels.byte_spans import READ_BYTES
from offline_feature_plane.kernels.compiling import compiled

__all__ = ["mark_texts"]

_PRIME, _FIRST, _SECOND = np.uint64(0x100000001B3), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)
_READ_INT32 = types.Array(types.int32, 1, "C", readonly=True)
_READ_UINT64 = types.Array(types.uint64, 1, "C", readonly=True)


@compiled(types.void(READ_BYTES, _READ_INT32, _READ_UINT64, types.uint64[::1]))
def mark_texts(data: Any, offsets: Any, seeds: Any, marks: Any) -> None:
    """Mark the text `data[offsets[i] … offsets[i + 1]]` of each seed: FNV-1a, its bits then mixed as SplitMix64 does."""
    for i in range(marks.shape[0]):
        mark = seeds[i]
        for j in range(offsets[i], offsets[i + 1]):
            mark = (mark ^ np.uint64(data[j])) * _PRIME
        mark = (mark ^ (mark >> _30)) * _FIRST
        mark = (mark ^ (mark >> _27)) * _SECOND
        marks[i] = mark ^ (mark >> _31)
