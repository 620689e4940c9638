"""Structs of the compact Thrift protocol, as Parquet writes its page headers and footers, read without a schema.

    field header = one byte: id delta (high half), type (low half)   ·   delta 0: the id follows as a varint   ·   type 0 ends the struct
    integers are zigzag varints, texts a length and bytes, lists a size and the type of their items

Hostile bytes cost no more than their length: nothing is read beyond them, and nothing is nested without end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Fields = dict[int, Any]

DEPTH: Final = 16  # Parquet's own structs are shallower
_TRUE, _FALSE, _BYTE, _DOUBLE, _TEXT, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS: Final = frozenset({4, 5, 6})


class Malformed(ValueError):
    """Bytes that are no such struct."""


def read_struct(data: bytes | memoryview, start: int, end: int) -> tuple[Fields, int]:
    """The fields of the struct that begins at `start`, by their ids, and where it ends.

    Raises:
        Malformed: it does not end before `end`, or is none.

        >>> read_struct(bytes.fromhex("1504 1918 0461626364 00"), 0, 10)
        ({1: 2, 2: [b'abcd']}, 10)
    """
    reader = _Reader(data, start, end)
    return reader.struct(0), reader.at


class _Reader:
    """A place in some bytes."""

    def __init__(self, data: bytes | memoryview, start: int, end: int) -> None:
        self.at = start
        self._data = data
        self._end = min(end, len(data))

    def struct(self, depth: int) -> Fields:
        fields: Fields = {}
        number = 0
        while head := self._byte():
            kind = head & 0x0F
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = kind == _TRUE if kind in {_TRUE, _FALSE} else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if depth > DEPTH:
            raise Malformed("values within values without end")
        read = self._READ.get(kind)
        if read is None:
            raise Malformed(f"there is no type {kind}")
        return read(self, depth)

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        if count > self._end - self.at:  # every item has a byte
            raise Malformed(f"a list of {count} items")
        return [self._byte() == _TRUE if head & 0x0F in {_TRUE, _FALSE} else self._value(head & 0x0F, depth) for _ in range(count)]

    def _map(self, depth: int) -> list[tuple[Any, Any]]:
        count = self._varint()
        if count > self._end - self.at:
            raise Malformed(f"a map of {count} entries")
        kinds = self._byte() if count else 0
        return [(self._value(kinds >> 4, depth), self._value(kinds & 0x0F, depth)) for _ in range(count)]

    def _text(self) -> bytes:
        return self._take(self._varint())

    def _integer(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return number
            shift += 7
            if shift > 63:
                raise Malformed("a number without end")

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, count: int) -> bytes:
        if count > self._end - self.at:
            raise Malformed("it goes on beyond its end")
        self.at += count
        return bytes(self._data[self.at - count:self.at])

    _READ: Final[Mapping[int, Callable[[_Reader, int], Any]]] = {
        _BYTE: lambda self, _: self._byte(), _DOUBLE: lambda self, _: self._take(8), _TEXT: lambda self, _: self._text(),
        _LIST: lambda self, depth: self._list(depth + 1), _SET: lambda self, depth: self._list(depth + 1),
        _MAP: lambda self, depth: self._map(depth + 1), _STRUCT: lambda self, depth: self.struct(depth + 1)}
