"""The pages of a data file, one after the other: where each is, which rows it holds, whether its bytes have its checksum.

    PAR1 │ row group 0: column 0: header page header page … column 1: … │ row group 1: … │ footer │ its length │ PAR1

Our files hold flat columns in the order of the schema, so the footer is not needed to walk them: without it, the groups are the writer's.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from offline_feature_plane.compact_thrift import Fields, Malformed, read_struct
from offline_feature_plane.leaves import CHUNK_ROWS
from offline_feature_plane.parquet_footers import (
    CHUNK,
    CHUNKS,
    DATA_AT,
    DICTIONARY_AT,
    GROUPS,
    MAGIC,
    PATH,
    ROWS,
    STORED_BYTES,
    VALUES,
    footer_start,
    read_footer,
)

MOST_PAGE_BYTES: Final = 1 << 28  # our writer ends a page at about a megabyte, but one value may be long
_KINDS: Final[dict[int, Literal["data", "dictionary"]]] = {0: "data", 2: "dictionary", 3: "data"}
_DETAILS: Final = {0: 5, 2: 7, 3: 8}  # the field of a header that says more, by its kind


@dataclass(frozen=True)
class Chunk:
    """One column of one row group, its rows `[first_row, first_row + rows)` of the file, and its bytes, where a footer says them."""

    row_group: int
    column: str
    first_row: int
    rows: int
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Page:
    """A page: header `[start, data)`, data `[data, end)`, rows `[first_row, first_row + rows)` of the file; a dictionary is for the chunk.

    `problem` says what is wrong with it, with its header if there are no data; `breaks_off`, that what follows cannot be found from here.
    """

    chunk: Chunk
    number: int
    kind: Literal["data", "dictionary"]
    start: int
    data: int
    end: int
    first_row: int
    rows: int
    problem: str | None = None
    breaks_off: bool = False


def chunks_by_footer(data: memoryview, columns: Sequence[str], rows: int) -> tuple[Chunk, ...]:
    """Where the chunks of a file are, as its footer says.

    Raises:
        Malformed: there is no readable footer, or it is about other columns or another number of rows.
    """
    start, footer = footer_start(data), read_footer(data)
    found: list[Chunk] = []
    try:
        at = len(MAGIC)
        for number, group in enumerate(footer[GROUPS]):
            chunks = [chunk[CHUNK] for chunk in group[CHUNKS]]
            names = [chunk[PATH][0].decode() for chunk in chunks]
            if names != list(columns):
                raise Malformed(f"it lists the columns {', '.join(names)}")
            first = found[-1].first_row + found[-1].rows if found else 0
            for name, chunk in zip(names, chunks, strict=True):
                begin, size = min(chunk.get(DICTIONARY_AT, chunk[DATA_AT]), chunk[DATA_AT]), chunk[STORED_BYTES]
                if begin != at or not 0 < size <= start - at or chunk[VALUES] != group[ROWS]:
                    raise Malformed(f"it puts column {name} of row group {number} where it is not")
                at += size
                found.append(Chunk(number, name, first, group[ROWS], begin, at))
        if at != start:
            raise Malformed(f"it says nothing of {start - at:,} bytes before it")
        if footer[ROWS] != rows or rows != (found[-1].first_row + found[-1].rows if found else 0):
            raise Malformed(f"it says that there are {footer[ROWS]} rows")
    except (KeyError, TypeError, IndexError, AttributeError, UnicodeDecodeError) as wrong:  # whatever a field may hold
        raise Malformed("it is not that of a data file") from wrong
    return tuple(found)


def chunks_by_writer(columns: Sequence[str], rows: int) -> tuple[Chunk, ...]:
    """The chunks that our writer makes of so many rows, wherever they are."""
    return tuple(Chunk(group, name, first, min(CHUNK_ROWS, rows - first))
                 for group, first in enumerate(range(0, rows, CHUNK_ROWS)) for name in columns)


def walk(data: memoryview, chunks: Sequence[Chunk]) -> Iterator[Page]:
    """Every page of a file. After a header that cannot be read it goes on with the next chunk whose place is known, else ends."""
    at: int | None = len(MAGIC)
    for chunk in chunks:
        at = chunk.start if chunk.start is not None else at
        if at is None:
            continue
        for page in _walk_chunk(data, chunk, at):
            yield page
            at = None if page.breaks_off else page.end


def _walk_chunk(data: memoryview, chunk: Chunk, at: int) -> Iterator[Page]:
    number, row, end = 0, chunk.first_row, chunk.end if chunk.end is not None else len(data)
    last = chunk.first_row + chunk.rows
    while row < last or chunk.end is not None:
        page = _page(data, chunk, number, at, end, row)
        number, at, row = number + 1, page.end, row + (page.rows if page.kind == "data" else 0)
        if row < last and at == chunk.end and page.problem is None:
            page = replace(page, problem=f"with it, the pages of this column hold {row - chunk.first_row} rows of {chunk.rows}")
        yield page
        if page.breaks_off or at == chunk.end:
            return


def _page(data: memoryview, chunk: Chunk, number: int, at: int, end: int, row: int) -> Page:
    left = chunk.first_row + chunk.rows - row
    try:
        header, begin = read_struct(data, at, end)
        kind, size, rows = _said(header, left)
        if size > end - begin and end < len(data):
            raise Malformed(f"it says {size:,} bytes, where {end - begin:,} are left")  # noqa: TRY301 - as what is read is refused
    except Malformed as wrong:
        at = min(at, len(data))
        return Page(chunk, number, "data", at, at, at, row, left, f"its header cannot be read: {wrong}", breaks_off=True)
    first, rows = (chunk.first_row, chunk.rows) if kind == "dictionary" else (row, rows)
    if size > end - begin:
        return Page(chunk, number, kind, at, begin, end, first, rows, f"the file ends after {end - begin:,} of its {size:,} bytes",
                    breaks_off=True)
    stated = header.get(4)
    is_sound = stated is not None and stated & 0xFFFFFFFF == zlib.crc32(data[begin:begin + size])
    return Page(chunk, number, kind, at, begin, begin + size, first, rows, None if is_sound else "its bytes do not have its checksum")


def _said(header: Fields, most_rows: int) -> tuple[Literal["data", "dictionary"], int, int]:
    """Kind, stored size and rows of a page, as its header says. Raises Malformed for what cannot be."""
    try:
        number, plain, stored = header[1], header[2], header[3]
        kind, rows = _KINDS[number], header[_DETAILS[number]][1]
    except (KeyError, TypeError) as wrong:
        raise Malformed("it is not that of a page") from wrong
    if not all(isinstance(one, int) for one in (plain, stored, rows)) or not all(0 <= one <= MOST_PAGE_BYTES for one in (plain, stored)):
        raise Malformed("its sizes cannot be")
    if kind == "data" and not 0 < rows <= most_rows:
        raise Malformed(f"it says {rows} rows, where {most_rows} are left")
    return kind, stored, rows
