"""Receipts of one attempt: each phase leaves one, also when it fails (`domain.md` §1.4, `decisions.md` D4)."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from offline_feature_plane.contracts.manifest import ArtifactRef
from offline_feature_plane.contracts.model import validate
from offline_feature_plane.contracts.plan import Pins, pins_digest
from offline_feature_plane.contracts.receipts import (
    FailureReceipt,
    Phase,
    PhaseCost,
    PhaseReceipt,
    PhaseStatus,
    QuarantineReceipt,
    RunReceipt,
)
from offline_feature_plane.corridor.layout import receipt_key
from offline_feature_plane.corridor.publish import Published
from offline_feature_plane.domain.canonical import canonical_bytes, load_json, sha256_of
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import DigestMismatch, OfsError
from offline_feature_plane.ports import Clock, LedgerEvent, Meter, ObjectStore, Run, Spent


@dataclass(frozen=True)
class StepCost:
    """What a step took: wall seconds, and if it is a phase of a run, what else it used, and how it ended."""

    seconds: float
    used: PhaseCost | None = None
    status: PhaseStatus = "COMPLETE"


Costs = dict[str, StepCost]
Keep = Callable[[str, Mapping[str, Any]], None]
Write = Callable[[Phase, PhaseStatus, int, int, Mapping[str, Any], PhaseCost], None]


def profile_lines(costs: Mapping[str, StepCost]) -> list[dict[str, Any]]:
    """A JSON-ready line per step; of what is no phase of a run only the time is known."""
    return [{"step": step, "status": cost.status, "seconds": round(cost.seconds, 3)} | ({} if cost.used is None else cost.used.model_dump())
            for step, cost in costs.items()]


def _nobody_asks() -> None:
    """There is no claim, so none can be lost."""


def _write_nowhere(phase: Phase, status: PhaseStatus, began: int, ended: int, facts: Mapping[str, Any], cost: PhaseCost) -> None:
    """Write nothing."""


def _keep_nowhere(name: str, document: Mapping[str, Any]) -> None:
    """Keep nothing."""


def write_run_receipt(store: ObjectStore, clock: Clock, run: Run, published: Published) -> None:
    """State how a run ended, beside the receipts of its phases."""
    pins = Pins.model_validate(run.payload)
    intent, manifest = pins.intent, published.manifest
    receipt = RunReceipt.model_validate({
        "run_key": run.run_key, "request_id": run.request_id, "platform_run_id": run.platform_run_id, "outcome": published.outcome,
        "dataset_manifest_id": manifest.dm_id, "manifest_key": published.key, "manifest_digest": manifest.digest,
        "core_digest": manifest.core_digest, "pins_digest": pins_digest(pins), "attempt": run.attempt,
        "full_run_attempts": run.full_run_attempts, "publish_retry_attempts": run.publish_retry_attempts,
        "asked": {"intent_kind": intent["intent_kind"], "replay_basis": intent["replay_basis"],
                  **({"gaps": intent["gaps"]} if "gaps" in intent else {}), "label_basis": intent["label_basis"],
                  "feature_set": pins.profile.set_name, "splits": len(intent["splits"]), "supersedes": intent["supersedes"],
                  "backfill_reason": intent["backfill_reason"], "non_training_allowed": intent["non_training_allowed"]},
        "provenance": {"ofs_code_release_id": intent["ofs_code_release_id"], "policy_revision": intent["policy_revision"],
                       "config_revision": intent["config_revision"], "run_config_digest": pins.identity["config_digest"],
                       "run_facts_ref": intent["run_facts_ref"], "actor": intent["actor"], "worker": run.worker},
        "receipts": manifest.document["evidence"]["receipts"] if manifest.publisher == run.run_key else [],
        "finished_at": format_instant(clock.now_us())})
    _put_new(store, run, "run", canonical_bytes(receipt.model_dump(mode="json")))


def write_failure_receipt(store: ObjectStore, clock: Clock, run: Run, error: OfsError, phases: Sequence[ArtifactRef]) -> None:
    """State why a run ended without a dataset, whatever its request holds; `phases` are the receipts of the attempt that ended it."""
    receipt = FailureReceipt.model_validate({
        **{name: getattr(run, name) for name in ("run_key", "request_id", "platform_run_id", "attempt", "full_run_attempts",
                                                 "publish_retry_attempts", "worker")},
        "error": storable(error.describe()), "receipts": phases, "finished_at": format_instant(clock.now_us())})
    _put_new(store, run, "failure", canonical_bytes(receipt.model_dump(mode="json")))


def write_quarantine_receipt(store: ObjectStore, clock: Clock, platform_run_id: str, run_key: str, error: OfsError) -> None:
    """State why a run is kept away from every worker. Raises RefInvalid for a key that none can be kept under."""
    receipt = QuarantineReceipt.model_validate({"run_key": run_key, "platform_run_id": platform_run_id,
                                                "error": storable(error.describe()), "found_at": format_instant(clock.now_us())})
    _keep_new(store, platform_run_id, run_key, 0, "quarantine", canonical_bytes(receipt.model_dump(mode="json")))


def _put_new(store: ObjectStore, run: Run, name: str, data: bytes) -> str:
    """Keep a receipt of an attempt, and say where."""
    return _keep_new(store, run.platform_run_id, run.run_key, run.attempt, name, data)


def _keep_new(store: ObjectStore, platform_run_id: str, run_key: str, attempt: int, name: str, data: bytes) -> str:
    """Keep a receipt under a name of its own, and say under which: a run whose ledger was lost counts its attempts anew."""
    names = (name if life == 1 else f"{name}.{life}" for life in itertools.count(1))
    return next(key for key in (receipt_key(platform_run_id, run_key, attempt, name) for name in names)
                if store.put_new(key, data) == "created" or store.get(key) == data)


@dataclass(frozen=True)
class Receipts:
    """Measures the phases of an attempt; those of a run are also kept in its store and in the ledger (`kept`).

    `check` is called before each phase, and by long ones in between; it raises Fenced once the claim was lost. `keep` keeps what a phase
    has to say beside its receipt, under a name. `costs` collects where time and memory go.
    """

    clock: Clock
    meter: Meter
    costs: Costs
    check: Callable[[], None] = _nobody_asks
    write: Write = _write_nowhere
    keep: Keep = _keep_nowhere
    written: list[ArtifactRef] = field(default_factory=list)

    def kept(self, store: ObjectStore, run: Run, dm_id: str, pins_digest: str, note: Callable[[str, ArtifactRef], None]) -> Receipts:
        """The same, writing each receipt into the store and noting it in the ledger."""
        written = self.written

        def write(phase: Phase, status: PhaseStatus, began: int, ended: int, facts: Mapping[str, Any], cost: PhaseCost) -> None:
            receipt = PhaseReceipt.model_validate({
                "phase": phase, "status": status, "run_key": run.run_key, "request_id": run.request_id,
                "platform_run_id": run.platform_run_id, "dataset_manifest_id": dm_id, "attempt": run.attempt,
                "pins_digest": pins_digest, "started_at": format_instant(began), "finished_at": format_instant(ended),
                "duration_ms": (ended - began) // 1000, "cost": cost, "facts": storable(facts)})
            data = canonical_bytes(receipt.model_dump(mode="json"))
            key = _put_new(store, run, phase, data)
            written.append(ArtifactRef(name=f"{phase} receipt", key=key, sha256=sha256_of(data)))
            note(f"PHASE_{status}", written[-1])

        def keep(name: str, document: Mapping[str, Any]) -> None:
            data = canonical_bytes(storable(document))
            written.append(ArtifactRef(name=name, key=_put_new(store, run, name.replace(" ", "_"), data), sha256=sha256_of(data)))

        return Receipts(self.clock, self.meter, self.costs, self.check, write, keep, written)

    @contextmanager
    def phase(self, name: Phase) -> Iterator[dict[str, Any]]:
        """Run a phase; what it puts into the mapping is the receipt's `facts`, and `rows` of them its size."""
        self.check()
        began, facts = (self.clock.now_us(), self.meter()), dict[str, Any]()
        try:
            yield facts
        except OfsError as error:
            with suppress(OfsError):  # the first error is the one that counts
                self._ended(name, "FAILED", began, {**facts, "error": error.describe()})
            raise
        self._ended(name, "COMPLETE", began, facts)

    def _ended(self, name: Phase, status: PhaseStatus, began: tuple[int, Spent], facts: dict[str, Any]) -> None:
        ended, before, now = self.clock.now_us(), began[1], self.meter()
        cost = PhaseCost(rows=facts.pop("rows", None), bytes_read=now.read_bytes - before.read_bytes,
                         bytes_written=now.written_bytes - before.written_bytes, cpu_ms=(now.cpu_us - before.cpu_us) // 1000,
                         peak_memory_bytes=now.peak_bytes)
        self.costs[name] = StepCost((ended - began[0]) / 1e6, cost, status)
        self.write(name, status, began[0], ended, facts, cost)


