"""An object store in a bucket (`domain.md` §5).

`If-None-Match: *` is create-if-absent: of any number of writers one wins, and a reader sees all bytes or none. Every object carries the
digest of its bytes, and what arrives is held against it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from offline_feature_plane.aws import FAILURES, code_of
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.objects.disk import on_disk, opened_part
from offline_feature_plane.objects.keys import MAX_DOCUMENT, is_segment, segments_of
from offline_feature_plane.objects.s3.probe import check_store
from offline_feature_plane.objects.s3.upload import Upload
from offline_feature_plane.ports import Clock, Leftover, PutOutcome
from offline_feature_plane.s3.bucket import Bucket, promised
from offline_feature_plane.s3.clients import connect
from offline_feature_plane.s3.place import S3Place

LONGEST_PUT: Final = 64 << 20  # a longer file goes in parts

_ASIDES = itertools.count()
_SAFE: set[S3Place] = set()  # tried by this process
_TRYING = threading.Lock()


class S3Store:
    """Objects in a bucket, below one prefix. Safe for any number of threads and processes.

    Before the first write of a process the store is tried; reading writes nothing.
    """

    name = "s3"

    def __init__(self, place: S3Place, clock: Clock, client: Any = None) -> None:
        self.place = place
        self._bucket = Bucket(client or connect(place), place, clock)

    def __repr__(self) -> str:
        """Shows the place."""
        return f"S3Store({self.place.uri('')!r})"

    def prove(self) -> None:
        """Try the store, once in a process. Raises StoreUnsafe, StorageIoFailure."""
        with _TRYING:
            if self.place not in _SAFE:
                check_store(self._bucket)
                _SAFE.add(self.place)

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        """Create `key` with `data` iff it does not exist yet, durably.

        After a lost reply equal bytes count as ours: `created`.

        Raises:
            RefInvalid, StoreUnsafe, StorageIoFailure.
        """
        segments_of(key)
        self.prove()
        digest = sha256_of(data)
        return self._bucket.create(key, digest, lambda: self._bucket.put(key, data, digest))

    def put_file(self, key: str, path: Path) -> PutOutcome:
        """Like `put_new` from a local file, in one request or in parts.

        Raises:
            RefInvalid, StoreUnsafe, StorageIoFailure: also if `path` is not a regular file.
        """
        segments_of(key)
        with ExitStack() as open_things:
            with on_disk("read", path):
                file = open_things.enter_context(opened_part(path))
                size, digest = os.fstat(file.fileno()).st_size, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            self.prove()
            if size <= LONGEST_PUT:
                return self._bucket.create(key, digest, lambda: self._bucket.put(key, file, digest))
            upload = Upload(self._bucket, key, path, file, size, digest)
            outcome: PutOutcome = "exists"
            try:
                outcome = self._bucket.create(key, digest, upload.send)
            finally:
                if outcome == "exists":  # or it is not known; parts that were joined are none any more
                    upload.abort()
            return outcome

    def get(self, key: str) -> bytes:
        """All bytes of an object. Raises RefInvalid, RefNotFound, ResourceExceeded, DigestMismatch, StorageIoFailure."""
        segments_of(key)
        return self._bucket.read(key, MAX_DOCUMENT)

    def digest(self, key: str) -> str:
        """`sha256:<hex>` of an object's bytes. Raises RefInvalid, RefNotFound, DigestMismatch, StorageIoFailure."""
        segments_of(key)
        return self._bucket.digest(key)

    def local_copy(self, key: str, scratch: Path) -> Path:
        """A copy in `scratch`, named by its digest; one that is there already is taken if its bytes still have that digest.

        Raises:
            RefInvalid, RefNotFound, DigestMismatch, StorageIoFailure: also if the copy cannot be written.
        """
        suffix = Path(segments_of(key)[-1]).suffix

        def fetch() -> Path:
            with self._bucket.opened(key) as answer:
                return _kept(promised(answer), scratch, suffix) or self._fetched(answer, key, scratch, suffix)
        return self._bucket.ask("read", key, fetch)

    def exists(self, key: str) -> bool:
        """Is there an object at `key`? Raises RefInvalid, StorageIoFailure."""
        segments_of(key)
        return self._bucket.holds(key)

    def list(self, prefix: str) -> Iterator[str]:
        """Keys below `prefix` (whole segments; `""` is the root), in byte order. Raises RefInvalid, StorageIoFailure."""
        below = "".join(f"{segment}/" for segment in segments_of(prefix.removesuffix("/"))) if prefix else ""
        yield from sorted(key for key in self._bucket.keys(below) if all(map(is_segment, key.split("/"))))

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is fine. Raises RefInvalid, StorageIoFailure."""
        segments_of(key)
        self._bucket.remove(key)

    def size(self, key: str) -> int:
        """How many bytes an object has. Raises RefInvalid, RefNotFound, StorageIoFailure."""
        segments_of(key)
        return self._bucket.size(key)

    def leftovers(self, prefix: str, is_over: Callable[[str], bool]) -> Iterator[Leftover]:
        """Uploads in parts that were begun below `prefix` for keys of runs that are over. Raises StorageIoFailure."""
        for key, upload in self._bucket.uploads(f"{prefix}/" if prefix else ""):
            if is_over(key):
                yield Leftover(f"{key}?uploadId={upload}", 0, "parts of an upload whose run is over")

    def remove_leftover(self, leftover: Leftover) -> bool:
        """Forget the parts of such an upload; False if they are gone already. Raises StorageIoFailure."""
        key, _, upload = leftover.name.partition("?uploadId=")

        def forget() -> bool:
            try:
                self._bucket.request("abort_multipart_upload", key, UploadId=upload)
            except FAILURES as gone:
                if code_of(gone) != "NoSuchUpload":
                    raise
                return False
            return True
        return self._bucket.ask("delete", key, forget)

    def uri(self, key: str) -> str:
        """`s3://bucket/prefix/key`. Raises RefInvalid."""
        segments_of(key)
        return self.place.uri(key)

    def _fetched(self, answer: dict[str, Any], key: str, scratch: Path, suffix: str) -> Path:
        """Write the body aside, and give it its name when all of it is there."""
        with on_disk("write to", scratch):
            scratch.mkdir(parents=True, exist_ok=True)
            aside = _new_aside(scratch)
        try:
            with aside:
                def take(block: bytes) -> None:
                    with on_disk("write to", scratch):
                        aside.write(block)
                digest = self._bucket.receive(answer, key, take)
                with on_disk("write to", scratch):
                    aside.flush()
            with on_disk("write to", scratch):
                return Path(aside.name).replace(_copy(digest, scratch, suffix))
        finally:
            Path(aside.name).unlink(missing_ok=True)


def _kept(digest: str | None, scratch: Path, suffix: str) -> Path | None:
    """A copy that an earlier reader left, if its bytes are still the ones of its name."""
    if digest is None:
        return None
    copy = _copy(digest, scratch, suffix)
    with suppress(OSError), copy.open("rb") as file:
        if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest:
            return copy
    return None


def _copy(digest: str, scratch: Path, suffix: str) -> Path:
    return scratch / f"{digest.removeprefix('sha256:')}{suffix}"


def _new_aside(folder: Path) -> BinaryIO:
    """A file of an unused name: process and count, tried until the kernel says that it is new."""
    while True:
        with suppress(FileExistsError):
            return (folder / f".{os.getpid()}-{next(_ASIDES)}").open("xb")
