"""`ofs ledger rebuild`: a new ledger from a store, where the old one was lost (R8).

    plans, commit records ─▶ how each run ended ─┬─▶ ended: as it ended
    receipts ─▶ when, which attempts             ├─▶ not ended: QUEUED, a worker goes on
    manifests ─▶ what profile revisions mean     └─▶ cannot be told: quarantined, a person looks

A store does not know what happened between: how often a worker died, or why a run waited. The rebuilt history says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from offline_feature_plane.contracts.intent import BuildIntent
from offline_feature_plane.contracts.model import validate
from offline_feature_plane.contracts.plan import Pins
from offline_feature_plane.corridor.catalog import list_manifests
from offline_feature_plane.corridor.drift import remember_published
from offline_feature_plane.corridor.facts import look
from offline_feature_plane.corridor.layout import plan_key, receipts_prefix
from offline_feature_plane.corridor.run_records import Ending, ending_of, recorded_runs
from offline_feature_plane.domain.canonical import hex_of, load_json
from offline_feature_plane.domain.identity import payload_digest
from offline_feature_plane.domain.identity import run_key as key_of
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.errors import BuildPlanImmutabilityViolation, FeatureProfileDrift, LedgerNotEmpty, OfsError, OutsideError
from offline_feature_plane.ports import Clock, Ledger, ObjectStore, Progress, Rebuilt

_RECEIPT: Final = re.compile(r".*/(?P<attempt>[0-9]+)/(?P<name>[a-z]+)(?:\.[0-9]+)?\.json")
_MOST_UNNAMED: Final = 10_000


@dataclass(frozen=True)
class Doubt:
    """A run that the store has documents of, from which it cannot be told: its key, the code and the words of the reason."""

    run_key: str
    code: str
    what: str


@dataclass(frozen=True)
class Rebuilding:
    """The runs of the new ledger, oldest first, and those that nobody can tell."""

    applied: bool
    runs: tuple[Rebuilt, ...]
    doubtful: tuple[Doubt, ...]

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"applied": self.applied, "doubtful": [vars(one) for one in self.doubtful],
                "runs": [{"run_key": key_of(run.request_id), "request_id": run.request_id, "state": run.state, "attempt": run.attempt,
                          "reason_code": run.reason_code, "result": run.result} for run in self.runs]}


def rebuild(store: ObjectStore, ledger: Ledger, clock: Clock, platform_run_id: str, progress: Progress, *, apply: bool) -> Rebuilding:
    """Tell every run of a scope from the store, and with `apply` give them to the ledger. All of them or none are taken over.

    Raises:
        LedgerNotEmpty: the ledger has runs of this scope. LedgerUnavailable, StorageIoFailure.
    """
    if ledger.has_runs(platform_run_id):
        raise LedgerNotEmpty(f"the ledger has runs of {platform_run_id} already.", platform_run_id=platform_run_id)
    now, found, doubtful = clock.now_us(), list[Rebuilt](), list[Doubt]()
    keys = recorded_runs(store, platform_run_id)
    for done, key in enumerate(keys, start=1):
        try:
            found.append(replace(_rebuilt(store, platform_run_id, key, now), payload={}))  # plans are long; they are read again
        except OutsideError:
            raise
        except OfsError as doubt:
            doubtful.append(Doubt(key, doubt.code, doubt.what))
        progress("read", done, len(keys))
    found.sort(key=lambda run: (run.created_us, run.request_id))
    if apply:
        for manifest in list_manifests(store, platform_run_id).datasets:
            with suppress(FeatureProfileDrift):  # the first dataset of a revision counts
                remember_published(manifest, ledger)
        for one in doubtful:
            ledger.quarantine(one.run_key, code=one.code, details={"what": one.what})
        ledger.adopt(platform_run_id, (replace(run, payload=_plan(store, platform_run_id, key_of(run.request_id))) for run in found))
    return Rebuilding(apply, tuple(found), tuple(doubtful))


def _rebuilt(store: ObjectStore, platform_run_id: str, run_key: str, now_us: int) -> Rebuilt:
    """One run. Raises OfsError for what cannot be believed."""
    plan = _plan(store, platform_run_id, run_key)
    pins = validate(Pins, plan, default=BuildPlanImmutabilityViolation)
    intent = validate(BuildIntent, pins.intent, default=BuildPlanImmutabilityViolation)
    payload = payload_digest(intent.payload(pins.dataset_fingerprint))
    ending = ending_of(store, platform_run_id, run_key)
    if ending.vow is not None and ending.vow.dm_id not in {None, pins.dataset_manifest_id}:
        raise _doubt(run_key, f"its commit record names {ending.vow.dm_id}, its plan is for {pins.dataset_manifest_id}")
    told = _Receipts(store, platform_run_id, run_key)
    if ending.state == "DONE" and not told.has("run"):  # stopped before its pointer, its link or its receipt: a worker states them
        ending = Ending("QUEUED", ending.vow)
    ended = told.last_end() if ending.state != "QUEUED" else {}
    return Rebuilt(
        request_id=_request(run_key, pins, payload, ending), payload_digest=payload, platform_run_id=platform_run_id, payload=plan,
        state=ending.state, attempt=max([*told.attempts, ended.get("attempt", 0), (ending.vow.attempt if ending.vow else None) or 0]),
        full_run_attempts=ended.get("full_run_attempts", 0), publish_retry_attempts=ended.get("publish_retry_attempts", 0),
        reason_code=ending.reason_code, result=ending.result,
        created_us=min([*told.instants("replay", "started_at"), *told.instants("failure", "finished_at"),
                        *told.instants("run", "finished_at"), now_us]),
        ended_us=parse_instant(ended["finished_at"]) if ended else None)


def _plan(store: ObjectStore, platform_run_id: str, run_key: str) -> dict[str, Any]:
    key = plan_key(platform_run_id, run_key)
    data = look(store, key)
    found = None if data is None else load_json(data, name=key)
    if not isinstance(found, dict):
        raise _doubt(run_key, "its plan is not in the store" if data is None else "its plan is no document")
    return found


def _request(run_key: str, pins: Pins, payload: str, ending: Ending) -> str:
    """The request that a run answers: its commit record names it, or its intent; one that was numbered is found by trying."""
    named = (ending.vow.request_id if ending.vow is not None else None) or pins.intent.get("request_id")
    tried = [named] if named is not None else (f"auto:{hex_of(payload)[:16]}:{number}" for number in range(1, _MOST_UNNAMED))
    request_id = next((one for one in tried if key_of(one) == run_key), None)
    if request_id is None:
        raise _doubt(run_key, "no request of its plan has this key")
    return request_id


def _doubt(run_key: str, what: str) -> BuildPlanImmutabilityViolation:
    return BuildPlanImmutabilityViolation(f"run {run_key} cannot be told: {what}.", run_key=run_key,
                                          fix="Restore its plan and its commit record from a copy of the store.")


class _Receipts:
    """What the receipts of a run say about times and attempts; one that cannot be read says nothing, for it decides nothing."""

    def __init__(self, store: ObjectStore, platform_run_id: str, run_key: str) -> None:
        self._store = store
        self._found = [(int(place["attempt"]), place["name"], key) for key in store.list(receipts_prefix(platform_run_id, run_key))
                       if (place := _RECEIPT.fullmatch(key)) is not None]

    @property
    def attempts(self) -> list[int]:
        """The attempts that left a receipt."""
        return [attempt for attempt, _, _ in self._found]

    def has(self, name: str) -> bool:
        """Is there a receipt of this name?"""
        return any(found == name for _, found, _ in self._found)

    def instants(self, name: str, field: str) -> Iterator[int]:
        """When, by all receipts of this name."""
        for document in self._documents(name):
            with suppress(OfsError, KeyError, TypeError):
                yield parse_instant(document[field])

    def last_end(self) -> dict[str, Any]:
        """The receipt of the run's end that was written last, if it has what it should."""
        ends = [one for name in ("run", "failure") for one in self._documents(name)]
        wanted = {"finished_at": str, "attempt": int, "full_run_attempts": int, "publish_retry_attempts": int}
        whole = [one for one in ends if all(isinstance(one.get(name), kind) for name, kind in wanted.items())]
        return max(whole, key=lambda one: one["finished_at"], default={})

    def _documents(self, name: str) -> Iterator[dict[str, Any]]:
        for _, found, key in self._found:
            if found == name:
                with suppress(OfsError):
                    document = load_json(self._store.get(key), name=key)
                    if isinstance(document, dict):
                        yield document
