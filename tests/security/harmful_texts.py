"""CSV and JSON Lines that were made to do harm, packed and plain; and what has no end."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from harmful_parquet import Harm
from small_plane import SmallPlane, as_jsonl, transactions

HEAD = b"tx_id,tx_time,customer_id,terminal_id,amount\n"
ROW = b"1,2026-01-01T00:00:00Z,C1,T1,1.00\n"


def as_file(name: str, make: Callable[[], bytes]) -> Harm:
    """The events as a text file with these bytes."""
    def harm(plane: SmallPlane) -> None:
        plane.plane["events"]["transaction"] |= {"path": name, "zone": "UTC"}
        (plane.folder / name).write_bytes(make())
    return harm


def objects() -> bytes:
    """The events as JSON Lines."""
    return as_jsonl({**transactions(), "tx_time": [one.isoformat() for one in transactions()["tx_time"]]}).encode()


def line(**changes: Any) -> bytes:
    """The first of them, changed."""
    return json.dumps({**json.loads(objects().split(b"\n")[0]), **changes}).encode()


def repeated(fill: bytes, size: int = 400 << 20) -> bytes:
    """The same bytes again and again, packed."""
    packer = zlib.compressobj(9, wbits=31)
    block = fill * ((1 << 20) // len(fill))
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def packed() -> Iterator[tuple[str, Harm]]:
    """Gzipped text that unpacks to far more than it is, or is no gzip."""
    for form, head in (("jsonl", objects()), ("csv", HEAD)):
        name = f"e.{form}.gz"
        for title, fill in (("zeros", b"\0"), ("line ends", b"\n"), ("objects", b"{}\n"), ("commas", b","), ("quotes", b'"')):
            yield f"{form}, {title}", as_file(name, lambda head=head, fill=fill: gzip.compress(head) + repeated(fill))
        yield f"{form}, many empty members", as_file(name, lambda: gzip.compress(b"", mtime=0) * 200_000)
        yield f"{form}, garbage behind", as_file(name, lambda head=head: gzip.compress(head) + b"garbage")
        yield f"{form}, cut", as_file(name, lambda head=head: gzip.compress(head * 50)[:-12])
        yield f"{form}, a wrong sum", as_file(name, lambda head=head: gzip.compress(head)[:-8] + b"\0" * 8)
        yield f"{form}, an endless name", as_file(name, lambda: b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"x" * (1 << 20))
        yield f"{form}, noise", as_file(name, lambda: b"\x1f\x8b\x08\0" + random.Random(1).randbytes(100_000))
        yield f"{form}, packed twice", as_file(name, lambda head=head: gzip.compress(gzip.compress(head)))
        yield f"{form}, another packing", as_file(f"e.{form}.zst", lambda head=head: pa.Codec("zstd").compress(head * 10, asbytes=True))


def lines() -> Iterator[tuple[str, Harm]]:
    """What JSON allows, or other parsers accept."""
    odd: dict[str, Callable[[], bytes]] = {
        "NaN": lambda: line().replace(b'"1.00"', b"NaN"), "Infinity": lambda: b'{"tx_id": Infinity}',
        "a repeated key": lambda: b'{"tx_id": 1, "tx_id": 2}',
        "a huge exponent": lambda: line().replace(b'"tx_id": 1', b'"tx_id": 1e999999999'),
        "a huge integer": lambda: line().replace(b'"tx_id": 1', b'"tx_id": ' + b"9" * 1_000_000),
        "a tiny exponent": lambda: b'{"tx_id": 1e-99999999999999999999}', "a huge text": lambda: line(customer_id="x" * 15_000_000),
        "a text beyond the budget": lambda: line(customer_id="x" * 17_000_000), "a half surrogate": lambda: b'{"customer_id": "\\ud800"}',
        "a NUL": lambda: line(customer_id="\0"), "a byte order mark": lambda: b"\xef\xbb\xbf" + objects(),
        "no UTF-8": lambda: b'{"a": "\xff"}',
        "overlong UTF-8": lambda: b'{"tx_id": "\xc0\xae"}', "UTF-16": lambda: objects().decode().encode("utf-16"),
        "deep lists": lambda: b'{"tx_id": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "open lists": lambda: b"[" * 1_000_000,
        "deep objects": lambda: b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        "many small lists": lambda: b'{"tx_id": [' + b"[]," * 3_000_000 + b"[]]}",
        "a million keys": lambda: json.dumps(dict.fromkeys(map(str, range(1_000_000)), 1)).encode(),
        "equal hashes": lambda: json.dumps({str(number * (2**61 - 1)): 1 for number in range(100_000)}).encode(),
        "another key on each line": lambda: b"".join(b'{"k%d": 1}\n' % number for number in range(100_000)),
        "no object": lambda: b"1\n2\n", "a comment": lambda: b'{"tx_id": 1} // x', "single quotes": lambda: b"{'tx_id': 1}",
        "two objects on a line": lambda: line() + line(), "old line ends": lambda: objects().replace(b"\n", b"\r"),
        "other line ends": lambda: objects().replace(b"\n", "\u2028".encode()), "blanks": lambda: b" " * 20_000_000,
        "nothing but line ends": lambda: b"\n" * 3_000_000}
    for name, make in odd.items():
        yield name, as_file("e.jsonl", make)


def tables() -> Iterator[tuple[str, Harm]]:
    """CSV that a lenient reader would take for something else, or never finish."""
    odd: dict[str, Callable[[], bytes]] = {
        "a NUL": lambda: HEAD + ROW.replace(b"C1", b"C\x001"), "only NULs": lambda: b"\0" * 1_000_000,
        "one endless line": lambda: HEAD + b"1" * 40_000_000, "one endless field": lambda: HEAD + b'1,"' + b"x" * 40_000_000,
        "an endless header": lambda: b"a," * 20_000_000, "mixed columns": lambda: HEAD + ROW + b"1,2\n" + ROW,
        "a hundred thousand columns": lambda: b",".join(b"c%d" % one for one in range(100_000)) + b"\n" + b"," * 99_999 + b"\n",
        "equal names": lambda: b"tx_id,tx_id\n1,2\n", "no name": lambda: b",,,,\n1,2,3,4,5\n", "only a header": lambda: HEAD,
        "old line ends": lambda: (HEAD + ROW).replace(b"\n", b"\r"), "latin": lambda: HEAD + ROW.replace(b"C1", b"\xdc"),
        "UTF-16": lambda: (HEAD + ROW).decode().encode("utf-16"), "quotes in quotes": lambda: HEAD + b'"' * 999_999,
        "text behind a quote": lambda: HEAD + b'"a"b,2,3,4,5\n', "formulas": lambda: HEAD + b"=1+1,@x,-1,+1,|x\n",
        "a huge number": lambda: HEAD + b"9" * 1_000_000 + ROW[1:], "semicolons": lambda: (HEAD + ROW).replace(b",", b";"),
        "quoted line ends": lambda: HEAD + b'"' + b"\n" * 3_000_000}
    for name, make in odd.items():
        yield name, as_file("e.csv", make)


def endless() -> Iterator[tuple[str, Harm]]:
    """What has no end, or is no file."""
    for target in ("/dev/zero", "/dev/urandom", "/proc/self/mem", "/proc/kmsg", "/dev/stdin", "/dev/full"):
        yield f"a link to {target}", linked(target)
    for name in ("transactions.parquet", "e.csv", "e.jsonl"):
        yield f"a hole called {name}", hole(name)


def linked(target: str) -> Harm:
    """The events' file is a link."""
    def harm(plane: SmallPlane) -> None:
        plane.plane["events"]["transaction"]["path"] = "e.csv"
        (plane.folder / "e.csv").symlink_to(target)
    return harm


def hole(name: str) -> Harm:
    """The events' file claims to be a terabyte long, and holds nothing."""
    def harm(plane: SmallPlane) -> None:
        plane.plane["events"]["transaction"] |= {"path": name, "zone": "UTC"}
        with (plane.folder / name).open("wb") as file:
            file.truncate(1 << 40)
    return harm
