"""Rows for local days, weeks or months: one for each of them and everybody who is there (`docs/decisions/0036`).

```
                June       July       August
   anna   ──●──●────┃───●──────┃──────────┃──▶     ● events    ┃ a row: the last instant of a month
   ben    ──────────│─────●────┃─────●────┃──▶     │ none: ben had no event until then
```

A row stands at the last instant of its period and after all other events of that instant, so that a calendar window is the whole period.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from offline_feature_plane.domain.periods import Period, first_day, first_instant, next_day

__all__ = ["MOST_PERIODS", "Calendar", "day_number", "name_of", "row_name", "rows_source"]

MOST_PERIODS = 36_600  # every day of a century

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Calendar:
    """The periods that have a row about every entity with an event of `source` by their end.

    They are the local days, weeks or months of `zone` that begin with a day from `start_day` on and before `end_day`, in days since
    1970-01-01.
    """

    source: str
    every: Period
    zone: str
    start_day: int
    end_day: int

    def ends(self) -> dict[int, str]:
        """The last instant of each period in µs, ascending, with the period's first day; a day that clocks leave out is no period.

        >>> from offline_feature_plane.domain.instants import format_instant
        >>> found = Calendar("tx", "day", "Pacific/Apia", day_number("2011-12-29"), day_number("2012-01-01")).ends()
        >>> [(format_instant(at_us), day) for at_us, day in found.items()]
        [('2011-12-30T09:59:59.999999Z', '2011-12-29'), ('2011-12-31T09:59:59.999999Z', '2011-12-31')]
        """
        day, found = first_day(self.start_day, self.every), dict[int, str]()
        while day < self.end_day:
            after = next_day(day, self.every)
            end_us = first_instant(after, self.zone)
            if day >= self.start_day and end_us > first_instant(day, self.zone):
                found[end_us - 1] = date.fromordinal(day + _EPOCH_ORDINAL).isoformat()
            day = after
        return found


def day_number(text: str) -> int:
    """A calendar day such as `2026-03-01` in days since 1970-01-01. Raises ValueError: it is none."""
    day = date.fromisoformat(text)
    if day.isoformat() != text:  # other spellings of days
        raise ValueError(text)
    return day.toordinal() - _EPOCH_ORDINAL


def name_of(source: str, entity: str, every: str) -> str:
    """The name of what a calendar makes, which no source of a profile can have.

    >>> name_of("payment", "account", "month")
    'account of payment by month'
    """
    return f"{entity} of {source} by {every}"


def rows_source(subject: Mapping[str, Any]) -> str:
    """The name of the source whose events are rows, from the `subject` of an intent or an identity."""
    calendar = subject.get("calendar")
    return str(subject["source"]) if calendar is None else name_of(subject["source"], subject["entity"], calendar["every"])


def row_name(entity: str, day: str) -> str:
    """The id of the row about an entity and a period, which begins with a day; labels name it.

    >>> row_name("anna", "2026-03-01")
    'anna@2026-03-01'
    """
    return f"{entity}@{day}"
