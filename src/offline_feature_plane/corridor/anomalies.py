"""What a replay found wrong in its logs: kept as a report, and judged for the purpose of the build (`domain.md` §1.3, `domain.outcomes`).

Where two holders of a coordinate disagree and that ends no build of this use, the archive's record counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from offline_feature_plane.contracts.anomaly_report import ANOMALY_REPORT, anomaly_report
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.receipts import Receipts
from offline_feature_plane.domain.findings import Finding
from offline_feature_plane.domain.gates import judge_overlap
from offline_feature_plane.domain.outcomes import is_refused
from offline_feature_plane.errors import OfsError, ReplayBasisMismatch
from offline_feature_plane.ports import EngineSession, ReplayFacts

__all__ = ["read_and_report", "refuse_conflicts"]

_ADVICE = ("Find out which of the two is true{report}, and mend the other: archive the records anew from the bus, or wait until the bus "
           "has let them go.")


def read_and_report(session: EngineSession, planned: Planned, receipts: Receipts) -> ReplayFacts:
    """Replay the events of a plan; what was found on the way is kept, also when that ends with an error.

    Raises:
        ReplayBasisMismatch: two holders of a log disagree, which ends a build of this use. OfsError: as the engine.
    """
    try:
        replayed = session.replay(planned.events)
    except OfsError as wrong:
        if told := wrong.fields.get("findings"):
            report = _keep(planned, receipts, [Finding.from_document(one) for one in told], 0, error=wrong.describe())
            if report is not None:
                wrong.fix = f"{wrong.fix} What was found until then is in the anomaly report, {report}.".lstrip()
                wrong.fields["anomaly_report"] = report
        raise
    report = None
    if replayed.findings or replayed.compared or planned.completeness.gaps:
        report = _keep(planned, receipts, replayed.findings, replayed.compared)
    refuse_conflicts(planned, replayed, report)
    return replayed


def refuse_conflicts(planned: Planned, replayed: ReplayFacts, report: str | None = None) -> None:
    """A training is never built from a log about which two holders disagree; `report` is where it is told. Raises ReplayBasisMismatch."""
    gate = judge_overlap(replayed.findings, replayed.compared)
    if gate.passed or not is_refused(planned.use, "holders_disagree"):
        return
    raise ReplayBasisMismatch("; ".join(gate.sentences) + ".", path=str(gate.details["places"][0]),
                              fix=_ADVICE.format(report="" if report is None else f", with the anomaly report {report}"),
                              findings=[one.describe() for one in replayed.findings], gates=[gate.describe()],
                              **({} if report is None else {"anomaly_report": report}))


def _keep(planned: Planned, receipts: Receipts, findings: Sequence[Finding], compared: int, *,
          error: Mapping[str, Any] | None = None) -> str | None:
    """Keep the report, if this attempt keeps anything, and say where."""
    verdict = planned.completeness
    report = anomaly_report(
        planned.platform_run_id, planned.dm_id, planned.pins.identity["purpose"], routes=verdict.routes, feasibility=verdict.feasibility,
        gaps=verdict.gaps, findings=findings, compared=compared,
        error=None if error is None else {name: error[name] for name in ("code", "what", "path")},
        verify_overlap=next((one.verify_overlap for one in planned.plan.sources if one.verify_overlap is not None), None))
    receipts.keep(ANOMALY_REPORT, report.model_dump(mode="json"))
    return next((one.key for one in reversed(receipts.written) if one.name == ANOMALY_REPORT), None)
