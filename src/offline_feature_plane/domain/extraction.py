"""How one raw value becomes a typed one: the scalar law of extraction (`decisions.md` D28, D29, `features.md`).

Values inside are bool, int, float, decimals as scaled int, str, timestamps as µs since the epoch (UTC), and None. Fast readers must
agree with these functions; where they cannot decide, they ask them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, NoReturn

from offline_feature_plane.domain.closure import Field, Rounding
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.instants import EARLIEST_US, LATEST_US, parse_offset_instant, parse_wall_reading
from offline_feature_plane.domain.zones import named_zone
from offline_feature_plane.errors import (
    EventSchemaMissingFields,
    NumericOverflow,
    ReplayEventInvalid,
    TimeZoneUndeclared,
)

Value = bool | int | float | str | None

MAX_FLOAT_INTEGER = 2**53
_INTEGER = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_TRUTHS = {**dict.fromkeys(("true", "True", "TRUE", "1"), True), **dict.fromkeys(("false", "False", "FALSE", "0"), False)}
_OFFSET = re.compile(r"([Zz]|[+-][0-9]{2}:[0-9]{2})$")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - `datetime.UTC` and this are one; the long name reads as the law
_MICROSECOND = timedelta(microseconds=1)
_EXACT = Context(prec=1200, Emax=999_999, Emin=-999_999)
_LONGEST = 400


def extract(raw: Any, field: Field, zone: str | None = None) -> Value:
    """Turn a raw value into the field's type, or its `missing:` if it is absent.

    Args:
        raw: bool, int, float, `Decimal`, str, datetime, or None for absent.
        field: declared type, rounding and what absence means.
        zone: in which zone times without an offset were written; None if that is not declared.

    Raises:
        EventSchemaMissingFields: absent, required, and no `missing:` declared.
        ReplayEventInvalid: NaN, an infinity, digits that would be lost, text that does not parse, a kind that the type refuses.
        NumericOverflow: a number that is wider than the type.
        TimeZoneUndeclared: a time without offset where no zone is declared.

    >>> extract("12.50", Field("amount", ColumnType("decimal", 12, 2), ("amount",)))
    1250
    """
    if raw is None:
        if field.missing is not None:
            return missing_value(field)
        if field.nullable:
            return None
        raise EventSchemaMissingFields(f"the field {field.name} is absent.", path=field.name,
                                       fix="Declare `missing: null` or a replacement value, or correct the events.")
    try:
        return convert(raw, field.type, field.round, zone, field.name)
    except (ReplayEventInvalid, NumericOverflow) as wrong:
        if field.identifier is None:
            raise
        raise type(wrong)(f"{field.name} holds an identifier that {field.type} refuses; it is not shown.", path=wrong.path,
                          fix=wrong.fix) from None  # receipts keep messages, and identifiers leave as tokens only (D12)


def extract_mark(raw: Any, field: Field, zone: str | None = None) -> Value:
    """As `extract`, for the id or the time of an event: every event has them, so that the advice is another than for a field."""
    try:
        return extract(raw, field, zone)
    except EventSchemaMissingFields as wrong:
        what = "a time" if field.type.kind == "timestamp" else "an id; if there are none, leave `id` out of plane.yaml"
        raise EventSchemaMissingFields(f"the event's {field.name} is absent.", path=wrong.path, fix=f"Give every event {what}.") from None
    except NumericOverflow as wrong:
        raise NumericOverflow(wrong.what, path=wrong.path, fix="Write the ids as text; int64 holds no longer ones.") from None


def missing_value(field: Field) -> Value:
    """The replacement of an absent value: the field's `missing:` text, read in its type; None if none is declared."""
    if field.missing is None:
        return None
    return convert(field.missing, field.type, field.round, "UTC", f"{field.name}.missing")


