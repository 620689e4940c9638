"""Parquet files that were made to do harm: some hundred bytes that decode to gigabytes, strange shapes, lies and noise."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_plane import EVENT_SCHEMA, SmallPlane, transactions

Harm = Callable[[SmallPlane], Any]

_LONG = "A" * 1_000_000
_SMALLEST = {"compression": "zstd", "store_schema": False, "write_statistics": False, "data_page_size": 1 << 30,
             "max_rows_per_page": 1 << 40, "row_group_size": 1 << 30}


def stored(make: Callable[[], pa.Table], **writing: Any) -> Harm:
    """The table in place of the events, stored as small as can be."""
    return lambda plane: pq.write_table(make(), plane.folder / "transactions.parquet", **{**_SMALLEST, **writing})


def runs(value: Any, rows: int, kind: pa.DataType | None = None) -> pa.Array:
    """One value, many times, as runs of a dictionary."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value], kind))


def events(rows: int, **columns: pa.Array) -> pa.Table:
    """A table of events with nothing in it but runs, and these columns."""
    first = transactions()
    return pa.table({**{name: runs(first[name][0], rows, EVENT_SCHEMA.field(name).type) for name in EVENT_SCHEMA.names}, **columns})


def bombs() -> Iterator[tuple[str, Harm]]:
    """Files of some hundred bytes that decode to hundreds of megabytes, or far more."""
    yield "runs of a text", stored(lambda: events(3_000_000, customer_id=runs("B" * 100, 3_000_000)))
    yield "runs of a long text", stored(lambda: events(200_000, customer_id=runs(_LONG, 200_000)))
    yield "an id that is a bomb", stored(lambda: events(200_000, tx_id=runs(_LONG, 200_000)))
    yield "a time that is a bomb", stored(lambda: events(200_000, tx_time=runs(_LONG, 200_000)))
    yield "runs of a number", stored(lambda: pa.table({"tx_id": runs(7, 34_000_000)}))
    yield "texts as differences", stored(lambda: events(3_000, customer_id=pa.array(["A" * 100_000] * 3_000)), use_dictionary=["tx_id"],
                                         column_encoding={"customer_id": "DELTA_BYTE_ARRAY"})
    yield "one huge text", stored(lambda: events(1, customer_id=pa.array(["A" * (300 << 20)])), use_dictionary=["tx_id"])
    yield "wide bytes", stored(lambda: events(3_000, customer_id=pa.array([b"A" * 100_000] * 3_000, pa.binary(100_000))))
    yield "a long list", stored(lambda: events(1, customer_id=pa.ListArray.from_arrays([0, 30_000_000], pa.nulls(30_000_000, pa.int8()))))
    yield "many lists", stored(lambda: events(100_000, customer_id=pa.ListArray.from_arrays(
        pa.array(np.arange(0, 20_000_200, 200, np.int32)), pa.nulls(20_000_000, pa.string()))))


def shapes() -> Iterator[tuple[str, Harm]]:
    """Strange names, types and depths."""
    yield "ten thousand columns", lambda plane: plane.events({**transactions(), **{f"c{one}": [1] * 200 for one in range(10_000)}}, None)
    yield "too many columns", lambda plane: plane.events({**transactions(), **{f"c{one}": [1] * 200 for one in range(40_000)}}, None)
    yield "a hundred levels", stored(lambda: events(1, customer_id=nested(100)))
    yield "a thousand levels", stored(lambda: events(1, customer_id=nested(1_000)))
    for name, title in (("x" * 1_000_000, "of a megabyte"), ("a\0b", "with a NUL"), ("", "of nothing"), ("\x1b[2J\u202e", "of escapes")):
        yield f"a name {title}", lambda plane, name=name: plane.events({**transactions(), name: [1] * 200}, None)
    yield "equal names", stored(lambda: pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["tx_id", "tx_id"]))
    yield "no rows", lambda plane: plane.events({name: [] for name in EVENT_SCHEMA.names})
    yield "no columns", stored(lambda: pa.table({}))
    for kind, value in ((pa.null(), None), (pa.decimal256(76, 10), 1), (pa.time64("ns"), 1), (pa.binary(), b"\xff"), (pa.float16(), 1.0),
                        (pa.list_(pa.int64()), [1]), (pa.struct([("a", pa.int64())]), {"a": 1}), (pa.binary(16), b"\0" * 16),
                        (pa.map_(pa.string(), pa.int64()), [("a", 1)]), (pa.duration("us"), 1)):
        for column in ("tx_id", "amount"):
            yield f"{column} of {kind}", lambda plane, column=column, kind=kind, value=value: plane.events(
                {**transactions(), column: pa.array([value] * 200, kind)}, None)
    yield "megabytes beside the schema", lambda plane: plane.events(schema=EVENT_SCHEMA.with_metadata({"x": "y" * 20_000_000}))


