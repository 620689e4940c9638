"""Files of this machine, opened with care: regular files only, so that nothing waits for a pipe, and documents only up to a budget.

And folders that last: their names survive a power loss.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from offline_feature_plane.errors import ResourceExceeded

__all__ = ["as_found", "make_lasting_folder", "open_regular", "read_small"]

_KINDS = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
          (stat.S_ISBLK, "a device"))
_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL}


def open_regular(path: Path) -> BinaryIO:
    """A regular file, open for reading without a buffer; links are followed.

    Raises:
        OSError: it cannot be opened, or it is something else than a file.
    """
    _refuse_special(path, path.stat().st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse_special(path, os.fstat(descriptor).st_mode)  # it may have been replaced
        return os.fdopen(descriptor, "rb", buffering=0)
    except OSError:
        os.close(descriptor)
        raise


def read_small(path: Path, most: int) -> bytes:
    """The bytes of a document, read only as far as it may be long.

    Raises:
        OSError: as `open_regular`. ResourceExceeded: it is longer.
    """
    with open_regular(path) as stream:
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
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as wrong:
            if folder == path or wrong.errno not in _NOT_OURS:
                raise


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


def _refuse_special(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = next((name for asks, name in _KINDS if asks(mode)), "something else")
        raise OSError(0, f"it is {kind}, not a file", str(path))
