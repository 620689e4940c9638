"""An archive below a prefix of a bucket: one request for the index, one for each segment that is read, none for those that are not.

A segment is fetched into the work folder, one at a time, and its bytes are held against its pin before the first record is decoded. Where
the index has the store's own name for the bytes (`etag`), a replaced object is refused before it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from os.path import commonpath
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final, TypeVar

from offline_feature_plane.aws import FAILURES, status_of
from offline_feature_plane.contracts.archive_index import IndexedSegment
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import (
    ArchiveIndexConflict,
    OfsError,
    RefNotFound,
    ReplayBasisMismatch,
    SourceUnreadable,
    StorageIoFailure,
)
from offline_feature_plane.plain_files import as_found
from offline_feature_plane.ports import Clock
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.s3.bucket import Bucket, part_of
from offline_feature_plane.s3.clients import connect
from offline_feature_plane.s3.place import S3Place
from offline_feature_plane.sources.archives.places import INDEX, MOST_INDEX_BYTES, REPLACED, HeldFile, Version, segment_path
from offline_feature_plane.sources.archives.spools import spool

__all__ = ["BucketPlace"]

_PRECONDITION_FAILED: Final = 412
_CLIENTS: Final[dict[S3Place, Any]] = {}
_OPENING: Final = Lock()

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class BucketPlace:
    """`ArchivePlace` in a bucket.

    Attributes:
        place: bucket and prefix, and how they are reached.
        work: where segments are kept while they are read.
        clock: waits between attempts.
    """

    place: S3Place
    work: Path
    clock: Clock

    @property
    def name(self) -> str:
        """As `ArchivePlace.name`."""
        return self.place.uri("").removesuffix("/")

    @property
    def _bucket(self) -> Bucket:
        with _OPENING:
            if self.place not in _CLIENTS:
                _CLIENTS[self.place] = connect(self.place)
            return Bucket(_CLIENTS[self.place], self.place, self.clock)

    def document(self, name: str) -> Version | None:
        """As `ArchivePlace.document`."""
        def whole() -> Version:
            with bucket.opened(name) as answer:
                blocks: list[bytes] = []
                bucket.receive(answer, name, blocks.append, MOST_INDEX_BYTES)
                return Version(b"".join(blocks), part_of(answer, "ETag"))
        bucket = self._bucket
        try:
            with self._addressed(name):
                return bucket.ask("read", name, whole)
        except RefNotFound:
            return None

    def documents(self, prefix: str) -> list[str]:
        """As `ArchivePlace.documents`."""
        with self._addressed(prefix):
            return sorted(name for name, _, _ in self._bucket.objects(prefix) if "/" not in name)

    def file(self, one: IndexedSegment) -> HeldFile:
        """As `ArchivePlace.file`; whether it is there is asked when it is read."""
        relative = segment_path(one, self.place.uri(INDEX))
        return HeldFile(relative, Path(relative), one.sha256, one.record_count, one.size, one.etag)

    def glance(self, file: HeldFile) -> None:
        """As `ArchivePlace.glance`: nothing is asked for single segments while planning."""

    def oddities(self, files: Sequence[HeldFile]) -> dict[str, str]:
        """As `ArchivePlace.oddities`: what a list of the bucket shows."""
        folder = commonpath([str(Path(one.relative).parent) for one in files]) if files else ""
        below = "" if folder in {"", "."} else f"{folder}/"
        with self._addressed(below):
            there = {name: (size, etag) for name, size, etag in self._bucket.objects(below)} if files else {}
        found = {}
        for one in files:
            size, etag = there.get(one.relative, (None, None))
            if size is None:
                found[one.relative] = f"{self.place.uri(one.relative)} is missing"
            elif size != one.size or (one.etag is not None and etag != one.etag):
                found[one.relative] = f"{self.place.uri(one.relative)} was replaced after it was indexed"
        return found

    def check(self, file: HeldFile) -> None:
        """As `ArchivePlace.check`: its size and, where the index has it, its etag; the bytes are checked when they are there."""
        size = self._asked(file, lambda: self._bucket.measure(file.relative, **_if_same(file)))
        if size != file.size:
            raise ReplayBasisMismatch(f"{self.place.uri(file.relative)} has {size} bytes; the index says {file.size}.", path=file.relative,
                                      fix=REPLACED)

    @contextmanager
    def at_hand(self, file: HeldFile) -> Iterator[PinnedFile]:
        """As `ArchivePlace.at_hand`."""
        with spool(self.work) as folder:
            path, digest = self._fetched(file, folder)
            if digest != file.sha256:
                raise ReplayBasisMismatch(f"{self.place.uri(file.relative)} was pinned as {file.sha256[:19]}…, its bytes now are "
                                          f"{digest[:19]}….", path=file.relative, pinned=file.sha256, found=digest, fix=REPLACED)
            with self._named(path, file):
                yield PinnedFile(file.relative, path, digest, file.rows, file.size)

    def listed(self) -> list[HeldFile]:
        """As `ArchivePlace.listed`."""
        found = [HeldFile(key, Path(key), "", 0, size, etag) for key, size, etag in self._bucket.objects("")
                 if key != INDEX and not any(one.startswith((".", "_")) for one in key.split("/"))]
        if not found:
            raise SourceUnreadable(f"{self.name} holds no files.", path=self.name, fix="Check the address.")
        return sorted(found, key=lambda one: one.relative.encode())

    @contextmanager
    def hashed(self, file: HeldFile) -> Iterator[HeldFile]:
        """As `ArchivePlace.hashed`."""
        with spool(self.work) as folder:
            path, digest = self._fetched(file, folder)
            with self._named(path, file):
                yield HeldFile(file.relative, path, digest, file.rows, path.stat().st_size, file.etag)

    def alone(self) -> nullcontext[None]:
        """As `ArchivePlace.alone`: a bucket has no locks; whoever comes second finds the index replaced."""
        return nullcontext()

    def replace(self, name: str, data: bytes, before: str | None) -> None:
        """As `ArchivePlace.replace`: a conditional write. After a lost answer the bytes that stand there count."""
        bucket, digest = self._bucket, sha256_of(data)
        condition = {"IfNoneMatch": "*"} if before is None else {"IfMatch": before}

        def put() -> None:
            try:
                bucket.put(name, data, digest, if_absent=False, **condition)
            except FAILURES as wrong:
                standing = self.document(name)
                if standing is not None and standing.data == data:
                    return
                if (None if standing is None else standing.mark) != before:
                    raise ArchiveIndexConflict(f"{self.place.uri(name)} was changed by somebody else meanwhile.", path=self.place.uri(name),
                                               fix="Run again: what was read is kept.") from wrong
                raise
        with self._addressed(name):
            bucket.ask("write", name, put)

    def remove(self, name: str) -> None:
        """As `ArchivePlace.remove`."""
        with self._addressed(name):
            self._bucket.remove(name)

    def workshop(self) -> AbstractContextManager[Path]:
        """As `ArchivePlace.workshop`: in the work folder."""
        return spool(self.work)

    def put(self, relative: str, path: Path, sha256: str) -> str | None:
        """As `ArchivePlace.put`: created if absent, in one request."""
        bucket = self._bucket
        with path.open("rb") as file, self._addressed(relative):
            outcome = bucket.create(relative, sha256, partial(bucket.put, relative, file, sha256))

        def look() -> tuple[str, str]:
            with bucket.opened(relative) as answer:
                return part_of(answer, "ETag"), bucket.receive(answer, relative) if outcome == "exists" else sha256
        with self._addressed(relative):
            etag, digest = bucket.ask("read", relative, look)
        if digest != sha256:
            raise ArchiveIndexConflict(f"{self.place.uri(relative)} holds other bytes than this segment.", path=self.place.uri(relative),
                                       fix="Find out who wrote it; remove it, or write below another prefix.")
        path.unlink()
        return etag

    @contextmanager
    def _addressed(self, name: str) -> Iterator[None]:
        """Errors about an object name it by its whole address: many archives have an `index.json`."""
        try:
            yield
        except OfsError as wrong:
            wrong.path = self.place.uri(name) if wrong.path == name else wrong.path
            raise

    @contextmanager
    def _named(self, path: Path, file: HeldFile) -> Iterator[None]:
        """Errors about a fetched file name the object: the file is gone when they are read."""
        try:
            yield
        except OfsError as wrong:
            for name in (str(path), as_found(path)):
                wrong.what = wrong.what.replace(name, self.place.uri(file.relative))
                wrong.path = file.relative if wrong.path == name else wrong.path
            raise

    def _fetched(self, file: HeldFile, folder: Path) -> tuple[Path, str]:
        """Fetch a file, and hash what comes."""
        path, bucket = folder / Path(file.relative).name, self._bucket

        def fetch() -> str:
            with bucket.opened(file.relative, **_if_same(file)) as answer, _room(path) as aside:
                return bucket.receive(answer, file.relative, lambda block: _written(aside, block, path))
        return path, self._asked(file, fetch)

    def _asked(self, file: HeldFile, request: Callable[[], Answer]) -> Answer:
        """Ask for a file. Raises ReplayBasisMismatch if it is gone, or its etag is another."""
        def ask() -> Answer:
            try:
                return request()
            except FAILURES as wrong:
                if status_of(wrong) == _PRECONDITION_FAILED:
                    raise ReplayBasisMismatch(f"{self.place.uri(file.relative)} was replaced after it was indexed: its etag is not "
                                              f"{file.etag} any more.", path=file.relative, fix=REPLACED) from wrong
                raise
        try:
            return self._bucket.ask("read", file.relative, ask)
        except RefNotFound as gone:
            raise ReplayBasisMismatch(f"{self.place.uri(file.relative)} is missing.", path=file.relative,
                                      fix="Restore the segment.") from gone


def _if_same(file: HeldFile) -> dict[str, str]:
    return {} if file.etag is None else {"IfMatch": file.etag}


@contextmanager
def _room(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("wb")
    except OSError as wrong:
        raise _no_room(path, wrong) from wrong
    with file:
        yield file


def _written(file: BinaryIO, block: bytes, path: Path) -> None:
    try:
        file.write(block)
    except OSError as wrong:
        raise _no_room(path, wrong) from wrong


def _no_room(path: Path, wrong: OSError) -> StorageIoFailure:
    return StorageIoFailure(f"cannot write to {path}: {wrong.strerror or wrong}.", path=str(path),
                            fix="Free space there, or set `work` in plane.yaml to a folder with room.")
