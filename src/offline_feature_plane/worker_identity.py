"""Which process works: a name that others on this machine can check, and whether the process behind one is gone."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path


def this_worker() -> str:
    """This process, named so that others on this machine can see whether it is alive: host, process id, boot, and when it began."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_space()}.{_began(pid)}"


def has_died(worker: str) -> bool:
    """Is this worker surely gone? Only one of this boot and process space can be looked for; of any other nothing is known."""
    named = _WORKER.fullmatch(worker)
    if named is None or named["space"] != _space():
        return False
    began = _began(int(named["pid"]))
    return began is not None and began != named["began"]


_WORKER = re.compile(r".+:(?P<pid>[0-9]+):(?P<space>[0-9a-f-]+/[0-9]+)\.(?P<began>[0-9]+)")


def _space() -> str | None:
    """What process ids count in: the boot and the process namespace. None where the system does not say."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def _began(pid: int) -> str | None:
    """When a process began, in ticks since boot; `over` for one that has ended; None where the system does not say."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "over"
    except OSError:  # another user's
        pass
    try:
        state, *told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "over" if state in "ZX" else told[18]
