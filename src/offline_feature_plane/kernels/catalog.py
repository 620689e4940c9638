"""The kernels' side of the door for aggregations: the reducer of each by name.

One line here, one class beside its kernels there: `reducer` imports the module when the first feature asks for it, so that planning
may ask `has` without loading a compiler. A plug-in registers its class itself.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offline_feature_plane.kernels.reducing import Reducer

__all__ = ["has", "modules", "names", "reducer", "register", "unregister"]

_CLASSES: dict[str, str | type[Reducer[Any]]] = {
    "count": "summing.CountReducer",
    "distinct": "distinct.DistinctReducer",
    "sum": "summing.SumReducer",
    "mean": "summing.MeanReducer",
    "stddev": "summing.StddevReducer",
    "count_if": "summing.CountReducer",
    "sum_if": "summing.SumReducer",
    "ratio": "summing.RatioReducer",
    "streak": "streaks.StreakReducer",
    "quantile": "ranks.QuantileReducer",
    "median": "ranks.QuantileReducer",
    "mode": "frequencies.FrequentReducer",
    "top_k": "frequencies.FrequentReducer",
    "entropy": "entropies.EntropyReducer",
    "trend": "slopes.TrendReducer",
    "ewma": "fading.EwmaReducer",
    "min": "extremes.MinReducer",
    "max": "extremes.MaxReducer",
    "first": "ends.FirstReducer",
    "last": "ends.LastReducer",
    "previous": "ends.PreviousReducer",
    "seconds_since_first": "ends.SecondsSinceFirstReducer",
    "seconds_since_last": "ends.SecondsSinceLastReducer",
    "label_count": "labelled.LabelCountReducer",
    "label_rate": "labelled.LabelRateReducer",
}


def has(name: str) -> bool:
    """Is there a reducer of this name?"""
    return name in _CLASSES


def names() -> tuple[str, ...]:
    """Every name."""
    return tuple(_CLASSES)


def modules(functions: Iterable[str] | None = None) -> tuple[str, ...]:
    """The kernel modules of this package that contain the reducers of these functions, or of all."""
    found = (_CLASSES.get(name) for name in (_CLASSES if functions is None else functions))
    return tuple(dict.fromkeys(where.partition(".")[0] for where in found if isinstance(where, str)))


def reducer(name: str) -> Reducer[Any]:
    """The reducer of this name. Raises ValueError if there is none."""
    where = _CLASSES.get(name)
    if where is None:
        raise ValueError(f"there is no reducer {name!r}; there are {', '.join(_CLASSES)}")
    if isinstance(where, str):
        module, _, title = where.partition(".")
        where = cast("type[Reducer[Any]]", getattr(importlib.import_module(f"{__package__}.{module}"), title))
    return where()


def register(name: str, reducer_class: type[Reducer[Any]]) -> None:
    """Make the kernels compute the aggregation of this name."""
    _CLASSES[name] = reducer_class


def unregister(name: str) -> None:
    """Take back what was registered under a name; KeyError if nothing was."""
    del _CLASSES[name]
