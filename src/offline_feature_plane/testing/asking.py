"""Asking a ledger in tests: a small request, a clock that is advanced by hand, many callers at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from offline_feature_plane.errors import OfsError
from offline_feature_plane.ports import Ledger, Submitted

ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
REQUEST = "request-0001"
LEASE_US = 10_000_000
CALLERS = 64


class ManualClock:
    """A clock that moves only when it is advanced."""

    def __init__(self, us: int = 1_790_000_000_000_000) -> None:
        self.us = us

    def now_us(self) -> int:
        """The current instant."""
        return self.us

    def sleep_us(self, span_us: int) -> None:
        """Waiting is going on."""
        self.us += span_us

    def go_on(self, us: int) -> None:
        """Let `us` microseconds pass."""
        self.us += us


def submit(ledger: Ledger, request_id: str = REQUEST, payload_digest: str = ONE, *, wait_us: int = 0) -> Submitted:
    """Submit a small payload."""
    return ledger.submit(request_id=request_id, payload_digest=payload_digest, platform_run_id="run-1", payload={"asked": [1, None, "é"]},
                         wait_us=wait_us)


def unnamed(ledger: Ledger, payload_digest: str = ONE) -> Submitted:
    """Submit a small payload without a request id."""
    return ledger.submit_unnamed(payload_digest=payload_digest, platform_run_id="run-1", payload={"asked": 1})


def at_once(callers: int, call: Callable[[int], Any]) -> list[Any]:
    """What `callers` threads get that all start at one barrier: values, or the errors of ours."""
    barrier = threading.Barrier(callers)

    def one(number: int) -> Any:
        barrier.wait()
        try:
            return call(number)
        except OfsError as error:
            return error

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(one, range(callers)))
