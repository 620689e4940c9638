"""Values of a bus as records: each is an event's envelope as one JSON object, the coordinate and the log's time are the bus's.

Required: `platform_run_id`, `event_type`, `event_id`, `ts_utc`, `schema_version` (texts) and `payload` (an object, or null for a deletion);
`scenario_run_id` may be there. What else an envelope carries is not the event (`decisions.md` D15).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from offline_feature_plane.domain.admission import Record, decode_stored
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import ResourceExceeded, SchemaInvalid
from offline_feature_plane.sources.decoding.stored import Stored
from offline_feature_plane.sources.logs.stretches import Undecodable
from offline_feature_plane.text_files import load_object

__all__ = ["ENVELOPE", "MOST_VALUE_BYTES", "Held", "Lane", "decode_value", "read_envelope", "stored_value"]

ENVELOPE: Final = ("platform_run_id", "event_type", "event_id", "ts_utc", "schema_version", "payload")
MOST_VALUE_BYTES: Final = 16_000_000  # its line in an archive has a coordinate, too, and must not be longer than a line may be


class Lane(NamedTuple):
    """Which partition values come from, and how its offsets count."""

    topic: str
    partition: int
    offset_kind: str


class Held(NamedTuple):
    """What a bus holds at one offset: bytes, or None for a deletion; and the log's time, None if it has none."""

    number: int
    value: bytes | None
    log_us: int | None


def decode_value(lane: Lane, held: Held) -> Record | Undecodable:
    """A value as a record of a topic. No value whatever is an error: one that is no envelope is undecodable, none is a deletion."""
    found = stored_value(lane, held)
    return found.record or Undecodable(found.number, found.reason or "undecodable")


def stored_value(lane: Lane, held: Held) -> Stored:
    """A value with every member as it is stored; never an error."""
    if held.value is None:
        return Stored(held.number, None, reason="null_value")
    envelope = read_envelope(held.value)
    undecodable = Stored(held.number, None, reason="undecodable", value=held.value)
    if envelope is None or held.log_us is None:
        return undecodable
    try:
        log_time = format_instant(held.log_us)
    except (ValueError, OverflowError):  # a producer's clock that is beyond every calendar
        return undecodable
    run, kind, event_id, moment, version, payload = (envelope[name] for name in ENVELOPE)
    scenario = envelope.get("scenario_run_id")
    members = (*lane, str(held.number), run, scenario, kind, event_id, moment, version, payload, None, None, log_time)
    record = decode_stored(*members)
    return undecodable if record is None else Stored(held.number, record, members)


def read_envelope(value: bytes) -> dict[str, Any] | None:
    """The object that a value is, if it is one and has all members of an envelope. Strict: no repeated keys, no NaN, no other text."""
    if len(value) > MOST_VALUE_BYTES:
        return None
    try:
        found = load_object(value)
    except (SchemaInvalid, ResourceExceeded):
        return None
    return found if all(name in found for name in ENVELOPE) else None
