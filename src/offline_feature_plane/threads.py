"""Work on several things at once, or on one while the next is made, for work that lets go of the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["one_ahead", "two_at_once"]

Item = TypeVar("Item")
Made = TypeVar("Made")
_END: Final = object()


def one_ahead(items: Iterator[Item]) -> Generator[Item]:
    """The same items, the next one made on a second thread while the caller works on this one.

    An error comes where its item would have come. Whoever leaves early closes this: then the thread ends, and `items`, if it is a
    generator, is closed, after the item that is being made.
    """
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="ofs-ahead") as pool:
            waiting = pool.submit(next, items, _END)
            while (item := waiting.result()) is not _END:
                waiting = pool.submit(next, items, _END)
                yield item  # type: ignore[misc]
    finally:
        if isinstance(items, Generator):
            items.close()


def two_at_once(work: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
    """What `map` gives, in order, of two threads; a single item is not worth a thread. Raises what the work raises."""
    if len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(work, items)
