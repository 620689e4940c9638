"""Files of this machine, opened with care: regular files only, so that nothing waits for a pipe, and documents only up to a budget.

A path that somebody else's document names is resolved, then checked, then opened. Before it is opened, a link may be put on the way.
So what was checked is opened with `open_in_place`, which follows no link at all: what is opened lies where the check saw it (R15).
And folders that last: their names survive a power loss.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from offline_feature_plane.errors import RefScopeInvalid, ResourceExceeded

__all__ = ["as_found", "is_private", "make_lasting_folder", "open_in_place", "open_regular", "read_small", "resolved"]

_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_KINDS = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
          (stat.S_ISBLK, "a device"))
_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL}


def open_regular(path: Path) -> BinaryIO:
    """A regular file, open for reading without a buffer; links are followed, so `path` must be the user's own word.

    Raises:
        OSError: it cannot be opened, or it is something else than a file.
    """
    return _open(path, path, _FILE, None)


def open_in_place(path: Path) -> BinaryIO:
    """A regular file at a path that `resolved` gave and that was checked since, open for reading without a buffer.

    Raises:
        OSError: as `open_regular`. RefScopeInvalid: there is a link on the way, which was not there when the path was resolved.
    """
    folder = os.open(path.anchor, _FOLDER)
    try:
        for segment in path.parts[1:-1]:
            below = os.open(segment, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        return _open(path, path.name, _FILE | os.O_NOFOLLOW, folder)
    except OSError as wrong:
        if wrong.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise RefScopeInvalid(f"{as_found(path)} is a link, or is behind one; there was none when the path was resolved.",
                                  path=as_found(path), fix="Find out who changes this folder while it is read.") from wrong
        raise
    finally:
        os.close(folder)


def resolved(path: Path, *, strict: bool = False) -> Path:
    """The absolute path without links and `..`. What does not exist is taken as written, unless `strict`.

    Raises:
        OSError: a link was removed while it was read; or, if `strict`, there is nothing.

    >>> resolved(Path("/proc/../etc"))
    PosixPath('/etc')
    """
    return Path(os.path.realpath(path, strict=strict))


def read_small(path: Path, most: int, opener: Callable[[Path], BinaryIO] = open_regular) -> bytes:
    """The bytes of a document, read only as far as it may be long.

    Raises:
        OSError: as `open_regular`. RefScopeInvalid: as `open_in_place`, if that is the opener. ResourceExceeded: it is longer.
    """
    with opener(path) as stream:
        data = b""
        while len(data) <= most and (block := stream.read(most + 1 - len(data))):
            data += block
    if len(data) > most:
        raise ResourceExceeded(f"{as_found(path)} is larger than {most:,} bytes.", path=as_found(path),
                               fix="Check that this is the right file: documents are short.")
    return data


def make_lasting_folder(path: Path) -> None:
    """Make a folder if it is missing, and sync the names of all folders on the way to it: somebody else may just have made them.

    Raises:
        OSError: it cannot be made or synced. Folders above it that belong to others may refuse to be synced.
    """
    path.mkdir(parents=True, exist_ok=True)
    for folder in (path, *path.parents):
        try:
            sync_folder(folder)
        except OSError as wrong:
            if folder == path or wrong.errno not in _NOT_OURS:
                raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_private(folder: Path) -> bool:
    """Can nobody but this user and the administrator put files into a folder, or another folder in its place? False if there is none.

    A group that has no other member counts as the user. In folders with the sticky bit, such as /tmp, nobody replaces what is not theirs.
    """
    try:
        stats = [place.stat() for place in (folder, *folder.resolve(strict=True).parents)]
    except OSError:
        return False
    return all(one.st_uid in {0, os.geteuid()} and (not _others_write(one) or (number > 0 and one.st_mode & stat.S_ISVTX != 0))
               for number, one in enumerate(stats))


def _others_write(found: os.stat_result) -> bool:
    if not found.st_mode & stat.S_IWGRP:
        return bool(found.st_mode & stat.S_IWOTH)
    try:
        members = set(grp.getgrgid(found.st_gid).gr_mem) - {"root", pwd.getpwuid(os.geteuid()).pw_name}
    except KeyError:  # a group or user without a name
        members = set()
    return bool(found.st_mode & stat.S_IWOTH or members or found.st_gid not in {0, os.getegid()})


def as_found(path: Path) -> str:
    """A path as its reader finds it: relative where it lies below the current folder, else as it is.

    >>> as_found(Path("intent.yaml").resolve()), as_found(Path("/nowhere/intent.yaml"))
    ('intent.yaml', '/nowhere/intent.yaml')
    """
    try:
        here = Path.cwd()
    except OSError:  # removed under our feet
        return str(path)
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) and path != here else str(path)


def _open(path: Path, name: Path | str, flags: int, folder: int | None) -> BinaryIO:
    """Open `name` in an open folder; `path` is how errors call it."""
    _refuse_special(path, os.stat(name, dir_fd=folder, follow_symlinks=not flags & os.O_NOFOLLOW).st_mode)
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        _refuse_special(path, os.fstat(descriptor).st_mode)  # it may have been replaced
        return os.fdopen(descriptor, "rb", buffering=0)
    except OSError:
        os.close(descriptor)
        raise


def _refuse_special(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = next((name for asks, name in _KINDS if asks(mode)), "something else")
        raise OSError(0, f"it is {kind}, not a file", str(path))
