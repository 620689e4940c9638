"""Stops a process at each system call that changes what a disk holds; there the call happens, fails, or finds its process dead.

    fork ─▶ surrender ─▶ … openat(O_CREAT) … write … fsync … linkat … mkdir … unlinkat …
                               │ stopped       │ stopped
                               └─▶ it happens · it fails (EIO, ENOSPC) · the process is killed

The kernel's filter (seccomp) stops the process, with all its threads, at these calls only; everything else runs at full speed. Whoever
has forked the process watches it through ptrace.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

if sys.platform == "linux":
    from ptrace.binding import func as kernel
    from ptrace.error import PtraceError
    from ptrace.syscall.names import SYSCALL_NAMES
else:
    PtraceError = OSError

REFUSED = 99  # exit status of a process that cannot be watched here

# Where the path stands among the arguments: the number of a descriptor; or of a path, below the folder of the descriptor before it.
_BY_DESCRIPTOR = {"write": 0, "pwrite64": 0, "writev": 0, "pwritev": 0, "pwritev2": 0, "ftruncate": 0, "fallocate": 0, "fsync": 0,
                  "fdatasync": 0, "sync_file_range": 0, "copy_file_range": 2, "sendfile": 0, "read": 0, "pread64": 0, "getdents64": 0}
_BY_PATH = {"open": 0, "creat": 0, "mkdir": 0, "rmdir": 0, "unlink": 0, "truncate": 0, "link": 1, "symlink": 1, "rename": 1}
_BELOW_FOLDER = {"openat": 1, "mkdirat": 1, "unlinkat": 1, "linkat": 3, "symlinkat": 2, "renameat": 3, "renameat2": 3}
_OPENING = {"open": 1, "openat": 2}  # where the flags stand; without O_CREAT nothing is made
READING = frozenset({"read", "pread64", "getdents64", "openat"})
CHANGING = frozenset({*_BY_DESCRIPTOR, *_BY_PATH, *_BELOW_FOLDER}) - {"read", "pread64", "getdents64"}

_WALL = 0x40000000  # wait for threads as well
_SECCOMP_EVENT, _CALL_ENDS = 7, signal.SIGTRAP | 0x80
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x80 | 0x100000  # mark call stops; follow forks and threads; seccomp events; kill all when we end
_HERE = -100  # a path below the working folder
_X86_64 = 0xC000003E

_LOAD, _EQUALS, _HAS, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000


@dataclass(frozen=True)
class Call:
    """A call that is about to happen in the thread `tid`."""

    tid: int
    name: str
    arguments: tuple[int, ...]

    @cached_property
    def path(self) -> str:
        """What it changes."""
        if self.name in _BY_DESCRIPTOR:
            return self.opened(self.arguments[_BY_DESCRIPTOR[self.name]])
        if self.name in _BY_PATH:
            return self.below(_HERE, self.arguments[_BY_PATH[self.name]])
        at = _BELOW_FOLDER[self.name]
        return self.below(ctypes.c_int(self.arguments[at - 1]).value, self.arguments[at])

    def opened(self, descriptor: int) -> str:
        """Where the file of a descriptor stands."""
        return str(Path(f"/proc/{self.tid}/fd/{descriptor}").readlink())

    def below(self, folder: int, address: int) -> str:
        """The path of a text argument."""
        name = os.fsdecode(self.memory(address, 4096).partition(b"\0")[0])
        above = f"/proc/{self.tid}/cwd" if folder == _HERE else f"/proc/{self.tid}/fd/{folder}"
        return name if name.startswith("/") else f"{Path(above).readlink()}/{name}"

    def memory(self, address: int, length: int) -> bytes:
        """Bytes of the process."""
        with Path(f"/proc/{self.tid}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(length)


@dataclass(frozen=True)
class Fail:
    """The call does not happen and gives this error number."""

    number: int


@dataclass(frozen=True)
class Kill:
    """The call does not happen, and its process is no more."""


@dataclass(frozen=True)
class Tell:
    """The call happens, and `told` gets its result."""

    told: Callable[[int], None]


Decide = Callable[[Call], Fail | Kill | Tell | None]


def surrender(*, reading: bool = False) -> None:
    """Let the parent stop this process from here on, where it changes a disk, or where it reads one.

    A process that cannot be watched says why and ends with `REFUSED`.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        _refuse(f"this is {sys.platform} on {platform.machine()}")
    try:
        kernel.ptrace_traceme()
        _install_filter(_filter(sorted(READING), []) if reading else _filter(sorted(CHANGING - {*_OPENING}), [*_OPENING.items()]))
    except (OSError, PtraceError) as wrong:
        _refuse(str(wrong))
    os.kill(os.getpid(), signal.SIGSTOP)


