"""Messages of a bus decoded many at a time, as `envelopes.decode_message` decodes one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US
from offline_feature_plane.sources.decoding.batches import ENVELOPE, Expected, members_of_documents, settle
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.kafka.bus import OFFSET_KIND, Message
from offline_feature_plane.sources.kafka.envelopes import NO_TIME, decode_message

__all__ = ["decode_messages"]


def decode_messages(topic: str, partition: int, messages: Sequence[Message], wanted: Wanted) -> Decoded:
    """Some messages, at least one, as records of a topic; none of them is an error."""
    values = [message.value() for message in messages]
    numbers = np.array([message.offset() for message in messages], np.int64)
    clocks = [message.timestamp() for message in messages]
    timed = np.array([kind != NO_TIME and EARLIEST_US <= time_ms * 1_000 <= LATEST_US for kind, time_ms in clocks], np.bool_)
    log = np.array([time_ms * 1_000 if fits else 0 for (_, time_ms), fits in zip(clocks, timed.tolist(), strict=True)], np.int64)
    stops = np.array(list(accumulate(len(value) if value is not None else 0 for value in values)), np.int64)
    data = np.frombuffer(b"".join(value for value in values if value is not None), np.uint8)
    members = members_of_documents(data, np.concatenate((np.zeros(1, np.int64), stops[:-1])), stops, ENVELOPE, wanted)
    members.status[~timed] = 1

    def law(row: int) -> Record | None:
        found = decode_message(topic, partition, messages[row])
        return found if isinstance(found, Record) else None
    batch, _ = settle(members, Expected(topic, partition, OFFSET_KIND), law, coordinates=(numbers, log))
    return batch.at(numbers, np.array([value is None for value in values], np.bool_))
