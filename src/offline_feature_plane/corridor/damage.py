"""What is wrong with a data file that is not the published one: which bytes, pages, rows, leaves and columns.

    missing · empty · cut · too long ─▶ pages by their checksums ─▶ rows by the column digests ─▶ else: written again, and compared

Only the first bytes after a damage of its layout may stay unjudged; whatever is said is true of the bytes that were looked at.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.arrow_types import arrow_schema
from offline_feature_plane.compact_thrift import Malformed
from offline_feature_plane.contracts.manifest import Part
from offline_feature_plane.corridor.pages import Chunk, Page, chunks_by_footer, chunks_by_writer, walk
from offline_feature_plane.corridor.parts import PartWriter, read_parts
from offline_feature_plane.corridor.workfolders import scratch
from offline_feature_plane.domain.columns import Column
from offline_feature_plane.domain.content import LEAF_ROWS, Leaf
from offline_feature_plane.errors import OfsError, ResourceExceeded
from offline_feature_plane.leaves import CHUNK_ROWS, ColumnsBroken, chunks_of, leaves_of, settle
from offline_feature_plane.parquet_files import parquet_batches
from offline_feature_plane.parquet_footers import MAGIC, footer_start
from offline_feature_plane.plain_files import open_in_place, resolved

# `metadata` is what describes the pages: their headers or the footer, where it cannot be told which.
Where = Literal["file", "page", "page header", "footer", "metadata", "rows"]


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong: in which layer of the file, at which byte, and for which rows `[from, to)` and leaves of the dataset."""

    where: Where
    what: str
    offset: int | None = None
    row_group: int | None = None
    column: str | None = None
    page: int | None = None
    rows: tuple[int, int] | None = None
    leaves: tuple[int, ...] = ()


def count_pages(path: Path, part: Part, columns: Sequence[Column]) -> int:
    """How many pages a published file has."""
    if not part.rows:
        return 0
    names = [column.name for column in columns]
    with _mapped(resolved(path)) as data:
        return sum(1 for _ in walk(data, _chunks(data, names, part.rows)[0]))


def inspect(path: Path, part: Part, columns: Sequence[Column], known: Sequence[Leaf] | None, work: Path) -> tuple[Damage, ...]:
    """What is wrong with a file that does not have the digest of its part.

    Args:
        path: the file.
        part: what was published.
        columns: the schema.
        known: the leaves of the dataset, with the digests of their columns; None if they are not known.
        work: a name of a folder for writing a file again.
    """
    path = resolved(path)
    size = path.stat().st_size
    if size == 0:
        return (Damage("file", f"it is empty; it had {part.size_bytes:,} bytes"),)
    names = [column.name for column in columns]
    with _mapped(path) as data:
        if size > part.size_bytes and _digest(data[:part.size_bytes]) == part.sha256:
            return (Damage("file", f"{size - part.size_bytes:,} bytes were added behind the published ones", offset=part.size_bytes),)
        found = [Damage("file", f"it ends after {size:,} of {part.size_bytes:,} bytes", offset=size)] if size < part.size_bytes else []
        chunks, footer = _chunks(data, names, part.rows)
        pages = [_of_page(page, part) for page in walk(data, chunks) if page.problem is not None]
        found += [*([] if footer is None else [footer]), *pages]
    if footer is None:
        found += _rows(path, part, columns, known, {damage.column for damage in pages})
    return tuple(found) or (_by_writing_again(path, part, columns, work),)


def _chunks(data: memoryview, names: Sequence[str], rows: int) -> tuple[tuple[Chunk, ...], Damage | None]:
    """The chunks of a file, and what is wrong with its footer."""
    try:
        return chunks_by_footer(data, names, rows), None
    except Malformed as wrong:
        return chunks_by_writer(names, rows), Damage("footer", f"the footer cannot be used: {wrong}")


def _of_page(page: Page, part: Part) -> Damage:
    first = part.first_row + page.first_row
    return Damage("page" if page.data > page.start else "page header", str(page.problem), page.start, page.chunk.row_group,
                  page.chunk.column, page.number, (first, first + page.rows), _leaves(first, first + page.rows))


