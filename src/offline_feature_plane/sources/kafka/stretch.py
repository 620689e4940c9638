"""A stretch of one partition of a topic, as every log is read: held against its pin, then read to its end (`sources.logs.stretches`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

from offline_feature_plane.errors import ReplayBasisGap, ReplayBasisMismatch, SourceUnreadable
from offline_feature_plane.sources.buses.envelopes import Held, decode_value
from offline_feature_plane.sources.buses.stretch import BusStretch
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.bus import Bus, Connect, Message
from offline_feature_plane.sources.kafka.messages import held_in
from offline_feature_plane.sources.logs.chosen import Chosen, chosen_in, every
from offline_feature_plane.sources.logs.chosen import Wanted as Choice

Edge = tuple[str, int | None] | None

_PART_BUFFER_MB: Final = 8  # what is fetched beyond the end of a part is fetched again by the next one
_FIX = "Build from an archive of the pinned log, or write a new intent that pins the topic as it is now."


@dataclass(frozen=True)
class _Begun:
    """A stretch that is being fetched: read once, and in this process."""

    bus: Bus
    batches: Iterator[Sequence[Message]]


@dataclass(frozen=True)
class TopicStretch(BusStretch):
    """One of a topic, whose name on the bus is `stored`; with `named`, its log has a name instead of an id.

    `choice`: what `chosen` decodes; None: all. A part of a stretch knows the ends of the `whole`. `begun` is there
    while it is being fetched.
    """

    access: KafkaAccess
    connect: Connect
    named: bool = False
    choice: Choice | None = None
    whole: tuple[Edge, Edge] | None = None
    begun: _Begun | None = field(default=None, repr=False, compare=False)

    @property
    def most(self) -> int:
        """As many records as it has offsets."""
        first, end = self.evidence.span
        return end - first

    def pin(self) -> Mapping[str, Any]:
        """As `PinnedStretch.pin`: the topic's id, the offsets, and the leader epochs at both ends of what was pinned.

        A log that was cut off and written anew has another record, or another epoch, at its end.
        """
        said = self.evidence
        return {"topic": self.stored, "lane": list(said.lane),
                "span": [said.first_offset, said.next_offset], "edges": [None if one is None else list(one) for one in self.edges]}

    @property
    def edges(self) -> tuple[Edge, Edge]:
        """The first and the last record of what was pinned: of the whole range, where this is a part of it."""
        return self.whole or (self.evidence.first, self.evidence.last)

    def parts(self, most: int) -> Sequence[TopicStretch]:
        """As `DividedStretch.parts`: cut at multiples of so many offsets. Each is fetched by itself, and little beyond its end."""
        start, end = self.evidence.span
        cuts = [start, *range(start - start % most + most, end, most), end]
        access = replace(self.access, buffer_mb=min(self.access.buffer_mb, _PART_BUFFER_MB))
        return [self] if len(cuts) == 2 else [replace(self._between(*span), access=access, whole=self.edges) for span in pairwise(cuts)]

    def _between(self, start: int, end: int) -> TopicStretch:
        said = self.evidence
        first, last = (None if one is None or not start <= int(one[0]) < end else one for one in (said.first, said.last))
        return replace(self, evidence=replace(said, first_offset=str(start), last_offset=None if last is None else last[0],
                                              next_offset=str(end), first=first, last=last))

    def check(self) -> None:
        """The topic is still the pinned one, and has all offsets of the stretch, settled.

        Raises:
            ReplayBasisMismatch: it was deleted, made anew, or lost its end. ReplayBasisGap: retention has passed its beginning.
            EventBusUnavailable: nobody answers.
        """
        bus, (start, end) = self.connect(self.access), self.evidence.span
        self._check_log(bus)
        ends = bus.ends(self.stored, [self.evidence.partition])[self.evidence.partition]
        if ends.log_start > start:
            raise ReplayBasisGap(f"the bus begins at {ends.log_start} by now, and [{start}, {end}) was to be read.", path=self.place,
                                 start_offset=str(start), end_offset=str(min(end, ends.log_start)),
                                 fix="Read it from an archive, or write an intent whose basis begins later.")
        if ends.last_stable < end:
            raise ReplayBasisMismatch(f"the bus ends at {ends.last_stable} now, and had been settled up to {end}.", path=self.place,
                                      fix=_FIX)

    def begin(self) -> TopicStretch:
        """As `sources.logs.stretches.DistantStretch.begin`."""
        return replace(self, begun=self._fetched())

    def chosen(self) -> Iterator[Chosen]:
        """As `sources.logs.chosen.ChosenStretch.chosen`."""
        return chosen_in(self._messages(), lambda one: one.offset(), lambda one: one.value() is None,
                         lambda one: decode_value(self.lane, held_in(one)), self.choice or every)

    def held(self) -> Iterator[Sequence[Held]]:
        """As `BusStretch.held`. Raises ReplayBasisMismatch: the topic, or its end, is not the pinned one any more."""
        return ([held_in(one) for one in messages] for messages in self._messages())

    def _messages(self) -> Iterator[Sequence[Message]]:
        begun, said, last = self.begun or self._fetched(), self.evidence, -1
        epochs = {int(one[0]): one[1] for one in (said.first, said.last) if one is not None and one[1] is not None}
        for batch in begun.batches:
            last = batch[-1].offset()
            for at in [at for at in epochs if batch[0].offset() <= at <= last]:
                self._check_epochs(batch, at, epochs[at])
            yield batch
        self._check_log(begun.bus)
        if said.last is not None and last < int(said.last[0]):
            raise ReplayBasisMismatch(f"the bus had a record at {said.last[0]}, and has none there now.", path=self.place, fix=_FIX)

    def _fetched(self) -> _Begun:
        bus = self.connect(self.access)
        return _Begun(bus, bus.read(self.stored, self.evidence.partition, *self.evidence.span))

    def _check_log(self, bus: Bus) -> None:
        if self.named:
            return
        try:
            now = bus.topic_id(self.stored)
        except SourceUnreadable as gone:
            raise ReplayBasisMismatch(f"the pinned topic {self.stored} is gone.", path=self.place, fix=_FIX) from gone
        if now != self.evidence.log_id:
            raise ReplayBasisMismatch(f"the topic {self.stored} was made anew: its id is {now}, pinned is {self.evidence.log_id}.",
                                      path=self.place, fix=_FIX)

    def _check_epochs(self, batch: Sequence[Message], offset: int, pinned: int | None) -> None:
        for epoch in (one.leader_epoch() for one in batch if one.offset() == offset):
            if epoch != pinned:
                raise ReplayBasisMismatch(f"the record at {offset} was written in leader epoch {epoch}, the pinned one in {pinned}: "
                                          "another stands there now.", path=self.place, fix=_FIX)
