"""What every run ledger must do: subclass `LedgerContract` with one fixture, and pytest runs the contract on your adapter.

    class TestMyLedger(LedgerContract):
        @pytest.fixture
        def make_ledger(self):
            return lambda clock, limits: MyLedger(…, clock, limits=limits)   # a second call opens the same ledger again

A clock that the database owns must be replaced for the tests by the one handed in.
"""
# ruff: noqa: S101 - a contract suite asserts

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from offline_feature_plane.domain.identity import run_key as key_of
from offline_feature_plane.domain.runstates import Limits
from offline_feature_plane.errors import (
    Fenced,
    InvalidTransition,
    RequestIdPayloadMismatch,
    RunBusy,
    RunEnded,
    RunNotFound,
    SchemaInvalid,
)
from offline_feature_plane.ports import Ledger, Run, Submitted
from offline_feature_plane.testing.adoption_contract import AdoptionContract
from offline_feature_plane.testing.asking import CALLERS, LEASE_US, ONE, OTHER, REQUEST, ManualClock, at_once, submit, unnamed
from offline_feature_plane.testing.queue_contract import MakeLedger, QueueContract


class LedgerContract(QueueContract, AdoptionContract):
    """The laws of `ports.Ledger` (`domain.md` §4)."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The database's clock."""
        return ManualClock()

    @pytest.fixture
    def ledger(self, make_ledger: MakeLedger, clock: ManualClock) -> Ledger:
        """A fresh ledger that allows two full runs and two publish retries."""
        return make_ledger(clock, Limits(full_runs=2, publish_retries=2))

    def claimed(self, ledger: Ledger, request_id: str = REQUEST, worker: str = "a") -> Run:
        """A new run, claimed."""
        return ledger.claim(submit(ledger, request_id).run.run_key, worker=worker, lease_us=LEASE_US)

    # --- asking ---------------------------------------------------------------------------------------------

    def test_it_is_a_ledger(self, ledger: Ledger) -> None:
        """The adapter has every verb of the port and a name."""
        assert isinstance(ledger, Ledger)
        assert ledger.name

    def test_the_same_request_is_the_same_run(self, ledger: Ledger) -> None:
        """Same id and payload: DUPLICATE, with the run as it is now."""
        first = submit(ledger)
        assert (first.outcome, first.run.state, first.run.run_key, first.run.attempt) == ("NEW", "QUEUED", key_of(REQUEST), 0)
        assert first.run.payload == {"asked": [1, None, "é"]}
        run = ledger.claim(first.run.run_key, worker="a", lease_us=LEASE_US)
        again = submit(ledger)
        assert again == Submitted("DUPLICATE", run)
        assert ledger.runs() == (run,)

    def test_the_same_id_with_another_payload_is_refused_and_writes_nothing(self, ledger: Ledger) -> None:
        """A request id means one payload forever."""
        run = submit(ledger).run
        head = ledger.head(run.run_key)
        with pytest.raises(RequestIdPayloadMismatch):
            submit(ledger, payload_digest=OTHER)
        assert (ledger.run(run.run_key), ledger.head(run.run_key), len(ledger.runs())) == (run, head, 1)

    def test_an_unnamed_request_resumes_returns_and_opens_anew(self, ledger: Ledger) -> None:
        """The same command resumes a crashed run, opens a new one after a failure, and returns a finished one (`decisions.md` D6)."""
        first = unnamed(ledger)
        assert first.run.request_id == f"auto:{'1' * 16}:1"
        run = ledger.claim(first.run.run_key, worker="a", lease_us=LEASE_US)
        assert unnamed(ledger).run.run_key == run.run_key
        ledger.failed(run.run_key, attempt=1, reason_code="TARGET_DEGENERATE", details={})
        second = unnamed(ledger)
        assert (second.outcome, second.run.request_id) == ("NEW", f"auto:{'1' * 16}:2")
        ledger.cancel(second.run.run_key, reason="not needed")
        third = unnamed(ledger).run
        ledger.done(third.run_key, attempt=ledger.claim(third.run_key, worker="a", lease_us=LEASE_US).attempt, result={})
        assert unnamed(ledger).run.run_key == third.run_key
        assert unnamed(ledger, OTHER).run.request_id == f"auto:{'2' * 16}:1"

    def test_runs_come_newest_first(self, ledger: Ledger) -> None:
        """Newest first, also within one tick of the clock, and no more than requested."""
        for number in range(3):
            submit(ledger, f"request-{number:04}")
        assert [run.request_id for run in ledger.runs(limit=2)] == ["request-0002", "request-0001"]

    def test_a_run_is_found_by_its_name(self, ledger: Ledger) -> None:
        """By request id or by the beginning of its key, never more than requested; an empty or unreadable name matches nothing."""
        runs = [submit(ledger, f"request-{number:04}").run for number in range(20)]
        assert [run.run_key for run in ledger.find("request-0007")] == [runs[7].run_key]
        assert [run.run_key for run in ledger.find(runs[3].run_key)] == [runs[3].run_key]
        first = runs[0].run_key[0]
        assert {run.run_key for run in ledger.find(first, limit=100)} == {run.run_key for run in runs if run.run_key.startswith(first)}
        assert len(ledger.find("request-0007", limit=1)) == 1
        assert [ledger.find(name) for name in ("", "request-", "%", "_", "\0", "\udcff")] == [()] * 6

    def test_an_unknown_run_is_not_found(self, ledger: Ledger) -> None:
        """Every verb says RunNotFound for a key that the ledger does not have."""
        nothing = key_of("never-asked")
        for call in (lambda: ledger.run(nothing), lambda: ledger.events(nothing), lambda: ledger.head(nothing),
                     lambda: ledger.claim(nothing, worker="a", lease_us=1), lambda: ledger.heartbeat(nothing, attempt=1, lease_us=1),
                     lambda: ledger.done(nothing, attempt=1, result={}), lambda: ledger.cancel(nothing, reason="x")):
            with pytest.raises(RunNotFound):
                call()

    # --- leases and fencing ---------------------------------------------------------------------------------

    def test_a_live_lease_keeps_others_out_and_a_dead_one_does_not(self, ledger: Ledger, clock: ManualClock) -> None:
        """A lease is judged by the database's clock; from its end on, the run is taken over in the same mode.

            a claims                 lease ends
              ├──────── 10 s ────────┤
              │  b: RunBusy          │ b claims, attempt 2

        The instant of the end itself is free.
        """
        run = self.claimed(ledger)
        clock.go_on(LEASE_US - 1)
        with pytest.raises(RunBusy):
            ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
        clock.go_on(1)
        taken = ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
        assert (taken.attempt, taken.mode, taken.full_run_attempts, taken.worker) == (2, "FULL", 2, "b")
        assert taken.lease_until_us == clock.us + LEASE_US

    def test_a_heartbeat_prolongs_the_lease(self, ledger: Ledger, clock: ManualClock) -> None:
        """A beating worker keeps its run.

            claim      beat                      lease ends
              ├── 9 s ──┼──────── 10 s ───────────┤

        Others are kept out for a whole lease from the beat.
        """
        run = self.claimed(ledger)
        clock.go_on(LEASE_US - 1)
        ledger.heartbeat(run.run_key, attempt=1, lease_us=LEASE_US)
        clock.go_on(LEASE_US - 1)
        with pytest.raises(RunBusy):
            ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)

    def test_a_stale_attempt_changes_nothing(self, ledger: Ledger, clock: ManualClock) -> None:
        """After a take-over every verb of the old attempt is fenced, and the run and its history stay as they are."""
        run = self.claimed(ledger)
        clock.go_on(LEASE_US)
        ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
        before = ledger.run(run.run_key), ledger.events(run.run_key)
        for call in self.updates(ledger, run.run_key, 1):
            with pytest.raises(Fenced):
                call()
        assert (ledger.run(run.run_key), ledger.events(run.run_key)) == before

    @pytest.mark.parametrize("ending", ["done", "failed", "cancel"])
    def test_an_ended_run_never_changes(self, ledger: Ledger, clock: ManualClock, ending: str) -> None:
        """DONE, FAILED and CANCELLED refuse claims, updates and cancels for good."""
        run = self.claimed(ledger)
        if ending == "done":
            ledger.done(run.run_key, attempt=1, result={"rows": 3})
        elif ending == "failed":
            ledger.failed(run.run_key, attempt=1, reason_code="TARGET_DEGENERATE", details={"split": "test"})
        else:
            ledger.release(run.run_key, attempt=1, reason_code="STORAGE_IO_FAILURE")
            ledger.cancel(run.run_key, reason="not needed")
        before = ledger.run(run.run_key), ledger.events(run.run_key)
        clock.go_on(10 * LEASE_US)
        with pytest.raises(RunEnded):
            ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
        with pytest.raises(InvalidTransition):
            ledger.cancel(run.run_key, reason="again")
        for call in self.updates(ledger, run.run_key, 1):
            with pytest.raises(Fenced):
                call()
        assert (ledger.run(run.run_key), ledger.events(run.run_key)) == before

    def test_a_running_run_cannot_be_cancelled(self, ledger: Ledger) -> None:
        """Cancelling is for runs that nobody works on."""
        with pytest.raises(InvalidTransition):
            ledger.cancel(self.claimed(ledger).run_key, reason="impatient")

    def updates(self, ledger: Ledger, run_key: str, attempt: int) -> list[Callable[[], Any]]:
        """Every verb that names an attempt."""
        return [lambda: ledger.heartbeat(run_key, attempt=attempt, lease_us=LEASE_US),
                lambda: ledger.cancelled(run_key, attempt=attempt, reason_code="X"),
                lambda: ledger.note(run_key, attempt=attempt, kind="PHASE", details={}),
                lambda: ledger.publish_pending(run_key, attempt=attempt, reason_code="X"),
                lambda: ledger.release(run_key, attempt=attempt, reason_code="X"),
                lambda: ledger.done(run_key, attempt=attempt, result={}),
                lambda: ledger.failed(run_key, attempt=attempt, reason_code="X", details={})]

    # --- attempts -------------------------------------------------------------------------------------------

    def test_full_runs_and_publish_retries_are_counted_apart_and_bounded(self, ledger: Ledger) -> None:
        """A pending publication is claimed PUBLISH_ONLY without a full run; a spent budget leaves CLOSE_ONLY with its code, for good."""
        run = self.claimed(ledger)
        for retry in (1, 2):
            ledger.publish_pending(run.run_key, attempt=run.attempt, reason_code="STORAGE_IO_FAILURE")
            run = ledger.claim(run.run_key, worker="a", lease_us=LEASE_US)
            assert (run.mode, run.full_run_attempts, run.publish_retry_attempts) == ("PUBLISH_ONLY", 1, retry)
        for _ in range(2):
            pending = ledger.publish_pending(run.run_key, attempt=run.attempt, reason_code="STORAGE_IO_FAILURE")
            assert pending.reason_code == "STORAGE_IO_FAILURE"
            run = ledger.claim(run.run_key, worker="a", lease_us=LEASE_US)
            assert (run.mode, run.publish_retry_attempts, run.reason_code) == ("CLOSE_ONLY", 2, "PUBLISH_RETRY_EXHAUSTED")
        assert ledger.failed(run.run_key, attempt=run.attempt, reason_code=str(run.reason_code), details={}).state == "FAILED"

    def test_workers_that_die_again_and_again_end(self, ledger: Ledger, clock: ManualClock) -> None:
        """After as many full runs as allowed, only closing is left."""
        run = self.claimed(ledger)
        for mode in ("FULL", "CLOSE_ONLY"):
            clock.go_on(LEASE_US)
            run = ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
            assert run.mode == mode
        assert run.reason_code == "RUN_ATTEMPTS_EXHAUSTED"

    def test_a_released_run_is_queued_with_its_attempt_spent(self, ledger: Ledger) -> None:
        """A transient failure gives the lease back at once."""
        run = self.claimed(ledger)
        released = ledger.release(run.run_key, attempt=1, reason_code="STORAGE_IO_FAILURE")
        assert (released.state, released.attempt, released.lease_until_us) == ("QUEUED", 1, None)
        assert released.reason_code == "STORAGE_IO_FAILURE"
        assert ledger.claim(run.run_key, worker="b", lease_us=LEASE_US).attempt == 2

    # --- history --------------------------------------------------------------------------------------------

    def test_history_tells_every_step_in_a_chain(self, ledger: Ledger, clock: ManualClock) -> None:
        """Each change is one event, linked to the one before; the head is the last link; another opening reads the same."""
        run = self.claimed(ledger)
        clock.go_on(5)
        ledger.note(run.run_key, attempt=1, kind="REPLAY_COMPLETE", details={"receipt": ONE})
        done = ledger.done(run.run_key, attempt=1, result={"rows": 3})
        assert (done.state, done.result, done.lease_until_us) == ("DONE", {"rows": 3}, None)
        events = ledger.events(run.run_key)
        assert [event.kind for event in events] == ["INTENT_QUEUED", "RUN_STARTED", "REPLAY_COMPLETE", "RUN_DONE"]
        assert [event.seq for event in events] == [1, 2, 3, 4]
        assert [event.previous_digest for event in events][1:] == [event.digest for event in events][:-1]
        assert (events[2].at_us, events[2].attempt, events[2].details) == (clock.us, 1, {"receipt": ONE})
        assert ledger.head(run.run_key) == events[-1].digest

    def test_it_remembers_across_openings(self, ledger: Ledger, make_ledger: MakeLedger, clock: ManualClock) -> None:
        """What one process wrote, the next one reads."""
        run = self.claimed(ledger)
        again = make_ledger(clock, Limits())
        assert (again.run(run.run_key), again.events(run.run_key)) == (run, ledger.events(run.run_key))

    def test_the_ledgers_own_kinds_cannot_be_noted(self, ledger: Ledger) -> None:
        """A worker cannot forge an end."""
        run = self.claimed(ledger)
        with pytest.raises(SchemaInvalid):
            ledger.note(run.run_key, attempt=1, kind="RUN_DONE", details={})

    def test_a_closure_is_remembered_once(self, ledger: Ledger) -> None:
        """The first digest of a profile revision is kept (`decisions.md` D11)."""
        assert ledger.remember_closure(profile="cards@1/base@1", digest=ONE) == ONE
        assert ledger.remember_closure(profile="cards@1/base@1", digest=OTHER) == ONE
        assert ledger.remember_closure(profile="cards@2/base@1", digest=OTHER) == OTHER

    # --- races ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("rounds", [6, pytest.param(1_000, marks=pytest.mark.long)])
    def test_many_callers_of_one_request_open_one_run(self, ledger: Ledger, rounds: int) -> None:
        """64 callers at once, of one payload or two: one row, one NEW, and the run for each caller of its payload and no other (R1)."""
        for number in range(rounds):
            request_id, payloads = f"request-{number:05}", [(ONE, OTHER)[caller >> number % 7 & 1] for caller in range(CALLERS)]

            def ask(caller: int, request_id: str = request_id, payloads: list[str] = payloads) -> Submitted:
                return submit(ledger, request_id, payloads[caller])

            answers = at_once(CALLERS, ask)
            run = ledger.run(key_of(request_id))
            for payload, answer in zip(payloads, answers, strict=True):
                assert isinstance(answer, Submitted if payload == run.payload_digest else RequestIdPayloadMismatch)
            assert Counter(answer.outcome for answer in answers if isinstance(answer, Submitted))["NEW"] == 1
            assert len(ledger.events(run.run_key)) == 1
        assert len(ledger.runs(limit=2 * rounds)) == rounds

    def test_many_unnamed_callers_open_one_run(self, ledger: Ledger) -> None:
        """64 equal commands at once are one run."""
        answers = at_once(CALLERS, lambda _: unnamed(ledger))
        assert Counter(answer.outcome for answer in answers) == {"NEW": 1, "DUPLICATE": CALLERS - 1}
        assert len(ledger.runs()) == 1

    def test_many_claims_have_one_winner(self, ledger: Ledger) -> None:
        """64 workers at once: one attempt, the others get RunBusy."""
        run = submit(ledger).run
        answers = at_once(CALLERS, lambda number: ledger.claim(run.run_key, worker=f"w{number}", lease_us=LEASE_US))
        assert Counter(type(answer) for answer in answers) == {Run: 1, RunBusy: CALLERS - 1}
        assert (ledger.run(run.run_key).attempt, len(ledger.events(run.run_key))) == (1, 2)

    def test_many_ends_have_one_winner(self, ledger: Ledger) -> None:
        """64 threads of one attempt end it at once: one end is written, the others are fenced."""
        run = self.claimed(ledger)
        answers = at_once(CALLERS, lambda number: ledger.done(run.run_key, attempt=1, result={"by": number}))
        assert Counter(type(answer) for answer in answers) == {Run: 1, Fenced: CALLERS - 1}
        assert [event.kind for event in ledger.events(run.run_key)][2:] == ["RUN_DONE"]
