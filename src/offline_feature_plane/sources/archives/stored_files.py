"""Files of our own form, JSON Lines and Parquet, record by record: what is stored of each, and the record that it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pyarrow as pa

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Mark, Standing, decode, decode_stored, is_null_value
from offline_feature_plane.domain.foreign_records import MEMBERS
from offline_feature_plane.errors import ResourceExceeded, SchemaInvalid, SourceUnreadable
from offline_feature_plane.filesets import read_batches
from offline_feature_plane.parquet_files import describe_parquet
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.column_values import parsed_payload
from offline_feature_plane.text_files import load_object, may_be_object, unreadable

__all__ = ["MemberRow", "line_record", "members_of_line", "members_of_row", "stored_batches", "stored_record"]

_PAYLOAD = MEMBERS.index("payload")
_ROWS = 16_384  # decoded at once: of records, which are long, that is some ten megabytes

# The members of a record as they are stored, None where there are none to be had; and when it was archived.
MemberRow = tuple[Sequence[Any] | None, str | None]


def stored_batches(file: PinnedFile, groups: Mapping[int, int] | None = None) -> Iterator[Mapping[str, pa.Array]]:
    """The columns of a Parquet segment, or of some of its row groups, each with its rows.

    Raises:
        SourceUnreadable, and as `filesets.read_batches`.
    """
    try:
        known = {name for name, _ in describe_parquet(file.path)[1]}
    except (pa.ArrowException, OSError, ValueError) as wrong:
        unreadable(file.path, wrong)
    if missing := [name for name in STORED_COLUMNS if name not in known]:
        raise SourceUnreadable(f"{file.path} has no column {missing[0]}.", path=file.relative,
                               fix=f"A segment has the columns {', '.join(STORED_COLUMNS)}; where those of another tool are, `records` of "
                                   "the archive in plane.yaml says.")
    for batch in read_batches(file, "parquet", STORED_COLUMNS, most=_ROWS, groups=groups):
        yield {name: cast("pa.Array", batch[name]) for name in STORED_COLUMNS}


def line_record(line: bytes) -> Standing:
    """The record of a line, or what stands for it; None if there is none to be had. Raises ReplayBasisMismatch."""
    try:
        document = load_object(line) if may_be_object(line) else None
    except (SchemaInvalid, ResourceExceeded):
        return None
    if document is None:
        return None
    record = decode(document)
    return Mark.NULL_VALUE if record is None and is_null_value(document) else record


def stored_record(*stored: Any) -> Standing:
    """The record of a row of a Parquet segment, as `line_record`."""
    members = list(stored[:-1])
    try:
        members[_PAYLOAD] = parsed_payload(members[_PAYLOAD])
    except (SchemaInvalid, ResourceExceeded):
        return None
    record = decode_stored(*members)
    return Mark.NULL_VALUE if record is None and is_null_value(dict(zip(STORED_COLUMNS, members, strict=False))) else record


def members_of_line(line: bytes) -> MemberRow:
    """The members in a line."""
    try:
        document = load_object(line) if may_be_object(line) else None
    except (SchemaInvalid, ResourceExceeded):
        return None, None
    if document is None:
        return None, None
    if "payload" not in document and not is_null_value(document):  # which is another thing than a null payload
        return None, None
    return tuple(map(document.get, MEMBERS)), _text(document.get("archived_at_utc"))


def members_of_row(values: Sequence[Any]) -> MemberRow:
    """The members in a row of a table, whose values are in the order of `STORED_COLUMNS`."""
    members = list(values[:-1])
    try:
        members[_PAYLOAD] = parsed_payload(members[_PAYLOAD])
    except (SchemaInvalid, ResourceExceeded):
        return None, None
    return members, _text(values[-1])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
