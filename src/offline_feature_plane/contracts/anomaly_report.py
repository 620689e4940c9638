"""What was found wrong in the logs of one attempt's replay (`learning.ofs_replay_anomaly_report.v1`, `domain.md` §1.3).

Kept beside the receipts of the attempt, however it ended; the manifest's evidence, or the failure receipt, names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from offline_feature_plane.contracts.model import NONE_LEFT_OUT, Contract
from offline_feature_plane.domain.cutover import Feasibility, Route, VerifyOverlap
from offline_feature_plane.domain.findings import Finding, conflicts_of
from offline_feature_plane.domain.gaps import DeclaredGap, describe_gaps

ANOMALY_REPORT = "anomaly report"


class ReplayAnomalyReport(Contract):
    """How each range was read, what was compared, and what was found: counts by reason, then each reason in each partition.

    INCOMPLETE where something is declared to be missing (`gaps`), where holders of a log disagree, or where reading ended with an error
    before the end of the basis was reached.
    """

    schema_version: Literal["learning.ofs_replay_anomaly_report.v1"] = "learning.ofs_replay_anomaly_report.v1"
    platform_run_id: str
    dataset_manifest_id: str
    purpose: Literal["training", "non_training"]
    status: Literal["COMPLETE", "INCOMPLETE"]
    feasibility: Feasibility
    verify_overlap: VerifyOverlap | None
    compared: int
    conflicts: int
    counts: dict[str, int]
    findings: list[dict[str, JsonValue]]
    gaps: Annotated[list[dict[str, JsonValue]], NONE_LEFT_OUT] = Field(default_factory=list)
    routes: list[dict[str, JsonValue]]
    error: dict[str, JsonValue] | None


def anomaly_report(platform_run_id: str, dm_id: str, purpose: Any, *, routes: Sequence[Route], feasibility: Feasibility,
                   findings: Sequence[Finding], compared: int, gaps: Sequence[DeclaredGap] = (),
                   verify_overlap: VerifyOverlap | None = None, error: dict[str, Any] | None = None) -> ReplayAnomalyReport:
    """The report of one replay; `error` is how it ended, if not at the end of the basis."""
    counts: Counter[str] = Counter()
    for one in findings:
        counts[one.reason] += one.count
    conflicts = sum(one.count for one in conflicts_of(findings))
    return ReplayAnomalyReport(
        platform_run_id=platform_run_id, dataset_manifest_id=dm_id, purpose=purpose, feasibility=feasibility,
        status="INCOMPLETE" if gaps or conflicts or error is not None else "COMPLETE", verify_overlap=verify_overlap, compared=compared,
        conflicts=conflicts, counts=dict(sorted(counts.items())), findings=[one.describe() for one in findings],
        gaps=describe_gaps(gaps), routes=[one.describe() for one in routes], error=error)