def _refuse(why: str) -> NoReturn:
    os.write(2, f"system calls cannot be stopped here ({why}): this needs Linux on x86-64, with ptrace and seccomp permitted (in a "
                "container: --cap-add SYS_PTRACE, or a profile that allows both).\n".encode())
    os._exit(REFUSED)


def watch(pid: int, decide: Decide) -> int:
    """Watch a forked process that surrenders, until it ends; what `decide` says becomes of each call. Returns its exit code."""
    _, status = os.waitpid(pid, _WALL)
    if not os.WIFSTOPPED(status):
        return os.waitstatus_to_exitcode(status)
    kernel.ptrace_setoptions(pid, _OPTIONS)
    kernel.ptrace_cont(pid)
    known, telling = {pid}, dict[int, Tell]()
    while True:
        tid, status = os.waitpid(-1, _WALL)
        if not os.WIFSTOPPED(status):
            if tid == pid:
                return os.waitstatus_to_exitcode(status)
            continue
        number = os.WSTOPSIG(status)
        with suppress(PtraceError):  # killed meanwhile
            if status >> 16 == _SECCOMP_EVENT:
                _decided(pid, tid, decide, telling)
            elif number == _CALL_ENDS:
                telling.pop(tid).told(ctypes.c_long(kernel.ptrace_getregs(tid).rax).value)
                kernel.ptrace_cont(tid)
            else:  # a signal is handed on; the stops of a new thread, and the news of one, are none
                kernel.ptrace_cont(tid, 0 if status >> 16 or tid not in known else number)
                known.add(tid)


def _decided(pid: int, tid: int, decide: Decide, telling: dict[int, Tell]) -> None:
    registers = kernel.ptrace_getregs(tid)
    call = Call(tid, SYSCALL_NAMES[registers.orig_rax],
                (registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9))
    answer = decide(call)
    if isinstance(answer, Kill):
        os.kill(pid, signal.SIGKILL)
        return
    if isinstance(answer, Tell):
        telling[tid] = answer
        kernel.ptrace_syscall(tid)
        return
    if isinstance(answer, Fail):
        registers.orig_rax, registers.rax = 2**64 - 1, 2**64 - answer.number
        kernel.ptrace_setregs(tid, registers)
    kernel.ptrace_cont(tid)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def _install_filter(steps: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((38, 1, 0, 0, 0), (22, 2, ctypes.byref(_Program(len(steps) // 8, steps)), 0, 0)):  # no new rights; the filter
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _filter(always: Sequence[str], creating: Sequence[tuple[str, int]]) -> bytes:
    """The filter's program: these calls are traced, the openings among them if they create; all else is allowed.

    Jumps count the steps that are left out, and a branch goes only forward: first the comparisons, then the flags, then the verdicts.
    """
    numbers = {name: number for number, name in SYSCALL_NAMES.items()}
    steps = [(_LOAD, 0, 0, 4), (_EQUALS, 1, 0, _X86_64), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 0)]
    for at, name in enumerate(always):
        steps.append((_EQUALS, len(always) - at - 1 + 4 * len(creating) + 1, 0, numbers[name]))
    for at, (name, flags) in enumerate(creating):
        left = 4 * (len(creating) - at - 1)
        steps += [(_EQUALS, 0, 3, numbers[name]), (_LOAD, 0, 0, 16 + 8 * flags), (_HAS, left + 2, 0, os.O_CREAT), (_RETURN, 0, 0, _ALLOW)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _TRACE)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


@dataclass(frozen=True)
class Ending:
    """What becomes of one call; or of that one and all of these kinds that follow."""

    answer: Fail | Kill
    lasts: frozenset[str] = frozenset()


# The process is killed; one call fails; from here on the disk is full, or fails for good.
ENDINGS = {"KILL": Ending(Kill()), "EIO": Ending(Fail(errno.EIO)), "ENOSPC": Ending(Fail(errno.ENOSPC)),
           "FULL": Ending(Fail(errno.ENOSPC), CHANGING - {"fsync", "fdatasync", "unlink", "unlinkat", "rmdir"}),
           "DEAD": Ending(Fail(errno.EIO), CHANGING)}


class Stop:
    """Decides that the `at`-th call (from 0) about something below `under` ends like this; counts them all.

    Args:
        under: a folder's path.
        at: which call; a negative number is none.
        ending: what becomes of it.
    """

    def __init__(self, under: str, at: int = -1, ending: Ending | None = None) -> None:
        self.calls: list[str] = []
        self._under, self._at, self._ending = f"{under}/", at, ending

    def __call__(self, call: Call) -> Fail | Kill | None:
        """What becomes of a call."""
        if not call.path.startswith(self._under):
            return None
        self.calls.append(f"{call.name} {call.path.removeprefix(self._under)}")
        number = len(self.calls) - 1
        if self._ending is None or self._at < 0 or number < self._at or (number > self._at and call.name not in self._ending.lasts):
            return None
        return self._ending.answer
