"""Label timelines in PostgreSQL: pinned by how far their log reaches below the cut, read into a file when a build wants them (D22)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from offline_feature_plane.contracts.plan import SourcePlan, StoreMarker
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.domain.identity import stored_labels_log_id
from offline_feature_plane.filesets import pin_files
from offline_feature_plane.labelstores.mapping import LabelMapping, mapping_from
from offline_feature_plane.labelstores.postgres.reading import measure, write_file
from offline_feature_plane.ports.inputs import LabelColumns, LabelTable
from offline_feature_plane.postgres.address import LABEL_SCHEMA, Address, address_from


class PostgresLabelStore:
    """Pins timelines in label stores on PostgreSQL; each label type may be in one of its own."""

    name = "postgres"
    version = "1"

    def __init__(self, mappings: Mapping[str, tuple[LabelMapping, Address]]) -> None:
        self._mappings = mappings

    @classmethod
    def of(cls, settings: Settings) -> PostgresLabelStore:
        """The store of those of a plane's `labels:` that name one."""
        return cls({label_type: (mapping_from(one.document(), label_type), address_from(one.store, LABEL_SCHEMA))
                    for label_type, one in settings.labels.items() if one.store is not None})

    @property
    def label_types(self) -> Collection[str]:
        """The label types that are mapped."""
        return self._mappings.keys()

    def pin(self, label_types: Sequence[str], asof_us: int) -> list[PinnedAssertions]:
        """Find out how far the logs of some types reach below a cut; those of one store at one moment. Raises as `reading.measure`."""
        together: dict[Address, list[str]] = {}
        for label_type in label_types:
            together.setdefault(self._mappings[label_type][1], []).append(label_type)
        markers = {name: marker for address, names in together.items() for name, marker in measure(address, names, asof_us).items()}
        return [PinnedAssertions(address, LabelColumns(**{column.name: getattr(mapping, column.name) for column in fields(LabelColumns)}),
                                 asof_us, markers[label_type])
                for label_type in label_types for mapping, address in [self._mappings[label_type]]]

    def truth_columns(self, files: Collection[Path]) -> frozenset[str]:  # noqa: ARG002 - no table of events is in a label store
        """No column of any file."""
        return frozenset()


@dataclass(frozen=True)
class PinnedAssertions:
    """A `PinnedLabels` in a label store: the assertions up to `marker` that had been observed at `asof_us`. They are there for ever."""

    address: Address
    columns: LabelColumns
    asof_us: int
    marker: StoreMarker

    @property
    def label_type(self) -> str:
        """The type's name in plane.yaml."""
        return self.columns.label_type

    @property
    def log_id(self) -> str:
        """The digest of which log it is and how far it reaches below the cut: what is appended above changes nothing."""
        return stored_labels_log_id(self.label_type, self.asof_us, self.marker.store_id, self.marker.position, self.marker.assertions)

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """Unknown: a store takes any value."""
        return self.columns.vocabulary

    def describe(self, read_by: str) -> SourcePlan:
        """As `PinnedLabels.describe`: no files, but the marker."""
        return SourcePlan(name=self.label_type, kind="labels", read_by=read_by, log_id=self.log_id, files=[], ranges=[], marker=self.marker)

    def reading(self, folder: Path) -> LabelTable:
        """As `PinnedLabels.reading`: one Parquet file, written in one snapshot and pinned by its digest."""
        path = folder / f"{self.label_type}.labels.parquet"
        write_file(self.address, self.label_type, self.asof_us, self.marker, path)
        files = pin_files(path, may_be_empty=True)
        meaning = {column.name: getattr(self.columns, column.name) for column in fields(LabelColumns)}
        return LabelTable(log_id=self.log_id, form=files.form, files=files.files, columns=files.columns, **meaning)
