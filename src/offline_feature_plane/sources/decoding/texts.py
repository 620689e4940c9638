"""Texts that stand somewhere in bytes, as columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.arrow_types import bitmap
from offline_feature_plane.kernels.typed_texts import gather, lay_out
from offline_feature_plane.sources.decoding.wanted import Bytes, Int64s

__all__ = ["text_column"]


def text_column(data: Bytes, starts: Int64s, ends: Int64s, valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Texts as an Arrow array; where not `valid`, null and of no length. They are fewer than 2³¹ bytes, as blocks are smaller."""
    offsets = np.empty(len(starts) + 1, np.int32)
    out = np.empty(lay_out(starts, ends, offsets), np.uint8)
    gather(data, starts, ends, out)
    return pa.Array.from_buffers(pa.string(), len(starts), [bitmap(valid), pa.py_buffer(offsets), pa.py_buffer(out)])
