-- Every statement of the ledger's verbs, by name. Plain SQL with named values, so that a connector of another database can run it.

-- name: insert_run
INSERT INTO runs (run_key, request_id, payload_digest, platform_run_id, payload, state, created_us, updated_us)
VALUES (:run_key, :request_id, :payload_digest, :platform_run_id, :payload, 'QUEUED', :at_us, :at_us)

-- name: run
SELECT * FROM runs WHERE run_key = :run_key

-- name: newest_runs
SELECT * FROM runs ORDER BY number DESC LIMIT :limit

-- name: named_runs
SELECT * FROM runs WHERE request_id = :name OR substr(run_key, 1, :length) = :name ORDER BY number DESC LIMIT :limit

-- name: lost_unnamed_runs
SELECT COUNT(*) AS n FROM runs
WHERE payload_digest = :payload_digest AND state IN ('FAILED', 'CANCELLED') AND substr(request_id, 1, :prefix_length) = :prefix

-- name: claim_run
UPDATE runs SET state = 'RUNNING', mode = :mode, attempt = attempt + 1, full_run_attempts = :full_run_attempts,
    publish_retry_attempts = :publish_retry_attempts, lease_until_us = :lease_until_us, worker = :worker, reason_code = :reason_code,
    updated_us = :at_us
WHERE run_key = :run_key AND attempt = :attempt AND state = :state

-- name: prolong_lease
UPDATE runs SET lease_until_us = :lease_until_us, updated_us = :at_us
WHERE run_key = :run_key AND attempt = :attempt AND state = 'RUNNING'

-- name: touch_run
UPDATE runs SET updated_us = :at_us
WHERE run_key = :run_key AND attempt = :attempt AND state = 'RUNNING'

-- name: leave_running
UPDATE runs SET state = :state, lease_until_us = NULL, reason_code = :reason_code, result = :result, updated_us = :at_us
WHERE run_key = :run_key AND attempt = :attempt AND state = 'RUNNING'

-- name: cancel_run
UPDATE runs SET state = 'CANCELLED', reason_code = :reason_code, updated_us = :at_us
WHERE run_key = :run_key AND attempt = :attempt AND state = :state

-- name: insert_event
INSERT INTO events (run_key, seq, kind, at_us, attempt, details, previous_digest, digest)
VALUES (:run_key, :seq, :kind, :at_us, :attempt, :details, :previous_digest, :digest)

-- name: events
SELECT * FROM events WHERE run_key = :run_key ORDER BY seq

-- name: newest_event
SELECT * FROM events WHERE run_key = :run_key ORDER BY seq DESC LIMIT 1

-- name: insert_closure
INSERT INTO closures (profile, digest) VALUES (:profile, :digest)

-- name: closure
SELECT digest FROM closures WHERE profile = :profile
