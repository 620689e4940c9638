"""Column digests over numpy buffers: the same bytes as `domain.content.column_digest`, hashed without a Python object per value.

Every function takes one column of one leaf (n rows) and `valid`, a bool array that is False where null, or None if nothing is. What stands
under a null is arbitrary and never reaches the hash. All return `sha256:<hex>`.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Valid = npt.NDArray[np.bool_] | None
_SPARSE = 8  # of so many texts one has bytes: then only those are looked at


def hash_fixed(values: npt.NDArray[Any], valid: Valid = None) -> str:
    """Bools, integers at their width, and timestamps as int64 µs."""
    return _hash(valid, len(values), _zeroed(values, valid))


def hash_floats(values: npt.NDArray[np.float64], valid: Valid = None) -> str:
    """float64, −0.0 as 0.0.

    Raises:
        ValueError: NaN or an infinity at a valid place.
    """
    settled = _zeroed(values, valid) + 0.0  # adding 0.0 turns -0.0 into 0.0
    finite = np.isfinite(settled)
    if not finite.all():
        place = int(np.argmin(finite))
        raise ValueError(f"{settled[place]} cannot be stored in a dataset (row {place} of the leaf)")
    return _hash(valid, len(values), settled)


def hash_decimals(scaled: npt.NDArray[np.int64], precision: int, valid: Valid = None) -> str:
    """Decimals as scaled int64, hashed as 16 bytes two's complement.

    Raises:
        ValueError: more digits than `precision` at a valid place.
    """
    settled = _zeroed(scaled, valid)
    bound = 10**precision
    if len(settled) and not (-bound < int(settled.min()) and int(settled.max()) < bound):
        raise ValueError(f"a decimal has more than {precision} digits")
    words = np.empty((len(settled), 2), dtype="<i8")
    words[:, 0] = settled
    words[:, 1] = settled >> 63
    return _hash(valid, len(settled), words)


def hash_strings(offsets: npt.NDArray[Any], data: npt.NDArray[np.uint8], valid: Valid = None) -> str:
    """UTF-8 texts: row i is `data[offsets[i]:offsets[i + 1]]`; the first offset need not be 0. Null rows may have any length.

    Args:
        offsets: n + 1 ascending int32 or int64.
        data: the bytes that the offsets point into.
        valid: False where null.
    """
    lengths = np.diff(offsets) if valid is None else np.diff(offsets) * valid
    n, size = len(lengths), int(lengths.sum(dtype=np.int64))
    filled = np.flatnonzero(lengths)
    if (n and size < int(offsets[-1]) - int(offsets[0])) or len(filled) * _SPARSE < n:
        framed = _frame_sparse(offsets[:-1], lengths, filled, data)
    elif n and (lengths == lengths[0]).all():
        framed = np.empty((n, 4 + int(lengths[0])), np.uint8)
        framed[:, :4] = _prefixes(lengths)
        framed[:, 4:] = data[int(offsets[0]):int(offsets[-1])].reshape(n, int(lengths[0]))
    else:
        framed = _frame_dense(lengths, data[int(offsets[0]):int(offsets[0]) + size] if n else data[:0])
    return _hash(valid, n, framed)


def _frame_sparse(starts: npt.NDArray[Any], lengths: npt.NDArray[Any], filled: npt.NDArray[np.int64],
                  data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Length and bytes of each text, written for those that have any; between them may be bytes of none."""
    width = lengths[filled].astype(np.int64)
    ends = np.cumsum(width)
    framed = np.zeros(4 * len(lengths) + int(width.sum()), np.uint8)
    at = 4 * filled + ends - width
    framed[at[:, None] + np.arange(4)] = _prefixes(width)
    moved, byte = ends - width, np.arange(int(width.sum()))
    framed[np.repeat(at + 4 - moved, width) + byte] = data[np.repeat(starts[filled] - moved, width) + byte]
    return framed


def _frame_dense(lengths: npt.NDArray[Any], kept: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Length and bytes of each text, whose bytes follow each other."""
    n = len(lengths)
    framed, is_text = np.empty(len(kept) + 4 * n, np.uint8), np.ones(len(kept) + 4 * n, np.bool_)
    at = np.cumsum(lengths, dtype=np.int64) - lengths + 4 * np.arange(n)
    prefixes = _prefixes(lengths)
    for byte in range(4):
        framed[at + byte] = prefixes[:, byte]
        is_text[at + byte] = False
    framed[is_text] = kept
    return framed


def _prefixes(lengths: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Lengths as four bytes each."""
    return lengths.astype("<u4").view(np.uint8).reshape(-1, 4)


def _zeroed(values: npt.NDArray[Any], valid: Valid) -> npt.NDArray[Any]:
    return values if valid is None else np.where(valid, values, values.dtype.type(0))


@lru_cache(maxsize=4)
def _all_valid(n: int) -> Any:
    """A hash that has taken the validity of n values, none of them null; copy it."""
    return hashlib.sha256(np.ones(n, np.uint8).data)


def _hash(valid: Valid, n: int, body: npt.NDArray[Any]) -> str:
    little = np.ascontiguousarray(body, dtype=body.dtype.newbyteorder("<"))
    digest = _all_valid(n).copy() if valid is None else hashlib.sha256(valid.view(np.uint8).tobytes())
    digest.update(little.reshape(-1).view(np.uint8).data)
    return f"sha256:{digest.hexdigest()}"
