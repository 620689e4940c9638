"""Archived records as text: JSON that reads back to the very values, numbers included."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

__all__ = ["json_text", "record_line"]

# It refuses decimals, for which it knows no text; most payloads have none.
_usual: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def json_text(value: Any) -> str:
    """A value as JSON without blanks; decimals as the digits that they are.

    >>> json_text({"amount": Decimal("12.50"), "tags": ["é", None, True]})
    '{"amount":12.50,"tags":["é",null,true]}'
    """
    try:
        return _usual(value)
    except TypeError:
        return _exact(value)


def _exact(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_usual(name)}:{_exact(one)}' for name, one in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_exact, value))}]"
    return _usual(value)


def record_line(names: Sequence[str], members: Sequence[Any]) -> bytes:
    r"""A record as a line.

    >>> record_line(["offset", "payload"], ["7", {"n": 1}])
    b'{"offset":"7","payload":{"n":1}}\n'
    """
    return f"{json_text(dict(zip(names, members, strict=True)))}\n".encode()
