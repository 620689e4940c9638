"""Columns of texts, or bytes, that hold JSON objects: what lies inside of them, many at a time (`domain.foreign_records`).

```
   value  {"event_id": "a", "payload": {"x": 1}}      value.event_id ──▶ a        value.payload ──▶ {"x":"n:1e0"}
          {"event_id":                                ──▶ for the law, which says that it is no object
```
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES
from offline_feature_plane.kernels.envelopes import read_payloads
from offline_feature_plane.kernels.json_kinds import ABSENT, ESCAPED, OTHER, TEXT, TOLD
from offline_feature_plane.sources.decoding.batches import room
from offline_feature_plane.sources.decoding.decoded import Found, mask_of
from offline_feature_plane.sources.decoding.lines import text_places
from offline_feature_plane.sources.decoding.spelled import Spelled
from offline_feature_plane.sources.decoding.wanted import Wanted

__all__ = ["Opened", "in_bytes", "is_text", "open_texts", "tell_texts"]

Path = tuple[str, ...]

_TEXTS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary, pa.types.is_large_binary,
                 pa.types.is_binary_view, pa.types.is_fixed_size_binary)


def is_text(kind: pa.DataType) -> bool:
    """Is a column of texts, or bytes?"""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return getattr(kind, "extension_name", "") == "arrow.json" or any(one(kind) for one in _TEXTS)


def in_bytes(array: pa.Array) -> Spelled:
    """The texts of a column where they stand, whatever type of text or bytes it has; bytes that are no UTF-8 too."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    array = array.storage if isinstance(array, pa.ExtensionArray) else array
    if not pa.types.is_string(array.type):
        array = array.cast(pa.binary())
    data, starts, ends = text_places(array)
    valid = mask_of(array.is_valid())
    return Spelled(data, np.where(valid, TEXT, ABSENT).astype(np.int8), starts, ends, np.zeros(len(array), np.bool_))


@dataclass(frozen=True)
class Opened:
    """What was found inside of the texts of a column, by path from there on; `asks` are the rows that the law must see."""

    paths: Wanted
    found: Found
    asks: Any

    def at(self, path: Path) -> Spelled:
        """What lies at a path; the wanted values of payloads, and members."""
        row, here = self.paths.slot(path), self.found
        return Spelled(here.data, here.kinds[row], here.starts[row], here.ends[row], self.asks)

    def payload(self, path: Path) -> Spelled:
        """The objects at a path, told; the text of one, or what is none, is for the law."""
        said = self.at(path)
        told, asks = tell_texts(said.data, said.kinds == OTHER, said.starts, said.ends, Wanted(()))[1:]
        kinds = np.where(said.kinds == OTHER, TOLD, ABSENT).astype(np.int8)
        return Spelled(told[0], kinds, told[1], told[2], self.asks | asks | ((said.kinds != OTHER) & (said.kinds != ABSENT)))


def open_texts(texts: Spelled, paths: Collection[Path]) -> Opened:
    """Look inside of some texts for what lies at some paths; a path that goes on inside of a text there is for the law."""
    tree = Wanted.of([*paths, *(path[:end] for path in paths for end in range(1, len(path)))])
    found, _, asks = tell_texts(texts.data, texts.kinds == TEXT, texts.starts, texts.ends, tree)
    found.kinds[:, asks] = ABSENT  # what was found of them may be of half an object
    for above in {path[:end] for path in paths for end in range(1, len(path))}:
        kinds = found.kinds[tree.slot(above)]
        asks |= (kinds == TEXT) | (kinds == ESCAPED)
    return Opened(tree, found, asks)


def tell_texts(data: Any, texts: Any, starts: Any, ends: Any, wanted: Wanted) -> tuple[Found, tuple[Any, Any, Any], Any]:
    """JSON texts of objects, where there are `texts`: what is wanted of them, each told, and which are for the law."""
    begins, sizes = np.where(texts, starts, -1), np.where(texts, ends - starts, 0)
    found, told, told_starts, told_ends, spare = room(data, np.zeros(len(starts), np.int64), sizes, wanted)
    status = np.zeros(len(starts), np.uint8)
    read_payloads(data, begins, ends, *wanted.tree, told, *spare, found.kinds, found.starts, found.ends, told_starts, told_ends, status)
    return found, (told, told_starts, told_ends), (status != 0) | (sizes > MAX_DOCUMENT_BYTES)
