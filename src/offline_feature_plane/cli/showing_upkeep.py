"""What the answers of the keeping commands look like as text: retirements, collections, checks of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offline_feature_plane.cli.output import headline, size, style, table
from offline_feature_plane.domain.identity import run_key as key_of

if TYPE_CHECKING:
    from offline_feature_plane.corridor.collection import Collection, Item
    from offline_feature_plane.corridor.ledger_check import LedgerReport
    from offline_feature_plane.corridor.rebuilding import Rebuilding
    from offline_feature_plane.corridor.retirement import Retired


def retired(answer: Retired) -> str:
    """What stands now, and what stood before."""
    lines = [f"{style('✓', 'green')} {style(answer.dataset_manifest_id, 'bold')} was {answer.retirement}"]
    if answer.retirement.expiry is not None:
        lines.append("  `ofs gc --apply` deletes its data files")
    return "\n".join([*lines, *(f"{style('notice', 'yellow')}: {notice}" for notice in answer.notices)])


def collection(found: Collection) -> str:
    """What is or would be deleted, what is kept and why, and what is doubtful."""
    garbage, doubtful = found.of("garbage"), found.of("doubtful")
    lines = []
    if garbage:
        lines += [table(["deleted" if found.applied else "to delete", "bytes", "why"], _rows(garbage), right=frozenset({1})), ""]
    if kept := found.of("kept"):
        lines += [table(["kept", "bytes", "why"], _rows(kept), right=frozenset({1})), ""]
    if doubtful:
        lines += [table([style("doubtful", "yellow"), "bytes", "why"], _rows(doubtful), right=frozenset({1})), ""]
    total = size(sum(item.size_bytes for item in garbage if item.removed or not found.applied))
    if not garbage:
        lines.append("Nothing to delete.")
    elif found.applied:
        lines.append(f"{style('✓', 'green')} deleted {sum(item.removed for item in garbage)} of these, {total}")
    else:
        lines.append(f"{len(garbage)} to delete, {total}: `ofs gc --apply`")
    if doubtful:
        lines.append(f"{len(doubtful)} cannot be judged, and are left alone until somebody has looked")
    return "\n".join(lines)


def _rows(items: tuple[Item, ...]) -> list[list[str | int]]:
    return [[item.key, item.size_bytes, headline(item.why)] for item in items]


def ledger_report(report: LedgerReport) -> str:
    """How many runs were looked at, and all that is wrong."""
    lines = [f"{style('✗', 'red')} {one.run_key} {f'({one.request_id})' if one.request_id else ''}".rstrip() + f"\n    {headline(one.what)}"
             for one in report.findings]
    runs = f"{report.runs:,} run{'' if report.runs == 1 else 's'}"
    verdict = style("sound", "green") if report.sound else style("NOT SOUND", "red")
    if report.findings and not report.runs:
        lines.append("a ledger that was lost is made anew from the store: `ofs ledger rebuild`")
    return "\n".join([*lines, f"the ledger is {verdict}: {runs}, {report.compared:,} held against the store"])


def rebuilding(found: Rebuilding) -> str:
    """The runs of the new ledger, and those that could not be told."""
    lines = [table(["run", "request", "state", "attempts", "outcome"],
                   [[key_of(run.request_id)[:12], run.request_id, run.state, run.attempt,
                     run.reason_code or (run.result or {}).get("dataset_manifest_id", "")] for run in found.runs], right=frozenset({3})),
             ""] if found.runs else []
    verb = "is" if found.applied else "would be"
    lines += [f"{style('✗', 'red')} {one.run_key} {verb} quarantined ({one.code})\n    {headline(one.what)}" for one in found.doubtful]
    count = f"{len(found.runs):,} run{'' if len(found.runs) == 1 else 's'}"
    if found.applied:
        return "\n".join([*lines, f"{style('✓', 'green')} the ledger has {count} from the store"])
    return "\n".join([*lines, f"{count}; nothing was written: `ofs ledger rebuild` makes the ledger"])
