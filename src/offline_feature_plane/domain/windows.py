"""Which events a row's window holds: the law of time windows (`features.md` Meaning, `decisions.md` D31, D32).

                T-d-w                         T-d                 T
     ─────────────(───────────────────────────]───────────────────●──▶
                 open        events counted    closed             the row

A row sees the events of its key up to T − d: without a delay those before it in the total order, and its own event only under `current`.
Of these a window holds a run that has no hole: each kind says where it begins, and a tumbling one also where it ends before T − d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from offline_feature_plane.domain.closure import Group, Window
from offline_feature_plane.domain.instants import US_PER_DAY
from offline_feature_plane.domain.periods import period_around

__all__ = ["Place", "begin", "choose", "farthest", "reach_us", "sees", "warm_from"]


@dataclass(frozen=True)
class Place:
    """The place of an event: its instant in µs and its rank in the total order (equal rank = the same event)."""

    ts_us: int
    rank: int


def sees(group: Group, row: Place, event: Place) -> bool:
    """Does a row see this event of its key, if a window reaches it? `where` is not judged here.

    >>> past = Group("g", "v1", "s", ("k",), None, False, 0, "skip", ())
    >>> [sees(past, Place(10, 5), Place(*at)) for at in ((8, 1), (10, 4), (10, 5), (10, 6))]
    [True, True, False, False]
    """
    if group.delay_us > 0:
        return event.ts_us <= row.ts_us - group.delay_us
    return event.rank < row.rank or (event.rank == row.rank and group.current)


def choose(window: Window, upper_us: int, seen: Sequence[int]) -> slice:
    """Which of the events that a row sees a window holds, by their places.

    Args:
        window: of any kind.
        upper_us: T − d.
        seen: the instants of the events that the row sees, in the total order.

    >>> seen = (1, 4, 5, 9, 10)
    >>> [seen[choose(one, 10, seen)] for one in (Window("sliding", "5s", 5), Window("last", "last2", count=2))]
    [(9, 10), (9, 10)]
    >>> seen[choose(Window("tumbling", "tumbling4s", 4), 10, seen)], seen[choose(Window("session", "session3s", 9, gap_us=3), 10, seen)]
    ((4, 5), (9, 10))
    """
    end = len(seen)
    if window.kind == "tumbling":
        end = sum(at < _last_end(window, upper_us) for at in seen)
    if window.kind == "last":
        return slice(max(0, end - (window.count or 0)), end)
    first, edge_us = end, upper_us
    while first > 0 and _is_in_reach(window, upper_us, seen[first - 1]) and (window.gap_us is None or
                                                                             edge_us - seen[first - 1] < window.gap_us):
        first -= 1
        edge_us = seen[first]
    return slice(first, end)


def begin(window: Window, upper_us: int) -> int | None:
    """The instant at which a window that ends at T − d begins, µs; None if it has no beginning in time.

    It is the lower end; of a session the farthest one, its declared maximum before T − d.
    """
    match window.kind:
        case "calendar":
            return _period(window, upper_us)[0]
        case "tumbling":
            return _last_end(window, upper_us) - (window.length_us or 0)
        case "sliding" | "session":
            return upper_us - (window.length_us or 0)
    return None


def farthest(window: Window) -> int | None:
    """How long before T − d a window can hold an event at most, µs, exclusive; None: whatever is seen may be inside.

    Clocks that are set back by up to a day make a period so much longer.
    """
    match window.kind:
        case "calendar":
            return {"day": 2, "week": 8, "month": 32}[window.period or "month"] * US_PER_DAY + 1
        case "tumbling":
            return 2 * (window.length_us or 0)
        case "sliding" | "session":
            return window.length_us
    return None


def reach_us(group: Group) -> int | None:
    """How long before a row's instant an event can have happened that the group's windows hold, µs, exclusive; None: any time ago."""
    reaches = [farthest(feature.window) for feature in group.features]
    finite = [reach for reach in reaches if reach is not None]
    return group.delay_us + max(finite, default=0) if len(finite) == len(reaches) else None


def warm_from(window: Window, delay_us: int, history_start_us: int) -> int | None:
    """From which instant on a row's window begins within the known history (`decisions.md` D19); None: at any instant.

    That a lifetime window, or one of the N latest events, might have held more had the history begun earlier can be said of every row:
    they have no beginning that lies before it.

    >>> warm_from(Window("sliding", "7s", 7), 2, 100), warm_from(Window("tumbling", "tumbling8s", 8), 2, 100)
    (109, 114)
    """
    match window.kind:
        case "calendar":
            start, end = _period(window, history_start_us)
            return delay_us + (history_start_us if start == history_start_us else end)
        case "tumbling":
            length = window.length_us or 0
            return delay_us + (-(-history_start_us // length) + 1) * length
        case "sliding" | "session":
            return delay_us + (window.length_us or 0) + history_start_us
    return None


def _is_in_reach(window: Window, upper_us: int, at_us: int) -> bool:
    """Is an event not before the window's beginning? Lengths are open there, periods closed."""
    start = begin(window, upper_us)
    return start is None or (at_us >= start if window.kind in ("calendar", "tumbling") else at_us > start)


def _period(window: Window, at_us: int) -> tuple[int, int]:
    return period_around(at_us, window.period or "day", window.zone or "UTC")


def _last_end(window: Window, upper_us: int) -> int:
    """The end of the last whole window of a tumbling one, not after T − d."""
    length = window.length_us or 1
    return upper_us // length * length
