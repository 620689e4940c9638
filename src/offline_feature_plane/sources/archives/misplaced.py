"""Records that are not what the index of their archive says: they stand where it has others, or were taken at other times."""

from __future__ import annotations

from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import ReplayBasisMismatch

__all__ = ["misplaced", "mistimed"]


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
        return ReplayBasisMismatch(f"{held} after {lane}@{before}: a segment holds each offset once, the smaller ones first.", path=name)
    told = "" if kind == evidence.offset_kind else f", a {kind},"
    return ReplayBasisMismatch(f"{held}{told} where {lane} [{first}, {end}) of {evidence.offset_kind} is indexed.", path=name)


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
