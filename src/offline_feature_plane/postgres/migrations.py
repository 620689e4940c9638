"""Scripts that bring a schema's tables up to date, step by step, and give roles their rights. They name everything and ask for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files


def text_of(package: str, name: str) -> str:
    """The text of a file in a package's folder `sql`."""
    return (files(package) / "sql" / name).read_text(encoding="utf-8")


def migration(kind: str, schema: str, version_table: str, begin: str, steps: Sequence[str]) -> str:
    """Statements that make a schema's tables, or bring older ones up to date, inside of one transaction.

    Whoever comes second waits for the first, and finds nothing left to do.

    Args:
        kind: what the tables are for; migrations of one kind and schema take turns.
        schema: a plain name (`address.Address`).
        version_table: says in `version` how far the tables are.
        begin: makes that table if it is not there.
        steps: each leads from one version to the next.
    """
    guarded = (f"DO $begin$ BEGIN IF (SELECT coalesce(max(version), 0) FROM {version_table}) < {number} THEN EXECUTE $step$\n"  # noqa: S608
               f"{step}$step$; END IF; END $begin$;\n" for number, step in enumerate(steps, start=1))  # of our own files
    return "\n".join([text_of(__package__, "begin.sql").format(kind=kind, schema=schema), begin.format(schema=schema), *guarded])


def rights(script: str, schema: str, role: str) -> str:
    """Statements of a script that let `role` do its work in the schema, and no more than that; they can be run again."""
    return script.format(schema=schema, role='"' + role.replace('"', '""') + '"')
