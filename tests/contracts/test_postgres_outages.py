"""The PostgreSQL ledger while its server dies, hangs, locks or only reads: typed errors in bounded time, nothing lost, and on it goes."""

import os
import signal
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from postgres_server import APP
from wire import Wire

from offline_feature_plane.errors import Fenced, InvalidTransition, LedgerUnavailable, OfsError, RunBusy, RunEnded
from offline_feature_plane.ledger.chain import verified
from offline_feature_plane.ledger.heartbeat import Heartbeat
from offline_feature_plane.ledger.postgres.ledger import PostgresLedger
from offline_feature_plane.ports import Submitted
from offline_feature_plane.postgres.address import address_from
from offline_feature_plane.stopping import Terminated
from offline_feature_plane.testing.asking import LEASE_US, ONE, submit

pytestmark = pytest.mark.crash


@pytest.fixture
def url(postgres):
    """The address of an empty ledger, as workers open it."""
    return postgres.new_ledger()


def opened(url, **more):
    """The ledger at an address."""
    return PostgresLedger(address_from(url), **more)


def claimed(ledger, request_id="request-0001"):
    """A new run, claimed."""
    return ledger.claim(submit(ledger, request_id).run.run_key, worker="a", lease_us=LEASE_US)


# --- lost on the way ----------------------------------------------------------------------------------------

# From which state each verb starts, and what it is.
VERBS = {
    "submit": ("none", lambda ledger, key: submit(ledger)),
    "claim": ("queued", lambda ledger, key: ledger.claim(key, worker="a", lease_us=LEASE_US)),
    "claim_next": ("queued", lambda ledger, key: ledger.claim_next(worker="a", lease_us=LEASE_US, platform_run_id="run-1")),
    "cancel": ("queued", lambda ledger, key: ledger.cancel(key, reason="x")),
    "heartbeat": ("running", lambda ledger, key: ledger.heartbeat(key, attempt=1, lease_us=LEASE_US)),
    "note": ("running", lambda ledger, key: ledger.note(key, attempt=1, kind="PHASE", details={})),
    "release": ("running", lambda ledger, key: ledger.release(key, attempt=1, reason_code="X")),
    "done": ("running", lambda ledger, key: ledger.done(key, attempt=1, result={})),
    "quarantine": ("queued", lambda ledger, key: ledger.quarantine(key, code="X", details={})),
    "remember_closure": ("queued", lambda ledger, key: ledger.remember_closure(profile="cards@1", digest=ONE)),
    "events": ("running", lambda ledger, key: ledger.events(key)),
}


def _state(ledger):
    """All that a ledger says, but the instants of leases."""
    runs = [(run.state, run.attempt, ledger.events(run.run_key)) for run in ledger.find("request-0001")]
    return runs, [one.code for one in ledger.quarantined()], ledger.closure("cards@1")


@pytest.mark.parametrize(("verb", "after"), [
    pytest.param(verb, after, id=f"{verb}-{'after' if after else 'before'}", marks=[pytest.mark.long] if place % 2 == after else [])
    for place, verb in enumerate(VERBS) for after in (False, True)])
def test_a_verb_that_is_cut_anywhere_is_typed_and_can_be_done_again(postgres, verb, after):
    """The connection is cut at each message of each verb, before the server has it or with its answer lost.

        BEGIN ─ clock ─ row ─ change ─ event ─ COMMIT
          ✂      ✂      ✂      ✂       ✂       ✂

    Only a cut at the commit leaves the outcome unknown, and says so; before it nothing is done. The verb then works again, or is told
    what it already did.
    """
    start, call = VERBS[verb]
    unknown = number = 0
    while True:
        url = postgres.new_ledger()
        direct = opened(url)
        key = submit(direct).run.run_key if start != "none" else ""
        if start == "running":
            direct.claim(key, worker="a", lease_us=LEASE_US)
        before = _state(direct)
        with _wired(postgres, url) as (wire, ledger):
            ledger.runs()  # a connection that is kept
            wire.cut(number, after=after)
            trouble = None
            try:
                call(ledger, key)
            except LedgerUnavailable as error:
                trouble = error
            if not wire.mend():
                break
            is_done = _state(direct) != before
            if trouble is not None:
                unknown += trouble.fields.get("outcome") == "unknown"
                assert not is_done or trouble.fields["outcome"] == "unknown"
            again = _answer(call, ledger, key)
            if is_done and trouble:
                assert isinstance(again, (Submitted, RunBusy, Fenced, InvalidTransition, type(None), str))
            elif trouble:
                assert not isinstance(again, OfsError)
        number += 1
    assert number >= 4
    assert unknown == (verb != "events")


