"""How runs ended, as their documents in the store tell it: what a ledger is held against, and rebuilt from (`decisions.md` A1, R8).

    commit record      visible manifest      the run
    none               any                   has not ended
    vow                none                  has not ended: it will publish
    vow                of the vowed core     DONE
    vow                of another core       FAILED, NONDETERMINISM_DETECTED
    tombstone          any                   FAILED with its code, or CANCELLED

Each document is written once, so a run that has ended by this table has ended for good.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from offline_feature_plane.contracts.facts import Vow
from offline_feature_plane.corridor.authenticity import authenticate
from offline_feature_plane.corridor.facts import look
from offline_feature_plane.corridor.layout import commits_prefix, manifest_key, plans_prefix
from offline_feature_plane.corridor.publish import Published, read_manifest, read_vow
from offline_feature_plane.corridor.settlement import CANCELLED_CODE
from offline_feature_plane.errors import NondeterminismDetected
from offline_feature_plane.ports import ObjectStore

_NAME = re.compile(r".*/(?P<run_key>[0-9a-f]{32})\.json")


@dataclass(frozen=True)
class Ending:
    """The state that a run is in by its documents, why, and with what result; QUEUED is any that has not ended."""

    state: Literal["QUEUED", "DONE", "FAILED", "CANCELLED"]
    vow: Vow | None = None
    reason_code: str | None = None
    result: Mapping[str, Any] | None = None


def recorded_runs(store: ObjectStore, platform_run_id: str) -> tuple[str, ...]:
    """The keys of the runs of a scope that have a plan or a commit record."""
    keys = (*store.list(plans_prefix(platform_run_id)), *store.list(commits_prefix(platform_run_id)))
    return tuple(sorted({found["run_key"] for key in keys if (found := _NAME.fullmatch(key)) is not None}))


def ending_of(store: ObjectStore, platform_run_id: str, run_key: str) -> Ending:
    """How a run ended, by the table above. Raises DigestMismatch, ManifestInvalid for what cannot be believed, StorageIoFailure."""
    vow = read_vow(store, platform_run_id, run_key)
    if vow is None:
        return Ending("QUEUED")
    if vow.outcome == "tombstone":
        return Ending("CANCELLED" if vow.code == CANCELLED_CODE else "FAILED", vow, vow.code)
    key = manifest_key(platform_run_id, str(vow.dm_id))
    raw = look(store, key)
    if raw is None:
        return Ending("QUEUED", vow)
    authenticate(raw, key, store)
    manifest = read_manifest(raw)
    if manifest.core_digest != vow.core_digest:
        return Ending("FAILED", vow, NondeterminismDetected.code)
    outcome: Literal["PUBLISHED", "ALREADY_PUBLISHED"] = "PUBLISHED" if manifest.publisher == run_key else "ALREADY_PUBLISHED"
    return Ending("DONE", vow, None, Published(outcome, manifest, key).result())
