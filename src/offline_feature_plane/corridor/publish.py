"""The publication protocol: one vow per run, one manifest per meaning (`domain.md` §5, `decisions.md` A1–A5).

    claim ─▶ what exists? ─┬─▶ nothing ───────────▶ work ─▶ stage ─▶ vow ─▶ manifest ─▶ pointer ─▶ DONE
                           ├─▶ staged ───────────────────────────────▲      ▲
                           ├─▶ vow to commit ───────────────────────────────┘
                           └─▶ tombstone ─▶ FAILED           a failing run: tombstone ─▶ FAILED

The store's create-if-absent decides, the ledger records. Whatever answers "exists", fails or does not answer is read back: only what
is stored counts. After a vow to commit only two ends exist: the visible manifest has the vowed core, and the run is DONE; or it has
another, and the run is FAILED with NONDETERMINISM_DETECTED. Without such a vow a run may fail only after its tombstone is written.

These are the steps; `settle` joins them for one claimed run.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from offline_feature_plane.contracts.facts import DatasetPointer, Vow
from offline_feature_plane.corridor.facts import keep_fact, look, read_fact, stands
from offline_feature_plane.corridor.layout import by_id_key, commit_key, manifest_key, plan_key, staged_key
from offline_feature_plane.corridor.retirement import refuse_retired
from offline_feature_plane.domain.canonical import canonical_bytes, load_json, sha256_of
from offline_feature_plane.domain.identity import core_digest
from offline_feature_plane.domain.identity import run_key as key_of
from offline_feature_plane.errors import (
    DigestMismatch,
    ManifestImmutabilityViolation,
    ManifestInvalid,
    NondeterminismDetected,
    OfsError,
    PublicationStalled,
    RunEnded,
)
from offline_feature_plane.ports import ObjectStore, Run

# --- what exists --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Manifest:
    """A manifest as read: its bytes, what they say, the digests of the core and of the whole, and the run that made it."""

    data: bytes
    document: Mapping[str, Any]
    dm_id: str
    core_digest: str
    digest: str
    publisher: str


@dataclass(frozen=True)
class Published:
    """How a run ended well: the manifest that is visible, and whether this run published it or found it there."""

    outcome: Literal["PUBLISHED", "ALREADY_PUBLISHED"]
    manifest: Manifest
    key: str

    def result(self) -> dict[str, Any]:
        """What the ledger records."""
        return {"outcome": self.outcome, "dataset_manifest_id": self.manifest.dm_id, "core_digest": self.manifest.core_digest,
                "manifest_digest": self.manifest.digest, "manifest_key": self.key}


def read_manifest(data: bytes) -> Manifest:
    """A manifest from its bytes, as far as the protocol looks into it. Raises ManifestInvalid."""
    try:
        document = load_json(data)
        dm_id, publisher = document["dataset_manifest_id"], document["evidence"]["publisher"]["run_key"]
    except (OfsError, KeyError, TypeError):
        document = dm_id = publisher = None
    if not isinstance(dm_id, str) or not isinstance(publisher, str):
        raise ManifestInvalid("the bytes are not a manifest with a dataset_manifest_id and an evidence.publisher.run_key.",
                              fix="Restore the manifest from a copy of the store.")
    return Manifest(data, document, dm_id, core_digest(document), sha256_of(data), publisher)


def read_vow(store: ObjectStore, platform_run_id: str, run_key: str) -> Vow | None:
    """The commit record of a run, if there is one. Raises DigestMismatch for a damaged or foreign one, StorageIoFailure."""
    key = commit_key(platform_run_id, run_key)
    vow = read_fact(store, Vow, key)
    return None if vow is None else _own(vow, run_key, key)


def find_published(store: ObjectStore, platform_run_id: str, dm_id: str) -> bytes | None:
    """The visible manifest of a meaning (`decisions.md` D5, D7).

    Raises:
        DatasetRetired: the meaning was retired.
    """
    refuse_retired(store, platform_run_id, dm_id)
    return look(store, manifest_key(platform_run_id, dm_id))


# --- steps --------------------------------------------------------------------------------------------------


def stage_manifest(store: ObjectStore, run: Run, manifest: Manifest) -> Manifest:
    """Stage the manifest for a worker that may take over, after all of its data; a staged one with an equal core is kept and returned.

    Raises:
        NondeterminismDetected: another attempt of this run staged another core.
    """
    standing = stands(store, staged_key(run.platform_run_id, manifest.dm_id, run.run_key), manifest.data)
    with suppress(ManifestInvalid):  # a damaged copy is ignored
        staged = read_manifest(standing)
        if staged.core_digest != manifest.core_digest:
            raise NondeterminismDetected(f"two attempts of run {run.run_key} gave different datasets.", run_key=run.run_key,
                                         fix="Compare the output of `ofs show --json` for both, and report this as a defect.")
        return staged
    return manifest


def make_vow(store: ObjectStore, run: Run, manifest: Manifest) -> Vow:
    """Vow to commit this core, unless the run has a commit record; the existing one is returned."""
    return _occupy(store, run, Vow(outcome="commit", request_id=run.request_id, dm_id=manifest.dm_id, core_digest=manifest.core_digest,
                                   manifest_digest=manifest.digest, attempt=run.attempt))


def bury(store: ObjectStore, run: Run, code: str) -> Vow:
    """Occupy the commit record with a tombstone, unless the run has one; the existing one is returned. Only a tombstone lets it fail."""
    return _occupy(store, run, Vow(outcome="tombstone", request_id=run.request_id, code=code))


def keep_vow(store: ObjectStore, run: Run, vow: Vow, manifest: Manifest | None) -> Published:
    """Make the vowed manifest visible, with the given manifest if it has the vowed core.

    Raises:
        RunEnded: the record is a tombstone.
        PublicationStalled: nothing is visible, and the given manifest does not have the vowed core.
        NondeterminismDetected: another core is visible.
        ManifestImmutabilityViolation: the pointer of this id points elsewhere.
    """
    if vow.outcome == "tombstone":
        raise RunEnded(f"run {run.run_key} was closed without publishing ({vow.code}).",
                       fix="Run again without a request_id, or with a new one.",
                       run_key=run.run_key, reason_code=vow.code)
    key = manifest_key(run.platform_run_id, str(vow.dm_id))
    fits = manifest is not None and (manifest.dm_id, manifest.core_digest) == (vow.dm_id, vow.core_digest)
    data = stands(store, key, manifest.data) if manifest is not None and fits else look(store, key)
    if data is None:
        raise PublicationStalled(f"run {run.run_key} committed to core {vow.core_digest}; no manifest with this core was found.",
                                 run_key=run.run_key)
    visible = read_manifest(data)
    if visible.dm_id != vow.dm_id:
        raise ManifestInvalid(f"{store.uri(key)} holds the manifest of {visible.dm_id}.", path=key,
                              fix="Find out who wrote it, and restore the manifest from a copy of the store.")
    if visible.core_digest != vow.core_digest:
        raise NondeterminismDetected(f"{vow.dm_id} is published with core {visible.core_digest}, and run {run.run_key} reached "
                                     f"{vow.core_digest}.", path=key,
                                     fix="Compare the output of `ofs show --json` for both, and report this as a defect.")
    _point(store, run, visible, key)
    return Published("PUBLISHED" if visible.publisher == run.run_key else "ALREADY_PUBLISHED", visible, key)


def publish(store: ObjectStore, run: Run, manifest: Manifest) -> Published:
    """Vow, then make the manifest visible. All of its bytes are stored already. Raises as `keep_vow`."""
    return keep_vow(store, run, make_vow(store, run, manifest), manifest)


def keep_plan(store: ObjectStore, run: Run) -> None:
    """Put a run's pins into the store, unless they are there: a ledger that was lost is rebuilt from them. Raises StorageIoFailure."""
    key = plan_key(run.platform_run_id, run.run_key)
    if not store.exists(key):
        store.put_new(key, canonical_bytes(run.payload, as_stored=True))


