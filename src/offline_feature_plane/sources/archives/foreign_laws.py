"""What one record of many is that other tools wrote: what `foreign_segments` makes of it by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from offline_feature_plane.domain.admission import Standing, standing_of
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.sources.archives.column_values import values_of
from offline_feature_plane.sources.archives.foreign_segments import lifted_document, line_document
from offline_feature_plane.sources.archives.stored_files import Law
from offline_feature_plane.sources.decoding.lines import Lines

__all__ = ["law_of_foreign_columns", "law_of_foreign_lines"]

_FEW = 64  # rows of a batch that are taken out of it one at a time; if there are more, the whole batch is


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
