"""Positions walked key by key, and their results brought back into the total order.

```
   positions    a  b  a  c  b  a      a stretch of them in the total order
   walked       a  a  a  b  b  c      all that a key's windows touch stays in the processor's cache until the key is done
   home         0  2  5  1  4  3      results go back row by row: all columns of one row lie in one piece
```

Windows ask nothing of the order among keys, only that each key's positions come in theirs. In the total order every row touches memory of
another key, some seventeen cache lines of it; by key that is once per key and stretch, and one or two lines for each row on its way home.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.prefetching import prefetch
from offline_feature_plane.kernels.slots import BOOLS, INT32S, INT64S, READ_BOOL, READ_INT32, READ_INT64, Bools, Int32s, Int64s, freeze

_DIGIT = 11   # bits of a key per pass: counters of all digits stay in the innermost cache
_MASK = (1 << _DIGIT) - 1
_WORD, _LINE = 8, 8   # bytes of a word, words of a line of the cache
_APART = 136   # entries between lines: were they a power of two apart, all of a row's entries would compete for one set of the cache
_WORDS, _BYTES = types.int64[:, ::1], types.uint8[:, ::1]


@compiled(types.void(READ_INT32, types.int64, INT32S, INT32S, INT32S))
def deal(key: Any, shift: Any, before: Any, after: Any, counts: Any) -> None:
    """One pass of a radix sort: bring the numbers in `before` (0 … n - 1 if it is empty) into the order of one digit of their keys + 1."""
    n = key.shape[0]
    counts[:] = 0
    for i in range(n):
        counts[((key[i] + 1) >> shift) & _MASK] += 1
    start = np.int32(0)
    for digit in range(counts.shape[0]):
        held = counts[digit]
        counts[digit] = start
        start += held
    for i in range(n):
        one = before[i] if before.shape[0] > 0 else np.int32(i)
        digit = ((key[one] + 1) >> shift) & _MASK
        after[counts[digit]] = one
        counts[digit] += 1


@compiled(types.int64(INT32S, READ_INT64, READ_INT32, READ_BOOL, READ_BOOL, INT32S, INT64S, INT32S, BOOLS, BOOLS, INT32S))
def pick(order: Any, ts: Any, key: Any, is_event: Any, is_row: Any, place: Any,
         out_ts: Any, out_key: Any, out_event: Any, out_row: Any, home: Any) -> Any:
    """Write what is known of the positions in `order`, and of those that are rows their places; returns how many are.

    `place` numbers the rows of the stretch; it is empty if every position is one.
    """
    rows = 0
    n = order.shape[0]
    for i in range(n):
        if i + 24 < n:
            ahead = np.int64(order[i + 24])
            prefetch(ts, ahead)
            prefetch(key, ahead)
            prefetch(is_event, ahead)
            prefetch(is_row, ahead)
        one = order[i]
        out_ts[i], out_key[i], out_event[i], out_row[i] = ts[one], key[one], is_event[one], is_row[one]
        if is_row[one]:
            home[rows] = place[one] if place.shape[0] > 0 else one
            rows += 1
    return rows


@compiled(types.void(INT32S, _WORDS, types.boolean[:, ::1], _WORDS, _BYTES))
def bring_home(home: Any, values: Any, valid: Any, words: Any, marks: Any) -> None:
    """Write the columns of a block's rows into the records of their places; `words` and `marks` are two views of the same records."""
    columns, first = values.shape[0], _WORD * values.shape[0]
    rows, width = home.shape[0], words.shape[1]
    flat = words.reshape(-1)
    for r in range(rows):
        if r + 24 < rows:
            ahead = np.int64(home[r + 24]) * width
            for line in range(0, width, _LINE):
                prefetch(flat, ahead + line)
            prefetch(flat, ahead + width - 1)
        place = home[r]
        for j in range(columns):
            words[place, j] = values[j, r]
        for j in range(valid.shape[0]):
            marks[place, first + j] = valid[j, r]


@compiled(types.void(_WORDS, _BYTES, types.int64, _WORDS, types.boolean[:, ::1]))
def hand_out(words: Any, marks: Any, at: Any, values: Any, valid: Any) -> None:
    """Write records as lines, from entry `at` on."""
    columns = values.shape[0]
    for r in range(words.shape[0]):
        for j in range(columns):
            values[j, at + r] = words[r, j]
        for j in range(valid.shape[0]):
            valid[j, at + r] = marks[r, _WORD * columns + j] != 0


