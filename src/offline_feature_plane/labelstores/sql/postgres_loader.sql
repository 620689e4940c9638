-- What a role that records assertions may do: read, and append. Position and time of recording are the server's.
GRANT USAGE ON SCHEMA {schema} TO {role};
REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
GRANT INSERT (label_assertion_id, label_type, event_id, label_value, observed_time, effective_time, source_type, actor_id, supersedes,
              evidence_ref) ON label_assertions TO {role};
