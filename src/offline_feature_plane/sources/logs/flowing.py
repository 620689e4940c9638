"""Batches of a log in its order, made in steps: where there are several cores, each step is a thread that has one batch ahead.

```
 files  ──read, tell apart──▶ half a batch ──hash, hold against claims──▶ batch ──▶ whoever takes them
          a thread                           a thread                               the caller's thread
 a bus  ─────────────────────────────────────────────────────────────────────────▶  as before: all of it
```

Every step takes what comes in order, so that errors, what is found on the way, and budgets come as if one thread did everything. What
waits between two steps is one batch. A bus stays with the caller: it waits for somebody else, and must be left at once when told to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.basis import Lane, Range
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs.stretches import (
    COMING,
    Batch,
    QuickStretch,
    SteppedStretch,
    Stretch,
    ahead,
    check,
    in_batches,
    in_groups,
    lane_of,
    merged,
    wanted_of,
)
from offline_feature_plane.threads import one_ahead

__all__ = ["END", "Flow", "Placed", "batches_in_order", "flow_of", "next_groups"]

Placed = tuple[Lane, Batch, npt.NDArray[np.bool_] | None]
"""A batch with its lane, and a mask of the records that are inside of the ranges; None: all of them."""


@dataclass(frozen=True)
class End:
    """A group of stretches is through."""


END = End()
Flow = Generator[Placed | End]
_Made = Placed | End | Iterator[Placed] | None
_Step = Callable[[], _Made]


def batches_in_order(stretches: Sequence[Stretch], ranges: Sequence[Range], wanted: Wanted | None, threads: int = 1) -> Generator[Placed]:
    """As `stretches.read_in_order`, in batches.

    With `wanted` stretches that can decode many records at a time do so; what they do not find in payloads is not asked for. Close it if
    it is left early.
    """
    check(stretches)
    with closing(flow_of(in_groups(stretches), ranges, wanted, threads)) as flow:
        for placed in flow:
            if not isinstance(placed, End):
                yield placed


def flow_of(groups: Iterable[Sequence[Stretch]], ranges: Sequence[Range], wanted: Wanted | None, threads: int = 1) -> Flow:
    """The batches of groups of stretches that are checked, and an `END` behind each group. Arguments as `batches_in_order`."""
    several = threads > 1 and wanted is not None  # what is read one by one holds the interpreter anyway
    coming = 0 if several else COMING  # steps that wait are ahead already
    steps = _steps(ahead(map(list, groups), coming), ranges, wanted)
    with closing(one_ahead(_made(one_ahead(steps))) if several else _made(steps)) as made:
        for one in made:
            if isinstance(one, Iterator):
                yield from one
            elif one is not None:
                yield one


def next_groups(flow: Flow, count: int) -> Iterator[Placed]:
    """The batches of the next groups, so many."""
    left = count
    while left:
        placed = next(flow)
        if isinstance(placed, End):
            left -= 1
        else:
            yield placed


def _steps(groups: Iterable[Sequence[Stretch]], ranges: Sequence[Range], wanted: Wanted | None) -> Generator[_Step]:
    """What remains to be done for each batch, in order."""
    for group in groups:
        lane, inside, first = lane_of(group[0]), wanted_of(group[0], ranges), group[0]
        if len(group) == 1 and wanted is not None and isinstance(first, SteppedStretch):
            with closing(first.steps(wanted)) as steps:
                for step in steps:
                    yield partial(_finished, step, lane, inside)
        else:
            yield partial(_at_the_caller, group, lane, inside, wanted)
        yield _end


def _made(steps: Generator[_Step]) -> Generator[_Made]:
    with closing(steps):
        for step in steps:
            yield step()


def _finished(step: Callable[[], Batch | None], lane: Lane, inside: Sequence[tuple[int, int]]) -> Placed | None:
    batch = step()
    return None if batch is None else _placed(batch, lane, inside)


def _end() -> End:
    return END


def _at_the_caller(group: Sequence[Stretch], lane: Lane, inside: Sequence[tuple[int, int]], wanted: Wanted | None) -> Iterator[Placed]:
    first = group[0]
    if len(group) == 1 and wanted is not None and isinstance(first, QuickStretch):
        return (_placed(batch, lane, inside) for batch in first.batches(wanted))
    return ((lane, batch, None) for batch in in_batches(merged(group, inside)))


def _placed(batch: Batch, lane: Lane, inside: Sequence[tuple[int, int]]) -> Placed:
    mask = _mask(batch.numbers, inside) if isinstance(batch, Decoded) else None
    return lane, batch, None if mask is None or mask.all() else mask


def _mask(numbers: npt.NDArray[Any], spans: Sequence[tuple[int, ...]]) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(numbers), np.bool_)
    for start, end in spans:
        found |= ((numbers >= start) & (numbers < end)).astype(np.bool_)
    return found
