"""The records of an archive as they are stored: what `ofs archive write` copies from one archive into another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Mark, Record, Standing, decode_stored, is_null_value
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.foreign_records import MEMBERS, Lifting
from offline_feature_plane.errors import (
    ReplayDuplicateOffsetMismatch,
    ResourceExceeded,
    SchemaInvalid,
)
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.foreign_segments import lifted
from offline_feature_plane.sources.segments import Segment, read_checked, stored_batches, unchanged, values_of
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
    spans = [one.evidence.span for one in segments]
    kept: dict[int, str | None] = {}  # what was said of coordinates that a later segment may have too
    for place, segment in enumerate(segments):
        later = [span for span in spans[place + 1:] if span[0] < spans[place][1]]
        for found in _stored_in(segment):
            said = None if found.record is None else found.record.digest
            if found.number in kept:
                if kept[found.number] != said:
                    where = f"{wanted.topic}/{wanted.partition}@{found.number}"
                    raise ReplayDuplicateOffsetMismatch(f"two segments hold different events at {where}.", path=where,
                                                        fix="Find out which segment is true and remove the other from the index.")
                continue
            if any(begin <= found.number < end for begin, end in later):
                kept[found.number] = said
            if wanted.holds(found.number):
                yield found


def _stored_in(segment: Segment) -> Iterator[Stored]:
    """What a segment holds, held against its index entry."""
    with segment.place.at_hand(segment.file) as file:
        walk = _Walk(file, segment.lifting)
        for item in read_checked(segment, file, walk.records()):
            if isinstance(item, Record):
                yield Stored(item.number, item, walk.members, walk.archived)
            else:
                yield Stored(item.number, None, reason=item.reason)


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
                if members[_PAYLOAD] is not None:
                    members[_PAYLOAD] = load_object(members[_PAYLOAD])
            except (SchemaInvalid, ResourceExceeded, TypeError):
                yield None, None
            else:
                yield members, _text(row[-1])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
