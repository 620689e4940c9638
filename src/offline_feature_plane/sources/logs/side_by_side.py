"""What overlaps is read side by side: each part is opened where it begins, and closed where it ends (`domain.md` §1.3).

first    ──●──●──●──●──▶
second         ──●──●──●──▶          opened here, however many parts a log has
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from typing import TypeVar

from offline_feature_plane.domain.findings import Spot
from offline_feature_plane.errors import ReplayDuplicateOffsetMismatch

__all__ = ["Disagreement", "side_by_side"]

Item = TypeVar("Item")


def side_by_side(parts: Sequence[tuple[int, Iterator[tuple[int, Item]]]]) -> Iterator[tuple[int, int, Item]]:
    """The items of some parts by their numbers, those of one number by part: number, which part, item.

    Args:
        parts: the first number that can be in one, and its items by ascending number; parts by that first number.

    >>> list(side_by_side([(0, iter([(1, "a"), (3, "b")])), (3, iter([(3, "c")]))]))
    [(1, 0, 'a'), (3, 0, 'b'), (3, 1, 'c')]
    """
    open_parts: list[tuple[int, int, Item, Iterator[tuple[int, Item]]]] = []  # a heap; no two compare beyond their part
    begun = 0
    while open_parts or begun < len(parts):
        while begun < len(parts) and (not open_parts or parts[begun][0] <= open_parts[0][0]):
            items = parts[begun][1]
            for number, item in items:
                heappush(open_parts, (number, begun, item, items))
                break
            begun += 1
        if not open_parts:
            continue
        number, part, item, items = open_parts[0]
        yield number, part, item
        for following, further in items:
            heapreplace(open_parts, (following, part, further, items))
            break
        else:
            heappop(open_parts)


@dataclass
class Disagreement:
    """The coordinates of a partition of which two segments say different things, as they come."""

    topic: str
    partition: int
    count: int = 0
    latest: int = -1
    first: tuple[str, str, str] | None = None  # a place, and the two segments

    def note(self, number: int, one: str, other: str) -> list[Spot]:
        """The next one, and the paths of the two segments; of a third one at the same place nothing more is told."""
        if number == self.latest:
            return []
        place = f"{self.topic}/{self.partition}@{number}"
        self.count, self.latest, self.first = self.count + 1, number, self.first or (place, one, other)
        return [Spot(ReplayDuplicateOffsetMismatch.code, number, f"{one} and {other} hold different events at {place}.")]

    def settle(self) -> None:
        """Nothing comes any more. Raises ReplayDuplicateOffsetMismatch: something was noted."""
        if self.first is not None:
            place, one, other = self.first
            where = place if self.count == 1 else f"{self.count:,} offsets, the first of them {place}"
            raise ReplayDuplicateOffsetMismatch(f"the segments {one} and {other} hold different events at {where}.", path=place,
                                                segments=[one, other], count=self.count,
                                                fix="Find out which segment is true and remove the other from the index.")
