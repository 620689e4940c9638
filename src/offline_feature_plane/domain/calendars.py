"""Rows at the ends of local days, weeks or months: a spine that a calendar makes (`docs/decisions/0036`).

```
                June       July       August
   anna   ──●──●────┃───●──────┃──────────┃──▶     ● events    ┃ the first instant of a month
   ben    ──────────│─────●────┃─────●────┃──▶     │ ben is not there yet: he has no event before
```

A row stands at the first instant of a period and before all other events of that instant, so that it sees whole periods and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.periods import Period, first_day, first_instant, next_day

__all__ = ["MOST_INSTANTS", "Calendar", "day_number", "instant_name", "name_of", "row_name", "rows_source"]

MOST_INSTANTS = 36_600  # every day of a century

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Calendar:
    """At which instants there is a row about every entity that had an event of `source` before.

    They are the first instants of the local days, weeks or months of `zone` that begin with a day from `start_day` on and before
    `end_day`, in days since 1970-01-01.
    """

    source: str
    every: Period
    zone: str
    start_day: int
    end_day: int

    def instants(self) -> tuple[int, ...]:
        """The instants in µs, ascending, each once: where clocks leave a day out, the next one begins at the same instant.

        >>> from offline_feature_plane.domain.instants import parse_instant
        >>> Calendar("tx", "day", "Pacific/Apia", day_number("2011-12-29"), day_number("2012-01-01")).instants() == tuple(
        ...     map(parse_instant, ("2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z")))
        True
        """
        day = first_day(self.start_day, self.every)
        found: dict[int, None] = {}
        while day < self.end_day:
            if day >= self.start_day:
                found[first_instant(day, self.zone)] = None
            day = next_day(day, self.every)
        return tuple(found)


def day_number(text: str) -> int:
    """A calendar day such as `2026-03-01` in days since 1970-01-01. Raises ValueError: it is none."""
    if len(text) != len("2026-03-01"):
        raise ValueError(text)
    return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL


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


def row_name(entity: str, at_us: int) -> str:
    """The id of a row about an entity, which labels name.

    >>> row_name("anna", 0)
    'anna@1970-01-01T00:00:00Z'
    """
    return f"{entity}@{instant_name(at_us)}"


def instant_name(at_us: int) -> str:
    """An instant of a calendar as row ids have it: periods begin at whole seconds.

    >>> instant_name(US_PER_DAY)
    '1970-01-02T00:00:00Z'
    """
    return format_instant(at_us).replace(".000000Z", "Z")
