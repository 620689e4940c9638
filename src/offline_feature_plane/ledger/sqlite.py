"""The run ledger in one SQLite file.

Rollback journal with `synchronous=EXTRA`: a commit that returned survives a power cut, and no version of SQLite has the corruption bug that
write-ahead logs had. Each call opens its own connection, so any thread may call. Writers take the file with `BEGIN IMMEDIATE` and wait
their turn up to `busy_timeout_s`. For this ledger the machine's clock is the database's clock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from offline_feature_plane.domain.runstates import Limits
from offline_feature_plane.errors import InternalError, InvalidTransition, LedgerUnavailable, OfsError
from offline_feature_plane.ledger.connector import STATEMENTS, Nothing, Row, Transaction, sql_file
from offline_feature_plane.ledger.verbs import LedgerVerbs
from offline_feature_plane.plain_files import make_lasting_folder
from offline_feature_plane.ports import Clock

SCHEMA: Final = ("sqlite_0001.sql", "sqlite_0002.sql")  # each file leads from one version to the next

_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_NO_LEDGER: Final = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT}
_NO_ACCESS: Final = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOTFOUND}
_NO_DISK: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_TOOBIG}


class SqliteLedger(LedgerVerbs):
    """A `ports.Ledger` in the file `path`; the first change makes it, with its folder, if there is none.

    Args:
        path: the ledger's file.
        clock: judges leases and dates events.
        limits: after how many attempts only closing is left.
        busy_timeout_s: how long a call waits for other writers.

    Raises:
        LedgerUnavailable: the file cannot be opened or written, is not a ledger, or was made by a newer release.
    """

    name = "sqlite"

    def __init__(self, path: Path, clock: Clock, *, limits: Limits | None = None, busy_timeout_s: float = 30.0) -> None:
        connector = SqliteConnector(path, clock, busy_timeout_s=busy_timeout_s)
        connector.look()
        super().__init__(connector, limits)


class SqliteConnector:
    """Transactions on one SQLite file; every driver error is mapped to an OFS error."""

    def __init__(self, path: Path, clock: Clock, *, busy_timeout_s: float) -> None:
        self._path = path.absolute()
        self._clock = clock
        self._busy_timeout_s = busy_timeout_s
        self._is_prepared = False

    def look(self) -> None:
        """Refuse an existing file that is not a ledger, or one of a newer schema; one of an older schema is brought up to date."""
        if os.path.lexists(self._path):
            with self._mapped(), closing(self._opened("rw")) as connection:
                version = self._version(connection)
            self._is_prepared = version == len(SCHEMA)
            if 0 < version < len(SCHEMA):
                self.prepare()

    def prepare(self) -> None:
        """Make the file, its folder and its tables if they are missing or of an older schema; refuse what is not a ledger."""
        try:
            make_lasting_folder(self._path.parent)
        except OSError as wrong:
            raise LedgerUnavailable(f"the folder {self._path.parent} cannot be created: {wrong.strerror or wrong}.", path=str(self._path),
                                    fix="Choose a folder that can be written.") from wrong
        with self._mapped(), closing(self._opened("rwc")) as connection, _transaction(connection, "BEGIN IMMEDIATE"):
            for script in SCHEMA[self._version(connection):]:
                for statement in _statements(sql_file(script)):
                    connection.execute(statement)
        self._is_prepared = True

    @contextmanager
    def writing(self) -> Iterator[SqliteTransaction]:
        """A transaction that excludes other writers from its beginning."""
        if not self._is_prepared:
            self.prepare()
        with self._mapped(), closing(self._opened("rw")) as connection, _transaction(connection, "BEGIN IMMEDIATE"):
            yield SqliteTransaction(connection, self._clock)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that sees one consistent state; that of an empty ledger where nothing was written yet."""
        if not self._is_prepared and not os.path.lexists(self._path):
            yield Nothing()
            return
        with self._mapped(), closing(self._opened("rw")) as connection, _transaction(connection, "BEGIN"):
            if self._version(connection):
                yield SqliteTransaction(connection, self._clock)
            else:
                yield Nothing()

    def _opened(self, how: str) -> sqlite3.Connection:
        connection = sqlite3.connect(f"{self._path.as_uri()}?mode={how}", uri=True, timeout=self._busy_timeout_s, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            for pragma in ("PRAGMA journal_mode=DELETE", "PRAGMA synchronous=EXTRA", "PRAGMA recursive_triggers=ON",
                           "PRAGMA foreign_keys=ON", "PRAGMA trusted_schema=OFF"):
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
        return connection

    def _version(self, connection: sqlite3.Connection) -> int:
        """The version of the schema; 0 for an empty file. Raises LedgerUnavailable for what is no ledger, or a newer one."""
        tables = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return 0
        if "ledger_schema" not in tables:
            raise LedgerUnavailable("the file is an SQLite database, but not a run ledger.", path=str(self._path),
                                    fix="Point the ledger setting at another file.")
        version = connection.execute("SELECT MAX(version) AS version FROM ledger_schema").fetchone()["version"]
        if version not in range(1, len(SCHEMA) + 1):
            raise LedgerUnavailable(f"the ledger has schema {version}; this release reads {len(SCHEMA)}.", path=str(self._path),
                                    fix="Install the release that wrote it, or a newer one.", schema=version)
        return int(version)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning) as wrong:
            raise mapped(wrong, self._path) from wrong


