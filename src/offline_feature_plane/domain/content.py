"""The content digest, defined over plain Python values (`decisions.md` F): slow, obvious, and the oracle of `kernels.leafhash`.

    column digest  = SHA-256( validity: one byte per row, 1 or 0 ‖ values )
                     bool 1 byte · ints little-endian at declared width · float64 little-endian, −0.0 as 0.0 · timestamp int64 µs ·
                     decimal 16 bytes little-endian two's complement of the scaled integer · string u32 little-endian length ‖ UTF-8
                     null slots all-zero, null strings length 0
    leaf           = SHA-256( 0x00 ‖ canonical JSON {"columns": [{"digest", "name", "type"}, …], "n": rows} )   columns in schema order
    content digest = RFC 6962 root over the leaves of 65,536 rows; inner nodes SHA-256( 0x01 ‖ left ‖ right ); no rows: SHA-256 of nothing

The column digests of all leaves are kept beside the dataset, so that a difference is located to a leaf and a column.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.domain.canonical import canonical_bytes, load_json
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.errors import ManifestInvalid, OfsError

LEAF_ROWS = 65_536
COLUMN_DIGESTS_VERSION = "ofs.column_digests.v1"
COLUMN_DIGESTS_MAX_BYTES = 1 << 28

_PACKED = {"bool": "<?", "int8": "<b", "int16": "<h", "int32": "<i", "int64": "<q", "timestamp": "<q"}

NamedType = tuple[str, ColumnType]


@dataclass(frozen=True)
class Leaf:
    """The digests of one leaf's columns, in schema order, over `n` rows."""

    n: int
    digests: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """Where two contents differ: in which leaf, from which row to which (half-open), and in which columns."""

    leaf: int
    first_row: int
    end_row: int
    columns: tuple[str, ...]


def column_digest(kind: ColumnType, values: Sequence[Any]) -> str:
    """`sha256:<hex>` of one column of one leaf.

    Args:
        kind: the declared type; an engine's own type never counts.
        values: bool, int, float, scaled int (decimal), int µs (timestamp), str; None is null.

    Raises:
        ValueError: NaN, an infinity, an integer outside its width, or a decimal with too many digits.
    """
    validity = bytes(value is not None for value in values)
    return f"sha256:{hashlib.sha256(validity + b''.join(_bytes_of(kind, value) for value in values)).hexdigest()}"


def leaf_digest(columns: Sequence[NamedType], leaf: Leaf) -> bytes:
    """The 32 bytes of one leaf: its RFC 6962 leaf hash."""
    described = [{"name": name, "type": str(kind), "digest": digest} for (name, kind), digest in zip(columns, leaf.digests, strict=True)]
    return hashlib.sha256(b"\x00" + canonical_bytes({"n": leaf.n, "columns": described})).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 tree head over leaf hashes; of none, the SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:half]) + merkle_root(leaves[half:])).digest()


def content_root(columns: Sequence[NamedType], leaves: Sequence[Leaf]) -> str:
    """The content digest, `sha256:<hex>`, from the column digests of all leaves."""
    return f"sha256:{merkle_root([leaf_digest(columns, leaf) for leaf in leaves]).hex()}"


def digest_leaves(columns: Sequence[NamedType], values: Sequence[Sequence[Any]], *, leaf_rows: int = LEAF_ROWS) -> tuple[Leaf, ...]:
    """The leaves of a whole dataset given as one list per column."""
    rows = len(values[0]) if values else 0
    return tuple(Leaf(min(leaf_rows, rows - start), tuple(column_digest(kind, column[start:start + leaf_rows])
                                                          for (_, kind), column in zip(columns, values, strict=True)))
                 for start in range(0, rows, leaf_rows))


def content_digest(columns: Sequence[NamedType], values: Sequence[Sequence[Any]], *, leaf_rows: int = LEAF_ROWS) -> str:
    """The content digest of a dataset given as one list per column: the definition itself.

    >>> content_digest([("n", ColumnType("int64"))], [[]])
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    return content_root(columns, digest_leaves(columns, values, leaf_rows=leaf_rows))


def write_column_digests(columns: Sequence[NamedType], leaves: Sequence[Leaf], *, leaf_rows: int = LEAF_ROWS) -> bytes:
    """The column digests of all leaves as the canonical bytes of one document; its SHA-256 is in the manifest's core."""
    return canonical_bytes({"schema_version": COLUMN_DIGESTS_VERSION, "leaf_rows": leaf_rows,
                            "columns": [{"name": name, "type": str(kind)} for name, kind in columns],
                            "leaves": [{"n": leaf.n, "digests": leaf.digests} for leaf in leaves]})


def read_column_digests(data: bytes) -> tuple[tuple[NamedType, ...], tuple[Leaf, ...]]:
    """Columns and leaves from the bytes of `write_column_digests`.

    Raises:
        ManifestInvalid: not such a document.
    """
    try:
        document = load_json(data, max_bytes=COLUMN_DIGESTS_MAX_BYTES)
        columns = tuple((str(item["name"]), ColumnType.parse(item["type"])) for item in document["columns"])
        leaves = tuple(Leaf(int(item["n"]), tuple(str(digest) for digest in item["digests"])) for item in document["leaves"])
    except (OfsError, KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise ManifestInvalid(f"the column digests cannot be read: {wrong}.", fix="Restore the file from a copy of the store.") from wrong
    if document.get("schema_version") != COLUMN_DIGESTS_VERSION:
        raise ManifestInvalid(f"the column digests are not of version {COLUMN_DIGESTS_VERSION}.")
    if any(len(leaf.digests) != len(columns) for leaf in leaves):
        raise ManifestInvalid("a leaf of the column digests does not have exactly one digest per column.")
    return columns, leaves


def locate_difference(columns: Sequence[NamedType], left: Sequence[Leaf], right: Sequence[Leaf]) -> Iterator[Difference]:
    """Every leaf in which two contents of one schema differ, in order, with the columns that do.

    A leaf that only one side has differs in every column; its rows are that side's.
    """
    names = tuple(name for name, _ in columns)
    first = 0
    for index in range(max(len(left), len(right))):
        mine, other = (side[index] if index < len(side) else Leaf(0, ("",) * len(names)) for side in (left, right))
        rows = max(mine.n, other.n)
        if mine != other:
            unlike = tuple(name for name, one, two in zip(names, mine.digests, other.digests, strict=True) if one != two)
            yield Difference(index, first, first + rows, unlike)
        first += rows


def _bytes_of(kind: ColumnType, value: Any) -> bytes:
    if kind.kind == "string":
        text = b"" if value is None else value.encode()
        return struct.pack("<I", len(text)) + text
    if kind.kind == "decimal":
        scaled = 0 if value is None else value
        if abs(scaled) >= 10**kind.precision:
            raise ValueError(f"{scaled} has more digits than {kind}")
        return int(scaled).to_bytes(16, "little", signed=True)
    if kind.kind == "float64":
        number = 0.0 if value is None else float(value) + 0.0  # adding 0.0 turns -0.0 into 0.0
        if not math.isfinite(number):
            raise ValueError(f"{number} cannot be stored in a dataset")
        return struct.pack("<d", number)
    try:
        return struct.pack(_PACKED[kind.kind], 0 if value is None else value)
    except struct.error:
        raise ValueError(f"{value!r} does not fit {kind}") from None
