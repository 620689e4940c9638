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
    starts, lengths = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64)
    n = len(lengths)
    kept = data[int(offsets[0]):int(offsets[-1])] if n else data[:0]
    if valid is not None and (garbage := ~valid & (lengths > 0)).any():
        kept = kept[np.repeat(~garbage, lengths)]
        lengths = np.where(valid, lengths, 0)
        starts = np.cumsum(lengths) - lengths
    elif n:
        starts = starts - starts[0]
    if n and (lengths == lengths[0]).all():
        even = np.empty((n, 4 + int(lengths[0])), dtype=np.uint8)
        even[:, :4] = lengths.astype("<u4")[:, None].view(np.uint8)
        even[:, 4:] = kept.reshape(n, int(lengths[0]))
        return _hash(valid, n, even)
    framed = np.empty(len(kept) + 4 * n, dtype=np.uint8)
    at = starts + 4 * np.arange(n)
    is_text = np.ones(len(framed), dtype=np.bool_)
    prefixes = lengths.astype("<u4").view(np.uint8).reshape(n, 4)
    for byte in range(4):
        framed[at + byte] = prefixes[:, byte]
        is_text[at + byte] = False
    framed[is_text] = kept
    return _hash(valid, n, framed)


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