class SqliteTransaction:
    """Named statements on one open connection."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def now_us(self) -> int:
        """The machine's clock, which is this database's clock."""
        return self._clock.now_us()

    def change(self, statement: str, **values: object) -> int:
        """Run a named statement that writes; how many rows it changed."""
        return self._connection.execute(STATEMENTS[statement], values).rowcount

    def one(self, statement: str, **values: object) -> Row | None:
        """The first row of a named query, or None."""
        row = self._connection.execute(STATEMENTS[statement], values).fetchone()
        return None if row is None else dict(row)

    def every(self, statement: str, **values: object) -> Sequence[Row]:
        """All rows of a named query."""
        return [dict(row) for row in self._connection.execute(STATEMENTS[statement], values)]


def mapped(wrong: Exception, path: Path) -> OfsError:
    """The error of ours that a driver error is: always LedgerUnavailable, but for a statement that the schema's own laws refuse.

    Args:
        wrong: any `sqlite3.Error` or `sqlite3.Warning`.
        path: the ledger's file.
    """
    code = getattr(wrong, "sqlite_errorcode", None)
    kind = None if code is None else code & 0xFF
    if isinstance(wrong, sqlite3.IntegrityError):
        return InvalidTransition(f"the ledger refused a change: {wrong}.", path=str(path), fix="Report this as a defect.")
    if kind in _BUSY:
        return LedgerUnavailable(f"other processes locked the ledger for too long ({wrong}).", path=str(path),
                                 fix="Wait for them to finish and run again; look for a hanging process.")
    if kind in _NO_LEDGER:
        return LedgerUnavailable(f"the file is not a readable ledger ({wrong}).", path=str(path),
                                 fix="Restore it from a copy, or move it aside and run `ofs ledger rebuild`.")
    if kind in _NO_ACCESS:
        return LedgerUnavailable(f"the ledger cannot be opened or written ({wrong}).", path=str(path),
                                 fix="Check that it exists, and that its folder can be written.")
    if kind in _NO_DISK:
        return LedgerUnavailable(f"the disk or memory under the ledger failed ({wrong}).", path=str(path),
                                 fix="Free space, check the disk, run again.")
    return LedgerUnavailable(f"the ledger cannot be used ({type(wrong).__name__}: {wrong}).", path=str(path),
                             fix="Report this as a defect.")


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one; triggers hold semicolons of their own."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise InternalError(f"the schema file ends within a statement: {statement[:60]!r}.", fix="Report this as a defect.")
