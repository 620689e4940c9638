"""Columns of another tool as records, many at a time: what `domain.foreign_records.Lifting.lift` makes of each row.

The payload is told from the columns themselves (`kernels.columntext`), so that no JSON is written, or read, for its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.kernels.json_kinds import ABSENT, OTHER, TEXT, TOLD
from offline_feature_plane.sources.decoding.batches import STORED, Members
from offline_feature_plane.sources.decoding.decoded import Found
from offline_feature_plane.sources.decoding.mapped import TIMES, Moments, constant, gathered, instants_in, on_walls
from offline_feature_plane.sources.decoding.opened import Opened, in_bytes, is_text, open_texts, tell_texts
from offline_feature_plane.sources.decoding.spelled import Spelled, framed, instants_of, side_by_side, spell
from offline_feature_plane.sources.decoding.wanted import Wanted

__all__ = ["members_of_mapped_columns"]

Path = tuple[str, ...]

_EMPTY: Final = np.empty(0, np.uint8)
_GATHERED: Final = frozenset(STORED) - {*TIMES, "payload"}


def members_of_mapped_columns(columns: Mapping[str, pa.Array], lifting: Lifting, fixed: Mapping[str, Any], wanted: Wanted) -> Members:
    """The members of records that stand in columns; `fixed` are those that all records of the file share."""
    return _Rows(columns, lifting, fixed).members(wanted)


class _Rows:
    """The rows of a batch: every column, and what lies inside of structs, spelled when it is asked for."""

    def __init__(self, columns: Mapping[str, pa.Array], lifting: Lifting, fixed: Mapping[str, Any]) -> None:
        self._columns, self._lifting, self._fixed = columns, lifting, fixed
        self._n = len(next(iter(columns.values())))
        self._arrays: dict[Path, pa.Array | None] = {(name,): column for name, column in columns.items()}
        self._spelled: dict[Path, Spelled] = {}
        self._texts: dict[Path, Spelled] = {}
        self._opened: dict[Path, Opened] = {}

    def members(self, wanted: Wanted) -> Members:
        """Them."""
        self._open(wanted)
        said = {name: self._spell(one.path) for name, one in self._lifting.places.items() if one.path is not None and name in _GATHERED}
        moments = {name: self._moments(name) for name in TIMES}
        payload, base = self._payload()
        values = [self._value(base, path) for path in wanted.paths]
        data, kinds, starts, ends = side_by_side([*map(_placed, said.values()), *map(_placed, values), _placed(payload)], self._n)
        many = len(said)
        views = {name: Spelled(data, kinds[row], starts[row], ends[row], one.asks) for row, (name, one) in enumerate(said.items())}
        mine = gathered(data, views, self._fixed, self._n)
        status = (mine.asks | payload.asks).astype(np.uint8)
        for name, one in moments.items():
            mine.kinds[STORED.index(name)] = np.where(one.doubted, ABSENT, TEXT)
        found = Found(data, _others(kinds[many:-1]), starts[many:-1], ends[many:-1])
        told, told_starts, told_ends = payload.data, payload.starts, np.where(payload.kinds == TOLD, payload.ends, payload.starts)
        if (texts := payload.kinds == TEXT).any():
            found, (told, told_starts, told_ends), asks = tell_texts(data, texts & (status == 0), starts[-1], ends[-1], wanted)
            status[asks] = 1
        mine.kinds[STORED.index("payload")] = np.where(payload.kinds == ABSENT, ABSENT, OTHER)
        status[(mine.kinds[:STORED.index("payload")] == ABSENT).any(axis=0)] = 1
        if any(self._is_time(one.path) for name, one in self._lifting.places.items() if name in said):
            status[:] = 1
        return Members(STORED, mine.data, mine.kinds, mine.starts, mine.ends, told, told_starts, told_ends, found, status,
                       {name: one.us for name, one in moments.items()}, holds_payloads=False)

    def _is_time(self, path: Path | None) -> bool:
        """Is it a column of dates or times, which would be spelled as texts, and is neither text nor number?"""
        array = None if path is None else self._array(path)
        return array is not None and pa.types.is_temporal(_plain(array.type))

    def _open(self, wanted: Wanted) -> None:
        """Look inside of all texts that paths of members go on in."""
        inside: dict[Path, dict[Path, None]] = {}
        for name, one in self._lifting.places.items():
            if one.path is not None and (above := self._text_above(one.path)) is not None:
                path = one.path[len(above):]
                below = [(*path, *more) for more in wanted.paths] if name == "payload" else []
                inside.setdefault(above, {}).update(dict.fromkeys([path, *below]))
        self._opened = {above: open_texts(self._in_bytes(above), paths) for above, paths in inside.items()}

    def _text_above(self, path: Path) -> Path | None:
        """The text that a path goes on inside of, if there is one."""
        return next((path[:end] for end in range(1, len(path))
                     if (array := self._array(path[:end])) is not None and is_text(array.type)), None)

    def _in_bytes(self, path: Path) -> Spelled:
        if path not in self._texts:
            self._texts[path] = in_bytes(self._array(path))
        return self._texts[path]

    def _moments(self, name: str) -> Moments:
        place = self._lifting.places[name]
        array = None if place.path is None else self._array(place.path)
        if array is None or not pa.types.is_timestamp(array.type) or place.unit is not None:
            said = constant(self._fixed.get(name), self._n) if place.path is None else self._spell(place.path)
            return instants_in(name, said, self._lifting)
        us, doubted = instants_of(array)
        if array.type.tz is not None:
            return Moments(us, doubted)
        found = on_walls(us, self._lifting.zone)
        return Moments(found.us, found.doubted | doubted)

    def _payload(self) -> tuple[Spelled, Path | None]:
        """The payload of every row, told, or its JSON text; and where its members begin, None: nowhere but in that text."""
        place = self._lifting.places.get("payload")
        if place is None:
            left = self._lifting.left_out
            mine = [(name, self._spell((name,))) for name in self._columns if name not in left]
            return framed(mine, np.ones(self._n, np.bool_), skips_nulls=True), ()
        if place.path is None:
            return _as_payload(constant(self._fixed.get("payload"), self._n)), None
        if (above := self._text_above(place.path)) is not None:
            return self._opened[above].payload(place.path[len(above):]), place.path
        array = self._array(place.path)
        if array is not None and is_text(array.type):
            return self._in_bytes(place.path), None
        said = self._spell(place.path)
        if array is not None and pa.types.is_struct(array.type):
            return said, place.path
        return _as_payload(said), None

    def _value(self, base: Path | None, path: Path) -> Spelled:
        """A wanted value of every payload."""
        if base is None or (base == () and path[0] in self._lifting.left_out):
            return Spelled.nothing(self._n)
        above = self._text_above((*base, *path))
        if above is not None and len(above) >= len(base):  # a text of the payload is a text, whatever it holds
            return Spelled.nothing(self._n)
        return self._spell((*base, *path))

    def _spell(self, path: Path) -> Spelled:
        if path not in self._spelled:
            if (above := self._text_above(path)) is not None:
                return self._opened[above].at(path[len(above):])
            array = self._array(path)
            self._spelled[path] = Spelled.nothing(self._n) if array is None else spell(array)
        return self._spelled[path]

    def _array(self, path: Path) -> pa.Array | None:
        """What lies at a path; None where nothing is, as what is no struct has no members."""
        if path not in self._arrays:
            above = self._array(path[:-1]) if len(path) > 1 else None
            self._arrays[path] = None if above is None else _child(above, path[-1])
        return self._arrays[path]


def _child(array: pa.Array, name: str) -> pa.Array | None:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if not pa.types.is_struct(array.type) or _says_twice(array.type):
        return None
    at = array.type.get_field_index(name)
    return None if at < 0 else pc.struct_field(array, [at])


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _says_twice(kind: pa.DataType) -> bool:
    """Has a struct anywhere in a type two members of one name? Python makes no value of it."""
    inner = [kind.field(at) for at in range(kind.num_fields)]
    names = [one.name for one in inner] if pa.types.is_struct(kind) else []
    return len(set(names)) < len(names) or any(_says_twice(one.type) for one in inner)


def _placed(one: Spelled) -> Spelled:
    """What is told already has no place among the others: it stays where it is."""
    if not (one.kinds == TOLD).any():
        return one
    none = np.zeros(len(one.kinds), np.int64)
    return Spelled(_EMPTY, one.kinds, none, none, one.asks)


def _others(kinds: Any) -> Any:
    return np.where(kinds == TOLD, OTHER, kinds).astype(np.int8)


def _as_payload(said: Spelled) -> Spelled:
    """What is no object may be the text of one; whatever else it is, is none."""
    wrong = (said.kinds != TEXT) & (said.kinds != ABSENT)
    return Spelled(said.data, np.where(wrong, ABSENT, said.kinds).astype(np.int8), said.starts, said.ends, said.asks | wrong)
