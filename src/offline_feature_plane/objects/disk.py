"""The local disk under a store: files that are to be put, and what a failing disk is called."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from offline_feature_plane.errors import StorageIoFailure

_PART = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_ADVICE = {
    errno.ENOSPC: "Free space on this disk, then run again.",
    errno.EDQUOT: "Raise the quota or free space, then run again.",
    errno.EACCES: "Give this user the right to write there, or choose another folder.",
    errno.EPERM: "Give this user the right to write there, or choose another folder.",
    errno.EROFS: "The file system is read-only: mount it for writing or choose another folder.",
    errno.EIO: "The disk failed: check it before anything is tried again.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
    errno.ENAMETOOLONG: "Choose a folder with a shorter path.",
}


@contextmanager
def opened_part(path: Path) -> Iterator[BufferedReader]:
    """A file that is to be put, open for reading. No link is followed.

    Raises:
        OSError: it cannot be opened. StorageIoFailure: it is not a regular file.
    """
    with os.fdopen(os.open(path, _PART), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StorageIoFailure(f"{path} is not a regular file.", path=str(path), fix="Pass the path of a regular file.")
        yield file


def disk_failure(wrong: OSError, doing: str, place: object, path: str) -> StorageIoFailure:
    """What the operating system said, as our error with advice."""
    advice = _ADVICE.get(wrong.errno or 0, "Check the disk and the folder, then run again.")
    return StorageIoFailure(f"cannot {doing} {place}: {wrong.strerror or wrong}.", path=path, fix=advice,
                            errno=errno.errorcode.get(wrong.errno or 0))


@contextmanager
def on_disk(doing: str, path: Path) -> Iterator[None]:
    """What happens in the block happens to a local file. Raises StorageIoFailure for what the operating system refuses."""
    try:
        yield
    except OSError as wrong:
        raise disk_failure(wrong, doing, path, str(path)) from wrong
