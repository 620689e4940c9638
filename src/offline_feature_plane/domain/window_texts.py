"""Windows as the profile spells them, such as `7d`, `lifetime`, `last_5`, `calendar(day, Europe/Paris)` (`decisions.md` D32)."""

from __future__ import annotations

import re

from offline_feature_plane.domain.closure import Window
from offline_feature_plane.domain.instants import parse_duration
from offline_feature_plane.domain.periods import PERIODS
from offline_feature_plane.domain.zones import named_zone

__all__ = ["parse_window"]

_LAST = re.compile(r"last_?([0-9]+)")
_CALL = re.compile(r"([A-Za-z_]+) *\(([^()]*)\)")
_MAXIMUM = re.compile(r"max *: *")
_MOST_EVENTS = 999_999_999
_FORMS = {"calendar": "calendar(day, Europe/Paris)", "tumbling": "tumbling(1d)", "session": "session(30m, max: 12h)"}


def parse_window(text: str) -> Window:
    """Read a window as the profile spells it; its label is how column names end.

    Raises:
        ValueError: no such window; the message is a sentence. SettingsInvalid: no such zone.

    >>> parse_window("last_5").label, parse_window("session(30m, max: 12h)").label, parse_window("calendar(week, UTC)").label
    ('last5', 'session30m', 'week')
    """
    spelled = text.strip()
    if spelled == "lifetime":
        return Window("lifetime", "lifetime")
    if match := _LAST.fullmatch(spelled):
        return _last(spelled, match[1])
    if match := _CALL.fullmatch(spelled):
        kind, arguments = match[1], [one.strip() for one in match[2].split(",")]
        if kind not in _FORMS:
            raise ValueError(f"there is no window {kind!r}; write a length such as 7d, lifetime, last_5, {', '.join(_FORMS.values())}")
        return {"calendar": _calendar, "tumbling": _tumbling, "session": _session}[kind](spelled, arguments)
    if "(" in spelled or ")" in spelled:
        raise ValueError(f"{text!r} is not a whole window; put quotes around one that has a comma, such as \"{_FORMS['calendar']}\"")
    try:
        return Window("sliding", spelled, parse_duration(spelled))
    except ValueError as wrong:
        if spelled[:1].isdigit():
            raise
        raise ValueError(f"{text!r} is not a window; write a length such as 7d, lifetime, last_5, {', '.join(_FORMS.values())}") from wrong


def _last(text: str, digits: str) -> Window:
    if digits.startswith("0") or len(digits) > len(str(_MOST_EVENTS)) or text != f"last_{digits}":
        raise ValueError(f"{text!r} is not a number of events; write last_5, with a whole number from 1 to {_MOST_EVENTS:,}")
    return Window("last", f"last{digits}", count=int(digits))


def _calendar(text: str, arguments: list[str]) -> Window:
    if arguments[0] not in PERIODS:
        raise ValueError(f"{text!r} has no period that calendars know here; it is one of {', '.join(PERIODS)}")
    if len(arguments) != 2 or not arguments[1]:
        raise ValueError(f"{text!r} needs one zone, whose clocks say when a {arguments[0]} begins; write calendar({arguments[0]}, UTC) or "
                         f"calendar({arguments[0]}, Europe/Paris)")
    return Window("calendar", arguments[0], period=arguments[0], zone=named_zone(arguments[1].strip("'")).key)


def _tumbling(text: str, arguments: list[str]) -> Window:
    if len(arguments) != 1:
        raise ValueError(f"{text!r} needs one length; write {_FORMS['tumbling']}")
    return Window("tumbling", f"tumbling{arguments[0]}", parse_duration(arguments[0]))


def _session(text: str, arguments: list[str]) -> Window:
    gap_us = parse_duration(arguments[0])
    if len(arguments) != 2 or not _MAXIMUM.match(arguments[1]):
        raise ValueError(f"{text!r} needs a declared maximum, how far back it may reach; write session({arguments[0]}, max: 12h)")
    most = _MAXIMUM.sub("", arguments[1], count=1)
    most_us = parse_duration(most)
    if most_us < gap_us:
        raise ValueError(f"the maximum {most} of {text!r} is shorter than its gap {arguments[0]}; write a longer one")
    return Window("session", f"session{arguments[0]}", most_us, gap_us=gap_us)
