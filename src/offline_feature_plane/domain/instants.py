"""Instants as whole microseconds since 1970-01-01T00:00:00Z, and durations as whole microseconds.

One form leaves (`format_instant`), two strict readings come in: `parse_instant` for what people pin (UTC only, so that one instant
has few spellings) and `parse_offset_instant` for data (any explicit offset). All arithmetic is on integers: no float ever
touches a time (`domain.md` §3).
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

US_PER_SECOND = 1_000_000
US_PER_DAY = 86_400 * US_PER_SECOND

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
EARLIEST_US = (date.min.toordinal() - _EPOCH_ORDINAL) * US_PER_DAY
LATEST_US = (date.max.toordinal() + 1 - _EPOCH_ORDINAL) * US_PER_DAY - 1

# The longest duration: below 2^53, so it stays a plain integer in canonical JSON (about 285 years).
LONGEST_DURATION_US = 2**53 - 1

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_INSTANT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(.*)", re.DOTALL)
_OFFSET = re.compile(r"([+-])([0-9]{2}):([0-9]{2})")
_SHORT_OFFSET = re.compile(r"([+-][0-9]{2})([0-9]{2})?")
_MINUTE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2})([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?")
_DURATION = re.compile(r"([1-9][0-9]{0,17})([smhdw])")
_UNIT_US = {"w": 7 * US_PER_DAY, "d": US_PER_DAY, "h": 3_600 * US_PER_SECOND, "m": 60 * US_PER_SECOND, "s": US_PER_SECOND}


def parse_instant(text: str | date | datetime) -> int:
    """µs since the epoch of a pinned instant: a bare date (00:00:00Z) or RFC 3339 in UTC (`Z` or `+00:00`).

    Raises:
        ValueError: another offset or none, more than 6 fraction digits, a leap second, or no such day; the message is a sentence.

    >>> parse_instant("1970-01-02"), parse_instant("1970-01-01T00:00:00.5Z")
    (86400000000, 500000)
    """
    if isinstance(text, datetime):
        return _from_datetime(text)
    if isinstance(text, date):
        return (text.toordinal() - _EPOCH_ORDINAL) * US_PER_DAY
    if _DATE.fullmatch(text):
        return _day_us(text, text)
    if (minute := _MINUTE.fullmatch(text)) and not minute[2]:
        raise ValueError(f"{text!r} has no seconds and no zone; {_in_utc(f'{text}:00')}")
    local_us, fraction, offset = _read(text)
    if len(fraction) > 6:
        raise ValueError(f"{text!r} has {len(fraction)} fraction digits; an instant has at most 6 (microseconds)")
    if offset not in {"Z", "+00:00"} or "T" not in text:
        if not offset or offset in {"Z", "z", "+00:00"}:
            raise ValueError(f"{text!r} {'carries no zone' if not offset else 'is not in the canonical form'}; "
                             f"{_in_utc(text.removesuffix(offset))}")
        raise ValueError(f"{text!r} is not in UTC; write it as YYYY-MM-DDThh:mm:ssZ")
    return local_us


def parse_offset_instant(text: str) -> int:
    """µs since the epoch of an instant found in data: RFC 3339 with `Z` or any explicit offset; `T` may be a space.

    Digits beyond microseconds must be zero. Raises ValueError with a sentence, also if there is no offset.

    >>> parse_offset_instant("1970-01-01T01:00:00.000000000+01:00")
    0
    """
    local_us, offset = _read_whole(text)
    if offset in {"Z", "z"}:
        return local_us
    match = _OFFSET.fullmatch(offset)
    if match is None:
        raise ValueError(f"{text!r} carries no UTC offset" if not offset else _no_offset(text, offset))
    hours, minutes = int(match[2]), int(match[3])
    if hours > 23 or minutes > 59:
        raise ValueError(f"{text!r} has the impossible offset {offset}")
    shift = (hours * 60 + minutes) * 60 * US_PER_SECOND
    return _within(local_us - shift if match[1] == "+" else local_us + shift, text)


def parse_wall_reading(text: str) -> int:
    """µs since 1970-01-01T00:00 on the wall of a time without offset that is found in data. Raises as `parse_offset_instant`.

    >>> parse_wall_reading("1970-01-01 00:00:01")
    1000000
    """
    local_us, offset = _read_whole(text)
    if offset:
        raise ValueError(_no_offset(text, offset))
    return local_us


def format_instant(us: int) -> str:
    """The one canonical text of an instant: `YYYY-MM-DDThh:mm:ss.ffffffZ`.

    Raises:
        ValueError: outside the years 1 to 9999.

    >>> format_instant(-1)
    '1969-12-31T23:59:59.999999Z'
    """
    days, rest = divmod(_within(us, us), US_PER_DAY)
    seconds, fraction = divmod(rest, US_PER_SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{date.fromordinal(days + _EPOCH_ORDINAL).isoformat()}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z"


def parse_duration(text: str) -> int:
    """µs of a positive whole number of `s m h d w`; a day is 86,400 s (`decisions.md` D32).

    Raises:
        ValueError: another spelling, zero, or more than about 285 years.

    >>> parse_duration("7d") == 7 * 86_400 * 1_000_000
    True
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a positive whole number and one of s m h d w, for example 7d")
    us = int(match[1]) * _UNIT_US[match[2]]
    if us > LONGEST_DURATION_US:
        raise ValueError(f"{text!r} is longer than about 285 years")
    return us


