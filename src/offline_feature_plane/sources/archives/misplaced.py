"""Segments that are not what the index of their archive says: their records stand elsewhere, are more or fewer, or of other times.

Their bytes are the pinned ones, so that it is the index that lies, or whoever wrote the segment.
"""

from __future__ import annotations

from collections.abc import Sequence

from offline_feature_plane.contracts.archive_index import IndexedSegment
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import ReplayBasisMismatch

__all__ = ["miscounted", "misplaced", "mistimed", "unindexed", "unlike_entries"]

_FIX = ("Find out which of both is wrong. If the segment is, restore it from its log; if the index is, correct its entry, or move "
        "index.json away and make it from the files (`ofs archive index`).")


def misplaced(name: str, topic: str, evidence: SegmentEvidence, found: tuple[str, int, str, int], before: int) -> ReplayBasisMismatch:
    """The error about the first record of a segment that is of another log, beyond the range, or not behind the one before it.

    Args:
        name: the segment's.
        topic: the one that its records must say.
        evidence: what is claimed of it.
        found: topic, partition, kind and number of the record.
        before: the offset that was read before it; −1: none.
    """
    (its_topic, partition, kind, number), (first, end) = found, evidence.span
    held = f"{name} holds {its_topic}/{partition}@{number}"
    lane = f"{topic}/{evidence.partition}"
    if (its_topic, partition, kind) == (topic, evidence.partition, evidence.offset_kind) and first <= number < end:
        return ReplayBasisMismatch(f"{held} after {lane}@{before}: a segment holds each offset once, the smaller ones first.", path=name,
                                   fix=_FIX)
    told = "" if kind == evidence.offset_kind else f", a {kind},"
    return ReplayBasisMismatch(f"{held}{told} where {lane} [{first}, {end}) of {evidence.offset_kind} is indexed.", path=name, fix=_FIX)


def miscounted(name: str, evidence: SegmentEvidence, count: int, last: int | None) -> ReplayBasisMismatch:
    """The error about a segment that holds more or fewer records than is claimed, or others behind the last of these.

    Args:
        name: the segment's.
        evidence: what is claimed of it.
        count: how many were read; beyond the claim nobody reads on.
        last: the offset of the last one that could be decoded; None: there is none.
    """
    more = " or more" if count > evidence.record_count else ""
    return ReplayBasisMismatch(f"{name} holds {count}{more} records up to {last}, but the index says {evidence.record_count} up to "
                               f"{evidence.last_offset}.", path=name, fix=_FIX)


def unindexed(name: str, place: str) -> ReplayBasisMismatch:
    """The error about a file of several segments that holds a record of none of them, at a place."""
    return ReplayBasisMismatch(f"{name} holds {place}, which is in no entry of its index.", path=name, fix=_FIX)


def unlike_entries(name: str, entries: Sequence[IndexedSegment], count: int) -> ReplayBasisMismatch | None:
    """The error about a file of several segments that holds more or fewer records than these count together, or None."""
    indexed = sum(one.record_count for one in entries)
    if count == indexed:
        return None
    return ReplayBasisMismatch(f"{name} holds {count} records, but the index says {indexed}.", path=name, fix=_FIX)


def mistimed(name: str, found: tuple[int | None, int | None], said: tuple[int, int] | None) -> ReplayBasisMismatch | None:
    """The error about log times in an index entry that are not those of its records, or None.

    Args:
        name: the segment's.
        found: the log times of its first and last record in µs; None for one that has none, or was not looked at.
        said: what the entry says; None: nothing.
    """
    for which, its, claimed in zip(("first", "last"), found, said or (), strict=False):
        if its is not None and its != claimed:
            return ReplayBasisMismatch(f"the log took the {which} record of {name} at {format_instant(its)}, but the index says "
                                       f"{format_instant(claimed)}: spans of log time were found by that.", path=name,
                                       fix="Let index.json say the log times of the segment's own records, or null; an index that was made "
                                           "from the files alone can be moved away and made again by `ofs archive index`.")
    return None
