"""A published dataset, opened for use: nothing is handed out before its bytes were checked against the manifest (R12)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_feature_plane.arrow_types import arrow_type, decimals_as_floats
from offline_feature_plane.contracts.manifest import DatasetManifest, Part
from offline_feature_plane.corridor.learning import XY, Form, Text, Unknown, one_of, read_xy, stream_xy, want
from offline_feature_plane.corridor.libraries import need
from offline_feature_plane.corridor.retirement import Retirement, read_retirement
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.gaps import tell_gaps
from offline_feature_plane.errors import (
    DatasetNotFound,
    DatasetRetired,
    DigestMismatch,
    RefNotFound,
    SchemaInvalid,
    SourceColumnUnknown,
    StorageIoFailure,
)
from offline_feature_plane.ports import ObjectStore
from offline_feature_plane.threads import two_at_once

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl

Decimals = Literal["float", "exact"]


@dataclass(frozen=True)
class Dataset:
    """The rows of one manifest, in the total order of their events.

    Rows are read in the canonical order; `split` narrows them to one split. Decimal columns load as float64 unless `decimals="exact"`
    (`decisions.md` D28). The files were verified when this object was made; reading the same object again does not hash them again.
    `notices` say what its user should know, for example that it is incomplete, or was retired.
    """

    manifest: DatasetManifest
    files: tuple[Path, ...]
    notices: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The `dm_…` id."""
        return self.manifest.dataset_manifest_id

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(split.name for split in self.manifest.core.splits)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The feature columns, in order."""
        return tuple(column.name for column in self.manifest.core.columns if column.role == "feature")

    def __len__(self) -> int:
        """The number of rows over all splits."""
        return self.manifest.core.row_count

    def __repr__(self) -> str:
        """Id, rows and splits."""
        return f"<Dataset {self.id}: {len(self):,} rows, splits {', '.join(self.splits)}>"

    def batches(self, split: str | None = None, *, columns: Sequence[str] | None = None,
                decimals: Decimals = "float") -> Iterator[pa.RecordBatch]:
        """Stream the rows as Arrow batches; memory does not grow with the dataset.

        Raises:
            DatasetNotFound: no split of this name.
            SourceColumnUnknown: no column of this name.
            SchemaInvalid: `decimals` is neither `float` nor `exact`, or `columns` is one text.
        """
        one_of("decimals", decimals, Decimals)
        if isinstance(columns, str):
            raise SchemaInvalid(f"columns={columns!r} is a string, not a list of names.", fix=f"Say columns=[{columns!r}].", path="columns")
        self._known(split)
        names = [column.name for column in self.manifest.core.columns]
        wanted = list(columns) if columns is not None else names
        if unknown := [name for name in wanted if name not in names]:
            raise SourceColumnUnknown(f"dataset {self.id} has no column {', '.join(unknown)}.", fix=f"Its columns: {', '.join(names)}.")
        read = wanted if split is None or "split" in wanted else [*wanted, "split"]
        for path in self.files:
            for batch in self._read(path, read, split):
                kept = batch if split is None else batch.filter(pc.equal(batch.column("split"), pa.scalar(split)))
                if kept.num_rows or split is None:
                    yield _shaped(kept.select(wanted), decimals)

    def to_arrow(self, split: str | None = None, *, columns: Sequence[str] | None = None, decimals: Decimals = "float") -> pa.Table:
        """All rows, or those of one split, as an Arrow table."""
        found = list(self.batches(split, columns=columns, decimals=decimals))
        return pa.Table.from_batches(found, schema=found[0].schema if found else self._schema(columns, decimals))

    def to_pandas(self, split: str | None = None, *, columns: Sequence[str] | None = None, decimals: Decimals = "float") -> pd.DataFrame:
        """All rows, or those of one split, as a pandas frame. Needs the `pandas` extra."""
        need("pandas")
        return self.to_arrow(split, columns=columns, decimals=decimals).to_pandas()

    def to_polars(self, split: str | None = None, *, columns: Sequence[str] | None = None, decimals: Decimals = "float") -> pl.DataFrame:
        """All rows, or those of one split, as a Polars frame. Needs the `polars` extra."""
        polars = need("polars")
        frame: pl.DataFrame = polars.from_arrow(self.to_arrow(split, columns=columns, decimals=decimals))
        return frame

    def to_duckdb(self, split: str | None = None, *, connection: duckdb.DuckDBPyConnection | None = None,
                  decimals: Decimals = "float") -> duckdb.DuckDBPyRelation:
        """All rows, or those of one split, as a DuckDB relation on your connection or a new one.

        DuckDB reads the files when it is asked, only the columns and row groups that a query needs; no table is held in memory.
        """
        duck, arrow_dataset = need("duckdb"), need("pyarrow.dataset")
        one_of("decimals", decimals, Decimals)
        self._known(split)
        checked_pages = arrow_dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
        files = arrow_dataset.dataset([str(path) for path in self.files], self._schema(None, "exact"),
                                      arrow_dataset.ParquetFileFormat(default_fragment_scan_options=checked_pages))
        relation: duckdb.DuckDBPyRelation = (connection or duck.connect()).from_arrow(files)
        if split is not None:
            relation = relation.filter(duck.ColumnExpression("split") == duck.ConstantExpression(split))
        if decimals == "float":
            relation = relation.project(", ".join(_as_float(column.name, ColumnType.parse(column.type))
                                                  for column in self.manifest.core.columns))
        return relation

    def to_xy(self, split: str, *, groups: str | None = None, features: Sequence[str] | None = None, form: Form = "pandas",
              text: Text = "refuse", unknown: Unknown = "refuse") -> XY:
        """One split as scikit-learn takes it: `X, y, groups, weight, excluded`, row by row.

        Args:
            split: the split; which rows a model learns from is never left open.
            groups: the column whose values say which rows belong together, for `GroupKFold` and its like; it is then no feature.
            features: the feature columns to take; None for all.
            form: `pandas`, a frame with names, or `numpy`, a matrix.
            text: `refuse` features that are text, or make a `category` of each, with the same categories in every split.
            unknown: `refuse` a split with rows that have no target, or `exclude` and count them.

        Raises:
            DatasetNotFound: no split of this name. SourceColumnUnknown: no such column, or no target. SourceTypeMismatch: a feature that
                has no number. TruthFieldAsFeature: a label was named as a feature. NumericOverflow: an integer that float64 does not hold.
            CoveragePolicyViolation: rows without a target. EventSchemaMissingFields: rows without a group.
        """
        self._known(split)
        return read_xy(self, split, want(self, groups=groups, features=features, form=form, text=text), unknown)

    def xy_batches(self, split: str, *, groups: str | None = None, features: Sequence[str] | None = None, form: Form = "numpy",
                   text: Text = "refuse", unknown: Unknown = "refuse") -> Iterator[XY]:
        """The same, batch by batch; memory does not grow with the dataset. Arguments and errors are those of `to_xy`.

        With `unknown="exclude"`, a batch of which no row has a target comes without rows, only with their number.
        """
        self._known(split)
        return stream_xy(self, split, want(self, groups=groups, features=features, form=form, text=text), unknown)

    def _known(self, split: str | None) -> None:
        if split is not None and split not in self.splits:
            raise DatasetNotFound(f"dataset {self.id} has no split {split!r}.", fix=f"Its splits: {', '.join(self.splits)}.", split=split)

    def _read(self, path: Path, columns: Sequence[str], split: str | None) -> Iterator[pa.RecordBatch]:
        """The batches of one file that may hold rows of a split."""
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                yield from file.iter_batches(row_groups=_groups_of(file, split), columns=columns)
        except (OSError, pa.ArrowException) as wrong:
            raise DigestMismatch(f"the data file {path} of {self.id} was removed or changed after the dataset was opened: {wrong}.",
                                 path=str(path), fix="Open the dataset again: its files are checked then.") from wrong

    def _schema(self, columns: Sequence[str] | None, decimals: Decimals) -> pa.Schema:
        known = {column.name: ColumnType.parse(column.type) for column in self.manifest.core.columns}
        empty = pa.schema([pa.field(name, arrow_type(known[name])) for name in (columns if columns is not None else known)])
        return _shaped(pa.RecordBatch.from_pylist([], schema=empty), decimals).schema


def open_published(manifest: DatasetManifest, store: ObjectStore, scratch: Path) -> Dataset:
    """Open a published dataset for use; one that is incomplete, or retired with its data kept, says so in its notices (`decisions.md` D7).

    Raises:
        DatasetRetired: its data has expired. DigestMismatch: a file is gone, or not the published one.
    """
    where = (store, manifest.platform_run_id, manifest.dataset_manifest_id)
    retirement = refuse_expired(read_retirement(*where), manifest)
    try:
        opened = open_dataset(manifest, store, scratch)
    except DigestMismatch:
        refuse_expired(read_retirement(*where), manifest)  # the data may have been given up meanwhile
        raise
    lacking = [f"{opened.id} is incomplete: it lacks {tell_gaps(gaps)}."] if (gaps := manifest.core.declared_gaps) else []
    return replace(opened, notices=(*lacking, *([] if retirement is None else [f"{opened.id} was {retirement}."])))


def refuse_expired(retirement: Retirement | None, manifest: DatasetManifest) -> Retirement | None:
    """The retirement of a dataset whose data is kept, if it was retired. Raises DatasetRetired: its data has expired."""
    if retirement is not None and retirement.expiry is not None:
        raise DatasetRetired(f"{manifest.dataset_manifest_id} was {retirement}.", dataset_manifest_id=manifest.dataset_manifest_id,
                             fix="Its manifest, plan and receipts remain: `ofs show` shows them.")
    return retirement


def open_dataset(manifest: DatasetManifest, store: ObjectStore, scratch: Path) -> Dataset:
    """Check every data file of a manifest against its digest and open the dataset.

    Raises:
        DigestMismatch: a file is gone, or not the published one.
    """
    return Dataset(manifest, tuple(two_at_once(lambda part: checked_copy(part, store, scratch), manifest.evidence.parts)))


def checked_copy(part: Part, store: ObjectStore, work: Path) -> Path:
    """A local file with the bytes of a part, after its size and SHA-256 were compared with the manifest. Raises DigestMismatch."""
    name = store.uri(part.key)
    try:
        return checked(store.local_copy(part.key, work), part, name)
    except (RefNotFound, FileNotFoundError) as gone:
        raise DigestMismatch(f"the data file {name} of this manifest is missing.", fix="Restore it from a copy of the store.",
                             path=name) from gone
    except OSError as wrong:
        raise StorageIoFailure(f"the data file {name} cannot be read: {wrong.strerror or wrong}.", path=name,
                               fix="Check the disk, then run again.") from wrong


def checked(path: Path, part: Part, name: str) -> Path:
    """A file that has the size and the digest of a part. Raises DigestMismatch, OSError."""
    size, found = path.stat().st_size, file_digest(path)
    if (found, size) != (part.sha256, part.size_bytes):
        raise DigestMismatch(f"{name} has digest {found} and {size:,} bytes, but the manifest has {part.sha256} and {part.size_bytes:,}; "
                             "`ofs verify` shows where they differ.", path=name,
                             fix="The file was changed after publication: restore it from a copy of the store.")
    return path


def file_digest(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _groups_of(file: pq.ParquetFile, split: str | None) -> list[int]:
    """Row groups that can hold rows of a split, by the statistics of the split column."""
    everything = list(range(file.metadata.num_row_groups))
    if split is None:
        return everything
    position = file.schema_arrow.get_field_index("split")
    return [group for group in everything if _may_hold(file.metadata.row_group(group).column(position).statistics, split)]


def _may_hold(statistics: Any, value: str) -> bool:
    return statistics is None or not statistics.has_min_max or statistics.min <= value <= statistics.max


def _shaped(batch: pa.RecordBatch, decimals: Decimals) -> pa.RecordBatch:
    if decimals == "exact":
        return batch
    columns = [decimals_as_floats(column) if pa.types.is_decimal(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _as_float(name: str, kind: ColumnType) -> str:
    """A column in SQL, with decimals as `decimals_as_floats` gives them: DuckDB's own cast rounds differently beyond 2^53."""
    quoted, unit = '"' + name.replace('"', '""') + '"', 10 ** kind.scale
    if kind.kind != "decimal":
        return quoted
    return f"CAST(CAST(CAST({quoted} AS DECIMAL(38, {kind.scale})) * {unit} AS BIGINT) AS DOUBLE) / {unit} AS {quoted}"
