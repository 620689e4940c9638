"""What the stretches of every bus have in common: how what it holds becomes records, and how they are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.completeness import BusEvidence
from offline_feature_plane.sources.buses.envelopes import Held, Lane
from offline_feature_plane.sources.buses.held_batches import decoded_in, records_in, rows_in
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.stored import Rows, Writing
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs.stretches import Undecodable

__all__ = ["BusStretch"]


@dataclass(frozen=True)
class BusStretch:
    """A `sources.logs.stretches.Stretch` whose values somebody fetches: `held` gives them. `stored` is what records call its topic."""

    evidence: BusEvidence
    stored: str

    @property
    def size_bytes(self) -> int:
        """As `PinnedStretch.size_bytes`: nobody knows it before it is read."""
        return 0

    @property
    def lane(self) -> Lane:
        """Which partition its values come from."""
        return Lane(self.stored, self.evidence.partition, self.evidence.offset_kind)

    @property
    def place(self) -> str:
        """The partition, as errors call it."""
        return f"{self.evidence.topic}/{self.evidence.partition}"

    def held(self) -> Iterator[Sequence[Held]]:
        """What the bus holds of it, by offset, some at a time. Its end is proved, and that it is still what was pinned."""
        raise NotImplementedError

    def read(self) -> Iterator[Record | Undecodable]:
        """Its records and what cannot be decoded, by offset. Raises as `held`."""
        return records_in(self.lane, self.held())

    def batches(self, wanted: Wanted) -> Iterator[Decoded]:
        """As `read`, many at a time."""
        return decoded_in(self.lane, self.held(), wanted)

    def rows(self, writing: Writing, *, in_batches: bool) -> Iterator[Rows]:
        """As `read`, as an archive has it; decoded `in_batches` by a compiler, or one by one."""
        return rows_in(self.lane, self.held(), writing, in_batches=in_batches)
