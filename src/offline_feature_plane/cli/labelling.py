"""The commands about a label store in a database: `ofs label-store …`."""

from __future__ import annotations

from pathlib import Path

import click

from offline_feature_plane.cli.group import InOrder, as_json_option, example, ofs, this_plane_option
from offline_feature_plane.cli.opening import open_plane
from offline_feature_plane.cli.output import emit_json, say, style
from offline_feature_plane.cli.progress import shown
from offline_feature_plane.errors import SettingsInvalid


@ofs.group(cls=InOrder, short_help="Make a label store on PostgreSQL, and load it.")
def label_store() -> None:
    """Make a label store on PostgreSQL, and load it. Builds read from it, as `store:` of a label type says."""


@label_store.command(short_help="Print the SQL that makes a label store on PostgreSQL.")
@click.option("--schema", "name", default="ofs_labels", show_default=True, help="The schema for the tables, as `?schema=` of `store`.")
@click.option("--loader-role", help="The role that loads: it may append and read, and no more.")
@click.option("--reader-role", help="The role that builds connect as: it may read, and no more.")
@as_json_option
@example("ofs label-store schema --loader-role ofs_loader --reader-role ofs_worker | psql DATABASE")
def schema(name: str, loader_role: str | None, reader_role: str | None, as_json: bool) -> None:
    """Print the SQL that makes the tables of a label store on PostgreSQL, or brings older ones up to date.

    An administrator runs it as the role that shall own the tables. It is one transaction, and can be run again at any time. Nothing is
    connected to, and nothing is changed.
    """
    from offline_feature_plane.labelstores.postgres.schema import whole_script
    from offline_feature_plane.postgres.address import is_schema

    if not is_schema(name):
        raise SettingsInvalid(f"{name!r} is not a plain name for a schema.", path="--schema",
                              fix="Use up to 63 lower-case letters, digits and `_`, not beginning with a digit or `pg_`.")
    script = whole_script(name, loader_role=loader_role, reader_role=reader_role)
    if as_json:
        emit_json({"schema": name, "loader_role": loader_role, "reader_role": reader_role, "sql": script})
    else:
        say(script, nl=False)


@label_store.command(short_help="Append the assertions of files to the label store.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--store", help="The address of the label store. Default: the one that plane.yaml names.")
@this_plane_option
@as_json_option
@example("ofs label-store load chargebacks-2026-05.parquet")
def load(files: tuple[Path, ...], store: str | None, plane_path: Path | None, as_json: bool) -> None:
    """Append the assertions of FILES (Parquet, CSV, JSON Lines, or folders of them) that the store does not have: all of them, or none.

    The columns are label_assertion_id, label_type, event_id, label_value, observed_time, source_type, and if wanted effective_time,
    actor_id, supersedes, evidence_ref. Loading the same files again changes nothing. An id with other content is refused.
    """
    with open_plane(plane_path) as plane, shown(quiet=as_json) as progress:
        loaded = plane.load_labels(files, store=store, progress=progress)
    if as_json:
        emit_json(loaded.document())
    else:
        known = f"; {loaded.known:,} were there already" if loaded.known else ""
        say(f"{style('✓', 'green')} {loaded.appended:,} assertions appended{known}")
