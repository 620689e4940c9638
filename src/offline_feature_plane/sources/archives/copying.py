"""The records of an archive as they are stored: what `ofs archive write` copies from one archive into another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from offline_feature_plane.budgets import Misses
from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Record, Standing, standing_of
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.column_values import values_of
from offline_feature_plane.sources.archives.foreign_segments import lifted, lifted_document, line_document
from offline_feature_plane.sources.archives.forms import is_table
from offline_feature_plane.sources.archives.segments import Segment, read_checked
from offline_feature_plane.sources.archives.steady_files import unchanged
from offline_feature_plane.sources.archives.stored_files import MemberRow, members_of_line, members_of_row, stored_batches
from offline_feature_plane.sources.decoding.stored import Rows, Stored, Writing
from offline_feature_plane.sources.decoding.stored_rows import rows_one_by_one
from offline_feature_plane.sources.logs.side_by_side import Disagreement, side_by_side
from offline_feature_plane.sources.logs.stretches import in_groups
from offline_feature_plane.text_files import packing_of, read_lines

__all__ = ["rows_in_order"]


def rows_in_order(segments: Sequence[Segment], wanted: Range, writing: Writing, *, in_batches: bool) -> Iterator[Rows]:
    """Everything that some segments of one partition hold of a range, each coordinate once.

    Args:
        segments: those that touch the range, in the order of their offsets.
        wanted: the range.
        writing: how its records are written.
        in_batches: it is worth loading a compiler for them; segments that overlap, or are no files of ours, are read one by one anyhow.

    Raises:
        ReplayBasisMismatch, SourceUnreadable, StorageIoFailure: as `Segment.check` and `Segment.read`.
        ReplayDuplicateOffsetMismatch: two segments disagree about a coordinate.
    """
    for one in segments:
        one.check()
    for group in in_groups(segments):
        if in_batches and (_in_batches(group) or any(one.entries for one in group)):
            from offline_feature_plane.sources.archives.segment_batches import divide  # noqa: PLC0415 - it loads a compiler
            from offline_feature_plane.sources.archives.segment_rows import rows_in_batches  # noqa: PLC0415 - as above

            for one in group:
                divide(one)
            if _in_batches(group):
                yield from rows_in_batches(group[0], wanted, writing)
                continue
        yield from rows_one_by_one(_stored_in_order(group, wanted), writing)


def _in_batches(group: Sequence[Segment]) -> bool:
    """Is it one segment of ours, alone in its file or kept apart of it?"""
    one = group[0]
    return len(group) == 1 and one.lifting is None and (not one.entries or (one.shared is not None and one.shared.is_divided))


def _stored_in_order(segments: Sequence[Segment], wanted: Range) -> Iterator[Stored]:
    latest: tuple[int, int, str | None] | None = None
    told = Disagreement(wanted.topic, wanted.partition)
    for number, place, found in side_by_side([(one.evidence.span[0], _stored_in(one)) for one in segments]):
        said = found.reason if found.record is None else found.record.digest
        if latest is None or latest[0] != number or latest[1] == place:
            latest = number, place, said
            if wanted.holds(number):
                yield found
        elif latest[2] != said:
            told.note(number, segments[latest[1]].evidence.ref, segments[place].evidence.ref)
            told.settle()  # a copy would hold one of the two


def _stored_in(segment: Segment) -> Iterator[tuple[int, Stored]]:
    """What a segment holds, by offset, held against its index entry."""
    own = segment.kept_apart()
    with segment.at_stake():
        if own is not None:
            yield from _checked(replace(segment, entries=()), segment.file, _kept_apart(own, segment))
            return
        with segment.place.at_hand(segment.file) as file:
            yield from _checked(segment, file, _rows_of(file, segment.lifting))


def _checked(segment: Segment, file: PinnedFile, rows: Iterator[MemberRow]) -> Iterator[tuple[int, Stored]]:
    walk = _Walk(rows, Misses(file.path, file.size))
    for item in read_checked(segment, file, walk.records()):
        if isinstance(item, Record):
            yield item.number, Stored(item.number, item, walk.members, walk.archived)
        else:
            yield item.number, Stored(item.number, None, reason=item.reason)


class _Walk:
    """The records of a file one by one; `members` are those of the record that was given last, and `archived` when it was archived."""

    def __init__(self, rows: Iterator[MemberRow], misses: Misses) -> None:
        self._rows, self._misses = rows, misses
        self.members: Sequence[Any] | None = None
        self.archived: str | None = None

    def records(self) -> Iterator[Standing]:
        """All of them; None for each that cannot be decoded."""
        for members, archived in self._rows:
            self.members, self.archived = members, archived
            found = standing_of(members)
            if not isinstance(found, Record):
                self._misses.note()
            yield found


def _kept_apart(batches: Iterator[pa.RecordBatch], segment: Segment) -> Iterator[MemberRow]:
    """Rows of a file that was divided."""
    name, lifting = segment.file.relative, segment.lifting
    fixed = {} if lifting is None else lifting.fixed(name)
    for batch in batches:
        names, columns = batch.schema.names, [values_of(one) for one in batch.columns]
        for row in zip(*columns, strict=True):
            if lifting is None:
                yield members_of_row(row) if is_table(name) else members_of_line(row[0])
                continue
            document = dict(zip(names, row, strict=True)) if is_table(name) else line_document(row[0])
            yield None if document is None else lifted_document(document, lifting, fixed), None


def _rows_of(file: PinnedFile, lifting: Lifting | None) -> Iterator[MemberRow]:
    if lifting is not None:
        return ((members, None) for members in lifted(file, lifting))
    return _rows(file) if is_table(file.relative) else _lines(file)


def _lines(file: PinnedFile) -> Iterator[MemberRow]:
    with unchanged(file):
        for _, line in read_lines(file.path, packing=packing_of(file.relative), cuts=True):
            yield members_of_line(line)


def _rows(file: PinnedFile) -> Iterator[MemberRow]:
    for batch in stored_batches(file):
        yield from map(members_of_row, zip(*(values_of(batch[name]) for name in STORED_COLUMNS), strict=True))
