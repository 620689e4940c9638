"""Messages as records: the value is an event's envelope as one JSON object, the coordinate and the log's time are the broker's.

Required: `platform_run_id`, `event_type`, `event_id`, `ts_utc`, `schema_version` (texts) and `payload` (an object, or null for a deletion);
`scenario_run_id` may be there. What else an envelope carries is not the event (`decisions.md` D15).
"""

from __future__ import annotations

from typing import Any, Final

from offline_feature_plane.domain.admission import Record, decode_stored
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import ResourceExceeded, SchemaInvalid
from offline_feature_plane.sources.kafka.bus import OFFSET_KIND, Message
from offline_feature_plane.sources.stored import Stored
from offline_feature_plane.sources.stretches import Undecodable
from offline_feature_plane.text_files import load_object

__all__ = ["ENVELOPE", "NO_TIME", "decode_message", "read_envelope", "stored_message"]

ENVELOPE: Final = ("platform_run_id", "event_type", "event_id", "ts_utc", "schema_version", "payload")

NO_TIME: Final = 0  # the kind of a timestamp that is none


def decode_message(topic: str, partition: int, message: Message) -> Record | Undecodable:
    """A message as a record of a topic. No value whatever is an error: one that is no envelope is undecodable, none is a deletion."""
    found = stored_message(topic, partition, message)
    return found.record or Undecodable(found.number, found.reason or "undecodable")


def stored_message(topic: str, partition: int, message: Message) -> Stored:
    """A message with every member as it is stored; never an error."""
    offset, value = message.offset(), message.value()
    if value is None:
        return Stored(offset, None, reason="null_value")
    clock, time_ms = message.timestamp()
    envelope = read_envelope(value)
    undecodable = Stored(offset, None, reason="undecodable", value=value)
    if envelope is None or clock == NO_TIME:
        return undecodable
    try:
        log_time = format_instant(time_ms * 1_000)
    except (ValueError, OverflowError):  # a producer's clock that is beyond every calendar
        return undecodable
    run, kind, event_id, moment, version, payload = (envelope[name] for name in ENVELOPE)
    members = (topic, partition, OFFSET_KIND, str(offset), run, envelope.get("scenario_run_id"), kind, event_id, moment, version, payload,
               None, None, log_time)
    record = decode_stored(*members)
    return undecodable if record is None else Stored(offset, record, members)


def read_envelope(value: bytes) -> dict[str, Any] | None:
    """The object that a value is, if it is one and has all members of an envelope. Strict: no repeated keys, no NaN, no other text."""
    try:
        found = load_object(value)
    except (SchemaInvalid, ResourceExceeded):
        return None
    return found if all(name in found for name in ENVELOPE) else None
