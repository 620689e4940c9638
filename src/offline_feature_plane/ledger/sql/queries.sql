-- Every statement of the ledger's verbs, by name. Plain SQL with named values, so that a connector of another database can run it.

-- name: insert_run
INSERT INTO runs (run_key, request_id, payload_digest, platform_run_id, payload, state, due_us, created_us, updated_us)
VALUES (:run_key, :request_id, :payload_digest, :platform_run_id, :payload, 'QUEUED', :due_us, :at_us, :at_us)
ON CONFLICT DO NOTHING

-- name: adopt_run
INSERT INTO runs (run_key, request_id, payload_digest, platform_run_id, payload, state, attempt, full_run_attempts, publish_retry_attempts,
    reason_code, result, due_us, created_us, updated_us)
VALUES (:run_key, :request_id, :payload_digest, :platform_run_id, :payload, :state, :attempt, :full_run_attempts, :publish_retry_attempts,
    :reason_code, :result, :due_us, :created_us, :updated_us)
ON CONFLICT DO NOTHING

-- name: run_of_scope
SELECT run_key FROM runs WHERE platform_run_id = :platform_run_id LIMIT 1

-- name: run_keys
SELECT run_key FROM runs ORDER BY number

-- name: lost_histories
SELECT DISTINCT run_key FROM events WHERE run_key NOT IN (SELECT run_key FROM runs) ORDER BY run_key

-- name: run
SELECT * FROM runs WHERE run_key = :run_key

-- name: newest_runs
SELECT * FROM runs WHERE run_key NOT IN (SELECT run_key FROM quarantined) ORDER BY number DESC LIMIT :limit

-- name: next_due
SELECT * FROM runs
WHERE platform_run_id = :platform_run_id AND run_key NOT IN (SELECT run_key FROM quarantined) AND (
    (state IN ('QUEUED', 'PUBLISH_PENDING') AND (due_us <= :now_us OR due_us > :latest_due_us) AND COALESCE(reason_code, '') <> :stalled)
    OR (state = 'RUNNING' AND (lease_until_us <= :now_us OR lease_until_us > :latest_lease_us)))
ORDER BY due_us, number LIMIT 1

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
UPDATE runs SET state = :state, lease_until_us = NULL, due_us = :due_us, reason_code = :reason_code, result = :result,
    updated_us = :at_us
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
INSERT INTO closures (profile, digest) VALUES (:profile, :digest) ON CONFLICT DO NOTHING

-- name: closure
SELECT digest FROM closures WHERE profile = :profile

-- name: insert_quarantined
INSERT INTO quarantined (run_key, at_us, code, details) VALUES (:run_key, :at_us, :code, :details) ON CONFLICT DO NOTHING

-- name: quarantined
SELECT * FROM quarantined ORDER BY at_us, run_key

-- name: quarantined_run
SELECT * FROM quarantined WHERE run_key = :run_key
