"""What segment files hold, some thousand rows at a time: as it is stored, and as members of records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa

from offline_feature_plane.budgets import Misses
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.foreign_laws import law_of_foreign_columns, law_of_foreign_lines
from offline_feature_plane.sources.archives.foreign_segments import foreign_columns
from offline_feature_plane.sources.archives.forms import is_table
from offline_feature_plane.sources.archives.steady_files import unchanged
from offline_feature_plane.sources.archives.stored_files import (
    Law,
    members_of_columns,
    members_of_lines,
    noting,
    standing_at,
    stored_batches,
)
from offline_feature_plane.sources.decoding.batches import STORED, Members, members_of_documents, tell_columns
from offline_feature_plane.sources.decoding.decoded import integer_array
from offline_feature_plane.sources.decoding.lines import Lines, lines_of_binary, read_blocks
from offline_feature_plane.sources.decoding.mapped_columns import members_of_mapped_columns
from offline_feature_plane.sources.decoding.mapped_documents import members_of_mapped_documents, written_lines
from offline_feature_plane.sources.decoding.wanted import Int64s, Wanted
from offline_feature_plane.text_files import packing_of

__all__ = ["Piece", "Telling", "members_in", "piece_of", "pieces_in", "rows_of", "telling"]

Piece = Lines | Mapping[str, pa.Array]                # lines of a text, or rows of a table
Telling = Callable[[Piece], tuple[Members, Law]]      # the members of a piece, and what decodes one of its records by itself

_LINE: Final = "line"


def pieces_in(file: PinnedFile, lifting: Lifting | None = None, groups: Mapping[int, int] | None = None) -> Iterator[Piece]:
    """The rows of a file, whose pin was checked; of Parquet all row groups, or some, each with its rows.

    Raises:
        SourceUnreadable, ResourceExceeded, ReplayBasisMismatch: as `stored_files.stored_batches` and `foreign_segments.foreign_columns`.
    """
    if is_table(file.relative):
        yield from stored_batches(file, groups) if lifting is None else foreign_columns(file, lifting, groups)
        return
    with unchanged(file):
        for lines in read_blocks(file.path, packing=packing_of(file.relative)):
            yield lines if lifting is None else written_lines(lines)


def telling(relative: str, lifting: Lifting | None, wanted: Wanted) -> Telling:
    """How pieces of a file of ours, or of one that another tool wrote, are told; of payloads what is wanted is found."""
    return partial(_told, wanted) if lifting is None else partial(_lifted, lifting, lifting.fixed(relative), wanted)


def members_in(file: PinnedFile, wanted: Wanted, lifting: Lifting | None = None,
               groups: Mapping[int, int] | None = None) -> Iterator[tuple[Members, Law]]:
    """All that a file holds, told; arguments and errors as `pieces_in`, and ResourceExceeded: far too much of it is no record."""
    misses, tell = Misses(file.path, file.size), telling(file.relative, lifting, wanted)
    for piece in pieces_in(file, lifting, groups):
        members, law = tell(piece)
        yield members, noting(law, misses)


def rows_of(piece: Piece, rows: Int64s) -> pa.RecordBatch:
    """Some rows of a piece, by their places, as a batch that can be written down."""
    if isinstance(piece, Lines):  # what stands between two lines is a text, too, which nobody takes
        bounds = np.append(np.stack([piece.begins, piece.stops], 1).ravel(), piece.stops[-1:]).astype(np.int32)
        every = pa.Array.from_buffers(pa.binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(piece.data)])
        return pa.RecordBatch.from_arrays([every.take(integer_array(2 * rows, pa.int64()))], names=[_LINE])
    plain = {name: one.dictionary_decode() if pa.types.is_dictionary(one.type) else one for name, one in piece.items()}
    return pa.RecordBatch.from_arrays(list(plain.values()), names=list(plain)).take(integer_array(rows, pa.int64()))


def piece_of(relative: str, rows: pa.RecordBatch) -> Piece:
    """What `rows_of` took out of a file, as a piece again."""
    return dict(zip(rows.schema.names, rows.columns, strict=True)) if is_table(relative) else lines_of_binary(rows.column(0))


def _told(wanted: Wanted, piece: Piece) -> tuple[Members, Law]:
    if isinstance(piece, Lines):
        return (members_of_documents(piece.data, piece.begins, piece.stops, STORED, wanted),
                partial(standing_at, members_of_lines(piece)))
    return tell_columns(piece, STORED, wanted), partial(standing_at, members_of_columns(piece))


def _lifted(lifting: Lifting, fixed: Mapping[str, Any], wanted: Wanted, piece: Piece) -> tuple[Members, Law]:
    if isinstance(piece, Lines):
        return members_of_mapped_documents(piece, lifting, fixed, wanted), law_of_foreign_lines(piece, lifting, fixed)
    return members_of_mapped_columns(piece, lifting, fixed, wanted), law_of_foreign_columns(piece, lifting, fixed)
