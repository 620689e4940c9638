"""The commands about the run ledger itself: `ofs ledger …`."""

from __future__ import annotations

from pathlib import Path

import click

from offline_feature_plane.cli.group import InOrder, as_json_option, example, ofs, this_plane_option
from offline_feature_plane.cli.opening import open_plane
from offline_feature_plane.cli.output import emit_json, say
from offline_feature_plane.cli.progress import shown
from offline_feature_plane.errors import LedgerChainBroken, SettingsInvalid


@ofs.group(cls=InOrder, short_help="Look after the run ledger itself.")
def ledger() -> None:
    """Look after the run ledger itself."""


@ledger.command(short_help="Print the SQL that makes a ledger on PostgreSQL.")
@click.option("--schema", "name", default="ofs", show_default=True, help="The schema for the tables, as `?schema=` of the ledger setting.")
@click.option("--app-role", help="The role that workers connect as; it gets the rights it needs, and no others.")
@as_json_option
@example("ofs ledger schema --app-role ofs_worker | psql -v ON_ERROR_STOP=1 DATABASE")
def schema(name: str, app_role: str | None, as_json: bool) -> None:
    """Print the SQL that makes the tables of a ledger on PostgreSQL, or brings older ones up to date.

    An administrator runs it as the role that shall own the tables. It is one transaction, and can be run again at any time. Nothing is
    connected to, and nothing is changed.
    """
    from offline_feature_plane.ledger.postgres.schema import whole_script
    from offline_feature_plane.postgres.address import is_schema

    if not is_schema(name):
        raise SettingsInvalid(f"{name!r} is not a plain name for a schema.", path="--schema",
                              fix="Use up to 63 lower-case letters, digits and `_`, not beginning with a digit or `pg_`.")
    script = whole_script(name, app_role)
    emit_json({"schema": name, "app_role": app_role, "sql": script}) if as_json else say(script, nl=False)


@ledger.command(short_help="Check every run's history, and that store and ledger agree.")
@this_plane_option
@as_json_option
@example("ofs ledger verify")
def verify(plane_path: Path | None, as_json: bool) -> int:
    """Check every run: its chain of events, its row, and that its commit record in the store says the same. Nothing is changed.

    All that is wrong is told at once; then the exit status is 6.
    """
    from offline_feature_plane.cli import showing_upkeep

    with open_plane(plane_path) as plane, shown(quiet=as_json) as progress:
        report = plane.check_ledger(progress=progress)
    emit_json(report.document()) if as_json else say(showing_upkeep.ledger_report(report))
    return 0 if report.sound else LedgerChainBroken.exit_status


@ledger.command(short_help="Make a new ledger from the store.")
@click.option("--dry-run", is_flag=True, help="Show the runs that the new ledger would have, and write nothing.")
@this_plane_option
@as_json_option
@example("ofs ledger rebuild --dry-run")
def rebuild(dry_run: bool, plane_path: Path | None, as_json: bool) -> int:
    """Make a new ledger from the store, where the old one was lost: plans, commit records, manifests and receipts tell every run.

    Stop the workers first, and move what is left of the old ledger aside: a ledger that has runs is refused. Runs that have not ended are
    queued. Those that cannot be told are quarantined; then the exit status is 6.
    """
    from offline_feature_plane.cli import showing_upkeep

    with open_plane(plane_path) as plane, shown(quiet=as_json) as progress:
        rebuilt = plane.rebuild_ledger(apply=not dry_run, progress=progress)
    emit_json(rebuilt.document()) if as_json else say(showing_upkeep.rebuilding(rebuilt))
    return LedgerChainBroken.exit_status if rebuilt.doubtful else 0
