"""Claiming a run while others hold it: how long is waited, what is taken over at once, what is found while waiting (`domain.md` §4)."""

from contextlib import nullcontext, suppress

import pytest

from offline_feature_plane.corridor.claims import WORKER_DIED_CODE, Worker, claim
from offline_feature_plane.errors import RunBusy, RunEnded
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.testing.asking import ManualClock, submit

LEASE_US = 3_000_000


class Hall:
    """One ledger, one clock that goes on while somebody sleeps, and what happens meanwhile."""

    def __init__(self, folder):
        self.clock = ManualClock()
        self.began_us = self.clock.us
        self.ledger = SqliteLedger(folder / "runs.db", self.clock)
        self.run = submit(self.ledger).run
        self.said = []

    @property
    def waited_us(self):
        """How long the claimant has slept."""
        return self.clock.us - self.began_us

    def hold(self, worker="other"):
        """Another worker claims the run."""
        return self.ledger.claim(self.run.run_key, worker=worker, lease_us=LEASE_US)

    def claim(self, *, dead=(), meanwhile=None):
        """Claim it as `me`; `meanwhile` is called at each look."""
        def progress(step, done, total):
            self.said.append((step, done, total))
            if meanwhile is not None:
                meanwhile()
        worker = Worker("me", LEASE_US, lambda run: nullcontext(), lambda name: name in dead)
        return claim(self.run, self.ledger, self.clock, worker, progress)


@pytest.fixture
def hall(tmp_path):
    """A fresh one."""
    return Hall(tmp_path)


def test_a_free_run_is_taken_without_waiting(hall):
    """Nobody holds it: one claim, no look, no time."""
    run = hall.claim()
    assert (run.state, run.worker, run.attempt, hall.waited_us, hall.said) == ("RUNNING", "me", 1, 0, [])


def test_a_silent_worker_is_waited_for_until_its_lease_ends(hall):
    """A worker that nobody can look for keeps its run for one lease from its last sign, and loses it then.

    other  ├── lease ──┤ silent
    me     ·  ·  ·  ·  ● attempt 2
    """
    hall.hold()
    run = hall.claim()
    assert (run.worker, run.attempt) == ("me", 2)
    assert LEASE_US <= hall.waited_us < LEASE_US + LEASE_US // 10
    assert set(hall.said) == {("wait", 0, 0)}


def test_a_beating_worker_is_waited_for_two_leases_at_most(hall):
    """A worker that stays alive keeps its run; the claimant gives up after twice the lease, and no later than its next look.

    other  ├── beat ── beat ── beat ── beat ─▶
    me     ·  ·  ·  ·  ·  ·  ·  ·  ·  RunBusy
           └──────── 2 leases ───────┘
    """
    held = hall.hold()
    with pytest.raises(RunBusy):
        hall.claim(meanwhile=lambda: hall.ledger.heartbeat(hall.run.run_key, attempt=held.attempt, lease_us=LEASE_US))
    assert 2 * LEASE_US < hall.waited_us <= 2 * LEASE_US + LEASE_US // 10
    assert hall.ledger.run(hall.run.run_key).worker == "other"


@pytest.mark.parametrize("jump_us", [-86_400_000_000, -1_000_000_000, 86_400_000_000])
def test_a_clock_that_jumps_while_somebody_waits_prolongs_nothing(hall, jump_us):
    """The wait for a live worker is counted in looks; whatever the clock does, it ends: busy, or with the run taken over.

    other  ├── beat ── beat ──┈ jump ┈── beat ── beat ─▶
    me     ·  ·  ·  ·  ·  ·  ·         ·  ·  ·  ·  ·  RunBusy, or attempt 2

    A lease that seems to be over, or too long to be one, is taken over.
    """
    held = hall.hold()

    def meanwhile():
        if len(hall.said) == 10:
            hall.clock.go_on(jump_us)
        elif hall.ledger.run(hall.run.run_key).attempt == held.attempt:
            hall.ledger.heartbeat(hall.run.run_key, attempt=held.attempt, lease_us=LEASE_US)

    with suppress(RunBusy):
        hall.claim(meanwhile=meanwhile)
    assert len(hall.said) <= 61
    assert hall.ledger.run(hall.run.run_key).attempt <= 2


