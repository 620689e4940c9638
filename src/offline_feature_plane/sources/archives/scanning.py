"""The runs of a file found in batches, for an index of much: what `domain.archive_chain.FileRuns` finds record by record."""

from __future__ import annotations

import numpy as np

from offline_feature_plane.domain.admission import Mark, Record
from offline_feature_plane.domain.archive_chain import FileRuns
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.segment_batches import members_in
from offline_feature_plane.sources.archives.stored_files import Law
from offline_feature_plane.sources.decoding.batches import Expected, settle
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Wanted

__all__ = ["scan"]

_NOTHING = Wanted(())


def scan(file: PinnedFile, found: FileRuns, lifting: Lifting | None = None) -> None:
    """Let `found` take the records of a file of ours, or of one that another tool wrote.

    Most records are of the lane of the first one: these are decoded together, and taken as stretches of offsets that follow each other. All
    others are taken one by one.

    Raises:
        Disorder: as `FileRuns.take`. SourceUnreadable, ResourceExceeded, ReplayBasisMismatch: as `sources.archives.segments.records_of`.
    """
    lane: Expected | None = None
    for members, law in members_in(file, _NOTHING, lifting):
        lane = lane or _first_lane(members.n, law)
        if lane is None:
            for row in range(members.n):
                found.take(law(row))
            continue
        batch, refused = settle(members, lane, law)
        _take(batch, lane, batch.n if refused is None else refused.row, found)
        if refused is not None:
            raise refused.error


def _first_lane(n: int, law: Law) -> Expected | None:
    first = next((record for row in range(n) if isinstance(record := law(row), Record)), None)
    return None if first is None else Expected(first.topic, first.partition, first.offset_kind)


def _take(batch: Decoded, lane: Expected, rows: int, found: FileRuns) -> None:
    """Take the first rows of a batch, as few stretches as there can be."""
    alone = ~batch.decoded
    alone[list(batch.known)] = True
    ends = np.ones(max(rows, 1), np.bool_)  # where a stretch ends
    ends[:-1] = alone[:rows - 1] | alone[1:rows] | np.asarray(batch.numbers[1:rows] != batch.numbers[:rows - 1] + 1, np.bool_)
    begin = 0
    for end in np.flatnonzero(ends[:rows]).tolist():
        if alone[begin]:
            is_null = batch.deletions is not None and bool(batch.deletions[begin])
            found.take(Mark.NULL_VALUE if is_null else batch.known.get(begin))
        else:
            found.take_run((lane.topic, lane.partition, lane.offset_kind), (int(batch.numbers[begin]), int(batch.numbers[end])),
                           (int(batch.log_us[begin]), int(batch.log_us[end])))
        begin = end + 1
