-- Schema 1 of the run ledger on PostgreSQL: one row per run, append-only events, remembered closures, and the clock of the leases.
-- Names are compared byte by byte (COLLATE "C"), so that no change of the system's collations can spoil an index.

INSERT INTO ledger_schema (version) VALUES (1);

CREATE TABLE runs (
    number                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key                text COLLATE "C" NOT NULL UNIQUE,
    request_id             text COLLATE "C" NOT NULL UNIQUE,
    payload_digest         text COLLATE "C" NOT NULL,
    platform_run_id        text COLLATE "C" NOT NULL,
    payload                text   NOT NULL,
    state                  text   NOT NULL CHECK (state IN ('QUEUED', 'RUNNING', 'DONE', 'FAILED', 'PUBLISH_PENDING', 'CANCELLED')),
    mode                   text   CHECK (mode IN ('FULL', 'PUBLISH_ONLY', 'CLOSE_ONLY')),
    attempt                bigint NOT NULL DEFAULT 0,
    full_run_attempts      bigint NOT NULL DEFAULT 0,
    publish_retry_attempts bigint NOT NULL DEFAULT 0,
    lease_until_us         bigint,
    worker                 text,
    reason_code            text,
    result                 text,
    created_us             bigint NOT NULL,
    updated_us             bigint NOT NULL,
    CHECK ((state = 'RUNNING') = (lease_until_us IS NOT NULL))
);
CREATE INDEX runs_of_payload ON runs (payload_digest);

CREATE TABLE events (
    run_key         text COLLATE "C" NOT NULL REFERENCES runs (run_key),
    seq             bigint NOT NULL,
    kind            text   NOT NULL,
    at_us           bigint NOT NULL,
    attempt         bigint NOT NULL,
    details         text   NOT NULL,
    previous_digest text   NOT NULL,
    digest          text   NOT NULL,
    PRIMARY KEY (run_key, seq)
);

CREATE TABLE closures (profile text COLLATE "C" PRIMARY KEY, digest text NOT NULL);

-- The one clock that judges leases. It is read anew each time: now() stands still at the beginning of a transaction.
CREATE FUNCTION now_us() RETURNS bigint LANGUAGE sql VOLATILE
RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- The laws of the tables. Each is a trigger that always fires, also for replication roles. Functions look only into this schema, so that
-- nobody can put a temporary table before them.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RAISE integrity_constraint_violation USING MESSAGE = TG_ARGV[0];
END $$;

-- A run is never removed, never becomes another run, never goes back an attempt, and never leaves a terminal state.
CREATE TRIGGER runs_stay BEFORE DELETE ON runs FOR EACH ROW EXECUTE FUNCTION refuse('a run is never removed');
CREATE TRIGGER runs_stay_all BEFORE TRUNCATE ON runs FOR EACH STATEMENT EXECUTE FUNCTION refuse('a run is never removed');
CREATE TRIGGER runs_keep_who_they_are BEFORE UPDATE ON runs FOR EACH ROW
WHEN (NEW.number <> OLD.number OR NEW.run_key <> OLD.run_key OR NEW.request_id <> OLD.request_id
      OR NEW.payload_digest <> OLD.payload_digest OR NEW.platform_run_id <> OLD.platform_run_id OR NEW.payload <> OLD.payload
      OR NEW.created_us <> OLD.created_us OR NEW.attempt < OLD.attempt)
EXECUTE FUNCTION refuse('a run never becomes another run');
CREATE TRIGGER runs_end_once BEFORE UPDATE ON runs FOR EACH ROW
WHEN (OLD.state IN ('DONE', 'FAILED', 'CANCELLED'))
EXECUTE FUNCTION refuse('a terminal state never changes');

-- History is only ever continued: no update, no delete, no gap, no wrong link.
CREATE FUNCTION continue_history() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    newest events;
BEGIN
    SELECT * INTO newest FROM events WHERE run_key = NEW.run_key ORDER BY seq DESC LIMIT 1;
    IF NEW.seq <> coalesce(newest.seq, 0) + 1 OR NEW.previous_digest <> coalesce(newest.digest, 'sha256:' || repeat('0', 64)) THEN
        RAISE integrity_constraint_violation USING MESSAGE = 'events are append-only';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER events_continue BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION continue_history();
CREATE TRIGGER events_stay BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse('events are append-only');
CREATE TRIGGER events_stay_all BEFORE TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION refuse('events are append-only');

CREATE TRIGGER closures_stay BEFORE UPDATE OR DELETE ON closures FOR EACH ROW
EXECUTE FUNCTION refuse('a remembered closure never changes');
CREATE TRIGGER closures_stay_all BEFORE TRUNCATE ON closures FOR EACH STATEMENT
EXECUTE FUNCTION refuse('a remembered closure never changes');

ALTER TABLE runs ENABLE ALWAYS TRIGGER runs_stay;
ALTER TABLE runs ENABLE ALWAYS TRIGGER runs_stay_all;
ALTER TABLE runs ENABLE ALWAYS TRIGGER runs_keep_who_they_are;
ALTER TABLE runs ENABLE ALWAYS TRIGGER runs_end_once;
ALTER TABLE events ENABLE ALWAYS TRIGGER events_continue;
ALTER TABLE events ENABLE ALWAYS TRIGGER events_stay;
ALTER TABLE events ENABLE ALWAYS TRIGGER events_stay_all;
ALTER TABLE closures ENABLE ALWAYS TRIGGER closures_stay;
ALTER TABLE closures ENABLE ALWAYS TRIGGER closures_stay_all;
