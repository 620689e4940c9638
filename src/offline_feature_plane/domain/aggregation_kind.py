"""What an aggregation is, as a class that `domain.aggregations` fills in once per name (`features.md` Numbers)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from offline_feature_plane.domain.closure import Aggregation
from offline_feature_plane.domain.columns import ColumnType, NumericClass
from offline_feature_plane.domain.extraction import Value
from offline_feature_plane.errors import AggregationUnsupported

__all__ = ["NO_EVIDENCE", "AggregationKind", "Result", "WindowContents", "WindowEvent"]


class _NoEvidence:
    """Type of `NO_EVIDENCE`."""

    def __repr__(self) -> str:
        return "NO_EVIDENCE"


#: What an aggregation gives for a window without contributing events or values: null, or what `empty:` says instead.
NO_EVIDENCE = _NoEvidence()
Result = Value | _NoEvidence


@dataclass(frozen=True)
class WindowEvent:
    """One event of a window: its instant, whether it is the row's own, the argument's value, and its label as known to the row.

    Where the call has a condition that is not true, the value is None; where it has no argument, the value of a true one is True.
    `label` is the resolved value of the aggregation's label type; None while it is NOT_FOUND or CONFLICT.
    """

    ts_us: int
    own: bool = False
    value: Value = None
    label: str | None = None


@dataclass(frozen=True)
class WindowContents:
    """One window as a row sees it: its events in the total order, the call that asks, the argument's type, and the row's instant."""

    events: Sequence[WindowEvent]
    call: Aggregation
    argument: ColumnType | None
    row_us: int

    @property
    def values(self) -> list[Any]:
        """The values that are not null, decimals as scaled ints."""
        return [event.value for event in self.events if event.value is not None]


class AggregationKind(ABC):
    """Everything that distinguishes one aggregation from another; code asks the kind, and never compares names.

    The docstring of a subclass begins with the call and becomes its entry in the reference.
    """

    name: ClassVar[str]
    #: Another meaning is another version: it becomes part of every closure that uses it, and of the manifest.
    version: ClassVar[str] = "v1"
    numeric_class: ClassVar[NumericClass] = "exact"
    #: How two halves of a window combine, in words, for those who write a kernel.
    algebra: ClassVar[str]
    #: What nulls of the argument do.
    null_rule: ClassVar[str] = "Null values are ignored."
    argument: ClassVar[Literal["none", "optional", "field", "label"]] = "field"
    #: Ends with a condition over the fields of the group's source, as in `count_if(amount > 100)`.
    takes_condition: ClassVar[bool] = False
    #: Ends with a share, as in `quantile(amount, 0.9)`.
    takes_share: ClassVar[bool] = False
    #: May be asked to divide by resolved events only, by `of: resolved`; for those with a `label` argument.
    takes_of_resolved: ClassVar[bool] = False
    #: Gives 0 for an empty window, so `empty:` has nothing to replace.
    zero_when_empty: ClassVar[bool] = False
    #: Looks strictly before the row's own event even under `current`.
    past_only: ClassVar[bool] = False
    #: Values come out as they went in, so identifiers stay identifiers.
    keeps_values: ClassVar[bool] = False
    #: Calculates with values, so it refuses integers that identify something.
    is_arithmetic: ClassVar[bool] = False
    #: Only where a null result may be an event's value: the aggregation that is null exactly over the same windows without any event.
    witness: ClassVar[str | None] = None
    #: The output type, if it is the same whatever goes in.
    gives: ClassVar[ColumnType | None] = None

    def output(self, argument: ColumnType | None) -> ColumnType:
        """The output type over this argument type: what it `gives`, or else the argument's own.

        Raises:
            AggregationUnsupported: it is not defined over this type; without a path, which the caller knows.
        """
        found = self.gives or argument
        if found is None:
            raise AggregationUnsupported(f"{self.name} needs a field.", fix=f"Write {self.name}(field).")
        return found

    @abstractmethod
    def meaning(self, window: WindowContents) -> Result:
        """The value over a window, as plainly as it can be said; engines compute the same faster. Raises NumericOverflow."""
