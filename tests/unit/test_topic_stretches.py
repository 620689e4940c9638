"""What was pinned of a topic must be what is read: its ends, its leader epochs, its id (`decisions.md` D20).

No honest cluster changes these beside a reader on request, so a bus stands here whose log is written anew by hand.
"""

from __future__ import annotations

import pytest

from offline_feature_plane.contracts.kafka import KafkaSecurity
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.cutover import Watermarks
from offline_feature_plane.errors import ReplayBasisGap, ReplayBasisMismatch
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.bus import FoundRecord, LogEnds
from offline_feature_plane.sources.kafka.topic import PinnedTopic
from offline_feature_plane.testing.envelopes import envelope
from offline_feature_plane.testing.record_log_contract import record

TIME_MS = 1_700_000_000_000


class Sent:
    """A message as the driver gives it."""

    def __init__(self, offset, epoch):
        self.offset, self.leader_epoch = lambda: offset, lambda: epoch
        self.value, self.timestamp = lambda: envelope(record(offset)), lambda: (1, TIME_MS)


class Log:
    """A cluster with one partition: its records are `epochs` by offset, and it begins and ends where it is said."""

    def __init__(self, count, epoch=0):
        self.log_id, self.start, self.end, self.epochs, self.ids_asked = "log1", 0, count, dict.fromkeys(range(count), epoch), 0

    def topic_id(self, _):
        """The topic's id."""
        self.ids_asked += 1
        return self.log_id

    def ends(self, *_):
        """Where it begins and ends."""
        return {0: LogEnds(self.start, self.end, self.end)}

    def edges(self, _, __, start, end):
        """The first and the last record of a stretch."""
        inside = [at for at in sorted(self.epochs) if start <= at < end]
        return tuple(FoundRecord(at, self.epochs[at], TIME_MS) for at in (inside[0], inside[-1]))

    def read(self, _, __, start, end):
        """Three messages at a time."""
        inside = [at for at in sorted(self.epochs) if start <= at < end]
        for place in range(0, len(inside), 3):
            yield [Sent(at, self.epochs[at]) for at in inside[place:place + 3]]


def pinned(log, *, named=False):
    """The only stretch of all that the log holds, as it is pinned now."""
    marks = Watermarks("t", 0, "kafka_offset", "log1", str(log.start), str(log.end), str(log.end))
    topic = PinnedTopic("t", "t", KafkaAccess("server:9092", KafkaSecurity()), lambda _: log, (marks,), named=named)
    (stretch,) = topic.stretches([Range("t", 0, "kafka_offset", "log1", str(log.start), str(log.end))])
    return stretch


def read(stretch):
    """The offsets that it gives."""
    stretch.check()
    return [one.number for one in stretch.read()]


@pytest.mark.parametrize("at", [0, 9])
def test_a_record_of_another_leader_epoch_is_not_the_pinned_one(at):
    """An election that cut the log off lets other records stand at the same offsets; of those at both ends the epoch is known.

    pinned   0 ── epoch 4 ── 9         read   0 ── epoch 4 ──✂── 9 in epoch 5
    """
    log = Log(10, epoch=4)
    stretch = pinned(log)
    assert read(stretch) == list(range(10))
    log.epochs[at] = 5
    with pytest.raises(ReplayBasisMismatch, match=f"the record at {at} was written in leader epoch 5, the pinned one in 4") as told:
        read(stretch)
    assert told.value.path == "t/0"
    for part in stretch.parts(4):
        assert part.edges == stretch.edges


def test_an_epoch_that_nobody_knew_is_not_compared():
    """Old clusters have none: what was not pinned cannot differ."""
    log = Log(10, epoch=None)
    stretch = pinned(log)
    log.epochs[9] = 3
    assert read(stretch) == list(range(10))


def test_a_log_that_lost_its_end_is_told_before_and_while_it_is_read():
    """What was settled when it was pinned must be there: fewer records are another log, and never a shorter answer.

    pinned   [0 ─────────── 10)        read   [0 ───── 6)
    """
    log = Log(10)
    stretch = pinned(log)
    del log.epochs[9]
    with pytest.raises(ReplayBasisMismatch, match="the bus had a record at 9, and has none there now"):
        read(stretch)
    log.end = 6
    with pytest.raises(ReplayBasisMismatch, match="the bus ends at 6 now, and had been settled up to 10"):
        stretch.check()


def test_retention_that_passed_the_beginning_is_a_gap_with_its_bounds():
    """Between plan and build."""
    log = Log(10)
    stretch = pinned(log)
    log.start = 3
    with pytest.raises(ReplayBasisGap, match="begins at 3 by now") as told:
        stretch.check()
    assert (told.value.fields["start_offset"], told.value.fields["end_offset"]) == ("0", "3")


def test_a_topic_made_anew_is_told_behind_the_last_record_too():
    """It may happen while it is read; a log that plane.yaml names has no id that could be asked."""
    log = Log(10)
    items = pinned(log).read()
    next(items)
    log.log_id = "log2"
    with pytest.raises(ReplayBasisMismatch, match="made anew: its id is log2, pinned is log1"):
        list(items)
    named = Log(10)
    named.log_id = "another"
    assert read(pinned(named, named=True)) == list(range(10))
    assert named.ids_asked == 0
