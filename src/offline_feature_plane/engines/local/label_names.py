"""What assertions are called and which they supersede, as 64-bit words: ids are read once, and never Python objects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.engines.local.label_columns import AssertionColumns
from offline_feature_plane.kernels.sketching import UInt64s, write_words
from offline_feature_plane.kernels.timelines import find_linked, find_twice, new_table

if TYPE_CHECKING:
    from offline_feature_plane.engines.local.label_steps import Eligible

__all__ = ["Links", "Names", "find_links", "is_there", "words_of"]

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]

_PIECE = 1 << 20


def words_of(texts: pa.Array) -> UInt64s:
    """`domain.label_sketch.fold_text` of each text: equal where texts are; two different ones hardly ever share one."""
    words = np.empty(len(texts), np.uint64)
    for start in range(0, len(texts), _PIECE):
        part = texts.slice(start, _PIECE).cast(pa.large_string())
        data, offsets = part.buffers()[2], np.frombuffer(part.buffers()[1], np.int64)[part.offset:part.offset + len(part) + 1]
        write_words(words[start:start + len(part)], offsets, np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8),
                    is_there(part))
    return words


def is_there(texts: pa.Array) -> Bools:
    """Which texts are not missing."""
    return texts.is_valid().to_numpy(zero_copy_only=False) if texts.null_count else np.ones(len(texts), np.bool_)


@dataclass(frozen=True)
class Names:
    """Words of the ids of assertions and of what they supersede, row by row; None: not mapped."""

    ids: UInt64s | None
    supersedes: UInt64s | None

    @classmethod
    def of(cls, columns: AssertionColumns) -> Names:
        """The names in some columns."""
        with ThreadPoolExecutor(2) as pool:
            return cls(*pool.map(lambda texts: None if texts is None else words_of(texts), (columns.ids, columns.supersedes)))


@dataclass(frozen=True)
class Links:
    """How some assertions hang together, by their places.

    `twice` marks those whose id another one of their subject has. The assertion at `link[i]` supersedes the one at `target[i]`; those at
    `adrift` supersede what is not among them.
    """

    twice: Bools
    link: Int64s
    target: Int64s
    adrift: Int64s


def find_links(kept: Eligible, columns: AssertionColumns, names: Names) -> Links:
    """The links among some assertions, those of one subject side by side."""
    n, none = len(kept.row), np.empty(0, np.int64)
    twice = np.zeros(n, np.bool_)
    links = none if columns.supersedes is None else np.flatnonzero(is_there(columns.supersedes)[kept.row])
    if columns.ids is None or names.ids is None:  # nothing can be named
        return Links(twice, none, none, links)
    beside = kept.position[1:] == kept.position[:-1]
    asked = np.zeros(n, np.bool_)  # whoever is alone could only name itself
    asked[1:] |= beside
    asked[:-1] |= beside
    asked[links] = True
    rows = np.flatnonzero(asked & is_there(columns.ids)[kept.row])
    table, words = new_table(len(rows)), names.ids[kept.row]
    find_twice(kept.position, words, rows, table, twice)
    if names.supersedes is None or not len(links):
        return Links(twice, none, none, links)
    target = np.empty(len(links), np.int64)
    find_linked(kept.position, words, names.supersedes[kept.row], links, table, target)
    found = target >= 0
    return Links(twice, links[found], target[found], links[~found])
