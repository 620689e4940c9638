"""Column types by our own closed names, and the role a column plays in a dataset (`decisions.md` F, `domain.md` §6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from offline_feature_plane.domain.elsewhere import TYPES

Kind = Literal["bool", "int8", "int16", "int32", "int64", "float64", "decimal", "string", "timestamp"]
Role = Literal["id", "time", "feature", "label", "target", "split", "weight", "mark"]
NumericClass = Literal["exact", "approximate"]

KINDS: tuple[Kind, ...] = ("bool", "int8", "int16", "int32", "int64", "float64", "decimal", "string", "timestamp")
INTEGER_KINDS: frozenset[str] = frozenset({"int8", "int16", "int32", "int64"})
MAX_DECIMAL_DIGITS = 18

_DECIMAL = re.compile(r"decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)")


@dataclass(frozen=True)
class ColumnType:
    """A closed logical type. Decimals are scaled int64 inside (at most 18 digits); timestamps are int64 µs UTC.

    >>> ColumnType.parse("decimal(12, 2)")
    ColumnType(kind='decimal', precision=12, scale=2)
    >>> str(ColumnType.parse("decimal(12, 2)"))
    'decimal(12,2)'
    """

    kind: Kind
    precision: int = 0
    scale: int = 0

    @staticmethod
    def parse(text: str) -> ColumnType:
        """Read a type as profiles spell it.

        Raises:
            ValueError: not one of the closed names, or a decimal outside 1..18 digits.
        """
        name = text.strip()
        if match := _DECIMAL.fullmatch(name):
            precision, scale = int(match[1]), int(match[2])
            if not 1 <= precision <= MAX_DECIMAL_DIGITS or scale > precision:
                raise ValueError(f"decimal({precision},{scale}) is outside 1 to {MAX_DECIMAL_DIGITS} digits")
            return ColumnType("decimal", precision, scale)
        for kind in KINDS:
            if name == kind and kind != "decimal":
                return ColumnType(kind)
        known = ", ".join("decimal(p,s)" if kind == "decimal" else kind for kind in KINDS)
        meant = TYPES.get(name.lower().partition("(")[0])
        raise ValueError(f"{text!r} is not a type; {f'write {meant}' if meant else f'known: {known}'}")

    def __str__(self) -> str:
        """The canonical spelling, as it is hashed."""
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind

    @property
    def is_integer(self) -> bool:
        """Is it one of the integer widths?"""
        return self.kind in INTEGER_KINDS

    @property
    def is_exact_number(self) -> bool:
        """Can it be summed without rounding?"""
        return self.is_integer or self.kind == "decimal"


@dataclass(frozen=True)
class Column:
    """One column of a dataset: its name, type, role, what it is made from (lineage), and what must be known before it is (availability)."""

    name: str
    type: ColumnType
    role: Role
    nullable: bool = True
    numeric_class: NumericClass = "exact"
    lineage: str = ""
    identifier: str | None = None
    meaning: str = ""
    availability: str = ""
