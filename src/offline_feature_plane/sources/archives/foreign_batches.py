"""Segments that other tools wrote, many records at a time; what `foreign_segments` reads of them one by one is the law."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from offline_feature_plane.domain.admission import Standing, standing_of
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.column_values import values_of
from offline_feature_plane.sources.archives.foreign_segments import foreign_columns, lifted_document, line_document
from offline_feature_plane.sources.archives.forms import is_table
from offline_feature_plane.sources.archives.steady_files import unchanged
from offline_feature_plane.sources.archives.stored_files import Law, Only
from offline_feature_plane.sources.decoding.batches import Members
from offline_feature_plane.sources.decoding.lines import Lines, read_blocks
from offline_feature_plane.sources.decoding.mapped_columns import members_of_mapped_columns
from offline_feature_plane.sources.decoding.mapped_documents import members_of_mapped_documents, written_lines
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.text_files import packing_of

__all__ = ["law_of_foreign_columns", "law_of_foreign_lines", "mapped_in"]

_FEW = 64  # rows of a batch that are taken out of it one at a time; if there are more, the whole batch is


def mapped_in(file: PinnedFile, lifting: Lifting, wanted: Wanted,
              groups: Mapping[int, int] | None = None, only: Only | None = None) -> Iterator[tuple[Members, Law]]:
    """The records of a file in batches, and what decodes one of a batch by itself; of Parquet all row groups and rows, or some.

    Raises:
        OfsError: as `foreign_segments.lifted`.
    """
    fixed = lifting.fixed(file.relative)
    if is_table(file.relative):
        batches: Iterator[Mapping[str, pa.Array]] = foreign_columns(file, lifting, groups)
        for batch in batches if only is None else only(batches):
            yield members_of_mapped_columns(batch, lifting, fixed, wanted), law_of_foreign_columns(batch, lifting, fixed)
        return
    with unchanged(file):
        for block in read_blocks(file.path, packing=packing_of(file.relative)):
            lines = written_lines(block)
            yield members_of_mapped_documents(lines, lifting, fixed, wanted), law_of_foreign_lines(lines, lifting, fixed)


def law_of_foreign_lines(lines: Lines, lifting: Lifting, fixed: Mapping[str, Any]) -> Law:
    """What decodes one line of some."""
    return lambda row: _decoded(line_document(lines.line(row)), lifting, fixed)


def law_of_foreign_columns(columns: Mapping[str, pa.Array], lifting: Lifting, fixed: Mapping[str, Any]) -> Law:
    """What decodes one row of some columns."""
    taken = 0
    whole: list[list[Any]] = []

    def law(row: int) -> Standing:
        nonlocal taken
        taken += 1
        if taken == _FEW:
            whole.extend(map(values_of, columns.values()))
        values = [column[row] for column in whole] if whole else [values_of(one.slice(row, 1))[0] for one in columns.values()]
        return _decoded(dict(zip(columns, values, strict=True)), lifting, fixed)
    return law


def _decoded(document: Mapping[str, Any] | None, lifting: Lifting, fixed: Mapping[str, Any]) -> Standing:
    return standing_of(None if document is None else lifted_document(document, lifting, fixed))
