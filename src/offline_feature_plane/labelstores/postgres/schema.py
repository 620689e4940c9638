"""The tables of a label store on PostgreSQL as a script: what makes them, and what rights those get who load and who read."""

from __future__ import annotations

from typing import Final

from offline_feature_plane.postgres.migrations import migration, rights, text_of

STEPS: Final = ("postgres_0001.sql",)  # each file leads from one version to the next
VERSION: Final = len(STEPS)


def whole_script(schema: str, *, loader_role: str | None = None, reader_role: str | None = None) -> str:
    """What an administrator runs with `psql`, as the role that shall own the tables: one transaction, which can be run again.

    Args:
        schema: a plain name (`postgres.address`).
        loader_role: who may append assertions, and nothing else.
        reader_role: who may read them.
    """
    tables = migration("labels", schema, "label_store", _text_of("postgres_begin.sql"), [_text_of(step) for step in STEPS])
    granted = (rights(_text_of(f"postgres_{kind}.sql"), schema, role)
               for kind, role in (("reader", reader_role), ("loader", loader_role)) if role is not None)
    return "\n".join(["BEGIN;", tables, *granted, "COMMIT;\n"])


def _text_of(name: str) -> str:
    return text_of("offline_feature_plane.labelstores", name)
