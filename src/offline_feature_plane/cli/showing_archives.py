"""Archives as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from offline_feature_plane.cli.output import style, table
from offline_feature_plane.sources.archives.report import IndexReport, LaneReport
from offline_feature_plane.sources.archives.writing import CopiedRange, WriteReport

_MOST_IGNORED = 5


def indexed(report: IndexReport) -> str:
    """What became of an index, and what it covers."""
    done = "written" if report.was_written else "up to date"
    files = f"{report.files_read:,} files read, {report.files_known:,} known"
    lines = [f"{style('✓', 'green')} {report.place}/index.json {done}: {report.records:,} records, {report.segments:,} segments ({files})"]
    if report.files_reread:
        lines.append(f"  {report.files_reread:,} of these files it knew, but their records are read in another way now (`records` in "
                     "plane.yaml)")
    if report.ignored:
        more = f", and {len(report.ignored) - _MOST_IGNORED:,} more" if len(report.ignored) > _MOST_IGNORED else ""
        lines.append(f"  left out, without records: {', '.join(report.ignored[:_MOST_IGNORED])}{more}")
    if report.lanes:
        rows = [(f"{one.topic}/{one.partition}", one.log_id, one.first_offset, one.next_offset, one.segments, one.records,
                 one.unfilled, one.undecodable, one.gaps, one.overlaps) for one in report.lanes]
        heads = ["partition", "log", "from", "up to", "segments", "records", "unfilled", "undecodable", "gaps", "overlaps"]
        lines += ["", table(heads, rows, right=frozenset(range(2, 10)))]
    return "\n".join([*lines, *_remarks(report)])


def written(report: WriteReport) -> str:
    """What was copied into an archive."""
    if not report.was_written:
        return f"{style('✓', 'green')} {report.place} is up to date: it has all of it already: {_counted(report.known)}"
    rows = [(f"{one.topic}/{one.partition}", one.start_offset, one.end_offset, one.segments, one.records, one.undecodable, one.null_values)
            for one in report.copied]
    heads = ["partition", "from", "up to", "segments", "records", "undecodable", "null values"]
    lines = [f"{style('✓', 'green')} {report.place}/index.json extended: {_counted(report.copied)}", "",
             table(heads, rows, right=frozenset(range(1, 7)))]
    if report.resumed_segments:
        earlier = f"{report.resumed_records:,} records in {report.resumed_segments:,} segments"
        lines += ["", f"  Of these, {earlier} are from a run that was stopped."]
    if report.known:
        had = ", ".join(f"{one.topic}/{one.partition} [{one.start_offset}, {one.end_offset})" for one in report.known)
        lines += ["", f"  It had already: {had}: {_counted(report.known)}."]
    return "\n".join(lines)


def _counted(stretches: Sequence[CopiedRange]) -> str:
    return f"{sum(one.records for one in stretches):,} records in {sum(one.segments for one in stretches):,} segments"


def _remarks(report: IndexReport) -> Iterator[str]:
    if any(one.gaps for one in report.lanes):
        yield ""
        yield f"{style('!', 'yellow')} no segment covers"
        yield from (line for one in report.lanes for line in _stretches(one, one.first_gaps, one.gaps))
        yield "  Files do not tell whether the log had records there. Archive what is missing; or, if there was nothing (compaction,"
        yield "  transaction marks), run again with --declare-holes."
    if any(one.overlaps for one in report.lanes):
        yield ""
        yield "  several segments cover, and must agree when they are read:"
        yield from (line for one in report.lanes for line in _stretches(one, one.first_overlaps, one.overlaps))
    if any(one.undeclared for one in report.lanes):
        yield ""
        yield "  Records that cannot be decoded keep a training set from being built unless they are declared: --declare-undecodable."
        yield from (f"    {one}" for one in report.troubles)
    if report.lanes:
        yield ""
        yield "  Each partition is proved up to its last record; whether the log goes on after it, its files cannot tell."


def _stretches(lane: LaneReport, named: tuple[tuple[str, str], ...], count: int) -> Iterator[str]:
    if named:
        more = f", and {count - len(named):,} more" if count > len(named) else ""
        yield f"    {lane.topic}/{lane.partition}: {', '.join(f'[{begin}, {end})' for begin, end in named)}{more}"
