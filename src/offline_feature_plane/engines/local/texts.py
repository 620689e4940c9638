"""Texts as codes into dictionaries in UTF-8 order: comparing them, and giving columns one dictionary."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["find_text", "insert_text", "rank_texts", "share_dictionary"]

Codes = npt.NDArray[np.int32]
Ranks = npt.NDArray[np.int64] | Codes
_NO_TEXTS = pa.array([], pa.string())
_WIDE, _NARROW_BYTES = pa.large_string(), 2**31 - 2  # what 32-bit offsets reach


def find_text(dictionary: pa.Array | None, text: str) -> tuple[int, bool]:
    """The place of a text in a dictionary in UTF-8 order, or where it would be inserted, and whether it is there.

    >>> find_text(pa.array(["a", "c"]), "b"), find_text(pa.array(["a", "c"]), "c")
    ((1, False), (1, True))
    """
    if dictionary is None:
        return 0, False
    at = bisect.bisect_left(range(len(dictionary)), text.encode(), key=lambda code: dictionary[code].as_py().encode())
    return at, at < len(dictionary) and dictionary[at].as_py() == text


def insert_text(dictionary: pa.Array | None, at: int, text: str) -> pa.Array:
    """The dictionary with one more text, at the place where `find_text` says that it belongs."""
    if dictionary is None:
        return pa.array([text], pa.string())
    return pa.concat_arrays([dictionary.slice(0, at), pa.array([text], dictionary.type), dictionary.slice(at)])


def rank_texts(left: Codes, left_texts: pa.Array | None, right: Codes, right_texts: pa.Array | None) -> tuple[Ranks, Ranks]:
    """Numbers that compare as the texts of two columns do; a constant is located in the other column's dictionary."""
    if left_texts is right_texts:
        return left, right
    if right_texts is not None and len(right_texts) == 1:
        return 2 * left.astype(np.int64), _rank_constant(left_texts, right, right_texts)
    if left_texts is not None and len(left_texts) == 1:
        return _rank_constant(right_texts, left, left_texts), 2 * right.astype(np.int64)
    (one, other), _ = share_dictionary([(left, left_texts), (right, right_texts)])
    return one, other


def _rank_constant(dictionary: pa.Array | None, constant: Codes, text: pa.Array) -> Ranks:
    """Between two neighbours of the dictionary if it is not in there: ranks are doubled codes."""
    at, there = find_text(dictionary, text[0].as_py())
    return np.where(constant < 0, -1, 2 * at if there else 2 * at - 1).astype(np.int64)


def share_dictionary(columns: Sequence[tuple[Codes, pa.Array | None]]) -> tuple[list[Codes], pa.Array]:
    """The same texts, all as codes into one dictionary in UTF-8 order; its offsets are wide if one has wide ones, or may need them."""
    own = [texts for _, texts in columns if texts is not None]
    if any(texts.type == _WIDE for texts in own) or sum(texts.nbytes for texts in own) > _NARROW_BYTES:
        columns = [(codes, None if texts is None else texts.cast(_WIDE)) for codes, texts in columns]
    largest = max((texts for _, texts in columns if texts is not None), key=len, default=_NO_TEXTS)
    strange = [texts for _, texts in columns if texts is not None and texts is not largest]
    if not strange:
        return [codes for codes, _ in columns], largest
    new = pc.unique(pa.concat_arrays(strange))
    new = new.filter(pc.invert(pc.is_in(new, value_set=largest)))
    if not len(new):
        return [_recoded(codes, texts, largest) for codes, texts in columns], largest
    both = pa.concat_arrays([largest, new])
    both = both.take(pc.sort_indices(both))  # Arrow orders text by its bytes
    return [_recoded(codes, texts, both) for codes, texts in columns], both


def _recoded(codes: Codes, texts: pa.Array | None, dictionary: pa.Array) -> Codes:
    if texts is dictionary:
        return codes
    if texts is None or not len(texts):
        return np.full(len(codes), -1, dtype=np.int32)
    places = pc.index_in(texts, value_set=dictionary).to_numpy(zero_copy_only=False).astype(np.int32)
    return np.where(codes < 0, np.int32(-1), places[codes])
