"""`ofs verify`: are these the published bytes, and do they say what the manifest says? (`domain.md` §5, R12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from offline_feature_plane.contracts.manifest import ArtifactRef, DatasetManifest
from offline_feature_plane.contracts.receipts import Phase
from offline_feature_plane.corridor.authenticity import Check, check_place, check_words, parse_manifest, same
from offline_feature_plane.corridor.dataset import checked_copy
from offline_feature_plane.corridor.stage import digest_parts
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.errors import OfsError, StorageIoFailure
from offline_feature_plane.ports import ObjectStore, Progress


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


def verify(raw: bytes, key: str, store: ObjectStore, scratch: Path, progress: Progress) -> Verification:
    """Ask every question; a failed one does not stop the others.

    Args:
        raw: the manifest's stored bytes.
        key: where it is stored.
        store: where its artifacts are.
        scratch: a name of a folder for local copies of remote files.
        progress: called as (step, done, total).

    Raises:
        ManifestInvalid: the bytes are not a manifest.
    """
    manifest = parse_manifest(raw, key)
    checks = [*check_words(manifest), *check_place(manifest, raw, key, store), *check_artifacts(manifest, store)]
    checks += _rows(manifest, store, scratch, progress)
    return Verification(manifest.dataset_manifest_id, tuple(checks))


def check_artifacts(manifest: DatasetManifest, store: ObjectStore) -> Iterator[Check]:
    """Do the plan, the column digests and the receipts have the recorded digests?"""
    receipts = manifest.evidence.receipts
    yield same("every phase has a receipt", sorted(receipt.name.removesuffix(" receipt") for receipt in receipts), sorted(get_args(Phase)))
    for ref in (manifest.evidence.plan, manifest.evidence.column_digests, *receipts):
        yield _artifact(ref, manifest, store)


def columns_of(manifest: DatasetManifest) -> tuple[Column, ...]:
    """The schema of a manifest as columns."""
    return tuple(Column(item.name, ColumnType.parse(item.type), item.role, item.nullable, item.numeric_class, item.lineage, item.identifier,
                        item.meaning) for item in manifest.core.columns)


def _artifact(ref: ArtifactRef, manifest: DatasetManifest, store: ObjectStore) -> Check:
    name = f"{ref.name} {'have' if ref.name.endswith('s') else 'has'} the recorded digest"
    if not ref.key.startswith(f"{manifest.platform_run_id}/"):
        return Check(name, passed=False, detail=f"{ref.key} is outside of the manifest's run")
    try:
        return same(name, sha256_of(store.get(ref.key)), ref.sha256)
    except StorageIoFailure:  # nothing was seen, so nothing can be said
        raise
    except OfsError as error:
        return Check(name, passed=False, detail=str(error))


def _rows(manifest: DatasetManifest, store: ObjectStore, scratch: Path, progress: Progress) -> Iterator[Check]:
    paths: list[Path] = []
    parts = manifest.evidence.parts
    for number, part in enumerate(parts, start=1):
        try:
            paths.append(checked_copy(part, store, scratch))
            yield Check(f"data file {number} of {len(parts)} has its digest", passed=True, detail=part.sha256)
        except StorageIoFailure:
            raise
        except OfsError as error:
            yield Check(f"data file {number} of {len(parts)} has its digest", passed=False, detail=str(error))
        progress("hash", number, len(parts))
    if len(paths) == len(parts):
        progress("read", 0, manifest.core.row_count)
        content = digest_parts(columns_of(manifest), paths)
        yield same("the rows have the promised content digest", content.content_digest, manifest.core.content_digest)
        progress("read", manifest.core.row_count, manifest.core.row_count)
