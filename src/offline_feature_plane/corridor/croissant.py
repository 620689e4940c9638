"""A dataset in the words of Croissant 1.0, the metadata of MLCommons that catalogs, search engines and loaders read.

    manifest ──▶ sc:Dataset
    parts        ├─ distribution: one cr:FileObject with its SHA-256 each
    columns      ├─ recordSet rows: one cr:Field each, with meaning, lineage and availability
    splits       └─ recordSet splits, which the column `split` refers to

It says nothing that the manifest and its receipts do not say, so it is written when it is asked for and never stored: the same dataset
gives the same document, as long as it lies where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from offline_feature_plane.contracts.manifest import DatasetManifest, Part, SchemaColumn
from offline_feature_plane.contracts.model import validate
from offline_feature_plane.contracts.receipts import PhaseReceipt
from offline_feature_plane.corridor.dataset import refuse_expired
from offline_feature_plane.corridor.layout import manifest_key
from offline_feature_plane.corridor.retirement import Retirement, read_retirement
from offline_feature_plane.domain.canonical import load_json, sha256_of
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.gaps import tell_gaps
from offline_feature_plane.errors import DigestMismatch, RefNotFound
from offline_feature_plane.ports import ObjectStore

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
NO_LICENSE = "No license is stated."

# The context that the specification gives, so that loaders recognise every word.
CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{word: f"cr:{word}" for word in (
        "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes",
        "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace",
        "samplingRate", "separator", "source", "subField", "transform")},
}
_TYPES = {"bool": "sc:Boolean", "int8": "cr:Int8", "int16": "cr:Int16", "int32": "cr:Int32", "int64": "cr:Int64", "float64": "cr:Float64",
          "decimal": "sc:Float", "string": "sc:Text", "timestamp": "sc:DateTime"}
_SPLITS = {"train": "cr:TrainingSplit", "test": "cr:TestSplit", "validation": "cr:ValidationSplit", "valid": "cr:ValidationSplit"}


def describe(manifest: DatasetManifest, store: ObjectStore, *, license_: str | None = None) -> dict[str, Any]:
    """The JSON-LD document of a dataset.

    Args:
        manifest: authenticated.
        store: where it is; files are named by their place in it.
        license_: under what it may be used, best as an address; a manifest does not say it.

    Raises:
        DatasetRetired: its data has expired, so that there are no files to describe.
        DigestMismatch: the receipt that says when it was published is gone, or not the one that the manifest names.
    """
    core, dm_id = manifest.core, manifest.dataset_manifest_id
    retirement = refuse_expired(read_retirement(store, manifest.platform_run_id, dm_id), manifest)
    single = len(manifest.evidence.parts) == 1
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "@id": dm_id,
        "name": dm_id,
        "description": _about(manifest, retirement),
        "version": "1.0.0",  # a dataset never changes: another one has another id
        "identifier": [dm_id, manifest.dataset_fingerprint, core.content_digest],
        "url": store.uri(manifest_key(manifest.platform_run_id, dm_id)),
        "license": license_ or NO_LICENSE,
        "creator": {"@type": "Person", "name": _publisher(manifest)},
        "datePublished": _published(manifest, store),
        "isLiveDataset": False,
        "citeAs": f"{dm_id}, content {core.content_digest}, built by offline-feature-plane {manifest.provenance.ofs_code_release_id}",
        "distribution": [_file(number, part, store) for number, part in enumerate(manifest.evidence.parts, 1)],
        "recordSet": [_splits(manifest),
                      *(_rows("rows" if single else f"rows_{number}", f"part_{number}", part, core.columns)
                        for number, part in enumerate(manifest.evidence.parts, 1))],
    }


def _about(manifest: DatasetManifest, retirement: Retirement | None) -> str:
    core, labels = manifest.core, manifest.label_basis
    fit = "It is eligible for training." if core.eligibility.training_ready else "It is not for training."
    if (gaps := core.declared_gaps):
        fit += f" It is incomplete: it lacks {tell_gaps(gaps)}."
    if retirement is not None:
        fit = f"It was {retirement}."
    judged = "".join(f", those of split {name} as of {asof}" for name, asof in core.evaluation_asofs.items())
    return (f"A point-in-time dataset of {core.row_count:,} rows and {sum(one.role == 'feature' for one in core.columns)} features of "
            f"{manifest.feature_definition_set['feature_set_id']}@{manifest.feature_definition_set['feature_set_version']}. "
            f"Each row sees only what was known at its own instant; labels are as of {labels['label_asof_utc']}{judged} by the "
            f"rule {labels['resolution_rule']}. {fit}")


def _publisher(manifest: DatasetManifest) -> str:
    actor = manifest.evidence.publisher.get("actor")
    return str(actor.get("name")) if isinstance(actor, dict) else "unknown"


def _published(manifest: DatasetManifest, store: ObjectStore) -> str:
    """When the publishing run had staged everything, by its own receipt, which the manifest names."""
    ref = next(one for one in manifest.evidence.receipts if one.name == "publication receipt")
    try:
        data = store.get(ref.key)
    except RefNotFound:
        data = b""
    if sha256_of(data) != ref.sha256:
        raise DigestMismatch(f"the publication receipt {store.uri(ref.key)} is not the one that the manifest names.", path=ref.key,
                             fix="Restore it from a copy of the store.")
    return validate(PhaseReceipt, load_json(data, name=ref.key)).finished_at


def _file(number: int, part: Part, store: ObjectStore) -> dict[str, Any]:
    return {"@type": "cr:FileObject", "@id": f"part_{number}", "name": f"part_{number}",
            "description": f"Rows {part.first_row:,} to {part.first_row + part.rows:,} of the dataset, the last one not included.",
            "contentUrl": store.uri(part.key), "contentSize": f"{part.size_bytes} B", "encodingFormat": "application/x-parquet",
            "sha256": part.sha256.removeprefix("sha256:")}


def _rows(name: str, file: str, part: Part, columns: list[SchemaColumn]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": f"{part.rows:,} rows, in the total order of their events.",
            "key": [{"@id": f"{name}/{column.name}"} for column in columns if column.role == "id"],
            "field": [_field(name, file, column) for column in columns]}


def _field(rows: str, file: str, column: SchemaColumn) -> dict[str, Any]:
    said = [f"{column.role}: {column.meaning or column.name}", *([f"from {column.lineage}"] if column.lineage else []),
            *([f"known {column.availability}"] if column.availability else [])]
    field = {"@type": "cr:Field", "@id": f"{rows}/{column.name}", "name": column.name, "description": "; ".join(said),
             "dataType": _TYPES[ColumnType.parse(column.type).kind],
             "source": {"fileObject": {"@id": file}, "extract": {"column": column.name}}}
    return field | ({"references": {"field": {"@id": "splits/name"}}} if column.role == "split" else {})


def _splits(manifest: DatasetManifest) -> dict[str, Any]:
    """The splits by name; and by Croissant's own words, if it has one for each of them."""
    names = [split.name for split in manifest.core.splits]
    known = all(name in _SPLITS for name in names)

    def fields() -> Iterator[dict[str, Any]]:
        yield {"@type": "cr:Field", "@id": "splits/name", "name": "name", "description": "the name of the split", "dataType": "sc:Text"}
        if known:
            yield {"@type": "cr:Field", "@id": "splits/url", "name": "url", "description": "what the split is for", "dataType": "sc:URL"}

    return {"@type": "cr:RecordSet", "@id": "splits", "name": "splits", "description": "Half-open ranges of event time, disjoint.",
            "dataType": "cr:Split", "key": {"@id": "splits/name"}, "field": list(fields()),
            "data": [{"splits/name": name, **({"splits/url": _SPLITS[name]} if known else {})} for name in names]}
