"""What the ledger's verbs need from a database: transactions that run named statements and read the clock.

A connector knows no run and no state. It runs the statements of `sql/queries.sql` by name, and maps its driver's errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import Any, Final, Protocol

Row = Mapping[str, Any]


class Transaction(Protocol):
    """One transaction. Leaving its block without an error commits, durably; an error rolls everything back."""

    def now_us(self) -> int:
        """The database's clock: µs since the epoch, UTC."""

    def change(self, statement: str, **values: object) -> int:
        """Run a named statement that writes; how many rows it changed."""

    def one(self, statement: str, **values: object) -> Row | None:
        """The first row of a named query, or None."""

    def every(self, statement: str, **values: object) -> Sequence[Row]:
        """All rows of a named query."""


class Connector(Protocol):
    """Opens transactions. Raises LedgerUnavailable for whatever the driver raises."""

    def writing(self) -> AbstractContextManager[Transaction]:
        """A transaction that excludes other writers from its beginning."""

    def reading(self) -> AbstractContextManager[Transaction]:
        """A transaction that sees one consistent state."""


class Nothing:
    """A transaction that reads an empty ledger, before anything was written to it."""

    def now_us(self) -> int:
        """Never called."""
        return 0

    def change(self, statement: str, **values: object) -> int:  # noqa: ARG002 - the shape of a transaction
        """Reading changes nothing."""
        return 0

    def one(self, statement: str, **values: object) -> Row | None:  # noqa: ARG002 - the shape of a transaction
        """No row."""
        return None

    def every(self, statement: str, **values: object) -> Sequence[Row]:  # noqa: ARG002 - the shape of a transaction
        """No rows."""
        return ()


def named_statements(text: str) -> dict[str, str]:
    r"""The statements of a query file: `-- name: x`, then the statement.

    >>> named_statements("-- hello\n-- name: one\nSELECT 1\n")
    {'one': 'SELECT 1'}
    """
    found = re.split(r"(?m)^-- name: (\w+)\n", text)
    return {name: statement.strip() for name, statement in zip(found[1::2], found[2::2], strict=True)}


def sql_file(name: str) -> str:
    """The text of a file in `ledger/sql`."""
    return (files(__package__) / "sql" / name).read_text(encoding="utf-8")


STATEMENTS: Final[Mapping[str, str]] = named_statements(sql_file("queries.sql"))
