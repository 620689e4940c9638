"""History on PostgreSQL: what the workers' role cannot do, what not even the owner can do in passing, and what the chain finds out."""

import random

import psycopg
import pytest
from postgres_server import APP, OWNER

from offline_feature_plane.errors import LedgerChainBroken
from offline_feature_plane.ledger.postgres.ledger import PostgresLedger
from offline_feature_plane.postgres.address import address_from
from offline_feature_plane.testing.asking import LEASE_US, ONE, submit

COPIED = "'{run}', 7, 'RUN_FAILED', 5, 9, '{{}}'"  # the beginning of a forged event that would follow the last one


@pytest.fixture(scope="module")
def finished(postgres):
    """The address of a ledger with one run that was worked on twice and ended, a running one, a quarantine and a closure."""
    url = postgres.new_ledger()
    ledger = PostgresLedger(address_from(url))
    run = ledger.claim(submit(ledger).run.run_key, worker="a", lease_us=LEASE_US)
    ledger.note(run.run_key, attempt=1, kind="REPLAY_COMPLETE", details={"receipt": ONE, "name": "é\u0301"})
    ledger.release(run.run_key, attempt=1, reason_code="STORAGE_IO_FAILURE")
    ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
    ledger.done(run.run_key, attempt=2, result={"rows": 3})
    ledger.claim(submit(ledger, "request-0002").run.run_key, worker="a", lease_us=LEASE_US)
    ledger.quarantine("f" * 32, code="LEDGER_CHAIN_BROKEN", details={})
    ledger.remember_closure(profile="cards@1", digest=ONE)
    return address_from(url)


@pytest.fixture
def ledger(finished):
    """That ledger, opened."""
    return PostgresLedger(finished)


# --- blocked ------------------------------------------------------------------------------------------------

# By law: triggers that fire for everybody, the owner and replication roles included.
BY_LAW = [
    "UPDATE events SET details = '{{}}' WHERE seq = 2",
    "UPDATE events SET seq = 99 WHERE seq = 6",
    "DELETE FROM events WHERE seq = 6",
    "TRUNCATE events",
    "TRUNCATE runs CASCADE",
    "INSERT INTO events SELECT run_key, 9, kind, at_us, attempt, details, previous_digest, digest FROM events WHERE seq = 2",
    "INSERT INTO events SELECT run_key, 8, 'RUN_FAILED', 5, 9, '{{}}', digest, digest FROM events WHERE run_key = '{run}' AND seq = 6",
    "INSERT INTO events VALUES (" + COPIED + ", 'sha256:00', 'sha256:00')",
    "INSERT INTO events SELECT run_key, 6, 'RUN_FAILED', 5, 9, '{{}}', previous_digest, digest FROM events WHERE seq = 6",
    "INSERT INTO events SELECT * FROM events WHERE seq = 2 ON CONFLICT (run_key, seq) DO UPDATE SET attempt = 9",
    ("MERGE INTO events AS old USING (SELECT * FROM events WHERE seq = 2) AS new ON old.digest = new.digest "
     "WHEN MATCHED THEN UPDATE SET attempt = 9"),
    "MERGE INTO events AS old USING (SELECT 2 AS seq) AS new ON old.seq = new.seq WHEN MATCHED THEN DELETE",
    "UPDATE runs SET state = 'FAILED' WHERE run_key = '{run}'",
    "UPDATE runs SET reason_code = 'X' WHERE run_key = '{run}'",
    "UPDATE runs SET attempt = 0 WHERE run_key <> '{run}'",
    "UPDATE runs SET payload = '{{}}' WHERE run_key <> '{run}'",
    "DELETE FROM runs WHERE run_key = '{run}'",
    "INSERT INTO runs OVERRIDING SYSTEM VALUE SELECT * FROM runs ON CONFLICT (run_key) DO UPDATE SET request_id = 'request-9'",
    "UPDATE closures SET digest = 'sha256:00'",
    "TRUNCATE closures",
    "DELETE FROM quarantined",
    "TRUNCATE quarantined",
]
# By rights: only who owns the tables, or more, may do these.
BY_RIGHTS = [
    "SET session_replication_role = replica",
    "ALTER TABLE events DISABLE TRIGGER ALL",
    "ALTER TABLE events DISABLE TRIGGER events_stay",
    "DROP TRIGGER events_stay ON events",
    "DROP TABLE events CASCADE",
    "DROP SCHEMA {schema} CASCADE",
    "ALTER TABLE events ADD COLUMN note text",
    "CREATE TABLE heirs () INHERITS (events)",
    "CREATE RULE swallow AS ON INSERT TO events DO INSTEAD NOTHING",
    "CREATE OR REPLACE FUNCTION now_us() RETURNS bigint LANGUAGE sql RETURN 0",
    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE FUNCTION {schema}.now_us(integer) RETURNS bigint LANGUAGE sql RETURN 0",
    "UPDATE ledger_schema SET version = 9",
    "SET ROLE ofs_owner",
    "SELECT setval('runs_number_seq', 1)",
    "SELECT * FROM events FOR UPDATE",
]


