"""The records of an archive as they are stored: what `ofs archive write` copies from one archive into another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Mark, Record, Standing, decode_stored, is_null_value
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.foreign_records import MEMBERS, Lifting
from offline_feature_plane.errors import ResourceExceeded, SchemaInvalid
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.column_values import parsed_payload, values_of
from offline_feature_plane.sources.foreign_segments import lifted
from offline_feature_plane.sources.segments import Segment, read_checked, stored_batches
from offline_feature_plane.sources.side_by_side import disagreement, side_by_side
from offline_feature_plane.sources.steady_files import unchanged
from offline_feature_plane.sources.stored import Stored
from offline_feature_plane.text_files import load_object, packing_of, read_lines

__all__ = ["stored_in_order"]

_PAYLOAD = MEMBERS.index("payload")

Row = tuple[Sequence[Any] | None, str | None]  # members, and when they were archived


def stored_in_order(segments: Sequence[Segment], wanted: Range) -> Iterator[Stored]:
    """Everything that some segments of one partition hold of a range, each coordinate once.

    Args:
        segments: those that touch the range, in the order of their offsets.
        wanted: the range.

    Raises:
        ReplayBasisMismatch, SourceUnreadable, StorageIoFailure: as `Segment.check` and `Segment.read`.
        ReplayDuplicateOffsetMismatch: two segments disagree about a coordinate.
    """
    for one in segments:
        one.check()
    latest: tuple[int, int, str | None] | None = None
    for number, place, found in side_by_side([(one.evidence.span[0], _stored_in(one)) for one in segments]):
        said = None if found.record is None else found.record.digest
        if latest is None or latest[0] != number or latest[1] == place:
            latest = number, place, said
            if wanted.holds(number):
                yield found
        elif latest[2] != said:
            raise disagreement(wanted.topic, wanted.partition, number)


def _stored_in(segment: Segment) -> Iterator[tuple[int, Stored]]:
    """What a segment holds, by offset, held against its index entry."""
    with segment.place.at_hand(segment.file) as file:
        walk = _Walk(file, segment.lifting)
        for item in read_checked(segment, file, walk.records()):
            if isinstance(item, Record):
                yield item.number, Stored(item.number, item, walk.members, walk.archived)
            else:
                yield item.number, Stored(item.number, None, reason=item.reason)


class _Walk:
    """The records of a file one by one; `members` are those of the record that was given last, and `archived` when it was archived."""

    def __init__(self, file: PinnedFile, lifting: Lifting | None) -> None:
        self._file, self._lifting = file, lifting
        self.members: Sequence[Any] | None = None
        self.archived: str | None = None

    def records(self) -> Iterator[Standing]:
        """All of them; None for each that cannot be decoded."""
        for members, archived in self._rows():
            self.members, self.archived = members, archived
            record = None if members is None else decode_stored(*members)
            is_null = record is None and members is not None and is_null_value(dict(zip(MEMBERS, members, strict=True)))
            yield Mark.NULL_VALUE if is_null else record

    def _rows(self) -> Iterator[Row]:
        if self._lifting is not None:
            return ((members, None) for members in lifted(self._file, self._lifting))
        return _rows(self._file) if self._file.relative.endswith(".parquet") else _lines(self._file)


def _lines(file: PinnedFile) -> Iterator[Row]:
    with unchanged(file):
        for _, line in read_lines(file.path, packing=packing_of(file.relative)):
            try:
                document = load_object(line)
            except (SchemaInvalid, ResourceExceeded):
                yield None, None
            else:
                yield tuple(map(document.get, MEMBERS)), _text(document.get("archived_at_utc"))


def _rows(file: PinnedFile) -> Iterator[Row]:
    for batch in stored_batches(file):
        for row in zip(*(values_of(batch[name]) for name in STORED_COLUMNS), strict=True):
            members = list(row[:-1])
            try:
                members[_PAYLOAD] = parsed_payload(members[_PAYLOAD])
            except (SchemaInvalid, ResourceExceeded):
                yield None, None
            else:
                yield members, _text(row[-1])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
