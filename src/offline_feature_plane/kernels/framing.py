"""Texts with their lengths before them, as column digests take them (`decisions.md` F); a missing one is as long as an empty one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled

__all__ = ["frame", "framed_bytes"]

_BYTES = types.uint8[::1]
_READ_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_READ_BOOL = types.Array(types.boolean, 1, "C", readonly=True)
_READ_INT64 = types.Array(types.int64, 1, "C", readonly=True)


@compiled(types.int64(_READ_INT64, _READ_BYTES, _READ_BOOL, _BYTES))
def frame(offsets: Any, data: Any, valid: Any, out: Any) -> Any:
    """Write length and bytes of each text `data[offsets[i]:offsets[i + 1]]`; returns how many bytes that were."""
    at = np.int64(0)
    for i in range(valid.shape[0]):
        start = offsets[i]
        length = offsets[i + 1] - start if valid[i] else np.int64(0)
        for byte in range(4):
            out[at + byte] = np.uint8((length >> (8 * byte)) & 0xFF)
        at += 4
        for byte in range(length):
            out[at + byte] = data[start + byte]
        at += length
    return at


def framed_bytes(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """All texts with their lengths."""
    out = np.empty(4 * len(valid) + int(offsets[-1] - offsets[0]), np.uint8)
    return out[:frame(offsets, data, valid, out)]
