"""DatasetManifest: the unit of truth about one dataset (`domain.md` §6, `decisions.md` D3).

A manifest is a document of three parts. The top level repeats what consumers of v0 manifests look for, under the same names. `core` is a
pure function of meaning and content: every run of the same meaning writes the same core. `evidence` describes the run
that published first: files, receipts, versions. The core digest covers everything but `evidence`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from offline_feature_plane.contracts.model import LEFT_OUT, NONE_LEFT_OUT, Contract
from offline_feature_plane.contracts.plan import BusRange, SourceKind, StoreMarker
from offline_feature_plane.domain.columns import NumericClass, Role
from offline_feature_plane.domain.gaps import DeclaredGap, gaps_of

Digest = str


class SchemaColumn(Contract):
    """One column of the dataset, as it is stored and digested."""

    name: str
    type: str
    role: Role
    nullable: bool
    numeric_class: NumericClass
    lineage: str
    identifier: str | None
    meaning: str
    availability: str


class SplitFacts(Contract):
    """One split: its half-open range of event time (None for the whole dataset), and how many rows of each class it holds.

    `label_asof_utc` is the label as-of of an evaluation split. Where it is that of the dataset it is not written out.
    """

    name: str
    start: str | None
    end: str | None
    label_asof_utc: Annotated[str | None, LEFT_OUT] = None
    rows: int
    positive: int
    negative: int
    unknown: int
    cold: int


class TypeCoverage(Contract):
    """How many mature subject rows have an answer of one label type (`decisions.md` D24)."""

    label_type: str
    subjects: int
    resolved: int
    not_found: int
    conflict: int


class Gate(Contract):
    """One deterministic check and its verdict."""

    gate: str
    verdict: Literal["PASS", "FAIL"]
    reason_code: str | None = None
    details: dict[str, JsonValue] = Field(default_factory=dict)


class Eligibility(Contract):
    """What the dataset may be used for, as earned by its gates (`decisions.md` D10).

    Which holder of a log proved its offsets is evidence: it may be another one when the dataset is computed again.
    """

    training_ready: bool
    complete: bool
    evidence_kind: Literal["log_offsets", "pinned_files"]
    reasons: list[str]


class Core(Contract):
    """What every run of this meaning must reproduce, bit for bit.

    `gaps` are what is declared to be missing of the basis; `rows_over_gaps` tells of each that is not read which events stand beside it,
    and how many rows it may matter to.
    """

    identity: dict[str, JsonValue]
    purpose: Literal["training", "non_training"]
    content_digest: Digest
    column_digests: Digest
    leaf_rows: int
    leaves: int
    events_digest: Digest
    label_slice_digest: Digest
    row_count: int
    columns: list[SchemaColumn]
    row_accounting: dict[str, int]
    splits: list[SplitFacts]
    coverage: list[TypeCoverage]
    labels: dict[str, JsonValue]
    replay: dict[str, Any]
    closure_digest: Digest
    closure: dict[str, JsonValue]
    gaps: Annotated[list[dict[str, JsonValue]], NONE_LEFT_OUT] = Field(default_factory=list)
    rows_over_gaps: Annotated[list[dict[str, JsonValue]], NONE_LEFT_OUT] = Field(default_factory=list)
    gates: list[Gate]
    warnings: list[str]
    eligibility: Eligibility
    registered: list[str]

    @property
    def declared_gaps(self) -> tuple[DeclaredGap, ...]:
        """What is declared to be missing of the basis."""
        return gaps_of(self.gaps)

    @property
    def evaluation_asofs(self) -> dict[str, str]:
        """The label as-of of each split that has one of its own, by its name."""
        return {split.name: split.label_asof_utc for split in self.splits if split.label_asof_utc is not None}


class Part(Contract):
    """One data file: rows `[first_row, first_row + rows)` of the dataset, which are `leaves` leaves of its content digest."""

    key: str
    sha256: Digest
    size_bytes: int
    rows: int
    first_row: int
    first_leaf: int
    leaves: int


class ArtifactRef(Contract):
    """A document in the store and its digest."""

    name: str
    key: str
    sha256: Digest


class SourceUsed(Contract):
    """Where one topic's events or one type's labels were read; `read_by` is the event source or label store, as `name@version`.

    `marker` says how far labels in a database were read (`decisions.md` D22), so that later ones below the cut can be told. `routes` say
    of each range of a log which stretch was read from the archive and which from the bus.
    """

    kind: SourceKind
    name: str
    read_by: str
    log_id: str
    files: list[str]
    marker: StoreMarker | None = None
    bus: list[BusRange] | None = None
    routes: Annotated[list[dict[str, JsonValue]], Field(exclude_if=lambda routes: not routes)] = Field(default_factory=list)


class Evidence(Contract):
    """About the run that published: never compared between runs.

    `anomaly_report` is there if something was found in a log that was read, or if two holders of one were compared. `label_sketches` holds
    per label type what a later comparison needs to name the assertions that changed (`domain.label_sketch`).
    """

    parts: list[Part]
    column_digests: ArtifactRef
    plan: ArtifactRef
    receipts: list[ArtifactRef]
    anomaly_report: Annotated[ArtifactRef | None, LEFT_OUT] = None
    engine: str
    versions: dict[str, str]
    profile: dict[str, JsonValue]
    meanings: dict[str, str]
    sources: list[SourceUsed]
    label_sketches: dict[str, str] = Field(default_factory=dict)
    publisher: dict[str, JsonValue]


class Provenance(Contract):
    """Which code and configuration the meaning is pinned to."""

    ofs_code_release_id: str
    policy_revision: str
    config_revision: str
    run_config_digest: Digest


class DatasetManifest(Contract):
    """The whole manifest, `learning.dataset_manifest.v1`."""

    schema_version: Literal["learning.dataset_manifest.v1"] = "learning.dataset_manifest.v1"
    dataset_manifest_id: str
    dataset_fingerprint: Digest
    platform_run_id: str
    scenario_run_ids: list[str]
    replay_basis: list[dict[str, JsonValue]]
    label_basis: dict[str, JsonValue]
    feature_definition_set: dict[str, JsonValue]
    provenance: Provenance
    core: Core
    evidence: Evidence



def document(manifest: DatasetManifest) -> dict[str, Any]:
    """The manifest as the JSON document that is stored, digested and read back."""
    return manifest.model_dump(mode="json")
