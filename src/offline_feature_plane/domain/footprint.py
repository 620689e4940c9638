"""About how much memory a build takes on one machine: what planning tells, and what decides between memory and files.

The numbers were measured with the local engine. They size buffers and choose a way; no row depends on them.
"""

from __future__ import annotations

from dataclasses import replace

from offline_feature_plane.domain.closure import Closure, Group
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.visibility import Visibility

PROCESS_BYTES = 270_000_000   # interpreter, libraries, compiled kernels
ASSERTION_BYTES = 160         # of a label while it is resolved
_WRITER_ROWS, _WRITER_TIMES = 131_072, 2   # a row group of a data file: as columns, and encoded
BLOCK = 1 << 18               # rows that are worked on at once: four leaves
_CHUNKS = 3                   # blocks of rows between the kernels and the writer
_ID, _PLACE, _LABEL, _CHOICE, _ARRIVAL = 12, 9, 17, 13, 16
_KEY, _STATE = 24, 12         # of a group, and of each function over one of its columns


def event_bytes(closure: Closure, label_types: int, visibility: Visibility = "event_time") -> int:
    """Of one event while all groups are computed: its fields, its labels, and what the kernels lay out."""
    fields = sum(_width(field.type) + field.nullable for source in closure.sources for field in source.fields)
    arrival = _ARRIVAL if visibility == "arrival" else 0
    return _PLACE + arrival + fields + _LABEL * label_types + sum(group_bytes(group, visibility) for group in closure.groups)


def group_bytes(group: Group, visibility: Visibility = "event_time") -> int:
    """Of one event in the kernels of one group; by arrival the group is laid out twice."""
    states = len({replace(one.aggregation, values=(), of_resolved=False) for one in group.features})
    return (_KEY + _STATE * states) * (2 if visibility == "arrival" else 1)


def staging_bytes(closure: Closure, block: int) -> int:
    """Of rows that are finished and not yet written, if blocks of so many go from hand to hand."""
    row = 64 + sum(9 + 16 * (column.type.kind in {"decimal", "string"}) for column in closure.columns())
    return row * (_CHUNKS * block + _WRITER_TIMES * _WRITER_ROWS)


def held_bytes(closure: Closure, label_types: int, events: int, labels: int, visibility: Visibility = "event_time") -> int:
    """Of a whole build that keeps every event in memory."""
    each = _ID + _CHOICE + event_bytes(closure, label_types, visibility)
    return PROCESS_BYTES + staging_bytes(closure, min(BLOCK, events)) + events * each + labels * ASSERTION_BYTES


def _width(kind: ColumnType) -> int:
    return 4 if kind.kind == "string" else 8
