"""What every run ledger must do as a queue of work; part of `LedgerContract`, whose fixtures it uses."""
# ruff: noqa: S101 - a contract suite asserts

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from offline_feature_plane.domain.runstates import LONGEST_WAIT_US, Limits
from offline_feature_plane.errors import LedgerChainBroken, RunBusy, RunEnded
from offline_feature_plane.ports import Clock, Ledger, Run
from offline_feature_plane.testing.asking import CALLERS, LEASE_US, ONE, ManualClock, at_once, submit

MakeLedger = Callable[[Clock, Limits], Ledger]


def take(ledger: Ledger, worker: str = "a", scope: str = "run-1") -> Run | None:
    """Claim what is due."""
    return ledger.claim_next(worker=worker, lease_us=LEASE_US, platform_run_id=scope)


class QueueContract:
    """Laws of taking what is due: oldest first, one worker each, waits kept, nobody starves."""

    def test_what_is_due_longest_is_taken_first(self, ledger: Ledger, clock: ManualClock) -> None:
        """Runs are handed out in the order in which they became due, each to one worker, until none is left."""
        for number in range(3):
            submit(ledger, f"request-{number:04}")
            clock.go_on(1)
        taken = [take(ledger) for _ in range(4)]
        assert [run and run.request_id for run in taken] == ["request-0000", "request-0001", "request-0002", None]
        assert {(run.state, run.mode, run.attempt) for run in taken if run} == {("RUNNING", "FULL", 1)}

    def test_a_worker_takes_only_runs_of_its_scope(self, ledger: Ledger) -> None:
        """A run belongs to one run scope, and other workers never see it."""
        submit(ledger)
        assert take(ledger, scope="run-2") is None
        assert take(ledger) is not None

    def test_a_released_run_waits_its_time(self, ledger: Ledger, clock: ManualClock) -> None:
        """A run that was given back is due after its wait, and others go first.

            released                due
               ├──── wait: 5 s ──────┤
               │  nothing due        │ taken again, attempt 2

        The instant itself is due.
        """
        run = submit(ledger).run
        for leave in (ledger.release, ledger.publish_pending):
            taken = take(ledger)
            assert taken is not None
            leave(run.run_key, attempt=taken.attempt, reason_code="STORAGE_IO_FAILURE", wait_us=5_000_000)
            clock.go_on(4_999_999)
            assert take(ledger) is None
            clock.go_on(1)
        again = take(ledger)
        assert again is not None
        assert (again.attempt, again.mode) == (3, "PUBLISH_ONLY")

    def test_a_new_run_may_be_left_to_its_asker(self, ledger: Ledger, clock: ManualClock) -> None:
        """Who means to work on a run himself opens it with a wait; afterwards it is anybody's. He may claim it at any time."""
        run = submit(ledger, wait_us=LEASE_US).run
        assert take(ledger) is None
        clock.go_on(LEASE_US)
        taken = take(ledger)
        assert taken is not None
        ledger.release(run.run_key, attempt=1, reason_code="RUN_INTERRUPTED", wait_us=LEASE_US)
        assert ledger.claim(run.run_key, worker="asker", lease_us=LEASE_US).attempt == 2

    def test_a_dead_workers_run_is_taken_over_when_its_lease_ends(self, ledger: Ledger, clock: ManualClock) -> None:
        """A live lease keeps a run out of the queue; one that ran out puts it back.

            a takes            lease ends
              ├──── lease ───────┤
              │   nothing due    │ b takes over

        The taken-over run keeps its mode.
        """
        submit(ledger)
        take(ledger)
        clock.go_on(LEASE_US - 1)
        assert take(ledger, "b") is None
        clock.go_on(1)
        taken = take(ledger, "b")
        assert taken is not None
        assert (taken.attempt, taken.worker, taken.mode) == (2, "b", "FULL")

    def test_a_clock_that_was_set_back_strands_nobody(self, ledger: Ledger, clock: ManualClock) -> None:
        """A turn or a lease that lies further ahead than any can was given by another clock, and counts as over."""
        run = submit(ledger).run
        clock.go_on(-2 * LONGEST_WAIT_US)
        taken = take(ledger)
        assert taken is not None
        ledger.release(run.run_key, attempt=1, reason_code="STORAGE_IO_FAILURE", wait_us=LONGEST_WAIT_US)
        assert take(ledger) is None

    def test_ended_runs_are_never_due(self, ledger: Ledger, clock: ManualClock) -> None:
        """DONE, FAILED and CANCELLED leave the queue for good."""
        ends: tuple[Callable[[Run], Any], ...] = (
            lambda run: ledger.done(run.run_key, attempt=1, result={}),
            lambda run: ledger.failed(run.run_key, attempt=1, reason_code="TARGET_DEGENERATE", details={}),
            lambda run: ledger.cancelled(run.run_key, attempt=1, reason_code="RUN_CANCELLED"))
        for number, end in enumerate(ends):
            submit(ledger, f"request-{number:04}")
            taken = take(ledger)
            assert taken is not None
            end(taken)
        clock.go_on(10 * LEASE_US)
        assert take(ledger) is None
        assert Counter(run.state for run in ledger.runs()) == {"DONE": 1, "FAILED": 1, "CANCELLED": 1}

    def test_a_cancelled_run_says_so(self, ledger: Ledger) -> None:
        """A worker that finds its run cancelled ends it CANCELLED, for good."""
        run = submit(ledger).run
        ledger.claim(run.run_key, worker="a", lease_us=LEASE_US)
        ended = ledger.cancelled(run.run_key, attempt=1, reason_code="RUN_CANCELLED")
        assert (ended.state, ended.reason_code, ended.lease_until_us) == ("CANCELLED", "RUN_CANCELLED", None)
        assert [event.kind for event in ledger.events(run.run_key)][-1] == "RUN_CANCELLED"
        with pytest.raises(RunEnded):
            ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)

    def test_a_stalled_publication_waits_for_a_person(self, ledger: Ledger, clock: ManualClock) -> None:
        """A run that nobody can finish without help is not handed out again; who has helped claims it by name."""
        run = submit(ledger).run
        take(ledger)
        ledger.publish_pending(run.run_key, attempt=1, reason_code="PUBLICATION_STALLED")
        clock.go_on(10 * LONGEST_WAIT_US)
        assert take(ledger) is None
        assert ledger.claim(run.run_key, worker="helper", lease_us=LEASE_US).mode == "PUBLISH_ONLY"

    def test_a_quarantined_run_starves_nobody(self, ledger: Ledger) -> None:
        """A quarantined run is handed out no more, nor worked on by name, and is told apart; the others go on."""
        poison = submit(ledger, "request-0000").run
        submit(ledger, "request-0001")
        for _ in range(2):
            ledger.quarantine(poison.run_key, code="LEDGER_CHAIN_BROKEN", details={"seq": 1})
        taken = take(ledger)
        assert taken is not None
        assert taken.request_id == "request-0001"
        assert [run.request_id for run in ledger.runs()] == ["request-0001"]
        for ask in (lambda: submit(ledger, "request-0000"), lambda: ledger.claim(poison.run_key, worker="a", lease_us=LEASE_US),
                    lambda: ledger.cancel(poison.run_key, reason="x")):
            with pytest.raises(LedgerChainBroken):
                ask()
        (told,) = ledger.quarantined()
        assert (told.run_key, told.code, told.details) == (poison.run_key, "LEDGER_CHAIN_BROKEN", {"seq": 1})

    def test_a_mismatch_of_configuration_is_what_such_a_run_ends_for(self, ledger: Ledger) -> None:
        """A run that no worker could take because its configuration differed is closed for that reason (`decisions.md` D11)."""
        run = submit(ledger).run
        modes = []
        while (taken := take(ledger)) is not None and taken.mode == "FULL":
            modes.append(taken.mode)
            ledger.release(run.run_key, attempt=taken.attempt, reason_code="RUN_CONFIG_DIGEST_MISMATCH")
        assert taken is not None
        assert (taken.mode, taken.reason_code, len(modes)) == ("CLOSE_ONLY", "RUN_CONFIG_DIGEST_MISMATCH", 2)

    def test_many_workers_share_the_queue(self, ledger: Ledger) -> None:
        """64 workers at once on 16 runs: each run has exactly one worker, and no worker sees anything but a run, none, or RunBusy."""
        for number in range(16):
            submit(ledger, f"request-{number:04}")
        answers = at_once(CALLERS, lambda number: take(ledger, f"w{number}"))
        assert {type(answer) for answer in answers} <= {Run, type(None), RunBusy}
        while (left := take(ledger)) is not None:
            answers.append(left)
        taken = [answer.run_key for answer in answers if isinstance(answer, Run)]
        assert len(taken) == len(set(taken)) == 16
        assert {run.attempt for run in ledger.runs()} == {1}

    def test_a_payload_is_what_was_asked(self, ledger: Ledger) -> None:
        """Who takes a run reads its request as it was made."""
        submit(ledger)
        taken = take(ledger)
        assert taken is not None
        assert (taken.payload, taken.payload_digest, taken.request_id) == ({"asked": [1, None, "é"]}, ONE, "request-0001")
