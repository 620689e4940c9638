"""Jobs about archives, which need no more of a plane than how an archive is reached and read: making an index, copying records."""

from __future__ import annotations

import tempfile
from pathlib import Path

from offline_feature_plane.adapters import SystemClock, open_bucket_archive
from offline_feature_plane.contracts.plane import ArchiveFolder, S3Access, Settings
from offline_feature_plane.domain.foreign_records import Lifting, lifting_of
from offline_feature_plane.errors import SettingsInvalid, SourceUnreadable
from offline_feature_plane.plain_files import as_found, resolved
from offline_feature_plane.ports import Clock, Progress
from offline_feature_plane.s3.place import is_bucket
from offline_feature_plane.sources.archive_indexing import IndexWish, make_index
from offline_feature_plane.sources.archive_places import ArchivePlace, FolderPlace
from offline_feature_plane.sources.archive_report import IndexReport

__all__ = ["IndexReport", "index_archive"]


def index_archive(where: str | Path, settings: Settings | None = None, *, log_id: str | None = None, holes_are_lawful: bool = False,
                  undecodable_are_known: bool = False, replace: bool = False, progress: Progress | None = None) -> IndexReport:
    """Make the index of an archive from its files, or bring it up to date.

    Args:
        where: a folder, or `s3://bucket/prefix`.
        settings: the plane's: how its bucket is reached, and how records of another tool are read; both stand beside its path there.
        log_id: which log its offsets count in; default: as the index has it, else the topic's name.
        holes_are_lawful: declare that offsets which no file holds had no record.
        undecodable_are_known: declare the records that cannot be decoded.
        replace: let changed and lost files go.
        progress: is told how many bytes are done.

    Raises:
        SourceUnreadable, ArchiveIndexConflict, ReplayBasisMismatch, RefScopeInvalid, ResourceExceeded, StorageIoFailure,
        TimeZoneUndeclared: as `sources.archive_indexing.make_index`. SettingsInvalid: entries of one archive contradict each other.
    """
    mapped = _mapped(str(where), settings)
    place = _opened(str(where), mapped, settings, SystemClock())
    wish = IndexWish(log_id, _lifting(mapped, settings), holes_are_lawful, undecodable_are_known, replace)
    return make_index(place, wish, progress or (lambda *_: None))


def _opened(where: str, mapped: list[tuple[str, ArchiveFolder]], settings: Settings | None, clock: Clock) -> ArchivePlace:
    if is_bucket(where):
        work = Path(tempfile.gettempdir()) if settings is None else Path(settings.work)
        access = next((one.s3 for _, one in mapped if one.s3 is not None), S3Access() if settings is None else settings.s3)
        return open_bucket_archive(work, clock, where, access)
    folder = resolved(Path(where))
    if not folder.is_dir():
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
