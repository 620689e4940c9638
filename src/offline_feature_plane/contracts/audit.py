"""LeakageAudit: what `ofs audit` examined of a dataset, and what it found. A report beside it, never a gate (`decisions.md` D26)."""

from __future__ import annotations

from typing import Annotated, Literal

from offline_feature_plane.contracts.model import LEFT_OUT, Contract
from offline_feature_plane.domain.columns import Role
from offline_feature_plane.domain.proofs import Verdict
from offline_feature_plane.domain.visibility import Visibility


class AuditLimits(Contract):
    """How closely was looked."""

    seed: str
    permutations: int
    most_rows: int
    suspicious: float
    drifted: float


class AuditedSplit(Contract):
    """What of a split was examined; `unprobed` says why no column could be held against the target there.

    `label_asof_utc` is that of an evaluation split. Where it is that of the dataset it is not written out.
    """

    name: str
    label_asof_utc: Annotated[str | None, LEFT_OUT] = None
    rows: int
    examined: int
    positive: int
    negative: int
    unprobed: str | None


class ColumnProof(Contract):
    """What the latest instant is that a column can depend on, by the manifest and the feature closure."""

    name: str
    role: Role
    lineage: str
    meaning: str
    availability: str
    window: str
    delay_us: int | None
    latest: str
    verdict: Verdict
    rests_on: list[str]


class SplitProbe(Contract):
    """One feature column in one split."""

    split: str
    null_share: float | None
    area: float | None
    area_by_chance: float | None
    suspicious: bool
    distance: float | None
    drifted: bool


class ColumnProbe(Contract):
    """One feature column alone: how well it predicts the target, and how far its values moved."""

    name: str
    type: str
    splits: list[SplitProbe]


class LeakageAudit(Contract):
    """The whole report, `learning.ofs_leakage_audit.v1`: the proof of each column, and what each feature shows by itself.

    Of one dataset, with the same limits, it is always the same. Columns stand in the order of the dataset.
    """

    schema_version: Literal["learning.ofs_leakage_audit.v1"] = "learning.ofs_leakage_audit.v1"
    dataset_manifest_id: str
    dataset_fingerprint: str
    content_digest: str
    label_asof_utc: str
    visibility: Visibility
    limits: AuditLimits
    reference_split: str
    splits: list[AuditedSplit]
    proofs: list[ColumnProof]
    probes: list[ColumnProbe]
    suspicious: list[str]
    drifted: list[str]
    reason_codes: list[str]
    notices: list[str]
