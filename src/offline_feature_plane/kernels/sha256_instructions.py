"""SHA-256 by the instructions that processors of x86 have for it; import it only where `sha256.has_instructions`.

```
 block   64 bytes ─▶ 16 words, four in a register ─▶ four rounds, sixteen times ─▶ added to the state
 state   A B E F │ C D G H        as the instructions take it: two registers, the last letter lowest
```
"""

from __future__ import annotations

from itertools import count, islice
from math import isqrt
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from offline_feature_plane.kernels.byte_spans import READ_BYTES, put
from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.slots import READ_INT64
from offline_feature_plane.kernels.words import place_in

__all__ = ["hash_each"]

_BLOCK = 64
_LENGTH = 8  # bytes that say how many bits there were
_FOUR = ir.VectorType(ir.IntType(32), 4)
_LETTERS = tuple("FEBAHGDC")  # where each word of the state stands
_PLACES = tuple(_LETTERS.index(letter) for letter in "ABCDEFGH")


def _fraction_of_root(prime: int, degree: int) -> int:
    """The first 32 bits behind the point of a square root or cube root (FIPS 180-4, 4.2.2 and 5.3.3)."""
    wanted = prime << (32 * degree)
    root = isqrt(wanted) if degree == 2 else round(wanted ** (1 / degree))
    while root**degree > wanted:
        root -= 1
    while (root + 1)**degree <= wanted:
        root += 1
    return root & 0xFFFFFFFF


_PRIMES = tuple(islice((n for n in count(2) if all(n % one for one in range(2, isqrt(n) + 1))), 64))
_CONSTANTS = [_fraction_of_root(prime, 3) for prime in _PRIMES]
_FIRST = [_fraction_of_root(prime, 2) for prime in _PRIMES[:8]]
_START = np.array([_FIRST["ABCDEFGH".index(letter)] for letter in _LETTERS], np.uint32)


def _add_block(_context: Any, state: Any, data: Any, at: Any) -> Any:
    """Let the state take the block `data[at:at + 64]`."""
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def instruction(name: str, operands: int) -> Any:
            shape = ir.FunctionType(_FOUR, [_FOUR] * operands)
            return cgutils.get_or_insert_function(builder.module, shape, f"llvm.{name}")  # type: ignore[no-untyped-call]

        def place(which: int, number: Any) -> Any:
            return place_in(context, builder, signature.args[which], (arguments[which], number), _FOUR)

        def read(where: Any) -> Any:
            value = builder.load(where)
            value.align = 1
            return value

        def turned(low: Any, high: Any, *which: int) -> Any:
            return builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(ir.IntType(32), 4), which))
        rounds, swapped = instruction("x86.sha256rnds2", 3), instruction("bswap.v4i32", 1)
        mixed, finished = instruction("x86.sha256msg1", 2), instruction("x86.sha256msg2", 2)
        homes, begin = [place(0, ir.IntType(64)(half)) for half in (0, 4)], place(1, arguments[2])
        before = abef, cdgh = [read(home) for home in homes]
        words: list[Any] = []
        for four in range(16):
            if four < 4:
                words.append(builder.call(swapped, [read(builder.gep(begin, [ir.IntType(64)(four)]))]))
            else:
                older, old, new, newest = words[-4:]
                sums = builder.add(builder.call(mixed, [older, old]), turned(new, newest, 1, 2, 3, 4))
                words.append(builder.call(finished, [sums, newest]))
            given = builder.add(words[four], ir.Constant(_FOUR, _CONSTANTS[4 * four:4 * four + 4]))
            cdgh = builder.call(rounds, [cdgh, abef, given])
            abef = builder.call(rounds, [abef, cdgh, turned(given, given, 2, 3, 0, 0)])
        for home, old, new in zip(homes, before, (abef, cdgh), strict=True):
            builder.store(builder.add(old, new), home).align = 1
        return context.get_dummy_value()
    return types.void(state, data, at), generate


add_block: Any = intrinsic(_add_block)


@compiled(types.void(READ_BYTES, READ_INT64, types.uint8[:, ::1]))
def hash_each(data: Any, bounds: Any, out: Any) -> None:
    """Write the digest of each text `data[bounds[i]:bounds[i + 1]]`."""
    state, rest = np.empty(8, np.uint32), np.empty(2 * _BLOCK, np.uint8)
    for row in range(out.shape[0]):
        for i in range(8):
            state[i] = _START[i]
        at, end = bounds[row], bounds[row + 1]
        bits = 8 * (end - at)
        while at + _BLOCK <= end:
            add_block(state, data, at)
            at += _BLOCK
        size = put(data, at, end, rest, 0)
        rest[size] = 0x80
        whole = _BLOCK if size < _BLOCK - _LENGTH else 2 * _BLOCK
        for i in range(size + 1, whole - _LENGTH):
            rest[i] = 0
        for i in range(_LENGTH):
            rest[whole - 1 - i] = bits >> (8 * i) & 0xFF
        add_block(state, rest, 0)
        if whole > _BLOCK:
            add_block(state, rest, _BLOCK)
        for i in range(8):
            word = state[_PLACES[i]]
            for j in range(4):
                out[row, 4 * i + j] = word >> (24 - 8 * j) & 0xFF
