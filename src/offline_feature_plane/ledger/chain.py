"""The hash chain of a run's events, and the proof that the run's row says what its events say (`domain.md` §4).

Each event's digest covers the event and the digest before it. The row is a cache of its events: folding them gives every field of it
but the lease, so a changed row is found out as well as a changed, missing or added event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offline_feature_plane.domain.canonical import canonical_bytes, digest, load_json, sha256_of
from offline_feature_plane.errors import LedgerChainBroken, OfsError
from offline_feature_plane.ledger.connector import Row
from offline_feature_plane.ports import LedgerEvent

FIRST: Final = "sha256:" + "0" * 64
QUEUED, STARTED, PENDING, RELEASED = "INTENT_QUEUED", "RUN_STARTED", "PUBLISH_PENDING", "RUN_RELEASED"
DONE, FAILED, CANCELLED = "RUN_DONE", "RUN_FAILED", "RUN_CANCELLED"
REBUILT = "RUN_REBUILT"
STATE_KINDS: Final = frozenset({QUEUED, STARTED, PENDING, RELEASED, DONE, FAILED, CANCELLED, REBUILT})

_CLAIMED: Final = ("mode", "full_run_attempts", "publish_retry_attempts", "worker", "reason_code")
_REBUILT: Final = ("state", "full_run_attempts", "publish_retry_attempts", "reason_code")
_STATE_AFTER: Final = {PENDING: "PUBLISH_PENDING", RELEASED: "QUEUED", DONE: "DONE", FAILED: "FAILED", CANCELLED: "CANCELLED"}


def text_of(document: Mapping[str, Any] | None) -> str | None:
    """A document as the ledger stores it: canonical JSON text, names of others left as they are. Raises SchemaInvalid for floats."""
    return None if document is None else canonical_bytes(document, as_stored=True).decode()


def link(*, run_key: str, after: Row | None, kind: str, at_us: int, attempt: int, details: Mapping[str, Any]) -> dict[str, Any]:
    """The event that follows `after`, as a row to insert."""
    said = {"run_key": run_key, "seq": after["seq"] + 1 if after else 1, "kind": kind, "at_us": at_us, "attempt": attempt,
            "previous_digest": after["digest"] if after else FIRST}
    return {**said, "details": text_of(details), "digest": _digest(said, details)}


def verified(run: Row, rows: Sequence[Row]) -> tuple[LedgerEvent, ...]:
    """The events of a run, every link checked, and the run's row checked against them.

    Raises:
        LedgerChainBroken: an event was changed, removed or added, or the row was changed.
    """
    events: list[LedgerEvent] = []
    for seq, row in enumerate(rows, start=1):
        previous = events[-1].digest if events else FIRST
        try:
            details = load_json(row["details"])
            said = {name: row[name] for name in ("run_key", "seq", "kind", "at_us", "attempt", "previous_digest")}
            whole = (row["run_key"], row["seq"], row["previous_digest"]) == (run["run_key"], seq, previous) and \
                row["details"] == text_of(details) and row["digest"] == _digest(said, details)
        except (OfsError, TypeError) as wrong:
            raise _broken(run, seq, "is not readable") from wrong
        if not whole:
            raise _broken(run, seq, "does not verify")
        events.append(LedgerEvent(**said, details=details, digest=row["digest"]))
    _check_row(run, events)
    return tuple(events)


def document_of(run: Row, column: str) -> Any:
    """The document in a column of a run's row. Raises LedgerChainBroken if it cannot be read."""
    try:
        return None if run[column] is None else load_json(run[column])
    except (OfsError, TypeError) as wrong:
        raise LedgerChainBroken(f"the {column} of run {run['run_key']} is not readable.", run_key=str(run["run_key"]), fix=_FIX) from wrong


def queued_details(*, request_id: str, payload_digest: str, platform_run_id: str, payload: str) -> dict[str, Any]:
    """What the first event says about the request."""
    return {"request_id": request_id, "payload_digest": payload_digest, "platform_run_id": platform_run_id,
            "payload_sha256": sha256_of(payload.encode())}


def _digest(said: Mapping[str, Any], details: Any) -> str:
    return digest("ofs.ledger_event.v1", {**said, "details": details}, as_stored=True)


def _check_row(run: Row, events: Sequence[LedgerEvent]) -> None:
    if not events or events[0].kind != QUEUED:
        raise _broken(run, 1, "is missing")
    stored = {"request_id": run["request_id"], "payload_digest": run["payload_digest"], "platform_run_id": run["platform_run_id"],
              "payload_sha256": sha256_of(str(run["payload"]).encode("utf-8", "surrogatepass")), "created_us": run["created_us"]}
    if stored != {**events[0].details, "created_us": events[0].at_us}:
        raise LedgerChainBroken(f"the row of run {run['run_key']} is not the request that was queued.", run_key=run["run_key"], fix=_FIX)
    for name, value in _folded(events).items():
        if run[name] != value:
            raise LedgerChainBroken(f"the row of run {run['run_key']} has {name} = {run[name]!r}; its events give {value!r}.",
                                    run_key=run["run_key"], field=name, fix=_FIX)


def _folded(events: Sequence[LedgerEvent]) -> dict[str, Any]:
    """The row's fields as the events give them."""
    row: dict[str, Any] = {"state": "QUEUED", "mode": None, "attempt": 0, "full_run_attempts": 0, "publish_retry_attempts": 0,
                           "worker": None, "reason_code": None, "result": None}
    for event in events:
        if event.kind == STARTED:
            row |= {"state": "RUNNING", "attempt": event.attempt, **{name: event.details.get(name) for name in _CLAIMED}}
        elif event.kind == REBUILT:
            row |= {"attempt": event.attempt, **{name: event.details.get(name) for name in _REBUILT},
                    "result": text_of(event.details.get("result"))}
        elif event.kind in _STATE_AFTER:
            row |= {"state": _STATE_AFTER[event.kind], "reason_code": event.details.get("reason_code"),
                    "result": text_of(event.details.get("result"))}
    return row


_FIX: Final = "The ledger was changed outside of OFS: restore it from a copy, and compare it with the commit records in the store."


def _broken(run: Row, seq: int, how: str) -> LedgerChainBroken:
    return LedgerChainBroken(f"event {seq} of run {run['run_key']} {how}.", run_key=run["run_key"], seq=seq, fix=_FIX)