def _refused(postgres, finished, statement, role, before=""):
    """Run a statement as a role; the error that refused it."""
    with postgres.connection(user=role, schema=finished.schema) as connection:
        run = connection.execute("SELECT run_key FROM runs WHERE state = 'DONE'").fetchone()[0]
        connection.execute(before) if before else None
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(statement.format(run=run, schema=finished.schema))
        return refused.value


@pytest.mark.parametrize("statement", BY_LAW + BY_RIGHTS)
def test_the_workers_role_cannot_rewrite_history(postgres, finished, ledger, statement):
    """Every way around append-only is refused to the role that workers have, and nothing changes."""
    before = [(run, ledger.events(run.run_key)) for run in ledger.runs()]
    refused = _refused(postgres, finished, statement, APP)
    assert isinstance(refused, (psycopg.errors.InsufficientPrivilege, psycopg.IntegrityError))
    assert [(run, ledger.events(run.run_key)) for run in ledger.runs()] == before


@pytest.mark.parametrize("role", [OWNER, "postgres"])
@pytest.mark.parametrize("statement", BY_LAW)
def test_the_laws_of_the_tables_hold_for_owner_and_administrator_too(postgres, finished, ledger, statement, role):
    """What the rights do not keep from owner and superuser, the triggers do, also for a session that poses as a replica."""
    before = [(run, ledger.events(run.run_key)) for run in ledger.runs()]
    as_replica = "SET session_replication_role = replica" if role == "postgres" else ""
    assert isinstance(_refused(postgres, finished, statement, role, as_replica), psycopg.IntegrityError)
    assert [(run, ledger.events(run.run_key)) for run in ledger.runs()] == before


def test_history_cannot_be_forged_by_copying(postgres, finished, ledger):
    """COPY passes through the same law as INSERT."""
    run_key = ledger.find("request-0001")[0].run_key
    with postgres.connection(user=APP, schema=finished.schema) as connection, pytest.raises(psycopg.IntegrityError), \
            connection.cursor().copy("COPY events FROM STDIN") as copy:
        copy.write_row((run_key, 9, "RUN_FAILED", 5, 2, "{}", ONE, ONE))
    assert len(ledger.events(run_key)) == 6


def test_a_temporary_table_cannot_stand_before_the_history(postgres, finished, ledger):
    """The laws look at the ledger's own tables, whatever a session puts before them."""
    run_key = ledger.find("request-0001")[0].run_key
    with postgres.connection(user=APP, schema=f"pg_temp,{finished.schema}") as connection:
        connection.execute(f"CREATE TEMPORARY TABLE events (LIKE {finished.schema}.events)")
        connection.execute("INSERT INTO events VALUES (%s, 8, 'PHASE', 5, 2, '{}', %s, %s)", (run_key, ONE, ONE))
        with pytest.raises(psycopg.IntegrityError):
            connection.execute(f"INSERT INTO {finished.schema}.events VALUES (%s, 9, 'RUN_FAILED', 5, 2, '{{}}', %s, %s)",
                               (run_key, ONE, ONE))
    assert len(ledger.events(run_key)) == 6


def test_every_law_always_fires(postgres, finished):
    """Each trigger is ENABLE ALWAYS, and each table of the history has one for rows and one against TRUNCATE."""
    triggers = postgres.sql("SELECT tgrelid::regclass::text, tgenabled::text, tgtype & 1, tgtype & 32 FROM pg_trigger "
                            f"WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE '{finished.schema}.%'")
    assert {enabled for _, enabled, _, _ in triggers} == {"A"}
    for name in ("runs", "events", "closures", "quarantined"):
        mine = [(per_row, truncates) for table, _, per_row, truncates in triggers if table == f"{finished.schema}.{name}"]
        assert (0, 32) in mine
        assert (1, 0) in mine


