"""Asides of the local store: files that are written beside their final names, held by their writers for as long as these live."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from offline_feature_plane.process_locks import hold, seize

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def new_aside(name: str, folder: int) -> int | None:
    """A new file, open for writing and held; None if the name is taken, or if somebody collected it before it was held."""
    try:
        descriptor = os.open(name, _NEW, 0o644, dir_fd=folder)
    except FileExistsError:
        return None
    if hold(descriptor):
        return descriptor
    os.close(descriptor)
    return None


@contextmanager
def orphan(name: str, folder: int) -> Iterator[int | None]:
    """The size of an aside whose writer is gone; nobody else has it during the block, so its name can be removed. Else None."""
    with ExitStack() as closing:
        size = None
        with suppress(OSError):
            descriptor = os.open(name, _OLD, dir_fd=folder)
            closing.callback(os.close, descriptor)
            found = os.fstat(descriptor)
            size = found.st_size if stat.S_ISREG(found.st_mode) and seize(descriptor) else None
        yield size
