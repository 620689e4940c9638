-- Schema 1 of a label store on PostgreSQL: one append-only table of assertions, in the order in which they were recorded.
-- Names are compared byte by byte (COLLATE "C"), so that no change of the system's collations can spoil an index.

INSERT INTO label_store (version, store_id) VALUES (1, gen_random_uuid());

CREATE TABLE label_assertions (
    position           bigint GENERATED ALWAYS AS IDENTITY,
    recorded_at        timestamptz NOT NULL DEFAULT now(),
    label_assertion_id text COLLATE "C" PRIMARY KEY CHECK (octet_length(label_assertion_id) BETWEEN 1 AND 1000),
    label_type         text COLLATE "C" NOT NULL CHECK (label_type <> ''),
    event_id           text COLLATE "C" NOT NULL CHECK (event_id <> ''),
    label_value        text COLLATE "C" NOT NULL CHECK (label_value <> ''),
    observed_time      timestamptz NOT NULL CHECK (observed_time >= '0001-01-01Z' AND observed_time < '10000-01-01Z'),
    effective_time     timestamptz NOT NULL CHECK (effective_time >= '0001-01-01Z' AND effective_time < '10000-01-01Z'),
    source_type        text COLLATE "C" NOT NULL CHECK (source_type IN ('HUMAN', 'EXTERNAL', 'AUTO', 'SYSTEM')),
    actor_id           text COLLATE "C" CHECK (actor_id <> ''),
    supersedes         text COLLATE "C" CHECK (supersedes <> ''),
    evidence_ref       text COLLATE "C" CHECK (evidence_ref <> ''),
    CONSTRAINT a_human_has_a_name CHECK (source_type <> 'HUMAN' OR actor_id IS NOT NULL),
    CONSTRAINT nothing_supersedes_itself CHECK (supersedes <> label_assertion_id)
);
CREATE INDEX label_assertions_of_type ON label_assertions (label_type, position);

-- The laws of the table. Each is a trigger that always fires, also for replication roles.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RAISE integrity_constraint_violation USING MESSAGE = TG_ARGV[0];
END $$;
CREATE TRIGGER assertions_stay BEFORE UPDATE OR DELETE ON label_assertions FOR EACH ROW
EXECUTE FUNCTION refuse('an assertion is never changed or removed; append one that supersedes it');
CREATE TRIGGER assertions_stay_all BEFORE TRUNCATE ON label_assertions FOR EACH STATEMENT
EXECUTE FUNCTION refuse('an assertion is never changed or removed; append one that supersedes it');

-- One appends at a time. So positions become visible in their order, and "up to position n" is the same set of assertions for ever.
CREATE FUNCTION take_turns() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('ofs.labels.' || TG_TABLE_SCHEMA, 0));
    RETURN NULL;
END $$;
CREATE TRIGGER assertions_take_turns BEFORE INSERT ON label_assertions FOR EACH STATEMENT EXECUTE FUNCTION take_turns();

ALTER TABLE label_assertions ENABLE ALWAYS TRIGGER assertions_stay, ENABLE ALWAYS TRIGGER assertions_stay_all,
    ENABLE ALWAYS TRIGGER assertions_take_turns;
