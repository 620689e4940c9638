"""What is found about the columns of a user's file: plain values that guesses are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["integer", "decimal", "float", "string", "bool", "timestamp", "zoned_timestamp", "day", "near_time", "binary", "other"]


@dataclass(frozen=True)
class ColumnSummary:
    """One column. Numbers and times that a file keeps as text count as what they spell.

    Attributes:
        name: as in the file.
        kind: what its values are; `zoned_timestamp` carries its zone, `timestamp` does not. A `day` is not an instant; a `near_time` is
            text that would be one with seconds or a whole offset.
        nulls: how many are null.
        distinct: about how many different values there are.
        unique: is every value different and none null?
        repeats: how many rows hold a value that another row holds already, if these are few and none is null; else 0.
        repeated: some of those values.
        same_rows: are the rows that share a value equal in every column?
        digits: digits before the point of the largest number.
        scale: digits after the point that hold every value; None if there is no such number up to 6.
        min_us, max_us: for times, in µs UTC, reading times without zone as UTC; without those that are far away.
        far: how many times mean "never" or "unknown", or lie years away from nearly all others.
        values: all values as text with their counts, most frequent first, if there are at most 24.
    """

    name: str
    kind: Kind
    nulls: int = 0
    distinct: int = 0
    unique: bool = False
    digits: int = 0
    scale: int | None = 0
    min_us: int | None = None
    max_us: int | None = None
    values: tuple[tuple[str, int], ...] = ()
    repeats: int = 0
    repeated: tuple[str, ...] = ()
    same_rows: bool = False
    far: int = 0

    @property
    def is_id(self) -> bool:
        """Does it name each row, or each of a few equal ones?"""
        return self.kind in ("integer", "string") and (self.unique or (self.repeats > 0 and self.same_rows))

    @property
    def is_time(self) -> bool:
        """Does it hold instants?"""
        return self.kind in ("timestamp", "zoned_timestamp")

    @property
    def is_number(self) -> bool:
        """Does it hold numbers?"""
        return self.kind in ("integer", "decimal", "float")


@dataclass(frozen=True)
class TableSummary:
    """One file or folder of files: its path as plane.yaml will spell it, the stem of its name, rows, columns; the path as it was given."""

    path: str
    stem: str
    rows: int
    columns: tuple[ColumnSummary, ...]
    given: str = ""

    @property
    def said(self) -> str:
        """The path as it was given."""
        return self.given or self.path


@dataclass(frozen=True)
class LagSummary:
    """How long after their events labels were observed, in µs; None where no label meets an event."""

    events: int
    labelled: int
    p50_us: int | None
    p99_us: int | None


class LabelProbe(Protocol):
    """Answers questions that need both files at once. Arguments are column names; instants in µs UTC."""

    def lags(self, *, event_id: str, event_time: str, subject: str, observed: str) -> LagSummary:
        """How many events have a label, and how late."""

    def meets(self, *, event_id: str, subject: str) -> int:
        """How many rows of the label column `subject` are values of the events' column `event_id`; whole floats count as integers."""

    def answered(self, *, event_id: str, event_time: str, subject: str, observed: str, asof_us: int, cut_us: int) -> tuple[int, int]:
        """Of the events up to `cut_us`: how many there are, and how many have a label observed by `asof_us`."""
