"""A stream read shard by shard: what closes, splits, expires, is packed, or is another stream by now."""

import hashlib
import time

import pytest
from kinesis_streams import REGION, STEP, sequence

from offline_feature_plane.adapters import open_stream
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis
from offline_feature_plane.domain.completeness import refusal
from offline_feature_plane.errors import (
    EventBusUnavailable,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ReplayEventsEmpty,
    SelectorUnresolved,
    SourceUnreadable,
)
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.kinesis import service
from offline_feature_plane.sources.kinesis.access import KinesisAccess
from offline_feature_plane.sources.kinesis.source import KinesisSource, StreamMapping
from offline_feature_plane.testing.envelopes import envelope
from offline_feature_plane.testing.record_log_contract import LOGGED_US, TX, read, record

SECOND, HOUR = 1_000_000, 3_600_000_000


def source(streams, timeout_s=20, **more):
    """The source of one stream, `tx`, as events of `transaction`."""
    return KinesisSource({"transaction": StreamMapping(KinesisAccess("tx", REGION, streams.url, timeout_s=timeout_s), **more)}, open_stream)


def pin(streams, **more):
    """The stream, pinned."""
    return source(streams, **more).pin("transaction")


def values(first, end):
    """The envelopes of some events."""
    return [envelope(record(n)) for n in range(first, end)]


def times(*minutes):
    """Moments by the stream's clock."""
    return [LOGGED_US + at * 60 * SECOND for at in minutes]


def found_in(pinned, ranges=None):
    """The ids that are read, in their order, and what gives no event: one by one, and the same in batches."""
    wanted = ranges or canonical_basis(Range(**one) for one in pinned.basis())
    rows, left_out = read(pinned.reading(wanted, (TX,)))
    batches = [batch for stretch in pinned.stretches(wanted) for batch in stretch.batches(Wanted.of([("amount",)]))]
    ids = [name for batch in batches for name, is_event in zip(batch.ids.to_pylist(), batch.decoded.tolist(), strict=True) if is_event]
    assert ids == [row["event_id"] for _, row in rows]
    return ids, left_out


def part(pinned, start, end, shard=0):
    """A range of a shard."""
    return Range("transaction", shard, "kinesis_sequence", pinned.log_ids[0], str(start), str(end))


def test_a_split_leaves_a_closed_shard_and_nothing_is_lost_or_read_twice(streams):
    """What stands in a closed shard stays there; its children begin where they begin, and each of them is a partition.

    shard 0   ──0──1──2──┤
    shard 1              ├──3──4──▶
    shard 2              ├──5──▶
    """
    streams.create("tx")
    streams.put("tx", values(0, 3))
    early = pin(streams)
    left, right = streams.split("tx", 0)
    streams.put("tx", values(3, 5), left)
    streams.put("tx", values(5, 6), right)
    pinned = pin(streams)
    assert found_in(pinned) == ([f"e{n}" for n in range(6)], {})
    assert [(one.partition, one.start, one.end) for one in pinned.ranges()] == [
        (0, sequence(0), sequence(2) + 1), (1, sequence(0, 1), sequence(1, 1) + 1), (2, sequence(0, 2), sequence(0, 2) + 1)]
    assert found_in(early)[0] == ["e0", "e1", "e2"]  # a shard that closes later changes nothing that is pinned


def test_a_selector_across_a_split_ends_closed_shards_where_they_end(streams):
    """Nothing comes to a closed shard any more, so it settles every moment; an open one must have a record from the end on.

    minutes   0    10      20      30
    shard 0   0    1───────┤
    shard 1                ├2──────3──▶
    shard 2                ├───────4──▶
    """
    streams.create("tx")
    streams.put("tx", values(0, 2), 0, times(0, 10))
    left, right = streams.split("tx", 0)
    streams.put("tx", values(2, 4), left, times(20, 30))
    streams.put("tx", values(4, 5), right, times(30))
    streams.age("tx", days=900)
    pinned = pin(streams)
    assert found_in(pinned, pinned.resolve(Selector("transaction", *times(5, 30))))[0] == ["e1", "e2"]
    assert [one.partition for one in pinned.resolve(Selector("transaction", *times(12, 25)))] == [1]
    with pytest.raises(SelectorUnresolved, match="shard 1 of tx has no record"):
        pinned.resolve(Selector("transaction", *times(5, 31)))


