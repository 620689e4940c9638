"""The run ledger on SQLite: the contract, and what only a file can do wrong."""

import random
import re
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from offline_feature_plane.domain.identity import run_key as key_of
from offline_feature_plane.domain.runstates import Limits
from offline_feature_plane.errors import Fenced, InvalidTransition, LedgerChainBroken, LedgerUnavailable, OfsError, RunNotFound
from offline_feature_plane.ledger.chain import link, queued_details
from offline_feature_plane.ledger.connector import STATEMENTS, sql_file
from offline_feature_plane.ledger.heartbeat import Heartbeat
from offline_feature_plane.ledger.sqlite import SqliteLedger, mapped
from offline_feature_plane.testing.asking import LEASE_US, ONE, OTHER, REQUEST, ManualClock, submit
from offline_feature_plane.testing.ledger_contract import LedgerContract


class MachineClock:
    def now_us(self):
        """Now."""
        return time.time_ns() // 1000

    def sleep_us(self, span_us):
        """Wait."""
        time.sleep(span_us / 1e6)


@pytest.fixture
def path(tmp_path):
    """Where the ledger will be; its folder does not exist yet."""
    return tmp_path / "ledger" / "runs.db"


@pytest.fixture
def finished(path):
    """A ledger with one run that was worked on twice and ended."""
    ledger = SqliteLedger(path, ManualClock())
    run = ledger.claim(submit(ledger).run.run_key, worker="a", lease_us=LEASE_US)
    ledger.note(run.run_key, attempt=1, kind="REPLAY_COMPLETE", details={"receipt": ONE, "name": "é\u0301"})
    ledger.release(run.run_key, attempt=1, reason_code="STORAGE_IO_FAILURE")
    ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
    ledger.done(run.run_key, attempt=2, result={"rows": 3})
    return ledger


class TestSqliteLedger(LedgerContract):
    @pytest.fixture
    def make_ledger(self, path):
        """A ledger in a file."""
        return lambda clock, limits: SqliteLedger(path, clock, limits=limits)


# --- files --------------------------------------------------------------------------------------------------


def test_a_new_ledger_is_durable_and_append_only_by_its_settings(path):
    """Rollback journal, EXTRA, recursive triggers: what was committed survives, and replacing rows fires triggers."""
    connector = SqliteLedger(path, ManualClock())._connector
    with connector.writing() as tx:
        pragmas = {name: tx._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in
                   ("journal_mode", "synchronous", "recursive_triggers", "foreign_keys")}
    assert pragmas == {"journal_mode": "delete", "synchronous": 3, "recursive_triggers": 1, "foreign_keys": 1}


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: path.write_bytes(b"this is no database " * 100), "not a readable ledger"),
    (lambda path: _sql(path, "CREATE TABLE recipes (name TEXT)"), "not a run ledger"),
    (lambda path: _sql(path, "CREATE TABLE ledger_schema (version INTEGER); INSERT INTO ledger_schema VALUES (7)"), "newer"),
    (lambda path: path.mkdir(), "cannot be opened"),
])
def test_what_is_no_ledger_of_this_schema_is_refused_with_advice(tmp_path, make, words):
    """Foreign files, foreign databases, newer schemas and folders are refused, and left as they are."""
    path = tmp_path / "runs.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LedgerUnavailable, match=words) as refused:
        SqliteLedger(path, ManualClock())
    assert refused.value.fix
    assert refused.value.path == str(path)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_folder_that_cannot_be_made_or_written_is_refused(tmp_path):
    """No folder, no ledger: the path is named."""
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file" / "runs.db", Path("/proc/runs.db"), tmp_path / ("x" * 300)):
        with pytest.raises(LedgerUnavailable, match=r"cannot be (opened|created)"):
            submit(SqliteLedger(place, ManualClock()))


def test_a_ledger_that_nobody_wrote_to_is_empty_and_not_made(path):
    """Looking makes no file; neither does an empty one hinder."""
    ledger = SqliteLedger(path, ManualClock())
    assert (list(ledger.runs()), list(ledger.find("request-1")), ledger.closure("p@r1/s")) == ([], [], None)
    with pytest.raises(RunNotFound):
        ledger.run("0" * 32)
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_bytes(b"")
    assert list(SqliteLedger(path, ManualClock()).runs()) == []
    assert submit(SqliteLedger(path, ManualClock())).outcome == "NEW"
    assert len(ledger.runs()) == 1