def _answer(call, *arguments):
    try:
        return call(*arguments)
    except OfsError as error:
        return error


@contextmanager
def _wired(postgres, url):
    """A wire to the server, and the ledger at its end."""
    with tempfile.TemporaryDirectory() as folder:
        wire = Wire(postgres.host, Path(folder))
        yield wire, opened(url.replace(postgres.host, folder))
        wire.close()


# --- restarts -----------------------------------------------------------------------------------------------


def test_connections_that_died_unused_are_replaced_in_silence(postgres, url):
    """A server that ended idle sessions, or was restarted meanwhile, costs no call."""
    ledger = opened(f"{url}&application_name={address_from(url).schema}")
    run = claimed(ledger)
    postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{address_from(url).schema}'")
    ledger.note(run.run_key, attempt=1, kind="PHASE", details={})
    postgres.stop()
    postgres.start()
    assert ledger.done(run.run_key, attempt=1, result={}).state == "DONE"


def test_a_server_that_is_away_is_told_and_comes_back(postgres, url):
    """While the server is down every verb is LedgerUnavailable; afterwards each works, and nothing that was acknowledged is gone."""
    ledger = opened(url)
    run = claimed(ledger)
    before = ledger.run(run.run_key), ledger.events(run.run_key)
    with pytest.raises(LedgerUnavailable) as lost, ledger._connector.writing() as tx:  # noqa: PT012 - the commit at its end raises
        tx.change("touch_run", run_key=run.run_key, attempt=1, at_us=1)
        postgres.stop()
    assert lost.value.fields["outcome"] == "unknown"
    try:
        for _, call in VERBS.values():
            with pytest.raises(LedgerUnavailable, match="cannot be reached"):
                call(ledger, run.run_key)
        with pytest.raises(LedgerUnavailable, match="cannot be reached"):
            opened(url)
    finally:
        postgres.start()
    assert (ledger.run(run.run_key), ledger.events(run.run_key)) == before
    assert ledger.done(run.run_key, attempt=1, result={}).state == "DONE"


@pytest.mark.parametrize("restarts", [2, pytest.param(60, marks=pytest.mark.long)])
def test_workers_go_on_through_crashes_of_the_server(postgres, url, restarts):
    """Four workers finish run after run while the server crashes and recovers; all that was told as done is there, in whole chains."""
    ledger, is_over, told = opened(url), threading.Event(), {}

    def work(worker):
        number = 0
        while not is_over.is_set():
            _finish(ledger, f"request-{worker}-{number:05}", told)
            number += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for one in workers:
        one.start()
    try:
        for number in range(restarts):
            time.sleep(0.2 + number % 7 / 20)
            postgres.stop()
            postgres.start()
        time.sleep(0.2)
    finally:
        is_over.set()
        for one in workers:
            one.join()
    runs = ledger.runs(limit=1_000_000)
    assert len(runs) == len(told) > 4 * restarts
    for run in runs:
        assert (run.state, run.result) == ("DONE", {"by": told[run.request_id]})
        assert [event.kind for event in ledger.events(run.run_key)].count("RUN_DONE") == 1


def _finish(ledger, request_id, told):
    """Bring a run to its end whatever happens; remember which attempt ended it."""
    while request_id not in told:
        try:
            run = submit(ledger, request_id).run
            if run.state == "DONE":  # its acknowledgement was lost
                told[request_id] = run.result["by"]
                return
            attempt = ledger.claim(run.run_key, worker="w", lease_us=50_000).attempt
            ledger.heartbeat(run.run_key, attempt=attempt, lease_us=50_000)
            ledger.note(run.run_key, attempt=attempt, kind="PHASE", details={})
            ledger.done(run.run_key, attempt=attempt, result={"by": attempt})
            told[request_id] = attempt
        except (LedgerUnavailable, RunBusy, RunEnded, Fenced):
            time.sleep(0.02)


