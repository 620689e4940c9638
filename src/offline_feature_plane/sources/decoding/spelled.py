"""Columns of any type as texts that kernels tell: each value as JSON has it (`domain.foreign_records.plain`), nested ones told already.

```
   int64, decimal ──digits──┐
   timestamp, date ──text───┤
   text ────as it is────────┼──▶  kinds, starts, ends in data  ──frame──▶  {"amount":"n:15e-1", …}
   struct, list ──told──────┘      and which rows the law must see
```

What Python cannot hold, or JSON has no form for, is the law's: it says that such a record cannot be decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from json.encoder import encode_basestring
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, US_PER_DAY
from offline_feature_plane.kernels.columntext import enclose, frame
from offline_feature_plane.kernels.instant_texts import write_clocks, write_dates, write_instants, write_walls
from offline_feature_plane.kernels.json_kinds import ABSENT, FALSE, INTEGER, NUMBER, TEXT, TOLD, TRUE
from offline_feature_plane.sources.decoding.decoded import mask_of
from offline_feature_plane.sources.decoding.lines import text_places
from offline_feature_plane.sources.decoding.wanted import Bytes, Int64s, joined

__all__ = ["Spelled", "framed", "instants_of", "side_by_side", "spell"]

Bools = npt.NDArray[np.bool_]

_DEEPEST: Final = 32   # levels of nesting; what is deeper is for the law
_PER_US: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
_EDGE_US: Final = 2 * US_PER_DAY  # an instant so near the ends of the years 1 to 9999 may lie outside of them on a wall
_EMPTY: Final = np.empty(0, np.uint8)
_HEX_PLACES: Final = [at for at in range(36) if at not in (8, 13, 18, 23)]


@dataclass(frozen=True)
class Spelled:
    """What the values of a column are, and where each stands in `data`; `asks` are the rows that the law must see."""

    data: Bytes
    kinds: npt.NDArray[np.int8]
    starts: Int64s
    ends: Int64s
    asks: Bools

    @classmethod
    def nothing(cls, n: int) -> Spelled:
        """Nulls."""
        return cls(_EMPTY, np.zeros(n, np.int8), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.bool_))


def spell(array: pa.Array, depth: int = 0) -> Spelled:
    """The values of a column, `depth` levels deep."""
    kind = array.type
    if depth > _DEEPEST:
        return _for_the_law(array)
    try:
        for fits, way in _WAYS:
            if fits(kind):
                return way(array, depth)
    except (pa.ArrowException, ValueError, OverflowError):  # a cast that refuses a value, or a whole type
        pass
    return _for_the_law(array)


def framed(members: Sequence[tuple[str, Spelled]], present: Bools, *, skips_nulls: bool) -> Spelled:
    """The objects that some columns make, told; absent where not `present`. Keys are in the order of RFC 8785, by UTF-16."""
    ordered = sorted(members, key=lambda one: one[0].encode("utf-16-be"))
    if any(before[0] == after[0] for before, after in pairwise(ordered)):
        return _doubted(present)
    n = len(present)
    data, kinds, starts, ends = side_by_side([one for _, one in ordered], n)
    asks = np.zeros(n, np.bool_)
    for _, one in ordered:
        asks |= one.asks
    keys, bounds = joined([f"{encode_basestring(name)}:" for name, _ in ordered])
    out = np.empty(_room(kinds, starts, ends) + n * (len(keys) + len(ordered) + 2), np.uint8)
    told, told_ends, asks = np.empty(n, np.int64), np.empty(n, np.int64), asks & present
    frame(data, kinds, starts, ends, keys, bounds, skips_nulls, present, out, told, told_ends, asks)
    return Spelled(out, np.where(present & ~asks, TOLD, ABSENT).astype(np.int8), told, told_ends, asks)


def side_by_side(columns: Sequence[Spelled], n: int) -> tuple[Bytes, npt.NDArray[np.int8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Some columns of n rows over one `data`, one row of kinds, starts and ends for each."""
    kinds, starts, ends = np.zeros((len(columns), n), np.int8), np.zeros((len(columns), n), np.int64), np.zeros((len(columns), n), np.int64)
    parts, begins, size = [_EMPTY], dict[int, int](), 0
    for row, one in enumerate(columns):
        if (begin := begins.get(id(one.data))) is None:  # several columns may stand in the same texts
            begins[id(one.data)] = begin = size
            parts.append(one.data)
            size += len(one.data)
        kinds[row], starts[row], ends[row] = one.kinds, one.starts + begin, one.ends + begin
    return np.concatenate(parts), kinds, starts, ends


