"""Key codes: one dense integer per value of a group's key, over all events at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.closure import Group
from offline_feature_plane.engines.local.events import Events, Values
from offline_feature_plane.engines.local.texts import share_dictionary

__all__ = ["Codes", "encode", "encode_keys", "mix", "parts_of"]

Codes = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
_MIX, _NULL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
_SPARSE = 4  # a table of places is worth its memory up to so many places per value


def encode_keys(events: Events, group: Group, place: int, subject: str) -> tuple[Codes, int]:
    """The key of every position that can be an event or a row of a group.

    `place` is the index of the group's source. Rows of another source than the group's bring the subject's fields of the same names.
    Under `null_key: skip` a key with a null has no code (−1); under `group` null is a value like any other (`decisions.md` D29).

    Returns:
        int32[N] codes, and a number that all of them are below.
    """
    nulls_count = group.null_key == "group"
    codes, count = encode(key_field(events, group, place, subject, group.key[0]), nulls_count=nulls_count)
    for name in group.key[1:]:
        more, size = encode(key_field(events, group, place, subject, name), nulls_count=nulls_count)
        wide = codes.astype(np.int64) * max(size, 1) + more
        codes, count = _condense(wide, (codes >= 0) & (more >= 0))
    return codes, count


def key_field(events: Events, group: Group, place: int, subject: str, name: str) -> Values:
    """One field of the key: the group's at its own events, the subject's elsewhere."""
    own = events.fields[group.source, name]
    if subject == group.source:
        return own
    asked = events.fields[subject, name]
    here: Bools = events.source == place
    mine, theirs, texts = own.data, asked.data, own.dictionary
    if own.type.kind == "string":
        (mine, theirs), texts = share_dictionary([(_codes(own), own.dictionary), (_codes(asked), asked.dictionary)])
    everywhere: Bools = np.ones(events.n, dtype=np.bool_)
    known = np.where(here, everywhere if own.valid is None else own.valid, everywhere if asked.valid is None else asked.valid)
    return Values(own.type, np.where(here, mine, theirs), known, texts)


def parts_of(events: Events, group: Group, place: int, subject: str, parts: int) -> npt.NDArray[np.uint64]:
    """The part of the keys, of so many, that the key of every event or row belongs to, whatever events stand beside it."""
    mixed = np.zeros(events.n, dtype=np.uint64)
    for name in group.key:
        mixed = mix(mixed, key_field(events, group, place, subject, name))
    return mixed % np.uint64(parts)


def mix(mixed: npt.NDArray[np.uint64], values: Values) -> npt.NDArray[np.uint64]:
    """Numbers that depend on each event's value too, equal where values are."""
    plain = values.data + 0.0 if values.data.dtype == np.float64 else values.data.astype(np.int64)
    bits = plain.view(np.uint64)
    if values.valid is not None:
        bits = np.where(values.valid, bits, _NULL)
    mixed = (mixed ^ bits) * _MIX
    return mixed ^ (mixed >> np.uint64(32))


def _codes(values: Values) -> Codes:
    return values.data.astype(np.int32, copy=False)


def encode(values: Values, *, nulls_count: bool) -> tuple[Codes, int]:
    """Codes of one field: dictionary codes of texts, dense codes of anything else; null −1, or a code of its own."""
    if values.type.kind == "string":
        codes, count = _codes(values), 0 if values.dictionary is None else len(values.dictionary)
        if values.valid is not None:
            codes = np.where(values.valid, codes, np.int32(-1))
    else:
        codes, count = _condense(values.data, values.valid)
    if nulls_count and values.valid is not None:
        return np.where(codes < 0, np.int32(count), codes), count + 1
    return codes, count


def _condense(data: npt.NDArray[Any], valid: Bools | None) -> tuple[Codes, int]:
    """Dense codes, −1 where null: through a table of places if the values lie close together, else through a hash."""
    if valid is not None and valid.all():
        valid = None
    if data.dtype == np.int64 and len(data):
        known = data if valid is None else data[valid]
        low, high = (int(known.min()), int(known.max())) if len(known) else (0, 0)
        if high - low < _SPARSE * len(data) + 1024:
            seen: Bools = np.zeros(high - low + 1, dtype=np.bool_)
            seen[known - low] = True
            rank = np.cumsum(seen, dtype=np.int32) - np.int32(1)
            if valid is None:
                return rank[data - low], int(rank[-1]) + 1
            codes: Codes = np.full(len(data), -1, dtype=np.int32)
            codes[valid] = rank[known - low]
            return codes, int(rank[-1]) + 1
    encoded = pa.array(data, mask=None if valid is None else ~valid).dictionary_encode()
    found: Codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int32, copy=False)
    return found, len(encoded.dictionary)
