"""Chosen rows, until they are computed."""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.engines.local.history.places import Place
from offline_feature_plane.engines.local.selection import Selected

__all__ = ["KeptRows"]

_DTYPES = {"positions": np.int64, "target": np.int8, "split": np.int16, "mature": np.bool_, "cold": np.bool_, "weight": np.float64}


class KeptRows:
    """As `selection.Keeping`; rows can be found from the ends of the blocks in which they were chosen. There are `most` at most."""

    def __init__(self, place: Place, most: int) -> None:
        self._columns = {name: place.numbers(name, dtype, most) for name, dtype in _DTYPES.items()}
        self._stops, self._rows = [0], [0]
        self._weighted = False

    @property
    def n(self) -> int:
        """How many rows."""
        return self._rows[-1]

    @property
    def size_bytes(self) -> int:
        """What they take."""
        return sum(column.size_bytes for column in self._columns.values())

    def keep(self, rows: Selected, stop: int) -> None:
        """As `Keeping.keep`."""
        for name, column in self._columns.items():
            values = getattr(rows, name)
            if values is not None:
                column.append(values)
        self._weighted = rows.weight is not None
        self._stops.append(stop)
        self._rows.append(self._rows[-1] + rows.n)

    def within(self, start: int, stop: int) -> Selected:
        """As `Keeping.within`."""
        first, positions = self._found(start, stop)

        def read(name: str) -> npt.NDArray[Any]:
            return self._columns[name].read(first, first + len(positions))
        return Selected(positions, read("target"), read("split"), read("mature"), read("cold"), read("weight") if self._weighted else None)

    def positions(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """As `Keeping.positions`."""
        return self._found(start, stop)[1]

    def _found(self, start: int, stop: int) -> tuple[int, npt.NDArray[np.int64]]:
        """Which row is the first among these events, and the positions of all of them, from `start` on."""
        first = self._rows[bisect.bisect_right(self._stops, start) - 1]
        last = self._rows[bisect.bisect_left(self._stops, stop)]
        positions = self._columns["positions"].read(first, last)
        low, high = np.searchsorted(positions, (start, stop)).tolist()
        return first + low, positions[low:high] - start if start else positions[low:high]
