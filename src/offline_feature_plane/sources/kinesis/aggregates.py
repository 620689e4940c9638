"""Records that producers have packed into one, as Amazon's producer library does: several values under one sequence.

    magic F3 89 9A C2 │ protobuf: 1 partition keys, 2 hash keys, 3 records { 1, 2 key indexes, 3 data, 4 tags } │ MD5 of the protobuf

A pack is one if magic and MD5 say so; what only looks like one is an ordinary value. The values of a pack at sequence S stand at S, S + 1,
S + 2 …: sequences lie so far apart that there is always room.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

__all__ = ["values_in"]

_MAGIC: Final = bytes.fromhex("f3899ac2")
_SUM: Final = 16
_MOST: Final = 100_000  # values of a pack; as many events do not go into the largest record
_RECORD, _DATA = 3, 3  # the fields of a pack's records, and of the data of one
_VARINT, _WIDE, _BYTES, _NARROW = 0, 1, 2, 5  # how fields are written


def values_in(data: bytes) -> list[bytes]:
    """The values of a record: those that were packed into it, in their order, or itself.

    >>> values_in(b"{}")
    [b'{}']
    """
    if not data.startswith(_MAGIC) or len(data) < len(_MAGIC) + _SUM:
        return [data]
    body = data[len(_MAGIC):-_SUM]
    if hashlib.md5(body, usedforsecurity=False).digest() != data[-_SUM:]:
        return [data]
    found: list[bytes] = []
    try:
        for field, record in _fields(body):
            if field == _RECORD:
                found.append(_data_of(record))
            if len(found) > _MOST:
                return [data]
    except _Malformed:
        return [data]
    return found or [data]


class _Malformed(Exception):
    """These bytes are no protobuf of this form."""


def _data_of(record: bytes) -> bytes:
    found = [value for field, value in _fields(record) if field == _DATA]
    if not found:
        raise _Malformed
    return found[-1]  # of a field that comes twice, the last one counts


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that hold bytes, in their order. Raises _Malformed."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in {_WIDE, _NARROW}:
            at += 8 if kind == _WIDE else 4
        elif kind == _BYTES:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise _Malformed
            yield key >> 3, message[at:at + size]
            at += size
        else:
            raise _Malformed
    if at != len(message):
        raise _Malformed


def _varint(message: bytes, at: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _Malformed
        byte, at = message[at], at + 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found, at
    raise _Malformed
