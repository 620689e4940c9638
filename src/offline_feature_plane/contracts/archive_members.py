"""How the records of another tool's archive are read: a closed mapping from our members to theirs (`records:` of an archive)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from offline_feature_plane.contracts.model import Contract, Text, shown
from offline_feature_plane.domain.basis import OFFSET_KINDS
from offline_feature_plane.domain.foreign_records import V0, Place, Unit

__all__ = ["RecordMembers", "Records"]

Number = Annotated[int, Field(ge=0, lt=2**31)]


class MemberPlace(Contract):
    """Where a member is found: in the record, in the path, or nowhere, since all records share it. A plain text names a member."""

    member: Text | None = Field(None, description="A member of the record, or a column; what lies inside of it after a dot.")
    folder: Text | None = Field(None, description="The NAME of a folder `NAME=value` on the segment's path.")
    value: Text | Number | None = Field(None, description="One value for all records.")
    unit: Unit | None = Field(None, description="What a time counts that is a number: `s`, `ms` or `us` since 1970.")

    @model_validator(mode="after")
    def _one_place(self) -> MemberPlace:
        if sum(one is not None for one in (self.member, self.folder, self.value)) != 1:
            raise ValueError("say where it is found: `member`, `folder` or `value`, and only one of them")
        if self.unit is not None and self.member is None:
            raise ValueError("only a time in the record can be counted in a unit")
        return self

    def place(self) -> Place:
        """As the reader takes it."""
        return Place(None if self.member is None else tuple(self.member.split(".")), self.folder, self.value, self.unit)


def _as_place(written: Any) -> Any:
    return {"member": written} if isinstance(written, str) else written


def _as_members(written: Any) -> Any:
    """The forms that have a name, written out."""
    if not isinstance(written, str):
        return written
    if written != "v0":
        raise ValueError(f"{shown(written)} is no known form of records; write v0, or a mapping that says where the members are found")
    return {name: {"value": place.value} if place.path is None else ".".join(place.path) for name, place in V0.items()}


Written = Annotated[MemberPlace, BeforeValidator(_as_place, json_schema_input_type=str | MemberPlace)]


class RecordMembers(Contract):
    """Where each member of an archived record is found in the records of another tool."""

    partition: Written = Field(description="The partition.")
    offset: Written = Field(description="The offset, as a number or its digits.")
    event_id: Written = Field(description="The event's id.")
    ts_utc: Written = Field(description="When it happened.")
    log_time_utc: Written = Field(description="The log's own time of the record: Kafka's timestamp, or when it was archived.")
    topic: Written | None = Field(None, description="The topic; default: all records are of the archive's own.")
    offset_kind: Written | None = Field(None, description="Which algebra the offsets follow; default: `kafka_offset`.")
    platform_run_id: Written | None = Field(None, description="The run; default: all records are of the plane's own.")
    scenario_run_id: Written | None = Field(None, description="The scenario run; default: none.")
    event_type: Written | None = Field(None, description="The type of event; default: all events are named like the topic.")
    schema_version: Written | None = Field(None, description="The version of the payload's schema; where there is none: `unversioned`.")
    payload: Written | None = Field(None, description="The payload, an object or its JSON text; default: every member that is not the "
                                                      "topic, the partition, the offset, its kind or the log's time, and not null.")
    payload_hash: Written | None = Field(None, description="A hash of what the record says; compared only if the recipe is ours.")
    payload_hash_recipe: Written | None = Field(None, description="The recipe of that hash.")

    @model_validator(mode="after")
    def _known_kind(self) -> RecordMembers:
        kind = None if self.offset_kind is None else self.offset_kind.value
        if kind is not None and kind not in OFFSET_KINDS:
            raise ValueError(f"offset_kind is one of {', '.join(OFFSET_KINDS)}, not {shown(kind)}")
        return self

    def places(self) -> Mapping[str, Place]:
        """Where each member is found; a member that is not named has no place."""
        written = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: one.place() for name, one in written.items() if one is not None}


Records = Annotated[RecordMembers, BeforeValidator(_as_members, json_schema_input_type=Literal["v0"] | RecordMembers)]
