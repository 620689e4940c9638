"""Files of our own form, JSON Lines and Parquet, record by record: what is stored of each, and the record that it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pyarrow as pa

from offline_feature_plane.budgets import Misses
from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import MEMBERS, Record, Standing, is_null_value, standing_of
from offline_feature_plane.errors import ResourceExceeded, SchemaInvalid, SourceUnreadable
from offline_feature_plane.filesets import read_batches
from offline_feature_plane.parquet_files import describe_parquet
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.column_values import parsed_payload, values_of
from offline_feature_plane.sources.decoding.lines import Lines
from offline_feature_plane.text_files import load_object, may_be_object, unreadable

__all__ = ["Law", "MemberRow", "MembersOf", "line_record", "members_of_columns", "members_of_line", "members_of_lines",
           "members_of_row", "noting", "standing_at", "stored_batches", "stored_record"]

_PAYLOAD = MEMBERS.index("payload")
_ROWS = 16_384  # decoded at once: of records, which are long, that is some ten megabytes

# The members of a record as they are stored, None where there are none to be had; and when it was archived.
MemberRow = tuple[Sequence[Any] | None, str | None]
MembersOf = Callable[[int], MemberRow]  # of one record of a batch
Law = Callable[[int], Standing]         # what one record of a batch is by itself


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
    return standing_of(members_of_line(line)[0])


def stored_record(*stored: Any) -> Standing:
    """The record of a row of a Parquet segment, as `line_record`."""
    return standing_of(members_of_row(stored)[0])


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
        members[_PAYLOAD] = ""  # no object, and no null
    return members, _text(values[-1])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def members_of_lines(lines: Lines) -> MembersOf:
    """What gives the members of one of many lines."""
    return lambda row: members_of_line(lines.line(row))


def members_of_columns(columns: Mapping[str, pa.Array]) -> MembersOf:
    """What gives the members of one row of a table; its columns become values when somebody asks."""
    values: list[list[Any]] = []

    def members_of(row: int) -> MemberRow:
        if not values:
            values.extend(values_of(columns[name]) for name in STORED_COLUMNS)
        return members_of_row([column[row] for column in values])
    return members_of


def standing_at(members_of: MembersOf, row: int) -> Standing:
    """The record of one row, as `line_record`."""
    return standing_of(members_of(row)[0])


def noting(law: Law, misses: Misses) -> Law:
    """The same law, which notes each record that it cannot decode. It raises ResourceExceeded for far too many of them."""
    def noted(row: int) -> Standing:
        found = law(row)
        if not isinstance(found, Record):
            misses.note()
        return found
    return noted
