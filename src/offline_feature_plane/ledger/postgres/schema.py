"""The tables of a ledger on PostgreSQL as scripts: what brings a schema up to date, and what rights the workers' role gets.

The scripts name everything and ask for nothing, so that the ledger itself and a database administrator run the same ones.
"""

from __future__ import annotations

from typing import Final

from offline_feature_plane.ledger.connector import sql_file
from offline_feature_plane.postgres import migrations

STEPS: Final = ("postgres_0001.sql", "postgres_0002.sql")  # each file leads from one version to the next
VERSION: Final = len(STEPS)


def migration(schema: str) -> str:
    """Statements that make the schema's tables, or bring older ones up to date, inside of one transaction."""
    return migrations.migration("ledger", schema, "ledger_schema", sql_file("postgres_begin.sql"), [sql_file(step) for step in STEPS])


def rights(schema: str, role: str) -> str:
    """Statements that let `role` work with the ledger, and no more than that (R8); they can be run again."""
    return migrations.rights(sql_file("postgres_rights.sql"), schema, role)


def whole_script(schema: str, role: str | None = None) -> str:
    """What an administrator runs with `psql`: the migration and, for a role, its rights, in one transaction."""
    return "\n".join(["BEGIN;", migration(schema), *([] if role is None else [rights(schema, role)]), "COMMIT;\n"])
