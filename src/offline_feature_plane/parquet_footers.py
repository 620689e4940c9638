"""The footer of a Parquet file, read by ourselves: Arrow's view of a damaged one ends the process where it looks at a single column.

The fields are those of Parquet's own `FileMetaData`, by their ids; nothing in them is believed.
"""

from __future__ import annotations

from typing import Final

from offline_feature_plane.compact_thrift import Fields, Malformed, read_struct

MAGIC: Final = b"PAR1"
ROWS, GROUPS, CHUNKS, CHUNK = 3, 4, 1, 3  # of a file and of a row group, of a row group, and what describes a chunk
ENCODINGS, PATH, VALUES, STORED_BYTES, DATA_AT, DICTIONARY_AT = 2, 3, 5, 7, 9, 11  # of a chunk
_DIFFERENCES: Final = frozenset({5, 6, 7})  # DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY


def footer_start(data: memoryview) -> int:
    """Where the footer begins. Raises Malformed where there is none."""
    length = int.from_bytes(data[-8:-4], "little")
    if len(data) < 12 or bytes(data[-4:]) != MAGIC or length > len(data) - 12:
        raise Malformed("the file does not end with a footer")
    return len(data) - 8 - length


def read_footer(data: memoryview) -> Fields:
    """The footer of a file. Raises Malformed."""
    footer, end = read_struct(data, footer_start(data), len(data) - 8)
    if end != len(data) - 8:
        raise Malformed("the footer is not as long as it says")
    return footer


def columns_of_differences(data: memoryview) -> frozenset[str]:
    """The columns that are stored as differences in some row group, as dotted paths. Raises Malformed."""
    footer = read_footer(data)
    try:
        chunks = [chunk[CHUNK] for group in footer[GROUPS] for chunk in group[CHUNKS]]
        return frozenset(b".".join(chunk[PATH]).decode() for chunk in chunks if not _DIFFERENCES.isdisjoint(chunk[ENCODINGS]))
    except (KeyError, TypeError, UnicodeDecodeError) as wrong:
        raise Malformed("the footer is not that of a Parquet file") from wrong
