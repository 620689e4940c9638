"""Which rows have windows that may reach over a declared gap: those between two instants, by the events beside the gap.

```
 events       ●──●──●              ●──●──●──▶          a window of w that ends at T
 gap                (begin ~~~~ end)
 rows                 ├──────────────────────┤         T from behind begin up to end + w
```

How long a gap lasted only the missing events know. The events before and behind it, in its own partition, are the best guess that there
is; where the log has none before, or behind, the gap reaches as far as time does. A row may be of another key than whatever is missing, so
what is counted are the rows that may count less than happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from offline_feature_plane.domain.closure import Closure, Window
from offline_feature_plane.domain.ends import Ends
from offline_feature_plane.domain.gaps import DeclaredGap
from offline_feature_plane.domain.windows import warm_from

__all__ = ["Interval", "Reach", "reach_of"]

Interval = tuple[int | None, int | None]  # `[from, to)` in µs; None: without an end there


@dataclass(frozen=True)
class Reach:
    """The rows that a gap matters to: `bounded` by windows of some length, `lasting` by those without a beginning, or by contexts.

    The event before the gap and the one behind it stand at `begin_us` and `end_us`; None: there is none.
    """

    gap: DeclaredGap
    begin_us: int | None
    end_us: int | None
    bounded: tuple[Interval, ...]
    lasting: tuple[Interval, ...]


def reach_of(gap: DeclaredGap, ends: Iterable[Ends], closure: Closure) -> Reach:
    """How far a gap of which nothing is read reaches.

    Args:
        gap: a declared one.
        ends: of all ranges that were read.
        closure: the features of the dataset.
    """
    begin, end = _between(gap, ends)
    sources = {source.name for source in closure.sources if gap.stretch.topic in source.event_types}
    windows = [one for source, some in closure.depths().items() if source in sources for one in some]
    bounded = [_interval(window, delay, begin, end) for window, delay in windows if warm_from(window, delay, 0) is not None]
    delays = [delay for window, delay in windows if warm_from(window, delay, 0) is None]
    delays += [group.delay_us for group in closure.groups if group.context is not None and group.source in sources]
    return Reach(gap, begin, end, _merged(bounded), ((_behind(begin, min(delays)), None),) if delays else ())


def _between(gap: DeclaredGap, ends: Iterable[Ends]) -> tuple[int | None, int | None]:
    """The instants of the nearest events on both sides, in the gap's own lane."""
    mine = [one for one in ends if one.stretch.lane == gap.stretch.lane]
    before = max((one.last for one in mine if one.stretch.end <= gap.stretch.start), default=None)
    behind = min((one.first for one in mine if one.stretch.start >= gap.stretch.end), default=None)
    return None if before is None else before[1], None if behind is None else behind[1]


def _behind(begin: int | None, delay: int) -> int | None:
    return None if begin is None else begin + delay + 1


def _interval(window: Window, delay: int, begin: int | None, end: int | None) -> Interval:
    """The rows whose window holds instants of the gap; events beside it may stand out of order, and then it has no length."""
    last = end if begin is None or end is None else max(begin, end)
    if window.kind == "tumbling" and begin is not None and (length := window.length_us):  # one that ended before holds nothing of it
        return (begin // length + 1) * length + delay, None if last is None else warm_from(window, delay, last)
    return _behind(begin, delay), None if last is None else warm_from(window, delay, last)


def _merged(intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    """The same rows by intervals that do not touch, in order."""
    found: list[Interval] = []
    for begin, end in sorted(intervals, key=lambda one: (one[0] is not None, one[0] or 0)):
        if found and (found[-1][1] is None or begin is None or begin <= found[-1][1]):
            last = found[-1][1]
            found[-1] = found[-1][0], None if last is None or end is None else max(last, end)
        else:
            found.append((begin, end))
    return tuple(found)
