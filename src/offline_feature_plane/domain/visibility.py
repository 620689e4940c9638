"""Which events a row sees: all that happened before it, or those that had also arrived (`decisions.md` D21).

Under `event_time` a row sees its windows whole. Under `arrival` events are also ordered by their *arrival place*, and a row does not see
those of its windows that arrived after it: they are *hidden*, as they were online.

    happened   ──e1────e2────────e3──●──▶        the row at ● arrived fourth
    arrived       1     5         2  4           so it does not see e2

The arrival of a record is the running maximum of its log's own time within its partition, so that offsets and arrivals never disagree.
"""

from __future__ import annotations

from typing import Literal

Visibility = Literal["event_time", "arrival"]


class ArrivalClock:
    """When the records of one log arrived; it is read in the order of partitions and offsets.

    >>> clock = ArrivalClock()
    >>> [clock.read(0, log_time_us) for log_time_us in (5, 3, 8)], clock.read(1, 2)
    ([5, 5, 8], 2)
    """

    def __init__(self) -> None:
        self._latest: dict[int, int] = {}

    def read(self, partition: int, log_time_us: int) -> int:
        """The arrival of the next record of a partition, in µs."""
        arrival = self._latest[partition] = max(log_time_us, self._latest.get(partition, log_time_us))
        return arrival
