"""What happens to the log of a topic: retention, compaction, transactions, a topic made anew. Nothing is guessed."""

import time

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from topics import START_MS, part, pin, read, read_log, source_of, values, whole

from offline_feature_plane.domain.admission import Admission, Scope
from offline_feature_plane.domain.basis import Selector
from offline_feature_plane.domain.completeness import refusal
from offline_feature_plane.errors import (
    BasisUnresolved,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ReplayEventsEmpty,
    SelectorUnresolved,
    SourceUnreadable,
    TopicCompacted,
)
from offline_feature_plane.sources.logs import records
from offline_feature_plane.testing.record_log_contract import TX


def set_config(broker, topic, **config):
    """Change what a topic is configured as."""
    entries = [ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    broker.admin.incremental_alter_configs([resource])[resource].result(30)


def test_transactions_leave_holes_and_no_events_of_aborted_ones(broker):
    """Markers and aborted batches are legal holes; a range may begin and end in them, and is read to its end all the same.

    offsets   0 1 | 2 3 C | 5 6 A | 8 | 9 10 A        C, A: markers
    events    0 1   2 3             8
    """
    topic = broker.new_topic()
    broker.produce(topic, values(0, 2))
    broker.transact(topic, values(2, 4))
    broker.transact(topic, values(5, 7), commit=False)
    broker.produce(topic, values(8, 9))
    broker.transact(topic, values(9, 11), commit=False)
    pinned = pin(topic, broker.address())
    assert whole(pinned) == (part(pinned, 0, 12),)
    found, left_out = read(pinned)
    assert ([offset for _, _, offset in found], left_out) == ([0, 1, 2, 3, 8], {})
    assert [ids for ids, _, _ in found] == ["e0", "e1", "e2", "e3", "e8"]
    for start, end, expected in ((4, 8, []), (9, 12, []), (3, 9, [3, 8]), (5, 9, [8]), (0, 4, [0, 1, 2, 3]), (11, 12, [])):
        assert [offset for _, _, offset in read(pinned, [part(pinned, start, end)])[0]] == expected
    said = pinned.completeness(whole(pinned)).describe()["ranges"][0]["segments"][0]
    assert (said["first_record"]["offset"], said["last_record"]["offset"], said["watermarks"]) == (
        "0", "8", {"log_start": "0", "last_stable": "12", "end": "12"})
    assert said["last_record"]["leader_epoch"] is not None


def test_an_open_transaction_leaves_the_end_unresolved(broker):
    """What is not settled is nobody's: neither in the basis of a whole topic nor in a range that somebody states.

    offsets   0 1 [2 3            last stable 2, end 4
    """
    topic = broker.new_topic()
    broker.produce(topic, values(0, 2))
    producer = broker.producer(transactional_id=f"open-{topic}")
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in values(2, 4):
        producer.produce(topic, value=value, partition=0)
    producer.flush(30)
    pinned = pin(topic, broker.address())
    assert whole(pinned) == (part(pinned, 0, 2),)
    error = refusal(pinned.completeness([part(pinned, 0, 3)]))
    assert isinstance(error, BasisUnresolved)
    assert "settled up to 2" in error.what
    assert "transactions are open" in error.what
    assert "there is no more" in refusal(pinned.completeness([part(pinned, 0, 9)])).what
    producer.commit_transaction(30)
    settled = pin(topic, broker.address())
    assert whole(settled) == (part(settled, 0, 5),)
    assert len(read(settled)[0]) == 4


def test_what_retention_took_is_a_gap_before_and_while_it_is_read(broker):
    """The log's start is a watermark of the plan; one that moves past a pinned beginning ends the reading.

    offsets   0 1 2 3 4 5 6 7 8 9
    first     ──────[3 ───────── 10)      then  ──────────[6 ── 10)
    """
    topic = broker.new_topic()
    broker.produce(topic, values(0, 10))
    early = pin(topic, broker.address())
    broker.delete_records(topic, 0, 3)
    pinned = pin(topic, broker.address())
    assert whole(pinned) == (part(pinned, 3, 10),)
    error = refusal(pinned.completeness([part(pinned, 0, 10)]))
    assert isinstance(error, ReplayBasisGap)
    assert (error.fields["start_offset"], error.fields["end_offset"]) == ("0", "3")
    planned = pinned.reading(whole(pinned), (TX,))
    broker.delete_records(topic, 0, 6)
    with pytest.raises(ReplayBasisGap, match="begins at 6"):
        read_log(planned)
    with pytest.raises(ReplayBasisGap):
        list(early.connect(early.access).read(topic, 0, 0, 10))
    assert [offset for _, _, offset in read(pin(topic, broker.address()))[0]] == [6, 7, 8, 9]


def test_retention_while_a_stretch_is_being_read_is_an_error_with_the_offset_that_was_reached(broker):
    """What was fetched before counts for nothing: the end was not reached."""
    topic = broker.new_topic(segment_bytes="1048576")
    broker.produce(topic, [b"x" * 200_000] * 100)
    pinned = pin(topic, broker.address(), buffer_mb=1)
    batches = pinned.connect(pinned.access).read(topic, 0, 0, 100)
    next(batches)
    broker.delete_records(topic, 0, 99)
    with pytest.raises(ReplayBasisGap) as refused:
        list(batches)
    assert 0 < int(refused.value.fields["reached"]) < 99


def test_a_compacted_topic_is_refused_and_what_compaction_left_can_be_read_by_who_says_so(broker):
    """Compaction leaves no trace of what it took; where the plane declares the topic kept, the holes are legal.

    offsets   0 … 19: one record of a key that stays, then versions of two keys, of which the last ones stay
    """
    topic = broker.new_topic(cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01", delete_retention_ms="100",
                             min_compaction_lag_ms="0", max_compaction_lag_ms="200")
    for n in range(20):
        broker.produce(topic, values(n, n + 1), keys=[b"ab"[n % 2:n % 2 + 1] if n else b"z"])
        time.sleep(0.02)
    kept = []
    for n in range(20, 300):  # the cleaner takes closed segments only, and each later record closes one
        time.sleep(0.15)
        broker.produce(topic, values(n, n + 1), keys=[b"c"])
        pinned = pin(topic, broker.address())
        kept = [m.offset() for batch in pinned.connect(pinned.access).read(topic, 0, 0, n + 1) for m in batch]
        if len(kept) < 12:
            break
    assert len(kept) < 12, kept
    error = refusal(pinned.completeness(whole(pinned)))
    assert isinstance(error, TopicCompacted)
    assert "the bus is compacted" in error.what
    set_config(broker, topic, cleanup_policy="delete")
    again = pin(topic, broker.address())
    assert again.completeness(whole(again)).is_complete
    found = [offset for _, _, offset in read(again)[0]]
    assert set(found) <= set(kept)
    assert found[0] == 0
    assert found[1] > 1


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_compaction_beside_retention_is_compaction(broker, policy):
    """Whatever else is cleaned."""
    topic = broker.new_topic(cleanup_policy=policy)
    broker.produce(topic, values(0, 2), keys=[b"a", b"b"])
    pinned = pin(topic, broker.address())
    assert isinstance(refusal(pinned.completeness(whole(pinned))), TopicCompacted)


def test_a_topic_that_is_made_anew_is_another_log(broker):
    """Its name is the same, and its offsets count in another log: before, between plan and reading, and while it is read."""
    topic = broker.new_topic()
    broker.produce(topic, values(0, 5))
    pinned = pin(topic, broker.address())
    planned, ranges = pinned.reading(whole(pinned), (TX,)), whole(pinned)
    batches = planned.stretches[0].read()
    next(batches)
    broker.delete_topic(topic)
    with pytest.raises(ReplayBasisMismatch, match="gone"):
        read_log(planned)
    with pytest.raises(SourceUnreadable):
        pin(topic, broker.address())
    broker.new_topic(topic, unique=False)
    broker.produce(topic, values(0, 5))
    with pytest.raises(ReplayBasisMismatch, match="made anew"):
        read_log(planned)
    with pytest.raises(ReplayBasisMismatch, match="made anew"):
        list(batches)
    error = refusal(pin(topic, broker.address()).completeness(ranges))
    assert isinstance(error, ReplayBasisMismatch)


def test_more_partitions_change_nothing_that_is_pinned(broker):
    """A basis names its partitions; those that come later are in a later one."""
    topic = broker.new_topic()
    broker.produce(topic, values(0, 3))
    before = pin(topic, broker.address())
    ranges, found = whole(before), read(before)
    broker.add_partitions(topic, 3)
    broker.produce(topic, values(3, 5), partition=2)
    after = pin(topic, broker.address())
    assert len(after.watermarks) == 3
    assert read(after, ranges) == found
    assert after.completeness(ranges).is_complete
    assert whole(after) == (part(after, 0, 3), part(after, 0, 2, 2))
    error = refusal(after.completeness([part(after, 0, 2, 7)]))
    assert isinstance(error, BasisUnresolved)
    assert "has no partition 7; known are 0, 1, 2." in error.what


def test_an_empty_topic_has_no_basis(broker):
    """Nothing that is settled is nothing to build from."""
    with pytest.raises(ReplayEventsEmpty):
        pin(topic := broker.new_topic(), broker.address()).basis()
    assert topic


def test_null_values_are_counted_and_neither_events_nor_errors(broker):
    """Deletions by key, with anything undecodable beside them."""
    topic = broker.new_topic()
    broker.produce(topic, [*values(0, 2), None, b"{", None, *values(5, 6), b"\xff" * 10])
    found, left_out = read(pin(topic, broker.address()))
    assert ([offset for _, _, offset in found], left_out) == ([0, 1, 5], {"null_value": 2, "undecodable": 2})


def test_selectors_go_by_the_brokers_index_of_times(broker):
    """What retention may have taken, and what is not settled in every partition, is no answer.

    partition 0   0 10 20 30      partition 1   5 15 25 35 (s after START_MS)
    """
    topic = broker.new_topic(partitions=2)
    for partition, first in ((0, 0), (1, 5)):
        broker.produce(topic, values(partition * 10, partition * 10 + 4), partition=partition,
                       times=[START_MS + (first + 10 * n) * 1_000 for n in range(4)])

    def span(start, end):
        return Selector(topic, (START_MS + start * 1_000) * 1_000, (START_MS + end * 1_000) * 1_000)

    pinned = pin(topic, broker.address())
    assert pinned.resolve(span(7, 22)) == (part(pinned, 1, 3), part(pinned, 1, 2, 1))
    assert pinned.resolve(span(-100, 6)) == (part(pinned, 0, 1), part(pinned, 0, 1, 1))
    for beyond in (span(7, 31), span(7, 100), span(200, 300)):
        with pytest.raises(SelectorUnresolved, match="no settled record"):
            pinned.resolve(beyond)
    broker.delete_records(topic, 0, 2)
    later = pin(topic, broker.address())
    with pytest.raises(SelectorUnresolved, match="kept from"):
        later.resolve(span(7, 22))
    assert later.resolve(span(20, 26)) == (part(later, 2, 3), part(later, 2, 3, 1))


def test_a_clock_that_runs_ahead_settles_nothing_by_itself(broker):
    """A producer's time of the year 2100 is where the log says; arrival never runs back after it (`decisions.md` D21)."""
    topic = broker.new_topic()
    ahead = 4_102_444_800_000
    broker.produce(topic, values(0, 4), times=[START_MS, ahead, START_MS + 1, START_MS + 2])
    pinned, arrived = pin(topic, broker.address()), []
    pinned.reading(whole(pinned), (TX,)).read(Admission("run1", (), (TX,)), lambda _, batch: arrived.extend(batch["arrival"].to_pylist()))
    assert arrived == [one * 1_000 for one in (START_MS, ahead, ahead, ahead)]
    assert pinned.resolve(Selector(topic, START_MS * 1_000, (START_MS + 2) * 1_000)) == (part(pinned, 0, 1),)


def test_it_is_read_without_a_group(broker):
    """Nothing is joined and nothing committed: reading leaves no trace on the cluster."""
    topic = broker.new_topic()
    broker.produce(topic, values(0, 3))
    assert len(read(pin(topic, broker.address()))[0]) == 3
    assert broker.admin.list_consumer_groups().result(30).valid == []


def test_a_topic_that_is_not_there_is_not_made(broker):
    """Asking for it makes none, whatever the cluster would do for producers."""
    with pytest.raises(SourceUnreadable, match="no such topic"):
        source_of("nowhere", broker.address()).pin("nowhere")
    assert "nowhere" not in broker.admin.list_topics(timeout=10).topics




@pytest.mark.parametrize("partitions", [1, 4])
def test_scanned_in_batches_or_read_one_by_one_it_is_one_log(broker, monkeypatch, partitions):
    """Several partitions are fetched at once, and what comes is in the order of partitions and offsets all the same."""
    topic = broker.new_topic(partitions=partitions)
    for partition in range(partitions):
        broker.produce(topic, [*values(0, 5, event_type="ping"), *values(partition * 1_000 + 5, partition * 1_000 + 900), None, b"{"],
                       partition=partition, times=[START_MS + n for n in range(902)])
        broker.transact(topic, values(0, 3), partition=partition, commit=False)
    pinned = pin(topic, broker.address())
    expected, left_out = read(pinned)
    assert len(expected) == 895 * partitions
    for worth in (0, 10**9):
        monkeypatch.setattr(records, "WORTH_A_COMPILER", worth)
        found = []
        report = pinned.reading(whole(pinned), (TX,)).scan(Scope.of("run1", (), (TX,)), lambda name, batch, found=found: found.extend(
            (name, *row) for row in zip(*(batch[one].to_pylist() for one in ("event_id", "partition", "offset")), strict=True)))
        assert [(one, partition, int(offset)) for name, one, partition, offset in found if name == "tx"] == expected
        assert report.left_out.get("undecodable") == left_out["undecodable"] == partitions
        assert report.left_out.get("null_value") == left_out["null_value"] == partitions
