"""`ofs audit`: what bounds each column, and what each feature shows by itself (`decisions.md` D26).

A report beside a dataset, never a gate: nothing that is found is raised, and nothing is written.
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from offline_feature_plane.contracts.audit import AuditedSplit, AuditLimits, ColumnProof, LeakageAudit
from offline_feature_plane.contracts.manifest import Core, SchemaColumn
from offline_feature_plane.corridor.dataset import Dataset
from offline_feature_plane.corridor.probing import Examined, draw_sample, probe_column
from offline_feature_plane.domain.closure_documents import closure_from
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.proofs import Grounds, Proof, prove_features, prove_label
from offline_feature_plane.domain.suspicion import Probe
from offline_feature_plane.errors import LeakagePolicyViolation, LeakageSuspected
from offline_feature_plane.ports import Progress

__all__ = ["audit"]


def audit(dataset: Dataset, probe: Probe, progress: Progress) -> LeakageAudit:
    """Prove what the manifest proves, and look at every feature column by itself.

    Args:
        dataset: opened, so that its files are the published ones.
        probe: how closely to look.
        progress: called as (step, done, total).

    Raises:
        DigestMismatch: a file changed meanwhile.
    """
    manifest, core = dataset.manifest, dataset.manifest.core
    sample, names = draw_sample(dataset, probe), dataset.feature_names
    reference = "train" if "train" in dataset.splits else dataset.splits[0]
    probes = []
    for done, name in enumerate(names):
        progress("probe", done, len(names))
        probes.append(probe_column(dataset, name, sample, reference, probe))
    progress("probe", len(names), len(names))
    suspicious = [one.name for one in probes if any(split.suspicious for split in one.splits)]
    proofs = _proofs(dataset)
    is_broken = any(proof.verdict == "UNPROVED" for proof in proofs)
    return LeakageAudit(
        dataset_manifest_id=manifest.dataset_manifest_id, dataset_fingerprint=manifest.dataset_fingerprint,
        content_digest=core.content_digest, label_asof_utc=str(core.labels["label_asof_utc"]), visibility=core.replay["visibility"],
        limits=AuditLimits(**vars(probe)), reference_split=reference,
        splits=[_split(facts.name, facts.rows, examined, core) for facts, examined in zip(core.splits, sample.splits, strict=True)],
        proofs=proofs, probes=probes, suspicious=suspicious,
        drifted=[one.name for one in probes if any(split.drifted for split in one.splits)],
        reason_codes=[*([LeakagePolicyViolation.code] if is_broken else []), *([LeakageSuspected.code] if suspicious else [])],
        notices=list(dataset.notices))


def _split(name: str, rows: int, examined: Examined, core: Core) -> AuditedSplit:
    has_target = any(column.role == "target" for column in core.columns)
    why = ("the dataset has no target" if not has_target else "no row is known to be positive or negative" if not len(examined.known) else
           "no row is positive" if not examined.positives else "no row is negative" if not examined.negatives else None)
    return AuditedSplit(name=name, label_asof_utc=core.evaluation_asofs.get(name), rows=rows, examined=len(examined.chosen),
                        positive=examined.positives, negative=examined.negatives, unprobed=why)


def _proofs(dataset: Dataset) -> list[ColumnProof]:
    """The proof of each column that is a feature, a label or the target."""
    core = dataset.manifest.core
    identity: dict[str, Any] = core.identity
    subject = identity["subject"]["source"]
    labels: dict[str, Any] = core.labels
    grounds = Grounds(closure_from(core.closure, subject), subject,
                      frozenset(table["topic"] for table in identity["replay_basis"]["tables"]),
                      {name: facts["assumed_delay_us"] for name, facts in labels["per_type"].items()
                       if facts.get("assumed_delay_us") is not None},
                      labels["label_asof_utc"], core.evaluation_asofs)
    features = prove_features(grounds, {column.name: column.lineage for column in core.columns if column.role == "feature"})
    target: dict[str, Any] = identity.get("target") or {"types": {}}
    learned: list[str] = sorted(target["types"]) if "types" in target else [target["label_type"]]
    latest = {column.name: {split: _latest(dataset, column.name, split) for split in dataset.splits}
              for column in core.columns if column.name.endswith("__observed_time")}
    found = []
    for column in core.columns:
        if column.role == "feature":
            found.append(_told(column, features[column.name]))
        elif column.role in {"label", "target"}:
            label_types = learned if column.role == "target" else [column.name.rpartition("__")[0]]
            found.append(_told(column, prove_label(grounds, {name: latest.get(f"{name}__observed_time", {}) for name in label_types})))
    return found


def _latest(dataset: Dataset, name: str, split: str) -> str | None:
    """The latest instant of a column in a split, as text."""
    found = (pc.max(batch.column(0).cast("int64")).as_py() for batch in dataset.batches(split, columns=[name]))
    most = [us for us in found if us is not None]
    return format_instant(max(most)) if most else None


def _told(column: SchemaColumn, proof: Proof) -> ColumnProof:
    return ColumnProof(name=column.name, role=column.role, lineage=column.lineage, meaning=column.meaning,
                       availability=column.availability, window=proof.window, delay_us=proof.delay_us, latest=proof.latest,
                       verdict=proof.verdict, rests_on=list(proof.rests_on))
