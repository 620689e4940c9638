"""Items made on a thread of their own, one ahead of whoever takes them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["one_ahead"]

Item = TypeVar("Item")
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