def instants_of(array: pa.Array) -> tuple[Int64s, Bools]:
    """Timestamps as µs, of a wall or since the epoch, and which values are none that `domain.extraction` surely takes."""
    ticks, doubted = _fixed(array.view(pa.int64()), np.int64), ~mask_of(array.is_valid())
    if array.type.unit == "ns":
        doubted = doubted | (ticks % 1_000 != 0)
        us = ticks // 1_000
    else:
        per = _PER_US[array.type.unit]
        doubted = doubted | (ticks > LATEST_US // per) | (ticks < -(-EARLIEST_US // per))
        us = np.where(doubted, 0, ticks) * per
    doubted = doubted | (us < EARLIEST_US + _EDGE_US) | (us > LATEST_US - _EDGE_US)
    if array.type.tz is not None and not _is_known(array.type.tz):
        doubted = np.ones(len(array), np.bool_)
    return np.where(doubted, 0, us), doubted


def _is_known(zone: str) -> bool:
    """Can Python make times in this zone?"""
    try:
        pa.lib.string_to_tzinfo(zone)
    except (LookupError, ValueError, pa.ArrowException):
        return False
    return True


def _for_the_law(array: pa.Array) -> Spelled:
    return _doubted(mask_of(array.is_valid()))


def _doubted(present: Bools) -> Spelled:
    none = Spelled.nothing(len(present))
    return Spelled(none.data, none.kinds, none.starts, none.ends, present)


def _fixed(array: pa.Array, kind: Any) -> npt.NDArray[Any]:
    """Values of a fixed width; those of nulls mean nothing."""
    _, data = array.buffers()
    if data is None:
        return np.zeros(len(array), kind)
    return np.frombuffer(data, kind)[array.offset:array.offset + len(array)]


def _room(kinds: npt.NDArray[np.int8], starts: Int64s, ends: Int64s) -> int:
    """How many bytes some values need at most when they are told."""
    sizes = ends - starts
    return 6 * int(sizes[kinds == TEXT].sum()) + int(sizes[kinds != TEXT].sum()) + 24 * sizes.size


def _texts(array: pa.Array, kind: int) -> Spelled:
    """A column of texts, or one that Arrow writes as texts."""
    array = array if pa.types.is_string(array.type) else array.cast(pa.string())
    valid = mask_of(array.is_valid())
    data, starts, ends = text_places(array)
    return Spelled(data, np.where(valid, kind, ABSENT).astype(np.int8), starts, ends, np.zeros(len(array), np.bool_))


def _written(texts: npt.NDArray[np.uint8], sizes: Int64s | int, valid: Bools, doubted: Bools) -> Spelled:
    """Rows of a matrix of characters, each with its length, as texts."""
    starts = np.arange(len(texts), dtype=np.int64) * texts.shape[1]
    return Spelled(texts.reshape(-1), np.where(valid & ~doubted, TEXT, ABSENT).astype(np.int8), starts, starts + sizes, valid & doubted)


def _truths(array: pa.Array, _: int) -> Spelled:
    none, valid = Spelled.nothing(len(array)), mask_of(array.is_valid())
    kinds = np.where(valid, np.where(mask_of(array), TRUE, FALSE), ABSENT).astype(np.int8)
    return Spelled(none.data, kinds, none.starts, none.ends, none.asks)


def _floats(array: pa.Array, _: int) -> Spelled:
    """As the shortest decimal that means the double, which a narrower float is first."""
    doubles = array.cast(pa.float64())
    spelled, finite = _texts(doubles, NUMBER), np.isfinite(_fixed(doubles, np.float64))
    if finite.all():
        return spelled
    asks = ~finite & (spelled.kinds != ABSENT)
    return Spelled(spelled.data, np.where(asks, ABSENT, spelled.kinds).astype(np.int8), spelled.starts, spelled.ends, asks)


def _timestamps(array: pa.Array, _: int) -> Spelled:
    us, doubted = instants_of(array)
    valid = mask_of(array.is_valid())
    if array.type.tz is not None:
        texts = np.empty((len(array), 27), np.uint8)
        write_instants(us, texts)
        return _written(texts, 27, valid, doubted)
    texts, sizes = np.empty((len(array), 26), np.uint8), np.empty(len(array), np.int64)
    write_walls(us, texts, sizes)
    return _written(texts, sizes, valid, doubted)


def _dates(array: pa.Array, _: int) -> Spelled:
    days = _fixed(array.cast(pa.date32()), np.int32).astype(np.int64)
    doubted = (days < EARLIEST_US // US_PER_DAY) | (days > LATEST_US // US_PER_DAY)
    texts = np.empty((len(array), 10), np.uint8)
    write_dates(np.where(doubted, 0, days), texts)
    return _written(texts, 10, mask_of(array.is_valid()), doubted)


def _clocks(array: pa.Array, _: int) -> Spelled:
    unit = array.type.unit
    ticks = _fixed(array, np.int32 if unit in ("s", "ms") else np.int64).astype(np.int64)
    us = ticks // 1_000 if unit == "ns" else ticks * _PER_US[unit]
    doubted = (us < 0) | (us >= US_PER_DAY) | ((ticks % 1_000 != 0) if unit == "ns" else np.zeros(len(ticks), np.bool_))
    texts, sizes = np.empty((len(array), 15), np.uint8), np.empty(len(array), np.int64)
    write_clocks(np.where(doubted, 0, us), texts, sizes)
    return _written(texts, sizes, mask_of(array.is_valid()), doubted)


def _uuids(array: pa.Array, _: int) -> Spelled:
    held = array.storage
    rows = _fixed(held.cast(pa.binary(16)), np.dtype((np.uint8, 16))) if len(held) else np.empty((0, 16), np.uint8)
    texts = np.full((len(rows), 36), ord("-"), np.uint8)
    texts[:, _HEX_PLACES] = np.frombuffer(rows.tobytes().hex().encode(), np.uint8).reshape(len(rows), 32)
    return _written(texts, 36, mask_of(array.is_valid()), np.zeros(len(rows), np.bool_))


def _structs(array: pa.Array, depth: int) -> Spelled:
    kind, children = array.type, array.flatten()
    members = [(kind.field(at).name, spell(child, depth + 1)) for at, child in enumerate(children)]
    return framed(members, mask_of(array.is_valid()), skips_nulls=False)


def _lists(array: pa.Array, depth: int) -> Spelled:
    offsets = _fixed(array.offsets, np.int64 if pa.types.is_large_list(array.type) else np.int32).astype(np.int64)
    return _enclosed(array, spell(_part(array.values, offsets), depth + 1), offsets)


def _equal_lists(array: pa.Array, depth: int) -> Spelled:
    size = array.type.list_size
    offsets = (np.arange(len(array) + 1, dtype=np.int64) + array.offset) * size
    return _enclosed(array, spell(_part(array.values, offsets), depth + 1), offsets)


def _maps(array: pa.Array, depth: int) -> Spelled:
    """Lists of pairs, as Python has them."""
    offsets = _fixed(array.offsets, np.int32).astype(np.int64)
    keys, items = (spell(_part(one, offsets), depth + 2) for one in (array.keys, array.items))
    data, kinds, starts, ends = side_by_side([keys, items], len(keys.kinds))
    flat = Spelled(data, kinds.T.ravel(), starts.T.ravel(), ends.T.ravel(), np.repeat(keys.asks | items.asks, 2))
    n = len(keys.kinds)
    pairs = _told_lists(flat, np.arange(n + 1, dtype=np.int64) * 2, np.ones(n, np.bool_))
    return _enclosed(array, pairs, offsets)


def _part(values: pa.Array, offsets: Int64s) -> pa.Array:
    return values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))