def test_a_ledger_that_vanished_is_not_made_anew(finished, path):
    """An open ledger whose file was removed fails; an empty one would forget every run."""
    path.unlink()
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        finished.runs()
    assert not path.exists()


def test_a_locked_ledger_says_so(finished, path):
    """A writer that hangs elsewhere costs a bounded wait and a typed error."""
    impatient = SqliteLedger(path, ManualClock(), busy_timeout_s=0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    try:
        holder.execute("BEGIN EXCLUSIVE")
        for call in (lambda: submit(impatient), impatient.runs, lambda: SqliteLedger(path, ManualClock(), busy_timeout_s=0.05)):
            with pytest.raises(LedgerUnavailable, match="locked the ledger"):
                call()
    finally:
        holder.close()
    assert len(impatient.runs()) == 1


def test_a_ledger_of_the_first_schema_goes_on(path):
    """A file that the first schema wrote is brought up to date when it is opened, with its runs and their histories as they were."""
    path.parent.mkdir()
    _sql(path, sql_file("sqlite_0001.sql"))
    run_key, said = key_of(REQUEST), {"request_id": REQUEST, "payload_digest": ONE, "platform_run_id": "run-1", "payload": '{"asked":1}'}
    queued = link(run_key=run_key, after=None, kind="INTENT_QUEUED", at_us=5, attempt=0, details=queued_details(**said))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO runs (run_key, request_id, payload_digest, platform_run_id, payload, state, created_us, "
                           "updated_us) VALUES (?, ?, ?, ?, ?, 'QUEUED', 5, 5)", (run_key, *said.values()))
        connection.execute(f"INSERT INTO events ({', '.join(queued)}) VALUES ({', '.join('?' * len(queued))})", tuple(queued.values()))
    ledger = SqliteLedger(path, ManualClock())
    assert [event.digest for event in ledger.events(run_key)] == [queued["digest"]]
    assert ledger.claim_next(worker="a", lease_us=LEASE_US, platform_run_id="run-1").run_key == run_key


def test_two_openings_of_a_new_file_make_one_ledger(path):
    """The tables are made in one transaction; a second opening finds them."""
    first, second = SqliteLedger(path, ManualClock()), SqliteLedger(path, ManualClock())
    assert submit(first).run == submit(second).run


def test_a_damaged_file_is_a_typed_error(finished, path):
    """A page of garbage in the middle of the file never ends in a driver's error."""
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data) - 4096, 4096):
        data[page:page + 512] = b"\xff" * 512
    path.write_bytes(bytes(data))
    with pytest.raises((LedgerUnavailable, LedgerChainBroken)):
        finished.events(finished.runs()[0].run_key)


def test_every_error_of_the_driver_is_one_of_ours():
    """The whole exception tree of sqlite3, with every result code that it defines, maps to an error with advice."""
    def tree(kind):
        return {kind}.union(*(tree(below) for below in kind.__subclasses__()))

    codes = [None, *{getattr(sqlite3, name) for name in dir(sqlite3) if name.startswith("SQLITE_") and
                     isinstance(getattr(sqlite3, name), int)}]
    seen = set()
    for kind in tree(sqlite3.Error) | {sqlite3.Warning}:
        for code in codes:
            wrong = kind("broken")
            if code is not None:
                wrong.sqlite_errorcode = code
            ours = mapped(wrong, Path("runs.db"))
            assert isinstance(ours, OfsError)
            assert ours.fix
            assert type(ours) is (InvalidTransition if issubclass(kind, sqlite3.IntegrityError) else LedgerUnavailable)
            seen.add(kind)
    assert {sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.InterfaceError} <= seen


def test_every_statement_compiles_against_the_schema(finished, path):
    """No named statement is misspelt."""
    names = {name for statement in STATEMENTS.values() for name in re.findall(r":(\w+)", statement)}
    connection = sqlite3.connect(path)
    for statement in STATEMENTS.values():
        connection.execute(f"EXPLAIN {statement}", dict.fromkeys(names))
    connection.close()


# --- tampering ----------------------------------------------------------------------------------------------

