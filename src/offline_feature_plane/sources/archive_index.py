"""What the index of an archive claims: the segments of one topic, pinned (`domain.md` §1.4, `decisions.md` D9)."""

from __future__ import annotations

from pathlib import Path

from offline_feature_plane.contracts.archive_index import IndexedSegment, read_index
from offline_feature_plane.contracts.model import shown
from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES, load_json
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.instants import parse_offset_instant
from offline_feature_plane.domain.path_texts import path_fault
from offline_feature_plane.errors import RefInvalid, RefScopeInvalid, SchemaInvalid, SourceUnreadable
from offline_feature_plane.plain_files import open_in_place, read_small, resolved
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.segments import Segment

__all__ = ["read_segments"]


def read_segments(root: Path, topic: str, name: str) -> tuple[Segment, ...]:
    """The segments that the index in a folder has of a topic, by partition and offset; they count in ranges of the topic `name`.

    Raises:
        SourceUnreadable: no index, a malformed one, a missing segment, no segment of this topic.
        RefInvalid: a segment path that is no path. RefScopeInvalid: one that leads out of the archive.
    """
    place = root / "index.json"
    try:
        data = read_small(_beneath(root, place.name), MAX_DOCUMENT_BYTES, open_in_place)
        index = read_index(load_json(data, name=str(place)), str(place))
    except OSError as wrong:
        raise SourceUnreadable(f"{place} cannot be read: {wrong.strerror or wrong}.", path=str(place),
                               fix="An archive is a folder with index.json.") from wrong
    except SchemaInvalid as wrong:
        raise SourceUnreadable(f"{place}: {wrong.what}", path=str(place), fix="Generate the index again from the segments.") from wrong
    mine = sorted((one for one in index.segments if one.topic == topic), key=lambda one: (one.partition, int(one.first_offset), one.path))
    if not mine:
        known = ", ".join(sorted({one.topic for one in index.segments})) or "none"
        raise SourceUnreadable(f"{place} has no segment of {topic}; its topics: {known}.", path=f"events.{name}",
                               fix="Check the topic's name.")
    return tuple(Segment(_pinned(root, one), _claimed(one, name), _log_times(one, str(place)), topic) for one in mine)


def _pinned(root: Path, one: IndexedSegment) -> PinnedFile:
    if (fault := path_fault(one.path)) is not None:
        raise RefInvalid(f"{shown(one.path)} is not a valid segment path: {fault}.", path=str(root / "index.json"),
                         fix="Name the segments by paths relative to the folder of their index.")
    try:
        path = _beneath(root, one.path)
    except OSError as wrong:
        raise SourceUnreadable(f"the segment {one.path} cannot be found: {wrong.strerror or wrong}.", path=one.path,
                               fix="Restore the segment.") from wrong
    return PinnedFile(one.path, path, one.sha256, one.record_count, one.size)


def _beneath(root: Path, name: str) -> Path:
    """The place of a file of the archive, links followed. Raises RefScopeInvalid: it is outside of the archive. OSError: there is none."""
    path = resolved(root / name, strict=True)
    if not path.is_relative_to(resolved(root)) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise RefScopeInvalid(f"{name} is outside of the archive {root}.", path=name,
                              fix="Move the segments below the folder of their index.")
    return path


def _claimed(one: IndexedSegment, topic: str) -> SegmentEvidence:
    return SegmentEvidence(topic, one.partition, one.offset_kind, one.log_id, one.path, one.first_offset, one.last_offset,
                           one.next_offset, one.record_count, one.sha256, tuple(sorted(one.dispositions.items())))


def _log_times(one: IndexedSegment, place: str) -> tuple[int, int] | None:
    if one.first_log_time_utc is None or one.last_log_time_utc is None:
        return None
    try:
        return parse_offset_instant(one.first_log_time_utc), parse_offset_instant(one.last_log_time_utc)
    except ValueError as wrong:
        raise SourceUnreadable(f"{place}: {one.path}: {wrong}.", path=one.path,
                               fix="Generate the index again from the segments.") from wrong