def _enclosed(array: pa.Array, inner: Spelled, offsets: Int64s) -> Spelled:
    """The lists of an array, whose values lie between offsets; `inner` begins at the first of them."""
    return _told_lists(inner, offsets - offsets[0], mask_of(array.is_valid()))


def _told_lists(inner: Spelled, offsets: Int64s, present: Bools) -> Spelled:
    n = len(present)
    out = np.empty(_room(inner.kinds, inner.starts, inner.ends) + 2 * n, np.uint8)
    told, told_ends, asks = np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(n, np.bool_)
    enclose(inner.data, inner.kinds, inner.starts, inner.ends, offsets[:-1], offsets[1:], inner.asks, present, out, told, told_ends, asks)
    return Spelled(out, np.where(present & ~asks, TOLD, ABSENT).astype(np.int8), told, told_ends, asks)


_WAYS: Final[tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array, int], Spelled]], ...]] = (
    (pa.types.is_null, lambda array, _: Spelled.nothing(len(array))),
    (pa.types.is_dictionary, lambda array, depth: spell(array.dictionary_decode(), depth)),
    (pa.types.is_boolean, _truths),
    (pa.types.is_integer, lambda array, _: _texts(array, INTEGER)),
    (pa.types.is_floating, _floats),
    (pa.types.is_decimal, lambda array, _: _texts(array, NUMBER)),
    (lambda kind: bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)),
     lambda array, _: _texts(array, TEXT)),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_date, _dates),
    (pa.types.is_time, _clocks),
    (pa.types.is_struct, _structs),
    (lambda kind: bool(pa.types.is_list(kind) or pa.types.is_large_list(kind)), _lists),
    (pa.types.is_fixed_size_list, _equal_lists),
    (pa.types.is_map, _maps),
    (lambda kind: getattr(kind, "extension_name", "") == "arrow.json", lambda array, depth: spell(array.storage, depth)),
    (lambda kind: getattr(kind, "extension_name", "") == "arrow.uuid", _uuids))
