"""Segments of record archives, decoded in batches and held against the index (`domain.md` §1.4, §1.5)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial

from offline_feature_plane.budgets import Misses
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.claims import Claim
from offline_feature_plane.sources.archives.foreign_batches import mapped_in
from offline_feature_plane.sources.archives.forms import is_table
from offline_feature_plane.sources.archives.pruning import Skipped, skipping
from offline_feature_plane.sources.archives.segments import Segment, as_is
from offline_feature_plane.sources.archives.shared_files import Share, rows_of_lane
from offline_feature_plane.sources.archives.steady_files import unchanged
from offline_feature_plane.sources.archives.stored_files import (
    Law,
    Only,
    members_of_columns,
    members_of_lines,
    noting,
    standing_at,
    stored_batches,
)
from offline_feature_plane.sources.decoding.batches import STORED, Expected, Members, members_of_documents, settle, tell_columns
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.lines import read_blocks
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.text_files import packing_of

__all__ = ["members_in", "steps_of"]

_ROWS = 16_384


def steps_of(segment: Segment, file: PinnedFile, wanted: Wanted) -> Generator[Callable[[], Decoded | None]]:
    """What is left to be done for each batch of a segment's records, from its file at hand. They raise as `segments.read_checked`."""
    claim = Claim(segment.file.relative, segment.topic, segment.evidence, segment.log_times)
    if segment.entries:  # in one step: what is noted of a file is noted before its next segment is begun
        for batch in _shared(segment, file, wanted, claim):
            yield partial(as_is, batch)
        return
    expected = Expected(segment.topic, segment.evidence.partition, segment.evidence.offset_kind)
    skipped = _skipped(segment, file)
    if skipped is not None:
        yield partial(claim.skip, *skipped.before)
    for members, law in members_in(file, wanted, segment.lifting, None if skipped is None else skipped.groups):
        yield partial(_held, claim, members, expected, law)
    if skipped is not None:
        yield partial(claim.skip, *skipped.behind)
    yield claim.settle


def _held(claim: Claim, members: Members, expected: Expected, law: Law) -> Decoded:
    return claim.hold(*settle(members, expected, law))


def _shared(segment: Segment, file: PinnedFile, wanted: Wanted, claim: Claim) -> Iterator[Decoded]:
    """What is the segment's in a file that holds others too."""
    share = Share(segment)
    is_plain = segment.note is not None and segment.note.is_plain and is_table(file.relative)
    only = partial(rows_of_lane, segment=segment) if is_plain else None
    for members, law in members_in(file, wanted, segment.lifting, only=only):
        for batch, refused in share.take(*settle(members, share.expected, law)):
            yield claim.hold(batch, refused)
    if only is None:
        share.settle()
    claim.settle()


def _skipped(segment: Segment, file: PinnedFile) -> Skipped | None:
    """What of a Parquet file need not be decoded for what is asked."""
    if segment.asked is None or not is_table(file.relative):
        return None
    path = ("offset",) if segment.lifting is None else segment.lifting.places["offset"].path
    return skipping(file, path[0], segment.evidence, segment.asked) if path is not None and len(path) == 1 else None


def members_in(file: PinnedFile, wanted: Wanted, lifting: Lifting | None = None,
               groups: Mapping[int, int] | None = None, only: Only | None = None) -> Iterator[tuple[Members, Law]]:
    """The records of a file in batches, and what decodes one of a batch by itself; of Parquet all row groups and rows, or some."""
    misses = Misses(file.path, file.size)
    for members, law in _members_in(file, wanted, groups, only) if lifting is None else mapped_in(file, lifting, wanted, groups, only):
        yield members, noting(law, misses)


def _members_in(file: PinnedFile, wanted: Wanted, groups: Mapping[int, int] | None, only: Only | None) -> Iterator[tuple[Members, Law]]:
    if is_table(file.relative):
        batches = stored_batches(file, groups)
        for batch in batches if only is None else only(batches):
            for start in range(0, len(batch["payload"]), _ROWS):
                part = {name: column.slice(start, _ROWS) for name, column in batch.items()}
                yield tell_columns(part, STORED, wanted), partial(standing_at, members_of_columns(part))
        return
    with unchanged(file):
        for lines in read_blocks(file.path, packing=packing_of(file.relative)):
            yield members_of_documents(lines.data, lines.begins, lines.stops, STORED, wanted), partial(standing_at, members_of_lines(lines))