def extract_path(payload: Any, path: tuple[str, ...]) -> Any:
    """Follow a path of keys into nested objects; None where a key is absent, null, or its parent is not an object.

    >>> extract_path({"merchant": {"country": "FR"}}, ("merchant", "country"))
    'FR'
    """
    found = payload
    for key in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def convert(raw: Any, kind: ColumnType, rounding: Rounding, zone: str | None, name: str) -> Value:
    """Turn a present raw value into `kind`. Raises as `extract`; `name` is the field or column in the message."""
    if isinstance(raw, float) and raw - raw != 0:
        _refuse(raw, kind, name, "NaN and infinities are not allowed", "Correct the events; write null where a value is unknown.")
    if isinstance(raw, Decimal) and not raw.is_finite():
        _refuse(raw, kind, name, "NaN and infinities are not allowed", "Correct the events; write null where a value is unknown.")
    match kind.kind:
        case "bool":
            return _to_bool(raw, kind, name)
        case "float64":
            return _to_float(raw, kind, name)
        case "decimal":
            return _to_decimal(raw, kind, rounding, name)
        case "string":
            return _to_string(raw, kind, name)
        case "timestamp":
            return to_instant(raw, zone, name)
        case _:
            return _to_integer(raw, kind, name)


def to_instant(raw: Any, zone: str | None, name: str) -> int:
    """Turn a datetime or RFC 3339 text (an offset may be left out if a zone is declared) into µs since the epoch.

    Raises:
        ReplayEventInvalid: another kind of value, no such date, a fraction below a µs, a local time that occurs twice or never, an
            instant outside the years 1 to 9999.
        TimeZoneUndeclared: no offset and no zone.
    """
    kind = ColumnType("timestamp")
    if isinstance(raw, datetime):
        nanoseconds = getattr(raw, "nanosecond", 0)  # pandas' Timestamp is a datetime with more digits
        if nanoseconds:
            _refuse(raw, kind, name, "it is finer than a microsecond", "Round the times to microseconds.")
    elif isinstance(raw, str):
        return _read_text(raw, zone, name)
    else:
        _refuse(raw, kind, name, "a time with a zone, or RFC 3339 text, is expected", "Write times as timestamps or RFC 3339 text.")
    if raw.utcoffset() is not None:
        return _within((raw - _EPOCH) // _MICROSECOND, raw, name)
    return local_to_utc((raw.replace(tzinfo=_EPOCH.tzinfo) - _EPOCH) // _MICROSECOND, zone, name)


def local_to_utc(local_us: int, zone: str | None, name: str) -> int:
    """Turn a wall-clock reading (µs since 1970-01-01T00:00 on that wall) into an instant.

    Raises:
        TimeZoneUndeclared: no zone. ReplayEventInvalid: the reading occurs twice or never in that zone, or its instant lies outside the
            years 1 to 9999.
    """
    if zone is None:
        raise TimeZoneUndeclared(f"{name} holds a time without offset ({_wall(local_us)}) and no zone is declared.", path=name)
    if zone == "UTC":
        return local_us
    clock, wall = named_zone(zone), _wall(local_us)
    early, late = wall.replace(tzinfo=clock, fold=0).utcoffset(), wall.replace(tzinfo=clock, fold=1).utcoffset()
    if early is None or early != late:
        twice = early is not None and late is not None and early > late
        raise ReplayEventInvalid(f"{name} holds {wall}, which {'occurs twice' if twice else 'never occurs'} in {zone}.", path=name,
                                 fix="Write the offset with the time, or write times in UTC.")
    return _within(local_us - early // _MICROSECOND, wall, name)


def _within(us: int, raw: datetime, name: str) -> int:
    if not EARLIEST_US <= us <= LATEST_US:
        _refuse(raw, ColumnType("timestamp"), name, "its instant is outside the years 1 to 9999", "Leave it out if it means never.")
    return us


def _wall(local_us: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=local_us)  # noqa: DTZ001 - a wall reading has no zone by nature


def _read_text(text: str, zone: str | None, name: str) -> int:
    local = _OFFSET.search(text) is None
    try:
        us = parse_wall_reading(text) if local else parse_offset_instant(text)
    except ValueError as wrong:
        raise ReplayEventInvalid(f"{name} holds {_shown(text)}: {wrong}.", path=name,
                                 fix="Write times such as 2026-01-31T23:59:59.000000Z.") from wrong
    return local_to_utc(us, zone, name) if local else us


def _to_bool(raw: Any, kind: ColumnType, name: str) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, int) and raw in (0, 1):
        return raw == 1
    if isinstance(raw, str) and raw in _TRUTHS:
        return _TRUTHS[raw]
    return _refuse(raw, kind, name, "true, false, 0 or 1 is expected", "Declare the field as string, or correct the events.")


def _to_integer(raw: Any, kind: ColumnType, name: str) -> int:
    if isinstance(raw, str) and len(raw) <= _LONGEST and _INTEGER.fullmatch(raw):
        value = int(raw)
    elif isinstance(raw, int) and not isinstance(raw, bool):
        value = raw
    else:
        _refuse(raw, kind, name, "an integer is expected", "Declare decimal(p, s) or float64 for numbers with a fraction.")
    bound = 1 << (int(kind.kind[3:]) - 1)
    if not -bound <= value < bound:
        _overflow(raw, kind, name)
    return value


def _to_float(raw: Any, kind: ColumnType, name: str) -> float:
    if isinstance(raw, int) and not isinstance(raw, bool):
        if abs(raw) > MAX_FLOAT_INTEGER:
            _refuse(raw, kind, name, "a double cannot hold every integer of this size", "Declare int64 or decimal(p, s).")
        value = float(raw)
    elif isinstance(raw, float | Decimal) or (isinstance(raw, str) and len(raw) <= _LONGEST and _FLOAT.fullmatch(raw)):
        value = float(raw)
        if value - value != 0:
            _overflow(raw, kind, name)
    else:
        _refuse(raw, kind, name, "a number is expected", "Correct the events, or declare the field as string.")
    return value + 0.0  # −0.0 becomes 0.0


def _to_decimal(raw: Any, kind: ColumnType, rounding: Rounding, name: str) -> int:
    if isinstance(raw, float):
        if rounding == "exact":
            _refuse(raw, kind, name, "a binary float has no exact decimal", "Declare `round: half_even` for this field.")
        number = Decimal(raw)
    elif isinstance(raw, bool) or not isinstance(raw, int | Decimal | str):
        _refuse(raw, kind, name, "a number is expected", "Correct the events, or declare another type.")
    elif isinstance(raw, str):
        if len(raw) > _LONGEST or not _DECIMAL.fullmatch(raw):
            _refuse(raw, kind, name, "it is not a plain decimal number", "Write plain numbers such as -12.50.")
        number = Decimal(raw)
    else:
        number = Decimal(raw)
    if number and number.adjusted() >= kind.precision - kind.scale:
        _overflow(raw, kind, name)
    scaled = number.scaleb(kind.scale, _EXACT)
    whole = scaled.quantize(Decimal(1), ROUND_HALF_EVEN, _EXACT) if scaled.adjusted() >= -2 else Decimal(0)
    if whole != scaled and rounding == "exact":
        _refuse(raw, kind, name, f"it has more than {kind.scale} decimals", "Declare `round: half_even`, or more decimals.")
    if abs(whole) >= 10**kind.precision:
        _overflow(raw, kind, name)
    return int(whole)


def _to_string(raw: Any, kind: ColumnType, name: str) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw)
    return _refuse(raw, kind, name, "text or an integer is expected", "Declare the type that the events really carry.")


def _shown(raw: Any) -> str:
    if isinstance(raw, datetime | date):
        return str(raw)
    text = str(raw) if isinstance(raw, Decimal) else repr(raw)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _refuse(raw: Any, kind: ColumnType, name: str, why: str, fix: str) -> NoReturn:
    raise ReplayEventInvalid(f"{name} holds {_shown(raw)}, which {kind} refuses: {why}.", path=name, fix=fix)


def _overflow(raw: Any, kind: ColumnType, name: str) -> NoReturn:
    raise NumericOverflow(f"{name} holds {_shown(raw)}, which does not fit {kind}.", path=name,
                          fix="Declare a wider type, or correct the events.")