def test_a_clock_that_stands_still_holds_nobody_for_ever(hall):
    """Where no time passes no lease ends, and still nobody waits without an end."""
    hall.hold()
    hall.clock.sleep_us = lambda _: None
    with pytest.raises(RunBusy):
        hall.claim()
    assert (len(hall.said), hall.waited_us) == (61, 0)


def test_a_worker_that_died_is_taken_over_at_once(hall):
    """A worker that is known to be gone is not waited for; the ledger remembers why its attempt ended, and the attempt stays spent."""
    hall.hold("gone")
    run = hall.claim(dead={"gone"})
    assert (run.worker, run.attempt, hall.waited_us, hall.said) == ("me", 2, 0, [])
    told = [event for event in hall.ledger.events(run.run_key) if event.details.get("reason_code") == WORKER_DIED_CODE]
    assert [event.attempt for event in told] == [1]


def test_only_the_holder_must_have_died(hall):
    """That some other worker is gone gives nobody's run away."""
    held = hall.hold("lives")
    with pytest.raises(RunBusy):
        hall.claim(dead={"gone"}, meanwhile=lambda: hall.ledger.heartbeat(hall.run.run_key, attempt=held.attempt, lease_us=LEASE_US))


def test_a_worker_that_dies_while_waited_for_is_taken_over_at_the_next_look(hall):
    """Whether the holder lives is asked at every look, not once.

    other  ├── beat ── beat ── dies
    me     ·  ·  ·  ·  ·  ·  · ● attempt 2
    """
    held, dead = hall.hold(), set()

    def meanwhile():
        hall.ledger.heartbeat(hall.run.run_key, attempt=held.attempt, lease_us=LEASE_US)
        if len(hall.said) == 3:
            dead.add("other")

    assert hall.claim(dead=dead, meanwhile=meanwhile).worker == "me"
    assert len(hall.said) == 3
    assert hall.waited_us < LEASE_US


def test_a_run_that_others_finish_is_the_answer(hall):
    """A run that is DONE while somebody waits is returned to them, with its result; one look later at most."""
    held = hall.hold()

    def meanwhile():
        if len(hall.said) == 2:
            hall.ledger.done(hall.run.run_key, attempt=held.attempt, result={"dataset_manifest_id": "dm_x"})

    run = hall.claim(meanwhile=meanwhile)
    assert (run.state, run.result, run.attempt) == ("DONE", {"dataset_manifest_id": "dm_x"}, 1)
    assert len(hall.said) == 2
    again = hall.claim()
    assert again.state == "DONE"


def test_a_run_that_others_fail_is_no_answer(hall):
    """A run that FAILED while somebody waits raises RunEnded for them too."""
    held = hall.hold()

    def meanwhile():
        if len(hall.said) == 2:
            hall.ledger.failed(hall.run.run_key, attempt=held.attempt, reason_code="TARGET_DEGENERATE", details={})

    with pytest.raises(RunEnded):
        hall.claim(meanwhile=meanwhile)


def test_who_answers_after_all_has_lost_only_the_race(hall):
    """A dead worker's run that a third one took meanwhile is waited for as ever: giving it back in the dead one's name does nothing."""
    hall.hold("gone")
    release = hall.ledger.release

    def late(run_key, *, attempt, reason_code):
        hall.clock.go_on(LEASE_US)
        hall.hold("third")
        hall.ledger.release = release
        return release(run_key, attempt=attempt, reason_code=reason_code)

    hall.ledger.release = late
    run = hall.claim(dead={"gone"})
    assert (run.worker, run.attempt) == ("me", 3)
    assert hall.waited_us >= 2 * LEASE_US