# --- found out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", [
    ("INSERT INTO events SELECT run_key, seq + 1, 'RUN_FAILED', at_us, attempt, details, digest, 'sha256:00' FROM events "
     "WHERE run_key <> '{run}' AND seq = 2"),
    "UPDATE runs SET state = 'DONE', lease_until_us = NULL WHERE run_key <> '{run}'",
    "UPDATE runs SET attempt = 7 WHERE run_key <> '{run}'",
    "UPDATE runs SET worker = 'me' WHERE run_key <> '{run}'",
])
def test_what_a_worker_may_write_is_held_against_the_chain(postgres, statement):
    """A forged event with a right link, and a row that says more than its events, pass the tables' laws and break the chain."""
    ledger = PostgresLedger(address_from(postgres.new_ledger()))
    schema = ledger._connector._address.schema
    done = ledger.claim(submit(ledger).run.run_key, worker="a", lease_us=LEASE_US)
    ledger.done(done.run_key, attempt=1, result={})
    running = ledger.claim(submit(ledger, "request-0002").run.run_key, worker="a", lease_us=LEASE_US)
    assert ledger.events(running.run_key)
    postgres.sql(statement.format(run=done.run_key), user=APP, schema=schema)
    with pytest.raises(LedgerChainBroken):
        ledger.events(running.run_key)


def _tampered(connection, draw):
    """Change one thing at random in a ledger without triggers: a column of an event or of the row, or whole events."""
    seq = draw.randint(1, 6)
    how = draw.choice(["drop", "swap", "event", "event", "event", "row", "row", "cut"])
    if how in {"drop", "cut"}:
        connection.execute(f"DELETE FROM events WHERE seq {'=' if how == 'drop' else '>='} {seq}")
    elif how == "swap":
        other = seq % 6 + 1
        for before, after in ((seq, 99), (other, seq), (99, other)):
            connection.execute(f"UPDATE events SET seq = {after} WHERE seq = {before}")
    else:
        table, where = ("events", f"WHERE seq = {seq}") if how == "event" else ("runs", "")
        kept = {"number", "lease_until_us", "due_us", "updated_us",  # order, lease, turn and last touch tell no history
                "run_key", "seq"}  # a key that moves is a drop or a swap
        columns = [one.name for one in connection.execute(f"SELECT * FROM {table} LIMIT 0").description if one.name not in kept]
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
        connection.execute(f"UPDATE {table} SET {column} = %s {where}", (new,))


@pytest.mark.parametrize("count", [30, pytest.param(3000, marks=pytest.mark.long)])
def test_every_tampering_past_the_triggers_is_found(postgres, count):
    """An owner who disables the triggers can change anything; any change of an event or of the row breaks the chain or contradicts it."""
    ledger = PostgresLedger(address_from(postgres.new_ledger()))
    schema = ledger._connector._address.schema
    run = ledger.claim(submit(ledger).run.run_key, worker="a", lease_us=LEASE_US)
    ledger.note(run.run_key, attempt=1, kind="REPLAY_COMPLETE", details={"receipt": ONE, "name": "é\u0301"})
    ledger.release(run.run_key, attempt=1, reason_code="STORAGE_IO_FAILURE")
    ledger.claim(run.run_key, worker="b", lease_us=LEASE_US)
    ledger.done(run.run_key, attempt=2, result={"rows": 3})
    history = ledger.events(run.run_key)
    columns = [name for (name,) in postgres.sql("SELECT column_name FROM information_schema.columns WHERE table_schema = "
                                                f"'{schema}' AND table_name = 'runs' AND column_name <> 'number'")]
    with postgres.connection(user=OWNER, schema=schema) as owner:
        owner.execute("ALTER TABLE runs DISABLE TRIGGER USER; ALTER TABLE events DISABLE TRIGGER USER")
        owner.execute("CREATE TABLE kept_runs AS TABLE runs; CREATE TABLE kept_events AS TABLE events")
        for seed in range(count):
            assert ledger.events(run.run_key) == history
            _tampered(owner, random.Random(seed))
            with pytest.raises(LedgerChainBroken):
                ledger.events(run.run_key)
            owner.execute(f"DELETE FROM events; UPDATE runs SET ({', '.join(columns)}) = (SELECT {', '.join(columns)} FROM kept_runs); "
                          "INSERT INTO events TABLE kept_events")
