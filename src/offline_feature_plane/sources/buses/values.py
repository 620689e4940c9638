"""Values of a bus decoded many at a time, as `sources.buses.envelopes` decodes each of them (`docs/decisions/0042`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.sources.buses.envelopes import MOST_VALUE_BYTES, Held, Lane, decode_value, stored_value
from offline_feature_plane.sources.decoding.batches import ENVELOPE, Expected, Members, members_of_documents, settle
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.stored import Rows, Writing
from offline_feature_plane.sources.decoding.stored_cells import rows_of_batch
from offline_feature_plane.sources.decoding.wanted import Wanted

__all__ = ["decode_values", "rows_of_values"]

_NOTHING = Wanted(())

_FIRST_US, _LAST_US = (parse_instant(text) for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"))
_MOST: Final = 1 << 63  # numbers that int64 does not hold stay Python's


def decode_values(lane: Lane, held: Sequence[Held], wanted: Wanted) -> Decoded:
    """The values of a batch, in their order; of payloads that are usual only what is wanted is found."""
    return _decoded(lane, held, wanted)[1]


def rows_of_values(lane: Lane, held: Sequence[Held], writing: Writing) -> Rows:
    """The values of a batch as an archive has them, as `envelopes.stored_value` has each of them."""
    members, batch = _decoded(lane, held, _NOTHING)
    return rows_of_batch(members, batch, writing, lambda row: stored_value(lane, held[row]), is_placed=False)


def _decoded(lane: Lane, held: Sequence[Held], wanted: Wanted) -> tuple[Members, Decoded]:
    documents = [b"" if one.value is None or len(one.value) > MOST_VALUE_BYTES else one.value for one in held]
    sizes = np.fromiter(map(len, documents), np.int64, len(documents))
    stops = np.cumsum(sizes)
    members = members_of_documents(np.frombuffer(b"".join([*documents, b"\n"]), np.uint8), stops - sizes, stops, ENVELOPE, wanted)
    is_placed = np.fromiter((one.log_us is not None and _FIRST_US <= one.log_us <= _LAST_US for one in held), np.bool_, len(held))
    log_us = np.fromiter((one.log_us if usable else 0 for one, usable in zip(held, is_placed.tolist(), strict=True)), np.int64, len(held))
    members.status[~is_placed] = 1

    def law(row: int) -> Record | None:
        found = decode_value(lane, held[row])
        return found if isinstance(found, Record) else None

    numbers = np.array([one.number for one in held], np.int64 if all(one.number < _MOST for one in held) else object)
    decoded, refused = settle(members, Expected(*lane), law, coordinates=(numbers, log_us))
    if refused is not None:
        raise refused.error
    deletions = np.fromiter((one.value is None for one in held), np.bool_, len(held))
    return members, replace(decoded, numbers=numbers, deletions=deletions if deletions.any() else None)
