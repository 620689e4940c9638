"""`ofs verify`: are these the published bytes, and do they say what the manifest says? (`domain.md` §5, R12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from offline_feature_plane.contracts.manifest import ArtifactRef, DatasetManifest, Part
from offline_feature_plane.contracts.receipts import Phase
from offline_feature_plane.corridor.authenticity import Check, check_place, check_words, parse_manifest, same
from offline_feature_plane.corridor.damage import Damage, count_pages, inspect
from offline_feature_plane.corridor.dataset import checked
from offline_feature_plane.corridor.facts import look
from offline_feature_plane.corridor.retirement import NOT_RETIRED, Retirement, read_retirement
from offline_feature_plane.corridor.stage import digest_parts
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.columns import Column, ColumnType
from offline_feature_plane.domain.content import Difference, Leaf, locate_difference, read_column_digests
from offline_feature_plane.domain.gaps import DeclaredGap, describe_gaps
from offline_feature_plane.errors import DigestMismatch, IntegrityError, OfsError, OutsideError, RefNotFound, StorageIoFailure
from offline_feature_plane.ports import ObjectStore, Progress


@dataclass(frozen=True)
class FileReport:
    """One data file: what it should be, how many pages it has, and what is wrong with it."""

    key: str
    sha256: str
    size_bytes: int
    rows: int
    pages: int | None
    damages: tuple[Damage, ...] = ()

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "intact": not self.damages, "damages": [vars(damage) for damage in self.damages]}


@dataclass(frozen=True)
class Verification:
    """Every check of one dataset, in order; every data file, page by page; and the leaves whose rows are others than the promised ones.

    `dataset_manifest_id` is the one that was asked for: another's manifest may stand at its place. Of a dataset whose data has expired,
    only what is kept was checked. `lacks` is what the dataset is declared to lack of its basis: bytes can be intact, and the dataset
    incomplete.
    """

    dataset_manifest_id: str
    row_count: int
    leaves: int
    checks: tuple[Check, ...]
    files: tuple[FileReport, ...]
    differences: tuple[Difference, ...]
    retirement: Retirement | None
    lacks: tuple[DeclaredGap, ...] = ()

    @property
    def intact(self) -> bool:
        """Did every check pass?"""
        return all(check.passed for check in self.checks)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"dataset_manifest_id": self.dataset_manifest_id, "intact": self.intact, "rows": self.row_count, "leaves": self.leaves,
                **({"gaps": describe_gaps(self.lacks)} if self.lacks else {}),
                **(NOT_RETIRED if self.retirement is None else self.retirement.document()),
                "checks": [vars(check) for check in self.checks], "files": [file.document() for file in self.files],
                "differences": [vars(one) for one in self.differences]}


def verify(raw: bytes, key: str, store: ObjectStore, work: Path, progress: Progress) -> Verification:
    """Ask every question; a failed one does not stop the others.

    Args:
        raw: the manifest's stored bytes.
        key: where it is stored.
        store: where its artifacts are.
        work: a folder for local copies of remote files, and for writing a damaged file again; made if it is needed.
        progress: called as (step, done, total).

    Raises:
        ManifestInvalid: the bytes are not a manifest. StorageIoFailure: the store failed, so nothing can be said.
    """
    manifest = parse_manifest(raw, key)
    checks = [*check_words(manifest), *check_place(manifest, raw, key, store), *check_artifacts(manifest, store)]
    retirement, known = None, None
    try:
        retirement = read_retirement(store, manifest.platform_run_id, manifest.dataset_manifest_id)
        known = _column_digests(manifest, store)
    except OutsideError:
        raise
    except OfsError as wrong:
        checks.append(Check("what is said beside the manifest can be read", passed=False, detail=str(wrong)))
    files: list[FileReport] = []
    differences: tuple[Difference, ...] = ()
    if retirement is None or retirement.expiry is None:
        paths: list[Path] = []
        for number, part in enumerate(manifest.evidence.parts, start=1):
            files.append(_file(part, columns_of(manifest), store, known, work, paths))
            checks.append(Check(f"data file {number} of {len(manifest.evidence.parts)} has its digest", not files[-1].damages,
                                files[-1].damages[0].what if files[-1].damages else part.sha256))
            progress("hash", number, len(manifest.evidence.parts))
        if len(paths) == len(files):
            found, differences = _rows(manifest, paths, known, progress)
            checks.append(found)
    return Verification(PurePosixPath(key).stem, manifest.core.row_count, manifest.core.leaves, tuple(checks), tuple(files),
                        differences, retirement, manifest.core.declared_gaps)


def check_artifacts(manifest: DatasetManifest, store: ObjectStore) -> Iterator[Check]:
    """Do the plan, the column digests and the receipts have the recorded digests?"""
    receipts = manifest.evidence.receipts
    yield same("every phase has a receipt", sorted(receipt.name.removesuffix(" receipt") for receipt in receipts), sorted(get_args(Phase)))
    report = manifest.evidence.anomaly_report
    for ref in (manifest.evidence.plan, manifest.evidence.column_digests, *receipts, *([] if report is None else [report])):
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


def _column_digests(manifest: DatasetManifest, store: ObjectStore) -> tuple[Leaf, ...] | None:
    """The leaves of a dataset, if its column digests are the promised ones: where rows differ can be told by them."""
    data = look(store, manifest.evidence.column_digests.key)
    if data is None or sha256_of(data) != manifest.core.column_digests:
        return None
    return read_column_digests(data)[1]


def _file(part: Part, columns: tuple[Column, ...], store: ObjectStore, known: tuple[Leaf, ...] | None, work: Path,
          sound: list[Path]) -> FileReport:
    """What is to say about a data file; the path of one that is intact is added to `sound`. Raises StorageIoFailure."""
    report = FileReport(part.key, part.sha256, part.size_bytes, part.rows, None)
    try:
        path = store.local_copy(part.key, work)
        try:
            sound.append(checked(path, part, store.uri(part.key)))
        except DigestMismatch:
            return replace(report, damages=inspect(path, part, columns, known, work))
        return replace(report, pages=count_pages(path, part, columns))
    except (RefNotFound, FileNotFoundError):
        return replace(report, damages=(Damage("file", "it is missing"),))
    except OutsideError:
        raise
    except OfsError as refused:  # no store hands that out
        return replace(report, damages=(Damage("file", refused.what),))
    except OSError as wrong:
        raise StorageIoFailure(f"the data file {store.uri(part.key)} cannot be read: {wrong.strerror or wrong}.", path=part.key,
                               fix="Check the disk, then run again.") from wrong


def _rows(manifest: DatasetManifest, paths: list[Path], known: tuple[Leaf, ...] | None,
          progress: Progress) -> tuple[Check, tuple[Difference, ...]]:
    """Do the rows have the promised content, and if not, in which leaves and columns do they differ?"""
    name, columns = "the rows have the promised content digest", columns_of(manifest)
    progress("read", 0, manifest.core.row_count)
    try:
        content = digest_parts(columns, paths)
    except IntegrityError as wrong:
        return Check(name, passed=False, detail=wrong.what), ()
    progress("read", manifest.core.row_count, manifest.core.row_count)
    found = same(name, content.content_digest, manifest.core.content_digest)
    if found.passed or known is None:
        return found, ()
    return found, tuple(locate_difference([(column.name, column.type) for column in columns], known, content.leaves))
