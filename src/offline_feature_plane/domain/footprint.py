"""About how much memory a build takes on one machine: what planning tells, and what decides between memory and files.

The numbers were measured with the local engine. They size buffers and choose a way; no row depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from offline_feature_plane.domain.closure import Aggregation, Closure, Group
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.visibility import Visibility

PROCESS_BYTES = 370_000_000   # interpreter, libraries with their files, compiled kernels, and what allocators keep
ASSERTION_BYTES = 160         # of a label while it is resolved
BLOCK = 1 << 18               # rows that are worked on at once: four leaves
LEAST_BLOCK = 1 << 16         # and where there is little memory: one
LEAST_DATA = 16 << 20         # bytes for events, below which pieces would be too many
_WRITER_ROWS, _WRITER_TIMES = 131_072, 2   # a row group of a data file: as columns, and encoded
_CHUNKS = 4                   # blocks of rows between the kernels, where they lie row by row, and the writer
_RECORD, _SCANNED = 120, 16   # of a record of a log until its keys are compared, and of each of its fields
_ID, _PLACE, _CHOICE, _ARRIVAL = 12, 9, 13, 16
_TEXT_ID, _STAGED_ID = 45, 120   # of an event whose id is a text; and of a row, whose id is at hand five times on its way to a file
_TEXT, _TEXT_TIMES = 50, 5    # of a distinct text: its place in a table of hashes; and so often its bytes are there
_KEY = 24                     # of a group: its codes and its slots
_STATES = {"stddev": 32, "quantile": 32, "median": 32, "distinct": 24, "label_rate": 16, "label_count": 16,
           "mode": 16, "top_k": 16, "entropy": 16, "trend": 64, "ewma": 72}
_STATE, _FLOATS = 12, 48      # of a function over one of a group's columns, and of an exact sum of floats more
_WINDOW = {"mode": 16, "top_k": 16, "entropy": 4}   # of each of its windows more
_LISTED = 33                  # of a value in a list: its place, and its text
_LAYOUTS = 3                  # of a group by arrival: as it happened, in worlds that rows share, and as edits of one another
_ORDERED = 44                 # and of its events in the order of arrival: slots again, and places in both orders
_DIGITS = {"sum": 24, "sum_if": 24, "mean": 24, "stddev": 64}   # of each value's digits, of floats that reach over 80 bits
_WORLDS, _TIMES, _PARTS = 1 << 19, 8, 64 << 20   # events of worlds at once, of each event so often at most; bytes of what worlds share
_SUMS = {"sum", "sum_if", "mean", "stddev", "ratio", "trend", "ewma"}


def scanned_bytes(closure: Closure, records: int) -> int:
    """Of so many records of logs from when they are read until they are events: their heads, their keys, their fields."""
    return records * (_RECORD + sum(_SCANNED for source in closure.sources for _ in source.fields))


def event_bytes(closure: Closure, visibility: Visibility = "event_time") -> int:
    """Of one event while all groups are computed: its fields, and what the kernels lay out."""
    fields = sum(_width(field.type) + field.nullable for source in closure.sources for field in source.fields)
    arrival = _ARRIVAL if visibility == "arrival" else 0
    return _PLACE + arrival + fields + sum(group_bytes(closure, group, visibility) for group in closure.groups)


def group_bytes(closure: Closure, group: Group, visibility: Visibility = "event_time") -> int:
    """Of one event in the kernels of one group; by arrival the group is laid out thrice, and in the order of arrival."""
    kinds = {field.name: field.type.kind for field in closure.source(group.source).fields}
    states = {replace(feature.aggregation, values=(), of_resolved=False) for feature in group.features}
    windows = sum(_WINDOW.get(feature.aggregation.function, 0) for feature in group.features)
    each = _KEY + windows + sum(_state_bytes(call, kinds) for call in states)
    if visibility == "event_time":
        return each
    return _LAYOUTS * each + _ORDERED + sum(_DIGITS.get(call.function, 0) for call in states)


def staging_bytes(closure: Closure, block: int, rows: int, *, text_ids: bool = False) -> int:
    """Of rows that are finished and not yet written, if blocks of so many go from hand to hand; there are at most so many `rows`."""
    parts = sum(_LISTED * (feature.aggregation.most or 0) for group in closure.groups for feature in group.features)
    texts = _STAGED_ID if text_ids else 0
    row = 64 + texts + parts + sum(9 + 16 * (column.type.kind in {"decimal", "string"}) for column in closure.columns())
    return row * (_CHUNKS * min(block, rows) + _WRITER_TIMES * min(_WRITER_ROWS, rows))


def uniting_bytes(size: int, count: int) -> int:
    """Of so many distinct texts of this size together, while those of several runs become one dictionary."""
    return _TEXT_TIMES * size + _TEXT * count


def least_bytes(closure: Closure, events: int, *, text_ids: bool = False) -> int:
    """Of a build over files whose pieces are as small as they make sense."""
    return PROCESS_BYTES + LEAST_DATA + staging_bytes(closure, LEAST_BLOCK, events, text_ids=text_ids)


def held_bytes(closure: Closure, events: int, labels: int, visibility: Visibility = "event_time", *, text_ids: bool = False) -> int:
    """Of a whole build that keeps every event in memory."""
    each = (_TEXT_ID if text_ids else _ID) + _CHOICE + event_bytes(closure, visibility)
    seen = _seen_bytes(closure, events) if visibility == "arrival" else 0
    asked = max((presence_bytes(closure, group, visibility) for group in closure.demanded()), default=0)
    staged = staging_bytes(closure, BLOCK, events, text_ids=text_ids)
    return PROCESS_BYTES + staged + events * (each + asked) + labels * ASSERTION_BYTES + seen


def presence_bytes(closure: Closure, group: Group, visibility: Visibility) -> int:
    """Of one event while it is asked whether rows have a context: its place and key once more, and what counts."""
    return _PLACE + _ID + 2 * _ID * len(group.key) + group_bytes(closure, group.presence(), visibility)


def _seen_bytes(closure: Closure, events: int) -> int:
    """Of what rows see by arrival, while they are computed again: one group at a time."""
    widest = max((group_bytes(closure, group) for group in closure.groups), default=0)
    return min(_WORLDS, _TIMES * events) * widest + min(_PARTS, _TIMES * events * widest)


def _state_bytes(call: Aggregation, kinds: Mapping[str, str]) -> int:
    if call.argument is None and call.condition is None and call.label_type is None:
        return 0
    sums_floats = call.function in _SUMS and kinds.get(call.argument or "") == "float64"
    return _STATES.get(call.function, _STATE) + (_FLOATS if sums_floats else 0)


def _width(kind: ColumnType) -> int:
    return 4 if kind.kind == "string" else 8
