"""Canonical bytes and digests of documents, and the one strict way to read JSON (`domain.md` §3).

Canonical bytes are RFC 8785 JSON over a restricted set of values: null, booleans, integers within ±(2⁵³ − 1), NFC text, lists, and
objects with text keys. Decimals and larger integers travel as text, instants as `YYYY-MM-DDThh:mm:ss.ffffffZ`. So equal
bytes mean equal values, in every language.

A digest is never taken of a document's bytes alone: `digest(recipe, payload)` hashes the canonical bytes of
`{"payload": payload, "recipe": recipe}`. The recipe id is the domain prefix: it says what was hashed and how, and two recipes never meet.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import rfc8785

from offline_feature_plane.domain.usual_json import MAX_DEPTH, MAX_NUMBER_CHARACTERS, SAFE_INTEGER, Unusual, read_usual, usual_text
from offline_feature_plane.errors import ResourceExceeded, SchemaInvalid

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def canonical_bytes(value: Any, *, as_stored: bool = False) -> bytes:
    """RFC 8785 bytes of a restricted value.

    Args:
        value: None, bool, int, str, list, tuple or a mapping with text keys, nested.
        as_stored: leave text as it is instead of refusing non-NFC text; only for hashing data of others, never for our documents.

    Raises:
        SchemaInvalid: a float, an integer beyond 2⁵³ − 1, non-NFC text, a lone surrogate, a key that is not text, or another type;
            `path` says where.
        ResourceExceeded: deeper than 64 levels.

    >>> canonical_bytes({"b": [1, True, None], "a": "é"}).decode()
    '{"a":"é","b":[1,true,null]}'
    """
    try:
        return usual_text(value, as_stored=as_stored).encode()
    except (Unusual, UnicodeEncodeError):  # keys that need care, or something to refuse in its place
        return rfc8785.dumps(_restricted(value, "$", 0, as_stored=as_stored))


def digest(recipe: str, payload: Any, *, as_stored: bool = False) -> str:
    """`sha256:<hex>` of the canonical bytes of `{"payload": payload, "recipe": recipe}`; errors as `canonical_bytes`.

    >>> digest("ofs.example.v1", {})
    'sha256:97c0744c5b98f4dedb7738f348703429439196909dd3494d726c1a33f951f437'
    """
    return sha256_of(canonical_bytes({"payload": payload, "recipe": recipe}, as_stored=as_stored))


def sha256_of(data: bytes) -> str:
    """`sha256:<hex>` of bytes as they are: for files and stored artifacts."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hex_of(digest_text: str) -> str:
    """The 64 hex digits of a `sha256:<hex>` text.

    Raises:
        ValueError: not of that form.
    """
    if not _DIGEST.fullmatch(digest_text):
        raise ValueError(f"{digest_text!r} is not a digest; it has the form sha256: and 64 hex digits")
    return digest_text[7:]


def big(number: int) -> int | str:
    """An integer as canonical documents carry it: itself within ±(2⁵³ − 1), else its decimal text.

    >>> big(2**53 - 1), big(2**53)
    (9007199254740991, '9007199254740992')
    """
    return number if -SAFE_INTEGER <= number <= SAFE_INTEGER else str(number)


def load_json(data: bytes | str, *, name: str | None = None, numbers: Literal["restricted", "decimal"] = "restricted",
              max_bytes: int = MAX_DOCUMENT_BYTES) -> Any:
    """Read one JSON document strictly: what the ordinary parser forgives is refused here.

    Args:
        data: UTF-8 bytes without a byte order mark, or text.
        name: the document's name, put before the JSON path of an error.
        numbers: `restricted` refuses fractions, exponents and integers beyond 2⁵³ − 1 as canonical documents do; `decimal` reads
            integers of any size as int and fractions as Decimal, exactly, for data of others.
        max_bytes: budget.

    Raises:
        SchemaInvalid: no JSON, not UTF-8, a duplicate key, NaN or Infinity, a lone surrogate, or a refused number.
        ResourceExceeded: more than `max_bytes`, deeper than 64 levels, or a number of more than 400 characters.
    """
    text = _decode(data, name, max_bytes)
    try:
        if isinstance(data, bytes) or data.isascii():
            return read_usual(text, exact=numbers == "decimal")
    except (Unusual, ValueError, ArithmeticError, RecursionError):  # it may be wrong; the slow way says whether and where
        pass
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_Refused, parse_float=_Fraction, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise SchemaInvalid(f"this is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}.", path=name) from None
    except RecursionError:
        raise ResourceExceeded(f"the document is nested deeper than {MAX_DEPTH} levels.", path=name) from None
    return _checked(document, _place(name, "$"), 0, decimal=numbers == "decimal")


class _Refused(str):
    """The text of a NaN or an infinity, kept until the walk knows its place."""

    __slots__ = ()


class _Fraction(str):
    """The text of a number with a fraction or an exponent."""

    __slots__ = ()


class _Huge(str):
    """The text of an integer with more characters than any budget allows."""

    __slots__ = ()


