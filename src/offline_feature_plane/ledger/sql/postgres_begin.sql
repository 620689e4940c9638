-- How far the tables of this ledger are.

CREATE TABLE IF NOT EXISTS ledger_schema (version integer NOT NULL);
