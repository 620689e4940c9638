"""The runs of a file found in batches, for an index of much: what `domain.archive_chain.FileRuns` finds record by record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.archive_chain import FileRuns
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.errors import OfsError
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.pieces import members_in
from offline_feature_plane.sources.archives.stored_files import Law
from offline_feature_plane.sources.decoding.batches import Expected, settle
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Wanted

__all__ = ["scan"]

_NOTHING = Wanted(())
_MOST_LANES: Final = 1_024  # whose records are decoded together
_FEW: Final = 64            # records that are looked at for lanes before any is taken


def scan(file: PinnedFile, found: FileRuns, lifting: Lifting | None = None) -> None:
    """Let `found` take the records of a file of ours, or of one that another tool wrote.

    Records of lanes that are known are decoded together, and taken as stretches of offsets that follow each other: of those near the
    beginning, and those that occurred in a batch before. All others are taken one by one.

    Raises:
        Disorder: as `FileRuns.take`. SourceUnreadable, ResourceExceeded, ReplayBasisMismatch: as `sources.archives.segments.records_of`.
    """
    lane: Expected | None = None
    for members, law in members_in(file, _NOTHING, lifting):
        lane = lane or _first_lanes(members.n, law)
        if lane is None:
            for row in range(members.n):
                found.take(law(row))
            continue
        batch, refused = settle(members, lane, law)
        _take(batch, lane, batch.n if refused is None else refused.row, found)
        if refused is not None:
            raise refused.error
        lane = _with_others(lane, batch.known.values())


def _first_lanes(n: int, law: Law) -> Expected | None:
    """The lane of the first record of a batch, and those that others near its beginning are in."""
    for row in range(n):
        if isinstance(first := law(row), Record):
            return _with_others(Expected(first.topic, first.partition, first.offset_kind), _some(row + 1, n, law))
    return None


def _some(first: int, n: int, law: Law) -> Iterator[Record]:
    """The next few records, up to one that is not what its hash says: that is told when it is its turn."""
    for row in range(first, min(first + _FEW, n)):
        try:
            record = law(row)
        except OfsError:
            return
        if isinstance(record, Record):
            yield record


def _with_others(lane: Expected, records: Iterable[Record]) -> Expected:
    """The same lanes, and those of some records, as far as they count in the same kind of offsets."""
    met = dict.fromkeys((one.topic, one.partition) for one in records if one.offset_kind == lane.offset_kind)
    return replace(lane, others=(*lane.others, *(one for one in met if one not in lane.lanes))[:_MOST_LANES])


def _take(batch: Decoded, lane: Expected, rows: int, found: FileRuns) -> None:
    """Take the first rows of a batch, as few stretches as there can be."""
    alone = ~batch.decoded
    alone[list(batch.known)] = True
    ends = np.ones(max(rows, 1), np.bool_)  # where a stretch ends
    ends[:-1] = alone[:rows - 1] | alone[1:rows] | np.asarray(batch.numbers[1:rows] != batch.numbers[:rows - 1] + 1, np.bool_)
    if batch.lanes is not None:
        ends[:-1] |= batch.lanes[1:rows] != batch.lanes[:rows - 1]
    keys = [(*one, lane.offset_kind) for one in lane.lanes]
    begin = 0
    for end in np.flatnonzero(ends[:rows]).tolist():
        if alone[begin]:
            found.take(batch.known.get(begin) or batch.vacant.get(begin))
        else:
            found.take_run(keys[0 if batch.lanes is None else batch.lanes[begin]], (int(batch.numbers[begin]), int(batch.numbers[end])),
                           (int(batch.log_us[begin]), int(batch.log_us[end])))
        begin = end + 1
