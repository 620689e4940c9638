"""How large a build may be in memory, and the sizes of its pieces if it is larger (`docs/decisions/0026`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from offline_feature_plane.contracts.plane import memory_bytes
from offline_feature_plane.domain.footprint import BLOCK, LEAST_BLOCK, LEAST_DATA, PROCESS_BYTES, held_bytes, scanned_bytes, staging_bytes
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.ports.inputs import EventInput, PlainTable

__all__ = ["Sizes", "duckdb_limit", "fit", "has_text_ids", "limit_bytes", "needed_bytes"]

_INDEX = 1 << 16
_HELD_RUN = 1 << 20  # in memory that is used again and again: what is fresh is slow
_ENDLESS = 1 << 62
_AMPLE = 256 << 20    # beside the process itself: enough for memory that goes round, and for steps that have a batch ahead
_ID, _TEXT_ID = 24, 64  # of an event in a run: its id and its instant
_MOST_RUN = 1 << 22  # larger runs only take memory: hundreds are merged at once
_LEAST_DUCKDB = 64 << 20
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Sizes:
    """How a build is cut, and whether its events are `in_files` or in memory.

    `block` rows of the output; `run_rows` events of a sorted run; `ids` compared at once; `merge_total` rows at hand while runs are merged;
    `index` positions between two entries of an index; `data` bytes are for the events of one slice and their kernels, `texts` for
    the distinct texts of all fields. Where the limit leaves little, a build `is_lean`: it takes longer rather than some ten megabytes more.
    """

    block: int
    run_rows: int
    ids: int
    merge_total: int
    index: int
    data: int
    in_files: bool = True
    texts: int = _ENDLESS
    is_lean: bool = False

    def merge_rows(self, runs: int) -> int:
        """Rows at hand of each of so many runs."""
        return max(1, min(1 << 17, self.merge_total // runs))

    def beside(self, grown: int, task: Task, events: int, limit: int, *, text_ids: bool) -> Sizes:
        """The same, but no more data than there is room for beside what stays until the end: by how much the process has grown.

        Labels, dictionaries, and what allocators did not give back are known when rows are about to be computed, and not before.
        """
        left = limit - grown - staging_bytes(task.closure, self.block, events, text_ids=text_ids)
        return replace(self, data=max(LEAST_DATA, min(self.data, left)))


def limit_bytes(memory_limit: str | None) -> int:
    """The limit of a build in bytes; without one, three quarters of what this machine, or this container, has."""
    if memory_limit is not None:
        return memory_bytes(memory_limit)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no container, or one without a limit
        memory = min(memory, int(_CGROUP.read_text()))
    return memory * 3 // 4


def duckdb_limit(memory_limit: str | None) -> str | None:
    """DuckDB's share of a limit: it joins sparse ids and hashes texts, while nothing else is going on."""
    return None if memory_limit is None else f"{max(_LEAST_DUCKDB, memory_bytes(memory_limit) // 4)}B"


def has_text_ids(task: Task, inputs: Sequence[EventInput]) -> bool:
    """Are the ids of events texts? They are if one input has such; what a calendar makes is called by its entity and day."""
    return task.calendar is not None or not all(isinstance(item, PlainTable) and item.id_type.is_integer for item in inputs)


def needed_bytes(task: Task, events: int, records: int = 0, *, text_ids: bool = False) -> int:
    """What a build needs if it keeps its events in memory, of which so many are records of logs."""
    return held_bytes(task.closure, events, 0, task.visibility, text_ids=text_ids) + scanned_bytes(task.closure, records)


def fit(task: Task, events: int, limit: int, records: int = 0, *, text_ids: bool = False) -> Sizes:
    """The sizes of a build within a limit in bytes, or the smallest that make sense: in memory if everything fits, as one slice."""
    texts = max(limit // 2, limit - PROCESS_BYTES)
    if needed_bytes(task, events, records, text_ids=text_ids) <= limit:
        return Sizes(BLOCK, _HELD_RUN, _ENDLESS, 4 * _HELD_RUN, _INDEX, _ENDLESS, in_files=False, texts=texts)
    block = BLOCK
    while block > LEAST_BLOCK and 4 * staging_bytes(task.closure, block, events, text_ids=text_ids) > limit - PROCESS_BYTES:
        block //= 2
    data = max(LEAST_DATA, limit - PROCESS_BYTES - staging_bytes(task.closure, block, events, text_ids=text_ids))
    fields = sum(24 if field.type.kind == "string" else 9 for source in task.closure.sources for field in source.fields)
    raw = fields + (_TEXT_ID if text_ids else _ID)
    return Sizes(block, min(_MOST_RUN, data // (6 * raw)), data // 24, data // (4 * raw), _INDEX, data, texts=texts,
                 is_lean=limit < PROCESS_BYTES + _AMPLE)

