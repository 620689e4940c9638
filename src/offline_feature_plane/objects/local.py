"""An object store in a folder of a local disk (`domain.md` §5).

    write aside in .staging ─▶ fsync ─▶ hard-link to the final name ─▶ fsync the folders ─▶ remove the aside

`link` is create-if-absent: of any number of writers one wins, and a reader sees all bytes or none. Every path is walked segment by
segment below the root without following links, so no key leads outside. What a crash leaves in `.staging` is harmless: no key reaches it,
and its name is never used again while it exists.
An aside whose writer is gone can be told by its lock, and collected (`objects.asides`).
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO

from offline_feature_plane.errors import RefInvalid, RefNotFound, RefScopeInvalid, ResourceExceeded, StorageIoFailure
from offline_feature_plane.objects.asides import new_aside, orphan
from offline_feature_plane.objects.disk import disk_failure, opened_part
from offline_feature_plane.objects.keys import MAX_DOCUMENT, Segments, is_segment, segments_of
from offline_feature_plane.plain_files import make_lasting_folder
from offline_feature_plane.ports import Leftover, PutOutcome

STAGING = ".staging"

Folders = list[int]  # open descriptors, root first

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 1 << 20
_NO_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStore:
    """Objects below one root folder. The root is created by the first put; reading an absent root finds nothing.

    Safe for any number of threads and processes. The file system must have hard links.
    """

    name = "local"

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - absolute() keeps `..`, resolve() would follow links now and not later
        self._counter = itertools.count()
        self._lasts = False  # do the names that lead to the root survive a power loss?

    def __repr__(self) -> str:
        """Shows the root."""
        return f"LocalStore({str(self.root)!r})"

    def prove(self) -> None:
        """Write an aside and link it, which needs all that creating an object needs. Raises StorageIoFailure."""
        with self._mapped("write", STAGING), self._folders([STAGING], create=True) as (*_, staging):
            name, descriptor = self._new_aside(staging)
            try:
                os.fsync(descriptor)
                self._link(name, staging, f"{name}-tried", staging)
                os.unlink(f"{name}-tried", dir_fd=staging)
            finally:
                os.close(descriptor)
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=staging)

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        """Create `key` with `data` iff it does not exist yet, durably. Raises RefInvalid, RefScopeInvalid, StorageIoFailure."""
        segments = segments_of(key)

        def fill(aside: IO[bytes]) -> None:
            aside.write(data)

        with self._mapped("write", key), self._folders(segments[:-1], create=True) as folders:
            return self._put_aside(folders, segments, fill)

    def put_file(self, key: str, path: Path) -> PutOutcome:
        """Like `put_new` from a local file: linked if it lies on the same file system, else copied.

        Raises:
            RefInvalid, RefScopeInvalid, StorageIoFailure: also if `path` is not a regular file.
        """
        segments = segments_of(key)
        with self._mapped("write", key), ExitStack() as open_things:
            source = open_things.enter_context(opened_part(path))
            folders = open_things.enter_context(self._folders(segments[:-1], create=True))
            os.fsync(source.fileno())
            try:
                os.link(path, segments[-1], dst_dir_fd=folders[-1], follow_symlinks=False)
            except FileExistsError:
                return self._settled(folders, segments, "exists")
            except OSError as wrong:
                if wrong.errno not in _NO_LINK | {errno.EXDEV}:
                    raise
            else:
                return self._settled(folders, segments, "created")

            def fill(aside: IO[bytes]) -> None:
                while block := source.read(_BLOCK):
                    aside.write(block)

            return self._put_aside(folders, segments, fill)

    def get(self, key: str) -> bytes:
        """All bytes of an object. Raises RefInvalid, RefScopeInvalid, RefNotFound, StorageIoFailure."""
        segments = segments_of(key)
        with self._mapped("read", key), self._folders(segments[:-1]) as folders, self._opened(key, segments, folders) as file:
            if (size := os.fstat(file.fileno()).st_size) > MAX_DOCUMENT:
                raise ResourceExceeded(f"{self.uri(key)} has {size:,} bytes; no document is longer than {MAX_DOCUMENT:,}.", path=key,
                                       fix="Look what it is, and restore the document from a copy of the store.")
            return file.read()

    def digest(self, key: str) -> str:
        """`sha256:<hex>` of an object's bytes. Raises RefInvalid, RefScopeInvalid, RefNotFound, StorageIoFailure."""
        segments = segments_of(key)
        with self._mapped("read", key), self._folders(segments[:-1]) as folders, self._opened(key, segments, folders) as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

    def local_copy(self, key: str, scratch: Path) -> Path:  # noqa: ARG002 - other stores download into it
        """The object's own file: read only. Raises RefInvalid, RefScopeInvalid, RefNotFound, StorageIoFailure."""
        segments = segments_of(key)
        with self._mapped("read", key), self._folders(segments[:-1]) as folders, self._opened(key, segments, folders):
            return self.root.joinpath(*segments)

    def exists(self, key: str) -> bool:
        """Is there an object at `key`? Raises RefInvalid, RefScopeInvalid, StorageIoFailure."""
        segments = segments_of(key)
        try:
            with self._mapped("read", key), self._folders(segments[:-1]) as folders, self._opened(key, segments, folders):
                return True
        except RefNotFound:
            return False

    def size(self, key: str) -> int:
        """How many bytes an object has. Raises RefInvalid, RefScopeInvalid, RefNotFound, StorageIoFailure."""
        segments = segments_of(key)
        with self._mapped("read", key), self._folders(segments[:-1]) as folders, self._opened(key, segments, folders) as file:
            return os.fstat(file.fileno()).st_size

    def list(self, prefix: str) -> Iterator[str]:
        """Keys below `prefix` (whole segments; `""` is the root), in byte order. Raises RefInvalid, RefScopeInvalid, StorageIoFailure."""
        segments = segments_of(prefix.removesuffix("/")) if prefix else []
        with suppress(RefNotFound), self._mapped("read", prefix), self._folders(segments) as folders:
            yield from _walk(folders[-1], "".join(f"{segment}/" for segment in segments))

    def delete(self, key: str) -> None:
        """Remove an object durably; an absent one is fine. Raises RefInvalid, RefScopeInvalid, StorageIoFailure."""
        segments = segments_of(key)
        with suppress(RefNotFound), self._mapped("delete", key), self._folders(segments[:-1]) as folders:
            _refuse_strange(key, segments[-1], folders[-1])
            with suppress(FileNotFoundError):
                os.unlink(segments[-1], dir_fd=folders[-1])
            os.fsync(folders[-1])

    def leftovers(self, prefix: str, is_over: Callable[[str], bool]) -> Iterator[Leftover]:  # noqa: ARG002 - a lock says more
        """Asides whose writers are gone, in the order of their names. Raises StorageIoFailure."""
        with suppress(RefNotFound), self._mapped("read", STAGING), self._folders([STAGING]) as (*_, staging):
            with os.scandir(staging) as entries:
                names = sorted(entry.name for entry in entries)
            for name in names:
                with orphan(name, staging) as size:
                    pass
                if size is not None:
                    yield Leftover(f"{STAGING}/{name}", size, "its writer is gone")

    def remove_leftover(self, leftover: Leftover) -> bool:
        """Remove an aside, if its writer is still gone. Raises StorageIoFailure."""
        name = leftover.name.rpartition("/")[2]
        with (suppress(RefNotFound), self._mapped("delete", leftover.name), self._folders([STAGING]) as (*_, staging),
              orphan(name, staging) as size):
            if size is not None:
                os.unlink(name, dir_fd=staging)
                return True
        return False

    def uri(self, key: str) -> str:
        """The object's path."""
        return str(self.root.joinpath(*segments_of(key)))

    def _put_aside(self, folders: Folders, segments: Segments, fill: Callable[[IO[bytes]], None]) -> PutOutcome:
        """Write an aside file, link it to its final name, remove the aside."""
        with self._folders([STAGING], create=True) as (*_, staging):
            name, descriptor = self._new_aside(staging)
            try:
                with os.fdopen(descriptor, "wb") as aside:
                    fill(aside)
                    aside.flush()
                    os.fsync(descriptor)
                try:
                    self._link(name, staging, segments[-1], folders[-1])
                except FileExistsError:
                    return self._settled(folders, segments, "exists")
                return self._settled(folders, segments, "created")
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=staging)

    def _link(self, name: str, folder: int, new: str, new_folder: int) -> None:
        """Give a file a second name, unless that is taken. Raises FileExistsError, StorageIoFailure: there are no hard links."""
        try:
            os.link(name, new, src_dir_fd=folder, dst_dir_fd=new_folder, follow_symlinks=False)
        except OSError as wrong:
            if wrong.errno in _NO_LINK:
                raise StorageIoFailure(f"the file system of {self.root} has no hard links ({wrong.strerror}).", path=str(self.root),
                                       fix="Put the store root on a file system that has them (ext4, XFS, APFS, NFS).") from wrong
            raise

    def _new_aside(self, staging: int) -> tuple[str, int]:
        """A new aside under an unused name: process and count, tried until the kernel says that it is new."""
        while True:
            name = f"{os.getpid()}-{next(self._counter)}"
            if (descriptor := new_aside(name, staging)) is not None:
                return name, descriptor

    def _settled(self, folders: Folders, segments: Segments, outcome: PutOutcome) -> PutOutcome:
        """Make the name durable, whichever process created it and its folders: an object reported as `exists` must not be lost either."""
        key = "/".join(segments)
        if _kind_at(segments[-1], folders[-1]) == stat.S_IFDIR:
            raise RefInvalid(f"{key} is a prefix of other objects.", path=key, fix="Choose a key that is not a prefix of other keys.")
        _refuse_strange(key, segments[-1], folders[-1])
        for folder in reversed(folders):
            os.fsync(folder)
        return outcome

    @contextmanager
    def _folders(self, segments: Segments, *, create: bool = False) -> Iterator[Folders]:
        """Descriptors of the root and every folder down to the last segment; no link is followed below the root."""
        with ExitStack() as closing:
            try:
                if create and not (self._lasts and self.root.is_dir()):
                    make_lasting_folder(self.root)
                    self._lasts = True
                folders = [os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
                closing.callback(os.close, folders[0])
                for segment in segments:
                    if create:
                        with suppress(FileExistsError):
                            os.mkdir(segment, 0o755, dir_fd=folders[-1])
                    try:
                        folders.append(os.open(segment, _FOLDER, dir_fd=folders[-1]))
                    except OSError as wrong:
                        if wrong.errno in {errno.ENOTDIR, errno.ELOOP}:
                            raise _no_folder("/".join(segments), segment, folders[-1], create=create) from None
                        raise
                    closing.callback(os.close, folders[-1])
            except FileNotFoundError:
                if create:  # what should be made cannot be
                    raise
                raise RefNotFound(f"there is no object at {self.root.joinpath(*segments)}.") from None
            yield folders

    @contextmanager
    def _opened(self, key: str, segments: Segments, folders: Folders) -> Iterator[BufferedReader]:
        _refuse_strange(key, segments[-1], folders[-1])
        try:
            file = os.fdopen(os.open(segments[-1], _FILE, dir_fd=folders[-1]), "rb")
        except FileNotFoundError:
            raise RefNotFound(f"there is no object at {self.uri(key)}.", path=key) from None
        with file:
            yield file

    @contextmanager
    def _mapped(self, doing: str, key: str) -> Iterator[None]:
        """Operating system errors are mapped to OFS errors."""
        try:
            yield
        except OSError as wrong:
            raise disk_failure(wrong, doing, self.root / key, key) from wrong


def _kind_at(name: str, folder: int) -> int | None:
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None


def _refuse_strange(key: str, name: str, folder: int) -> None:
    """An object's name is a regular file or does not exist; a link is never followed, and a folder is not an object."""
    kind = _kind_at(name, folder)
    if kind == stat.S_IFLNK:
        raise RefScopeInvalid(f"{key} is a link; the store does not follow links.", path=key, fix="Remove the link.")
    if kind == stat.S_IFDIR:
        raise RefNotFound(f"{key} is a folder, not an object.", path=key)
    if kind not in {None, stat.S_IFREG}:
        raise RefInvalid(f"{key} is not a regular file.", path=key, fix="Remove it from the store's folder.")


def _no_folder(key: str, segment: str, folder: int, *, create: bool) -> RefScopeInvalid | RefInvalid | RefNotFound:
    if _kind_at(segment, folder) == stat.S_IFLNK:
        return RefScopeInvalid(f"{key} goes through the link {segment!r}; the store does not follow links.", path=key,
                               fix="Remove the link.")
    if create:
        return RefInvalid(f"{key} is below the object {segment!r}.", path=key, fix="Choose a key that is not below another object.")
    return RefNotFound(f"there is no object at {key}.", path=key)


def _walk(folder: int, prefix: str) -> Iterator[str]:
    """Keys below an open folder. A folder sorts as its name and a slash, which gives the byte order of whole keys."""
    with os.scandir(folder) as entries:
        found = sorted((f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name, entry.is_file(follow_symlinks=False))
                       for entry in entries if is_segment(entry.name))
    for name, is_object in found:
        if is_object:
            yield prefix + name
        elif name.endswith("/"):
            try:
                below = os.open(name[:-1], _FOLDER, dir_fd=folder)
            except FileNotFoundError:  # gone since it was listed
                continue
            try:
                yield from _walk(below, prefix + name)
            finally:
                os.close(below)
