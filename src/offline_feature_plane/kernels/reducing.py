"""What a reducer is: how one aggregation is computed over the located windows of a group.

```
   GroupRun ──locates──▶ rows: key, instant, lo … hi per window
                           │
        state (optional)   ├─▶ advance(rows)        once per block, shared by all features of one `state` and argument
                           │
        answer             └─▶ answer(rows, out, valid)     once per block and feature
```

Rows come key by key (`kernels.keyorder`), those of one key in their order, so that what is carried is carried per key. A reducer without a
state reads slots of `lo … hi` directly, and only such a one may overflow: it is asked again about some of the rows. A reducer is defined
beside its kernels and is named in `kernels.catalog`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from offline_feature_plane.kernels.slots import Bools, Int32s, Int64s, Slots

if TYPE_CHECKING:
    from offline_feature_plane.kernels.edits import Edited
    from offline_feature_plane.kernels.labelled import LabelChanges
    from offline_feature_plane.kernels.sliding import Located

__all__ = ["Answer", "Argument", "FeatureRequest", "Inputs", "Overflow", "Reducer", "State"]

Made = TypeVar("Made")


@dataclass(frozen=True)
class FeatureRequest:
    """One output column: `function` over window `window` (index into the run's windows).

    `values` int64, float64 or int32[N] and `valid` bool[N] or None (all valid) are the argument over all positions. Requests that pass
    the same array objects share their state. `scale`: decimal digits of `values`. `limit`: greatest allowed magnitude of a result that
    may overflow, int64 if None. `label` names one of the run's label changes; `of_resolved` divides by resolved events.
    `share` is the decimal text of a quantile's place, `half_life_us` how long ago an event has half the weight.
    Of the `most` most frequent values the one at `place` is asked for.
    """

    function: str
    window: int
    values: npt.NDArray[Any] | None = None
    valid: Bools | None = None
    label: Hashable | None = None
    of_resolved: bool = False
    scale: int = 0
    limit: int | None = None
    share: str | None = None
    half_life_us: int = 0
    most: int = 1
    place: int = 0


class Overflow(NamedTuple):
    """The first row of a block whose result leaves its limits: its place in the block, the exact result, and the limit."""

    row: int
    total: int
    limit: int


#: Writes a block's results and which of them are valid; where a reducer is `never_null`, what is valid is not its business.
Answer = Callable[["Located", npt.NDArray[Any], Bools], "Overflow | None"]


class State(Protocol):
    """What is carried from row to row, for some windows at once."""

    def advance(self, rows: Located) -> None:
        """Take in one block and hold its results, one line per window, until the next."""


Carried = TypeVar("Carried", bound="State | None")


class Argument:
    """An argument's columns of slots, each built when the first feature needs it and then shared."""

    def __init__(self, slots: Slots, values: npt.NDArray[Any] | None, valid: Bools | None) -> None:
        self.slots, self._values = slots, values
        self._valid = None if valid is None or valid.all() else valid
        self._made: dict[Any, Any] = {}

    @cached_property
    def marks(self) -> Bools:
        """Which slots have a value; empty if all have."""
        return np.empty(0, np.bool_) if self._valid is None else self.slots.gather_marks(self._valid)

    @cached_property
    def values(self) -> Int64s:
        """The values per slot as int64, 0 where null. Raises ValueError if there are none."""
        return self._gathered()

    def passing_values(self) -> Int64s:
        """The same for who reads them once: kept only if someone else keeps them already."""
        kept = self.__dict__.get("values")
        return self._gathered() if kept is None else cast("Int64s", kept)

    def once(self, make: Callable[..., Made], *details: Hashable) -> Made:
        """What `make` builds of this argument, and of these details: built for the first feature that asks, then shared."""
        if (make, details) not in self._made:
            self._made[make, details] = make(self, *details)
        return cast("Made", self._made[make, details])

    def _gathered(self) -> Int64s:
        if self._values is None:
            raise ValueError("this function needs values")
        return self.slots.gather(self._values, self._valid)


@dataclass(frozen=True)
class Inputs:
    """What a reducer works on: the group's slots, the key of every position, the feature's argument, all label changes, rows per block."""

    slots: Slots
    key: Int32s
    argument: Argument
    label_changes: Mapping[Any, LabelChanges]
    block: int


class Reducer(ABC, Generic[Carried]):
    """How the kernels compute one aggregation; numbers only, nothing is known of names, fields or types of the domain."""

    #: The type of the results; None: that of the argument.
    result: ClassVar[type[np.generic] | None] = None
    #: Never null, but for rows without a key.
    never_null: ClassVar[bool] = False
    #: Features whose reducers name the same state share one, if they have the argument and the labels in common; None: there is none.
    state: ClassVar[str | None] = None
    #: Calculates with values: they must be there.
    needs_numbers: ClassVar[bool] = False

    def dtype(self, feature: FeatureRequest) -> np.dtype[Any]:
        """The type of a feature's results."""
        if self.result is not None or feature.values is None:
            return np.dtype(self.result or np.int64)
        return feature.values.dtype

    def open_state(self, inputs: Inputs, feature: FeatureRequest, windows: Sequence[int]) -> Carried:  # noqa: ARG002 - for who has one
        """The state over some windows, for this feature and those that share it."""
        return cast("Carried", None)

    @abstractmethod
    def answer(self, inputs: Inputs, feature: FeatureRequest, state: Carried, line: int) -> Answer:
        """What writes the feature's results; `line` is the place of its window in the state."""

    def follow(self, inputs: Inputs, feature: FeatureRequest) -> Edited | None:  # noqa: ARG002 - for who can
        """What follows the events that one window gains and loses, in whatever order; None: the windows must move forward."""
        return None
