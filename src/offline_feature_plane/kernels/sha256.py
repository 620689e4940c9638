"""SHA-256 of many short texts at once.

What a text of 300 bytes costs is mostly the call: `hashlib` makes an object, asks a library that asks its providers, and makes bytes. Where
the processor has instructions for SHA-256 and kernels are compiled for them, a kernel hashes all texts of a batch; elsewhere `hashlib`
does, one call each. The digests are the same, which is a law with a test.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core.registry import cpu_target

__all__ = ["digests", "has_instructions"]


def digests(data: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The digest of each text `data[bounds[i]:bounds[i + 1]]`, 32 bytes in a row."""
    out = np.empty((len(bounds) - 1, 32), np.uint8)
    if _hash_each is not None:
        _hash_each(data, bounds, out)
    else:
        said, sha256 = memoryview(data.data), hashlib.sha256
        hashed = b"".join([sha256(said[start:end]).digest() for start, end in pairwise(bounds.tolist())])
        out[:] = np.frombuffer(hashed, np.uint8).reshape(-1, 32)
    return out


def has_instructions(triple: str, features: str) -> bool:
    """Whether code for such a machine may use them; LLVM ends the process if it is asked for what there is not.

    >>> has_instructions("x86_64-unknown-linux-gnu", "+avx2,+sha,+sse4.1,-sm3"), has_instructions("aarch64-apple-darwin", "+sha2")
    (True, False)
    """
    return triple.startswith("x86_64") and {"+sha", "+sse4.1"} <= set(features.split(","))


def _chosen() -> Any:
    """The kernel, if it may be compiled. A cached one is kept for a machine's features: numba asks for both."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    if not has_instructions(triple, features):
        return None
    from offline_feature_plane.kernels.sha256_instructions import hash_each  # noqa: PLC0415 - it is compiled when it is imported

    return hash_each


_hash_each: Any = _chosen()
