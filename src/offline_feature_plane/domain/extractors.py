"""Extraction compiled once for a field, for readers that type millions of payloads (`decisions.md` D28, D29).

A compiled extractor gives what `extract(extract_path(payload, field.path), field, zone)` gives, and raises what it raises: it settles the
ordinary kinds of values itself and asks the scalar law about all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extraction import MAX_FLOAT_INTEGER, Value, extract, extract_path

_ABSENT = object()
_ONE_KIND: dict[str, type] = {"string": str, "bool": bool}

Extractor = Callable[[Mapping[str, Any]], Value]
Usual = Callable[[Any], Any]


def extractor(field: Field, zone: str | None = None) -> Extractor:
    """The function that takes a payload to the value of a field; it raises as `domain.extraction.extract`.

    >>> extractor(Field("amount", ColumnType("decimal", 12, 2), ("money", "amount")))({"money": {"amount": "12.50"}})
    1250
    """
    if len(field.path) > 1:
        return _followed(field, zone)
    (key,) = field.path
    if field.type.kind in _ONE_KIND:
        plain = _ONE_KIND[field.type.kind]

        def picked(payload: Mapping[str, Any]) -> Value:
            raw = payload.get(key)
            return raw if type(raw) is plain else extract(raw, field, zone)  # type: ignore[return-value]  # `plain` is the type of the field
        return picked
    usual = _usual(field.type)

    def taken(payload: Mapping[str, Any]) -> Value:
        raw = payload.get(key)
        value = usual(raw)
        return extract(raw, field, zone) if value is _ABSENT else value
    return taken


def _followed(field: Field, zone: str | None) -> Extractor:
    usual, path = _usual(field.type), field.path

    def followed(payload: Mapping[str, Any]) -> Value:
        raw = extract_path(payload, path)
        value = usual(raw)
        return extract(raw, field, zone) if value is _ABSENT else value
    return followed


def _usual(kind: ColumnType) -> Usual:
    """What settles the ordinary raw values of a type; it gives `_ABSENT` for all others."""
    if kind.kind in _ONE_KIND:
        plain = _ONE_KIND[kind.kind]
        return lambda raw: raw if type(raw) is plain else _ABSENT
    if kind.kind == "float64":
        return _usual_float
    if kind.kind == "decimal":
        return _usual_decimal(kind)
    if kind.kind == "timestamp":
        return lambda _: _ABSENT
    bound = 1 << (int(kind.kind[3:]) - 1)
    return lambda raw: raw if type(raw) is int and -bound <= raw < bound else _ABSENT


def _usual_float(raw: Any) -> Any:
    if (type(raw) is Decimal and raw.is_finite()) or (type(raw) is int and -MAX_FLOAT_INTEGER <= raw <= MAX_FLOAT_INTEGER):
        value = float(raw) + 0.0
        return value if value - value == 0 else _ABSENT
    return _ABSENT


def _usual_decimal(kind: ColumnType) -> Usual:
    """Integers, Decimals and plain texts of moderate length that fit the scale exactly; ±10^precision is out of reach of a fit."""
    factor, bound, scale = 10**kind.scale, 10**kind.precision, kind.scale

    def scaled(raw: Any) -> Any:
        if type(raw) is int:
            whole = raw * factor if -bound < raw < bound else bound
            return whole if -bound < whole < bound else _ABSENT
        text = raw if type(raw) is str else str(raw) if type(raw) is Decimal else ""
        head, point, tail = text.partition(".")
        short = scale - len(tail)
        if len(text) > 40 or short < 0 or not text.isascii() or not head.removeprefix("-").isdigit() or (point and not tail.isdigit()):
            return _ABSENT
        whole = int(head + tail) * 10**short
        return whole if -bound < whole < bound else _ABSENT
    return scaled
