"""Segments of archives as they are written again, many records at a time: what `copying` gives of each of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from offline_feature_plane.budgets import Misses
from offline_feature_plane.domain.admission import Record, standing_of
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.claims import Claim
from offline_feature_plane.sources.archives.forms import is_table
from offline_feature_plane.sources.archives.segments import Segment
from offline_feature_plane.sources.archives.steady_files import unchanged
from offline_feature_plane.sources.archives.stored_files import (
    MembersOf,
    members_of_columns,
    members_of_lines,
    noting,
    standing_at,
    stored_batches,
)
from offline_feature_plane.sources.decoding.batches import Expected, Members, members_of_documents, settle, tell_columns
from offline_feature_plane.sources.decoding.lines import read_blocks
from offline_feature_plane.sources.decoding.stored import Rows, Stored, Writing
from offline_feature_plane.sources.decoding.stored_cells import COPIED, rows_of_batch
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.text_files import packing_of

__all__ = ["rows_in_batches"]

_NOTHING = Wanted(())

_ROWS, _BYTES = 16_384, 32 << 20  # of a table at a time


def rows_in_batches(segment: Segment, wanted: Range, writing: Writing) -> Iterator[Rows]:
    """Everything that a segment holds of a range. Raises as `Segment.read`."""
    claim = Claim(segment.file.relative, segment.topic, segment.evidence, segment.log_times)
    expected = Expected(segment.topic, segment.evidence.partition, segment.evidence.offset_kind)
    with segment.at_stake(), segment.place.at_hand(segment.file) as file:
        misses = Misses(file.path, file.size)
        for members, members_of in _batches(file):
            batch = claim.hold(*settle(members, expected, noting(partial(standing_at, members_of), misses)))
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


def _batches(file: PinnedFile) -> Iterator[tuple[Members, MembersOf]]:
    """The records of a file in batches, and what gives the members of one by themselves."""
    if is_table(file.relative):
        for batch in stored_batches(file):
            n = len(batch["payload"])
            most = max(1, min(_ROWS, _BYTES * n // (1 + sum(column.nbytes for column in batch.values()))))
            for start in range(0, n, most):
                part = {name: column.slice(start, most) for name, column in batch.items()}
                yield tell_columns(part, COPIED, _NOTHING), members_of_columns(part)
        return
    with unchanged(file):
        for lines in read_blocks(file.path, packing=packing_of(file.relative)):
            yield (members_of_documents(lines.data, lines.begins, lines.stops, COPIED, _NOTHING),
                   members_of_lines(lines))