def read_phases(store: ObjectStore, events: Iterable[LedgerEvent]) -> tuple[PhaseReceipt, ...]:
    """The receipts of a run's phases that its history names, attempt by attempt, in the order in which they ended.

    Raises:
        RefNotFound, DigestMismatch: one is gone, or is not what was written. StorageIoFailure.
    """
    return tuple(read_phase(store, event.details) for event in events if event.kind in {"PHASE_COMPLETE", "PHASE_FAILED"})


def read_phase(store: ObjectStore, ref: Mapping[str, Any]) -> PhaseReceipt:
    """The receipt of a phase that an `ArtifactRef`, as a mapping, names. Raises as `read_phases`."""
    data = store.get(ref["key"])
    if sha256_of(data) != ref["sha256"]:
        raise DigestMismatch(f"the ledger remembers a {ref['name']} of {ref['sha256']}; the store has {sha256_of(data)}.", path=ref["key"],
                             fix="Restore it from a copy of the store.")
    return validate(PhaseReceipt, load_json(data, name=ref["key"]), default=DigestMismatch)


def storable(value: Any) -> Any:
    """Facts and error documents with whatever canonical JSON cannot hold written as text.

    A lag of three centuries is beyond 2⁵³ µs; label values come as their owners wrote them, composed or not.

    >>> storable({"p99_us": 2**53, "values": {"FRAUD": 3}})
    {'p99_us': '9007199254740992', 'values': {'FRAUD': 3}}
    """
    if isinstance(value, Mapping):
        return {_storable_text(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    return _storable_text(str(value))


def _storable_text(text: str) -> str:
    if unicodedata.is_normalized("NFC", text):
        return text.encode("utf-8", "backslashreplace").decode()
    return text.encode("ascii", "backslashreplace").decode()
