"""What runs look like as text: the queue, one run with its history, what became of a run that was worked on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from offline_feature_plane.cli.output import headline, pairs, style, table
from offline_feature_plane.cli.showing import profile_table
from offline_feature_plane.corridor.receipts import Costs, StepCost, profile_lines

if TYPE_CHECKING:
    from offline_feature_plane.contracts.receipts import PhaseReceipt
    from offline_feature_plane.corridor.worker import Ended
    from offline_feature_plane.ports import LedgerEvent, Quarantined, Run, Submitted


def run_document(run: Run, events: Sequence[LedgerEvent] = (), phases: Sequence[PhaseReceipt] | None = None) -> dict[str, Any]:
    """A run and its history, JSON-ready; with `phases`, what each of them took."""
    found: dict[str, Any] = {"run_key": run.run_key, "request_id": run.request_id, "state": run.state, "mode": run.mode,
             "attempt": run.attempt,
             "full_run_attempts": run.full_run_attempts, "publish_retry_attempts": run.publish_retry_attempts,
             "reason_code": run.reason_code, "result": dict(run.result) if run.result else None, "payload_digest": run.payload_digest,
             "created_at": _instant(run.created_us), "updated_at": _instant(run.updated_us)}
    if events:
        found["events"] = [{"seq": event.seq, "at": _instant(event.at_us), "kind": event.kind, "attempt": event.attempt,
                            "details": dict(event.details), "digest": event.digest} for event in events]
    if phases is not None:
        found["profile"] = [{"attempt": attempt, **line} for attempt, costs in _by_attempt(phases) for line in profile_lines(costs)]
    return found


def runs(found: Sequence[Run]) -> str:
    """The list of runs."""
    if not found:
        return "No run yet. Start one: ofs build intent.yaml"
    return table(["run", "request", "state", "attempts", "outcome", "updated"],
                 [[run.run_key[:12], run.request_id, run.state, run.attempt, _outcome(run), _instant(run.updated_us)] for run in found],
                 right=frozenset({3}))


def run(found: Run, events: Sequence[LedgerEvent], phases: Sequence[PhaseReceipt] | None = None) -> str:
    """One run and its history; with `phases`, what each of them took."""
    lines = [f"{style('run', 'bold')} {found.run_key}  {found.state}",
                      pairs({"request": found.request_id, "outcome": _outcome(found), "attempts": found.attempt,
                             "full runs": found.full_run_attempts, "publish retries": found.publish_retry_attempts}), "",
                      table(["#", "at", "event", "attempt", "details"],
                            [[event.seq, _instant(event.at_us), event.kind, event.attempt, _details(event)] for event in events],
                            right=frozenset({0, 3}))]
    if phases is not None and not phases:
        lines += ["", "No phase of this run has left a receipt."]
    for attempt, costs in _by_attempt(phases or ()):
        lines += ["", f"attempt {attempt}", profile_table(costs)]
    return "\n".join(lines)


def _by_attempt(phases: Sequence[PhaseReceipt]) -> list[tuple[int, Costs]]:
    """What the phases took, by attempt."""
    return [(attempt, {one.phase: StepCost(one.duration_ms / 1000, one.cost, one.status) for one in ones})
            for attempt, ones in groupby(phases, lambda one: one.attempt)]


def quarantined(found: Sequence[Quarantined]) -> str:
    """The runs that no worker may take."""
    return table(["run", "in quarantine for", "since"], [[one.run_key[:12], one.code, _instant(one.at_us)] for one in found])


def quarantined_document(one: Quarantined) -> dict[str, Any]:
    """One of them, JSON-ready."""
    return {"run_key": one.run_key, "state": "QUARANTINED", "reason_code": one.code, "details": dict(one.details),
            "updated_at": _instant(one.at_us)}


def enqueued(submitted: Submitted) -> str:
    """Which run answers an intent, and who works on it."""
    found = submitted.run
    new = "waits for a worker; `ofs worker` is one" if submitted.outcome == "NEW" else f"was asked for before; it is {found.state}"
    return "\n".join([f"{style('run', 'bold')} {found.run_key}  {new}",
                      pairs({"request": found.request_id, "follow it": f"ofs run {found.run_key[:12]}"})])


def ended(one: Ended) -> str:
    """One line: what became of a run."""
    good = {"PUBLISHED", "ALREADY_PUBLISHED"}
    told = one.published.manifest.dm_id if one.published else one.error.code if one.error else ""
    line = f"{one.run_key[:12]}  {style(one.outcome, 'green' if one.outcome in good else 'yellow')}  {told}".rstrip()
    return line if one.error is None else f"{line}: {headline(one.error.what)}"


def cancelled(found: Run) -> str:
    """Whether a run is cancelled, or will be."""
    if found.state == "CANCELLED":
        return f"run {found.run_key} is cancelled."
    return f"run {found.run_key} will be cancelled: {found.worker or 'its worker'} finds the tombstone at its next step."


def _outcome(run: Run) -> str:
    if run.result:
        return str(run.result.get("dataset_manifest_id") or run.result.get("outcome"))
    if run.state == "RUNNING" and run.lease_until_us is not None and run.lease_until_us < time.time_ns() // 1_000:
        return "its worker is gone; another worker, or `ofs build`, goes on"
    return run.reason_code or ""


# What a person wants to know of each kind of event; `--json` has everything.
_TOLD = {"INTENT_QUEUED": (), "RUN_STARTED": ("mode", "worker"), "PHASE_COMPLETE": ("name", "key"), "PHASE_FAILED": ("name", "key"),
         "PUBLISH_PENDING": ("reason_code",), "RUN_RELEASED": ("reason_code",), "RUN_FAILED": ("reason_code",),
         "RUN_REBUILT": ("state", "reason_code")}


def _details(event: LedgerEvent) -> str:
    result = event.details.get("result")
    if isinstance(result, dict):
        return f"{result.get('outcome')} {result.get('dataset_manifest_id')}"
    return " ".join(str(event.details.get(name)) for name in _TOLD.get(event.kind, tuple(event.details)) if event.details.get(name))


def _instant(us: int) -> str:
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
