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
from typing import Any, Final, Literal

from offline_feature_plane.domain.canonical import canonical_bytes, load_json, sha256_of
from offline_feature_plane.domain.identity import core_digest
from offline_feature_plane.errors import (
    DatasetRetired,
    DigestMismatch,
    ManifestImmutabilityViolation,
    ManifestInvalid,
    NondeterminismDetected,
    OfsError,
    PublicationStalled,
    RefNotFound,
    RunEnded,
    StorageIoFailure,
)
from offline_feature_plane.ports import ObjectStore, Run

# --- where things stand -------------------------------------------------------------------------------------


def manifest_key(platform_run_id: str, dm_id: str) -> str:
    """The unit of truth of a meaning."""
    return f"{platform_run_id}/ofs/manifests/{dm_id}.json"


def commit_key(platform_run_id: str, run_key: str) -> str:
    """A run's vow."""
    return f"{platform_run_id}/ofs/commits/{run_key}.json"


def data_prefix(platform_run_id: str, dm_id: str, run_key: str) -> str:
    """The folder of what a run staged, which is its own (`decisions.md` D2)."""
    return f"{platform_run_id}/ofs/datasets/{dm_id}/{run_key}"


def staged_key(platform_run_id: str, dm_id: str, run_key: str) -> str:
    """The manifest that a run staged before its vow."""
    return f"{data_prefix(platform_run_id, dm_id, run_key)}/manifest.json"


def plan_key(platform_run_id: str, run_key: str) -> str:
    """The pins of a run."""
    return f"{platform_run_id}/ofs/plans/{run_key}.json"


def receipt_key(platform_run_id: str, run_key: str, attempt: int, name: str) -> str:
    """What one attempt reports about one phase."""
    return f"{platform_run_id}/ofs/receipts/{run_key}/{attempt}/{name}.json"


def retired_key(platform_run_id: str, dm_id: str) -> str:
    """The fact that a meaning was retired (`decisions.md` D7)."""
    return f"{platform_run_id}/ofs/retired/{dm_id}.json"


def supersession_prefix(platform_run_id: str, dm_id: str) -> str:
    """The folder of the facts that say which datasets this one replaces (`decisions.md` D8)."""
    return f"{platform_run_id}/ofs/supersession/{dm_id}"


def by_id_key(dm_id: str) -> str:
    """The pointer from a bare `dm_…` to its manifest (`decisions.md` H)."""
    return f"by_id/{dm_id}.json"


# --- what exists --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vow:
    """A run's commit record: it will commit this core, or (a tombstone) it never will, for this code (`decisions.md` A1)."""

    outcome: Literal["commit", "tombstone"]
    dm_id: str | None = None
    core_digest: str | None = None
    manifest_digest: str | None = None
    attempt: int | None = None
    code: str | None = None

    @property
    def promise(self) -> tuple[str, str | None, str | None]:
        """All that is compared between two attempts of a run."""
        return (self.outcome, self.dm_id, self.core_digest)

    def document(self) -> bytes:
        """The bytes that are in the store."""
        return canonical_bytes({name: value for name, value in vars(self).items() if value is not None})


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
    """The commit record of a run, if there is one. Raises DigestMismatch for a damaged one, StorageIoFailure."""
    key = commit_key(platform_run_id, run_key)
    data = _look(store, key)
    return None if data is None else _vow(data, key)


def find_published(store: ObjectStore, platform_run_id: str, dm_id: str) -> bytes | None:
    """The visible manifest of a meaning (`decisions.md` D5, D7).

    Raises:
        DatasetRetired: the meaning was retired.
    """
    if store.exists(retired_key(platform_run_id, dm_id)):
        raise DatasetRetired(f"{dm_id} was retired.", dataset_manifest_id=dm_id,
                             fix="State a `correction` in the intent: it changes the meaning, so another dataset is built.")
    return _look(store, manifest_key(platform_run_id, dm_id))


# --- steps --------------------------------------------------------------------------------------------------