BYPASSES = [
    "UPDATE events SET details = '{}' WHERE seq = 2",
    "DELETE FROM events WHERE seq = 5",
    "INSERT OR REPLACE INTO events SELECT run_key, seq, kind, at_us, 9, details, previous_digest, digest FROM events WHERE seq = 2",
    "REPLACE INTO events SELECT run_key, seq, 'RUN_FAILED', at_us, attempt, details, previous_digest, digest FROM events WHERE seq = 6",
    "INSERT INTO events SELECT run_key, 9, kind, at_us, attempt, details, previous_digest, digest FROM events WHERE seq = 2",
    "INSERT INTO events SELECT run_key, 7, kind, at_us, attempt, details, 'sha256:00', digest FROM events WHERE seq = 2",
    "UPDATE OR REPLACE events SET seq = 2 WHERE seq = 3",
    "UPDATE runs SET state = 'FAILED'",
    "UPDATE runs SET reason_code = 'X'",
    "DELETE FROM runs",
    ("INSERT OR REPLACE INTO runs SELECT number, run_key, request_id, payload_digest, platform_run_id, payload, 'QUEUED', NULL, 0, 0, 0, "
     "NULL, NULL, NULL, NULL, created_us, updated_us, 0 FROM runs"),
    "INSERT OR REPLACE INTO closures VALUES ('cards@1', 'sha256:00')",
]


@pytest.mark.parametrize("statement", BYPASSES)
def test_history_cannot_be_rewritten_even_by_a_plain_connection(finished, path, statement):
    """Triggers hold for foreign connections too, without recursive triggers: every way around append-only is blocked."""
    finished.remember_closure(profile="cards@1", digest=ONE)
    run_key = finished.runs()[0].run_key
    before = finished.run(run_key), finished.events(run_key)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()
    assert (finished.run(run_key), finished.events(run_key)) == before


