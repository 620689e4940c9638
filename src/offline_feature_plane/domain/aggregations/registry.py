"""Aggregations by name: `@register` makes one findable, here or in a plug-in."""

from __future__ import annotations

import difflib

from offline_feature_plane.domain.aggregation_kind import AggregationKind
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.elsewhere import AGGREGATIONS
from offline_feature_plane.errors import AggregationUnsupported

__all__ = ["FLOAT64", "INT64", "aggregation_kind", "no_number", "register", "registered", "unregister"]

INT64, FLOAT64 = ColumnType("int64"), ColumnType("float64")
_REGISTRY: dict[str, AggregationKind] = {}


def register(kind: type[AggregationKind]) -> type[AggregationKind]:
    """Make an aggregation findable by its name."""
    _REGISTRY[kind.name] = kind()
    return kind


def unregister(name: str) -> None:
    """Take back what was registered under a name; KeyError if nothing was."""
    del _REGISTRY[name]


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
    lower = name.lower()
    close = [AGGREGATIONS[lower]] if lower in AGGREGATIONS else difflib.get_close_matches(lower, _REGISTRY, 1)
    raise AggregationUnsupported(f"there is no aggregation {name!r}.",
                                 fix=f"Did you mean {close[0]}?" if close else f"Known: {', '.join(_REGISTRY)}.")


def no_number(name: str, argument: ColumnType | None) -> AggregationUnsupported:
    """The error of an aggregation that takes numbers; `argument` is the type that it was given."""
    advice = {"bool": "; of truth values `count_if(x)` is the sum and `ratio(x)` the mean.",
              "string": "; declare the field as one if its texts are numbers."}.get(argument.kind if argument else "", ".")
    return AggregationUnsupported(f"{name} over {argument} is not defined.", fix=f"It takes numbers{advice}")
