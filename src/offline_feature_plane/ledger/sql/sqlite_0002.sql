-- Schema 2 of the run ledger on SQLite: when a waiting run is due, and runs that no worker may take.

ALTER TABLE runs ADD COLUMN due_us INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_due ON runs (platform_run_id, due_us) WHERE state IN ('QUEUED', 'PUBLISH_PENDING', 'RUNNING');

CREATE TABLE quarantined (
    run_key TEXT    PRIMARY KEY NOT NULL,
    at_us   INTEGER NOT NULL,
    code    TEXT    NOT NULL,
    details TEXT    NOT NULL
);
CREATE TRIGGER quarantined_do_not_change BEFORE UPDATE ON quarantined
BEGIN SELECT RAISE(ABORT, 'a quarantine never changes'); END;
CREATE TRIGGER quarantined_stay BEFORE DELETE ON quarantined
BEGIN SELECT RAISE(ABORT, 'a quarantine never changes'); END;
CREATE TRIGGER quarantined_are_new BEFORE INSERT ON quarantined
WHEN EXISTS (SELECT 1 FROM quarantined WHERE run_key = NEW.run_key)
BEGIN SELECT RAISE(ABORT, 'a quarantine never changes'); END;

UPDATE ledger_schema SET version = 2;
