"""Lines of JSON and columns of records as kernels take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.budgets import RECORD_BYTES, Budget
from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES
from offline_feature_plane.kernels.json_kinds import ABSENT, INTEGER, TEXT
from offline_feature_plane.sources.decoding.decoded import mask_of
from offline_feature_plane.sources.decoding.wanted import Bytes, Int64s
from offline_feature_plane.text_files import Packing, opened, without_mark

__all__ = ["Lines", "lines_of_binary", "placed_columns", "read_blocks", "text_places"]

_BLOCK = 4 << 20
_MOST = 65_536  # lines at a time: of those that are nearly empty there are millions in a block
_NEWLINE = 10


@dataclass(frozen=True)
class Lines:
    """Documents that stand in `data`, each from its begin to its stop."""

    data: Bytes
    begins: Int64s
    stops: Int64s

    def line(self, row: int) -> bytes:
        """One of them."""
        return self.data[self.begins[row]:self.stops[row]].tobytes()


def read_blocks(path: Path, *, packing: Packing | None = None) -> Iterator[Lines]:
    """The lines of a file, some megabytes at a time; arguments and errors as `text_files.read_lines`, whose lines are cut."""
    with opened(path, packing=packing) as stream:
        budget, rest, begins_here = Budget(path, path.stat().st_size), b"", True
        while True:
            block = stream.read(_BLOCK)
            if begins_here:
                block, begins_here = without_mark(block, path), False
            data = rest + block if rest else block
            whole = data.rfind(b"\n") + 1 if block else len(data)
            rest = data[whole:]
            if len(rest) > MAX_DOCUMENT_BYTES:  # what is left of it tells that it is too long
                budget.take(len(rest) - MAX_DOCUMENT_BYTES - 1)
                rest = rest[:MAX_DOCUMENT_BYTES + 1]
            if whole:
                found = np.frombuffer(data, np.uint8, whole)
                stops = np.flatnonzero(found == _NEWLINE) + 1
                if not len(stops) or stops[-1] < whole:
                    stops = np.append(stops, whole)
                begins = np.concatenate(([0], stops[:-1]))
                budget.take(int(np.maximum(stops - begins, RECORD_BYTES).sum()))
                for first in range(0, len(stops), _MOST):
                    yield Lines(found, begins[first:first + _MOST], stops[first:first + _MOST])
            if not block:
                return


def lines_of_binary(values: pa.Array) -> Lines:
    """The values of a binary array, which has no nulls, as documents."""
    data, begins, stops = text_places(values)
    return Lines(data, begins, stops)


def placed_columns(columns: Mapping[str, pa.Array], names: Sequence[str],
                       ) -> tuple[Bytes, npt.NDArray[np.int8], npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """The named columns side by side as `decoding.batches.Members` has them, integers by their digits: data, kinds, starts and ends.

    None if one of them is neither of texts nor of integers.
    """
    n = len(next(iter(columns.values())))
    kinds, starts, ends = np.zeros((len(names), n), np.int8), np.zeros((len(names), n), np.int64), np.zeros((len(names), n), np.int64)
    parts: list[Bytes] = []
    size = 0
    for row, name in enumerate(names):
        column, kind = columns[name], TEXT
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_integer(column.type):
            column, kind = column.cast(pa.string()), INTEGER
        if pa.types.is_null(column.type):
            continue
        if pa.types.is_string_view(column.type) or pa.types.is_large_string(column.type):
            column = column.cast(pa.string())
        if not pa.types.is_string(column.type):
            return None
        data, begins, stops = text_places(column)
        kinds[row], starts[row], ends[row] = kind, begins + size, stops + size
        if column.null_count:
            kinds[row, mask_of(column.is_null())] = ABSENT
        parts.append(data)
        size += len(data)
    return np.concatenate([*parts, np.empty(0, np.uint8)]), kinds, starts, ends


def text_places(column: pa.Array) -> tuple[Bytes, Int64s, Int64s]:
    """The texts of a column of type string or binary, of a slice no more than its own, and where each of them stands."""
    _, offsets, data = column.buffers()
    if not len(column) or data is None:
        return np.empty(0, np.uint8), *np.zeros((2, len(column)), np.int64)
    bounds: Any = np.frombuffer(offsets, np.int32)[column.offset:column.offset + len(column) + 1].astype(np.int64)
    return np.frombuffer(data, np.uint8)[bounds[0]:bounds[-1]], bounds[:-1] - bounds[0], bounds[1:] - bounds[0]
