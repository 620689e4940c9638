"""The verbs of the run ledger over any connector: each is one short transaction (`domain.md` §4, `decisions.md` D6).

Every update names the attempt that it belongs to and must change exactly one row; otherwise the worker is fenced. Each change of
state appends its event in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from offline_feature_plane.domain.canonical import hex_of, load_json
from offline_feature_plane.domain.identity import run_key as key_of
from offline_feature_plane.domain.runstates import LONGEST_WAIT_US, TERMINAL, Limits, Verb, granted, move
from offline_feature_plane.errors import (
    Fenced,
    LedgerChainBroken,
    PublicationStalled,
    RequestIdPayloadMismatch,
    RunBusy,
    RunEnded,
    RunNotFound,
    SchemaInvalid,
)
from offline_feature_plane.ledger import chain
from offline_feature_plane.ledger.adopting import adopt_runs
from offline_feature_plane.ledger.connector import Connector, Row, Transaction
from offline_feature_plane.ports import LedgerEvent, Quarantined, Rebuilt, Run, Submitted

# No lease is longer; what seems to last longer was given by a clock that has been set back since.
MOST_LEASE_US: Final = 3_600_000_000

_KINDS: Final[Mapping[Verb, str]] = {"publish_pending": chain.PENDING, "release": chain.RELEASED, "done": chain.DONE,
                                     "failed": chain.FAILED, "cancelled": chain.CANCELLED}


class LedgerVerbs:
    """The `ports.Ledger` of a connector.

    Args:
        connector: opens transactions.
        limits: after how many attempts only closing is left.
    """

    name = "ledger"

    def __init__(self, connector: Connector, limits: Limits | None = None) -> None:
        self._connector = connector
        self._limits = limits or Limits()

    # --- asking ---------------------------------------------------------------------------------------------

    def submit(self, *, request_id: str, payload_digest: str, platform_run_id: str, payload: Mapping[str, Any],
               wait_us: int = 0) -> Submitted:
        """Open a run, or return the one this request id has. Raises RequestIdPayloadMismatch, LedgerUnavailable, SchemaInvalid."""
        with self._connector.writing() as tx:
            return _submit(tx, request_id, payload_digest, platform_run_id, payload, wait_us)

    def submit_unnamed(self, *, payload_digest: str, platform_run_id: str, payload: Mapping[str, Any], wait_us: int = 0) -> Submitted:
        """Submit under `auto:<first 16 hex>:<n>`, n = FAILED or CANCELLED such runs of this payload + 1 (`decisions.md` D6)."""
        prefix = f"auto:{hex_of(payload_digest)[:16]}:"
        with self._connector.writing() as tx:
            lost = tx.one("lost_unnamed_runs", payload_digest=payload_digest, prefix=prefix, prefix_length=len(prefix))
            return _submit(tx, f"{prefix}{(lost['n'] if lost else 0) + 1}", payload_digest, platform_run_id, payload, wait_us)

    # --- working --------------------------------------------------------------------------------------------

    def claim(self, run_key: str, *, worker: str, lease_us: int) -> Run:
        """Take a run and raise `attempt`; see `ports.Ledger.claim`. Raises RunBusy, RunEnded, RunNotFound, LedgerChainBroken."""
        with self._connector.writing() as tx:
            run, now = _believed(tx, run_key), tx.now_us()
            if run.state in TERMINAL:
                because = f" ({run.reason_code})" if run.reason_code else ""
                raise RunEnded(f"run {run_key} of request {run.request_id} ended {run.state}{because}.", run_key=run_key, state=run.state,
                               reason_code=run.reason_code, fix="Run again without a request_id, or with a new one.")
            if run.lease_until_us is not None and now < run.lease_until_us <= now + MOST_LEASE_US:  # else another clock gave it
                raise RunBusy(f"run {run_key} is held by {run.worker}; its lease ends in {(run.lease_until_us - now) / 1e6:.1f} s.",
                              run_key=run_key, worker=run.worker, lease_until_us=run.lease_until_us)
            return self._take(tx, run, now, worker, lease_us)

    def claim_next(self, *, worker: str, lease_us: int, platform_run_id: str) -> Run | None:
        """Claim the run that is due the longest; see `ports.Ledger.claim_next`. Raises LedgerChainBroken, RunBusy, LedgerUnavailable."""
        with self._connector.writing() as tx:
            now = tx.now_us()
            due = tx.one("next_due", platform_run_id=platform_run_id, now_us=now, latest_due_us=now + LONGEST_WAIT_US,
                         latest_lease_us=now + MOST_LEASE_US, stalled=PublicationStalled.code)
            if due is None:
                return None
            chain.verified(due, tx.every("events", run_key=due["run_key"]))
            return self._take(tx, _run(due), now, worker, lease_us)

    def _take(self, tx: Transaction, run: Run, now: int, worker: str, lease_us: int) -> Run:
        grant = granted(run.state, run.mode, run.full_run_attempts, run.publish_retry_attempts, self._limits, run.reason_code)
        claimed = {**vars(grant), "worker": worker}
        changed = tx.change("claim_run", run_key=run.run_key, attempt=run.attempt, state=run.state, lease_until_us=now + lease_us,
                            at_us=now, **claimed)
        if changed != 1:
            raise RunBusy(f"run {run.run_key} was just taken by another worker.", run_key=run.run_key)
        _append(tx, run.run_key, chain.STARTED, now, run.attempt + 1, {**claimed, "took_over": run.state == "RUNNING"})
        return _found(tx, run.run_key)

    def quarantine(self, run_key: str, *, code: str, details: Mapping[str, Any]) -> None:
        """Keep a run that cannot be read away from every worker, for good. Raises LedgerUnavailable."""
        with self._connector.writing() as tx:
            if tx.one("quarantined_run", run_key=run_key) is None:
                tx.change("insert_quarantined", run_key=run_key, at_us=tx.now_us(), code=code, details=chain.text_of(details))

    def heartbeat(self, run_key: str, *, attempt: int, lease_us: int) -> None:
        """Prolong the lease; no event. Raises Fenced, RunNotFound, LedgerUnavailable."""
        with self._connector.writing() as tx:
            now = tx.now_us()
            changed = tx.change("prolong_lease", run_key=run_key, attempt=attempt, lease_until_us=now + lease_us, at_us=now)
            _only_one(tx, changed, run_key, attempt)

    def note(self, run_key: str, *, attempt: int, kind: str, details: Mapping[str, Any]) -> None:
        """Append an event to a RUNNING run.

        Asked again after an unknown outcome it may stand there twice: these events tell, and decide nothing.

        Raises:
            Fenced, RunNotFound, LedgerUnavailable. SchemaInvalid: a kind of the ledger's own.
        """
        if kind in chain.STATE_KINDS:
            raise SchemaInvalid(f"an event of kind {kind} is written by the ledger only.", fix="Use another kind.", path="kind")
        with self._connector.writing() as tx:
            now = tx.now_us()
            _only_one(tx, tx.change("touch_run", run_key=run_key, attempt=attempt, at_us=now), run_key, attempt)
            _append(tx, run_key, kind, now, attempt, details)

    # --- ending ---------------------------------------------------------------------------------------------

    def publish_pending(self, run_key: str, *, attempt: int, reason_code: str, wait_us: int = 0) -> Run:
        """RUNNING → PUBLISH_PENDING, due after `wait_us`. Raises Fenced, RunNotFound, LedgerUnavailable."""
        return self._leave(run_key, attempt, "publish_pending", reason_code=reason_code, wait_us=wait_us)

    def release(self, run_key: str, *, attempt: int, reason_code: str, wait_us: int = 0) -> Run:
        """RUNNING → QUEUED, due after `wait_us`; the attempt stays spent. Raises Fenced, RunNotFound, LedgerUnavailable."""
        return self._leave(run_key, attempt, "release", reason_code=reason_code, wait_us=wait_us)

    def done(self, run_key: str, *, attempt: int, result: Mapping[str, Any]) -> Run:
        """RUNNING → DONE. Raises Fenced, RunNotFound, LedgerUnavailable."""
        return self._leave(run_key, attempt, "done", result=result)

    def failed(self, run_key: str, *, attempt: int, reason_code: str, details: Mapping[str, Any]) -> Run:
        """RUNNING → FAILED, final; the caller has written the tombstone before. Raises Fenced, RunNotFound, LedgerUnavailable."""
        return self._leave(run_key, attempt, "failed", reason_code=reason_code, details=details)

    def cancelled(self, run_key: str, *, attempt: int, reason_code: str) -> Run:
        """RUNNING → CANCELLED, final; its worker has found the tombstone. Raises Fenced, RunNotFound, LedgerUnavailable."""
        return self._leave(run_key, attempt, "cancelled", reason_code=reason_code)

    def cancel(self, run_key: str, *, reason: str) -> Run:
        """QUEUED or PUBLISH_PENDING → CANCELLED; the tombstone is written. Raises InvalidTransition, RunNotFound, LedgerChainBroken."""
        with self._connector.writing() as tx:
            run, now = _believed(tx, run_key), tx.now_us()
            move(run.state, "cancel")
            changed = tx.change("cancel_run", run_key=run_key, attempt=run.attempt, state=run.state, reason_code="RUN_CANCELLED", at_us=now)
            _only_one(tx, changed, run_key, run.attempt)
            _append(tx, run_key, chain.CANCELLED, now, run.attempt, {"reason_code": "RUN_CANCELLED", "reason": reason})
            return _found(tx, run_key)

    def _leave(self, run_key: str, attempt: int, verb: Verb, *, reason_code: str | None = None, result: Mapping[str, Any] | None = None,
               details: Mapping[str, Any] | None = None, wait_us: int = 0) -> Run:
        said = {"reason_code": reason_code, "result": result, "details": details}
        with self._connector.writing() as tx:
            now = tx.now_us()
            changed = tx.change("leave_running", run_key=run_key, attempt=attempt, state=move("RUNNING", verb), reason_code=reason_code,
                                result=chain.text_of(result), at_us=now, due_us=now + wait_us)
            _only_one(tx, changed, run_key, attempt)
            _append(tx, run_key, _KINDS[verb], now, attempt, {name: value for name, value in said.items() if value is not None})
            return _found(tx, run_key)

    # --- beginning anew -------------------------------------------------------------------------------------

    def adopt(self, platform_run_id: str, runs: Iterable[Rebuilt]) -> int:
        """Take the runs of a scope over from a store, all or none. Raises LedgerNotEmpty, LedgerUnavailable."""
        with self._connector.writing() as tx:
            return adopt_runs(tx, platform_run_id, runs)

    # --- looking --------------------------------------------------------------------------------------------

    def run(self, run_key: str) -> Run:
        """One run. Raises RunNotFound, LedgerUnavailable."""
        with self._connector.reading() as tx:
            return _found(tx, run_key)

    def runs(self, *, limit: int = 100) -> Sequence[Run]:
        """Newest first."""
        with self._connector.reading() as tx:
            return tuple(_run(row) for row in tx.every("newest_runs", limit=limit))

    def has_runs(self, platform_run_id: str) -> bool:
        """Is there any run of this scope?"""
        with self._connector.reading() as tx:
            return tx.one("run_of_scope", platform_run_id=platform_run_id) is not None

    def run_keys(self) -> Sequence[str]:
        """The key of every run, oldest first, the quarantined ones too; also of histories whose run is gone."""
        with self._connector.reading() as tx:
            return tuple(str(row["run_key"]) for row in (*tx.every("run_keys"), *tx.every("lost_histories")))

    def quarantined(self) -> Sequence[Quarantined]:
        """The runs that no worker may take, oldest first."""
        with self._connector.reading() as tx:
            return tuple(Quarantined(row["run_key"], row["at_us"], row["code"], load_json(row["details"]))
                         for row in tx.every("quarantined"))

    def find(self, name: str, *, limit: int = 2) -> Sequence[Run]:
        """Runs whose key begins with `name`, or whose request id it is; at most `limit`."""
        if not name or not name.isprintable():  # what is no text cannot be asked for
            return ()
        with self._connector.reading() as tx:
            return tuple(_run(row) for row in tx.every("named_runs", name=name, length=len(name), limit=limit))

    def events(self, run_key: str) -> Sequence[LedgerEvent]:
        """A run's history in order, every link verified. Raises RunNotFound, LedgerChainBroken."""
        with self._connector.reading() as tx:
            row = tx.one("run", run_key=run_key)
            if row is None:
                raise _not_found(run_key)
            return chain.verified(row, tx.every("events", run_key=run_key))

    def head(self, run_key: str) -> str:
        """Digest of the newest event of a run. Raises RunNotFound."""
        with self._connector.reading() as tx:
            newest = tx.one("newest_event", run_key=run_key)
            if newest is None:
                raise _not_found(run_key)
            return str(newest["digest"])

    def closure(self, profile: str) -> str | None:
        """The closure digest that is remembered for a profile's set."""
        with self._connector.reading() as tx:
            known = tx.one("closure", profile=profile)
            return None if known is None else str(known["digest"])

    def remember_closure(self, *, profile: str, digest: str) -> str:
        """Remember that `policy@revision/set@version` has this closure digest, or return the one it has already (`decisions.md` D11)."""
        with self._connector.writing() as tx:
            if tx.one("closure", profile=profile) is None:
                tx.change("insert_closure", profile=profile, digest=digest)  # or another worker has just done so
            return str((tx.one("closure", profile=profile) or {})["digest"])


