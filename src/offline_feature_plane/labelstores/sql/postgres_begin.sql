-- The beginning of every migration: one at a time, the schema, and the table that says which store this is and how far its tables are.

DO $begin$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('ofs.labels.{schema}', 0));
    IF to_regnamespace('{schema}') IS NULL THEN
        CREATE SCHEMA {schema};
    END IF;
END $begin$;
SET LOCAL search_path TO {schema}, pg_temp;
CREATE TABLE IF NOT EXISTS label_store (version integer NOT NULL, store_id uuid NOT NULL);
