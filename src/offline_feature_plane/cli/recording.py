"""The commands about archives of event records: `ofs archive …`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from offline_feature_plane.cli.group import InOrder, as_json_option, example, ofs
from offline_feature_plane.cli.opening import PLANE_FILE, look_past_pandas
from offline_feature_plane.cli.output import emit_json, say
from offline_feature_plane.cli.progress import shown

if TYPE_CHECKING:
    from offline_feature_plane.settings import Settings
    from offline_feature_plane.sources.decoding.stored import SegmentForm

_STRETCH = re.compile(r"([0-9]{1,10}):([0-9]{1,128})-([0-9]{1,128})")
_plane_option = click.option("--plane", "plane_path", type=click.Path(path_type=Path), envvar="OFS_PLANE",
                             help="The plane.yaml that says how the archive is reached and read. Default: the one in the current folder, "
                                  "if there is one.")


@ofs.group(cls=InOrder, short_help="Make the index of an archive of events, or write one.")
def archive() -> None:
    """Make the index of an archive of events, or write one. Builds read what its index proves."""


@archive.command("index", short_help="Make the index of an archive from its files, or bring it up to date.")
@click.argument("where")
@click.option("--log-id", help="Which log the offsets count in, such as Kafka's topic id. "
                                  "Default: as the index has it, else the topic's name.")
@click.option("--declare-holes", is_flag=True,
              help="Declare that offsets which no file holds had no record: transaction marks, compaction, aborted batches.")
@click.option("--declare-undecodable", is_flag=True,
              help="Declare the records that cannot be decoded; a training set may then leave them out.")
@click.option("--replace", is_flag=True,
              help="Take new entries for files that have changed, and none for files that are gone; let all count in the log that --log-id "
                   "names, if none does.")
@_plane_option
@as_json_option
@example("ofs archive index archive --log-id 7mVbXjQdTa2UeFJvYyRk0g")
def index(where: str, log_id: str | None, declare_holes: bool, declare_undecodable: bool, replace: bool, plane_path: Path | None,
          as_json: bool) -> int | None:
    """Read every file of the archive WHERE (a folder, or s3://bucket/prefix) once, and write its index.json as one piece.

    Files that the index has already are hashed, and read again only if `records` in plane.yaml says something else now; a job that was
    stopped goes on where it was. Files prove what they hold, and no more: where offsets are missing between two records, the index has a
    gap, and a build over it is refused.
    """
    look_past_pandas()
    from offline_feature_plane.archive_jobs import index_archive
    from offline_feature_plane.cli.showing_archives import indexed

    with shown(quiet=as_json) as progress:
        report = index_archive(where, _settings(plane_path), log_id=log_id, holes_are_lawful=declare_holes,
                               undecodable_are_known=declare_undecodable, replace=replace, progress=progress)
    emit_json(report.document()) if as_json else say(indexed(report))
    return None


@archive.command("write", short_help="Copy a topic from its bus, or from another archive, into an archive.")
@click.argument("where")
@click.option("--topic", required=True, help="The topic, as plane.yaml calls it on its bus or in the other archive, else as that "
                                            "one's records do.")
@click.option("--from", "source", help="Another archive to copy from: a folder, or s3://bucket/prefix. Default: the topic's bus.")
@click.option("--range", "ranges", multiple=True, metavar="PARTITION:START-END",
              help="Only this stretch of a partition, its end excluded; may be repeated. Default: everything that is there.")
@click.option("--form", type=click.Choice(["jsonl.zst", "jsonl", "parquet"]), default="jsonl.zst", show_default=True,
              help="What segments are written as.")
@click.option("--segment-records", type=click.IntRange(1, 10_000_000), default=250_000, show_default=True,
              help="How many records a segment holds at most.")
@_plane_option
@as_json_option
@example("ofs archive write archive --topic transaction")
def write(where: str, topic: str, source: str | None, ranges: tuple[str, ...], form: SegmentForm, segment_records: int,
          plane_path: Path | None, as_json: bool) -> int | None:
    """Copy a topic into the archive WHERE (a folder, or s3://bucket/prefix), which is made if there is none, and extend its index.

    Copied is what the source proves, up to its end at the start of the job; what the archive has already is not copied again. The index is
    extended as one piece at the end, and a job that was stopped goes on behind its last segment. OFS never runs this by itself.
    """
    look_past_pandas()
    from offline_feature_plane.archive_jobs import write_archive
    from offline_feature_plane.cli.showing_archives import written

    with shown(quiet=as_json) as progress:
        report = write_archive(where, topic, _settings(plane_path), source=source, form=form, per_segment=segment_records,
                               ranges=[_stretch(one) for one in ranges] or None, progress=progress)
    emit_json(report.document()) if as_json else say(written(report))
    return None


def _stretch(text: str) -> tuple[int, int, int]:
    found = _STRETCH.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no stretch of a partition; write for example 0:100-250.", param_hint="--range")
    return int(found[1]), int(found[2]), int(found[3])


def _settings(plane_path: Path | None) -> Settings | None:
    """The plane that is named, else the one here, else none."""
    import os

    from offline_feature_plane.settings import load_settings

    if plane_path is None and not Path(PLANE_FILE).exists():
        return None
    return load_settings(plane_path or Path(PLANE_FILE), os.environ)
