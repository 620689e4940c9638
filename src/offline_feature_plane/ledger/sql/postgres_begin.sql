-- The beginning of every migration: one at a time, the schema, and the table that says how far its tables are.

DO $begin$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('ofs.ledger.{schema}', 0));
    IF to_regnamespace('{schema}') IS NULL THEN
        CREATE SCHEMA {schema};
    END IF;
END $begin$;
SET LOCAL search_path TO {schema}, pg_temp;
CREATE TABLE IF NOT EXISTS ledger_schema (version integer NOT NULL);
