"""`domain.assertion_ids` over columns: ids are compared by 64-bit words, so that their texts are never Python objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.assertion_ids import shared_id
from offline_feature_plane.engines.local.label_columns import AssertionColumns
from offline_feature_plane.engines.local.label_sketches import words_of
from offline_feature_plane.ports.inputs import LabelTable

Int64s = npt.NDArray[np.int64]


def refuse_shared_ids(table: LabelTable, rows: Int64s, columns: AssertionColumns) -> None:
    """Hold the assertions at some rows against the law.

    Takes 16 bytes for each of them; more only for those whose id is not alone.

    Raises:
        LabelTimelineInconsistent: two of them about different subjects share an id.
    """
    if columns.ids is None:
        return
    if columns.ids.null_count:
        rows = rows[columns.ids.is_valid().to_numpy(zero_copy_only=False)[rows]]
    words = words_of(columns.ids, rows)
    ordered = np.sort(words)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return
    del ordered
    place = np.minimum(np.searchsorted(repeated, words), len(repeated) - 1)
    several = repeated[place] == words
    for first, other in _pairs(rows[several], words[several], columns.subjects):
        name, again = (columns.ids[row].as_py() for row in (first, other))
        if name == again:  # else two texts have one word
            raise shared_id(table.label_type, name, [_subject(columns, row) for row in (first, other)],
                            [table.place(row) for row in (first, other)])


def _pairs(rows: Int64s, words: npt.NDArray[np.uint64], subjects: Int64s | pa.Array) -> list[tuple[int, int]]:
    """Rows of one word about different subjects: the first row of the word, and each later one about another; by the later one."""
    order = np.lexsort((rows, words))
    rows, words = rows[order], words[order]
    about = subjects[rows].view(np.uint64) if isinstance(subjects, np.ndarray) else words_of(subjects, rows)
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = words[1:] != words[:-1]
    start = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    strange = np.flatnonzero(about != about[start])
    strange = strange[np.argsort(rows[strange], kind="stable")]
    return list(zip(rows[start[strange]].tolist(), rows[strange].tolist(), strict=True))


def _subject(columns: AssertionColumns, row: int) -> Any:
    found = columns.subjects[row]
    return int(found) if isinstance(columns.subjects, np.ndarray) else found.as_py()
