"""How many rows declared gaps matter to: counted once the rows are there, by the events beside each gap (`domain.gap_reach`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.corridor.parts import read_parts
from offline_feature_plane.corridor.stage import Staged
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.columns import Column
from offline_feature_plane.domain.ends import Ends
from offline_feature_plane.domain.gap_reach import Interval, reach_of
from offline_feature_plane.domain.gaps import DeclaredGap
from offline_feature_plane.domain.instants import format_instant

__all__ = ["count_rows", "tell_rows"]


def count_rows(gaps: Sequence[DeclaredGap], ends: Sequence[Ends], closure: Closure, columns: Sequence[Column],
               staged: Staged) -> list[dict[str, Any]]:
    """Of each gap of which nothing is read: the events beside it, and how many rows have windows that may reach over it.

    `rows` have a window of some length over it. `rows_behind` are those behind it, if windows without a beginning or contexts read its
    topic; else null.

    Raises:
        DigestMismatch, RefNotFound, StorageIoFailure: the staged files cannot be read back.
    """
    reaches = [reach_of(gap, ends, closure) for gap in gaps if gap.is_left_out]
    counts = np.zeros((len(reaches), 2), np.int64)
    for batch in read_parts(columns, [part.path for part in staged.parts], only=["ts"]) if reaches else ():
        instants = np.asarray(batch.column(0).cast("int64"))
        counts += [[sum(_within(instants, one) for one in some) for some in (reach.bounded, reach.lasting)] for reach in reaches]
    return [{**reach.gap.describe(), "event_before": _told(reach.begin_us), "event_behind": _told(reach.end_us),
             "rows": int(rows), "rows_behind": int(behind) if reach.lasting else None}
            for reach, (rows, behind) in zip(reaches, counts, strict=True)]


def tell_rows(counted: Sequence[dict[str, Any]], total: int) -> list[str]:
    """The same in sentences."""
    return [f"{one['rows']:,} of {total:,} rows have windows that reach over [{one['start_offset']}, {one['end_offset']}) of "
            f"{one['topic']}/{one['partition']}, {_when(one)}{_behind(one)}." for one in counted]


def _within(instants: npt.NDArray[np.int64], interval: Interval) -> int:
    begin, end = interval
    inside = np.ones(len(instants), np.bool_) if begin is None else instants >= begin
    return int(np.count_nonzero(inside if end is None else inside & (instants < end)))


def _told(us: int | None) -> str | None:
    return None if us is None else format_instant(us)


def _when(one: dict[str, Any]) -> str:
    before, behind = one["event_before"], one["event_behind"]
    if before is None and behind is None:
        return "of which nobody knows when it was"
    if before is None or behind is None:
        return f"which was before {behind}" if before is None else f"which was after {before}"
    return f"which lies between events of {before} and {behind}"


def _behind(one: dict[str, Any]) -> str:
    count = one["rows_behind"]
    return "" if count is None else f"; windows without a beginning, or contexts, may lack it in the {count:,} behind it"
