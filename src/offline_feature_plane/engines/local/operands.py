"""Columns while an expression over them is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.columns import ColumnType

__all__ = ["BOOL", "FLOAT", "Flags", "Floats", "Ints", "Operand", "both"]

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BOOL, FLOAT = ColumnType("bool"), ColumnType("float64")


@dataclass(frozen=True)
class Operand:
    """A column on the way: as `events.Values`, but booleans are numpy's, and a constant has one row."""

    type: ColumnType
    data: npt.NDArray[Any]
    valid: Flags | None = None
    dictionary: pa.Array | None = None


def both(one: Flags | None, other: Flags | None) -> Flags | None:
    """Where both are known; None: everywhere."""
    if one is None or other is None:
        return one if other is None else other
    return one & other