def _leaves(first: int, end: int) -> tuple[int, ...]:
    """The leaves of some rows."""
    return tuple(range(first // LEAF_ROWS, -(-end // LEAF_ROWS)))


def _rows(path: Path, part: Part, columns: Sequence[Column], known: Sequence[Leaf] | None, harmed: set[str | None]) -> Iterator[Damage]:
    """Columns that can be decoded, and hold other values than the published ones."""
    try:
        with open_in_place(path) as stream, pq.ParquetFile(stream) as file:
            is_ours = file.schema_arrow.equals(arrow_schema(columns))
    except (OSError, pa.ArrowException, ValueError) as wrong:  # names that are no text, too
        yield Damage("footer", f"the footer cannot be used: {_first_line(wrong)}")
        return
    if not is_ours:
        yield Damage("footer", "its schema is not that of the dataset")
        return
    for index, column in enumerate(columns):
        if column.name not in harmed:
            yield from _column(path, part, index, column, known)


def _column(path: Path, part: Part, index: int, column: Column, known: Sequence[Leaf] | None) -> Iterator[Damage]:
    """Its values, decoded within a budget, for a file that is not the published one may be anything (R14)."""
    names, at, end = [column.name], part.first_row, part.first_row + part.rows
    found = (pa.RecordBatch.from_arrays([batch[column.name]], names=names) for batch in parquet_batches(path, names, ()))
    try:
        for chunk in chunks_of((column,), found, CHUNK_ROWS):
            for leaf in leaves_of((column,), settle((column,), chunk)):
                number = at // LEAF_ROWS
                if known is not None and (number >= len(known) or leaf.digests[0] != known[number].digests[index]):
                    yield Damage("rows", "its values are not the published ones", column=column.name, rows=(at, at + leaf.n),
                                 leaves=(number,))
                at += leaf.n
    except (ColumnsBroken, ResourceExceeded) as wrong:
        yield Damage("rows", f"its values are none of a dataset: {_first_line(wrong)}", column=column.name, rows=(at, end),
                     leaves=_leaves(at, end))
    except (OSError, pa.ArrowException, ValueError) as wrong:
        yield Damage("metadata", f"its pages have their checksums, but are not described as they are: {_first_line(wrong)}",
                     column=column.name, rows=(at, end), leaves=_leaves(at, end))


def _first_line(wrong: Exception) -> str:
    return (str(wrong).splitlines() or [type(wrong).__name__])[0]


def _by_writing_again(path: Path, part: Part, columns: Sequence[Column], work: Path) -> Damage:
    """Every page and every row is sound, so the writer of the same release gives the published bytes again, and the first other byte."""
    vague = Damage("metadata", "all pages and rows are sound; a page header or the footer is not the published one")
    try:
        with scratch(work / "again") as folder:
            writer = PartWriter(columns, folder)
            for chunk in chunks_of(columns, read_parts(columns, [path]), CHUNK_ROWS):
                writer.write(settle(columns, chunk))
            (again, *_) = writer.finish()
            if again.sha256 != part.sha256:
                return vague
            with _mapped(path) as found, _mapped(again.path) as sound:
                return _at(_first_difference(found, sound), sound, part, columns)
    except (OfsError, ValueError, OSError):
        return vague


def _first_difference(left: memoryview, right: memoryview, step: int = 1 << 16) -> int:
    """The first byte at which two files differ."""
    shorter = min(len(left), len(right))
    block = next((at for at in range(0, shorter, step) if left[at:at + step] != right[at:at + step]), shorter)
    return next((at for at in range(block, min(block + step, shorter)) if left[at] != right[at]), shorter)


def _at(offset: int, sound: memoryview, part: Part, columns: Sequence[Column]) -> Damage:
    """The place of a byte in the published file."""
    if offset >= footer_start(sound):
        return Damage("footer", "the footer is not the published one; all pages and rows are sound", offset)
    page = next((page for page in walk(sound, chunks_by_footer(sound, [column.name for column in columns], part.rows))
                 if page.start <= offset < page.end), None)
    if page is None:
        return Damage("file", f"the file does not begin with {MAGIC.decode()}", offset)
    first = part.first_row + page.first_row
    return Damage("page header", "the header of a page is not the published one; all rows are sound", offset, page.chunk.row_group,
                  page.chunk.column, page.number, (first, first + page.rows), _leaves(first, first + page.rows))


def _digest(data: memoryview) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a file that is not empty."""
    with open_in_place(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        yield view
