"""The aggregations of the feature language: one small class each, found by name (`features.md` Numbers, `decisions.md` D23, D27–D31).

A class says what an aggregation accepts, what it gives, and its meaning as a naive function over the events of one window. Engines compute
the same values faster: `kernels.catalog` names the reducer of each. `@register` makes one findable; a module holds one family.
"""

from __future__ import annotations

from offline_feature_plane.domain.aggregation_kind import NO_EVIDENCE, AggregationKind, Result, WindowContents, WindowEvent
from offline_feature_plane.domain.aggregations import counting, frequencies, labels, ordering, standing, summing, trends
from offline_feature_plane.domain.aggregations.registry import aggregation_kind, register, registered, unregister
from offline_feature_plane.domain.aggregations.summing import nearest_root

__all__ = ["NO_EVIDENCE", "AggregationKind", "Result", "WindowContents", "WindowEvent", "aggregation_kind", "nearest_root", "register",
           "registered", "unregister"]

_FAMILIES = (counting, summing, ordering, frequencies, trends, standing, labels)
