"""Bytes read and written eight at a time, wherever they stand, and looked at together.

```
   … "c a r d - 7 3" …        one word of eight bytes: copied by one load and one store, and plain if none of them
     └──────┬───────┘         is a control character, a quote, a backslash, or beyond ASCII
```

The order of bytes within a word is the machine's: nothing here depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from offline_feature_plane.kernels.compiling import compiled

__all__ = ["half_at", "is_plain", "put_half", "put_word", "word_at"]

_LOW, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_QUOTES, _BACKSLASHES, _SPACES = np.uint64(0x2222222222222222), np.uint64(0x5C5C5C5C5C5C5C5C), np.uint64(0x2020202020202020)


def place_in(context: Any, builder: Any, kind: Any, item: Sequence[Any], of: Any) -> Any:
    """The address of an item, an array of some kind and a place in it, as that of a value of an LLVM type; no bounds are looked at."""
    struct = context.make_array(kind)(context, builder, item[0])
    found = cgutils.get_item_pointer(context, builder, kind, struct, [item[1]], wraparound=False)  # type: ignore[no-untyped-call]
    return builder.bitcast(found, of.as_pointer())


def _reading(number: Any) -> Callable[..., Any]:
    def read(_context: Any, array: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            loaded = builder.load(place_in(context, builder, signature.args[0], arguments, ir.IntType(number.bitwidth)))
            loaded.align = 1
            return loaded
        return number(array, at), generate
    return read


def _writing(number: Any) -> Callable[..., Any]:
    def write(_context: Any, array: Any, at: Any, _word: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            where = place_in(context, builder, signature.args[0], arguments, ir.IntType(number.bitwidth))
            builder.store(arguments[2], where).align = 1
            return context.get_dummy_value()
        return types.void(array, at, number), generate
    return write


# `word_at(data, at)` are the eight bytes from `at` on, `put_word(out, at, word)` writes them; halves have four.
word_at: Any = intrinsic(_reading(types.uint64))
half_at: Any = intrinsic(_reading(types.uint32))
put_word: Any = intrinsic(_writing(types.uint64))
put_half: Any = intrinsic(_writing(types.uint32))


@compiled(types.boolean(types.uint64))
def is_plain(word: Any) -> Any:
    """Are eight bytes ASCII that stands for itself in JSON: no control character, no quote, no backslash?"""
    quotes, backslashes = word ^ _QUOTES, word ^ _BACKSLASHES
    return ((word | (word - _SPACES) | (quotes - _LOW) | (backslashes - _LOW)) & _HIGH) == np.uint64(0)
