"""Runs `ofs` commands in processes that die, pause or go on at a chosen point. The product knows nothing of it.

A server imports everything once and forks a process for each command, so a hundred crashes take seconds:

    start {point, arguments, …} ─▶ fork ─▶ arm the point ─▶ `ofs …` ─▶ SIGKILL at the point
    wait {pid} ─▶ exit code

With `trace`, the server watches the process through its end, and stops it at a system call.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import publication
import pyarrow.dataset  # noqa: F401 - a command would load it, each for itself
import small_disk
import stopping
from recording import Recorder

from offline_feature_plane import __main__ as command
from offline_feature_plane import plane
from offline_feature_plane.cli import commands  # noqa: F401 - as above
from offline_feature_plane.corridor.parts import PartWriter
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.local.session import LocalSession
from offline_feature_plane.ledger.sqlite import SqliteLedger, SqliteTransaction
from offline_feature_plane.machines import warm_kernels
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.sources.logs import portions, records

READERS: list[int] = []  # of this process's words, where they go through pipes
OWNERS: dict[str, type] = {"store": LocalStore, "ledger": SqliteLedger, "transaction": SqliteTransaction, "engine": LocalEngine,
                           "session": LocalSession, "parts": PartWriter}


def arm(point: str, act: Callable[[], None]) -> None:
    """Act before or after the nth call of a method over a name that holds a text: `before:store.put_new:manifests/:1`."""
    when, method, text, nth = point.split(":")
    owner, name = method.split(".")
    original, seen = getattr(OWNERS[owner], name), 0

    def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal seen
        hit = text in _name_of(arguments)
        seen += hit
        if hit and seen == int(nth) and when == "before":
            act()
        answer = original(self, *arguments, **named)
        if hit and seen == int(nth) and when == "after":
            act()
        return answer

    setattr(OWNERS[owner], name, wrapped)


def _name_of(arguments: tuple[Any, ...]) -> str:
    """What a call is about: the first text among its arguments, or the first list of texts as a path."""
    paths = (one if isinstance(one, str) else "/".join(one) if isinstance(one, list) and isinstance(one[0], str) else None
             for one in arguments)
    return next((path for path in paths if path is not None), "")


def die() -> None:
    """End as a power cut would end us."""
    os.kill(os.getpid(), signal.SIGKILL)


def pause() -> None:
    """Say that the point is reached, and wait there until told to go on or interrupted."""
    Path("paused").write_text("")
    while not Path("go").exists():
        time.sleep(0.01)


def jump(us: int | None) -> None:
    """Set this process's clock forward, or back; None freezes it."""
    clock, now_us = plane.SystemClock, plane.SystemClock.now_us
    frozen_us = now_us(clock())
    clock.now_us = (lambda _: frozen_us) if us is None else lambda self: now_us(self) + us


def _told(path: Path, *, through_pipe: bool) -> int:
    """Where a command's words go: a file, or a pipe into it where the command itself may write no file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    if not through_pipe:
        return file
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(writer)
        while data := os.read(reader, 65_536):
            os.write(file, data)
        os._exit(0)
    READERS.append(pid)
    return writer


def _suffer(order: dict[str, Any]) -> None:
    """Take on what the order says of this process: environment, name, clock, limits, small portions of logs, what happens at its point."""
    os.environ.update(order.get("environment", {}))
    if order.get("lease_us"):
        plane.LEASE_US = order["lease_us"]
    if order.get("worker"):
        plane.this_worker = lambda: order["worker"]
    if order.get("largest_file") is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"], order["largest_file"]))
    if "portions" in order:
        records.WORTH_KEEPING, portions.LEAST, portions.MOST = 0, order["portions"], order["portions"]
    if "clock_us" in order:
        jump(order["clock_us"])
    if order.get("point"):
        arm(order["point"], partial(jump, order["jump_us"]) if "jump_us" in order else pause if order.get("pause") else die)


def begin(order: dict[str, Any]) -> None:
    """Become the process of one command."""
    os.chdir(order["folder"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        told = _told(Path(f"{name}.{order['name']}"), through_pipe="largest_file" in order)
        os.dup2(told, number)
        os.close(told)
    _suffer(order)
    if order.get("trace"):
        stopping.surrender(reading=order["trace"]["reading"])
    if READERS:
        command._leave = sys.exit  # for it is left below, where its words have arrived
    try:
        if order.get("program"):
            sys.exit(publication.main(order["program"], Path("disk").absolute(), Path("told").absolute()))
        command.main(order["arguments"])
    except SystemExit as over:
        sys.stdout.flush()
        os.closerange(1, 3)
        for pid in READERS:
            os.waitpid(pid, 0)  # every word has arrived
        os._exit(int(over.code or 0))


def fill_disk(order: dict[str, Any]) -> None:
    """Become a process that runs a command on a disk of `disk_kb` kilobytes, then again with space; leave the disk as `kept`.

    Where no such disk can be had, no file may grow beyond that size. The exit codes are left in `codes`.
    """
    os.chdir(order["folder"])
    disk, kb, codes = Path("disk").absolute(), order.pop("disk_kb"), []
    try:
        small_disk.mount(disk, kb)
        codes.append("disk")
    except OSError:
        codes.append("limit")
    for name in ("full", "again"):
        if (pid := os.fork()) == 0:
            begin({**order, "name": name, **({"largest_file": kb << 10} if (name, codes[0]) == ("full", "limit") else {})})
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        if codes[0] == "disk":
            small_disk.resize(disk, 1 << 16)
    shutil.copytree(disk, "kept")
    Path("codes").write_text(json.dumps(codes))
    os._exit(0)


def watch(pid: int, order: dict[str, Any]) -> dict[str, Any]:
    """Watch a process through its end, and stop it as the order says: its exit code, and the calls that it made or was about to make."""
    trace, folder = order["trace"], Path(order["folder"])
    stop = stopping.Stop(str(folder / trace["under"]), trace.get("at", -1), stopping.ENDINGS.get(trace.get("ending")))
    recorder = Recorder(stop, folder / trace["under"], folder / "told", folder / "record") if trace.get("record") else None
    code = stopping.watch(pid, recorder or stop)
    if recorder:
        recorder.keep()
    return {"code": code, "calls": stop.calls}


def serve() -> None:
    """Answer orders, one JSON document a line, until nobody asks any more; processes that nobody waited for end then."""
    warm_kernels()
    started: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
            started.discard(order["wait"])
        else:
            answer = os.fork()
            if answer == 0 and "disk_kb" in order:
                fill_disk(order)
            if answer == 0:
                begin(order)
            if "trace" in order:
                answer = watch(answer, order)
            else:
                started.add(answer)
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer
    for pid in started:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
