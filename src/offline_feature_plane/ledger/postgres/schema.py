"""The tables of a ledger on PostgreSQL as scripts: what brings a schema up to date, and what rights the workers' role gets.

The scripts name everything and ask for nothing, so that the ledger itself and a database administrator run the same ones.
"""

from __future__ import annotations

from typing import Final

from offline_feature_plane.ledger.connector import sql_file

STEPS: Final = ("postgres_0001.sql", "postgres_0002.sql")  # each file leads from one version to the next
VERSION: Final = len(STEPS)


def migration(schema: str) -> str:
    """Statements that make the schema's tables, or bring older ones up to date, inside of one transaction.

    Whoever comes second waits for the first, and finds nothing left to do.

    Args:
        schema: a plain name (`address.Address`).
    """
    steps = (f"DO $begin$ BEGIN IF (SELECT coalesce(max(version), 0) FROM ledger_schema) < {number} THEN EXECUTE $step$\n"  # noqa: S608
             f"{sql_file(step)}$step$; END IF; END $begin$;\n" for number, step in enumerate(STEPS, start=1))  # of our own files
    return "\n".join([sql_file("postgres_begin.sql").format(schema=schema), *steps])


def rights(schema: str, role: str) -> str:
    """Statements that let `role` work with the ledger, and no more than that (R8); they can be run again."""
    return sql_file("postgres_rights.sql").format(schema=schema, role='"' + role.replace('"', '""') + '"')


def whole_script(schema: str, role: str | None = None) -> str:
    """What an administrator runs with `psql`: the migration and, for a role, its rights, in one transaction."""
    return "\n".join(["BEGIN;", migration(schema), *([] if role is None else [rights(schema, role)]), "COMMIT;\n"])
