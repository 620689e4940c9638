"""Messages decoded many at a time, as `envelopes` decodes each of them (`docs/decisions/0042`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.sources.decoding.batches import ENVELOPE, Expected, Members, members_of_documents, settle
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.stored_cells import rows_of_batch
from offline_feature_plane.sources.decoding.wanted import Int64s, Wanted
from offline_feature_plane.sources.kafka.bus import OFFSET_KIND, Message
from offline_feature_plane.sources.kafka.envelopes import NO_TIME, decode_message, stored_message
from offline_feature_plane.sources.stored import Rows, Writing

__all__ = ["decode_messages", "rows_of_messages"]

_NOTHING = Wanted(())

_FIRST_MS, _LAST_MS = (parse_instant(text) // 1_000 for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"))


def decode_messages(topic: str, partition: int, messages: Sequence[Message], wanted: Wanted) -> Decoded:
    """The messages of a batch, in their order; of payloads that are usual only what is wanted is found."""
    return _decoded(topic, partition, messages, wanted)[1]


def rows_of_messages(topic: str, partition: int, messages: Sequence[Message], writing: Writing) -> Rows:
    """The messages of a batch as an archive has them, as `envelopes.stored_message` has each of them."""
    members, batch = _decoded(topic, partition, messages, _NOTHING)
    return rows_of_batch(members, batch, writing, lambda row: stored_message(topic, partition, messages[row]), is_placed=False)


def _decoded(topic: str, partition: int, messages: Sequence[Message], wanted: Wanted) -> tuple[Members, Decoded]:
    values = [one.value() for one in messages]
    documents = [b"" if one is None or len(one) > MAX_DOCUMENT_BYTES else one for one in values]
    sizes = np.fromiter(map(len, documents), np.int64, len(documents))
    stops = np.cumsum(sizes)
    members = members_of_documents(np.frombuffer(b"".join([*documents, b"\n"]), np.uint8), stops - sizes, stops, ENVELOPE, wanted)
    log_us, is_placed = _log_times(messages)
    members.status[~is_placed] = 1

    def law(row: int) -> Record | None:
        found = decode_message(topic, partition, messages[row])
        return found if isinstance(found, Record) else None

    offsets = np.fromiter((one.offset() for one in messages), np.int64, len(messages))
    decoded, refused = settle(members, Expected(topic, partition, OFFSET_KIND), law, coordinates=(offsets, log_us))
    if refused is not None:
        raise refused.error
    deletions = np.fromiter((one is None for one in values), np.bool_, len(values))
    return members, replace(decoded, numbers=offsets, deletions=deletions if deletions.any() else None)


def _log_times(messages: Sequence[Message]) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """The log times of messages in µs, and which of them have one."""
    told = np.array([one.timestamp() for one in messages], np.int64).reshape(-1, 2)
    is_placed = (told[:, 0] != NO_TIME) & (told[:, 1] >= _FIRST_MS) & (told[:, 1] <= _LAST_MS)
    return np.where(is_placed, told[:, 1], 0) * 1_000, is_placed