def nested(depth: int) -> pa.Array:
    """One struct in another, this deep."""
    array: pa.Array = pa.array([1])
    for _ in range(depth):
        array = pa.StructArray.from_arrays([array], ["a"])
    return array


def damaged(change: Callable[[bytearray], Any]) -> Harm:
    """The events' file with some bytes changed."""
    def harm(plane: SmallPlane) -> None:
        path = plane.folder / "transactions.parquet"
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)
    return harm


def lies() -> Iterator[tuple[str, Harm]]:
    """Bytes and numbers that are not what they should be."""
    for magic in (b"PARX", b"PARE", b"\0\0\0\0"):
        yield f"the magic {magic!r}", damaged(lambda data, magic=magic: data.__setitem__(slice(-4, None), magic))
    yield "nothing but magic", damaged(lambda data: data.__delitem__(slice(4, -4)))
    for length in (0, 1, 7, 1 << 20, (1 << 31) - 1, (1 << 32) - 1):
        yield f"a footer of {length}", damaged(lambda data, length=length: data.__setitem__(slice(-8, -4), struct.pack("<I", length)))
    for keep in (0, 3, 12, 100, 1_000):
        yield f"cut after {keep}", damaged(lambda data, keep=keep: data.__delitem__(slice(keep, None)))
    for seed in range(20):
        yield f"noise {seed} in the footer", damaged(noise(seed, in_footer=True))
        yield f"noise {seed} in the pages", damaged(noise(seed, in_footer=False))
    for more in (-1, 1, 1_000_000, 60_000_000):
        yield f"{more} more rows than there are", rows_claimed(more, everywhere=False)
        yield f"{more} more rows, in the pages too", rows_claimed(more, everywhere=True)
    for name, footer in (("without an end", b"\x19\xfc" + b"\xff" * 4 + b"\x0f"), ("of structs", b"\x1c" * 100_000),
                         ("of lists", b"\x19" * 100_000), ("with a huge text", b"\x18\xff\xff\xff\xff\x07")):
        yield f"a footer {name}", damaged(lambda data, footer=footer: data.__setitem__(
            slice(4, None), footer + struct.pack("<I", len(footer)) + b"PAR1"))


def noise(seed: int, *, in_footer: bool) -> Callable[[bytearray], None]:
    """Change some bytes of the footer, or before it."""
    def change(data: bytearray) -> None:
        draw = random.Random(seed)
        begin = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
        for _ in range(draw.choice((1, 2, 8, 64))):
            data[draw.randrange(begin, len(data) - 8) if in_footer else draw.randrange(4, begin)] = draw.randrange(256)
    return change


def rows_claimed(more: int, *, everywhere: bool) -> Harm:
    """A file with 1,100,000 rows that claims more of them, in its footer or everywhere."""
    rows = 1_100_000

    def change(data: bytearray) -> None:
        begin = 0 if everywhere else len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
        data[begin:] = bytes(data[begin:]).replace(varint(2 * rows), varint(2 * (rows + more)))

    def harm(plane: SmallPlane) -> None:
        stored(lambda: events(rows))(plane)
        damaged(change)(plane)
    return harm


def varint(number: int) -> bytes:
    """A number as thrift's compact form writes it."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
