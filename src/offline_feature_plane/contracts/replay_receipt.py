"""The completeness receipt of a replay (`learning.ofs_replay_completeness_receipt.v1`, `domain.md` §1.4).

A build that is refused for completeness carries it in the error, and leaves it in the store (`docs/decisions/0013`). Another one keeps it
in the receipt of its replay. It may be compared, for it carries no clock.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from offline_feature_plane.contracts.model import NONE_LEFT_OUT
from offline_feature_plane.domain.basis import Range, Selector, describe_basis
from offline_feature_plane.domain.canonical import digest
from offline_feature_plane.domain.completeness import Completeness
from offline_feature_plane.domain.cutover import Feasibility
from offline_feature_plane.domain.instants import format_instant

REPLAY_RECEIPT_SCHEMA: Literal["learning.ofs_replay_completeness_receipt.v1"] = "learning.ofs_replay_completeness_receipt.v1"


class ReplayCompletenessReceipt(BaseModel):
    """What the basis asked for, which segments prove it, which tables there are beside them, and what is missing or contradictory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["learning.ofs_replay_completeness_receipt.v1"] = REPLAY_RECEIPT_SCHEMA
    platform_run_id: str
    status: Literal["COMPLETE", "INCOMPLETE"]
    evidence_kind: Literal["broker_read", "archive_chain", "pinned_files"]
    feasibility: Feasibility = "FEASIBLE"
    interval: Literal["half_open"] = "half_open"
    basis_digest: str
    selectors: list[dict[str, JsonValue]]
    ranges: list[dict[str, JsonValue]]
    gaps: Annotated[list[dict[str, JsonValue]], NONE_LEFT_OUT] = []
    tables: list[dict[str, JsonValue]] = []
    anomalies: list[dict[str, JsonValue]]
    totals: dict[str, int]


def completeness_receipt(platform_run_id: str, verdict: Completeness,
                         resolved: tuple[tuple[Selector, tuple[Range, ...]], ...] = ()) -> ReplayCompletenessReceipt:
    """The receipt of a verdict; `resolved` are the time selectors and what each became (`decisions.md` D16)."""
    selectors: list[dict[str, Any]] = [
        {"topic": selector.topic, "from_utc": format_instant(selector.from_us), "to_utc": format_instant(selector.to_us),
         "ranges": describe_basis(ranges)} for selector, ranges in resolved]
    tables = [{"topic": table.topic, "log_id": table.log_id} for table in verdict.tables]
    basis_digest = digest("ofs.replay_basis.v1", [*tables, *describe_basis(verdict.ranges)])
    return ReplayCompletenessReceipt(platform_run_id=platform_run_id, basis_digest=basis_digest, selectors=selectors, **verdict.describe())