def test_a_server_that_hangs_is_given_up_in_bounded_time(postgres, url):
    """A server that is stopped in its tracks neither answers nor closes: the call ends all the same, and so does opening anew."""
    ledger = opened(url, patience_s=0.5)
    run = claimed(ledger)
    (kept,) = ledger._connector._connections._idle[os.getpid()]
    frozen = [kept.info.backend_pid, postgres.pid]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        for words in ("no answer within 2.5 s", "timeout"):
            began = time.monotonic()
            with pytest.raises(LedgerUnavailable, match=words):
                ledger.heartbeat(run.run_key, attempt=1, lease_us=LEASE_US)
            assert time.monotonic() - began < 6
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    ledger.heartbeat(run.run_key, attempt=1, lease_us=LEASE_US)


def test_a_server_that_only_reads_is_told(postgres, url):
    """A standby gives readers what it has and refuses writers, with the way to the primary."""
    run = claimed(opened(url))
    signal_file = Path(postgres.host) / "standby.signal"
    postgres.stop()
    signal_file.touch()
    postgres.start()
    try:
        ledger = opened(url)
        assert ledger.run(run.run_key) == run
        for refused in (lambda: submit(ledger), lambda: opened(f"{url}&target_session_attrs=read-write")):
            with pytest.raises(LedgerUnavailable, match="only reads") as told:
                refused()
            assert "target_session_attrs" in told.value.fix
    finally:
        postgres.stop()
        signal_file.unlink()
        postgres.start()


# --- others in the way --------------------------------------------------------------------------------------


def test_a_run_that_somebody_holds_costs_a_bounded_wait_and_keeps_no_other_waiting(postgres, url):
    """A session that sits on a run's row fails the verbs of that run after their patience; work on other runs goes on at once."""
    ledger = opened(url, patience_s=0.3)
    held = submit(ledger, "request-0001").run
    submit(ledger, "request-0002")
    with postgres.connection(user=APP, schema=address_from(url).schema) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM runs WHERE run_key = %s FOR UPDATE", (held.run_key,))
        taken = ledger.claim_next(worker="a", lease_us=LEASE_US, platform_run_id="run-1")
        assert taken.request_id == "request-0002"
        assert ledger.claim_next(worker="b", lease_us=LEASE_US, platform_run_id="run-1") is None
        with pytest.raises(LedgerUnavailable, match="locked"):
            ledger.claim(held.run_key, worker="a", lease_us=LEASE_US)
    assert ledger.claim(held.run_key, worker="a", lease_us=LEASE_US).attempt == 1


def test_who_writes_about_a_run_keeps_others_from_it(url):
    """Between a writer's look at a run and its end nobody changes the run, so its row and its events belong together.

        a looks at the row ─ a reads the events ─ a ends
             b claims ………………… b waits ……………… b has it

    Without the lock a would read a row of before and events of after.
    """
    ledger = opened(url)
    run = submit(ledger).run
    other = threading.Thread(target=ledger.claim, args=(run.run_key,), kwargs={"worker": "b", "lease_us": LEASE_US})
    with ledger._connector.writing() as tx:
        row = tx.one("run", run_key=run.run_key)
        other.start()
        other.join(0.3)
        assert other.is_alive()
        assert len(verified(row, tx.every("events", run_key=run.run_key))) == 1
    other.join()
    assert ledger.run(run.run_key).worker == "b"


def test_who_reads_sees_one_state_and_keeps_nobody_waiting(url):
    """A reader's row and events are of one instant, whatever is written meanwhile."""
    ledger = opened(url)
    run = submit(ledger).run
    with ledger._connector.reading() as tx:
        row = tx.one("run", run_key=run.run_key)
        ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
        assert len(verified(row, tx.every("events", run_key=run.run_key))) == 1
    assert len(ledger.events(run.run_key)) == 2


