"""The run ledger in a PostgreSQL database, shared by workers on many machines.

Writers do not exclude each other: each takes the row of its run first (`FOR UPDATE`), changes it only if it is as expected, and appends
the event under that lock. Readers see one snapshot. Leases are judged by the server's clock alone. Everything that a transaction
relies on is set when it begins, so that neither the server's defaults nor a pooler between can change it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.sql import SQL, Identifier

from offline_feature_plane.domain.runstates import Limits
from offline_feature_plane.errors import LedgerUnavailable
from offline_feature_plane.ledger.connector import STATEMENTS, Nothing, Row, Transaction
from offline_feature_plane.ledger.postgres.failures import mapped, outcome_unknown
from offline_feature_plane.ledger.postgres.schema import VERSION, migration
from offline_feature_plane.ledger.verbs import LedgerVerbs
from offline_feature_plane.postgres.address import Address
from offline_feature_plane.postgres.connections import Connections, PatientConnection

OLDEST_SERVER: Final = 140000


def placeholders(statement: str) -> str:
    """A named statement as the driver takes it; casts (`::`) stay, and `%` means itself.

    >>> placeholders("SELECT a % 2, b::text FROM c WHERE d = :d")
    'SELECT a %% 2, b::text FROM c WHERE d = %(d)s'
    """
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", statement.replace("%", "%%"))


READING: Final[Mapping[str, str]] = {name: placeholders(statement) for name, statement in STATEMENTS.items()}
# Who means to write takes the run's row first, so that all that is read afterwards belongs together; who looks for work takes the next
# run that nobody else is taking.
WRITING: Final[Mapping[str, str]] = {**READING, "run": f"{READING['run']} FOR UPDATE",
                                     "next_due": f"{READING['next_due']} FOR UPDATE SKIP LOCKED"}


class PostgresLedger(LedgerVerbs):
    """A `ports.Ledger` in a PostgreSQL schema; the first change makes the tables, if the role may.

    Args:
        address: the database and the schema.
        limits: after how many attempts only closing is left.
        patience_s: how long a call waits for the server: to connect, for a lock, for an answer.

    Raises:
        LedgerUnavailable: the server cannot be reached or refuses the role, the schema is not a ledger's, or of a newer release.
    """

    name = "postgres"

    def __init__(self, address: Address, *, limits: Limits | None = None, patience_s: float = 10.0) -> None:
        connector = PostgresConnector(address, patience_s=patience_s)
        connector.look()
        super().__init__(connector, limits)


class PostgresConnector:
    """Transactions in one PostgreSQL schema; every driver error is mapped to an OFS error."""

    def __init__(self, address: Address, *, patience_s: float) -> None:
        self._address = address
        self._connections = Connections(address, patience_s)
        self._is_prepared = False

    def look(self) -> None:
        """Reach the server, and refuse a schema that is not a ledger's or newer; an older one is brought up to date."""
        with self._begun(reads=True) as connection:
            version = self._version(connection)
        self._is_prepared = version == VERSION
        if 0 < version < VERSION:
            self.prepare()

    def prepare(self) -> None:
        """Make the schema and its tables if they are missing or older; refuse what is not a ledger's."""
        with self._begun(reads=False) as connection:
            if self._version(connection) < VERSION:
                connection.execute(migration(self._address.schema))
            self._commit(connection)
        self._is_prepared = True

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction that excludes other writers from each run that it has looked at."""
        if not self._is_prepared:
            self.prepare()
        with self._begun(reads=False) as connection:
            yield PostgresTransaction(connection, writes=True)
            self._commit(connection)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that sees one consistent state; that of an empty ledger where nothing was written yet."""
        with self._begun(reads=True) as connection:
            if not self._is_prepared:
                self._is_prepared = self._version(connection) == VERSION
            yield PostgresTransaction(connection, writes=False) if self._is_prepared else Nothing()

    @contextmanager
    def _begun(self, *, reads: bool) -> Iterator[PatientConnection]:
        try:
            with self._connections.begun(reads=reads) as connection:
                yield connection
        except (psycopg.Error, psycopg.Warning) as wrong:
            raise mapped(wrong, self._address.text) from wrong

    def _commit(self, connection: PatientConnection) -> None:
        try:
            connection.execute("COMMIT")
        except psycopg.Error as wrong:
            raise outcome_unknown(wrong, self._address.text) from wrong

    def _version(self, connection: PatientConnection) -> int:
        """The version of the schema; 0 for an empty one. Raises LedgerUnavailable for what is no ledger, or a newer one."""
        place, schema = self._address.text, self._address.schema
        if connection.info.server_version < OLDEST_SERVER:
            raise LedgerUnavailable(f"the server is PostgreSQL {connection.info.server_version // 10000}; a ledger needs "
                                    f"{OLDEST_SERVER // 10000} or newer.", path=place, fix="Use a newer server.")
        if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
            raise LedgerUnavailable(f"the database is encoded in {encoding}; a ledger needs UTF8.", path=place,
                                    fix="Create the database with ENCODING 'UTF8'.")
        tables = {row["relname"] for row in connection.execute(
            """SELECT relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
               WHERE nspname = %(schema)s AND relkind IN ('r', 'p', 'v', 'm', 'f')""", {"schema": schema})}
        if not tables:
            return 0
        if "ledger_schema" not in tables:
            raise LedgerUnavailable(f"the schema {schema} holds other tables, and is not a run ledger.", path=place,
                                    fix="Choose another schema with `?schema=NAME`.")
        known = SQL("SELECT max(version) AS version FROM {}").format(Identifier(schema, "ledger_schema"))
        (row,) = connection.execute(known).fetchall()
        version = row["version"]
        if version not in range(1, VERSION + 1):
            raise LedgerUnavailable(f"the ledger has schema {version}; this release reads {VERSION}.", path=place,
                                    fix="Install the release that wrote it, or a newer one.", schema=version)
        return int(version)


class PostgresTransaction:
    """Named statements on one open connection."""

    def __init__(self, connection: PatientConnection, *, writes: bool) -> None:
        self._connection = connection
        self._writes = writes

    def now_us(self) -> int:
        """The server's clock, at this moment."""
        (row,) = self._connection.execute("SELECT now_us() AS us").fetchall()
        return int(row["us"])

    def change(self, statement: str, **values: object) -> int:
        """Run a named statement that writes; how many rows it changed."""
        return self._run(statement, values).rowcount

    def one(self, statement: str, **values: object) -> Row | None:
        """The first row of a named query, or None."""
        return self._run(statement, values).fetchone()

    def every(self, statement: str, **values: object) -> Sequence[Row]:
        """All rows of a named query."""
        return self._run(statement, values).fetchall()

    def _run(self, name: str, values: Mapping[str, object]) -> psycopg.Cursor[dict[str, Any]]:
        return self._connection.execute(WRITING[name] if self._writes else READING[name], values)
