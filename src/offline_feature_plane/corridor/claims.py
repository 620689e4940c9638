"""Runs and claims: the run that answers an intent, and taking it for one attempt (`domain.md` §4, `decisions.md` D6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.settlement import INTERRUPTED_CODE
from offline_feature_plane.domain.runstates import backoff_us
from offline_feature_plane.errors import Fenced, OfsError, RunBusy, RunEnded
from offline_feature_plane.ports import Clock, Ledger, Progress, Run, Submitted

WORKER_DIED_CODE: Final = "WORKER_DIED"
_LOOKS_PER_LEASE: Final = 30


class Lease(Protocol):
    """A claim that is being kept alive."""

    def check(self) -> None:
        """Raises Fenced once the claim was lost."""


@dataclass(frozen=True)
class Worker:
    """Who claims runs: its name, how long a claim lasts, what keeps it alive, and how it knows that another worker is gone.

    `heed` raises what told this process to stop, if anything did.
    """

    name: str
    lease_us: int
    keep_alive: Callable[[Run], AbstractContextManager[Lease]]
    has_died: Callable[[str], bool] = lambda _: False
    heed: Callable[[], None] = lambda: None


def submit(planned: Planned, ledger: Ledger, *, wait_us: int = 0) -> Submitted:
    """The run of this intent: a new one, which the queue leaves alone for `wait_us`, or the one that its request has already."""
    payload = planned.document()["pins"]
    if planned.request_id is None:
        return ledger.submit_unnamed(payload_digest=planned.payload_digest, platform_run_id=planned.platform_run_id, payload=payload,
                                     wait_us=wait_us)
    return ledger.submit(request_id=planned.request_id, payload_digest=planned.payload_digest,
                         platform_run_id=planned.platform_run_id, payload=payload, wait_us=wait_us)


def claim(run: Run, ledger: Ledger, clock: Clock, worker: Worker, progress: Progress) -> Run:
    """Claim a run, or see it DONE by another worker while waiting.

    A lease is waited for up to twice its length, counted in looks: the clock may jump meanwhile. That of a worker which is known to have
    died is given back in its name: the attempt fences it, should it live after all.

    Raises:
        RunBusy: another worker holds the run and stays alive. RunEnded: it ended without a dataset.
    """
    looks = 0
    while True:
        try:
            return ledger.claim(run.run_key, worker=worker.name, lease_us=worker.lease_us)
        except RunEnded:
            if (ended := ledger.run(run.run_key)).state == "DONE":
                return ended
            raise
        except RunBusy:
            if looks > 2 * _LOOKS_PER_LEASE:
                raise
        busy = ledger.run(run.run_key)
        if busy.state == "RUNNING" and busy.worker is not None and worker.has_died(busy.worker):
            with suppress(Fenced):
                ledger.release(run.run_key, attempt=busy.attempt, reason_code=WORKER_DIED_CODE)
            continue
        looks += 1
        progress("wait", 0, 0)
        clock.sleep_us(worker.lease_us // _LOOKS_PER_LEASE)


@contextmanager
def held(run: Run, ledger: Ledger, worker: Worker) -> Iterator[Lease]:
    """Keep a claim alive during the block; a run whose attempt ends without a record in the ledger is queued again at once."""
    try:
        with worker.keep_alive(run) as lease:
            yield lease
    except BaseException as ended:
        with suppress(OfsError):  # one that was left already stays as it was left
            ledger.release(run.run_key, attempt=run.attempt, reason_code=ended.code if isinstance(ended, OfsError) else INTERRUPTED_CODE,
                           wait_us=backoff_us(run.run_key, run.attempt) if isinstance(ended, Exception) else 0)
        raise
