"""Assertions of each subject side by side: put in order, found by their ids, and followed as they become known.

```
   rows of the files        ──▶ by subject ──▶ by observed, effective, source, value     (what is alike is left to texts)
   one subject's assertions ──▶ as they enter, the best so far                           ●────●─────────●──▶ cut
```

Ids are 64-bit words here, equal where texts are (`label_sketches.words_of`). Two texts that share one cost time, never an answer: who asks
looks at the texts, or asks the law.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import register_jitable

from offline_feature_plane.kernels.compiling import compiled
from offline_feature_plane.kernels.prefetching import prefetch
from offline_feature_plane.kernels.sketching import spread
from offline_feature_plane.kernels.slots import BOOLS, INT32S, INT64S, READ_INT32, READ_INT64, Int32s, Int64s

__all__ = ["MOST", "find_linked", "find_twice", "follow", "new_table", "order_by_subject", "order_within", "place_numbers"]

UInt64s = npt.NDArray[np.uint64]

MOST = 64  # so many assertions of one subject are sorted by insertion; more are left to a sort

_WORDS, _READ_WORDS = types.uint64[::1], types.Array(types.uint64, 1, "C", readonly=True)
_READ_INT8 = types.Array(types.int8, 1, "C", readonly=True)
_DIGIT, _ROW = 12, 32  # bits: so many places are written to at once, and so many hold the number of a row
_AHEAD = 16


@compiled(types.void(_READ_WORDS, _WORDS, types.int64, INT64S))
def move_by_digit(words: Any, out: Any, shift: Any, begins: Any) -> None:
    """Sort words by some of their bits, and leave the others as they came; `begins` is 0 for each value of these bits, a power of two."""
    by, mask = np.uint64(shift), np.uint64(begins.shape[0] - 1)
    for i in range(words.shape[0]):
        begins[np.int64((words[i] >> by) & mask)] += 1
    total = np.int64(0)
    for digit in range(begins.shape[0]):
        total, begins[digit] = total + begins[digit], total
    for i in range(words.shape[0]):
        own = np.int64((words[i] >> by) & mask)
        out[begins[own]] = words[i]
        begins[own] += 1


def order_by_subject(position: Int64s, most: int) -> tuple[Int64s, Int64s]:
    """The order of rows by position, and the positions in it; those of one position stay as they came.

    All are below `most`, but time and memory go by rows.
    """
    words = (position.astype(np.uint64) << np.uint64(_ROW)) | np.arange(len(position), dtype=np.uint64)
    spare, bits = np.empty_like(words), int(max(most - 1, 1)).bit_length()
    digit = -(-bits // -(-bits // _DIGIT))
    for shift in range(0, bits, digit):
        move_by_digit(words, spare, _ROW + shift, np.zeros(1 << digit, np.int64))
        words, spare = spare, words
    return (words & np.uint64((1 << _ROW) - 1)).view(np.int64), (words >> np.uint64(_ROW)).view(np.int64)


@register_jitable
def _is_after(a: Any, b: Any, observed: Any, effective: Any, source: Any, value: Any) -> Any:
    """Does one row come after another of its subject? 0: nothing but their ids could tell."""
    if observed[a] != observed[b]:
        return 1 if observed[a] > observed[b] else -1
    if effective[a] != effective[b]:
        return 1 if effective[a] > effective[b] else -1
    if source[a] != source[b]:
        return 1 if source[a] > source[b] else -1
    return 0 if value[a] == value[b] else 1 if value[a] > value[b] else -1


@compiled(types.boolean(INT64S, READ_INT64, READ_INT64, READ_INT64, _READ_INT8, READ_INT32, types.int64, BOOLS))
def order_within(order: Any, position: Any, observed: Any, effective: Any, source: Any, value: Any, most: Any, left: Any) -> Any:
    """Sort rows that are in the order of their subjects within each subject, in place.

    `position` is that of each place, the others are of each row. Subjects with more than `most` rows, or with two that are alike, are
    marked in `left`, place by place; returns whether any is.
    """
    any_left = False
    start, n = np.int64(0), order.shape[0]
    while start < n:
        stop = start + 1
        while stop < n and position[stop] == position[start]:
            stop += 1
        alike = stop - start > most
        if stop - start > 1 and not alike:
            for i in range(start + 1, stop):
                row, at = order[i], i
                while at > start:
                    after = _is_after(order[at - 1], row, observed, effective, source, value)
                    if after <= 0:
                        alike |= after == 0
                        break
                    order[at] = order[at - 1]
                    at -= 1
                order[at] = row
        if alike:
            any_left = True
            left[start:stop] = True
        start = stop
    return any_left


def new_table(entries: int) -> Int32s:
    """An empty table in which so many entries are found in about one step."""
    return np.full(1 << max(4, (2 * entries - 1).bit_length()), -1, np.int32)


@register_jitable
def _slot_of(scope: Any, name: Any, table: Any) -> Any:
    return np.int64(spread(np.uint64(scope) ^ spread(name)) & np.uint64(table.shape[0] - 1))


@compiled(types.boolean(READ_INT64, _READ_WORDS, READ_INT64, INT32S, BOOLS))
def find_twice(scope: Any, name: Any, rows: Any, table: Any, twice: Any) -> Any:
    """Enter rows into a table by scope and name, and mark those that share both; returns whether any do."""
    found = False
    for i in range(rows.shape[0]):
        if i + _AHEAD < rows.shape[0]:
            ahead = rows[i + _AHEAD]
            prefetch(table, _slot_of(scope[ahead], name[ahead], table))
        row = rows[i]
        slot = _slot_of(scope[row], name[row], table)
        while table[slot] >= 0:
            other = table[slot]
            if name[other] == name[row] and scope[other] == scope[row]:
                twice[row] = twice[other] = found = True
                break
            slot = (slot + 1) & (table.shape[0] - 1)
        else:
            table[slot] = row
    return found


@compiled(types.void(READ_INT64, _READ_WORDS, _READ_WORDS, READ_INT64, READ_INT32, INT64S))
def find_linked(scope: Any, name: Any, link: Any, rows: Any, table: Any, target: Any) -> None:
    """Write for each of some rows the row of its scope that its link names, by a table that `find_twice` filled; −1 if there is none."""
    for i in range(rows.shape[0]):
        row = rows[i]
        slot = _slot_of(scope[row], link[row], table)
        target[i] = -1
        while table[slot] >= 0:
            other = table[slot]
            if name[other] == link[row] and scope[other] == scope[row]:
                target[i] = other
                break
            slot = (slot + 1) & (table.shape[0] - 1)


@register_jitable
def _outranks(a: Any, b: Any, steps: Any, source: Any, observed: Any, effective: Any) -> Any:
    """Does one row rank above another (1), below (−1), or with it (0)? See `follow` for the steps."""
    for i in range(steps.shape[0]):
        step = abs(steps[i])
        if step == 1:
            x, y = np.int64(source[b]), np.int64(source[a])
        elif step == 2:
            x, y = observed[a], observed[b]
        else:
            x, y = effective[a], effective[b]
        if x != y:
            return 1 if (x > y) == (steps[i] > 0) else -1
    return 0


@compiled(types.int64(READ_INT64, READ_INT64, _READ_INT8, READ_INT64, READ_INT64, INT64S, BOOLS, types.int64, INT64S, INT64S))
def follow(position: Any, entry: Any, source: Any, observed: Any, effective: Any,  # noqa: C901 - one walk, one kernel
           steps: Any, left: Any, most: Any, winner: Any, at: Any) -> Any:
    """Write whenever another assertion is the best of its subject: which one, and from which instant on; returns how often.

    Args:
        position: of each row its subject; rows of one are side by side.
        entry: when each becomes eligible.
        source: its strength, 0 the strongest.
        observed: what ranks compare, too.
        effective: likewise.
        steps: of the ladder, the first first: 1 source, 2 observed, 3 effective; negative: the lesser wins.
        left: rows to pass over, always whole subjects. Those with more than `most` rows, or with two of one rank that could both be
            the best, are marked here as well.
        most: see `left`.
        winner: written, as long as `position`.
        at: likewise.
    """
    n, out, start = position.shape[0], np.int64(0), np.int64(0)
    by_entry = np.empty(most, np.int64)
    while start < n:
        stop = start + 1
        while stop < n and position[stop] == position[start]:
            stop += 1
        first, count, start = start, stop - start, stop
        if left[first]:
            continue
        if count == 1:
            winner[out], at[out] = first, entry[first]
            out += 1
            continue
        tie = count > most
        if not tie:
            for i in range(count):
                place = i
                while place > 0 and entry[by_entry[place - 1]] > entry[first + i]:
                    by_entry[place] = by_entry[place - 1]
                    place -= 1
                by_entry[place] = first + i
            begin, best = out, np.int64(-1)
            for i in range(count):
                row = by_entry[i]
                above = 1 if best < 0 else _outranks(row, best, steps, source, observed, effective)
                tie |= above == 0
                if above > 0:
                    if out > begin and at[out - 1] == entry[row]:
                        out -= 1
                    best = row
                    winner[out], at[out] = row, entry[row]
                    out += 1
            if tie:
                out = begin
        if tie:
            left[first:stop] = True
    return out


@compiled(types.boolean(READ_INT64, types.int64, types.int64, INT32S))
def place_numbers(numbers: Any, first: Any, start: Any, places: Any) -> Any:
    """Write at `numbers[i] − first` the place `start + i`, for those that are inside; returns whether all of these were free (−1)."""
    for i in range(numbers.shape[0]):
        at = numbers[i] - first
        if 0 <= at < places.shape[0]:
            if places[at] >= 0:
                return False
            places[at] = np.int32(start + i)
    return True