def test_an_interrupt_while_waiting_ends_the_wait_and_the_transaction(postgres, url):
    """Ctrl-C and a request to terminate reach a call that waits for a lock at once; nothing is done, and the ledger goes on."""
    ledger = opened(url)
    run = submit(ledger).run
    for kind in (KeyboardInterrupt, Terminated):
        def interrupt(*_, kind=kind):
            raise kind

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            with postgres.connection(user=APP, schema=address_from(url).schema) as holder:
                holder.execute("BEGIN")
                holder.execute("SELECT 1 FROM runs FOR UPDATE")
                signal.setitimer(signal.ITIMER_REAL, 0.3)
                began = time.monotonic()
                with pytest.raises(kind):
                    ledger.claim(run.run_key, worker="a", lease_us=LEASE_US)
                assert time.monotonic() - began < 5
        finally:
            signal.signal(signal.SIGALRM, before)
        assert ledger.run(run.run_key) == run
    assert ledger.claim(run.run_key, worker="a", lease_us=LEASE_US).attempt == 1


def test_a_transaction_that_its_worker_forgot_is_ended(postgres, url):
    """A worker that is stopped in the middle of a transaction holds its run no longer than its patience; its change is not made.

        a begins, changes     server ends a's transaction
          ├───── 0.3 s ─────────┤
          │   b waits           │ b has the run      a wakes up: LedgerUnavailable

    The run can be taken over.
    """
    slow, other = opened(url, patience_s=0.3), opened(url)
    run = submit(other).run
    with pytest.raises(LedgerUnavailable), slow._connector.writing() as tx:  # noqa: PT012 - the commit at its end raises
        tx.change("cancel_run", run_key=run.run_key, attempt=0, state="QUEUED", reason_code="X", at_us=1)
        assert other.claim(run.run_key, worker="b", lease_us=LEASE_US).attempt == 1
    assert other.run(run.run_key).state == "RUNNING"


def test_the_clock_of_the_workers_machine_changes_nothing(postgres, url, monkeypatch):
    """A machine whose clock jumps by years holds and takes leases by the server's clock alone."""
    ledger = opened(url)
    run = claimed(ledger)
    for years in (-10, 10):
        seconds = time.time() + years * 31_557_600
        with monkeypatch.context() as jumped:
            jumped.setattr(time, "time", lambda seconds=seconds: seconds)
            jumped.setattr(time, "time_ns", lambda seconds=seconds: int(seconds * 1e9))
            ledger.heartbeat(run.run_key, attempt=1, lease_us=LEASE_US)
            with pytest.raises(RunBusy):
                ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
            assert ledger.claim_next(worker="b", lease_us=LEASE_US, platform_run_id="run-1") is None
    (now,) = postgres.sql("SELECT now_us()", schema=address_from(url).schema)[0]
    assert 0 < ledger.run(run.run_key).lease_until_us - now <= LEASE_US


def test_the_clock_goes_on_within_a_transaction(url):
    """A transaction that waited judges leases by the time it is now, not when it began."""
    with opened(url)._connector.writing() as tx:
        first = tx.now_us()
        time.sleep(0.01)
        assert tx.now_us() >= first + 10_000


def test_a_heartbeat_does_not_wait_for_its_workers_connection(url):
    """The keeper beats on a connection of its own while the worker is in the middle of a long transaction.

        claim ─ beat ─ beat ─ beat ─ …
                └──── worker's transaction ────┘

    The lease is alive after twice its length.
    """
    ledger = opened(url)
    other = submit(ledger, "request-0002").run
    run = ledger.claim(submit(ledger).run.run_key, worker="a", lease_us=600_000)
    with Heartbeat(ledger, run, lease_us=600_000) as heart:
        with ledger._connector.writing() as tx:
            tx.one("run", run_key=other.run_key)
            time.sleep(1.3)
        heart.check()
        with pytest.raises(RunBusy):
            ledger.claim(run.run_key, worker="b", lease_us=1)