def _submit(tx: Transaction, request_id: str, payload_digest: str, platform_run_id: str, payload: Mapping[str, Any],
            wait_us: int) -> Submitted:
    run_key = key_of(request_id)
    _refuse_quarantined(tx, run_key)
    if (known := tx.one("run", run_key=run_key)) is None:
        now, text = tx.now_us(), str(chain.text_of(payload))
        said = {"request_id": request_id, "payload_digest": payload_digest, "platform_run_id": platform_run_id, "payload": text}
        if tx.change("insert_run", run_key=run_key, at_us=now, due_us=now + wait_us, **said) == 1:
            _append(tx, run_key, chain.QUEUED, now, 0, chain.queued_details(**said))
            return Submitted("NEW", _found(tx, run_key))
        known = tx.one("run", run_key=run_key)  # another caller has just done so
    if known is None:
        raise _not_found(run_key)
    if known["payload_digest"] != payload_digest:
        raise RequestIdPayloadMismatch(f"request {request_id} was used before with another payload, or under another configuration "
                                       f"({known['payload_digest']}; now {payload_digest}).", path="request_id", run_key=run_key)
    return Submitted("DUPLICATE", _believed(tx, run_key))


def _append(tx: Transaction, run_key: str, kind: str, at_us: int, attempt: int, details: Mapping[str, Any]) -> None:
    after = tx.one("newest_event", run_key=run_key)
    tx.change("insert_event", **chain.link(run_key=run_key, after=after, kind=kind, at_us=at_us, attempt=attempt, details=details))