def format_duration(us: int) -> str:
    """The shortest text of a duration in the largest of `d h m s` that divides it; weeks are written as days.

    Raises:
        ValueError: not a positive whole number of seconds.

    >>> format_duration(parse_duration("1w")), format_duration(parse_duration("90m"))
    ('7d', '90m')
    """
    for unit in ("d", "h", "m", "s"):
        if us > 0 and us % _UNIT_US[unit] == 0:
            return f"{us // _UNIT_US[unit]}{unit}"
    raise ValueError(f"{us} µs is not a positive whole number of seconds")


def _read_whole(text: str) -> tuple[int, str]:
    """Local µs and offset text, no digit of the fraction lost."""
    local_us, fraction, offset = _read(text)
    if fraction[6:].strip("0"):
        raise ValueError(f"{text!r} is finer than a microsecond")
    return local_us, offset


def _in_utc(text: str) -> str:
    return f"write {text.upper().replace(' ', 'T')}Z if UTC is meant"


def _no_offset(text: str, offset: str) -> str:
    short = _SHORT_OFFSET.fullmatch(offset)
    meant = f"; write {short[1]}:{short[2] or '00'}" if short else ""
    return f"{text!r} ends in {offset!r}, which is not a UTC offset{meant}"


def _read(text: str) -> tuple[int, str, str]:
    """Local µs (cut to microseconds), fraction digits, offset text."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        if day := _DATE.fullmatch(text):
            raise ValueError(f"{text!r} is a day, not an instant; if its first moment is meant, write {day[0]}T00:00:00")
        if short := _MINUTE.fullmatch(text):
            raise ValueError(f"{text!r} has no seconds; write {short[1]}:00{short[2] or ''}")
        raise ValueError(f"{text!r} is not an instant; write it as YYYY-MM-DDThh:mm:ssZ")
    hour, minute, second, fraction = int(match[2]), int(match[3]), int(match[4]), match[5] or ""
    if second == 60:
        raise ValueError(f"{text!r} is a leap second, which no µs count can carry; use the second before or after")
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(f"{text!r} is not a valid time of day")
    seconds = (hour * 60 + minute) * 60 + second
    return _day_us(match[1], text) + seconds * US_PER_SECOND + int(fraction[:6].ljust(6, "0")), fraction, match[6]


def _day_us(day: str, text: str) -> int:
    try:
        return (date.fromisoformat(day).toordinal() - _EPOCH_ORDINAL) * US_PER_DAY
    except ValueError:
        raise ValueError(f"{text!r} names a day that does not exist (years 0001 to 9999)") from None


def _from_datetime(moment: datetime) -> int:
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError(f"{moment.isoformat()} has no zone; write it as YYYY-MM-DDThh:mm:ssZ")
    if offset != timedelta(0):
        raise ValueError(f"{moment.isoformat()} is not in UTC; write it as YYYY-MM-DDThh:mm:ssZ")
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return (moment.toordinal() - _EPOCH_ORDINAL) * US_PER_DAY + seconds * US_PER_SECOND + moment.microsecond


def _within(us: int, spelled: object) -> int:
    if not EARLIEST_US <= us <= LATEST_US:
        raise ValueError(f"{spelled!r} is outside the years 1 to 9999")
    return us
