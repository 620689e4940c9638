"""What many rows see of a key, as edits of what others see (`kernels.editing`): for what has no parts, and windows told by their events.

```
   rows        in an order in which each sees nearly what the one before it saw
   edits       + e7   + e9   − e2   ● a row   + e2   − e9   ● the next
   followed    counts per value, places among values, the most frequent ones
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.kernels import catalog
from offline_feature_plane.kernels.editing import order_rows, write_edits
from offline_feature_plane.kernels.edits import Edited
from offline_feature_plane.kernels.grouprun import FeatureRequest
from offline_feature_plane.kernels.reducing import Argument, Inputs
from offline_feature_plane.kernels.slots import Bools, Int32s
from offline_feature_plane.kernels.visible import Ranges, Visible

__all__ = ["OneByOne"]

Column = tuple[npt.NDArray[Any], Bools | None]


class OneByOne:
    """The columns of a group that can follow single events; `holds` are the places of their requests.

    Args:
        visible: the group's events.
        key: int32[N], the key of each position.
        requests: all of its columns.
    """

    def __init__(self, visible: Visible, key: Int32s, requests: Sequence[FeatureRequest]) -> None:
        self._visible, self._requests = visible, requests
        self._arguments: dict[Any, Argument] = {}
        self._inputs: dict[int, Inputs] = {}
        for place, one in enumerate(requests):
            same = id(one.values), id(one.valid)
            argument = self._arguments.setdefault(same, Argument(visible.slots, one.values, one.valid))
            self._inputs[place] = Inputs(visible.slots, key, argument, {}, 0)
        self.holds = frozenset(place for place in self._inputs if self._open(place) is not None)

    def columns(self, ranges: Sequence[Ranges], volume: Mapping[int, int], worth: float) -> dict[int, Column]:
        """The columns of some rows, by the places of their requests.

        Args:
            ranges: what the rows see, by windows.
            volume: for each window, how many events its rows see together.
            worth: windows are left out whose walk is so many times longer than that, or more.
        """
        columns: dict[int, Column] = {}
        for window, seen in enumerate(ranges):
            places = [place for place in sorted(self.holds) if self._requests[place].window == window]
            order = order_rows(seen) if places else None
            if order is None or volume[window] <= worth * order.steps:
                continue
            alike: dict[Any, list[int]] = {}
            for place in places:
                one = self._requests[place]
                state = catalog.reducer(one.function).state
                alike.setdefault((state, id(one.values), id(one.valid), one.share, one.most, one.scale), []).append(place)
            followers = [(found, self._open(found[0])) for found in alike.values()]
            parts: list[list[Column]] = [[] for _ in followers]
            for edits in write_edits(seen, self._visible, order.rows):
                for part, (_, follower) in zip(parts, followers, strict=True):
                    if follower is not None:
                        part.append(follower.advance(edits))
            for part, (found, _) in zip(parts, followers, strict=True):
                columns |= {place: _in_place(part, self._requests[place].place, order.rows) for place in found}
        return columns

    def _open(self, place: int) -> Edited | None:
        one = self._requests[place]
        return catalog.reducer(one.function).follow(self._inputs[place], one)


def _in_place(parts: Sequence[Column], line: int, rows: npt.NDArray[np.int64]) -> Column:
    """One line of what was found, as the rows stand."""
    data = np.empty(len(rows), parts[0][0].dtype)
    data[rows] = np.concatenate([values[line] for values, _ in parts])
    if parts[0][1] is None:
        return data, None
    valid = np.empty(len(rows), np.bool_)
    valid[rows] = np.concatenate([known[line] for _, known in parts if known is not None])
    return data, valid
