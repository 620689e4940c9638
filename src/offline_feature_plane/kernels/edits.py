"""What enters and leaves a window, event by event and in any order: the words of those who write it and those who follow."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

from offline_feature_plane.kernels.slots import Bools, Int32s, Int64s

__all__ = ["Edited", "Edits"]


class Edits(NamedTuple):
    """What some rows see, one after another: `slots` + 1 that enter, or −(slot + 1) that leave, up to `ends[i]` for the i-th of them."""

    slots: Int32s
    ends: Int64s


class Edited(Protocol):
    """An aggregation that follows single events; its window is empty at first."""

    def advance(self, edits: Edits) -> tuple[npt.NDArray[Any], Bools | None]:
        """The results of the next rows, a line for each of the places that were asked for, and which are valid (None: all)."""