def test_a_selector_is_settled_as_long_as_anybody_keeps_what_is_older(streams):
    """Retention takes by age: a shard that begins late has lost nothing if another one still has an older record.

    minutes   0   5   10     20
    shard 0   0              2 ──▶
    shard 1           1      3 ──▶
    """
    streams.create("tx", 2)
    streams.put("tx", values(0, 1) + values(2, 3), 0, times(0, 20))
    streams.put("tx", values(1, 2) + values(3, 4), 1, times(10, 20))
    streams.age("tx", days=900)
    wanted = Selector("transaction", *times(5, 20))
    assert found_in(pin(streams), pin(streams).resolve(wanted))[0] == ["e1"]
    streams.trim("tx", 1)
    with pytest.raises(SelectorUnresolved, match="may be gone"):
        pin(streams).resolve(wanted)
    streams.age("tx", days=-900)  # no stream lets go what is younger than a day
    assert found_in(pin(streams), pin(streams).resolve(wanted))[0] == ["e1"]


def test_what_retention_took_is_a_gap_whenever_it_is_noticed(streams):
    """Before a plan, between plan and build, and between the check and the first record: never a shorter answer."""
    streams.create("tx")
    streams.put("tx", values(0, 6))
    pinned = pin(streams)
    everything = pinned.ranges()
    (stretch,) = pinned.stretches(everything)
    stretch.check()
    streams.trim("tx", 2)
    with pytest.raises(ReplayBasisGap, match="the first from there on"):
        list(stretch.read())
    with pytest.raises(ReplayBasisGap, match="begins at"):
        stretch.check()
    later = pin(streams)
    assert isinstance(refusal(later.completeness(everything)), ReplayBasisGap)
    assert found_in(later)[0] == ["e2", "e3", "e4", "e5"]
    streams.trim("tx", 4)
    with pytest.raises(ReplayBasisGap, match="empty by now"):
        stretch.check()
    with pytest.raises(ReplayEventsEmpty, match="holds nothing"):
        pin(streams).basis()


def test_a_shard_that_is_gone_is_a_gap(streams):
    """A closed shard is forgotten when its last record is."""
    streams.create("tx")
    streams.put("tx", values(0, 2))
    pinned = pin(streams)
    (stretch,) = pinned.stretches(pinned.ranges())
    streams.split("tx", 0)
    del streams.stream("tx").shards["shardId-000000000000"]
    with pytest.raises(ReplayBasisGap, match="no such shard"):
        stretch.check()
    assert isinstance(refusal(pin(streams).completeness(pinned.ranges())), ReplayBasisGap)


def test_a_stream_that_is_made_anew_is_another_log(streams):
    """The same name, the same ARN, the same sequences even: its creation tells it apart."""
    streams.create("tx")
    streams.put("tx", values(0, 3))
    pinned = pin(streams)
    (stretch,) = pinned.stretches(pinned.ranges())
    streams.client.delete_stream(StreamName="tx")
    with pytest.raises(ReplayBasisMismatch, match="is gone"):
        stretch.check()
    with pytest.raises(SourceUnreadable, match="no such stream"):
        pin(streams)
    streams.create("tx")
    streams.age("tx", seconds=-2)
    streams.put("tx", values(0, 3))
    with pytest.raises(ReplayBasisMismatch, match="another one now"):
        list(stretch.read())
    again = pin(streams)
    assert again.log_ids != pinned.log_ids
    assert isinstance(refusal(again.completeness(pinned.ranges())), ReplayBasisMismatch)


