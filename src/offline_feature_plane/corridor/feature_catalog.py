"""The feature catalog: what each feature column is, of an intent before it is built or of a dataset that is published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from offline_feature_plane.contracts.manifest import DatasetManifest, SchemaColumn
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.domain.columns import Column
from offline_feature_plane.domain.rows import as_leaving


@dataclass(frozen=True)
class CataloguedFeature:
    """One feature column as it is stored, and what the profile's author says of it ("" if nothing)."""

    column: SchemaColumn
    said: str

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {**self.column.model_dump(mode="json", exclude={"role"}), "said": self.said}


def planned_features(planned: Planned) -> tuple[CataloguedFeature, ...]:
    """The features that an intent asks for, in the order of the dataset's columns."""
    closure = planned.task.closure
    said = closure.meanings()
    return tuple(CataloguedFeature(schema_column(as_leaving(column, planned.task)), said.get(column.name, ""))
                 for column in closure.columns())


def published_features(manifest: DatasetManifest) -> tuple[CataloguedFeature, ...]:
    """The features that a dataset holds, in the order of its columns."""
    return tuple(CataloguedFeature(column, manifest.evidence.meanings.get(column.name, ""))
                 for column in manifest.core.columns if column.role == "feature")


def schema_column(column: Column) -> SchemaColumn:
    """A column as manifests describe it."""
    return SchemaColumn(name=column.name, type=str(column.type), role=column.role, nullable=column.nullable,
                        numeric_class=column.numeric_class, lineage=column.lineage, identifier=column.identifier,
                        meaning=column.meaning, availability=column.availability)
