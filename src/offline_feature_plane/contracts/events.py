"""Events as they are archived, and as sources hand them to engines (`domain.md` §1.5, `decisions.md` D15).

An archived record (`learning.archive_event_record.v1`) is flat: coordinates, the envelope's identity, the payload, its hash with the recipe
beside it, and two clocks. In Parquet segments `payload` is JSON text; in JSON Lines it is an object. A null payload is a deletion mark.
"""

from __future__ import annotations

from offline_feature_plane.domain.admission import MEMBERS

EVENT_RECORD_SCHEMA = "learning.archive_event_record.v1"

# What precedes the typed fields in the batches of a record slice; `arrival` is the running maximum of the log's time (`domain.visibility`).
RECORD_COLUMNS = ("event_id", "ts", "partition", "offset", "payload_hash", "arrival")

# The same where records are scanned: with what kind of event each is (texts of a dictionary) and its place among all that were read, and
# `payload_hash` as its 32 bytes.
SCANNED_COLUMNS = ("event_type", "event_id", "ts", "partition", "offset", "position", "payload_hash", "arrival")

# Every member of an archived record, in the order of Parquet columns. All are text but `partition` (int32) and, in JSON Lines, `payload`.
STORED_COLUMNS = (*MEMBERS, "archived_at_utc")
