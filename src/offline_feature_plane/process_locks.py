"""Locks on files and folders that live as long as their process: how something that a dead process left is told from work in progress.

    owner:      create under a new name ─▶ `hold` ─▶ work … remove        the kernel lets go when the process ends, however it ends
    readers:    open ─▶ `share` ─▶ read …
    collector:  open ─▶ `seize` ─▶ remove

Where a file system knows no locks, an owner holds nothing and a collector never seizes anything.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

__all__ = ["hold", "seize", "share"]


def hold(descriptor: int) -> bool:
    """Lock what this process has just created; False if a collector was quicker and its name is gone."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return os.fstat(descriptor).st_nlink > 0


def share(descriptor: int) -> None:
    """Lock together with all others that share; nobody seizes what is shared."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def seize(descriptor: int) -> bool:
    """Lock what another process created; False if it is still held, or gone. Until the descriptor is closed nobody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(descriptor).st_nlink > 0
