"""Work on several things at once, for work that lets go of the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["two_at_once"]

Item = TypeVar("Item")
Made = TypeVar("Made")


def two_at_once(work: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
    """What `map` gives, in order, of two threads; a single item is not worth a thread. Raises what the work raises."""
    if len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(work, items)
