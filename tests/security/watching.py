"""The kernel as a witness: which files of a folder were opened, whoever opened them and by whatever name."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPENED, _ABOUT_A_FOLDER = 0x20, 0x4000_0000
_HEAD = struct.Struct("iIII")


@contextmanager
def witness(folder: Path) -> Iterator[list[str]]:
    """Around what may open nothing in a folder; afterwards the list holds the names of the files in it, and below it, that were opened."""
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert queue >= 0, os.strerror(ctypes.get_errno())
    opened: list[str] = []
    try:
        for one in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())):
            assert libc.inotify_add_watch(queue, os.fsencode(one), _OPENED) >= 0, os.strerror(ctypes.get_errno())
        yield opened
        while data := _waiting(queue):
            while data:
                _, mask, _, length = _HEAD.unpack_from(data)
                name = data[_HEAD.size:_HEAD.size + length].rstrip(b"\0")
                data = data[_HEAD.size + length:]
                if not mask & _ABOUT_A_FOLDER:
                    opened.append(os.fsdecode(name))
    finally:
        os.close(queue)


def _waiting(queue: int) -> bytes:
    try:
        return os.read(queue, 1 << 16)
    except BlockingIOError:
        return b""
