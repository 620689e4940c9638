"""The aggregations of the feature language: one small class each, found by name (`features.md` Numbers, `decisions.md` D23, D27–D31).

A class says what an aggregation accepts, what it gives, and its meaning as a naive function over the events of one window. Engines compute
the same values faster. `@register` makes one findable; its docstring is its entry in the reference.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, cast

from offline_feature_plane.domain.closure import Aggregation
from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS, ColumnType, NumericClass
from offline_feature_plane.domain.extraction import Value
from offline_feature_plane.domain.instants import US_PER_SECOND
from offline_feature_plane.errors import AggregationUnsupported, NumericOverflow

__all__ = ["NO_EVIDENCE", "AggregationKind", "Result", "Seen", "aggregation_kind", "registered"]


class _NoEvidence:
    """Type of `NO_EVIDENCE`."""

    def __repr__(self) -> str:
        return "NO_EVIDENCE"


#: What an aggregation gives for a window without contributing events or values: null, or what `empty:` says instead.
NO_EVIDENCE = _NoEvidence()
Result = Value | _NoEvidence


@dataclass(frozen=True)
class Seen:
    """One event of a window: its instant, whether it is the row's own, the argument's value, and its label as known to the row.

    `label` is the resolved value of the aggregation's label type; None while it is NOT_FOUND or CONFLICT.
    """

    ts_us: int
    own: bool = False
    value: Value = None
    label: str | None = None


class AggregationKind(ABC):
    """What all aggregations have: a name, an algebra, argument rules, an output type, and a meaning."""

    name: ClassVar[str]
    version: ClassVar[str] = "v1"
    numeric_class: ClassVar[NumericClass] = "exact"
    #: How two halves of a window combine, in words, for those who write a kernel.
    algebra: ClassVar[str]
    #: What nulls of the argument do.
    null_rule: ClassVar[str] = "Null values are ignored."
    argument: ClassVar[Literal["none", "optional", "field", "label"]] = "field"
    #: Gives 0 for an empty window, so `empty:` has nothing to replace.
    zero_when_empty: ClassVar[bool] = False
    #: Looks strictly before the row's own event even under `current`.
    past_only: ClassVar[bool] = False
    #: Values come out as they went in, so identifiers stay identifiers.
    keeps_values: ClassVar[bool] = False

    @abstractmethod
    def output(self, argument: ColumnType | None) -> ColumnType | str:
        """The output type over this argument type; a sentence if it is refused."""

    @abstractmethod
    def meaning(self, events: Sequence[Seen], call: Aggregation, argument: ColumnType | None, row_us: int) -> Result:
        """The value over a window's events, which stand in the total order. Raises NumericOverflow."""


_REGISTRY: dict[str, AggregationKind] = {}


def register(kind: type[AggregationKind]) -> type[AggregationKind]:
    """Make an aggregation findable by its name."""
    _REGISTRY[kind.name] = kind()
    return kind


def registered() -> dict[str, AggregationKind]:
    """Every aggregation by name, in the order of the reference."""
    return dict(_REGISTRY)


def aggregation_kind(name: str) -> AggregationKind:
    """The aggregation of this name.

    Raises:
        AggregationUnsupported: there is none; with the nearest name.
    """
    if name in _REGISTRY:
        return _REGISTRY[name]
    close = difflib.get_close_matches(name, _REGISTRY, 1)
    raise AggregationUnsupported(f"There is no aggregation {name!r}.",
                                 fix=f"Did you mean {close[0]}?" if close else f"Known: {', '.join(_REGISTRY)}.")


INT64, FLOAT64 = ColumnType("int64"), ColumnType("float64")


def _values(events: Sequence[Seen]) -> list[Any]:
    return [event.value for event in events if event.value is not None]


def _order(value: Any) -> Any:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


class _Extreme(AggregationKind):
    """Minimum and maximum share everything but the direction."""

    keeps_values = True
    place: ClassVar[int]

    def output(self, argument: ColumnType | None) -> ColumnType | str:
        """The field's own type."""
        if argument is None or argument.kind == "bool":
            return f"{self.name} over {argument} is not defined.|Count them instead: use a group with `where`."
        return argument

    def meaning(self, events: Sequence[Seen], call: Aggregation, argument: ColumnType | None, row_us: int) -> Result:  # noqa: ARG002 - same
        """The extreme of the non-null values; texts by UTF-8 bytes."""
        values = _values(events)
        ordered: list[Value] = sorted(values, key=_order)
        return ordered[self.place] if ordered else NO_EVIDENCE


