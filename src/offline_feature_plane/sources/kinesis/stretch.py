"""A stretch of one shard, as every log is read: held against its pin, then read to its end (`sources.logs.stretches`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.errors import ReplayBasisGap, ReplayBasisMismatch, SourceUnreadable
from offline_feature_plane.sources.buses.envelopes import Held, decode_value
from offline_feature_plane.sources.buses.stretch import BusStretch
from offline_feature_plane.sources.kinesis.access import KinesisAccess
from offline_feature_plane.sources.kinesis.bus import Connect, Shard, Stream, StreamFacts
from offline_feature_plane.sources.logs.chosen import Chosen, chosen_in, every
from offline_feature_plane.sources.logs.chosen import Wanted as Choice

__all__ = ["ShardStretch"]

_FIX = "Build from an archive of the pinned log, or write a new intent that pins the stream as it is now."


@dataclass(frozen=True)
class ShardStretch(BusStretch):
    """One of a shard. `stored` is the log's name in archives, `most` how many records it has at most.

    `choice`: what `chosen` decodes; None: all.
    """

    shard: Shard
    access: KinesisAccess
    connect: Connect
    most: int
    choice: Choice | None = None

    def pin(self) -> Mapping[str, Any]:
        """As `PinnedStretch.pin`: the stream and when it was made, the shard, the sequences, and what stands at both ends of them."""
        said = self.evidence
        return {"lane": list(said.lane), "stored": self.stored,
                "span": [said.first_offset, said.next_offset],
                "edges": [None if one is None else list(one) for one in (said.first, said.last)]}

    def check(self) -> None:
        """The stream is still the pinned one, and keeps the first record of the stretch.

        Raises:
            ReplayBasisMismatch: it was deleted, or made anew. ReplayBasisGap: retention has passed its beginning.
            EventBusUnavailable: nobody answers.
        """
        stream = self.connect(self.access)
        facts = self._facts(stream)
        try:
            kept = stream.first(facts, self.shard)
        except SourceUnreadable as gone:
            raise self._lost("the stream has no such shard any more") from gone
        if kept is None or (self.evidence.first is not None and kept.number > int(self.evidence.first[0])):
            raise self._lost("the shard is empty by now" if kept is None else f"the shard begins at {kept.number} by now")

    def chosen(self) -> Iterator[Chosen]:
        """As `sources.logs.chosen.ChosenStretch.chosen`."""
        return chosen_in(self.held(), lambda one: one.number, lambda one: one.value is None, lambda one: decode_value(self.lane, one),
                         self.choice or every)

    def held(self) -> Iterator[Sequence[Held]]:
        """As `BusStretch.held`. Raises ReplayBasisMismatch, ReplayBasisGap: the stream, or an end of the shard, is not the pinned one."""
        stream, said, reached = self.connect(self.access), self.evidence, -1
        facts = self._facts(stream)
        for batch in stream.read(facts, self.shard, *said.span):
            if reached < 0 and said.first is not None and batch[0].number != int(said.first[0]):
                raise self._lost(f"the shard had a record at {said.first[0]}, and the first from there on is at {batch[0].number} now")
            if batch[0].number <= reached:
                raise SourceUnreadable(f"the shard gives {batch[0].number} behind {reached}.", path=self.place,
                                       fix="Tell us which server it is.")
            reached = batch[-1].number
            yield batch
        self._facts(stream)
        if said.last is not None and reached < int(said.last[0]):
            raise ReplayBasisMismatch(f"the shard had a record at {said.last[0]}, and has none there now.", path=self.place, fix=_FIX)

    def _facts(self, stream: Stream) -> StreamFacts:
        """What the stream is now. Raises ReplayBasisMismatch if it is not the pinned one."""
        arn, _, created = self.evidence.log_id.rpartition("@")
        try:
            facts = stream.facts()
        except SourceUnreadable as gone:
            raise ReplayBasisMismatch(f"the pinned stream {self.access.stream} is gone.", path=self.place, fix=_FIX) from gone
        if (facts.arn, facts.created_us) != (arn, parse_instant(created)):
            raise ReplayBasisMismatch(f"the stream {self.access.stream} is another one now: {facts.arn}, made "
                                      f"{(facts.created_us - parse_instant(created)) / 1e6:+,.3f} s after the pinned {arn}.",
                                      path=self.place, fix=_FIX)
        return facts

    def _lost(self, why: str) -> ReplayBasisGap:
        first, end = self.evidence.span
        return ReplayBasisGap(f"{why}, and [{first}, {end}) was to be read.", path=self.place, start_offset=str(first),
                              end_offset=str(end), fix="Read it from an archive, or write an intent whose basis begins later.")
