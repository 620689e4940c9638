"""`ofs verify`: are these the published bytes, and do they say what the manifest says? (`domain.md` §5, R12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_feature_plane.contracts.manifest import ArtifactRef, DatasetManifest
from offline_feature_plane.corridor.dataset import checked_copy
from offline_feature_plane.corridor.publish import manifest_key, read_vow
from offline_feature_plane.corridor.stage import digest_parts
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.identity import closure_digest, core_digest, dataset_fingerprint, dataset_manifest_id
from offline_feature_plane.errors import OfsError
from offline_feature_plane.ports import ObjectStore, Progress


@dataclass(frozen=True)
class Check:
    """One question and its answer."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """Every check of one dataset, in order."""

    dataset_manifest_id: str
    checks: tuple[Check, ...]

    @property
    def intact(self) -> bool:
        """Did every check pass?"""
        return all(check.passed for check in self.checks)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"dataset_manifest_id": self.dataset_manifest_id, "intact": self.intact, "checks": [vars(check) for check in self.checks]}


def verify(manifest: DatasetManifest, raw: bytes, store: ObjectStore, scratch: Path, progress: Progress) -> Verification:
    """Ask every question; a failed one does not stop the others.

    Args:
        manifest: the manifest, already read and schema-checked.
        raw: its stored bytes.
        store: where its artifacts are.
        scratch: a name of a folder for local copies of remote files.
        progress: called as (step, done, total).
    """
    checks = [*_identity(manifest), *_vow(manifest, raw, store), *_arithmetic(manifest)]
    checks += [_artifact(ref, manifest, store) for ref in
               (manifest.evidence.plan, manifest.evidence.column_digests, *manifest.evidence.receipts)]
    checks += _rows(manifest, store, scratch, progress)
    return Verification(manifest.dataset_manifest_id, tuple(checks))


def columns_of(manifest: DatasetManifest) -> tuple[Column, ...]:
    """The schema of a manifest as columns."""
    return tuple(Column(item.name, ColumnType.parse(item.type), item.role, item.nullable, item.numeric_class, item.lineage, item.identifier,
                        item.meaning) for item in manifest.core.columns)


def _identity(manifest: DatasetManifest) -> Iterator[Check]:
    found = dataset_fingerprint(manifest.core.identity)
    yield _same("the fingerprint is the digest of the identity", found, manifest.dataset_fingerprint)
    yield _same("the id is derived from the fingerprint", dataset_manifest_id(found), manifest.dataset_manifest_id)
    yield _same("the feature closure has the pinned digest", closure_digest(manifest.core.closure), manifest.core.closure_digest)


def _vow(manifest: DatasetManifest, raw: bytes, store: ObjectStore) -> Iterator[Check]:
    run_key = str(manifest.evidence.publisher["run_key"])
    visible = store.get(manifest_key(manifest.platform_run_id, manifest.dataset_manifest_id))
    yield _same("the manifest stands under its own id", sha256_of(visible), sha256_of(raw))
    name = "the publishing run vowed this core"
    try:
        vow = read_vow(store, manifest.platform_run_id, run_key)
    except OfsError as error:
        yield Check(name, passed=False, detail=str(error))
        return
    promised = ("commit", manifest.dataset_manifest_id, core_digest(manifest.model_dump(mode="json")))
    yield _same(name, "no vow" if vow is None else vow.promise, promised)


def _arithmetic(manifest: DatasetManifest) -> Iterator[Check]:
    core = manifest.core
    yield _same("the row accounting adds up to the events read", sum(core.row_accounting.values()), core.replay["events_read"])
    yield _same("its rows are the rows of the dataset", core.row_accounting.get("row", 0), core.row_count)
    yield _same("the splits hold all rows", sum(split.rows for split in core.splits), core.row_count)
    yield _same("the files hold all rows", sum(part.rows for part in manifest.evidence.parts), core.row_count)


def _artifact(ref: ArtifactRef, manifest: DatasetManifest, store: ObjectStore) -> Check:
    name = f"{ref.name} is the recorded one"
    if not ref.key.startswith(f"{manifest.platform_run_id}/"):
        return Check(name, passed=False, detail=f"{ref.key} lies outside of the manifest's run")
    try:
        return _same(name, sha256_of(store.get(ref.key)), ref.sha256)
    except OfsError as error:
        return Check(name, passed=False, detail=str(error))


def _rows(manifest: DatasetManifest, store: ObjectStore, scratch: Path, progress: Progress) -> Iterator[Check]:
    paths: list[Path] = []
    parts = manifest.evidence.parts
    for number, part in enumerate(parts, start=1):
        try:
            paths.append(checked_copy(part, store, scratch))
            yield Check(f"data file {number} of {len(parts)} has its digest", passed=True, detail=part.sha256)
        except OfsError as error:
            yield Check(f"data file {number} of {len(parts)} has its digest", passed=False, detail=str(error))
        progress("hash", number, len(parts))
    if len(paths) == len(parts):
        progress("read", 0, manifest.core.row_count)
        content = digest_parts(columns_of(manifest), paths)
        yield _same("the rows have the promised content digest", content.content_digest, manifest.core.content_digest)
        progress("read", manifest.core.row_count, manifest.core.row_count)


def _same(name: str, found: Any, promised: Any) -> Check:
    return Check(name, passed=found == promised, detail=str(found) if found == promised else f"found {found}, promised {promised}")
