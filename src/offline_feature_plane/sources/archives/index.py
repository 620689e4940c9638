"""What the index of an archive claims: the segments of one topic, pinned (`domain.md` §1.4, `decisions.md` D9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from offline_feature_plane.contracts.archive_index import ArchiveIndex, IndexedSegment, read_index
from offline_feature_plane.domain.canonical import load_json
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.domain.instants import parse_offset_instant
from offline_feature_plane.errors import ArchiveIndexConflict, ResourceExceeded, SchemaInvalid, SourceUnreadable
from offline_feature_plane.sources.archives.places import INDEX, MOST_INDEX_BYTES, ArchivePlace, Version
from offline_feature_plane.sources.archives.segments import Segment

__all__ = ["parse_index", "read_segments"]

_AGAIN = "Make the index again from the segments: `ofs archive index`."


def read_segments(place: ArchivePlace, topic: str, name: str, lifting: Lifting | None = None) -> tuple[Segment, ...]:
    """The segments that the index of an archive has of a topic, by partition and offset; they count in ranges of the topic `name`.

    Args:
        place: the archive.
        topic: as the records call it.
        name: as plane.yaml calls it.
        lifting: how records of another tool are read.

    Raises:
        SourceUnreadable: no index, a malformed one, no segment of this topic.
        ArchiveIndexConflict: an entry was made from a file whose records were read in another way.
        RefInvalid: a segment path that is no path. RefScopeInvalid: one that leads out of the archive.
        StorageIoFailure: its bucket does not answer.
    """
    written = place.document(INDEX)
    where = f"{place.name}/{INDEX}"
    if written is None:
        raise SourceUnreadable(f"{where} cannot be read: No such file or directory.", path=where,
                               fix="An archive is a folder, or a prefix of a bucket, with index.json; `ofs archive index` makes it.")
    index = parse_index(written, where)
    mine = sorted((one for one in index.segments if one.topic == topic), key=lambda one: (one.partition, int(one.first_offset), one.path))
    _check_reading(mine or index.segments, place, name, lifting)
    if not mine:
        known = ", ".join(sorted({one.topic for one in index.segments})) or "none"
        raise SourceUnreadable(f"{where} has no segment of {topic}; its topics: {known}.", path=f"events.{name}",
                               fix="Check the topic's name.")
    in_file: dict[str, list[IndexedSegment]] = defaultdict(list)
    for one in index.segments:
        in_file[one.path].append(one)
    return tuple(_segment(one, in_file[one.path], where, name, place, lifting) for one in mine)


def _check_reading(entries: Sequence[IndexedSegment], place: ArchivePlace, name: str, lifting: Lifting | None) -> None:
    """What files were found to hold holds as long as their records are read so. Raises ArchiveIndexConflict."""
    mapping = None if lifting is None else lifting.mark
    odd = [one for one in entries if one.evidence != "archiver" and one.mapping != mapping]
    if odd:
        how = "when plane.yaml said nothing" if odd[0].mapping is None else "with other words" if lifting is not None else "with a mapping"
        more = f" and {len(odd) - 1:,} more" if len(odd) > 1 else ""
        raise ArchiveIndexConflict(f"{place.name}/{INDEX} was made {how} under `records` of {name}: what it says of {odd[0].path}{more} "
                                   "need not hold now.", path=f"archives.{name}.records",
                                   fix=f"Run `ofs archive index {place.name}`, which reads such files again; or undo the change.")


def _segment(one: IndexedSegment, entries: list[IndexedSegment], where: str, name: str, place: ArchivePlace,
             lifting: Lifting | None) -> Segment:
    file = replace(place.file(one), rows=sum(entry.record_count for entry in entries))
    return Segment(file, _claimed(one, name), _log_times(one, where), one.topic, place, lifting, tuple(entries) if len(entries) > 1 else ())


def parse_index(written: Version, where: str) -> ArchiveIndex:
    """The index in a document. Raises SourceUnreadable."""
    try:
        return read_index(load_json(written.data, name=where, max_bytes=MOST_INDEX_BYTES), where)
    except (SchemaInvalid, ResourceExceeded) as wrong:
        raise SourceUnreadable(f"{where}: {wrong.what}", path=where, fix=_AGAIN) from wrong


def _claimed(one: IndexedSegment, topic: str) -> SegmentEvidence:
    return SegmentEvidence(topic, one.partition, one.offset_kind, one.log_id, one.path, one.first_offset, one.last_offset,
                           one.next_offset, one.record_count, one.sha256, tuple(sorted(one.dispositions.items())))


def _log_times(one: IndexedSegment, place: str) -> tuple[int, int] | None:
    if one.first_log_time_utc is None or one.last_log_time_utc is None:
        return None
    try:
        return parse_offset_instant(one.first_log_time_utc), parse_offset_instant(one.last_log_time_utc)
    except ValueError as wrong:
        raise SourceUnreadable(f"{place}: {one.path}: {wrong}.", path=one.path, fix=_AGAIN) from wrong
