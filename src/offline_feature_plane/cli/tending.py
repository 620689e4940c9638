"""The commands about the run ledger itself: `ofs ledger …`."""

from __future__ import annotations

import click

from offline_feature_plane.cli.group import InOrder, as_json_option, example, ofs
from offline_feature_plane.cli.output import emit_json, say
from offline_feature_plane.errors import SettingsInvalid


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
    from offline_feature_plane.ledger.postgres.address import is_schema
    from offline_feature_plane.ledger.postgres.schema import whole_script

    if not is_schema(name):
        raise SettingsInvalid(f"{name!r} is not a plain name for a schema.", path="--schema",
                              fix="Use up to 63 lower-case letters, digits and `_`, not beginning with a digit or `pg_`.")
    script = whole_script(name, app_role)
    emit_json({"schema": name, "app_role": app_role, "sql": script}) if as_json else say(script, nl=False)
