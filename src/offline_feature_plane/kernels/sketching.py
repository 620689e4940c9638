"""Marks of label assertions added to a sketch, column by column: the same words as `domain.label_sketch`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.kernels.compiling import compiled

UInt64s = npt.NDArray[np.uint64]

_WORDS = types.uint64[::1]
_READ_WORDS = types.Array(types.uint64, 1, "C", readonly=True)
_READ_INT64 = types.Array(types.int64, 1, "C", readonly=True)
_READ_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_READ_BOOL = types.Array(types.boolean, 1, "C", readonly=True)
_ONE, _TWO, _COPY = np.uint64(1), np.uint64(2), np.uint64(16)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_LOW = np.uint64(0xFFFF)


@register_jitable
def spread(word: Any) -> Any:
    """`label_sketch.mix`."""
    word = word + _STEP
    word = (word ^ (word >> _SHIFTS[0])) * _FIRST
    word = (word ^ (word >> _SHIFTS[1])) * _SECOND
    return word ^ (word >> _SHIFTS[2])


@compiled(types.void(_WORDS, _READ_WORDS))
def fold_words(content: Any, words: Any) -> None:
    """Fold one word of each assertion into its content."""
    for i in range(content.shape[0]):
        content[i] = spread(content[i] ^ words[i])


@compiled(types.void(_WORDS, _READ_INT64, _READ_BYTES, _READ_BOOL))
def write_words(words: Any, offsets: Any, data: Any, valid: Any) -> None:
    """Write `label_sketch.fold_text` of each text; where not `valid` it is missing."""
    for i in range(words.shape[0]):
        word = np.uint64(0)
        if valid[i]:
            word = _BASIS
            for at in range(offsets[i], offsets[i + 1]):
                word = (word ^ np.uint64(data[at])) * _PRIME
        words[i] = word


@compiled(types.void(_WORDS, _READ_INT64, _READ_INT64, _READ_WORDS, types.int64, types.int64, types.int64, types.int64))
def add_marks(sketch: Any, position: Any, observed: Any, content: Any, levels: Any, copies: Any, cells: Any, share_bits: Any) -> None:
    """Add the mark of each assertion to the three cells of every level that holds it."""
    fields = 5
    nibble = (_ONE << np.uint64(share_bits)) - _ONE
    for i in range(content.shape[0]):
        word = spread(spread(spread(np.uint64(position[i])) ^ np.uint64(observed[i])) ^ content[i])
        check, chance = spread(word ^ _ONE), spread(word ^ _TWO)
        for level in range(levels):
            for copy in range(copies):
                cell = np.int64(((word >> (_COPY * np.uint64(copy))) & _LOW) % np.uint64(cells))
                at = ((level * copies + copy) * cells + cell) * fields
                sketch[at] += _ONE
                sketch[at + 1] += np.uint64(position[i])
                sketch[at + 2] += np.uint64(observed[i])
                sketch[at + 3] += content[i]
                sketch[at + 4] += check
            if (chance & nibble) != 0:
                break
            chance >>= np.uint64(share_bits)
