"""Is this manifest the one that was published? Asked before anything in it is believed (R12, `decisions.md` A1, A3).

    given id ─▶ pointer ─▶ manifest ─┬─▶ its identity gives its fingerprint and id
                  └─ digest ─────────┼─▶ the publishing run vowed its core
                                     └─▶ its parts are that run's own, and hold all rows

A manifest that passes can be believed in every word but the bytes of its data files, which `open_dataset` hashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.contracts.facts import DatasetPointer, Vow
from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.contracts.model import validate
from offline_feature_plane.corridor.facts import look, read_fact
from offline_feature_plane.corridor.layout import by_id_key, data_prefix, manifest_key, staged_key
from offline_feature_plane.corridor.publish import read_vow
from offline_feature_plane.domain.canonical import load_json, sha256_of
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.identity import closure_digest, core_digest, dataset_fingerprint, dataset_manifest_id
from offline_feature_plane.errors import DigestMismatch, ManifestInvalid, OfsError, StorageIoFailure
from offline_feature_plane.ports import ObjectStore

_FIX = "Restore the manifest, its commit record and its pointer from a copy of the store."


@dataclass(frozen=True)
class Check:
    """One question and its answer."""

    name: str
    passed: bool
    detail: str


def parse_manifest(data: bytes, name: str) -> DatasetManifest:
    """A manifest from its stored bytes, as far as its own words go. Raises ManifestInvalid."""
    try:
        manifest = validate(DatasetManifest, load_json(data, name=name), default=ManifestInvalid)
        for column in manifest.core.columns:
            ColumnType.parse(column.type)
    except (OfsError, ValueError) as wrong:
        raise ManifestInvalid(f"{name} is not a valid dataset manifest; {wrong.what if isinstance(wrong, OfsError) else wrong}", path=name,
                              fix=_FIX) from wrong
    return manifest


def authenticate(raw: bytes, key: str, store: ObjectStore) -> DatasetManifest:
    """The manifest that is stored under a key, once it is known to be the published one. Its data files are not looked at.

    Raises:
        ManifestInvalid: it cannot be read. DigestMismatch: it is not what was published there.
    """
    manifest = parse_manifest(raw, key)
    for check in (*check_words(manifest), *check_place(manifest, raw, key, store)):
        if not check.passed:
            raise DigestMismatch(f"{store.uri(key)} is not the manifest that was published; failed check: {check.name} ({check.detail}).",
                                 path=key, fix=_FIX)
    return manifest


def check_words(manifest: DatasetManifest) -> Iterator[Check]:
    """Does a manifest agree with itself?"""
    core, evidence = manifest.core, manifest.evidence
    found = dataset_fingerprint(core.identity)
    yield same("the fingerprint is the digest of the identity", found, manifest.dataset_fingerprint)
    yield same("the id is derived from the fingerprint", dataset_manifest_id(found), manifest.dataset_manifest_id)
    yield same("the feature closure has the pinned digest", closure_digest(core.closure), core.closure_digest)
    yield same("the row accounting adds up to the events read", sum(core.row_accounting.values()), core.replay.get("events_read"))
    yield same("the accounted rows are the rows of the dataset", core.row_accounting.get("row", 0), core.row_count)
    yield same("the splits hold all rows", sum(split.rows for split in core.splits), core.row_count)
    basis = core.identity.get("replay_basis")
    declared = basis.get("gaps", []) if isinstance(basis, dict) else []
    if declared or core.gaps:
        yield same("the gaps are those of the identity, and make it incomplete", (core.gaps, core.eligibility.complete), (declared, False))
    rows = 0
    for part in evidence.parts:
        if part.first_row == rows:
            rows += part.rows
    yield same("the files hold all rows, in order", rows, core.row_count)
    own = data_prefix(manifest.platform_run_id, manifest.dataset_manifest_id, str(evidence.publisher.get("run_key")))
    strangers = [part.key for part in evidence.parts if part.key != f"{own}/{part.sha256.removeprefix('sha256:')}.parquet"]
    yield same("the files are the publishing run's own", strangers[0] if strangers else own, own)


def check_place(manifest: DatasetManifest, raw: bytes, key: str, store: ObjectStore) -> Iterator[Check]:
    """Is a manifest stored where it belongs, as its publisher vowed it, and as its pointer knows it?"""
    yield same("the manifest is stored under its own id", key, manifest_key(manifest.platform_run_id, manifest.dataset_manifest_id))
    vow = None
    try:
        vow = read_vow(store, manifest.platform_run_id, str(manifest.evidence.publisher.get("run_key")))
        promised = ("commit", manifest.dataset_manifest_id, core_digest(manifest.model_dump(mode="json")))
        yield same("the publishing run committed to this core", "no commit record" if vow is None else vow.promise, promised)
    except StorageIoFailure:  # nothing was seen, so nothing can be said
        raise
    except OfsError as error:
        yield Check("the publishing run committed to this core", passed=False, detail=str(error))
    place = f"{sha256_of(raw)} at {key}"
    try:
        pointer = read_fact(store, DatasetPointer, by_id_key(manifest.dataset_manifest_id))
        if pointer is None:  # its publisher died just before; the next build writes it
            yield same("the commit record has the digest of these bytes", sha256_of(raw), _witness(manifest, raw, vow, store))
        else:
            yield same("the pointer names these bytes", place, f"{pointer.manifest_digest} at {pointer.manifest_key}")
    except StorageIoFailure:
        raise
    except OfsError as error:
        yield Check("the pointer names these bytes", passed=False, detail=str(error))


def _witness(manifest: DatasetManifest, raw: bytes, vow: Vow | None, store: ObjectStore) -> str | None:
    """Without a pointer: the digest in the vow, or that of the manifest which the publisher staged again after its bytes were lost."""
    if vow is None or vow.manifest_digest == sha256_of(raw):
        return None if vow is None else vow.manifest_digest
    run_key = str(manifest.evidence.publisher.get("run_key"))
    staged = look(store, staged_key(manifest.platform_run_id, manifest.dataset_manifest_id, run_key))
    return vow.manifest_digest if staged is None else sha256_of(staged)


def same(name: str, found: Any, promised: Any) -> Check:
    """Is what was found what was promised?"""
    return Check(name, passed=found == promised, detail=str(found) if found == promised else f"found {found}, expected {promised}")
