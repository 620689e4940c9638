"""Columns of lists, from a column for each of their places, as texts over a dictionary of their own.

That dictionary has wide offsets: the distinct lists of one block may take more than 2 GiB, though a column of a leaf may not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.domain.aggregations import aggregation_kind
from offline_feature_plane.domain.closure import Feature, Group
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.list_texts import item_text
from offline_feature_plane.engines.local.events import Values
from offline_feature_plane.engines.local.lowering import as_arrow, as_numpy
from offline_feature_plane.engines.local.texts import find_text, insert_text

__all__ = ["EMPTY", "fill", "is_list", "part_name", "spell_lists"]

Bools = npt.NDArray[np.bool_]
#: In place of a part: the column that says where `empty:` applies.
EMPTY = -1


def is_list(feature: Feature) -> bool:
    """Does it give texts that spell values?"""
    return aggregation_kind(feature.aggregation.function).spells_values


def part_name(feature: Feature, place: int) -> str:
    """The name of the column of one place; no other column has it."""
    return f"{feature.column} {place}"


def spell_lists(columns: Mapping[str, Values], groups: Sequence[Group]) -> dict[str, Values]:
    """The columns with lists in place of their parts, of the same rows."""
    found = dict(columns)
    for feature in (feature for group in groups for feature in group.features if is_list(feature)):
        parts = [found.pop(part_name(feature, place)) for place in range(feature.aggregation.most or 0)]
        values = _spelled(parts)
        if feature.empty is not None:
            at, there = find_text(values.dictionary, feature.empty)
            stand_in = at, None if there else insert_text(values.dictionary, at, feature.empty)
            values = fill(values, found.pop(part_name(feature, EMPTY)).data != 0, stand_in)
        found[feature.column] = values
    return found


def fill(values: Values, empty: Bools, stand_in: tuple[int, pa.Array | None]) -> Values:
    """A column of texts with one in place of some nulls: the place of that text, and a dictionary that has it if the column's has not."""
    at, widened = stand_in
    codes = values.data if widened is None else values.data + (values.data >= at)
    return Values(values.type, np.where(empty, at, codes).astype(np.int32), None if values.valid is None else values.valid | empty,
                  values.dictionary if widened is None else widened)


def _spelled(parts: Sequence[Values]) -> Values:
    """Each row's values, up to the first null, as one text; null where there are none. Every list is joined once."""
    rows = len(parts[0].data)
    lists = np.zeros(rows, np.int32)
    for part in parts:
        data = part.data if part.valid is None else np.where(part.valid, part.data, 0)
        known = np.ones(rows, np.bool_) if part.valid is None else part.valid
        codes, _ = _encode(data.view(np.int64) if data.dtype == np.float64 else data)
        lists, _ = _encode(lists.astype(np.int64) << 32 | (codes.astype(np.int64) << 1 | known))
    lists, count = _encode(lists)
    row = np.empty(count, np.int64)
    row[lists[::-1]] = np.arange(rows - 1, -1, -1)
    texts = _joined(parts, row)
    order = as_numpy(pc.sort_indices(texts), np.uint64).view(np.int64)
    rank = np.empty(count, np.int32)
    rank[order] = np.arange(count, dtype=np.int32)
    return Values(ColumnType("string"), rank[lists], parts[0].valid, texts.take(as_arrow(order)))


def _encode(numbers: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int32], int]:
    """Codes in the order of first occurrence, and how many there are."""
    found = pa.array(numbers).dictionary_encode()
    return as_numpy(found.indices, np.int32), len(found.dictionary)


def _joined(parts: Sequence[Values], rows: npt.NDArray[np.int64]) -> pa.Array:
    """The lists of some rows as texts, as `list_text` spells them; every value is spelled once."""
    known = [np.ones(len(rows), np.bool_) if part.valid is None else part.valid[rows] for part in parts]
    values = pa.array(np.concatenate([part.data[rows] for part in parts]), mask=~np.concatenate(known)).dictionary_encode()
    kind, texts = parts[0].type, parts[0].dictionary
    distinct = values.dictionary if texts is None else texts.take(values.dictionary)
    items = pa.array([item_text(value, kind) for value in distinct.to_pylist()], pa.large_string()).take(values.indices)
    first, *others = (items.slice(place * len(rows), len(rows)) for place in range(len(parts)))
    # Arrow leaves out a row of nothing but nulls.
    inside = pc.binary_join_element_wise(first.fill_null(""), *others, _wide(","), null_handling="skip")
    return pc.binary_join_element_wise(_wide("["), inside, _wide("]"), _wide(""))


def _wide(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())