def _only_one(tx: Transaction, changed: int, run_key: str, attempt: int) -> None:
    """Exactly one row changed, or this worker is fenced."""
    if changed != 1:
        run = _found(tx, run_key)
        raise Fenced(f"attempt {attempt} of run {run_key} is over: the run is {run.state} at attempt {run.attempt}.",
                     fix="Stop this worker: the run continues without it.", run_key=run_key, attempt=attempt, state=run.state,
                     newest=run.attempt)


def _found(tx: Transaction, run_key: str) -> Run:
    row = tx.one("run", run_key=run_key)
    if row is None:
        raise _not_found(run_key)
    return _run(row)


def _believed(tx: Transaction, run_key: str) -> Run:
    """A run whose record verifies and that is not in quarantine. Raises RunNotFound, LedgerChainBroken."""
    row = tx.one("run", run_key=run_key)
    if row is None:
        raise _not_found(run_key)
    chain.verified(row, tx.every("events", run_key=run_key))
    _refuse_quarantined(tx, run_key)
    return _run(row)


def _refuse_quarantined(tx: Transaction, run_key: str) -> None:
    if (put_aside := tx.one("quarantined_run", run_key=run_key)) is not None:
        raise LedgerChainBroken(f"run {run_key} is in quarantine for {put_aside['code']}.", run_key=run_key,
                                fix="Look at its quarantine receipt and at the store, restore the ledger, or ask under a new request_id.")


def _not_found(run_key: str) -> RunNotFound:
    return RunNotFound(f"the ledger holds no run {run_key}.", fix="List the runs with `ofs runs`.", run_key=run_key)


def _run(row: Row) -> Run:
    for column in ("attempt", "full_run_attempts", "publish_retry_attempts", "created_us", "updated_us"):
        if not isinstance(row[column], int):
            raise LedgerChainBroken(f"run {row['run_key']} has no number as {column}", run_key=row["run_key"],
                                    fix="Restore the ledger from a copy.")
    documents = {column: chain.document_of(row, column) for column in ("payload", "result")}
    return Run(**{field.name: row[field.name] for field in fields(Run) if field.name not in documents}, **documents)
