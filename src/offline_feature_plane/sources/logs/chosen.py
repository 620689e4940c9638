"""Stretches of which only some records are decoded, while all of their offsets are known (`sources.logs.beside`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.sources.logs.stretches import Stretch, Undecodable

__all__ = ["Chosen", "ChosenStretch", "Wanted", "chosen_in", "every", "numbers_of"]

T = TypeVar("T")

# Which of many offsets, ascending, are of records that are decoded: their places. It can be pickled.
Wanted = Callable[[npt.NDArray[Any]], Sequence[int]]


@dataclass(frozen=True)
class Chosen:
    """Some of what a stretch has: all offsets there, ascending, which of them have a null value, and the records that a choice takes."""

    numbers: npt.NDArray[Any]
    nulls: npt.NDArray[np.bool_]
    read: Sequence[Record | Undecodable]


class ChosenStretch(Stretch, Protocol):
    """A stretch of which a choice was made."""

    def chosen(self) -> Iterator[Chosen]:
        """As `Stretch.read`, in batches: every offset, and only the chosen records decoded."""


def chosen_in(batches: Iterable[Sequence[T]], number: Callable[[T], int], is_null: Callable[[T], bool],
              decode: Callable[[T], Record | Undecodable], choice: Wanted) -> Iterator[Chosen]:
    """Batches of whatever a holder has, which knows its `number` and whether it `is_null`: only what the choice takes is decoded."""
    for batch in batches:
        numbers = numbers_of([number(one) for one in batch])
        nulls = np.fromiter(map(is_null, batch), np.bool_, len(batch))
        yield Chosen(numbers, nulls, [decode(batch[row]) for row in choice(numbers)])


def every(numbers: npt.NDArray[Any]) -> Sequence[int]:
    """The choice that takes all."""
    return range(len(numbers))


def numbers_of(numbers: Sequence[int]) -> npt.NDArray[Any]:
    """Offsets as an array: of words, or of integers of any length."""
    try:
        return np.array(numbers, np.int64)
    except OverflowError:
        return np.array(numbers, object)
