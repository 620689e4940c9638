"""Transactions in a label store on PostgreSQL: whatever the driver says becomes an error of ours, and other tables are not taken for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from offline_feature_plane.contracts.model import nearest
from offline_feature_plane.errors import LabelStoreUnavailable, OfsError, SourceColumnUnknown, SourceTypeMismatch
from offline_feature_plane.labelstores.postgres.schema import VERSION
from offline_feature_plane.postgres.address import Address
from offline_feature_plane.postgres.connections import Connections, PatientConnection
from offline_feature_plane.postgres.failures import Database, said, state_of

OLDEST_SERVER: Final = 14_00_00
PATIENCE_S: Final = 10.0  # to connect, and for a lock
READ_S: Final = 900.0  # for a statement that looks at every assertion
LOAD_S: Final = 7_200.0  # for one that appends any number of them

COLUMNS: Final = {
    "position": "bigint", "label_assertion_id": "text", "label_type": "text", "event_id": "text", "label_value": "text",
    "observed_time": "timestamp with time zone", "effective_time": "timestamp with time zone", "source_type": "text", "actor_id": "text",
    "supersedes": "text", "evidence_ref": "text"}

_STORE: Final = Database("label store", "`store` of the labels", "ofs label-store schema --loader-role ROLE --reader-role ROLE")
_MAKE_IT: Final = "Let an administrator run what `ofs label-store schema` prints, or correct the address, or its `?schema=`."


@contextmanager
def begun(address: Address, *, reads: bool) -> Iterator[PatientConnection]:
    """A transaction in the store, one snapshot if it reads. What was not committed at the end is rolled back, and the connection closed.

    Raises:
        LabelStoreUnavailable: the server cannot be reached, refuses the role or fails; there is no store, or a newer one.
        SourceColumnUnknown, SourceTypeMismatch: its table is not the one that `ofs label-store schema` makes.
    """
    try:
        with Connections(address, PATIENCE_S, READ_S if reads else LOAD_S).begun(reads=reads) as connection:
            _check(connection, address)
            yield connection
    except (psycopg.Error, psycopg.Warning) as wrong:
        raise mapped(wrong, address) from wrong


def mapped(wrong: Exception, address: Address) -> OfsError:
    """The error of ours that an error of the driver is; a run that meets one goes back to the queue, unless it is the data's."""
    if isinstance(wrong, psycopg.IntegrityError | psycopg.DataError):
        return LabelStoreUnavailable(f"the label store refused a change ({said(wrong)}).", path=address.text,
                                     fix="Report this as a defect.", **state_of(wrong))
    what, fix = _STORE.explain(wrong)
    error = LabelStoreUnavailable(f"{what} ({said(wrong)}).", path=address.text, fix=fix, **state_of(wrong))
    error.transient = True
    return error


def _check(connection: PatientConnection, address: Address) -> None:
    """Is this a label store that this release knows?"""
    place, schema = address.text, address.schema
    if connection.info.server_version < OLDEST_SERVER:
        raise LabelStoreUnavailable(f"the server is PostgreSQL {connection.info.server_version // 10000}; a label store needs "
                                    f"{OLDEST_SERVER // 10000} or newer.", path=place, fix="Use a newer server.")
    found = connection.execute(
        """SELECT relname, attname, format_type(atttypid, NULL) AS kind FROM pg_catalog.pg_attribute
           JOIN pg_catalog.pg_class ON pg_class.oid = attrelid JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
           WHERE nspname = %(schema)s AND relname IN ('label_store', 'label_assertions') AND relkind IN ('r', 'p', 'v', 'm', 'f')
             AND attnum > 0 AND NOT attisdropped""", {"schema": schema}).fetchall()
    if {row["relname"] for row in found} != {"label_store", "label_assertions"}:
        raise LabelStoreUnavailable(f"there is no label store in the schema {schema}.", path=place, fix=_MAKE_IT)
    (row,) = connection.execute("SELECT max(version) AS version FROM label_store").fetchall()
    if row["version"] not in range(1, VERSION + 1):
        raise LabelStoreUnavailable(f"the label store has schema {row['version']}; this release reads {VERSION}.", path=place,
                                    fix="Install the release that made it, or a newer one.", schema=row["version"])
    kinds = {row["attname"]: row["kind"] for row in found if row["relname"] == "label_assertions"}
    for name, kind in COLUMNS.items():
        if name not in kinds:
            raise SourceColumnUnknown(f"the table label_assertions has no column {name}.", path=f"{schema}.label_assertions",
                                      fix=f"{nearest(name, list(kinds))} {_MAKE_IT}".strip())
        if kinds[name] != kind:
            raise SourceTypeMismatch(f"the column {name} of label_assertions is {kinds[name]}; a label store has {kind} there.",
                                     path=f"{schema}.label_assertions", fix=_MAKE_IT)
