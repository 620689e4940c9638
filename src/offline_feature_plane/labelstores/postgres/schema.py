"""The tables of a label store on PostgreSQL as a script: what makes them, and what rights those get who load and who read."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

STEPS: Final = ("postgres_0001.sql",)  # each file leads from one version to the next
VERSION: Final = len(STEPS)


def whole_script(schema: str, *, loader_role: str | None = None, reader_role: str | None = None) -> str:
    """What an administrator runs with `psql`, as the role that shall own the tables: one transaction, which can be run again.

    Args:
        schema: a plain name (`postgres.address`).
        loader_role: who may append assertions, and nothing else.
        reader_role: who may read them.
    """
    steps = (f"DO $begin$ BEGIN IF (SELECT coalesce(max(version), 0) FROM label_store) < {number} THEN EXECUTE $step$\n"  # noqa: S608
             f"{_text_of(step)}$step$; END IF; END $begin$;\n" for number, step in enumerate(STEPS, start=1))  # of our own files
    rights = (_text_of(f"postgres_{kind}.sql").format(schema=schema, role='"' + role.replace('"', '""') + '"')
              for kind, role in (("reader", reader_role), ("loader", loader_role)) if role is not None)
    return "\n".join(["BEGIN;", _text_of("postgres_begin.sql").format(schema=schema), *steps, *rights, "COMMIT;\n"])


def _text_of(name: str) -> str:
    return (files("offline_feature_plane.labelstores") / "sql" / name).read_text(encoding="utf-8")
