"""The index of a record archive, `index.json` (`learning.archive_segment_index.v1`): the chain of segments that proves completeness."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from offline_feature_plane.domain.basis import offset_number
from offline_feature_plane.errors import BasisUnresolved, SourceUnreadable

ARCHIVE_INDEX_SCHEMA: Literal["learning.archive_segment_index.v1"] = "learning.archive_segment_index.v1"

Text = Annotated[str, Field(min_length=1, max_length=512)]
Offset = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,127})$")]


class IndexedSegment(BaseModel):
    """One segment: it covers `[first_offset, next_offset)` of one partition of one log; `last_offset` is its last record's.

    A file that holds several stretches, of several partitions or with holes between, has an entry for each; all have its digest and size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    topic: Text
    partition: Annotated[int, Field(ge=0, lt=1 << 31)]
    offset_kind: Literal["file_line", "kafka_offset", "kinesis_sequence"]
    log_id: Text
    path: Text
    first_offset: Offset
    last_offset: Offset | None
    next_offset: Offset
    record_count: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    first_log_time_utc: str | None
    last_log_time_utc: str | None
    dispositions: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    evidence: Literal["archiver", "files", "declared"] = Field(
        "archiver", description="Who says that nothing is missing between its records: the archiver who read the log; the files, whose "
                                "offsets leave no hole; or whoever declared that the holes are lawful.")
    etag: Text | None = Field(None, description="The bucket's own name for the file's bytes.")
    mapping: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = Field(
        None, description="The digest of the mapping (`records` of the archive in plane.yaml) that its file was read with to make this "
                          "entry; none: its records are of our own form, or an archiver read the log.")

    @model_validator(mode="after")
    def _coherent(self) -> IndexedSegment:
        try:
            first, end = offset_number(self.offset_kind, self.first_offset), offset_number(self.offset_kind, self.next_offset)
        except BasisUnresolved as wrong:
            raise ValueError(wrong.what.removesuffix(".")) from wrong
        last = None if self.last_offset is None else int(self.last_offset)
        if not first < end:
            raise ValueError(f"[{first}, {end}) covers nothing: next_offset is the first offset after the segment")
        if last is not None and not first <= last < end:
            raise ValueError(f"last_offset {last} does not lie in [{first}, {end})")
        if (last is None) != (self.record_count == 0):
            raise ValueError(f"{self.record_count} records and last_offset {last} exclude each other: it is null where there are none")
        if self.offset_kind != "kinesis_sequence" and self.record_count > end - first:
            raise ValueError(f"[{first}, {end}) has no room for {self.record_count} records")
        return self


class ArchiveIndex(BaseModel):
    """All segments of one archive folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["learning.archive_segment_index.v1"] = ARCHIVE_INDEX_SCHEMA
    segments: tuple[IndexedSegment, ...]


def read_index(document: Any, name: str) -> ArchiveIndex:
    """Check a parsed index.

    Raises:
        SourceUnreadable: it breaks its schema; every problem is named.
    """
    try:
        return ArchiveIndex.model_validate(document)
    except ValidationError as wrong:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the document'}: {one['msg']}" for one in wrong.errors()[:10])
        raise SourceUnreadable(f"{name} is not a valid {ARCHIVE_INDEX_SCHEMA}: {problems}.", path=name,
                               fix="Make the index again from the segments: `ofs archive index`.") from wrong
