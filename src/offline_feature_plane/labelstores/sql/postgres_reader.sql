-- What a role that builds datasets may do: read.
GRANT USAGE ON SCHEMA {schema} TO {role};
REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
