-- Schema 1 of the run ledger on SQLite: one row per run, append-only events, remembered closures.

CREATE TABLE ledger_schema (version INTEGER NOT NULL);
INSERT INTO ledger_schema (version) VALUES (1);

CREATE TABLE runs (
    number                 INTEGER PRIMARY KEY AUTOINCREMENT,
    run_key                TEXT    NOT NULL UNIQUE,
    request_id             TEXT    NOT NULL UNIQUE,
    payload_digest         TEXT    NOT NULL,
    platform_run_id        TEXT    NOT NULL,
    payload                TEXT    NOT NULL,
    state                  TEXT    NOT NULL CHECK (state IN ('QUEUED', 'RUNNING', 'DONE', 'FAILED', 'PUBLISH_PENDING', 'CANCELLED')),
    mode                   TEXT    CHECK (mode IN ('FULL', 'PUBLISH_ONLY', 'CLOSE_ONLY')),
    attempt                INTEGER NOT NULL DEFAULT 0,
    full_run_attempts      INTEGER NOT NULL DEFAULT 0,
    publish_retry_attempts INTEGER NOT NULL DEFAULT 0,
    lease_until_us         INTEGER,
    worker                 TEXT,
    reason_code            TEXT,
    result                 TEXT,
    created_us             INTEGER NOT NULL,
    updated_us             INTEGER NOT NULL,
    CHECK ((state = 'RUNNING') = (lease_until_us IS NOT NULL))
);
CREATE INDEX runs_of_payload ON runs (payload_digest);

CREATE TABLE events (
    run_key         TEXT    NOT NULL REFERENCES runs (run_key),
    seq             INTEGER NOT NULL,
    kind            TEXT    NOT NULL,
    at_us           INTEGER NOT NULL,
    attempt         INTEGER NOT NULL,
    details         TEXT    NOT NULL,
    previous_digest TEXT    NOT NULL,
    digest          TEXT    NOT NULL,
    PRIMARY KEY (run_key, seq)
);

CREATE TABLE closures (profile TEXT PRIMARY KEY NOT NULL, digest TEXT NOT NULL);

-- A run is never removed or replaced, never becomes another run, never goes back an attempt, and never leaves a terminal state.
CREATE TRIGGER runs_stay BEFORE DELETE ON runs
BEGIN SELECT RAISE(ABORT, 'a run is never removed'); END;
CREATE TRIGGER runs_are_new BEFORE INSERT ON runs
WHEN EXISTS (SELECT 1 FROM runs WHERE run_key = NEW.run_key OR request_id = NEW.request_id OR number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'a run is never replaced'); END;
CREATE TRIGGER runs_keep_who_they_are BEFORE UPDATE ON runs
WHEN NEW.number IS NOT OLD.number OR NEW.run_key IS NOT OLD.run_key OR NEW.request_id IS NOT OLD.request_id
    OR NEW.payload_digest IS NOT OLD.payload_digest OR NEW.platform_run_id IS NOT OLD.platform_run_id OR NEW.payload IS NOT OLD.payload
    OR NEW.created_us IS NOT OLD.created_us OR NEW.attempt < OLD.attempt
BEGIN SELECT RAISE(ABORT, 'a run never becomes another run'); END;
CREATE TRIGGER runs_end_once BEFORE UPDATE ON runs
WHEN OLD.state IN ('DONE', 'FAILED', 'CANCELLED')
BEGIN SELECT RAISE(ABORT, 'a terminal state never changes'); END;

-- History is only ever continued: no update, no delete, no replacement, no gap, no wrong link. The insert trigger also holds for
-- connections that replace rows without recursive triggers.
CREATE TRIGGER events_do_not_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_stay BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_continue BEFORE INSERT ON events
WHEN NEW.seq <> (SELECT COUNT(*) + 1 FROM events WHERE run_key = NEW.run_key)
    OR (NEW.seq > 1 AND NEW.previous_digest IS NOT (SELECT digest FROM events WHERE run_key = NEW.run_key AND seq = NEW.seq - 1))
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

CREATE TRIGGER closures_do_not_change BEFORE UPDATE ON closures
BEGIN SELECT RAISE(ABORT, 'a remembered closure never changes'); END;
CREATE TRIGGER closures_stay BEFORE DELETE ON closures
BEGIN SELECT RAISE(ABORT, 'a remembered closure never changes'); END;
CREATE TRIGGER closures_are_new BEFORE INSERT ON closures
WHEN EXISTS (SELECT 1 FROM closures WHERE profile = NEW.profile)
BEGIN SELECT RAISE(ABORT, 'a remembered closure never changes'); END;