def _without_triggers(path):
    """Take the laws out of a ledger's file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")


def _tampered(path, seed):
    """Change one thing at random in a ledger without triggers: a column of an event or of the row, or whole events. Say what."""
    draw = random.Random(seed)
    _without_triggers(path)
    connection = sqlite3.connect(path, isolation_level=None)
    seq = draw.randint(1, 6)
    how = draw.choice(["drop", "swap", "event", "event", "event", "row", "row", "cut"])
    if how == "drop":
        connection.execute("DELETE FROM events WHERE seq = ?", (seq,))
    elif how == "cut":
        connection.execute("DELETE FROM events WHERE seq >= ?", (seq,))
    elif how == "swap":
        other = seq % 6 + 1
        for before, after in ((seq, 99), (other, seq), (99, other)):
            connection.execute("UPDATE events SET seq = ? WHERE seq = ?", (after, before))
    else:
        table, where = ("events", f"WHERE seq = {seq}") if how == "event" else ("runs", "")
        kept = {"number", "lease_until_us", "due_us", "updated_us",  # order, lease, turn and last touch tell no history
                "run_key", "seq"}  # a key that moves is a drop or a swap
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] not in kept]
        column = draw.choice(columns)
        old = connection.execute(f"SELECT {column} FROM {table} {where}").fetchone()[0]
        if column == "state":
            new = draw.choice(["FAILED", "CANCELLED", "QUEUED", "PUBLISH_PENDING"])
        elif column == "mode":
            new = draw.choice([None, "PUBLISH_ONLY"])
        elif isinstance(old, int):
            new = old + draw.choice([-1, 1, 1000])
        else:
            text = old or "x"
            at = draw.randrange(len(text))
            new = draw.choice([text[:at] + chr(33 + (ord(text[at]) - 32) % 94) + text[at + 1:], text[:at], text + " "])
        connection.execute(f"UPDATE {table} SET {column} = ? {where}", (new,))
    connection.close()


@pytest.mark.parametrize("count", [30, pytest.param(3000, marks=pytest.mark.long)])
def test_every_tampering_past_the_triggers_is_found(finished, path, tmp_path, count):
    """With the triggers dropped, any change of an event or of the row breaks the chain or contradicts it."""
    run_key = finished.runs()[0].run_key
    for seed in range(count):
        copy = tmp_path / "copy.db"
        shutil.copy(path, copy)
        ledger = SqliteLedger(copy, ManualClock())
        assert ledger.events(run_key)
        _tampered(copy, seed)
        with pytest.raises(LedgerChainBroken):
            ledger.events(run_key)


def test_a_forged_event_does_not_fit_the_next(finished, path):
    """An event that was replaced by another one with a right digest of its own is found by the event after it."""
    run_key = finished.runs()[0].run_key
    _without_triggers(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.row_factory = sqlite3.Row
        before, old = connection.execute("SELECT * FROM events WHERE seq IN (2, 3) ORDER BY seq").fetchall()
        same = {name: old[name] for name in ("kind", "at_us", "attempt")}
        forged = link(run_key=run_key, after=before, details={"receipt": OTHER}, **same)
        connection.execute("UPDATE events SET details = ?, digest = ? WHERE seq = 3", (forged["details"], forged["digest"]))
    with pytest.raises(LedgerChainBroken):
        finished.events(run_key)


def test_a_run_that_was_tampered_with_is_not_handed_out(path):
    """Its row can be read, and does not say what was asked: no worker gets it, and nothing of it is changed."""
    ledger = SqliteLedger(path, ManualClock())
    run = submit(ledger).run
    _without_triggers(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE runs SET payload_digest = ?", (OTHER,))
    with pytest.raises(LedgerChainBroken) as refused:
        ledger.claim_next(worker="a", lease_us=LEASE_US, platform_run_id="run-1")
    assert refused.value.fields["run_key"] == run.run_key
    assert ledger.run(run.run_key).state == "QUEUED"


# --- heartbeats ---------------------------------------------------------------------------------------------


def test_a_heartbeat_keeps_a_run_for_many_leases_and_ends_with_its_block(path):
    """The keeper beats on its own thread until the block ends.

        claim ─ beat ─ beat ─ beat ─ … 2 leases … ─ end of block ─ one lease ─ free

    No beat comes after the block.
    """
    ledger = SqliteLedger(path, MachineClock())
    run = ledger.claim(submit(ledger).run.run_key, worker="a", lease_us=600_000)
    with Heartbeat(ledger, run, lease_us=600_000) as heart:
        time.sleep(1.3)
        heart.check()
        assert not heart.lost
        assert ledger.run(run.run_key).lease_until_us > time.time_ns() // 1000
    lease = ledger.run(run.run_key).lease_until_us
    time.sleep(0.5)
    assert ledger.run(run.run_key).lease_until_us == lease


def test_a_heartbeat_tells_its_worker_that_the_run_is_lost(path):
    """After a take-over the next beat is fenced, and `check` raises it in the worker's thread."""
    clock = ManualClock()
    ledger = SqliteLedger(path, clock)
    run = ledger.claim(submit(ledger).run.run_key, worker="a", lease_us=LEASE_US)
    with Heartbeat(ledger, run, lease_us=60_000) as heart:
        clock.go_on(2 * LEASE_US)
        taken = None
        while taken is None:
            clock.go_on(2 * LEASE_US)
            try:
                taken = ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
            except OfsError:
                continue
        deadline = time.monotonic() + 10
        while not heart.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(Fenced):
            heart.check()


def test_a_heartbeat_survives_a_ledger_that_is_away_and_says_when_the_lease_is_over(path):
    """Beats that cannot be written are tried again; only a whole lease without one is told to the worker."""
    ledger = SqliteLedger(path, MachineClock())
    run = ledger.claim(submit(ledger).run.run_key, worker="a", lease_us=300_000)
    away = path.with_suffix(".away")
    with Heartbeat(ledger, run, lease_us=300_000) as heart:
        path.replace(away)
        time.sleep(0.5)
        with pytest.raises(LedgerUnavailable, match="expired"):
            heart.check()
        away.replace(path)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            time.sleep(0.02)
            with suppress(LedgerUnavailable):
                heart.check()
                break
        heart.check()


def test_a_run_is_looked_up_by_key_only(finished):
    """The key is derived from the request id; anything else is not found."""
    with pytest.raises(RunNotFound):
        finished.run(REQUEST)


def test_submitting_claiming_and_finishing_is_cheap(path):
    """Three durable transactions cost little beside the disk: under 15 ms of processor time in the median."""
    ledger = SqliteLedger(path, ManualClock(), limits=Limits())
    costs = []
    for number in range(9):
        began = time.process_time()
        run = ledger.claim(submit(ledger, f"request-{number:04}").run.run_key, worker="a", lease_us=LEASE_US)
        ledger.done(run.run_key, attempt=1, result={})
        costs.append(time.process_time() - began)
    assert sorted(costs)[4] < 0.015


def _sql(path, script):
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
