"""One archived event, `learning.archive_event_record.v1`, as a model: what an archiver must write (`domain.md` §1.5, `decisions.md` D15).

Reading millions of records goes through `domain.admission.decode`, which accepts exactly what this model accepts.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from offline_feature_plane.contracts.model import Contract
from offline_feature_plane.domain.basis import offset_number
from offline_feature_plane.domain.instants import parse_offset_instant
from offline_feature_plane.errors import BasisUnresolved


def _instant(text: str) -> str:
    parse_offset_instant(text)  # raises ValueError with a sentence
    return text


Filled = Annotated[str, Field(min_length=1)]
InstantText = Annotated[str, AfterValidator(_instant)]


class ArchiveEventRecord(Contract):
    """Coordinates, the envelope's identity, the payload, its hash with the recipe beside it, and two clocks. A null payload deletes."""

    topic: Filled = Field(description="The topic of the log.")
    partition: Annotated[int, Field(ge=0, lt=2**31)] = Field(description="The partition of the topic.")
    offset_kind: Literal["file_line", "kafka_offset", "kinesis_sequence"] = Field(description="Which algebra the offset follows.")
    offset: Filled = Field(description="Where the record stands in its partition, as text.")
    platform_run_id: Filled = Field(description="The run that the event belongs to; others are counted as foreign_run.")
    scenario_run_id: Filled | None = Field(None, description="The scenario run, if there is one.")
    event_type: Filled = Field(description="What kind of event; the profile's sources name the types they admit.")
    event_id: Filled = Field(description="The event's id, unique within run and type.")
    ts_utc: InstantText = Field(description="When it happened, RFC 3339 with an offset.")
    schema_version: Filled = Field(description="The version of the payload's schema.")
    payload: dict[str, JsonValue] | None = Field(description="What it says; in Parquet segments JSON text.")
    payload_hash: str | None = Field(None, description="The hash of what it says, by the recipe beside it.")
    payload_hash_recipe: str | None = Field(None, description="ofs.event_hash.v1 is checked; others are recorded, not compared.")
    log_time_utc: InstantText = Field(description="The log's own time of the record; time selectors speak of it.")
    archived_at_utc: Any = Field(None, description="When it was archived; for people.")

    @model_validator(mode="after")
    def _offset_of_its_kind(self) -> ArchiveEventRecord:
        try:
            offset_number(self.offset_kind, self.offset)
        except BasisUnresolved as wrong:
            raise ValueError(wrong.what) from None
        return self
