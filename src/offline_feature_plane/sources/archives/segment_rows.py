"""Segments of archives as they are written again, many records at a time: what `copying` gives of each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from offline_feature_plane.budgets import Misses
from offline_feature_plane.domain.admission import Record, standing_of
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.claims import Claim
from offline_feature_plane.sources.archives.pieces import Piece, piece_of, pieces_in
from offline_feature_plane.sources.archives.segments import Segment
from offline_feature_plane.sources.archives.stored_files import (
    MembersOf,
    members_of_columns,
    members_of_lines,
    noting,
    standing_at,
)
from offline_feature_plane.sources.decoding.batches import Expected, Members, members_of_documents, settle, tell_columns
from offline_feature_plane.sources.decoding.lines import Lines
from offline_feature_plane.sources.decoding.stored import Rows, Stored, Writing
from offline_feature_plane.sources.decoding.stored_cells import COPIED, rows_of_batch
from offline_feature_plane.sources.decoding.wanted import Wanted

__all__ = ["rows_in_batches"]

_NOTHING = Wanted(())

_ROWS, _BYTES = 16_384, 32 << 20  # of a table at a time


def rows_in_batches(segment: Segment, wanted: Range, writing: Writing) -> Iterator[Rows]:
    """Everything that a segment holds of a range: alone in its file, or kept apart of it. Raises as `Segment.read`."""
    own = segment.kept_apart()
    with segment.at_stake():
        if own is not None:
            yield from _held(segment, map(partial(piece_of, segment.file.relative), own), wanted, writing)
            return
        with segment.place.at_hand(segment.file) as file:
            yield from _held(segment, _pieces(file), wanted, writing, Misses(file.path, file.size))


def _held(segment: Segment, pieces: Iterable[Piece], wanted: Range, writing: Writing, misses: Misses | None = None) -> Iterator[Rows]:
    """What pieces hold of a range; all of them are the segment's."""
    claim = Claim(segment.file.relative, segment.topic, segment.evidence, segment.log_times)
    expected = Expected(segment.topic, segment.evidence.partition, segment.evidence.offset_kind)
    for piece in pieces:
        members, members_of = _told(piece)
        law = partial(standing_at, members_of)
        batch = claim.hold(*settle(members, expected, law if misses is None else noting(law, misses)))
        if batch.numbers[-1] >= wanted.start and batch.numbers[0] < wanted.end:
            rows = rows_of_batch(members, batch, writing, partial(_one, members_of), is_placed=True)
            yield from rows.between(wanted.start, wanted.end)
    claim.settle()


def _one(members_of: MembersOf, row: int) -> Stored:
    """A record by itself, its offset aside."""
    members, archived = members_of(row)
    found = standing_of(members)
    if isinstance(found, Record):
        return Stored(0, found, members, archived)
    return Stored(0, None, reason="undecodable" if found is None else found.reason)


def _told(piece: Piece) -> tuple[Members, MembersOf]:
    """The members of records of ours, and what gives those of one by themselves."""
    if isinstance(piece, Lines):
        return members_of_documents(piece.data, piece.begins, piece.stops, COPIED, _NOTHING), members_of_lines(piece)
    return tell_columns(piece, COPIED, _NOTHING), members_of_columns(piece)


def _pieces(file: PinnedFile) -> Iterator[Piece]:
    """The rows of a file; of a table not too many bytes at once."""
    for piece in pieces_in(file):
        if isinstance(piece, Lines):
            yield piece
            continue
        n = len(piece["payload"])
        most = max(1, min(_ROWS, _BYTES * n // (1 + sum(column.nbytes for column in piece.values()))))
        for start in range(0, n, most):
            yield {name: column.slice(start, most) for name, column in piece.items()}