def stage_manifest(store: ObjectStore, run: Run, manifest: Manifest) -> Manifest:
    """Stage the manifest for a worker that may take over, after all of its data; a staged one with an equal core is kept and returned.

    Raises:
        NondeterminismDetected: another attempt of this run staged another core.
    """
    standing = _stands(store, staged_key(run.platform_run_id, manifest.dm_id, run.run_key), manifest.data)
    with suppress(ManifestInvalid):  # a damaged copy is ignored
        staged = read_manifest(standing)
        if staged.core_digest != manifest.core_digest:
            raise NondeterminismDetected(f"two attempts of run {run.run_key} gave different datasets.", run_key=run.run_key,
                                         fix="Compare the output of `ofs show --json` for both, and report this as a defect.")
        return staged
    return manifest


def make_vow(store: ObjectStore, run: Run, manifest: Manifest) -> Vow:
    """Vow to commit this core, unless the run has a commit record; the existing one is returned."""
    vow = Vow("commit", manifest.dm_id, manifest.core_digest, manifest.digest, run.attempt)
    key = commit_key(run.platform_run_id, run.run_key)
    return _vow(_stands(store, key, vow.document()), key)


def bury(store: ObjectStore, run: Run, code: str) -> Vow:
    """Occupy the commit record with a tombstone, unless the run has one; the existing one is returned. Only a tombstone lets it fail."""
    key = commit_key(run.platform_run_id, run.run_key)
    return _vow(_stands(store, key, Vow("tombstone", code=code).document()), key)


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
    data = _stands(store, key, manifest.data) if manifest is not None and fits else _look(store, key)
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


def link_superseded(store: ObjectStore, platform_run_id: str, dm_id: str, old: str, reason: str | None) -> None:
    """State that a dataset replaces an older one: a fact beside both, after the new manifest is visible (`decisions.md` D8)."""
    fact = {"schema_version": "learning.ofs_dataset_supersession.v1", "dataset_manifest_id": dm_id, "supersedes": old,
            "backfill_reason": reason}
    _stands(store, f"{supersession_prefix(platform_run_id, dm_id)}/{old}.json", canonical_bytes(fact))


def reason_of(fact: bytes, key: str) -> str | None:
    """Why a dataset replaced another, from the fact that says so. Raises DigestMismatch for one that cannot be read."""
    with suppress(OfsError, KeyError, TypeError):
        reason = load_json(fact)["backfill_reason"]
        if reason is None or isinstance(reason, str):
            return reason
    raise DigestMismatch(f"the supersession fact {key} is not readable.", path=key, fix="Restore it from a copy of the store.")


def publish(store: ObjectStore, run: Run, manifest: Manifest) -> Published:
    """Vow, then make the manifest visible. All of its bytes are stored already. Raises as `keep_vow`."""
    return keep_vow(store, run, make_vow(store, run, manifest), manifest)


_VOWS: Final = (("commit", False, False, True), ("tombstone", True, True, False))


def _vow(data: bytes, key: str) -> Vow:
    vow = None
    with suppress(OfsError, TypeError):
        vow = Vow(**load_json(data))
    if vow is None or (vow.outcome, vow.dm_id is None, vow.core_digest is None, vow.code is None) not in _VOWS:
        raise DigestMismatch(f"the commit record {key} is not readable.", path=key,
                             fix="Restore it from a copy of the store; until then this run cannot end.")
    return vow


def _point(store: ObjectStore, run: Run, visible: Manifest, key: str) -> None:
    """Write the pointer of a bare id after its manifest; a later build writes it if it is missing."""
    pointer = canonical_bytes({"platform_run_id": run.platform_run_id, "manifest_key": key, "manifest_digest": visible.digest})
    if _stands(store, by_id_key(visible.dm_id), pointer) != pointer:
        raise ManifestImmutabilityViolation(f"the pointer of {visible.dm_id} names another manifest than the one at {store.uri(key)}.",
                                            path=by_id_key(visible.dm_id),
                                            fix="One of the two was changed after publication: restore both from a copy of the store.")


def _look(store: ObjectStore, key: str) -> bytes | None:
    try:
        return store.get(key)
    except RefNotFound:
        return None


def _stands(store: ObjectStore, key: str, data: bytes) -> bytes:
    """Create if absent, and return what is stored afterwards: after "exists", a failure or a lost reply by reading it back."""
    failure: OfsError
    try:
        if store.put_new(key, data) == "created":
            return data
        failure = StorageIoFailure(f"the store says that {key} exists, but does not return it.", path=key, fix="Check the store.")
    except StorageIoFailure as failed:
        failure = failed
    standing = _look(store, key)
    if standing is None:
        raise failure
    return standing
