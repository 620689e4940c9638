"""Commands in processes of their own, with little memory and little time, so that what eats either is seen.

One process loads everything once and forks a child for each command. Run as a program, this file is that process.
"""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MEMORY = 3 << 30  # address space, of which the loaded libraries take about a gigabyte
CPU_S = 20


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit status (negative: the signal that killed it), what it printed, CPU seconds, and bytes at its peak."""

    status: int
    out: str
    err: str
    cpu_s: float
    peak: int

    @property
    def error(self) -> dict[str, Any]:
        """The error of its `--json` document; empty if it has none."""
        document = json.loads(self.out)
        return document.get("error", {}) if isinstance(document, dict) else {}


class Confinement:
    """Runs `ofs` commands in confined children of a loaded process."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def run(self, *arguments: str, memory: int = MEMORY, cpu_s: int = CPU_S) -> Ended:
        """Run one command; raises TimeoutError when it neither ends nor uses up its CPU time."""
        asked, answers = _pipe(self._server.stdin), _pipe(self._server.stdout)
        with tempfile.TemporaryDirectory() as folder:
            asked.write(json.dumps({"arguments": arguments, "memory": memory, "cpu_s": cpu_s, "folder": folder}) + "\n")
            asked.flush()
            if not select.select([answers], [], [], 10 * cpu_s)[0]:
                raise TimeoutError(arguments)
            told = json.loads(answers.readline())
            out, err = ((Path(folder) / name).read_text(errors="replace") for name in ("out", "err"))
        return Ended(told["status"], out, err, told["cpu_s"], told["peak"])


@contextmanager
def confinement() -> Iterator[Confinement]:
    """The loaded process, until the block ends."""
    with subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield Confinement(server)
        finally:
            _pipe(server.stdin).close()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _serve() -> None:
    import pyarrow.dataset  # noqa: F401 - what commands would load, each for itself, at several times the cost of their work

    from offline_feature_plane import plane, planning_inputs  # noqa: F401 - as above
    from offline_feature_plane.cli import asking, commands, keeping, operating, showing, showing_checks, starting  # noqa: F401 - as above
    from offline_feature_plane.engines.local import file_probe, session  # noqa: F401 - as above
    from offline_feature_plane.ledger import sqlite  # noqa: F401 - as above
    from offline_feature_plane.machines import warm_kernels

    warm_kernels()
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _live(job)
        _, status, used = os.wait4(child, 0)
        sys.stdout.write(json.dumps({"status": os.waitstatus_to_exitcode(status), "cpu_s": used.ru_utime + used.ru_stime,
                                     "peak": used.ru_maxrss << 10}) + "\n")
        sys.stdout.flush()


def _live(job: dict[str, Any]) -> None:
    from offline_feature_plane.__main__ import run

    resource.setrlimit(resource.RLIMIT_AS, (job["memory"], job["memory"]))
    resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_s"], job["cpu_s"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(job["folder"]) / name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    status = run(job["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
