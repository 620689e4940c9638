"""`domain.assertion_ids` over columns: ids are compared by 64-bit words, so that their texts are never Python objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.assertion_ids import shared_id
from offline_feature_plane.engines.local.label_columns import AssertionColumns
from offline_feature_plane.engines.local.label_names import Names, is_there, words_of
from offline_feature_plane.kernels.timelines import find_twice, new_table
from offline_feature_plane.ports.inputs import LabelTable

Int64s = npt.NDArray[np.int64]


def refuse_shared_ids(table: LabelTable, rows: Int64s, columns: AssertionColumns, names: Names) -> None:
    """Hold some assertions against the law; `rows` are their places in the files.

    Takes some 12 bytes for each of them; more only for those whose id is not alone.

    Raises:
        LabelTimelineInconsistent: two of them about different subjects share an id.
    """
    if columns.ids is None or names.ids is None:
        return
    there, twice = np.flatnonzero(is_there(columns.ids)), np.zeros(len(rows), np.bool_)
    if not find_twice(np.zeros(len(rows), np.int64), names.ids, there, new_table(len(there)), twice):
        return
    several = np.flatnonzero(twice)
    for first, other in _pairs(several, rows[several], names.ids[several], columns.subjects):
        name, again = (columns.ids[at].as_py() for at in (first, other))
        if name == again:  # else two texts have one word
            raise shared_id(table.label_type, name, [_subject(columns, at) for at in (first, other)],
                            [table.place(int(rows[at])) for at in (first, other)], entity_field=table.entity_field)


def _pairs(places: Int64s, rows: Int64s, words: npt.NDArray[np.uint64], subjects: Int64s | pa.Array) -> list[tuple[int, int]]:
    """Places of one word about different subjects: that of its first row, and each of a later one about another; by the later one."""
    order = np.lexsort((rows, words))
    places, rows, words = places[order], rows[order], words[order]
    about = subjects[places].view(np.uint64) if isinstance(subjects, np.ndarray) else words_of(subjects.take(pa.array(places)))
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = words[1:] != words[:-1]
    start = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    strange = np.flatnonzero(about != about[start])
    strange = strange[np.argsort(rows[strange], kind="stable")]
    return list(zip(places[start[strange]].tolist(), places[strange].tolist(), strict=True))


def _subject(columns: AssertionColumns, place: int) -> Any:
    found = columns.subjects[place]
    return int(found) if isinstance(columns.subjects, np.ndarray) else found.as_py()
