"""SQL in one hand: pieces of it are constants, or put together from constants, whole numbers and other pieces; never from text (R13)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import duckdb

__all__ = ["Sql", "ask", "listed", "sql"]


@dataclass(frozen=True)
class Sql:
    """A piece of SQL, made by `sql` and `listed` only."""

    text: str


def sql(template: str, **parts: Sql | int) -> Sql:
    """A piece of SQL from a literal template, whose `{names}` stand for other pieces or whole numbers.

    Raises:
        TypeError: a part is something else, such as text of a user.

    >>> sql("SELECT {what} FROM t LIMIT {most}", what=sql("count(*)"), most=3).text
    'SELECT count(*) FROM t LIMIT 3'
    """
    return Sql(template.format_map({name: _text(part) for name, part in parts.items()}))


def listed(pieces: Iterable[Sql]) -> Sql:
    """Pieces with commas between them."""
    return Sql(", ".join(piece.text for piece in pieces))


def ask(connection: duckdb.DuckDBPyConnection, statement: Sql, **values: Any) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows; values of users travel as parameters, `$name` in the statement. Raises duckdb.Error."""
    return connection.execute(statement.text, values or None).fetchall()


def _text(part: Sql | int) -> str:
    if isinstance(part, Sql):
        return part.text
    if type(part) is int:
        return str(part)
    raise TypeError(f"{type(part).__name__} cannot be part of a statement; pass it as a value")
