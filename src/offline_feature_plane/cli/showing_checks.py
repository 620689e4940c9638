"""What verifying and admitting datasets look like as text: short where all is well, and precise where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from offline_feature_plane.cli.output import style
from offline_feature_plane.cli.showing import short
from offline_feature_plane.domain.gaps import tell_gaps

if TYPE_CHECKING:
    from offline_feature_plane.corridor.damage import Damage
    from offline_feature_plane.corridor.intake import Admission
    from offline_feature_plane.corridor.verify import Verification

MOST_LINES = 12


def verification(report: Verification) -> str:
    """What was checked, everything that failed, and the verdict."""
    return "\n".join([*_checks(report), *_files(report), *_differences(report), "", _verdict(report)])


def admission(answer: Admission) -> str:
    """Each check with its verdict, why it failed, and whether the training may take the datasets."""
    lines = []
    for check in answer.checks:
        about = ", ".join(short(said) if said.startswith("sha256:") else said for said in check.details.values())
        told = about if check.passed else check.reason_code
        lines.append(f"{_mark(good=check.passed)} {check.gate.replace('_', ' ')}{f': {told}' if told else ''}")
        lines += [f"    {sentence}" for sentence in check.sentences]
    lines += [f"{style('warning', 'yellow')}: {notice}" for notice in answer.notices]
    verdict = style("admitted", "green") if answer.admitted else style("NOT ADMITTED", "red")
    by = "" if answer.profile is None else f" by {answer.profile}"
    start = answer.demand.describe()["execution_start_utc"]
    return "\n".join([*lines, "", f"{', '.join(answer.datasets)}: {verdict}{by} for a training that starts at {start}"])


def _checks(report: Verification) -> Iterator[str]:
    """Checks of documents; files and rows have lines of their own."""
    shown = [check for check in report.checks if not check.name.startswith("data file")]
    if passed := sum(check.passed for check in shown):
        yield f"{_mark(good=True)} {_many(passed, 'check')} of the manifest, its commit record, its pointer and what it names"
    for check in shown:
        if not check.passed:
            yield f"{_mark(good=False)} {check.name}\n    {check.detail}"


def _files(report: Verification) -> Iterator[str]:
    sound = [file for file in report.files if not file.damages]
    if sound:
        pages, rows = sum(file.pages or 0 for file in sound), sum(file.rows for file in sound)
        yield f"{_mark(good=True)} {_many(len(sound), 'data file')}: {_many(pages, 'page')}, {_many(rows, 'row')}, every byte"
    for number, file in enumerate(report.files, start=1):
        if file.damages:
            yield f"{_mark(good=False)} data file {number} of {len(report.files)}: {file.key}"
            yield from (f"    {_damage(damage)}" for damage in file.damages[:MOST_LINES])
            if len(file.damages) > MOST_LINES:
                yield f"    and {len(file.damages) - MOST_LINES:,} more; `--json` lists them all"


def _damage(damage: Damage) -> str:
    place = [] if damage.row_group is None else [f"row group {damage.row_group}"]
    place += [] if damage.column is None else [f"column {damage.column}"]
    place += [] if damage.page is None else [f"page {damage.page}"]
    place += [] if damage.offset is None else [f"byte {damage.offset:,}"]
    about = "" if damage.rows is None else f" ({_rows(*damage.rows)}, {_leaves(damage.leaves)})"
    return f"{damage.where}{', ' if place else ''}{', '.join(place)}: {damage.what}{about}"


def _differences(report: Verification) -> Iterator[str]:
    for one in report.differences[:MOST_LINES]:
        yield f"{_mark(good=False)} leaf {one.leaf} ({_rows(one.first_row, one.end_row)}): {', '.join(one.columns)}"
    if len(report.differences) > MOST_LINES:
        yield f"    and {len(report.differences) - MOST_LINES:,} more leaves; `--json` lists them all"


def _verdict(report: Verification) -> str:
    name, retired = report.dataset_manifest_id, report.retirement
    if not report.intact:
        return f"{name} is {style('NOT INTACT', 'red')}" + ("" if retired is None else f"; it was {retired}")
    if retired is None:
        lacking = f"; {style('incomplete', 'yellow')}: it lacks {tell_gaps(report.lacks)}" if report.lacks else ""
        held = f"{_many(report.row_count, 'row')} in {_many(report.leaves, 'leaf', 'leaves')}"
        return f"{name} is {style('intact', 'green')}: {held}{lacking}"
    what = "what is kept of it is" if retired.expiry is not None else "it is"
    return f"{name} was {style(str(retired), 'yellow')}; {what} {style('intact', 'green')}"


def _mark(*, good: bool) -> str:
    return style("✓", "green") if good else style("✗", "red")


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def _rows(first: int, end: int) -> str:
    return f"row {first:,}" if end - first == 1 else f"rows {first:,} to {end - 1:,}"


def _leaves(leaves: tuple[int, ...]) -> str:
    return f"leaf {leaves[0]}" if len(leaves) == 1 else f"leaves {leaves[0]} to {leaves[-1]}" if leaves else "no leaf"