class _Doubled(dict[str, Any]):
    """An object in which a key appears twice."""

    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled, seen = _Doubled(found), set()
    for key, _ in pairs:
        if key in seen:
            doubled.key = key
            break
        seen.add(key)
    return doubled


def _integer(text: str) -> int | _Huge:
    return int(text) if len(text) <= MAX_NUMBER_CHARACTERS else _Huge(text)


def _decode(data: bytes | str, name: str | None, max_bytes: int) -> str:
    if len(data) > max_bytes:
        raise ResourceExceeded(f"the document has {len(data):,} bytes; the budget is {max_bytes:,}.", path=name)
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SchemaInvalid(f"the document is not UTF-8 (byte {error.start}).", path=name, fix="Save it as UTF-8.") from None
    if data.startswith("\ufeff"):
        raise SchemaInvalid("the document begins with a byte order mark.", path=name, fix="Save it as UTF-8 without a byte order mark.")
    return data


def _checked(value: Any, place: str, depth: int, *, decimal: bool) -> Any:
    """The parsed value with numbers settled; refuses what only a walk can locate."""
    if isinstance(value, (dict, list)) and depth == MAX_DEPTH:
        raise ResourceExceeded(f"the document is nested deeper than {MAX_DEPTH} levels.", path=place)
    if isinstance(value, _Doubled):
        raise SchemaInvalid(f"the key {value.key!r} appears twice.", path=place, fix="Keep one of them.")
    if isinstance(value, dict):
        for key in value:
            _whole_text(key, place)
        return {key: _checked(item, _member(place, key), depth + 1, decimal=decimal) for key, item in value.items()}
    if isinstance(value, list):
        return [_checked(item, f"{place}[{index}]", depth + 1, decimal=decimal) for index, item in enumerate(value)]
    if isinstance(value, str):
        return _checked_text(value, place, decimal=decimal)
    if isinstance(value, int) and not decimal and not -SAFE_INTEGER <= value <= SAFE_INTEGER:
        raise SchemaInvalid(f"the integer {value} exceeds 2^53 - 1.", path=place, fix="Write it as text.")
    return value


def _checked_text(value: str, place: str, *, decimal: bool) -> str | Decimal:
    if isinstance(value, _Refused):
        raise SchemaInvalid(f"{value!s} is not a JSON number.", path=place)
    if isinstance(value, _Huge) or (isinstance(value, _Fraction) and len(value) > MAX_NUMBER_CHARACTERS):
        raise ResourceExceeded(f"a number has {len(value):,} characters; the budget is {MAX_NUMBER_CHARACTERS}.", path=place)
    if isinstance(value, _Fraction):
        if decimal:
            return _decimal(value, place)
        raise SchemaInvalid(f"the number {value!s} has a fraction or an exponent.", path=place, fix="Write decimals as text.")
    return _whole_text(value, place)


def _decimal(text: str, place: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        raise ResourceExceeded(f"the number {text!s} has an exponent that is too large.", path=place) from None


def _restricted(value: Any, place: str, depth: int, *, as_stored: bool) -> Any:
    """The value as plain dicts and lists, or the error that says where it leaves the restricted set."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _canonical_text(value, place, as_stored=as_stored)
    if kind is int:
        if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
            raise SchemaInvalid(f"the integer {value} exceeds 2^53 - 1.", path=place, fix="Write it as text.")
        return value
    if not isinstance(value, (Mapping, list, tuple)):
        raise SchemaInvalid(f"a {kind.__name__} has no canonical form.", path=place, fix="Write floats, decimals and instants as text.")
    if depth == MAX_DEPTH:
        raise ResourceExceeded(f"the value is nested deeper than {MAX_DEPTH} levels.", path=place)
    if isinstance(value, Mapping):
        return {_canonical_key(key, place, as_stored=as_stored):
                _restricted(item, _member(place, str(key)), depth + 1, as_stored=as_stored) for key, item in value.items()}
    return [_restricted(item, f"{place}[{index}]", depth + 1, as_stored=as_stored) for index, item in enumerate(value)]


def _canonical_key(key: Any, place: str, *, as_stored: bool) -> str:
    if type(key) is not str:
        raise SchemaInvalid(f"the key {key!r} is not text.", path=place)
    return _canonical_text(key, place, as_stored=as_stored)


def _canonical_text(text: str, place: str, *, as_stored: bool) -> str:
    if text.isascii():
        return text
    if not as_stored and not unicodedata.is_normalized("NFC", text):
        raise SchemaInvalid(f"the text {text!a} is not in Unicode normal form C.", path=place, fix="Save it in composed form (NFC).")
    return _whole_text(text, place)


def _whole_text(text: str, place: str) -> str:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise SchemaInvalid("a text holds an unpaired surrogate.", path=place)
    return text


def _member(place: str, key: str) -> str:
    return f"{place}.{key}" if _PLAIN_NAME.fullmatch(key) else f"{place}[{key!a}]"


def _place(name: str | None, place: str) -> str:
    return f"{name} {place}" if name else place
