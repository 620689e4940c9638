"""A run ledger against a dictionary: any verbs in any order, at any time, by any worker. Subclass `LedgerMachine`, and Hypothesis runs it.

    class MyMachine(LedgerMachine):
        def open(self):
            return MyLedger(…, self.clock, limits=self.limits)   # empty at first; the same ledger when called again

    class TestMyLedger(MyMachine.TestCase):
        settings = hypothesis.settings(deadline=None)

A clock that the database owns must be replaced by `self.clock`.
"""
# ruff: noqa: S101, D102 - a contract asserts; the names of the rules say what they do

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from offline_feature_plane.domain.identity import run_key as key_of
from offline_feature_plane.domain.runstates import LONGEST_WAIT_US, MOVES, TERMINAL, Limits, State, Verb, granted
from offline_feature_plane.errors import (
    Fenced,
    InvalidTransition,
    LedgerChainBroken,
    OfsError,
    PublicationStalled,
    RequestIdPayloadMismatch,
    RunBusy,
    RunEnded,
    RunNotFound,
)
from offline_feature_plane.ledger.verbs import MOST_LEASE_US
from offline_feature_plane.ports import Ledger, Run
from offline_feature_plane.testing.asking import LEASE_US, ONE, OTHER, ManualClock

SCOPES = ("run-1", "run-2")
REASONS = ("STORAGE_IO_FAILURE", "RUN_CONFIG_DIGEST_MISMATCH", PublicationStalled.code)
DAY_US = 86_400_000_000
JUMPS = (1, LEASE_US - 1, LEASE_US, LONGEST_WAIT_US, DAY_US, -1, -LEASE_US, -LONGEST_WAIT_US - 1, -DAY_US)

_waits = st.sampled_from((0, 1, LEASE_US, LONGEST_WAIT_US))
_digests = st.sampled_from((ONE, OTHER))
_workers = st.sampled_from(("a", "b"))
_reasons = st.sampled_from(REASONS)
_late = st.sampled_from((0, 0, 0, 0, -1, 1))  # how far from the newest attempt a worker is


