"""Segments of record archives, decoded in batches and held against the index (`domain.md` §1.4, §1.5)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial

from offline_feature_plane.budgets import Misses
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.claims import Claim
from offline_feature_plane.sources.archives.forms import is_table
from offline_feature_plane.sources.archives.pieces import members_in, piece_of, pieces_in, rows_of, telling
from offline_feature_plane.sources.archives.pruning import Skipped, skipping
from offline_feature_plane.sources.archives.segments import Segment, as_is, read_checked
from offline_feature_plane.sources.archives.shared_files import Share
from offline_feature_plane.sources.archives.stored_files import Law, noting
from offline_feature_plane.sources.decoding.batches import Expected, Members, settle
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs.stretches import Batch, in_batches

__all__ = ["divide", "steps_of"]

Step = Callable[[], Batch | None]
Told = tuple[Members, Law]


def steps_of(segment: Segment, wanted: Wanted) -> Generator[Step]:
    """What is left to be done for each batch of a segment's records. They raise as `Segment.read`."""
    claim = Claim(segment.file.relative, segment.topic, segment.evidence, segment.log_times)
    if segment.entries:
        yield from _shared(segment, claim, wanted)
        return
    with segment.place.at_hand(segment.file) as file:
        skipped = _skipped(segment, file)
        if skipped is not None:
            yield partial(claim.skip, *skipped.before)
        yield from _held_steps(segment, claim, members_in(file, wanted, segment.lifting, None if skipped is None else skipped.groups))
        if skipped is not None:
            yield partial(claim.skip, *skipped.behind)
    yield claim.settle


def _shared(segment: Segment, claim: Claim, wanted: Wanted) -> Iterator[Step]:
    """The same of a segment whose file holds others: out of the whole file, or out of what was kept apart of it."""
    own = segment.kept_apart()
    if own is None:  # in one step: the file is divided before its next segment is begun
        share = Share(segment)
        with segment.place.at_hand(segment.file) as file:
            whole = _out_of_whole(share, segment, file, claim, wanted) if share.is_plain else in_batches(read_checked(segment, file))
            for batch in whole:
                yield partial(as_is, batch)
        return
    name = segment.file.relative
    yield from _held_steps(segment, claim, map(telling(name, segment.lifting, wanted), map(partial(piece_of, name), own)))
    yield claim.settle


def divide(segment: Segment) -> None:
    """Divide a segment's file for all who are to read it, this one too, if that is worth it and was not done. Raises as `Segment.read`."""
    if segment.shared is None or not segment.shared.is_to_be_divided or not (share := Share(segment)).is_plain:
        return
    claim = Claim(segment.file.relative, segment.topic, segment.evidence, segment.log_times)
    with segment.at_stake(), segment.place.at_hand(segment.file) as file:
        for _ in _out_of_whole(share, segment, file, claim, Wanted(()), is_reader=False):
            pass


def _out_of_whole(share: Share, segment: Segment, file: PinnedFile, claim: Claim, wanted: Wanted, *,
                  is_reader: bool = True) -> Iterator[Decoded]:
    """What is the segment's in its file, which is divided on the way if others will ask for it."""
    misses, tell = Misses(file.path, file.size), telling(file.relative, segment.lifting, wanted)
    dividing = None if segment.shared is None else segment.shared.begin(segment.entry if is_reader else None, share.entries)
    for piece in pieces_in(file, segment.lifting):
        members, law = tell(piece)
        batch, refused = settle(members, share.expected, noting(law, misses))
        owners = share.owners(batch)
        if dividing is not None and refused is None:
            dividing.put(partial(rows_of, piece), owners)
        for part, wrong in share.take(batch, refused, owners):
            yield claim.hold(part, wrong)
    share.settle()
    if segment.shared is not None and dividing is not None:
        segment.shared.end(dividing)
    claim.settle()


def _held_steps(segment: Segment, claim: Claim, told: Iterable[Told]) -> Iterator[Step]:
    """Batches that are all the segment's."""
    expected = Expected(segment.topic, segment.evidence.partition, segment.evidence.offset_kind)
    for members, law in told:
        yield partial(_held, claim, members, expected, law)


def _held(claim: Claim, members: Members, expected: Expected, law: Law) -> Decoded:
    return claim.hold(*settle(members, expected, law))


def _skipped(segment: Segment, file: PinnedFile) -> Skipped | None:
    """What of a Parquet file need not be decoded for what is asked."""
    if segment.asked is None or not is_table(file.relative):
        return None
    path = ("offset",) if segment.lifting is None else segment.lifting.places["offset"].path
    return skipping(file, path[0], segment.evidence, segment.asked) if path is not None and len(path) == 1 else None
