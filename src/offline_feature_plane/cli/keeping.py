"""The commands that keep a store and a ledger in order: retire, collect, check, rebuild."""

from __future__ import annotations

from pathlib import Path

import click

from offline_feature_plane.cli.group import as_json_option, example, named, ofs, this_plane_option
from offline_feature_plane.cli.opening import open_plane
from offline_feature_plane.cli.output import emit_json, say
from offline_feature_plane.cli.progress import shown
from offline_feature_plane.errors import DigestMismatch, ReplayIncomplete


@ofs.command(short_help="Retire a dataset: nobody builds it again.")
@click.argument("dataset", callback=named)
@click.option("--reason", required=True, help="Why, for everybody who meets the dataset later.")
@click.option("--expire-data", is_flag=True, help="Also give up its data: `ofs gc` may delete the files. This cannot be taken back.")
@this_plane_option
@as_json_option
@example('ofs retire dm_0123456789abcdef0123456789abcdef --reason "labels of the wrong year"')
def retire(dataset: str, reason: str, expire_data: bool, plane_path: Path | None, as_json: bool) -> None:
    """Retire DATASET, for good: the same meaning is not built again (DATASET_RETIRED).

    Its manifest, plan and receipts stay. Its data stays readable, with a warning, unless it is expired.
    """
    from offline_feature_plane.cli import showing_upkeep

    with open_plane(plane_path) as plane:
        retired = plane.retire(dataset, reason=reason, expire_data=expire_data)
    emit_json(retired.document()) if as_json else say(showing_upkeep.retired(retired))


@ofs.command(short_help="Tell which datasets soon cannot be built again.")
@click.option("--within", "within", type=click.IntRange(0, 3_650), default=3, show_default=True, metavar="DAYS",
              help="Tell what a bus may let go within so many days.")
@this_plane_option
@as_json_option
@example("ofs doctor --within 7")
def doctor(within: int, plane_path: Path | None, as_json: bool) -> int:
    """Tell which published datasets can no longer be built again, or soon no longer: a bus lets go what no archive has, files are gone.

    Indexes are read; segments, tables and labels are looked for; the bus is asked how far it reaches and how long it keeps records, a label
    store how far its log does. No event is read, no file hashed, nothing written. The exit status is 3 if a dataset is lost, fading or
    cannot be judged.
    """
    from offline_feature_plane.cli import showing_checkups

    with open_plane(plane_path) as plane:
        found = plane.doctor(within_days=within)
    emit_json(found.document()) if as_json else say(showing_checkups.checkup(found))
    return 0 if found.well else ReplayIncomplete.exit_status


@ofs.command(short_help="Delete what nobody reads any more.")
@click.option("--dry-run", "dry_run", is_flag=True, help="List what would be deleted, and delete nothing.")
@click.option("--apply", "apply", is_flag=True, help="Delete it.")
@this_plane_option
@as_json_option
@example("ofs gc --dry-run")
def gc(dry_run: bool, apply: bool, plane_path: Path | None, as_json: bool) -> int:
    """Delete what nobody reads any more: what ended runs staged in vain, expired data of retired datasets, what dead writers left.

    How a run ended decides, never an age. Manifests, commit records, receipts and plans are never deleted. Safe while builds go on.
    """
    from offline_feature_plane.cli import showing_upkeep

    if dry_run == apply:
        raise click.UsageError("say either --dry-run or --apply.")
    with open_plane(plane_path) as plane, shown(quiet=as_json) as progress:
        found = plane.collect(apply=apply, progress=progress)
    emit_json(found.document()) if as_json else say(showing_upkeep.collection(found))
    return DigestMismatch.exit_status if found.of("doubtful") else 0
