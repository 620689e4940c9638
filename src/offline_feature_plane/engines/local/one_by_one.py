"""What many rows see of a key, as edits of what others see (`kernels.editing`): for what has no parts, and windows told by their events.

```
   rows        in an order in which each sees nearly what the one before it saw
   edits       + e7   + e9   − e2   ● a row   + e2   − e9   ● the next
   followed    sums, counts per value, places among values, the most frequent ones
```
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.kernels import catalog
from offline_feature_plane.kernels.editing import order_rows, write_edits
from offline_feature_plane.kernels.edits import Edited
from offline_feature_plane.kernels.grouprun import FeatureRequest
from offline_feature_plane.kernels.merging import Merged, Part, Sought, Whole, finish_each, take_apart
from offline_feature_plane.kernels.reducing import Argument, Inputs
from offline_feature_plane.kernels.slots import Bools, Int32s, Int64s
from offline_feature_plane.kernels.visible import Ranges, Visible

__all__ = ["OneByOne"]

Column = tuple[npt.NDArray[Any], Bools]


class OneByOne:
    """The columns of a group that can follow single events; `holds` are the places of their requests.

    Args:
        visible: the group's events.
        key: int32[N], the key of each position.
        requests: all of its columns.
        whole: what parts are computed over.
    """

    def __init__(self, visible: Visible, key: Int32s, requests: Sequence[FeatureRequest], whole: Whole) -> None:
        self._visible, self._key = visible, key
        self._arguments: dict[Any, Argument] = {}
        made = {place: take_apart(one, whole) or _by_itself(one) for place, one in enumerate(requests)}
        self._merged = {place: one for place, one in made.items() if all(self._open(part) is not None for part in one.parts)}
        self.holds = frozenset(self._merged)

    def columns(self, sought: Sought, ranges: Sequence[Ranges], worth: float, without: frozenset[int]) -> dict[int, Column]:
        """The columns of some rows, by the places of their requests.

        Args:
            sought: the rows.
            ranges: what they see, by windows.
            worth: windows are left out whose walk has so many times as many steps as their rows see events, or more.
            without: places that are not asked for.

        Raises:
            SumOverflow: a sum leaves its limits: the earliest such row, then the first such feature.
        """
        wanted: dict[int, Merged] = {}
        parts = dict[Any, Column]()
        for window, seen in enumerate(ranges):
            mine = {place: one for place, one in self._merged.items() if one.parts[0].request.window == window and place not in without}
            volume = int((seen.hi - seen.lo).sum(dtype=np.int64)) + len(sought.rows)
            if not mine or volume <= worth * (order := order_rows(seen)).steps:
                continue
            wanted |= mine
            asked = {_same(part): part for one in mine.values() for part in one.parts}
            parts |= self._walk(seen, order.rows, {same: part for same, part in asked.items() if not part.past_only})
            before = {same: part for same, part in asked.items() if part.past_only}
            parts |= self._walk(seen.past, order.rows, before) if before else {}   # an order that is good for one is good for both
        return finish_each(wanted, lambda part: parts[_same(part)], sought)

    def _walk(self, seen: Ranges, order: Int64s, asked: dict[Any, Part]) -> Iterator[tuple[Any, Column]]:
        """Parts of the rows of one window, walked in some order, each by what makes it the same as another."""
        alike: dict[Any, list[Any]] = {}
        for same in asked:
            alike.setdefault(same[:-1], []).append(same)
        followers = [(found, self._open(asked[found[0]])) for found in alike.values()]
        told: list[list[tuple[npt.NDArray[Any], Bools | None]]] = [[] for _ in followers]
        for edits in write_edits(seen, self._visible, order):
            for one, (_, follower) in zip(told, followers, strict=True):
                if follower is not None:
                    one.append(follower.advance(edits))
        for one, (found, _) in zip(told, followers, strict=True):
            for same in found:
                yield same, _in_place(one, asked[same].request.place, order)

    def _open(self, part: Part) -> Edited | None:
        one = part.request
        same = id(one.values), id(one.valid)
        argument = self._arguments.setdefault(same, Argument(self._visible.slots, one.values, one.valid))
        return catalog.reducer(one.function).follow(Inputs(self._visible.slots, self._key, argument, {}, 0), one)


def _by_itself(request: FeatureRequest) -> Merged:
    """A column that is its only part."""
    return Merged((Part(request),), lambda parts, _: parts[0])


def _same(part: Part) -> tuple[Any, ...]:
    """What tells parts apart, the place among the most frequent last."""
    one = part.request
    return one.function, one.window, id(one.values), id(one.valid), one.share, one.most, one.scale, part.past_only, one.place


def _in_place(told: Sequence[tuple[npt.NDArray[Any], Bools | None]], line: int, rows: Int64s) -> Column:
    """One line of what was found, as the rows stand."""
    data, valid = np.empty(len(rows), told[0][0].dtype), np.ones(len(rows), np.bool_)
    data[rows] = np.concatenate([values[line] for values, _ in told])
    if told[0][1] is not None:
        valid[rows] = np.concatenate([known[line] for _, known in told if known is not None])
    return data, valid
