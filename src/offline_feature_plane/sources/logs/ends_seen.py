"""What is seen of the ends of ranges while their records come, by partition and ascending offset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.basis import Lane, Range
from offline_feature_plane.domain.ends import Ends, Place

__all__ = ["EndsSeen"]


class EndsSeen:
    """The first and the last event of each of some ranges, as far as they came."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        self._ranges: dict[Lane, list[tuple[int, int, Range]]] = {}
        self._found: dict[Range, tuple[Place, Place]] = {}
        for one in ranges:
            self._ranges.setdefault(one.lane, []).append((one.start, one.end, one))

    def see(self, lane: Lane, event: Place) -> None:
        """The next event of a lane."""
        for start, end, stretch in self._ranges.get(lane, ()):
            if start <= event[0] < end:
                self._note(stretch, event, event)

    def see_all(self, lane: Lane, numbers: npt.NDArray[Any], ts_us: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_]) -> None:
        """The next records of a lane, of which some are counted."""
        rows = np.flatnonzero(counted)
        mine = self._ranges.get(lane, ())
        for start, end, stretch in mine if len(rows) else ():
            low, high = (0, len(rows)) if len(mine) == 1 else np.searchsorted(numbers[rows], [start, end]).tolist()
            if low < high:
                self._note(stretch, *((int(numbers[row]), int(ts_us[row])) for row in (rows[low], rows[high - 1])))

    def told(self) -> tuple[Ends, ...]:
        """All of them."""
        return tuple(Ends(stretch, *found) for stretch, found in self._found.items())

    def _note(self, stretch: Range, first: Place, last: Place) -> None:
        self._found[stretch] = self._found[stretch][0] if stretch in self._found else first, last
