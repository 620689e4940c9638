"""Records that stand where the index of their archive has others."""

from __future__ import annotations

from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.errors import ReplayBasisMismatch

__all__ = ["misplaced"]


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
