"""A disk of a few kilobytes, without any rights: a file system in memory that only this process and its children see."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000
_REMOUNT = 32
_libc = ctypes.CDLL(None, use_errno=True)


def mount(folder: Path, kb: int) -> None:
    """Put a disk of this size on a folder. Raises OSError where the kernel or its policy does not allow it."""
    user, group = os.geteuid(), os.getegid()
    _call(_libc.unshare, _NEW_MOUNTS | _NEW_USERS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path(f"/proc/self/{name}").write_text(text)
    _mount(folder, kb, 0)


def resize(folder: Path, kb: int) -> None:
    """Give the disk another size."""
    _mount(folder, kb, _REMOUNT)


def _mount(folder: Path, kb: int, flags: int) -> None:
    _call(_libc.mount, b"tmpfs", os.fsencode(folder), b"tmpfs", flags, f"size={kb}k".encode())


def _call(function: ctypes._CFuncPtr, *arguments: object) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
