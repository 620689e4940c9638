"""Row groups of a Parquet segment that hold nothing of what is asked: found by the offsets in them, and left undecoded.

```
 offsets      0 … 99 │ 100 … 199 │ 200 … 299 │ 300 … 399        asked: [150, 220)
 row groups    skipped   decoded     decoded     skipped
```

A group is not skipped because of its statistics: those are a claim of whoever wrote the file, which nothing else depends on, so that a
wrong one would lose records and show nowhere. What the file costs is its digest, over every byte; beside that, to decode the one column of
offsets is next to nothing, and says what statistics only claim. It also keeps what an index entry proves: all offsets of the segment are
seen, in their order, inside of its span, and as many as it counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.filesets import read_batches
from offline_feature_plane.kernels.json_kinds import ABSENT
from offline_feature_plane.kernels.typed_texts import read_integers
from offline_feature_plane.parquet_files import rows_of_groups
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.decoding.spelled import spell

__all__ = ["Skipped", "skipping"]

Spans = Sequence[tuple[int, int]]

_MOST: Final = 1 << 62
_AT_ONCE: Final = 65_536


@dataclass(frozen=True)
class Skipped:
    """What is left out of a file: `groups` are the others, each with its rows; before and behind them so many `rows` up to `last`."""

    groups: Mapping[int, int]
    before: tuple[int, int]
    behind: tuple[int, int]


@dataclass
class _Seen:
    """The row groups of a file as their offsets come."""

    rows: tuple[int, ...]
    asked: Spans
    group: int = 0
    left: int = 0
    before: int = -1
    lasts: list[int] = field(default_factory=list)
    touched: list[bool] = field(default_factory=list)


def skipping(file: PinnedFile, column: str, evidence: SegmentEvidence, asked: Spans) -> Skipped | None:
    """Which row groups need not be decoded; None if it is not so simple, and the whole segment is to be read.

    Args:
        file: a Parquet file at hand, of one segment.
        column: where its offsets are.
        evidence: what its index entry claims.
        asked: what is wanted of it.

    Raises:
        ReplayBasisMismatch: it changes meanwhile. SourceUnreadable: that column is broken.
    """
    first, end = evidence.span
    if evidence.dispositions or any(start <= first and stop >= end for start, stop in asked):
        return None  # what cannot be decoded takes the offset behind the record before it, whatever its own says
    try:
        rows = rows_of_groups(file.path)
        if len(rows) < 2 or sum(rows) != evidence.record_count:
            return None
        seen = _Seen(rows, asked, before=first - 1, lasts=[first - 1] * len(rows), touched=[False] * len(rows))
        begin = 0
        bounds = np.cumsum((0, *rows))
        for batch in read_batches(file, "parquet", [column], most=_AT_ONCE):
            numbers = _numbers(cast("pa.Array", batch[column]))
            if numbers is None or not _follow(numbers, seen.before, end):
                return None
            _note(numbers, begin, bounds, seen)
            begin += len(numbers)
    except (pa.ArrowException, OSError, ValueError):  # whoever reads it whole tells
        return None
    if all(seen.touched):
        return None
    return _chosen(seen)


def _chosen(seen: _Seen) -> Skipped:
    used = [at for at, is_used in enumerate(seen.touched) if is_used] or [0]
    low, high = used[0], used[-1]
    return Skipped({at: seen.rows[at] for at in range(low, high + 1)},
                   (sum(seen.rows[:low]), seen.lasts[low - 1] if low else -1), (sum(seen.rows[high + 1:]), seen.lasts[-1]))


def _numbers(array: pa.Array) -> npt.NDArray[np.int64] | None:
    """Offsets as numbers; None if one of them is none, or not of 64 bits."""
    said = spell(array)
    numbers, asks = np.zeros(len(array), np.int64), np.zeros(len(array), np.bool_)
    read_integers(said.data, said.kinds, said.starts, said.ends, _MOST, True, numbers, asks)  # noqa: FBT003 - kernels have no keywords
    return None if (asks | said.asks | (said.kinds == ABSENT)).any() else numbers


def _follow(numbers: npt.NDArray[np.int64], before: int, end: int) -> bool:
    """Do these ascend from what was before, below an end?"""
    return not len(numbers) or bool(numbers[0] > before and (numbers[1:] > numbers[:-1]).all() and numbers[-1] < end)


def _note(numbers: npt.NDArray[np.int64], begin: int, bounds: npt.NDArray[Any], seen: _Seen) -> None:
    """Which groups these offsets, of rows from `begin` on, belong to; a hole before one may be asked for, too."""
    floors = np.concatenate(([seen.before], numbers))[:-1] + 1
    inside = np.zeros(len(numbers), np.bool_)
    for start, stop in seen.asked:
        inside |= (numbers >= start) & (floors < stop)
    for at in range(int(np.searchsorted(bounds, begin, side="right")) - 1, len(seen.rows)):
        low, high = max(int(bounds[at]) - begin, 0), min(int(bounds[at + 1]) - begin, len(numbers))
        if low >= len(numbers):
            break
        if high > low:
            seen.touched[at] |= bool(inside[low:high].any())
            seen.lasts[at] = int(numbers[high - 1])
    if len(numbers):
        seen.before = int(numbers[-1])
