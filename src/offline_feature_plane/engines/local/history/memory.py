"""Memory that is free goes back to the system: allocators keep it, and what they keep counts against a build's limit."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pyarrow as pa

__all__ = ["give_back"]


def give_back() -> None:
    """Return what numpy and Arrow have freed; call it between pieces of work."""
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # another C library than glibc keeps less, or cannot be asked
        ctypes.CDLL(None).malloc_trim(0)