@register
class Count(AggregationKind):
    """`count()` is the number of events; `count(x)` of those whose x is not null."""

    name, argument, zero_when_empty = "count", "optional", True
    algebra = "A sum of ones; subtractable."

    def output(self, argument: ColumnType | None) -> ColumnType | str:  # noqa: ARG002 - one signature for all
        """Always int64."""
        return INT64

    def meaning(self, events: Sequence[Seen], call: Aggregation, argument: ColumnType | None, row_us: int) -> Result:  # noqa: ARG002 - same
        """How many."""
        return len(_values(events)) if call.argument else len(events)


@register
class Distinct(AggregationKind):
    """`distinct(x)` is the number of different non-null values of x."""

    name, zero_when_empty = "distinct", True
    algebra = "A multiset of values; subtractable by counting occurrences."

    def output(self, argument: ColumnType | None) -> ColumnType | str:  # noqa: ARG002 - same
        """Always int64."""
        return INT64

    def meaning(self, events: Sequence[Seen], call: Aggregation, argument: ColumnType | None, row_us: int) -> Result:  # noqa: ARG002 - same
        """How many different ones."""
        return len(set(_values(events)))


@register
class Sum(AggregationKind):
    """`sum(x)` is the exact sum of integers or decimals; 0 over no values. Beyond int64 or 18 digits it is NUMERIC_OVERFLOW."""

    name, zero_when_empty = "sum", True
    algebra = "An exact integer sum in more than 64 bits; subtractable. Only the final value must fit."

    def output(self, argument: ColumnType | None) -> ColumnType | str:
        """int64 of integers, decimal(18, s) of decimals."""
        return _summable(self.name, argument) or (
            ColumnType("decimal", MAX_DECIMAL_DIGITS, cast("ColumnType", argument).scale) if _is_decimal(argument) else INT64)

    def meaning(self, events: Sequence[Seen], call: Aggregation, argument: ColumnType | None, row_us: int) -> Result:  # noqa: ARG002 - same
        """The sum; scaled for decimals."""
        total: int = sum(_values(events))
        fits = abs(total) < 10**MAX_DECIMAL_DIGITS if _is_decimal(argument) else -2**63 <= total < 2**63
        if not fits:
            width = "18 digits" if _is_decimal(argument) else "int64"
            raise NumericOverflow(f"{call.function}({call.argument}) is {total}, beyond {width}.",
                                  fix="Use a shorter window, a smaller scale, or mean.")
        return total


@register
class Mean(AggregationKind):
    """`mean(x)` is the correctly rounded float64 quotient of the exact sum and the number of non-null values."""

    name = "mean"
    algebra = "An exact sum and a count; subtractable. One correctly rounded division at the end."

    def output(self, argument: ColumnType | None) -> ColumnType | str:
        """Always float64."""
        return _summable(self.name, argument) or FLOAT64

    def meaning(self, events: Sequence[Seen], call: Aggregation, argument: ColumnType | None, row_us: int) -> Result:  # noqa: ARG002 - same
        """Σ / (n · 10^scale), rounded once."""
        values = _values(events)
        scale = argument.scale if argument else 0
        return float(Fraction(sum(values), len(values) * 10**scale)) if values else NO_EVIDENCE


@register
class Min(_Extreme):
    """`min(x)` is the smallest non-null value; texts by UTF-8 bytes."""

    name = "min"
    algebra = "The smaller of two; not subtractable (a monotone queue slides it)."
    place = 0


@register
class Max(_Extreme):
    """`max(x)` is the largest non-null value; texts by UTF-8 bytes."""

    name = "max"
    algebra = "The larger of two; not subtractable (a monotone queue slides it)."
    place = -1


class _Standing(AggregationKind):
    """Takes the value of one event by its place in the total order, even if that value is null."""

    null_rule = "The event's value is taken even if it is null."
    keeps_values = True
    place: ClassVar[int]

    def output(self, argument: ColumnType | None) -> ColumnType | str:
        """The field's own type."""
        return argument or f"{self.name} needs a field.|"

    def meaning(self, events: Sequence[Seen], call: Aggregation, argument: ColumnType | None, row_us: int) -> Result:  # noqa: ARG002 - same
        """The value of that event."""
        seen = [event for event in events if not (self.past_only and event.own)]
        return seen[self.place].value if seen else NO_EVIDENCE


