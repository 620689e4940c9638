"""Keeps a claimed run's lease alive while its worker works, on a thread and connection of its own (`domain.md` §4)."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from offline_feature_plane.errors import Fenced, LedgerUnavailable, OfsError
from offline_feature_plane.ports import Ledger, Run

BEATS_PER_LEASE = 3


class Heartbeat:
    """A context that prolongs the lease three times per lease length; `check()` tells the worker when it has lost the run.

        claim      beat      beat      beat
          ├─────────┼─────────┼─────────┤
          └──────── lease ──────────────┘   each beat begins a new one

    A beat that the ledger cannot take is tried again. Once no beat succeeded for a whole lease, another worker may have the run, and
    `check()` says so. The thread ends with the block, whatever ends the block; it never raises there.

    Args:
        ledger: must allow calls from another thread.
        run: as claimed.
        lease_us: length of the lease.
    """

    def __init__(self, ledger: Ledger, run: Run, *, lease_us: int) -> None:
        self._ledger = ledger
        self._run = run
        self._lease_us = lease_us
        self._ended = threading.Event()
        self._lost: OfsError | None = None
        self._trouble: OfsError | None = None
        self._alive_until = 0.0
        self._thread = threading.Thread(target=self._beat, name=f"ofs-heartbeat-{run.run_key[:8]}", daemon=True)

    def __enter__(self) -> Self:
        """Start beating."""
        self._alive_until = time.monotonic() + self._lease_us / 1e6
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop beating and wait for the thread."""
        self._ended.set()
        self._thread.join()

    @property
    def lost(self) -> bool:
        """Is the run surely another worker's, or over?"""
        return self._lost is not None

    def check(self) -> None:
        """Return if this worker may go on.

        Raises:
            Fenced: a newer attempt has the run, or it has ended.
            LedgerUnavailable: no beat succeeded for a whole lease, so the lease has run out.
        """
        if self._lost is not None:
            raise type(self._lost)(self._lost.what, fix=self._lost.fix, path=self._lost.path, **self._lost.fields)
        if time.monotonic() > self._alive_until:
            because = f": {self._trouble.what}" if self._trouble else "."
            raise LedgerUnavailable(f"the lease of run {self._run.run_key} expired without renewal{because}",
                                    fix="Repair the ledger, then run again: the run is taken over.", run_key=self._run.run_key)

    def _beat(self) -> None:
        while not self._ended.wait(self._lease_us / 1e6 / BEATS_PER_LEASE):
            began = time.monotonic()
            try:
                self._ledger.heartbeat(self._run.run_key, attempt=self._run.attempt, lease_us=self._lease_us)
                self._alive_until, self._trouble = began + self._lease_us / 1e6, None
            except LedgerUnavailable as trouble:
                self._trouble = trouble
            except OfsError as lost:  # Fenced, or the run is gone
                self._lost = lost if isinstance(lost, Fenced) else Fenced(lost.what, fix=lost.fix, run_key=self._run.run_key)
                return
