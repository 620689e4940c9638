"""What a run leaves in the store before its manifest: its pinned plan, and its data files under its own prefix (`decisions.md` D2, D4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offline_feature_plane.contracts.manifest import ArtifactRef, Part
from offline_feature_plane.contracts.model import validate
from offline_feature_plane.contracts.plan import Pins, pins_digest
from offline_feature_plane.corridor.layout import data_prefix, plan_key
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.receipts import Receipts
from offline_feature_plane.corridor.stage import COLUMN_DIGESTS_NAME, Staged
from offline_feature_plane.domain.canonical import canonical_bytes, load_json, sha256_of
from offline_feature_plane.domain.content import LEAF_ROWS
from offline_feature_plane.errors import BuildPlanImmutabilityViolation, DatasetArtifactImmutabilityViolation
from offline_feature_plane.ports import ObjectStore, Progress, Run


@dataclass(frozen=True)
class PinnedPlan:
    """The pins of a run as its first attempt wrote them, and where they are stored."""

    pins: Pins
    digest: str
    ref: ArtifactRef


@dataclass(frozen=True)
class StoredFiles:
    """The data files of a run in the store, in row order, and its column digests."""

    parts: Sequence[Part]
    column_digests: ArtifactRef


def pin_plan(planned: Planned, run: Run, store: ObjectStore) -> PinnedPlan:
    """Write the pins of a run once; a later attempt goes on with the first one's, and must mean the same (`decisions.md` D4).

    The ledger has them from the beginning; after a lost ledger, those in the store count. The actor, and how long a label log has grown
    since, may differ between attempts.

    Raises:
        BuildPlanImmutabilityViolation: the store has other pins, or the current plan means something else.
    """
    key = plan_key(run.platform_run_id, run.run_key)
    pins = validate(Pins, run.payload, default=BuildPlanImmutabilityViolation)
    data = canonical_bytes(pins.model_dump(mode="json"))
    if store.put_new(key, data) == "exists" and (standing := store.get(key)) != data:  # the ledger was lost and began anew
        data, pins = standing, validate(Pins, load_json(standing, name=key), default=BuildPlanImmutabilityViolation)
    if pins.meaning() != planned.pins.meaning() or canonical_bytes(pins.model_dump(mode="json")) != data:
        raise BuildPlanImmutabilityViolation(f"run {run.run_key} began with different pins than the current plan has.", path=key,
                                             fix="A pinned input has changed: run again without a request_id.")
    return PinnedPlan(pins, pins_digest(pins), ArtifactRef(name="plan", key=key, sha256=sha256_of(data)))


def store_files(staged: Staged, dm_id: str, run: Run, store: ObjectStore, receipts: Receipts, progress: Progress) -> StoredFiles:
    """Put the staged files where they belong to this run alone, named by their digest.

    Raises:
        DatasetArtifactImmutabilityViolation: other bytes are stored there. StorageIoFailure.
    """
    prefix = data_prefix(run.platform_run_id, dm_id, run.run_key)
    with receipts.phase("publication") as facts:
        parts = [Part(key=f"{prefix}/{part.sha256.removeprefix('sha256:')}.parquet", sha256=part.sha256, size_bytes=part.size_bytes,
                      rows=part.rows, first_row=part.first_row, first_leaf=part.first_row // LEAF_ROWS,
                      leaves=-(-part.rows // LEAF_ROWS)) for part in staged.parts]
        for done, (part, file) in enumerate(zip(parts, staged.parts, strict=True), start=1):
            receipts.check()
            _put(store, part.key, file.path, part.sha256)
            progress("publish", done, len(parts))
        digests = ArtifactRef(name="column digests", key=f"{prefix}/{COLUMN_DIGESTS_NAME}", sha256=staged.content.column_digests_digest)
        _put(store, digests.key, staged.column_digests_path, digests.sha256)
        facts.update(rows=staged.rows, parts=len(parts), prefix=f"{prefix}/")
    return StoredFiles(parts, digests)


def _put(store: ObjectStore, key: str, path: Path, sha256: str) -> None:
    if store.put_file(key, path) == "exists" and store.digest(key) != sha256:
        raise DatasetArtifactImmutabilityViolation(f"{store.uri(key)} holds different bytes than this run staged.", path=key,
                                                   fix="Find out who wrote it: only the run may write to its folder.")