@register
class First(_Standing):
    """`first(x)` is x of the window's earliest event in the total order, even if null."""

    name, place = "first", 0
    algebra = "The left one; slides with the window's lower end."


@register
class Last(_Standing):
    """`last(x)` is x of the window's latest event, even if null; the row's own under `current: included`."""

    name, place = "last", -1
    algebra = "The right one; slides with the window's upper end."


@register
class Previous(_Standing):
    """`previous(x)` is x of the window's latest event other than the row's own, whatever `current` says."""

    name, place, past_only = "previous", -1, True
    algebra = "The right one, without the row's own event."


class _Elapsed(AggregationKind):
    """Seconds from one event of the window to the row."""

    argument = "none"
    null_rule = "It has no argument."
    place: ClassVar[int]

    def output(self, argument: ColumnType | None) -> ColumnType | str:  # noqa: ARG002 - same
        """Always float64."""
        return FLOAT64

    def meaning(self, events: Sequence[Seen], call: Aggregation, argument: ColumnType | None, row_us: int) -> Result:  # noqa: ARG002 - same
        """µs ÷ 10⁶, rounded once."""
        seen = [event for event in events if not (self.past_only and event.own)]
        return float(Fraction(row_us - seen[self.place].ts_us, US_PER_SECOND)) if seen else NO_EVIDENCE


@register
class SecondsSinceFirst(_Elapsed):
    """`seconds_since_first()` is the time from the window's earliest event to the row."""

    name, place = "seconds_since_first", 0
    algebra = "The smallest instant; slides with the window's lower end."


@register
class SecondsSinceLast(_Elapsed):
    """`seconds_since_last()` is the time from the window's latest event other than the row's own to the row."""

    name, place, past_only = "seconds_since_last", -1, True
    algebra = "The largest instant, without the row's own event."


@register
class LabelCount(AggregationKind):
    """`label_count(type, VALUE…)` is the number of events whose label, as known at the row, is one of the values."""

    name, argument, zero_when_empty = "label_count", "label", True
    null_rule = "NOT_FOUND and CONFLICT do not match."
    algebra = "A sum of matches; subtractable, but an event's match changes as labels become known."

    def output(self, argument: ColumnType | None) -> ColumnType | str:  # noqa: ARG002 - same
        """Always int64."""
        return INT64

    def meaning(self, events: Sequence[Seen], call: Aggregation, argument: ColumnType | None, row_us: int) -> Result:  # noqa: ARG002 - same
        """How many match."""
        return sum(event.label in call.values for event in events)


@register
class LabelRate(AggregationKind):
    """`label_rate(type, VALUE…)` divides the matching events by all events of the window; with `of: resolved` by the resolved ones."""

    name, argument = "label_rate", "label"
    null_rule = "NOT_FOUND and CONFLICT do not match; they divide unless `of: resolved`."
    algebra = "Two sums of matches; subtractable, but an event's match changes as labels become known. One correctly rounded division."

    def output(self, argument: ColumnType | None) -> ColumnType | str:  # noqa: ARG002 - same
        """Always float64."""
        return FLOAT64

    def meaning(self, events: Sequence[Seen], call: Aggregation, argument: ColumnType | None, row_us: int) -> Result:  # noqa: ARG002 - same
        """Matches ÷ n, rounded once."""
        counted = [event for event in events if event.label is not None] if call.of_resolved else list(events)
        matched = sum(event.label in call.values for event in counted)
        return float(Fraction(matched, len(counted))) if counted else NO_EVIDENCE


def _is_decimal(argument: ColumnType | None) -> bool:
    return argument is not None and argument.kind == "decimal"


def _summable(name: str, argument: ColumnType | None) -> str | None:
    if argument is not None and argument.is_exact_number:
        return None
    if argument is not None and argument.kind == "float64":
        return f"{name} over float64 would depend on the order of additions.|Declare decimal(p, s) for the field."
    return f"{name} over {argument} is not defined.|It takes integers and decimals."
