"""The closed expression language: its typed tree (`features.md`). `domain.grammar` parses it, `domain.evaluation` gives it meaning.

Every node knows its type; a tree that exists is well typed. Values are as everywhere inside: decimals scaled ints, timestamps µs,
None unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal as OneOf

from offline_feature_plane.domain.columns import ColumnType

Arithmetic = OneOf["+", "-", "*", "/"]
Comparison = OneOf["==", "!=", "<", "<=", ">", ">="]
Function = OneOf["hour", "minute", "weekday", "day_of_month", "month", "abs", "is_null", "coalesce", "seconds_between"]


@dataclass(frozen=True)
class Literal:
    """A constant; `value` None is `null` with the type its surroundings give it."""

    value: bool | int | float | str | None
    type: ColumnType


@dataclass(frozen=True)
class Name:
    """A field or column."""

    name: str
    type: ColumnType


@dataclass(frozen=True)
class Negate:
    """Unary minus."""

    operand: Node
    type: ColumnType


@dataclass(frozen=True)
class Binary:
    """`+ - * /`. Integers and decimals exactly (operands are brought to a common scale by `domain.evaluation`), `/` always float64."""

    operator: Arithmetic
    left: Node
    right: Node
    type: ColumnType


@dataclass(frozen=True)
class Compare:
    """A comparison of two values of comparable types: numbers with numbers (exactly), text by UTF-8 bytes, times, booleans (== !=)."""

    operator: Comparison
    left: Node
    right: Node
    type: ColumnType = field(default=ColumnType("bool"))


@dataclass(frozen=True)
class Logic:
    """`and` / `or` by Kleene's three-valued logic."""

    operator: OneOf["and", "or"]
    operands: tuple[Node, ...]
    type: ColumnType = field(default=ColumnType("bool"))


@dataclass(frozen=True)
class Not:
    """Negation; unknown stays unknown."""

    operand: Node
    type: ColumnType = field(default=ColumnType("bool"))


@dataclass(frozen=True)
class In:
    """`x in (a, b)`: unknown if x is null."""

    operand: Node
    options: tuple[Literal, ...]
    type: ColumnType = field(default=ColumnType("bool"))


@dataclass(frozen=True)
class Call:
    """A function of the closed list. Calendar functions carry their `zone` (default UTC)."""

    function: Function
    arguments: tuple[Node, ...]
    type: ColumnType
    zone: str = "UTC"


Node = Literal | Name | Negate | Binary | Compare | Logic | Not | In | Call


@dataclass(frozen=True)
class Expression:
    """A parsed, typed expression. `text` is its canonical spelling: equal meaning by construction of the tree, equal text."""

    text: str
    root: Node

    @property
    def type(self) -> ColumnType:
        """The type of its value."""
        return self.root.type

    def names(self) -> frozenset[str]:
        """Every field or column it reads."""
        return frozenset(node.name for node in walk(self.root) if isinstance(node, Name))

    def zones(self) -> frozenset[str]:
        """Every zone other than UTC that it names (tzdata is part of identity only then, `decisions.md` D11)."""
        return frozenset(node.zone for node in walk(self.root) if isinstance(node, Call) and node.zone != "UTC")


def walk(node: Node) -> Iterator[Node]:
    """A node and everything below it."""
    yield node
    children: tuple[Node, ...]
    match node:
        case Negate(operand=one) | Not(operand=one):
            children = (one,)
        case Binary(left=left, right=right) | Compare(left=left, right=right):
            children = (left, right)
        case Logic(operands=many) | Call(arguments=many):
            children = many
        case In(operand=one, options=options):
            children = (one, *options)
        case _:
            children = ()
    for child in children:
        yield from walk(child)
