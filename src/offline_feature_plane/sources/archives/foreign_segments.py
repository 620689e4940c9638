"""Segments that other tools wrote: JSON Lines or Parquet files, record by record, lifted to our members (`domain.foreign_records`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import pyarrow as pa

from offline_feature_plane.domain.admission import MEMBERS, Standing, Vacant, standing_of
from offline_feature_plane.domain.foreign_records import Lifting, Unliftable
from offline_feature_plane.errors import ResourceExceeded, SchemaInvalid, SourceUnreadable
from offline_feature_plane.filesets import read_batches
from offline_feature_plane.found_files import form_of
from offline_feature_plane.parquet_files import describe_parquet
from offline_feature_plane.plain_files import as_found
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.column_values import values_of
from offline_feature_plane.sources.archives.forms import is_table
from offline_feature_plane.sources.archives.steady_files import unchanged
from offline_feature_plane.text_files import load_object, packing_of, read_lines, unreadable

__all__ = ["Trouble", "first_trouble", "foreign_columns", "foreign_records", "lifted", "lifted_document", "line_document"]

_NEEDED = ("partition", "offset", "event_id", "ts_utc", "log_time_utc")

_ROWS = 16_384  # at a time


def foreign_records(file: PinnedFile, lifting: Lifting) -> Iterator[Standing]:
    """The records of a file, and what stands for them. Raises as `lifted`, and ReplayBasisMismatch as `decode_stored`."""
    return map(standing_of, lifted(file, lifting))


def lifted(file: PinnedFile, lifting: Lifting) -> Iterator[tuple[Any, ...] | None]:
    """The members of each record of a file, in the order of `domain.admission.MEMBERS`, or those of its coordinate; None where it has none.

    Raises:
        SourceUnreadable: the file is broken, or lacks a column. ResourceExceeded: it decodes to far more than is stored.
        ReplayBasisMismatch: it changes while it is read. TimeZoneUndeclared.
    """
    fixed = lifting.fixed(file.relative)
    for document in _rows(file, lifting) if is_table(file.relative) else _lines(file):
        yield None if document is None else lifted_document(document, lifting, fixed)


class Trouble(NamedTuple):
    """What a record has instead of what it needs, in a few words; and where it stands, if it says so."""

    why: str
    place: str | None = None


def first_trouble(file: PinnedFile, lifting: Lifting) -> Trouble | None:
    """That of the first record of a file that cannot be decoded. Raises as `lifted`."""
    for document in _rows(file, lifting) if is_table(file.relative) else _lines(file):
        if document is None:
            return Trouble("no JSON object")
        try:
            members = lifting.lift(document, lifting.fixed(file.relative))
        except Unliftable as wrong:
            found = None if wrong.members is None else standing_of(wrong.members)
            return Trouble(str(wrong), None if found is None else found.place)
        found = standing_of(members)
        if found is None or (isinstance(found, Vacant) and found.reason == "undecodable"):
            odd = [name for name, one in zip(MEMBERS, members, strict=True) if name in _NEEDED and type(one) not in {str, int}]
            return Trouble(f"nothing that can be its {odd[0]}" if odd else "a member that is none of its kind",
                           None if found is None else found.place)
    return None


def lifted_document(document: Mapping[str, Any], lifting: Lifting, fixed: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The members of one record, or those that say where it stands, or None. Raises TimeZoneUndeclared."""
    try:
        return lifting.lift(document, fixed)
    except Unliftable as wrong:
        return wrong.members


def line_document(line: bytes) -> dict[str, Any] | None:
    """The object in a line, if it is one."""
    try:
        return load_object(line)
    except (SchemaInvalid, ResourceExceeded):
        return None


def foreign_columns(file: PinnedFile, lifting: Lifting, groups: Mapping[int, int] | None = None) -> Iterator[dict[str, pa.Array]]:
    """The columns of a Parquet file, or of some of its row groups, that its records are made of, in batches.

    Raises:
        SourceUnreadable, ResourceExceeded, ReplayBasisMismatch: as `lifted`.
    """
    try:
        known = [name for name, _ in describe_parquet(file.path)[1]]
    except (pa.ArrowException, OSError, ValueError) as wrong:
        unreadable(file.path, wrong)
    wanted = known if lifting.columns is None else lifting.columns
    needed = {place.path[0]: name for name, place in lifting.places.items() if place.path is not None}
    if missing := sorted(set(needed) - set(known)):
        raise SourceUnreadable(f"{as_found(file.path)} has no column {missing[0]}, which `records` names for {needed[missing[0]]}; it has: "
                               f"{', '.join(known)}.", path=file.relative, fix="Correct `records` of this archive in plane.yaml.")
    if twice := sorted(name for name, count in Counter(known).items() if count > 1 and name in wanted):
        raise SourceUnreadable(f"{as_found(file.path)} has several columns named {twice[0]}.", path=file.relative,
                               fix="Write the file again, and give every column its own name.")
    for batch in read_batches(file, form_of(file.path, "parquet"), wanted, most=_ROWS, groups=groups):
        yield {name: cast("pa.Array", batch[name]) for name in wanted}


def _lines(file: PinnedFile) -> Iterator[Mapping[str, Any] | None]:
    with unchanged(file):
        for _, line in read_lines(file.path, packing=packing_of(file.relative), cuts=True):
            if not line.isspace():
                yield line_document(line)


def _rows(file: PinnedFile, lifting: Lifting) -> Iterator[Mapping[str, Any] | None]:
    for columns in foreign_columns(file, lifting):
        for row in zip(*map(values_of, columns.values()), strict=True):
            yield dict(zip(columns, row, strict=True))