class LedgerMachine(RuleBasedStateMachine):
    """What the ledger must hold is kept beside it: the runs, when they are due, their histories, and what is quarantined."""

    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.limits = ManualClock(), Limits(full_runs=2, publish_retries=2)
        self.expected: dict[str, Run] = {}
        self.due: dict[str, int] = {}
        self.history: dict[str, list[tuple[str, int, int]]] = {}
        self.poison: dict[str, int] = {}
        self.closures: dict[str, str] = {}
        self.ledger = self.open()

    def open(self) -> Ledger:
        """The ledger: empty at first, the same when called again."""
        raise NotImplementedError

    # --- asking ---------------------------------------------------------------------------------------------

    @rule(target=runs, number=st.integers(1, 4), digest=_digests, wait_us=_waits)
    def ask(self, number: int, digest: str, wait_us: int) -> Any:
        request_id, scope = f"request-{number:04}", SCOPES[number % 2]
        known = self.expected.get(key_of(request_id))

        def call() -> Any:
            return self.ledger.submit(request_id=request_id, payload_digest=digest, platform_run_id=scope, payload={"asked": number},
                                      wait_us=wait_us)

        if known is not None and known.run_key not in self.poison and known.payload_digest != digest:
            self.refused(RequestIdPayloadMismatch, call)
            return multiple()
        return self.asked(call, request_id, digest, scope, number, wait_us)

    @rule(target=runs, digest=_digests, wait_us=_waits)
    def ask_unnamed(self, digest: str, wait_us: int) -> Any:
        prefix = f"auto:{digest.removeprefix('sha256:')[:16]}:"
        lost = sum(run.request_id.startswith(prefix) and run.state in {"FAILED", "CANCELLED"} for run in self.expected.values())
        return self.asked(lambda: self.ledger.submit_unnamed(payload_digest=digest, platform_run_id=SCOPES[0], payload={"asked": 9},
                                                             wait_us=wait_us), f"{prefix}{lost + 1}", digest, SCOPES[0], 9, wait_us)

    def asked(self, call: Callable[[], Any], request_id: str, digest: str, scope: str, asked: int, wait_us: int) -> str:
        run_key, now = key_of(request_id), self.clock.us
        if run_key in self.poison:
            self.refused(LedgerChainBroken, call)
            return run_key
        is_new = run_key not in self.expected
        if is_new:
            self.expected[run_key] = Run(
                run_key=run_key, request_id=request_id, payload_digest=digest, platform_run_id=scope, state="QUEUED", mode=None, attempt=0,
                full_run_attempts=0, publish_retry_attempts=0, lease_until_us=None, worker=None, reason_code=None, result=None,
                payload={"asked": asked}, created_us=now, updated_us=now)
            self.due[run_key], self.history[run_key] = now + wait_us, [("INTENT_QUEUED", 0, now)]
        submitted = call()
        assert (submitted.outcome, submitted.run) == ("NEW" if is_new else "DUPLICATE", self.expected[run_key])
        return run_key

    # --- working --------------------------------------------------------------------------------------------

    @rule(run_key=runs, worker=_workers, lease_us=st.sampled_from((1, LEASE_US)))
    def claim(self, run_key: str, worker: str, lease_us: int) -> None:
        run = self.expected[run_key]

        def call() -> Run:
            return self.ledger.claim(run_key, worker=worker, lease_us=lease_us)

        if run_key in self.poison:
            self.refused(LedgerChainBroken, call)
        elif run.state in TERMINAL:
            self.refused(RunEnded, call)
        elif run.lease_until_us is not None and self.clock.us < run.lease_until_us <= self.clock.us + MOST_LEASE_US:
            self.refused(RunBusy, call)
        else:
            self.taken(run, call(), worker, lease_us)

    @rule(worker=_workers, scope=st.sampled_from(SCOPES))
    def claim_next(self, worker: str, scope: str) -> None:
        now, order = self.clock.us, list(self.expected)
        found = [run for run in self.expected.values() if run.platform_run_id == scope and run.run_key not in self.poison
                 and self.is_due(run, now)]
        taken = self.ledger.claim_next(worker=worker, lease_us=LEASE_US, platform_run_id=scope)
        if not found:
            assert taken is None
            return
        first = min(found, key=lambda run: (self.due[run.run_key], order.index(run.run_key)))
        self.taken(first, taken, worker, LEASE_US)

    def is_due(self, run: Run, now: int) -> bool:
        """Is it waiting and due, or held by nobody any more? What lies further ahead than any wait or lease was meant by another clock."""
        if run.state == "RUNNING":
            return run.lease_until_us is not None and not now < run.lease_until_us <= now + MOST_LEASE_US
        if run.state in TERMINAL or run.reason_code == PublicationStalled.code:
            return False
        return not now < self.due[run.run_key] <= now + LONGEST_WAIT_US

    def taken(self, run: Run, taken: Run | None, worker: str, lease_us: int) -> None:
        now = self.clock.us
        grant = granted(run.state, run.mode, run.full_run_attempts, run.publish_retry_attempts, self.limits, run.reason_code)
        self.happened(replace(run, **vars(grant), state="RUNNING", attempt=run.attempt + 1, lease_until_us=now + lease_us, worker=worker,
                              updated_us=now), "RUN_STARTED")
        assert taken == self.expected[run.run_key]

    @rule(run_key=runs, late=_late, lease_us=st.sampled_from((1, LEASE_US)))
    def heartbeat(self, run_key: str, late: int, lease_us: int) -> None:
        run = self.expected[run_key]
        attempt = run.attempt + late
        if self.lives(run, attempt, lambda: self.ledger.heartbeat(run_key, attempt=attempt, lease_us=lease_us)):
            self.expected[run_key] = replace(run, lease_until_us=self.clock.us + lease_us, updated_us=self.clock.us)

    @rule(run_key=runs, late=_late)
    def note(self, run_key: str, late: int) -> None:
        run = self.expected[run_key]
        attempt = run.attempt + late
        if self.lives(run, attempt, lambda: self.ledger.note(run_key, attempt=attempt, kind="PHASE", details={"é": [1, None]})):
            self.happened(replace(run, updated_us=self.clock.us), "PHASE")

    @rule(run_key=runs, late=_late, reason=_reasons, wait_us=_waits)
    def release(self, run_key: str, late: int, reason: str, wait_us: int) -> None:
        self.leave(run_key, late, "release", "RUN_RELEASED", reason, wait_us=wait_us, reason_code=reason)

    @rule(run_key=runs, late=_late, reason=_reasons, wait_us=_waits)
    def publish_pending(self, run_key: str, late: int, reason: str, wait_us: int) -> None:
        self.leave(run_key, late, "publish_pending", "PUBLISH_PENDING", reason, wait_us=wait_us, reason_code=reason)

    @rule(run_key=runs, late=_late)
    def done(self, run_key: str, late: int) -> None:
        self.leave(run_key, late, "done", "RUN_DONE", None, result={"rows": 3})

    @rule(run_key=runs, late=_late)
    def failed(self, run_key: str, late: int) -> None:
        self.leave(run_key, late, "failed", "RUN_FAILED", "TARGET_DEGENERATE", reason_code="TARGET_DEGENERATE", details={"split": "train"})

    @rule(run_key=runs, late=_late)
    def cancelled(self, run_key: str, late: int) -> None:
        self.leave(run_key, late, "cancelled", "RUN_CANCELLED", "RUN_CANCELLED", reason_code="RUN_CANCELLED")

    def leave(self, run_key: str, late: int, verb: Verb, kind: str, reason: str | None, **said: Any) -> None:
        run = self.expected[run_key]
        attempt = run.attempt + late
        if self.lives(run, attempt, lambda: getattr(self.ledger, verb)(run_key, attempt=attempt, **said)):
            self.happened(replace(run, state=MOVES["RUNNING", verb], lease_until_us=None, reason_code=reason, result=said.get("result"),
                                  updated_us=self.clock.us), kind)
            self.due[run_key] = self.clock.us + int(said.get("wait_us", 0))

    @rule(run_key=runs)
    def cancel(self, run_key: str) -> None:
        run = self.expected[run_key]
        after: State | None = MOVES.get((run.state, "cancel"))
        if after is None or run_key in self.poison:
            self.refused(LedgerChainBroken if run_key in self.poison else InvalidTransition,
                         lambda: self.ledger.cancel(run_key, reason="not needed"))
            return
        self.happened(replace(run, state=after, reason_code="RUN_CANCELLED", updated_us=self.clock.us), "RUN_CANCELLED")
        assert self.ledger.cancel(run_key, reason="not needed") == self.expected[run_key]

    @rule(run_key=runs)
    def quarantine(self, run_key: str) -> None:
        self.ledger.quarantine(run_key, code="LEDGER_CHAIN_BROKEN", details={"seq": 1})
        self.poison.setdefault(run_key, self.clock.us)

    @rule(profile=st.sampled_from(("cards@1/base@1", "cards@2/base@1")), digest=_digests)
    def remember(self, profile: str, digest: str) -> None:
        assert self.ledger.closure(profile) == self.closures.get(profile)
        assert self.ledger.remember_closure(profile=profile, digest=digest) == self.closures.setdefault(profile, digest)

    # --- around ---------------------------------------------------------------------------------------------

    @rule(us=st.sampled_from(JUMPS))
    def time_passes(self, us: int) -> None:
        self.clock.go_on(us)

    @rule()
    def open_again(self) -> None:
        self.ledger = self.open()

    @rule(number=st.integers(5, 9))
    def nobody_asked(self, number: int) -> None:
        self.refused(RunNotFound, lambda: self.ledger.claim(key_of(f"request-{number:04}"), worker="a", lease_us=1))

    def lives(self, run: Run, attempt: int, call: Callable[[], Any]) -> bool:
        """Does a verb of this attempt change the run? A stale one is fenced, as is one of a run that nobody holds."""
        if run.state == "RUNNING" and attempt == run.attempt:
            call()
            return True
        self.refused(Fenced, call)
        return False

    def refused(self, kind: type[OfsError], call: Callable[[], Any]) -> None:
        try:
            answer = call()
        except kind:
            return
        raise AssertionError(f"{kind.code} was due, not {answer!r}")

    def happened(self, run: Run, kind: str) -> None:
        self.expected[run.run_key] = run
        self.history[run.run_key].append((kind, run.attempt, self.clock.us))

    @invariant()
    def the_runs_are_as_expected(self) -> None:
        listed = [run for run in reversed(self.expected.values()) if run.run_key not in self.poison]
        assert list(self.ledger.runs()) == listed
        assert [(one.at_us, one.run_key) for one in self.ledger.quarantined()] == sorted((at, key) for key, at in self.poison.items())

    def teardown(self) -> None:
        """The whole of every history is as it happened, linked and verified."""
        for run_key, history in self.history.items():
            events = self.ledger.events(run_key)
            assert [(event.kind, event.attempt, event.at_us) for event in events] == history
            assert self.ledger.head(run_key) == events[-1].digest
            assert self.ledger.run(run_key) == self.expected[run_key]
