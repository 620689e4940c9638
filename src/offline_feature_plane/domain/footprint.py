"""About how much memory a build takes on one machine: what planning tells, and what decides between memory and files.

The numbers were measured with the local engine. They size buffers and choose a way; no row depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from offline_feature_plane.domain.closure import Aggregation, Closure, Group
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.visibility import Visibility

PROCESS_BYTES = 330_000_000   # interpreter, libraries, compiled kernels, and what allocators keep
ASSERTION_BYTES = 160         # of a label while it is resolved
BLOCK = 1 << 18               # rows that are worked on at once: four leaves
_WRITER_ROWS, _WRITER_TIMES = 131_072, 2   # a row group of a data file: as columns, and encoded
_CHUNKS = 3                   # blocks of rows between the kernels and the writer
_ID, _PLACE, _CHOICE, _ARRIVAL = 12, 9, 13, 16
_KEY = 24                     # of a group: its codes and its slots
_STATES = {"stddev": 32, "quantile": 32, "median": 32, "distinct": 24, "label_rate": 16, "label_count": 16}
_STATE, _FLOATS = 12, 48      # of a function over one of a group's columns, and of an exact sum of floats more


def event_bytes(closure: Closure, visibility: Visibility = "event_time") -> int:
    """Of one event while all groups are computed: its fields, and what the kernels lay out."""
    fields = sum(_width(field.type) + field.nullable for source in closure.sources for field in source.fields)
    arrival = _ARRIVAL if visibility == "arrival" else 0
    return _PLACE + arrival + fields + sum(group_bytes(closure, group, visibility) for group in closure.groups)


def group_bytes(closure: Closure, group: Group, visibility: Visibility = "event_time") -> int:
    """Of one event in the kernels of one group; by arrival the group is laid out twice."""
    kinds = {field.name: field.type.kind for field in closure.source(group.source).fields}
    states = {replace(feature.aggregation, values=(), of_resolved=False) for feature in group.features}
    return (_KEY + sum(_state_bytes(call, kinds) for call in states)) * (2 if visibility == "arrival" else 1)


def staging_bytes(closure: Closure, block: int) -> int:
    """Of rows that are finished and not yet written, if blocks of so many go from hand to hand."""
    row = 64 + sum(9 + 16 * (column.type.kind in {"decimal", "string"}) for column in closure.columns())
    return row * (_CHUNKS * block + _WRITER_TIMES * _WRITER_ROWS)


def held_bytes(closure: Closure, events: int, labels: int, visibility: Visibility = "event_time") -> int:
    """Of a whole build that keeps every event in memory."""
    each = _ID + _CHOICE + event_bytes(closure, visibility)
    return PROCESS_BYTES + staging_bytes(closure, min(BLOCK, events)) + events * each + labels * ASSERTION_BYTES


def _state_bytes(call: Aggregation, kinds: Mapping[str, str]) -> int:
    if call.argument is None and call.condition is None and call.label_type is None:
        return 0
    sums_floats = call.function in {"sum", "sum_if", "mean", "stddev", "ratio"} and kinds.get(call.argument or "") == "float64"
    return _STATES.get(call.function, _STATE) + (_FLOATS if sums_floats else 0)


def _width(kind: ColumnType) -> int:
    return 4 if kind.kind == "string" else 8
