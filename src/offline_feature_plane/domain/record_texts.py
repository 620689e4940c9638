"""Archived records as text: JSON that reads back to the very values, numbers included."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

__all__ = ["json_text", "record_line"]

_quoted: Final = json.JSONEncoder(ensure_ascii=False).encode


def json_text(value: Any) -> str:
    """A value as JSON without blanks; decimals as the digits that they are.

    >>> json_text({"amount": Decimal("12.50"), "tags": ["é", None, True]})
    '{"amount":12.50,"tags":["é",null,true]}'
    """
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        return str(value)
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_quoted(name)}:{json_text(one)}' for name, one in value.items())}}}"
    return f"[{','.join(map(json_text, value))}]"


def record_line(names: Sequence[str], members: Sequence[Any]) -> bytes:
    r"""A record as a line.

    >>> record_line(["offset", "payload"], ["7", {"n": 1}])
    b'{"offset":"7","payload":{"n":1}}\n'
    """
    return f"{{{','.join(f'{_quoted(name)}:{json_text(one)}' for name, one in zip(names, members, strict=True))}}}\n".encode()
