"""The events at both ends of each range of a log that was read: what is known of the time of what is missing between two of them.

```
 offsets    [100 ──────── 180)   declared   [200 ──────── 300)
 events      09:00 … 10:12                   10:41 … 13:00         what is missing happened about between 10:12 and 10:41
```
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from offline_feature_plane.domain.basis import Range, describe_basis

__all__ = ["Ends", "joined"]

Place = tuple[int, int]  # of an event: its offset as a number, and its instant in µs


@dataclass(frozen=True)
class Ends:
    """The first and the last event of a range, as far as it was read, and as its records can be decoded."""

    stretch: Range
    first: Place
    last: Place

    def then(self, other: Ends) -> Ends:
        """What this and another part of the range have together."""
        return replace(self, first=min(self.first, other.first), last=max(self.last, other.last))

    def document(self) -> dict[str, Any]:
        """To be kept, or sent; offsets of every kind as texts."""
        return {"stretch": describe_basis([self.stretch])[0], "first": [str(self.first[0]), self.first[1]],
                "last": [str(self.last[0]), self.last[1]]}

    @classmethod
    def from_document(cls, said: Mapping[str, Any]) -> Ends:
        """What `document` told."""
        return cls(Range(**said["stretch"]), *((int(said[which][0]), int(said[which][1])) for which in ("first", "last")))


def joined(told: Iterable[Ends]) -> tuple[Ends, ...]:
    """What several readers of parts told, one for each range.

    >>> lane = Range("tx", 0, "kafka_offset", "log", "0", "9")
    >>> [(one.first, one.last) for one in joined([Ends(lane, (5, 50), (7, 60)), Ends(lane, (0, 10), (4, 70))])]
    [((0, 10), (7, 60))]
    """
    found: dict[Range, Ends] = {}
    for one in told:
        found[one.stretch] = one if (known := found.get(one.stretch)) is None else known.then(one)
    return tuple(found[stretch] for stretch in sorted(found, key=lambda one: (one.topic.encode(), one.partition, one.log_id, one.start)))
