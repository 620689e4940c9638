"""Runs that a lost ledger had, taken over from a store: each with a row as it ended, and a short history that says how it came.

    INTENT_QUEUED (when it was first seen) ─▶ RUN_REBUILT (now: state, attempts, code, result, when it ended)

Both events are links of an ordinary chain, so a rebuilt run is verified, and continued, as any other.
"""

from __future__ import annotations

from collections.abc import Iterable

from offline_feature_plane.domain.identity import run_key as key_of
from offline_feature_plane.errors import LedgerNotEmpty
from offline_feature_plane.ledger import chain
from offline_feature_plane.ledger.connector import Transaction
from offline_feature_plane.ports import Rebuilt


def adopt_runs(tx: Transaction, platform_run_id: str, runs: Iterable[Rebuilt]) -> int:
    """Insert the runs of a scope; how many they were. Raises LedgerNotEmpty if there is one already, or somebody is quicker."""
    if tx.one("run_of_scope", platform_run_id=platform_run_id) is not None:
        raise LedgerNotEmpty(f"the ledger has runs of {platform_run_id} already.", platform_run_id=platform_run_id)
    count = 0
    for run in runs:
        _adopt(tx, run)
        count += 1
    return count


def _adopt(tx: Transaction, run: Rebuilt) -> None:
    run_key, now, payload = key_of(run.request_id), tx.now_us(), str(chain.text_of(run.payload))
    asked = {"request_id": run.request_id, "payload_digest": run.payload_digest, "platform_run_id": run.platform_run_id, "payload": payload}
    told = {name: getattr(run, name) for name in ("state", "full_run_attempts", "publish_retry_attempts", "reason_code")}
    changed = 0 if tx.one("run", run_key=run_key) is not None else tx.change(
        "adopt_run", run_key=run_key, attempt=run.attempt, result=chain.text_of(run.result), due_us=now, created_us=run.created_us,
        updated_us=now if run.ended_us is None else run.ended_us, **asked, **told)
    if changed != 1:
        raise LedgerNotEmpty(f"the ledger has the run of request {run.request_id} already.", run_key=run_key)
    known = {**told, "result": run.result, "ended_us": run.ended_us}
    queued = chain.link(run_key=run_key, after=None, kind=chain.QUEUED, at_us=run.created_us, attempt=0,
                        details=chain.queued_details(**asked))
    rebuilt = chain.link(run_key=run_key, after=queued, kind=chain.REBUILT, at_us=now, attempt=run.attempt,
                         details={name: value for name, value in known.items() if value is not None})
    for link in (queued, rebuilt):
        tx.change("insert_event", **link)

