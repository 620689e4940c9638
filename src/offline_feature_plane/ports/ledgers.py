"""The run ledger, which is also the queue: runs, their claims and their history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from offline_feature_plane.domain.runstates import Mode, State


@dataclass(frozen=True)
class Run:
    """One run as the ledger knows it. `attempt` is the fencing token of the current claim."""

    run_key: str
    request_id: str
    payload_digest: str
    platform_run_id: str
    state: State
    mode: Mode | None
    attempt: int
    full_run_attempts: int
    publish_retry_attempts: int
    lease_until_us: int | None
    worker: str | None
    reason_code: str | None
    result: Mapping[str, Any] | None
    payload: Mapping[str, Any]
    created_us: int
    updated_us: int


@dataclass(frozen=True)
class LedgerEvent:
    """One link of a run's append-only, hash-chained history."""

    run_key: str
    seq: int
    kind: str
    at_us: int
    attempt: int
    details: Mapping[str, Any]
    previous_digest: str
    digest: str


@dataclass(frozen=True)
class Submitted:
    """Answer to a submit: a new run, or the existing run of this request."""

    outcome: Literal["NEW", "DUPLICATE"]
    run: Run


@dataclass(frozen=True)
class Rebuilt:
    """A run as the documents of a store tell it, for a ledger that was lost: QUEUED or ended, with the highest attempt that is known."""

    request_id: str
    payload_digest: str
    platform_run_id: str
    payload: Mapping[str, Any]
    state: State
    attempt: int
    full_run_attempts: int
    publish_retry_attempts: int
    reason_code: str | None
    result: Mapping[str, Any] | None
    created_us: int
    ended_us: int | None


@dataclass(frozen=True)
class Quarantined:
    """A run that cannot be read, kept away from every worker: since when, for which code, and what was found."""

    run_key: str
    at_us: int
    code: str
    details: Mapping[str, Any]


@runtime_checkable
class Ledger(Protocol):
    """The run ledger, which is also the queue (`domain.md` §4). Every update carries the attempt; a stale one raises Fenced."""

    name: str

    def submit(self, *, request_id: str, payload_digest: str, platform_run_id: str, payload: Mapping[str, Any],
               wait_us: int = 0) -> Submitted:
        """Open a run or return the one this request id has; `claim_next` leaves a new one alone for `wait_us`.

        Raises:
            RequestIdPayloadMismatch: the id was used with another payload. LedgerChainBroken: as `claim`. LedgerUnavailable.
        """

    def submit_unnamed(self, *, payload_digest: str, platform_run_id: str, payload: Mapping[str, Any], wait_us: int = 0) -> Submitted:
        """Submit under `auto:<first 16 hex>:<n>`, n = FAILED or CANCELLED runs of this payload + 1 (`decisions.md` D6)."""

    def claim(self, run_key: str, *, worker: str, lease_us: int) -> Run:
        """Take a QUEUED run, or a RUNNING one whose lease ran out, raising `attempt`; a PUBLISH_PENDING run is claimed PUBLISH_ONLY.

        When the attempts are spent, the claim is CLOSE_ONLY and `reason_code` says which budget: the worker finishes an existing vow,
        or writes the run's tombstone and fails it with that code (`domain.runstates`). The ledger never fails a run by itself.

        Raises:
            RunBusy: another live lease. RunEnded: the run is terminal. RunNotFound. LedgerChainBroken: its record does not verify, or is in
                quarantine.
        """

    def claim_next(self, *, worker: str, lease_us: int, platform_run_id: str) -> Run | None:
        """Claim the run of this scope that has been due the longest: waiting and due, or RUNNING with its lease run out. None if none is.

        Runs that are quarantined, and pending ones that need a person (PUBLICATION_STALLED), are never due.

        Raises:
            LedgerChainBroken: the run that is due cannot be believed; its `run_key` is in the fields. Nothing was changed.
            RunBusy: another worker was quicker; ask again.
        """

    def quarantine(self, run_key: str, *, code: str, details: Mapping[str, Any]) -> None:
        """Keep a run that cannot be believed away from every worker and out of every list, for good."""

    def quarantined(self) -> Sequence[Quarantined]:
        """The runs that no worker may take, oldest first."""

    def heartbeat(self, run_key: str, *, attempt: int, lease_us: int) -> None:
        """Prolong the lease. Raises Fenced."""

    def note(self, run_key: str, *, attempt: int, kind: str, details: Mapping[str, Any]) -> None:
        """Append an event (a finished phase with its receipt's digest) to a RUNNING run. Raises Fenced."""

    def publish_pending(self, run_key: str, *, attempt: int, reason_code: str, wait_us: int = 0) -> Run:
        """RUNNING → PUBLISH_PENDING, due after `wait_us`. Raises Fenced."""

    def done(self, run_key: str, *, attempt: int, result: Mapping[str, Any]) -> Run:
        """RUNNING → DONE. Raises Fenced."""

    def failed(self, run_key: str, *, attempt: int, reason_code: str, details: Mapping[str, Any]) -> Run:
        """RUNNING → FAILED, final. Raises Fenced."""

    def release(self, run_key: str, *, attempt: int, reason_code: str, wait_us: int = 0) -> Run:
        """RUNNING → QUEUED after a transient failure: the attempt stays spent, the run is due after `wait_us`. Raises Fenced."""

    def cancelled(self, run_key: str, *, attempt: int, reason_code: str) -> Run:
        """RUNNING → CANCELLED, by the worker that found the tombstone of a cancellation. Raises Fenced."""

    def cancel(self, run_key: str, *, reason: str) -> Run:
        """QUEUED or PUBLISH_PENDING → CANCELLED. Raises InvalidTransition for others."""

    def run(self, run_key: str) -> Run:
        """Raises RunNotFound."""

    def runs(self, *, limit: int = 100) -> Sequence[Run]:
        """Newest first."""

    def find(self, name: str, *, limit: int = 2) -> Sequence[Run]:
        """Runs whose key begins with `name`, or whose request id it is; at most `limit`."""

    def events(self, run_key: str) -> Sequence[LedgerEvent]:
        """A run's history in order. Raises RunNotFound, LedgerChainBroken if a link does not verify."""

    def run_keys(self) -> Sequence[str]:
        """The key of every run, oldest first, the quarantined ones too; also of histories whose run is gone."""

    def has_runs(self, platform_run_id: str) -> bool:
        """Is there any run of this scope?"""

    def adopt(self, platform_run_id: str, runs: Iterable[Rebuilt]) -> int:
        """Take the runs of a scope over from a store, all or none, each with a history that says so; how many they were.

        Raises:
            LedgerNotEmpty: there is a run of this scope already. LedgerUnavailable.
        """

    def head(self, run_key: str) -> str:
        """Digest of the newest event of a run."""

    def closure(self, profile: str) -> str | None:
        """The closure digest that `policy@revision/set@version` has; None if it was never remembered."""

    def remember_closure(self, *, profile: str, digest: str) -> str:
        """Remember that `policy@revision/set@version` has this closure digest, or return the one it has already."""
