"""What a cluster is asked is asked again while it finds out who leads a partition."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from offline_feature_plane.contracts.kafka import KafkaSecurity
from offline_feature_plane.errors import EventBusUnavailable, SourceUnreadable
from offline_feature_plane.sources.kafka import cluster as clusters
from offline_feature_plane.sources.kafka.access import KafkaAccess

LEADERLESS = ["UNKNOWN_LEADER_EPOCH", "FENCED_LEADER_EPOCH", "NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE", "_NOENT"]


class Admin:
    """The driver's admin of a cluster that says so many times that it cannot tell, and then that everything begins and ends at 7."""

    def __init__(self, error, times):
        self.error, self.left, self.asked, self.leaders_asked = error, times, 0, 0

    def list_offsets(self, asked, **_):
        """What is promised of some partitions."""
        self.asked += 1
        return {place: self._said() for place in asked}

    def list_topics(self, *_, **__):
        """Who leads what."""
        self.leaders_asked += 1

    def poll(self, _):
        """Nothing is heard."""

    def _said(self):
        future = Future()
        if self.left:
            self.left -= 1
            future.set_exception(KafkaException(KafkaError(getattr(KafkaError, self.error))))
        else:
            future.set_result(SimpleNamespace(offset=7))
        return future


@pytest.fixture
def asked(monkeypatch):
    """Makes a cluster of such an admin; pauses are noted and not made."""
    pauses = []
    monkeypatch.setattr(clusters.time, "sleep", pauses.append)

    def make(error, times, timeout_s=30):
        cluster = clusters.Cluster(KafkaAccess("127.0.0.1:1", KafkaSecurity(), timeout_s=timeout_s), lambda *_: "")
        cluster._admin = Admin(error, times)
        return cluster, cluster._admin, pauses
    return make


@pytest.mark.parametrize("error", LEADERLESS)
def test_a_cluster_that_looks_for_a_leader_is_asked_again(asked, error):
    """A broker that comes back knows its epoch a moment later: the answer is that of then, and each pause is longer, up to a second.

    broker   away ├──?──?────?────────?──▶ 7
    """
    cluster, admin, pauses = asked(error, 6)
    assert cluster.ends("tx", [0])[0].end == 7
    assert (admin.asked, admin.leaders_asked) == (3 + 6, 6)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize("error", LEADERLESS)
def test_a_cluster_that_finds_no_leader_is_away(asked, error):
    """Within `timeout_s`, and no longer; the error is what it would have been at once."""
    cluster, admin, _ = asked(error, 10**9, timeout_s=0.05)
    code = SourceUnreadable if error == "_NOENT" else EventBusUnavailable
    with pytest.raises(code, match=error) as away:
        cluster.ends("tx", [0])
    assert (away.value.transient, away.value.path) == (code is EventBusUnavailable, "tx/0")
    assert admin.asked > 1


def test_what_no_waiting_mends_is_not_asked_again(asked):
    """A topic that is not there is told at once."""
    cluster, admin, pauses = asked("UNKNOWN_TOPIC_OR_PART", 1)
    with pytest.raises(SourceUnreadable):
        cluster.ends("tx", [0])
    assert (admin.asked, pauses) == (1, [])
