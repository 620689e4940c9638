"""Which events a row's window holds: the law of time windows (`features.md` Meaning, `decisions.md` D31, D32).

                T-d-w                         T-d                 T
     ─────────────(───────────────────────────]───────────────────●──▶
                 open        events counted    closed             the row

With no delay the upper end is the row itself: events before it in the total order, and the row's own event only under `current`.
"""

from __future__ import annotations

from dataclasses import dataclass

from offline_feature_plane.domain.closure import Group, Window


@dataclass(frozen=True)
class Place:
    """The place of an event: its instant in µs and its rank in the total order (equal rank = the same event)."""

    ts_us: int
    rank: int


def bounds(window: Window, delay_us: int, row_us: int) -> tuple[int | None, int]:
    """The window's lower end (open; None without one) and upper end (closed) in µs for a row at `row_us`.

    >>> bounds(Window("sliding", "7d", 7), 2, 100)
    (91, 98)
    """
    upper = row_us - delay_us
    return (None if window.length_us is None else upper - window.length_us), upper


def contains(group: Group, window: Window, row: Place, event: Place) -> bool:
    """Does this window of this row hold this event? Key and `where` are not judged here.

    >>> from offline_feature_plane.domain.closure import Group
    >>> past = Group("g", "v1", "s", ("k",), None, False, 0, "skip", ())
    >>> [contains(past, Window("sliding", "2s", 2), Place(10, 5), Place(*at)) for at in ((8, 1), (9, 2), (10, 4), (10, 5), (10, 6))]
    [False, True, True, False, False]
    """
    lower, upper = bounds(window, group.delay_us, row.ts_us)
    if event.ts_us > upper or (lower is not None and event.ts_us <= lower):
        return False
    if group.delay_us > 0:
        return True
    return event.rank < row.rank or (event.rank == row.rank and group.current)
