"""The JSON Schemas of all contracts, generated from the models; the files in `contracts/schemas/` are their committed text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from offline_feature_plane.contracts.anomaly_report import ReplayAnomalyReport
from offline_feature_plane.contracts.archive_index import ArchiveIndex
from offline_feature_plane.contracts.archive_record import ArchiveEventRecord
from offline_feature_plane.contracts.assertions import LabelAssertion
from offline_feature_plane.contracts.audit import LeakageAudit
from offline_feature_plane.contracts.facts import DataExpiry, DatasetPointer, DatasetRetirement, DatasetSupersession, Vow
from offline_feature_plane.contracts.intent import BuildIntent
from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.contracts.plan import BuildPlan
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.contracts.profile import FeatureProfile
from offline_feature_plane.contracts.receipts import FailureReceipt, PhaseReceipt, QuarantineReceipt, RunReceipt
from offline_feature_plane.contracts.replay_receipt import ReplayCompletenessReceipt
from offline_feature_plane.contracts.run_facts import RunFacts
from offline_feature_plane.contracts.short_intent import ShortIntent
from offline_feature_plane.contracts.training_profile import TrainingProfile

__all__ = ["SCHEMAS", "schema_texts", "without_citations"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_CITATION = re.compile(r"\s*\((?:[^()]*`(?:domain|decisions|features)\.md`[^()]*|[DR][0-9]+(?:, [DR][0-9]+)*)\)")

SCHEMAS: dict[str, type[BaseModel]] = {
    "learning.ofs_build_intent.v1": BuildIntent,
    "learning.ofs_build_intent_short.v1": ShortIntent,
    "learning.ofs_plane_settings.v1": Settings,
    "learning.ofs_feature_profile.v1": FeatureProfile,
    "learning.ofs_run_facts_view.v1": RunFacts,
    "learning.archive_event_record.v1": ArchiveEventRecord,
    "learning.archive_segment_index.v1": ArchiveIndex,
    "learning.label_assertion.v1": LabelAssertion,
    "learning.ofs_resolved_build_plan.v1": BuildPlan,
    "learning.ofs_replay_completeness_receipt.v1": ReplayCompletenessReceipt,
    "learning.ofs_replay_anomaly_report.v1": ReplayAnomalyReport,
    "learning.ofs_phase_receipt.v1": PhaseReceipt,
    "learning.ofs_run_receipt.v1": RunReceipt,
    "learning.ofs_failure_receipt.v1": FailureReceipt,
    "learning.ofs_quarantine_receipt.v1": QuarantineReceipt,
    "learning.dataset_manifest.v1": DatasetManifest,
    "learning.ofs_commit_record.v1": Vow,
    "learning.ofs_dataset_pointer.v1": DatasetPointer,
    "learning.ofs_dataset_retirement.v1": DatasetRetirement,
    "learning.ofs_dataset_data_expiry.v1": DataExpiry,
    "learning.ofs_dataset_supersession.v1": DatasetSupersession,
    "learning.ofs_training_profile.v1": TrainingProfile,
    "learning.ofs_leakage_audit.v1": LeakageAudit,
}


@cache
def schema_texts() -> Mapping[str, str]:
    """File name and text of every schema, as they are in `contracts/schemas/`."""
    return {f"{name}.json": json.dumps({"$schema": DIALECT, "$id": name, **_for_readers(model.model_json_schema())}, indent=2,
                                       ensure_ascii=False) + "\n" for name, model in SCHEMAS.items()}


def without_citations(text: str) -> str:
    """A docstring without the laws that it cites for those who read the code.

    >>> without_citations("Whose events become rows (`decisions.md` D17). One or many (D18).")
    'Whose events become rows. One or many.'
    """
    return _CITATION.sub("", text)


def _for_readers(node: Any) -> Any:
    """A schema whose descriptions cite nothing."""
    if isinstance(node, list):
        return [_for_readers(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {key: without_citations(value) if key == "description" and isinstance(value, str) else _for_readers(value)
            for key, value in node.items()}