class Lines:
    """Columns of some rows, a line of words of 8 bytes each: `values`, and in `valid` which are, for columns that are `marked`.

    Values of fewer bytes stand at the beginning of their words.
    """

    def __init__(self, rows: int, kinds: Sequence[np.dtype[Any]], marked: Sequence[bool]) -> None:
        self.values, self.valid = np.empty((len(kinds), rows + _APART), np.int64), np.empty((sum(marked), rows + _APART), np.bool_)
        marks = iter(self.valid)
        self._marks = [next(marks) if one else None for one in marked]
        self._apart = {line: np.empty(rows, kind) for line, kind in enumerate(kinds) if kind.itemsize < _WORD}
        self._rows, self._kinds, self._nobody = rows, kinds, np.empty(rows, np.bool_)

    def room(self, rows: int) -> list[tuple[npt.NDArray[Any], Bools]]:
        """Where to write the first `rows` of each column, in its type, and which are valid; `spread` must follow."""
        return [(self._apart.get(line, values.view(kind))[:rows], (self._nobody if marks is None else marks)[:rows])
                for line, (values, marks, kind) in enumerate(zip(self.values, self._marks, self._kinds, strict=True))]

    def spread(self, rows: int) -> None:
        """Give narrow values words of their own."""
        for line, narrow in self._apart.items():
            self._narrow(line)[:rows] = narrow[:rows]

    def columns(self) -> list[tuple[npt.NDArray[Any], Bools | None]]:
        """All of them in their types; None for what is valid of a column without marks."""
        return [(self._narrow(line)[:self._rows].copy() if line in self._apart else values[:self._rows].view(kind),
                 None if marks is None else marks[:self._rows])
                for line, (values, marks, kind) in enumerate(zip(self.values, self._marks, self._kinds, strict=True))]

    def _narrow(self, line: int) -> npt.NDArray[Any]:
        kind = self._kinds[line]
        found: npt.NDArray[Any] = self.values[line].view(kind)[::_WORD // kind.itemsize]
        return found


class Records:
    """Room for the results of a stretch, row by row: `columns` words, then a byte for each of `marked` columns."""

    def __init__(self, rows: int, columns: int, marked: int) -> None:
        self._words = np.empty((rows, columns + (marked + _WORD - 1) // _WORD), np.int64)
        self._marks = self._words.view(np.uint8)

    def put(self, home: Int32s, values: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]) -> None:
        """Take in lines of which as many entries are meant as there are places in `home`."""
        bring_home(home, values, valid, self._words, self._marks)

    def take(self, at: int, values: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]) -> None:
        """Write all of them as lines, from entry `at` on."""
        hand_out(self._words, self._marks, at, values, valid)


class KeyOrder:
    """The positions of a stretch by their keys, those of one key in the total order."""

    def __init__(self, n_keys: int) -> None:
        """For keys from -1 to `n_keys` - 1."""
        self._shifts = [shift for shift in range(0, 32, _DIGIT) if n_keys >> shift] or [0]
        self._counts = np.empty(1 << _DIGIT, np.int32)

    def of(self, key: Int32s) -> Int32s:
        """Their numbers, from 0, in order."""
        order = np.empty(0, np.int32)
        for shift in self._shifts:
            before, order = order, np.empty(len(key), np.int32)
            deal(key, shift, before, order, self._counts)
        return order


class Picked:
    """One block of positions in an order of their own."""

    def __init__(self, block: int) -> None:
        self._ts, self._key, self._home = np.empty(block, np.int64), np.empty(block, np.int32), np.empty(block, np.int32)
        self._is_event, self._is_row = np.empty(block, np.bool_), np.empty(block, np.bool_)

    def fill(self, order: Int32s, ts: Int64s, key: Int32s, is_event: Bools, is_row: Bools,
             place: Int32s) -> tuple[tuple[Int64s, Int32s, Bools, Bools], Int32s]:
        """What is known of the positions in `order`, and where each of its rows belongs; valid until the next call."""
        rows = int(pick(order, ts, key, is_event, is_row, place, self._ts, self._key, self._is_event, self._is_row, self._home))
        n = len(order)
        return (freeze(self._ts[:n]), freeze(self._key[:n]), freeze(self._is_event[:n]), freeze(self._is_row[:n])), self._home[:rows]
