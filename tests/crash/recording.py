"""Writes down what a stopped process does to a disk, as the effects that `disk` understands."""

from __future__ import annotations

import ctypes
import os
import pickle
from collections.abc import Callable
from pathlib import Path

from disk import ROOT, Effect
from stopping import Call, Fail, Kill, Stop, Tell


class Recorder:
    """Decides as `stop` does, and writes down what happens below the folder `root`, and what was told by writing to the file `told`.

    Args:
        stop: ends the process at a chosen call, or never.
        root: the disk.
        told: the file beside it that answers of the process go to.
        kept: where the record is kept; a record that is there is continued.
    """

    def __init__(self, stop: Stop, root: Path, told: Path, kept: Path) -> None:
        self.effects: list[Effect] = []
        self._numbers = {root.stat().st_ino: ROOT}
        if kept.exists():
            self.effects, self._numbers = _kept(kept)
        self._stop, self._root, self._told, self._kept = stop, str(root), str(told), kept

    def keep(self) -> None:
        """Keep the record."""
        self._kept.write_bytes(pickle.dumps((self.effects, self._numbers)))

    def __call__(self, call: Call) -> Fail | Kill | Tell | None:
        """What becomes of a call; the effect of one that happens is written down."""
        if call.name == "write" and call.path == self._told:
            self._happened("told", name=call.memory(call.arguments[1], call.arguments[2]).decode())
        if not f"{call.path}/".startswith(f"{self._root}/"):
            return None
        record: Callable[[int], None] = getattr(self, f"_{call.name}")(call)
        return self._stop(call) or Tell(lambda result: record(result) if result >= 0 else None)

    def _happened(self, kind: str, number: int = ROOT, folder: int = ROOT, name: str = "", offset: int = 0, data: bytes = b"") -> None:
        self.effects.append(Effect(kind, number, folder, name, offset, data))

    def _number(self, path: str) -> int:
        """The number of what is at a path, links not followed."""
        return self._numbers[os.lstat(path).st_ino]

    def _entry(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        return self._number(above), name

    def _new(self, inode: int) -> int:
        self._numbers[inode] = 1 + max(self._numbers.values(), default=ROOT)
        return self._numbers[inode]

    def _openat(self, call: Call) -> Callable[[int], None]:
        path, existed = call.path, os.path.lexists(call.path)

        def record(descriptor: int) -> None:
            if not existed:
                self._happened("create", self._new(_inode(call, descriptor)), *self._entry(path))
            elif call.arguments[2] & os.O_TRUNC:
                self._happened("cut", self._number(path))
        return record

    def _mkdir(self, call: Call) -> Callable[[int], None]:
        return lambda _: self._happened("mkdir", self._new(os.lstat(call.path).st_ino), *self._entry(call.path))

    def _mkdirat(self, call: Call) -> Callable[[int], None]:
        return self._mkdir(call)

    def _linkat(self, call: Call) -> Callable[[int], None]:
        linked = self._number(call.below(ctypes.c_int(call.arguments[0]).value, call.arguments[1]))
        return lambda _: self._happened("link", linked, *self._entry(call.path))

    def _unlink(self, call: Call) -> Callable[[int], None]:
        folder, name = self._entry(call.path)
        return lambda _: self._happened("unlink", folder=folder, name=name)

    def _unlinkat(self, call: Call) -> Callable[[int], None]:
        return self._unlink(call)

    def _rmdir(self, call: Call) -> Callable[[int], None]:
        return self._unlink(call)

    def _write(self, call: Call) -> Callable[[int], None]:
        descriptor = call.arguments[0]
        told = Path(f"/proc/{call.tid}/fdinfo/{descriptor}").read_text()
        return self._written(call, int(told.split()[1]))

    def _pwrite64(self, call: Call) -> Callable[[int], None]:
        return self._written(call, call.arguments[3])

    def _written(self, call: Call, offset: int) -> Callable[[int], None]:
        number, data = self._opened(call), call.memory(call.arguments[1], call.arguments[2])
        return lambda length: self._happened("write", number, offset=offset, data=data[:length])

    def _ftruncate(self, call: Call) -> Callable[[int], None]:
        number = self._opened(call)
        return lambda _: self._happened("cut", number, offset=call.arguments[1])

    def _fsync(self, call: Call) -> Callable[[int], None]:
        number = self._opened(call)
        return lambda _: self._happened("sync", number)

    def _fdatasync(self, call: Call) -> Callable[[int], None]:
        return self._fsync(call)

    def _opened(self, call: Call) -> int:
        return self._numbers[_inode(call, call.arguments[0])]


def read_record(path: Path) -> list[Effect]:
    """The effects that were recorded."""
    return _kept(path)[0]


def _kept(path: Path) -> tuple[list[Effect], dict[int, int]]:
    effects, numbers = pickle.loads(path.read_bytes())  # noqa: S301 - written by `keep`
    return effects, numbers


def _inode(call: Call, descriptor: int) -> int:
    return Path(f"/proc/{call.tid}/fd/{descriptor}").stat().st_ino
