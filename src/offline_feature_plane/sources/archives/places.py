"""Where an archive is: a folder of this machine, or a prefix of a bucket. Its index, its files, and what is known of each."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from offline_feature_plane.contracts.archive_index import IndexedSegment
from offline_feature_plane.contracts.model import shown
from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES, sha256_of
from offline_feature_plane.domain.path_texts import path_fault
from offline_feature_plane.errors import (
    ArchiveIndexConflict,
    OfsError,
    RefInvalid,
    RefScopeInvalid,
    ReplayBasisMismatch,
    SourceUnreadable,
    StorageIoFailure,
)
from offline_feature_plane.filesets import check_pins, digest_of
from offline_feature_plane.found_files import find_files, told
from offline_feature_plane.plain_files import as_found, make_lasting_folder, open_in_place, read_small, resolved, sync_folder
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.spools import spool

__all__ = ["INDEX", "MOST_INDEX_BYTES", "REPLACED", "UNFINISHED", "ArchivePlace", "FolderPlace", "HeldFile", "Version",
           "segment_path"]

INDEX: Final = "index.json"
UNFINISHED: Final = "_index.unfinished.json"  # what a job that makes an index knows so far
MOST_INDEX_BYTES: Final = 16 * MAX_DOCUMENT_BYTES
REPLACED: Final = ("Restore the bytes that were indexed; or, if these are meant, index them (`ofs archive index ARCHIVE --replace`) "
                   "and plan anew.")

_WORKSHOP: Final = ".writing-"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class HeldFile(PinnedFile):
    """A file of an archive. In a bucket `etag` is the store's own name for its bytes, and `path` means nothing before it is at hand."""

    etag: str | None = None


@dataclass(frozen=True)
class Version:
    """A document of an archive, and what stands for these bytes of it: nobody else has replaced it if that is the same later."""

    data: bytes
    mark: str


