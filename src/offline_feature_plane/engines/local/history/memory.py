"""What allocators do with memory that is free: back to the system where a limit counts, kept for the next piece of work where it does not.

A fresh page costs more than what is computed on it, so a build that fits in memory goes round in pages that it has had before. A build
over files goes round in a few megabytes, which allocators would spread over ten times as much: Arrow's own keeps what it has, and the
system's gives every thread a heap of its own.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pyarrow as pa

__all__ = ["give_back", "keep_freed", "resident_bytes", "return_freed"]

# Parameters of glibc's `mallopt`: what is kept at the top of the heap, what gets pages of its own, and how many heaps there are.
_TRIM, _MAP, _HEAPS = -1, -3, -8
_USUAL = 128 << 10          # of both
_PLENTY = (1 << 31) - 1
# Where freed memory goes back: what is larger than this at once, and what is free at the end of a heap beyond as much; the rest of so many
# heaps with `give_back`. Whatever 16,384 records are decoded into is smaller: it comes again with each batch, and fresh pages take longer.
# Where a limit leaves no room for that, all that is worth a call of the system goes back at once.
_LARGE, _WORTH_A_CALL, _FEW = 16 << 20, 2 << 20, 2
_STATM: Final = Path("/proc/self/statm")
_CHANGING: Final = threading.Lock()
_BEFORE: Final[list[pa.MemoryPool]] = []  # of every build that goes on, what was in use when it began: at the bottom the usual one


@contextmanager
def keep_freed() -> Iterator[None]:
    """Let numpy and Arrow keep what they free, for the whole process, where allocators can; after the last of its builds all goes back."""
    with _tuned(pa.jemalloc_memory_pool, {_TRIM: _PLENTY, _MAP: _PLENTY}):
        yield


@contextmanager
def return_freed(*, at_once: bool = False) -> Iterator[None]:
    """Let numpy and Arrow return what they free, for the whole process, where allocators can; after the last of its builds as usual.

    Args:
        at_once: also what comes again soon.
    """
    with _tuned(pa.system_memory_pool, {_TRIM: _USUAL if at_once else _LARGE, _MAP: _WORTH_A_CALL if at_once else _LARGE, _HEAPS: _FEW}):
        yield


@contextmanager
def _tuned(pool: Callable[[], pa.MemoryPool], heap: Mapping[int, int]) -> Iterator[None]:
    with _CHANGING:
        _BEFORE.append(pa.default_memory_pool())
        with suppress(NotImplementedError):  # pyarrow was built without it
            pa.set_memory_pool(pool())
        _tune(heap)
    try:
        yield
    finally:
        with _CHANGING:
            usual = _BEFORE.pop()
            if not _BEFORE:  # whichever build ends last
                _tune({_TRIM: _USUAL, _MAP: _USUAL})
                give_back()
                pa.set_memory_pool(usual)


def give_back() -> None:
    """Return what numpy and Arrow have freed; call it between pieces of work."""
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # another C library than glibc keeps less, or cannot be asked
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """What this process has in memory now, pages of libraries included; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _tune(parameters: Mapping[int, int]) -> None:
    with suppress(AttributeError, OSError):  # another C library than glibc
        heap = ctypes.CDLL(None)
        for parameter, value in parameters.items():
            heap.mallopt(parameter, value)
