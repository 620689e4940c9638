"""Topics for tests: their records, and how they are pinned and read."""

from __future__ import annotations

from offline_feature_plane.adapters import open_cluster
from offline_feature_plane.contracts.kafka import KafkaSecurity
from offline_feature_plane.domain.admission import Admission
from offline_feature_plane.domain.basis import Range, canonical_basis
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.source import KafkaSource, TopicMapping
from offline_feature_plane.testing.envelopes import envelope
from offline_feature_plane.testing.record_log_contract import TX, record

START_MS = 1_767_225_600_000  # 2026-01-01


def values(first, end, **changes):
    """Envelopes whose ids and times follow their numbers."""
    return [envelope(record(n, **changes)) for n in range(first, end)]


def source_of(topic, address, *, security=None, timeout_s=20, **limits):
    """The source of one topic, under its own name."""
    return KafkaSource({topic: TopicMapping(KafkaAccess(address, security or KafkaSecurity(), timeout_s, **limits))}, open_cluster)


def pin(topic, address, **access):
    """A topic, pinned."""
    return source_of(topic, address, **access).pin(topic)


def part(pinned, start, end, partition=0):
    """A range of a pinned topic."""
    return Range(pinned.topic, partition, "kafka_offset", pinned.log_ids[0], str(start), str(end))


def whole(pinned):
    """Everything that a topic holds."""
    return canonical_basis(Range(**entry) for entry in pinned.basis())


def read(pinned, ranges=None):
    """The ids and offsets of the events in some ranges, and what gave none."""
    return read_log(pinned.reading(ranges or whole(pinned), (TX,)))


def read_log(log):
    """The same of what planning has pinned before."""
    found = []
    report = log.read(Admission("run1", (), (TX,)), lambda _, batch: found.extend(batch.to_pylist()))
    return [(row["event_id"], row["partition"], int(row["offset"])) for row in found], report.left_out
