"""The quick ways to write and to read canonical JSON, where nothing is unusual (`domain.md` §3).

For the restricted value set RFC 8785 is simple: no float is spelled, ASCII keys sort alike by code point and by UTF-16, and text has
the same shortest escapes in both. So the text can be written in one pass that checks while it writes. Whatever it cannot vouch for
raises `Unusual`, and the caller takes the slow way, which knows the answer or where the value is wrong. Reading is alike: one pass of
the parser whose hooks raise where the slow way would mark. Equality of the two ways is a law with a test.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any

SAFE_INTEGER = 2**53 - 1
MAX_DEPTH = 64
MAX_NUMBER_CHARACTERS = 400
_MANY = 64

quoted: Callable[[str], str] = encode_basestring  # only what JSON must escape is escaped, as RFC 8785 asks
"""Text as a JSON string."""


class Unusual(Exception):
    """This value is not for the quick way."""


def usual_text(value: Any, depth: int = 0, *, as_stored: bool = False) -> str:
    """RFC 8785 text of a restricted value at nesting depth `depth`; `as_stored` as in `domain.canonical.canonical_bytes`.

    Half surrogates are not looked for: they show when the text is encoded as UTF-8.

    Raises:
        Unusual: a key that is not ASCII, or anything that may have no canonical form.

    >>> usual_text({"b": [1, True, None], "a": "é"})
    '{"a":"é","b":[1,true,null]}'
    """
    kind = type(value)
    if kind is str:
        if not as_stored and not value.isascii() and not unicodedata.is_normalized("NFC", value):
            raise Unusual
        return quoted(value)
    if kind is int:
        if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
            raise Unusual
        return str(value)
    if value is None or kind is bool:
        return "null" if value is None else "true" if value else "false"
    if depth == MAX_DEPTH:
        raise Unusual
    if kind is dict:
        template, ordered = shape(value)
        return template % tuple([usual_text(item, depth + 1, as_stored=as_stored) for item in ordered(value)])
    if kind is list or kind is tuple:
        return f"[{','.join([usual_text(item, depth + 1, as_stored=as_stored) for item in value])}]"
    raise Unusual


def shape(value: dict[Any, Any]) -> tuple[str, Callable[[dict[Any, Any]], Sequence[Any]]]:
    """How an object with these keys is written: its text with `%s` for each member's value, and the getter of those values in their order.

    Raises:
        Unusual: a key that is not ASCII text.

    >>> template, ordered = shape({"b": 1, "a": 2})
    >>> template % tuple(ordered({"b": 1, "a": 2}))
    '{"a":2,"b":1}'
    """
    return _shape(*value) if len(value) <= _MANY else _shape_of(*value)


def _shape_of(*keys: Any) -> tuple[str, Callable[[dict[Any, Any]], Sequence[Any]]]:
    if not all(type(key) is str and key.isascii() for key in keys):
        raise Unusual
    names = sorted(keys)
    template = ",".join([f"{quoted(name).replace('%', '%%')}:%s" for name in names])
    if len(names) > 1:
        return f"{{{template}}}", itemgetter(*names)
    return f"{{{template}}}", lambda value: list(value.values())


_shape = lru_cache(maxsize=1024, typed=True)(_shape_of)  # events of one type share their keys; typed: only strings are keys


def read_usual(text: str, *, exact: bool) -> Any:
    """A JSON document in which nothing needs a second look: the value that `domain.canonical.load_json` gives.

    Args:
        text: decoded from UTF-8, so a half surrogate can only come as an escape; few brackets cannot be deep.
        exact: integers of any size and Decimals; else only integers within ±(2⁵³ − 1).

    Raises:
        Unusual, ValueError, ArithmeticError, RecursionError: it may be wrong.

    >>> read_usual('{"a": [1.50]}', exact=True)
    {'a': [Decimal('1.50')]}
    """
    if text.count("{") + text.count("[") > MAX_DEPTH or "\\ud" in text or "\\uD" in text:
        raise Unusual
    document, end = (_EXACT if exact else _RESTRICTED).raw_decode(text)
    if end != len(text) and text[end:].strip(" \t\n\r"):
        raise Unusual
    return document


def _single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unusual
    return found


def _usual_integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise Unusual
    return int(text)


def _safe_integer(text: str) -> int:
    if len(text) > 17 or not -SAFE_INTEGER <= (number := int(text)) <= SAFE_INTEGER:
        raise Unusual
    return number


def _usual_decimal(text: str) -> Decimal:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise Unusual
    return Decimal(text)


def _unusual(_: str) -> Any:
    raise Unusual


_EXACT = json.JSONDecoder(object_pairs_hook=_single, parse_constant=_unusual, parse_float=_usual_decimal, parse_int=_usual_integer)
_RESTRICTED = json.JSONDecoder(object_pairs_hook=_single, parse_constant=_unusual, parse_float=_unusual, parse_int=_safe_integer)