class ArchivePlace(Protocol):
    """Where an archive is. It can be pickled: segments are read in other processes, too."""

    @property
    def name(self) -> str:
        """How people find it."""

    def document(self, name: str) -> Version | None:
        """The index, or another document beside it; None if there is none.

        Raises:
            SourceUnreadable, ResourceExceeded: it cannot be read. StorageIoFailure: the bucket does not answer.
        """

    def documents(self, prefix: str) -> Sequence[str]:
        """The names of the documents beside the index that begin so. Raises as `document`."""

    def file(self, one: IndexedSegment) -> HeldFile:
        """The file of a segment, be it there or not. Raises RefInvalid, RefScopeInvalid: it is no path in the archive."""

    def glance(self, file: HeldFile) -> None:
        """Look while planning whether a file can be the pinned one, if that costs next to nothing. Raises as `check`."""

    def oddities(self, files: Sequence[HeldFile]) -> Mapping[str, str]:
        """What shows to be wrong with some files without reading them, by path, as a clause. Raises as `listed`."""

    def check(self, file: HeldFile) -> None:
        """Hold a file against its pin before anything is read. Raises ReplayBasisMismatch: another is there, or none."""

    def at_hand(self, file: HeldFile) -> AbstractContextManager[PinnedFile]:
        """A file on this machine, its bytes those of the pin, during the block.

        Raises:
            ReplayBasisMismatch: its bytes are others. StorageIoFailure: the bucket does not answer, or there is no room.
        """

    def listed(self) -> list[HeldFile]:
        """Every file below, by path, as far as it is known without being read: no digest, no rows. For making an index only.

        Raises:
            SourceUnreadable: nothing is there. RefScopeInvalid: a link leads out. StorageIoFailure.
        """

    def hashed(self, file: HeldFile) -> AbstractContextManager[HeldFile]:
        """A listed file on this machine, with the digest that it has now, during the block. Raises as `at_hand`."""

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else on this machine makes the index during the block. Raises ArchiveIndexConflict."""

    def replace(self, name: str, data: bytes, before: str | None) -> None:
        """Replace a document as one piece, durably; None: nothing is there.

        Raises:
            ArchiveIndexConflict: what is there is not what stood there `before`. StorageIoFailure.
        """

    def remove(self, name: str) -> None:
        """Remove a document, if it is there. Raises StorageIoFailure."""

    def workshop(self) -> AbstractContextManager[Path]:
        """A folder in which new files are made, gone after the block. Raises StorageIoFailure."""

    def put(self, relative: str, path: Path, sha256: str) -> str | None:
        """A new file from one in the workshop, which goes, durably; its etag, if it is in a bucket. One with these bytes is as good.

        Raises:
            ArchiveIndexConflict: another file is there. StorageIoFailure.
        """


def segment_path(one: IndexedSegment, place: str) -> str:
    """The path of a segment below its archive. Raises RefInvalid: it is none. RefScopeInvalid: it leads out."""
    if (fault := path_fault(one.path)) is not None:
        raise RefInvalid(f"{shown(one.path)} is not a valid segment path: {fault}.", path=place,
                         fix="Name the segments by paths relative to the folder of their index.")
    if one.path.startswith("/") or ".." in one.path.split("/"):
        raise RefScopeInvalid(f"{one.path} is outside of the archive {place}.", path=one.path,
                              fix="Move the segments below the folder of their index.")
    return one.path


@dataclass(frozen=True)
class FolderPlace:
    """An archive in a folder. Segments are read in place, and hashed just before."""

    root: Path

    @property
    def name(self) -> str:
        """As `ArchivePlace.name`."""
        return as_found(self.root)

    def document(self, name: str) -> Version | None:
        """As `ArchivePlace.document`. Raises RefScopeInvalid: it is a link out of the archive."""
        try:
            data = read_small(self._beneath(name), MOST_INDEX_BYTES, open_in_place)
        except FileNotFoundError:
            return None
        except OSError as wrong:
            raise SourceUnreadable(f"{self.root / name} cannot be read: {wrong.strerror or wrong}.", path=str(self.root / name),
                                   fix="Give this user the right to read it.") from wrong
        return Version(data, sha256_of(data))

    def documents(self, prefix: str) -> Sequence[str]:
        """As `ArchivePlace.documents`."""
        try:
            return sorted(one.name for one in self.root.iterdir() if one.name.startswith(prefix))
        except OSError as wrong:
            raise SourceUnreadable(f"{self.name} cannot be read: {wrong.strerror or wrong}.", path=self.name,
                                   fix="Give this user the right to read it.") from wrong

    def file(self, one: IndexedSegment) -> HeldFile:
        """As `ArchivePlace.file`."""
        relative = segment_path(one, str(self.root / INDEX))
        try:
            path = self._beneath(relative, strict=False)
        except OSError as wrong:
            raise SourceUnreadable(f"the segment {relative} cannot be found: {wrong.strerror or wrong}.", path=relative,
                                   fix="Restore the segment.") from wrong
        return HeldFile(relative, path, one.sha256, one.record_count, one.size)

    def glance(self, file: HeldFile) -> None:
        """As `ArchivePlace.glance`: its size. Raises SourceUnreadable: it is missing."""
        try:
            size = file.path.stat().st_size
        except OSError as wrong:
            raise SourceUnreadable(f"the segment {file.relative} cannot be found: {wrong.strerror or wrong}.", path=file.relative,
                                   fix="Restore the segment.") from wrong
        if size != file.size:
            raise ReplayBasisMismatch(f"the segment {as_found(file.path)} has {size} bytes; the index says {file.size}.",
                                      path=file.relative, fix=REPLACED)

    def oddities(self, files: Sequence[HeldFile]) -> Mapping[str, str]:
        """As `ArchivePlace.oddities`."""
        found = {}
        for one in files:
            try:
                self.glance(one)
            except (SourceUnreadable, ReplayBasisMismatch) as wrong:
                found[one.relative] = wrong.what.removesuffix(".")
        return found

    def check(self, file: HeldFile) -> None:
        """As `ArchivePlace.check`: hash it."""
        try:
            check_pins([file])
        except ReplayBasisMismatch as wrong:
            wrong.fix = REPLACED
            raise

    def at_hand(self, file: HeldFile) -> AbstractContextManager[PinnedFile]:
        """As `ArchivePlace.at_hand`: it is, and `check` has hashed it."""
        return nullcontext(file)

    def listed(self) -> list[HeldFile]:
        """As `ArchivePlace.listed`."""
        found = [HeldFile(relative, path, "", 0, told(path.stat, path).st_size) for relative, path in find_files(self.root)
                 if relative != INDEX]
        for one in found:
            if not (self.root / one.relative).exists() and one.path.exists():
                raise SourceUnreadable(f"the file name {one.relative!a} is not composed (NFC).", path=one.relative,
                                       fix="Rename the file: an index names it in composed form.")
        return found

    @contextmanager
    def hashed(self, file: HeldFile) -> Iterator[HeldFile]:
        """As `ArchivePlace.hashed`."""
        digest = digest_of(file.path)
        yield HeldFile(file.relative, file.path, digest, file.rows, file.size)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """As `ArchivePlace.alone`: a lock on the folder, which ends with the process."""
        try:
            make_lasting_folder(self.root)
            folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as wrong:
            raise _unwritable(self.root, wrong) from wrong
        try:
            with suppress(OSError):  # a file system without locks: the index is compared before it is replaced, all the same
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as held:
                    raise ArchiveIndexConflict(f"another process makes the index of {self.name}.", path=self.name,
                                               fix="Wait until it has ended, then run again.") from held
            yield
        finally:
            os.close(folder)

    def replace(self, name: str, data: bytes, before: str | None) -> None:
        """As `ArchivePlace.replace`: written aside, synced, renamed."""
        standing = self.document(name)
        if (None if standing is None else standing.mark) != before:
            raise ArchiveIndexConflict(f"{self.root / name} was changed by somebody else meanwhile.", path=str(self.root / name),
                                       fix="Run again: what was read is kept.")
        self._write(self.root / name, data)

    def remove(self, name: str) -> None:
        """As `ArchivePlace.remove`."""
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as wrong:
            raise _unwritable(self.root / name, wrong) from wrong

    def workshop(self) -> AbstractContextManager[Path]:
        """As `ArchivePlace.workshop`: hidden in the archive, so that files are moved and not copied; what dead processes left goes."""
        for left in self.root.glob(f"{_WORKSHOP}*"):
            shutil.rmtree(left, ignore_errors=True)  # nobody else works here: `alone`
        return spool(self.root, _WORKSHOP)

    def put(self, relative: str, path: Path, sha256: str) -> str | None:
        """As `ArchivePlace.put`: `path` is moved, so it must be on the same file system."""
        target = self.root / relative
        try:
            make_lasting_folder(target.parent)
            try:
                os.link(path, target, follow_symlinks=False)
            except FileExistsError:
                if digest_of(resolved(target)) != sha256:
                    raise ArchiveIndexConflict(f"{as_found(target)} holds other bytes than this segment.", path=relative,
                                               fix="Find out who wrote it; move it away, or write into another folder.") from None
            path.unlink()
            sync_folder(target.parent)
        except OSError as wrong:
            raise _unwritable(target, wrong) from wrong
        return None

    def _write(self, target: Path, data: bytes) -> None:
        aside = target.with_name(f".{target.name}.aside")  # nobody else writes here: `alone`; what a dead process left is overwritten
        try:
            descriptor = os.open(aside, _NEW, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            aside.replace(target)
            sync_folder(target.parent)
        except OSError as wrong:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise _unwritable(target, wrong) from wrong

    def _beneath(self, name: str, *, strict: bool = True) -> Path:
        """The place of a file of the archive, links followed. Raises RefScopeInvalid: it is outside. OSError: there is none."""
        path = resolved(self.root / name, strict=strict)
        if not path.is_relative_to(resolved(self.root)):
            raise RefScopeInvalid(f"{name} is outside of the archive {self.root}.", path=name,
                                  fix="Move the segments below the folder of their index.")
        return path


def _unwritable(path: Path, wrong: OSError) -> OfsError:
    return StorageIoFailure(f"{as_found(path)} cannot be written: {wrong.strerror or wrong}.", path=as_found(path),
                            fix="Free space there, and give this user the right to write.")
