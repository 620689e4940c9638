"""What every run ledger must do when it begins anew with the runs of a store; part of `LedgerContract`, whose fixtures it uses."""
# ruff: noqa: S101 - a contract suite asserts

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from offline_feature_plane.domain.identity import run_key as key_of
from offline_feature_plane.errors import LedgerNotEmpty, RequestIdPayloadMismatch, RunEnded, StorageIoFailure
from offline_feature_plane.ports import Ledger, Rebuilt
from offline_feature_plane.testing.asking import LEASE_US, ONE, OTHER, REQUEST, ManualClock, at_once, submit, unnamed

DONE = Rebuilt(request_id=REQUEST, payload_digest=ONE, platform_run_id="run-1", payload={"asked": [1, None, "é"]}, state="DONE", attempt=3,
               full_run_attempts=2, publish_retry_attempts=1, reason_code=None, result={"outcome": "PUBLISHED"},
               created_us=1_780_000_000_000_000, ended_us=1_780_000_060_000_000)
FAILED = replace(DONE, request_id=f"auto:{'1' * 16}:1", payload={"asked": 1}, state="FAILED", reason_code="TARGET_DEGENERATE", result=None)
QUEUED = replace(DONE, request_id="request-open", state="QUEUED", result=None, full_run_attempts=0, publish_retry_attempts=0, ended_us=None)


class AdoptionContract:
    """Laws of a ledger that takes runs over: all or none, each with a history that says so, and as binding as any other."""

    def test_an_adopted_run_is_as_it_was_told(self, ledger: Ledger, clock: ManualClock) -> None:
        """Row and history agree; the history is a chain of two events, the second of which says what was taken over."""
        assert ledger.adopt("run-1", [DONE, FAILED, QUEUED]) == 3
        assert list(ledger.run_keys()) == [key_of(one.request_id) for one in (DONE, FAILED, QUEUED)]
        for told in (DONE, FAILED, QUEUED):
            run = ledger.run(key_of(told.request_id))
            for name in ("request_id", "payload_digest", "platform_run_id", "payload", "state", "attempt", "full_run_attempts",
                         "publish_retry_attempts", "reason_code", "result", "created_us"):
                assert getattr(run, name) == getattr(told, name), name
            assert run.updated_us == (clock.us if told.ended_us is None else told.ended_us)
            asked, rebuilt = ledger.events(run.run_key)
            assert (asked.kind, asked.at_us, rebuilt.kind, rebuilt.at_us) == ("INTENT_QUEUED", told.created_us, "RUN_REBUILT", clock.us)
            assert (rebuilt.details["state"], rebuilt.attempt) == (told.state, told.attempt)

    def test_an_adopted_run_answers_its_request(self, ledger: Ledger) -> None:
        """The same request is a duplicate, another payload a mismatch; what ended has ended; unnamed runs are counted on."""
        ledger.adopt("run-1", [DONE, FAILED, QUEUED])
        assert submit(ledger).outcome == "DUPLICATE"
        with pytest.raises(RequestIdPayloadMismatch):
            submit(ledger, payload_digest=OTHER)
        with pytest.raises(RunEnded):
            ledger.claim(key_of(REQUEST), worker="a", lease_us=LEASE_US)
        assert unnamed(ledger).run.request_id == f"auto:{'1' * 16}:2"

    def test_an_adopted_run_that_has_not_ended_goes_on(self, ledger: Ledger) -> None:
        """It is due at once, its next attempt is higher than any that is known, and its history is continued."""
        ledger.adopt("run-1", [QUEUED])
        run = ledger.claim_next(worker="a", lease_us=LEASE_US, platform_run_id="run-1")
        assert run is not None
        assert (run.request_id, run.attempt, run.mode, run.full_run_attempts) == ("request-open", QUEUED.attempt + 1, "FULL", 1)
        ledger.done(run.run_key, attempt=run.attempt, result={"outcome": "PUBLISHED"})
        assert [event.kind for event in ledger.events(run.run_key)] == ["INTENT_QUEUED", "RUN_REBUILT", "RUN_STARTED", "RUN_DONE"]

    def test_a_ledger_that_has_runs_adopts_none(self, ledger: Ledger) -> None:
        """One run of the scope is enough, whatever its state; runs of another scope are no obstacle."""
        assert not ledger.has_runs("run-1")
        ledger.submit(request_id="request-other", payload_digest=ONE, platform_run_id="run-2", payload={})
        assert ledger.adopt("run-1", [DONE]) == 1
        assert ledger.has_runs("run-1")
        with pytest.raises(LedgerNotEmpty):
            ledger.adopt("run-1", [FAILED])
        assert len(ledger.run_keys()) == 2

    def test_adopting_is_all_or_nothing(self, ledger: Ledger) -> None:
        """A store that fails in the middle, or one run twice, leaves the ledger as it was; the next try takes all."""
        def broken() -> Iterator[Rebuilt]:
            yield DONE
            raise StorageIoFailure("the store is gone.", fix="")

        with pytest.raises(StorageIoFailure):
            ledger.adopt("run-1", broken())
        with pytest.raises(LedgerNotEmpty):
            ledger.adopt("run-1", [DONE, FAILED, DONE])
        assert list(ledger.run_keys()) == []
        assert ledger.adopt("run-1", [DONE, FAILED]) == 2

    def test_two_that_rebuild_at_once_leave_one_set_of_runs(self, ledger: Ledger) -> None:
        """One of them takes the runs over, the others find them there."""
        found = at_once(4, lambda _: ledger.adopt("run-1", [DONE, FAILED, QUEUED]))
        assert [one for one in found if one == 3] == [3]
        assert all(isinstance(one, LedgerNotEmpty) for one in found if one != 3), found
        assert len(ledger.run_keys()) == 3
