"""Receipts of one attempt: each phase leaves one, also when it fails (`domain.md` §1.4, `decisions.md` D4)."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from offline_feature_plane.contracts.manifest import ArtifactRef
from offline_feature_plane.contracts.receipts import Phase, PhaseReceipt
from offline_feature_plane.corridor.publish import receipt_key
from offline_feature_plane.domain.canonical import canonical_bytes, sha256_of
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import OfsError
from offline_feature_plane.ports import Clock, ObjectStore, Run

if TYPE_CHECKING:
    from offline_feature_plane.corridor.plan import Planned


class Receipts:
    """Writes the receipts of one attempt and remembers where they stand and how long each phase took."""

    def __init__(self, store: ObjectStore | None, clock: Clock, run: Run | None, planned: Planned | None,
                 timings: dict[str, float], remember: Callable[[str, ArtifactRef], None] | None = None) -> None:
        self._store, self._clock, self._run, self._planned, self._timings = store, clock, run, planned, timings
        self._remember = remember
        self.written: list[ArtifactRef] = []

    @classmethod
    def silent(cls, clock: Clock, timings: dict[str, float]) -> Self:
        """Receipts that are written nowhere; only the timings are kept."""
        return cls(None, clock, None, None, timings)

    @contextmanager
    def phase(self, name: Phase) -> Iterator[dict[str, Any]]:
        """Run a phase; what it puts into the mapping is the receipt's `facts`."""
        began, facts = self._clock.now_us(), dict[str, Any]()
        try:
            yield facts
        except OfsError as error:
            with suppress(OfsError):  # the first error is the one that counts
                self._write(name, "FAILED", began, {**facts, "error": error.describe()})
            raise
        self._write(name, "COMPLETE", began, facts)

    def _write(self, name: Phase, status: str, began: int, facts: dict[str, Any]) -> None:
        ended = self._clock.now_us()
        self._timings[name] = self._timings.get(name, 0.0) + (ended - began) / 1e6
        if self._store is None or self._run is None or self._planned is None:
            return
        run = self._run
        receipt = PhaseReceipt.model_validate({
            "phase": name, "status": status, "run_key": run.run_key, "request_id": run.request_id,
            "platform_run_id": run.platform_run_id, "dataset_manifest_id": self._planned.dm_id, "attempt": run.attempt,
            "pins_digest": self._planned.pins_digest, "started_at": format_instant(began), "finished_at": format_instant(ended),
            "duration_ms": (ended - began) // 1000, "facts": storable(facts)})
        data = canonical_bytes(receipt.model_dump(mode="json"))
        key = receipt_key(run.platform_run_id, run.run_key, run.attempt, name)
        self._store.put_new(key, data)
        self.written.append(ArtifactRef(name=f"{name} receipt", key=key, sha256=sha256_of(data)))
        if self._remember is not None:
            self._remember(f"PHASE_{status}", self.written[-1])


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
