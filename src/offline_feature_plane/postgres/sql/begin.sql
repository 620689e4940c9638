-- The beginning of every migration: one at a time, and the schema.

DO $begin$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('ofs.{kind}.{schema}', 0));
    IF to_regnamespace('{schema}') IS NULL THEN
        CREATE SCHEMA {schema};
    END IF;
END $begin$;
SET LOCAL search_path TO {schema}, pg_temp;
