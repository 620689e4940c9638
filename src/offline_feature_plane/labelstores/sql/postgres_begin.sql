-- Which store this is, and how far its tables are.

CREATE TABLE IF NOT EXISTS label_store (version integer NOT NULL, store_id uuid NOT NULL);
