-- What the workers' role may do: read everything, append, and change of a run only what changes while it is worked on. Nothing else.
GRANT USAGE ON SCHEMA {schema} TO {role};
REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
GRANT INSERT ON runs, events, closures, quarantined TO {role};
GRANT UPDATE (state, mode, attempt, full_run_attempts, publish_retry_attempts, lease_until_us, worker, reason_code, result, due_us,
              updated_us) ON runs TO {role};