def _occupy(store: ObjectStore, run: Run, vow: Vow) -> Vow:
    """The commit record of a run, after its plan: whoever finds the record can tell what was asked."""
    keep_plan(store, run)
    key = commit_key(run.platform_run_id, run.run_key)
    return _own(keep_fact(store, key, vow), run.run_key, key)


def _own(vow: Vow, run_key: str, key: str) -> Vow:
    """A commit record that names its request names the run that it ends."""
    if vow.request_id is not None and key_of(vow.request_id) != run_key:
        raise DigestMismatch(f"the commit record {key} is that of request {vow.request_id}, which is another run.", path=key,
                             fix="Find out who wrote it, and restore it from a copy of the store.")
    return vow


def _point(store: ObjectStore, run: Run, visible: Manifest, key: str) -> None:
    """Write the pointer of a bare id after its manifest; a later build writes it if it is missing."""
    pointer = DatasetPointer(platform_run_id=run.platform_run_id, manifest_key=key, manifest_digest=visible.digest)
    with suppress(DigestMismatch):
        if keep_fact(store, by_id_key(visible.dm_id), pointer) == pointer:
            return
    raise ManifestImmutabilityViolation(f"the pointer of {visible.dm_id} names another manifest than the one at {store.uri(key)}.",
                                        path=by_id_key(visible.dm_id),
                                        fix="One of the two was changed after publication: restore both from a copy of the store.")
