"""Spans of log time turned into offsets, only where the archive's index settles them (`domain.md` §1.2, `decisions.md` D16)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from offline_feature_plane.domain.basis import Lane, Range, Selector, canonical_basis
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import OfsError, SelectorUnresolved
from offline_feature_plane.sources.archives.segments import Segment
from offline_feature_plane.sources.logs.stretches import Undecodable, lane_of


def resolve_selector(segments: Sequence[Segment], selector: Selector) -> tuple[Range, ...]:
    """Turn a span of log time into ranges: per partition `[first offset with log time ≥ from, first with ≥ to)`.

        log time   09:00    10:00 from      11:00      12:00 to
        offsets  ──100───────101─103─────────107─────────110──▶     [101, 110)

    Args:
        segments: those of the topic, in the order of their offsets.
        selector: half-open.

    Raises:
        SelectorUnresolved: the archive ends before `to`, begins after `from`, its segments overlap, or its clock runs backwards.
        ReplayBasisMismatch: a segment is not the indexed one.
    """
    if selector.from_us >= selector.to_us:
        raise _unresolved("the selector is empty.", "`to` must be later than `from`.")
    lanes: dict[Lane, list[Segment]] = {}
    for one in segments:
        lanes.setdefault(lane_of(one), []).append(one)
    found = []
    for (topic, partition, kind, log_id), lane in lanes.items():
        start, end = find_first(lane, selector.from_us, is_start=True), find_first(lane, selector.to_us, is_start=False)
        if start < end:
            found.append(Range(topic, partition, kind, log_id, str(start), str(end)))
    if not found:
        span = f"{format_instant(selector.from_us)} to {format_instant(selector.to_us)}"
        raise _unresolved(f"{selector.topic} has no record from {span}.", "Widen the selector.")
    return canonical_basis(found)


def find_first(lane: Sequence[Segment], moment: int, *, is_start: bool) -> int:
    """The first offset of a partition whose log time is not before a moment, if the index settles it. Raises as `resolve_selector`."""
    when, name = format_instant(moment), f"{lane[0].evidence.topic}/{lane[0].evidence.partition}"
    if any(left.evidence.span[1] > right.evidence.span[0] for left, right in pairwise(lane)):
        raise _unresolved(f"segments of {name} overlap, so {when} has no single offset.", "Name ranges.")
    held = [(segment, segment.log_times) for segment in lane if segment.log_times is not None]
    if any(left[1][1] > right[1][0] for left, right in pairwise(held)) or any(first > last for _, (first, last) in held):
        raise _unresolved(f"the log times of {name} run backwards, so {when} has no single offset.", "Name ranges.")
    if not held or held[-1][1][1] < moment:
        until = format_instant(held[-1][1][1]) if held else "nothing"
        raise _unresolved(f"{name} is archived up to {until} only, not to {when}.",
                          "Wait until the archive reaches beyond `to`, or give offset ranges.")
    begins = lane[0].evidence.span[0]
    if is_start and held[0][1][0] > moment and begins > 0:
        raise _unresolved(f"{name} is archived from {format_instant(held[0][1][0])} (offset {begins}), after {when}.",
                          "Give offset ranges, or let the selector begin later.")
    segment = next(segment for segment, (_, last) in held if last >= moment)
    segment.check()
    before = None
    for record in segment.read():
        if isinstance(record, Undecodable):
            continue
        if before is not None and record.log_us < before:
            raise _unresolved(f"the log times of {name} run backwards at {record.offset}.", "Name ranges.")
        before = record.log_us
        if record.log_us >= moment:
            return record.number
    raise _unresolved(f"{segment.file.relative} holds no record at {when}, although its index says so.", "Make the index again.")


def _unresolved(what: str, fix: str) -> OfsError:
    return SelectorUnresolved(what, path="replay_basis", fix=fix)
