"""Jobs about archives, which need no more of a plane than how an archive is reached and read: making an index, copying records."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from offline_feature_plane.adapters import SystemClock, cache_folder, open_bucket_archive, open_cluster, open_stream
from offline_feature_plane.contracts.plane import ArchiveFolder, S3Access, Settings
from offline_feature_plane.domain.archive_chain import FileRuns
from offline_feature_plane.domain.basis import Range, canonical_basis
from offline_feature_plane.domain.foreign_records import Lifting, lifting_of
from offline_feature_plane.errors import BasisUnresolved, SettingsInvalid, SourceUnreadable
from offline_feature_plane.kernels.compiling import prepare_cache
from offline_feature_plane.plain_files import as_found, resolved
from offline_feature_plane.ports import Clock, Progress
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.s3.place import is_bucket
from offline_feature_plane.sources.archives.index import read_segments
from offline_feature_plane.sources.archives.indexing import IndexWish, make_index
from offline_feature_plane.sources.archives.places import ArchivePlace, FolderPlace
from offline_feature_plane.sources.archives.report import IndexReport
from offline_feature_plane.sources.archives.source import PinnedArchive
from offline_feature_plane.sources.archives.writing import CopyWish, WriteReport, write_segments
from offline_feature_plane.sources.decoding.stored import CopySource, SegmentForm
from offline_feature_plane.sources.kafka.source import KafkaSource, TopicMapping
from offline_feature_plane.sources.kinesis.source import KinesisSource, StreamMapping

__all__ = ["IndexReport", "WriteReport", "index_archive", "write_archive"]


def index_archive(where: str | Path, settings: Settings | None = None, *, log_id: str | None = None, holes_are_lawful: bool = False,
                  undecodable_are_known: bool = False, replace: bool = False, progress: Progress | None = None) -> IndexReport:
    """Make the index of an archive from its files, or bring it up to date.

    Args:
        where: a folder, or `s3://bucket/prefix`.
        settings: the plane's: how its bucket is reached, and how records of another tool are read; both stand beside its path there.
        log_id: which log its offsets count in; default: as the index has it, else the topic's name.
        holes_are_lawful: declare that offsets which no file holds had no record.
        undecodable_are_known: declare the records that cannot be decoded.
        replace: let changed and lost files go, and name the log of all segments anew if `log_id` is none of theirs.
        progress: is told how many bytes are done.

    Raises:
        SourceUnreadable, ArchiveIndexConflict, ReplayBasisMismatch, RefScopeInvalid, ResourceExceeded, StorageIoFailure,
        TimeZoneUndeclared: as `sources.archives.indexing.make_index`. SettingsInvalid: entries of one archive contradict each other.
    """
    mapped = _mapped(str(where), settings)
    place = _opened(str(where), mapped, settings, SystemClock())
    wish = IndexWish(log_id, _lifting(mapped, settings), holes_are_lawful, undecodable_are_known, replace)
    return make_index(place, wish, progress or (lambda *_: None), _scanner)


def _scanner() -> Callable[[PinnedFile, FileRuns, Lifting | None], None]:
    prepare_cache(cache_folder())
    from offline_feature_plane.sources.archives.scanning import scan

    return scan


def write_archive(where: str | Path, topic: str, settings: Settings | None = None, *, source: str | Path | None = None,
                  ranges: Sequence[tuple[int, int, int]] | None = None, form: SegmentForm = "jsonl.zst", per_segment: int = 250_000,
                  progress: Progress | None = None) -> WriteReport:
    """Copy what a bus or an archive holds of a topic into an archive, which is made if there is none. What it has already stays.

    Args:
        where: the archive: a folder, or `s3://bucket/prefix`.
        topic: the topic, as plane.yaml calls it on the bus or in the other archive, else as that one's records do.
        settings: the plane's: how the bus and the buckets are reached, and how records of another tool are read.
        source: another archive; None: the bus that `kafka:` or `kinesis:` of plane.yaml maps.
        ranges: partition, first offset, and the first offset that is not wanted any more; None: everything that is there.
        form: what segments are written as.
        per_segment: how many records a segment holds at most.
        progress: is told how many offsets are done.

    Raises:
        OfsError: as `sources.archives.writing.write_segments`. SettingsInvalid: no bus is mapped, the archive is another tool's, or one
            of both lies in the other.
    """
    mapped = _mapped(str(where), settings)
    if any(one.records is not None for _, one in mapped):
        raise SettingsInvalid(f"plane.yaml says that another tool writes {where}.", path="$.archives", fix="Write into another place.")
    if source is not None:
        _refuse_nesting(str(where), str(source))
    clock = SystemClock()
    prepare_cache(cache_folder())
    pinned = _bus(topic, settings) if source is None else _archive(str(source), topic, settings, clock)
    wanted = None if ranges is None else _ranges(pinned, ranges)
    return write_segments(pinned, _opened(str(where), mapped, settings, clock, may_be_new=True), CopyWish(wanted, form, per_segment), clock,
                          progress or (lambda *_: None))


def _bus(name: str, settings: Settings | None) -> CopySource:
    """The topic on its bus, under the name that it has there, or in archives."""
    topics, streams = ({}, {}) if settings is None else (settings.kafka, settings.kinesis)
    if (entry := topics.get(name)) is not None:
        mapping = TopicMapping.of(name, entry)
        stored = mapping.topic or name
        return KafkaSource({stored: replace(mapping, topic=None, event_type=None)}, open_cluster).pin(stored)
    if (stream := streams.get(name)) is not None:
        mapped = StreamMapping.of(name, stream)
        stored = mapped.topic or name
        return KinesisSource({stored: replace(mapped, topic=None, event_type=None)}, open_stream).pin(stored)
    known = ", ".join([*topics, *streams]) or "none"
    raise SettingsInvalid(f"plane.yaml maps no topic {name} under `kafka` or `kinesis`; it maps: {known}.", path="$.kafka",
                          fix="Map it, or name an archive to copy from with --from.")


def _archive(where: str, name: str, settings: Settings | None, clock: Clock) -> CopySource:
    """A topic of another archive, under the name that its records say; plane.yaml may call it otherwise."""
    mapped = _mapped(where, settings)
    lifting = _lifting(mapped, settings)
    place = _opened(where, mapped, settings, clock)
    topic = _stored_name(name, mapped, settings)
    try:
        segments = read_segments(place, topic, topic, lifting)
    except SourceUnreadable as wrong:
        if wrong.path == f"events.{topic}":
            known = ", ".join(sorted({f"{called} (for {one.topic or called})" for called, one in mapped}))
            wrong.path, wrong.fix = "--topic", f"Name one of these{f', or as plane.yaml calls it: {known}' if known else ''}."
        raise
    return PinnedArchive(topic, None if lifting is None else lifting.zone, segments)


def _stored_name(name: str, mapped: list[tuple[str, ArchiveFolder]], settings: Settings | None) -> str:
    """What records call a topic that plane.yaml calls so, in this archive or on a bus; else it is their name already."""
    called: dict[str, str | None] = {} if settings is None else {
        called: one.topic for entries in (settings.kinesis, settings.kafka) for called, one in entries.items()}
    return (called | {called: one.topic for called, one in mapped}).get(name) or name


def _refuse_nesting(where: str, source: str) -> None:
    """An archive that lies in another one would be read as a part of it by `ofs archive index`. Raises SettingsInvalid."""
    inner, outer = (_steps(one) for one in sorted((where, source), key=lambda one: -len(_steps(one))))
    if inner == outer:
        raise SettingsInvalid(f"{where} is the archive that is copied from.", path="--from", fix="Write into another place.")
    if inner[:len(outer)] == outer and not any(step.startswith((".", "_")) for step in inner[len(outer):]):
        raise SettingsInvalid(f"{where} and {source} lie one in the other: the outer one would be indexed with the inner one's files.",
                              path="--from", fix="Write into another place, or below a folder whose name begins with `_`.")


def _steps(where: str) -> tuple[str, ...]:
    return tuple(where.rstrip("/").split("/")) if is_bucket(where) else resolved(Path(where)).parts


def _ranges(pinned: CopySource, asked: Sequence[tuple[int, int, int]]) -> tuple[Range, ...]:
    """Stretches that somebody asked for. Raises BasisUnresolved."""
    try:
        return canonical_basis(_range(pinned, *one) for one in asked)
    except BasisUnresolved as wrong:
        wrong.path = "--range"
        raise


def _range(pinned: CopySource, partition: int, start: int, end: int) -> Range:
    held = next((one for one in pinned.ranges() if one.partition == partition), None)
    if held is None:
        raise BasisUnresolved(f"{pinned.topic} has no partition {partition}.", path="--range", fix="Name a partition that there is.")
    return replace(held, start_offset=str(start), end_offset=str(end))


def _opened(where: str, mapped: list[tuple[str, ArchiveFolder]], settings: Settings | None, clock: Clock, *,
            may_be_new: bool = False) -> ArchivePlace:
    if is_bucket(where):
        work = Path(tempfile.gettempdir()) if settings is None else Path(settings.work)
        access = next((one.s3 for _, one in mapped if one.s3 is not None), S3Access() if settings is None else settings.s3)
        return open_bucket_archive(work, clock, where, access)
    folder = resolved(Path(where))
    if not folder.is_dir() and (folder.exists() or not may_be_new):
        raise SourceUnreadable(f"{as_found(folder)} is no folder." if folder.exists() else f"there is no folder {as_found(folder)}.",
                               path=where, fix="Name the folder of an archive, or s3://bucket/prefix.")
    return FolderPlace(folder)


def _mapped(where: str, settings: Settings | None) -> list[tuple[str, ArchiveFolder]]:
    """The entries of a plane that map this archive."""
    wanted = where.rstrip("/") if is_bucket(where) else str(resolved(Path(where)))
    entries = () if settings is None else settings.archives.items()
    return [(name, one) for name, one in entries if one.path.rstrip("/") == wanted]


def _lifting(mapped: list[tuple[str, ArchiveFolder]], settings: Settings | None) -> Lifting | None:
    found = {}
    for name, one in mapped:
        lifting = None if one.records is None or settings is None else lifting_of(one.records.places(), one.topic or name,
                                                                                  settings.run_scope, one.zone)
        found[name] = lifting
    kinds = list(found.values())
    if any(one != kinds[0] for one in kinds):
        raise SettingsInvalid(f"{' and '.join(found)} map one archive, and read its records in different ways.", path="$.archives",
                              fix="Give them the same `records` and `zone`; records that say no topic are of one only.")
    return kinds[0] if kinds else None