def test_places_that_expire_are_found_again(streams, monkeypatch):
    """Who reads slowly loses the place; it is asked for anew, behind the last record, and nothing comes twice or not at all."""
    monkeypatch.setattr(service, "AT_ONCE", 2)
    streams.create("tx")
    streams.put("tx", [*values(0, 3), packed(*values(3, 6)), *values(6, 8)])
    pinned = pin(streams)
    (stretch,) = pinned.stretches(pinned.ranges())
    for refused in (1, 3):
        found = []
        for item in stretch.read():
            found.append(item.event_id)
            streams.fail("get_records", "ExpiredIteratorException", times=refused)
        assert found == [f"e{n}" for n in range(8)]


@pytest.mark.parametrize(("code", "status"), [("ProvisionedThroughputExceededException", 400), ("KMSThrottlingException", 400),
                                              ("InternalFailureException", 500), ("ServiceUnavailable", 503)])
def test_what_may_pass_costs_nothing_but_time(streams, code, status):
    """A busy shard and a broken server are asked again, wherever they refuse."""
    streams.create("tx")
    streams.put("tx", values(0, 3))
    for operation in ("describe_stream_summary", "list_shards", "get_shard_iterator", "get_records"):
        streams.fail(operation, code, status)
    assert found_in(pin(streams))[0] == ["e0", "e1", "e2"]


def test_a_stream_that_stays_away_is_an_error_that_may_pass_with_what_was_reached(streams):
    """After `timeout_s` of refusals; whoever works on a queue comes back later."""
    streams.create("tx")
    streams.put("tx", values(0, 3))
    pinned = pin(streams, timeout_s=1)
    (stretch,) = pinned.stretches(pinned.ranges())
    streams.fail("get_records", "ProvisionedThroughputExceededException", times=50)
    with pytest.raises(EventBusUnavailable, match=r"did not answer for 1 s \(ProvisionedThroughputExceededException\)") as refused:
        list(stretch.read())
    assert refused.value.transient
    assert refused.value.fields["reached"] == str(sequence(0))


def test_an_end_that_is_never_reached_is_silence(streams):
    """A record that was seen and is not there any more: an open shard says nothing, a closed one that there is no more."""
    streams.create("tx")
    streams.put("tx", values(0, 3))
    pinned = pin(streams, timeout_s=1)
    (stretch,) = pinned.stretches(pinned.ranges())
    del streams.shard("tx", 0).records[sequence(2)]
    with pytest.raises(EventBusUnavailable, match="gave nothing for 1 s") as silent:
        list(stretch.read())
    assert silent.value.fields["reached"] == str(sequence(1) + 1)
    streams.split("tx", 0)
    with pytest.raises(ReplayBasisMismatch, match="has none there now"):
        list(stretch.read())


def test_what_no_waiting_mends_ends_at_once(streams):
    """A missing right is told at once, with what is missing."""
    streams.create("tx")
    streams.put("tx", values(0, 3))
    streams.fail("get_records", "AccessDeniedException")
    begun = time.monotonic()
    with pytest.raises(EventBusUnavailable, match="may not do this") as refused:
        pin(streams)
    assert time.monotonic() - begun < 5
    assert not refused.value.transient
    assert "kinesis:GetRecords" in refused.value.fix


def packed(*items):
    """Values as Amazon's producer library packs them."""
    def field(number, data):
        return bytes([number << 3 | 2]) + size(len(data)) + data

    def size(n):
        return (bytes([n & 0x7F | 0x80]) + size(n >> 7)) if n > 0x7F else bytes([n])
    body = field(1, b"key") + b"".join(field(3, b"\x08\x00" + field(3, one) + field(4, field(1, b"tag"))) for one in items)
    return bytes.fromhex("f3899ac2") + body + hashlib.md5(body, usedforsecurity=False).digest()


