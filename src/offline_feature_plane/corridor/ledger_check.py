"""`ofs ledger verify`: does every history hang together, and does the ledger say what the store says? (R4, R8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.corridor.run_records import Ending, ending_of, recorded_runs
from offline_feature_plane.domain.runstates import TERMINAL
from offline_feature_plane.errors import OfsError, OutsideError, RunNotFound
from offline_feature_plane.ports import Ledger, ObjectStore, Progress, Run


@dataclass(frozen=True)
class Finding:
    """What is wrong with one run; `request_id` is None where the run cannot be read."""

    run_key: str
    request_id: str | None
    what: str


@dataclass(frozen=True)
class LedgerReport:
    """All that is wrong: how many runs were looked at, and how many of them were held against the store."""

    runs: int
    compared: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Is nothing wrong?"""
        return not self.findings

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"sound": self.sound, "runs": self.runs, "compared": self.compared, "findings": [vars(one) for one in self.findings]}


def check_ledger(ledger: Ledger, store: ObjectStore, platform_run_id: str, progress: Progress) -> LedgerReport:
    """Look at every run: its chain, its row, and, if it is of this scope, its commit record. Nothing stops at the first finding.

    Runs may be worked on meanwhile: whatever is in the store of a run was in the ledger before.

    Raises:
        LedgerUnavailable, StorageIoFailure.
    """
    recorded = recorded_runs(store, platform_run_id)
    keys = ledger.run_keys()
    findings: list[Finding] = []
    compared = 0
    for done, key in enumerate(keys, start=1):
        try:
            run = ledger.run(key)
            ledger.events(key)
        except OutsideError:
            raise
        except OfsError as wrong:
            what = "its history is there, its row is not." if isinstance(wrong, RunNotFound) else wrong.what
            findings.append(Finding(key, None, what))
        else:
            if run.platform_run_id == platform_run_id:
                compared += 1
                findings += (Finding(key, run.request_id, what) for what in _contradictions(run, store))
        progress("check", done, len(keys))
    known = set(keys)
    findings += (Finding(key, None, "the store has its documents; the ledger has no such run.") for key in recorded if key not in known)
    told = {one.run_key for one in findings}
    findings += (Finding(one.run_key, None, f"it is quarantined ({one.code}).") for one in ledger.quarantined() if one.run_key not in told)
    return LedgerReport(len(keys), compared, tuple(findings))


def _contradictions(run: Run, store: ObjectStore) -> Iterator[str]:
    """In what a run and its documents differ. One that has not ended contradicts nothing: its documents come before its end."""
    try:
        ending = ending_of(store, run.platform_run_id, run.run_key)
    except OutsideError:
        raise
    except OfsError as wrong:
        yield wrong.what
        return
    meant = run.payload.get("dataset_manifest_id")
    if ending.vow is not None and ending.vow.dm_id not in {None, meant}:
        yield f"its commit record names {ending.vow.dm_id}, its request means {meant}."
    if run.state not in TERMINAL:
        return
    if ending.vow is None:
        yield f"it is {run.state}, and has no commit record."
    elif ending.state != run.state:
        yield f"it is {run.state} ({run.reason_code or 'published'}); by its commit record it is {_said(ending)}."
    elif ending.vow.outcome == "tombstone" and ending.reason_code != run.reason_code:
        yield f"it is {run.state} with {run.reason_code}; its tombstone says {ending.reason_code}."
    elif run.state == "DONE" and dict(run.result or {}) != ending.result:
        yield f"its result is {dict(run.result or {})}; the store says {ending.result}."


def _said(ending: Ending) -> str:
    if ending.state == "QUEUED":
        return "still to be published"
    return ending.state if ending.reason_code is None else f"{ending.state} ({ending.reason_code})"
