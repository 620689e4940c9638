"""What an audit looks like as text: the worst first, and short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from offline_feature_plane.cli.output import style, table
from offline_feature_plane.errors import LeakagePolicyViolation, LeakageSuspected, RefusedError

if TYPE_CHECKING:
    from offline_feature_plane.contracts.audit import ColumnProof, LeakageAudit, SplitProbe

MOST_LINES = 10


def audit(report: LeakageAudit) -> str:
    """What was examined, what is not proved, and the columns that tell most or moved most."""
    examined = ", ".join(f"{split.examined:,} of {split.rows:,} rows of {split.name}"
                         + ("" if split.label_asof_utc is None else f" (labels as of {split.label_asof_utc})") for split in report.splits)
    limits = report.limits
    lines = [f"{style(report.dataset_manifest_id, 'bold')}  {examined}; seed {limits.seed}, {limits.permutations} permutations",
             *(f"{style('warning', 'yellow')}: {notice}" for notice in report.notices),
             "", *_proofs(report.proofs), "", *_suspicions(report), "", *_drift(report)]
    return "\n".join(lines)


def refusal(report: LeakageAudit) -> RefusedError:
    """Why a strict audit refuses: a broken proof before a suspicion."""
    unproved = [proof.name for proof in report.proofs if proof.verdict == "UNPROVED"]
    if unproved:
        return LeakagePolicyViolation(f"{', '.join(unproved)} of {report.dataset_manifest_id}: the proof does not hold.",
                                      fix="Do not train on it: find out how it was made, and build it again.")
    return LeakageSuspected(f"{', '.join(report.suspicious)} of {report.dataset_manifest_id} predicts the target on its own.")


def _proofs(proofs: list[ColumnProof]) -> Iterator[str]:
    proved = sum(proof.verdict == "PROVED" for proof in proofs)
    yield f"proved      {proved} of {len(proofs)} columns depend on nothing after their row, labels on nothing after the as-of"
    told: dict[tuple[str, str], list[str]] = {}
    for proof in sorted(proofs, key=lambda one: one.verdict != "UNPROVED"):
        for reason in proof.rests_on:
            told.setdefault((proof.verdict, reason), []).append(proof.name)
    for (verdict, reason), names in list(told.items())[:MOST_LINES]:
        more = f" and {len(names) - MOST_LINES} more" if len(names) > MOST_LINES else ""
        yield f"{style(verdict.lower().ljust(10), 'red' if verdict == 'UNPROVED' else 'yellow')}  {reason}"
        yield f"            {', '.join(names[:MOST_LINES])}{more}"
    if len(told) > MOST_LINES:
        yield f"            and {len(told) - MOST_LINES} more reasons; `--json` lists them all"


def _suspicions(report: LeakageAudit) -> Iterator[str]:
    """The features that separate best alone, beyond what chance gives; the rest stands in `--json`."""
    for split in report.splits:
        if split.unprobed:
            yield f"no feature was held against the target in {split.name}: {split.unprobed}"
    worst = _worst(report, lambda one: None if one.area is None or one.area_by_chance is None else
                   (one.suspicious, abs(one.area - 0.5) - abs(one.area_by_chance - 0.5)))
    if not worst:
        return
    limit = report.limits.suspicious
    yield (f"{style('suspicious', 'red')}  {', '.join(report.suspicious)}: when did these values become known?" if report.suspicious else
           f"suspicious  none of {len(report.probes)} features: alone, none has an area of {limit} (or {1 - limit:.3g}) beyond chance")
    yield table(["feature", "split", "area", "by chance", "null", ""],
                [[name, one.split, _number(one.area), _number(one.area_by_chance), _share(one), "suspicious" if one.suspicious else ""]
                 for name, one in worst[:MOST_LINES]], right=frozenset({2, 3, 4}))


def _drift(report: LeakageAudit) -> Iterator[str]:
    """The features that moved most."""
    worst = _worst(report, lambda one: None if one.distance is None else (one.drifted, one.distance))
    if not worst:
        yield "drift       there is no second split with rows to compare with"
        return
    nulls = {probe.name: next(one for one in probe.splits if one.split == report.reference_split) for probe in report.probes}
    yield (f"drift       {len(report.drifted)} of {len(report.probes)} features moved by {report.limits.drifted} or more "
           f"from {report.reference_split}")
    yield table(["feature", "split", "distance", "null", f"null in {report.reference_split}"],
                [[name, one.split, _number(one.distance), _share(one), _share(nulls[name])] for name, one in worst[:MOST_LINES]],
                right=frozenset({2, 3, 4}))


def _worst(report: LeakageAudit, weigh: Callable[[SplitProbe], tuple[bool, float] | None]) -> list[tuple[str, SplitProbe]]:
    """Of each feature the split that weighs most, the heaviest first; those without a weight are left out."""
    found = []
    for probe in report.probes:
        weights = [(weight, one) for one in probe.splits if (weight := weigh(one)) is not None]
        if weights:
            weight, one = max(weights, key=lambda each: each[0])
            found.append((weight, probe.name, one))
    return [(name, one) for _, name, one in sorted(found, key=lambda each: each[0], reverse=True)]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _share(one: SplitProbe) -> str | None:
    return None if one.null_share is None else f"{one.null_share:.1%}"
