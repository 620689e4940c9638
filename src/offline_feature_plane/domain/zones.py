"""Time zones by pinned rules: those of the installed `tzdata` wheel, never the host's (`decisions.md` D11)."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from offline_feature_plane.errors import SettingsInvalid

_NAME = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,3}")


@cache
def named_zone(zone: str) -> ZoneInfo:
    """The zone of this IANA name, spelled exactly.

    Raises:
        SettingsInvalid: there is none.

    >>> named_zone("Europe/Paris").key
    'Europe/Paris'
    """
    unknown = SettingsInvalid(f"{zone!r} is not a known time zone.", path="zone", fix="Use an IANA name such as Europe/Paris, or UTC.")
    if not _NAME.fullmatch(zone):
        raise unknown
    try:
        with resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as rules:
            return ZoneInfo.from_file(rules, key=zone)
    except (ValueError, OSError) as wrong:
        raise unknown from wrong
