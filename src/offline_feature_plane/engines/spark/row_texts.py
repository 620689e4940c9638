"""Rows of any values as texts and back: two rows that are read back are equal iff the rows were, as Python compares values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

__all__ = ["row_text", "row_values"]


def row_text(values: Sequence[Any]) -> str:
    """The values as JSON. What JSON does not know is an object of one member that says what it is.

    >>> row_text([1, Decimal("1.50"), None, [True, 0.5]])
    '[1, {"decimal": "1.50"}, null, [true, {"float": "0x1.0000000000000p-1"}]]'
    """
    return json.dumps([_spelled(value) for value in values])


def row_values(text: str) -> tuple[Any, ...]:
    """The values of a text of `row_text`; dates, bytes and the like as how Python spells them.

    >>> row_values(row_text([{"a": [Decimal("1.50")]}])) == ({"a": [Decimal("1.5")]},)
    True
    """
    return tuple(_read(value) for value in json.loads(text))


def _spelled(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    if isinstance(value, dict):
        return {"members": [[name, _spelled(item)] for name, item in value.items()]}
    return {"other": [type(value).__name__, repr(value)]}


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, told),) = value.items()
    if kind == "decimal":
        return Decimal(told)
    if kind == "float":
        return float.fromhex(told)
    return {name: _read(item) for name, item in told} if kind == "members" else tuple(told)