@pytest.mark.parametrize("is_strict", [True, False])
def test_what_a_producer_packed_into_one_record_are_events_of_their_own(streams, is_strict):
    """The first stands at the record's sequence, the others right behind it; a range may begin and end between them.

    That holds for servers that refuse a sequence without a record, and for those that go on behind it.
    """
    streams.is_strict = is_strict
    streams.create("tx")
    streams.put("tx", [packed(*values(0, 3)), *values(3, 4), packed(*values(4, 300))])
    pinned = pin(streams)
    assert found_in(pinned) == ([f"e{n}" for n in range(300)], {})
    (everything,) = pinned.ranges()
    assert (everything.start, everything.end) == (sequence(0), sequence(2) + 296)
    for start, first in ((sequence(0) + 1, 1), (sequence(0) + 2, 2), (sequence(0) + 3, 3), (sequence(1), 3)):
        assert found_in(pinned, (part(pinned, start, sequence(2) + 2),))[0] == [f"e{n}" for n in range(first, 6)]
    assert pinned.stretches(pinned.ranges())[0].most == 300


@pytest.mark.parametrize("harm", [lambda pack: pack[:-1] + bytes([pack[-1] ^ 1]), lambda pack: pack[:30], lambda pack: pack[:4],
                                  lambda pack: pack[:4] + b"\x1a\x7f" + hashlib.md5(b"\x1a\x7f", usedforsecurity=False).digest(),
                                  lambda pack: pack[:4] + hashlib.md5(b"", usedforsecurity=False).digest()],
                         ids=["sum", "cut", "magic", "no protobuf", "empty"])
def test_what_only_looks_packed_is_one_value_that_cannot_be_decoded(streams, harm):
    """Anybody may write any bytes: they are counted once, and nothing else is harmed."""
    streams.create("tx")
    streams.put("tx", [*values(0, 1), harm(packed(*values(1, 3))), *values(3, 4)])
    assert found_in(pin(streams)) == (["e0", "e3"], {"undecodable": 1})


@pytest.mark.parametrize("is_strict", [True, False])
def test_a_range_may_begin_where_the_shard_knows_no_record(streams, is_strict):
    """Where an archive ended, between two records, or before the first: the shard is then read from the first record that it keeps."""
    streams.is_strict = is_strict
    streams.create("tx")
    streams.put("tx", values(0, 6))
    pinned = pin(streams)
    for start, expected in ((sequence(1) + 1, 2), (sequence(2) - 5, 2), (sequence(3) + STEP // 2, 4), (sequence(5), 5)):
        assert found_in(pinned, (part(pinned, start, sequence(5) + 1),))[0] == [f"e{n}" for n in range(expected, 6)]
    assert isinstance(refusal(pinned.completeness([part(pinned, sequence(0) - 1, sequence(3))])), ReplayBasisGap)


@pytest.mark.parametrize("is_closed", [False, True])
@pytest.mark.parametrize("spread", ["evenly", "long ago", "just now", "at once"])
def test_the_last_record_of_many_is_found_without_reading_all(streams, is_closed, spread, monkeypatch):
    """Steps back from now by the stream's index of times, then halves: some answers, not all of them."""
    monkeypatch.setattr(service, "_COUNTED", 10)
    monkeypatch.setattr(service, "AT_ONCE", 20)
    streams.create("tx")
    now = int(time.time() * 1e6)
    count = 1_000
    moments = {"evenly": lambda n: now - (count - n) * 500 * SECOND, "long ago": lambda n: now - 100 * HOUR + n * SECOND,
               "just now": lambda n: now - HOUR + n * 3_500_000, "at once": lambda _: now - 4 * SECOND}[spread]
    streams.put("tx", [b"{}"] * count, 0, [moments(n) for n in range(count)])
    if is_closed:
        streams.split("tx", 0)
    streams.asked.clear()
    pinned = pin(streams)
    assert pinned.ranges()[0].end == sequence(count - 1) + 1
    assert streams.asked.count("get_records") < (60 if spread == "at once" else 30)
    assert pinned.stretches(pinned.ranges())[0].most >= count


def test_a_stream_of_one_type_gives_events_under_another_name(streams):
    """As archives and topics: `topic` and `event_type` take the events of one type."""
    streams.create("tx")
    streams.put("tx", [*values(0, 1), envelope(record(1, event_type="login"))])
    pinned = pin(streams, topic="payments", event_type="transaction")
    assert read(pinned.reading(pinned.ranges(), (TX,)))[1] == {"other_scope": 1}
    assert pinned.describe(pinned.ranges(), "kinesis@1").most_rows == 2
