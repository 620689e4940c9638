-- Schema 2 of the run ledger on PostgreSQL: when a waiting run is due, and runs that no worker may take.

ALTER TABLE runs ADD COLUMN due_us bigint NOT NULL DEFAULT 0;
CREATE INDEX runs_due ON runs (platform_run_id, due_us) WHERE state IN ('QUEUED', 'PUBLISH_PENDING', 'RUNNING');

CREATE TABLE quarantined (
    run_key text COLLATE "C" PRIMARY KEY,
    at_us   bigint NOT NULL,
    code    text   NOT NULL,
    details text   NOT NULL
);
CREATE TRIGGER quarantined_stay BEFORE UPDATE OR DELETE ON quarantined FOR EACH ROW
EXECUTE FUNCTION refuse('a quarantine never changes');
CREATE TRIGGER quarantined_stay_all BEFORE TRUNCATE ON quarantined FOR EACH STATEMENT
EXECUTE FUNCTION refuse('a quarantine never changes');
ALTER TABLE quarantined ENABLE ALWAYS TRIGGER quarantined_stay;
ALTER TABLE quarantined ENABLE ALWAYS TRIGGER quarantined_stay_all;

UPDATE ledger_schema SET version = 2;
