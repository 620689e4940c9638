"""What the partitions of one topic of a bus keep, and what follows from it for a basis, whichever bus it is (`decisions.md` D16, D20)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from offline_feature_plane.contracts.plan import BusRange
from offline_feature_plane.domain.basis import Range, canonical_basis
from offline_feature_plane.domain.completeness import BusEvidence, Completeness, assess
from offline_feature_plane.domain.cutover import Watermarks
from offline_feature_plane.errors import BasisUnresolved, OfsError, ReplayEventsEmpty, SelectorUnresolved

__all__ = ["Kept", "planned", "unresolved"]


@dataclass(frozen=True)
class Kept:
    """The watermarks of one topic's partitions when they were asked.

    Attributes:
        topic: its name in plane.yaml.
        stored: what it is called on the bus.
        watermarks: those of every partition.
        thing: what people call it, such as `topic`.
    """

    topic: str
    stored: str
    watermarks: tuple[Watermarks, ...]
    thing: str = "topic"

    @property
    def log_ids(self) -> tuple[str, ...]:
        """The log that its offsets count in."""
        return tuple(sorted({one.log_id for one in self.watermarks}))

    def ranges(self) -> tuple[Range, ...]:
        """Each partition as far as it is kept and settled. Raises ReplayEventsEmpty."""
        found = [Range(*one.lane, str(start), str(end))
                 for one in self.watermarks for start, end in (one.span,) if start < end]
        if not found:
            raise ReplayEventsEmpty(f"the {self.thing} {self.stored} holds nothing that is settled.", path=self.topic,
                                    fix=f"Wait until events are there, or correct the {self.thing}'s name.")
        return canonical_basis(found)

    def of_topic(self, ranges: Sequence[Range]) -> tuple[Range, ...]:
        """The ranges of this topic."""
        return tuple(one for one in ranges if one.topic == self.topic)

    def marks_of(self, wanted: Range) -> Watermarks | None:
        """Those of the partition of a range, whatever log it counts in."""
        return next((one for one in self.watermarks if one.partition == wanted.partition), None)

    def counted(self, wanted: Range) -> Watermarks:
        """Those of the partition of a range in its log. Raises BasisUnresolved if there is none."""
        marks = self.marks_of(wanted)
        if marks is None or not marks.counts(wanted):
            raise BasisUnresolved(f"the {self.thing} {self.stored} has nothing of {wanted.topic}/{wanted.partition}.", path=wanted.topic)
        return marks

    def parts(self, ranges: Sequence[Range]) -> list[tuple[Watermarks, int, int]]:
        """What of some ranges is kept and settled, by partition and offset."""
        found = [(marks, max(item.start, marks.span[0]), min(item.end, marks.span[1]))
                 for item in sorted(self.of_topic(ranges), key=lambda one: (one.partition, one.start))
                 if (marks := self.marks_of(item)) is not None and marks.counts(item)]
        return [part for part in found if part[1] < part[2]]

    def completeness(self, ranges: Sequence[Range], evidence_of: Callable[[Range], Sequence[BusEvidence]]) -> Completeness:
        """What the bus has of the ranges of this topic, and what stands in the way."""
        mine = self.of_topic(ranges)
        return replace(assess(mine, (), self.watermarks), kind="broker_read", evidence=tuple(tuple(evidence_of(one)) for one in mine))


def planned(said: BusEvidence, most_records: int | None = None) -> BusRange:
    """A stretch as a plan tells it."""
    marks = dict(said.watermarks)
    return BusRange(partition=said.partition, start_offset=said.first_offset, end_offset=said.next_offset, log_start=marks["log_start"],
                    last_stable=str(marks["last_stable"]), end=str(marks["end"]),
                    first_leader_epoch=said.first[1] if said.first else None, last_leader_epoch=said.last[1] if said.last else None,
                    most_records=most_records)


def unresolved(what: str, fix: str) -> OfsError:
    """The error about a selector."""
    return SelectorUnresolved(what, path="replay_basis", fix=fix)
