"""What allocators do with memory that is free: back to the system where a limit counts, kept for the next piece of work where it does not.

A fresh page costs more than what is computed on it, so a build that fits in memory goes round in pages that it has had before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa

__all__ = ["give_back", "keep_freed"]

_TRIM, _MAP = -1, -3        # parameters of glibc's `mallopt`: what is kept at the top of the heap, what gets pages of its own
_USUAL = 128 << 10          # of both
_PLENTY = (1 << 31) - 1


@contextmanager
def keep_freed() -> Iterator[None]:
    """Let numpy and Arrow keep what they free, for the whole process, where allocators can; in the end all of it goes back."""
    usual = pa.default_memory_pool()
    with suppress(NotImplementedError):  # pyarrow was built without it
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    _tune(_PLENTY)
    try:
        yield
    finally:
        _tune(_USUAL)
        give_back()
        pa.set_memory_pool(usual)


def give_back() -> None:
    """Return what numpy and Arrow have freed; call it between pieces of work."""
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # another C library than glibc keeps less, or cannot be asked
        ctypes.CDLL(None).malloc_trim(0)


def _tune(kept: int) -> None:
    with suppress(AttributeError, OSError):  # another C library than glibc
        heap = ctypes.CDLL(None)
        heap.mallopt(_TRIM, kept)
        heap.mallopt(_MAP, kept)
