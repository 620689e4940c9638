"""A bus that is away, silent, slow or cut off, messages that are too long, accounts that may not: an error with its place, or the whole."""

import os
import threading
import time
from pathlib import Path

import pytest
from kafka_broker import PASSWORD, READER, Broker
from network import Network
from topics import part, pin, read, read_log, source_of, values, whole

from offline_feature_plane.contracts.kafka import KafkaSecurity
from offline_feature_plane.errors import EventBusUnavailable, ResourceExceeded, SettingsInvalid
from offline_feature_plane.sources.kafka.access import KafkaAccess
from offline_feature_plane.sources.kafka.cluster import Cluster
from offline_feature_plane.testing.record_log_contract import TX


def after(seconds, act):
    """Do something a little later."""
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


@pytest.fixture
def mortal():
    """A broker of its own for a test that kills it."""
    server = Broker()
    yield server
    server.close()


def test_a_broker_that_is_killed_ends_the_reading_or_comes_back_in_time(mortal):
    """Before the start: a transient error. In the middle: the same, with the offset that was reached.

    One that comes back within the time that it may be silent costs nothing but time.
    """
    topic = mortal.new_topic()
    mortal.produce(topic, [value.replace(b"{", b'{"padding": "' + b"x" * 4_000 + b'", ', 1) for value in values(0, 4_000)], acks="all")
    pinned = pin(topic, mortal.address(), timeout_s=30, buffer_mb=1)
    planned, expected = pinned.reading(whole(pinned), (TX,)), [(f"e{n}", 0, n) for n in range(4_000)]
    impatient = pin(topic, mortal.address(), timeout_s=2, buffer_mb=1)
    records = impatient.reading(whole(impatient), (TX,)).stretches[0].read()
    assert [next(records).number for _ in range(100)] == list(range(100))
    mortal.kill()
    with pytest.raises(EventBusUnavailable, match="silent for 2 s at offset") as lost:
        for _ in records:
            pass
    assert 100 <= int(lost.value.fields["reached"]) < 4_000
    assert lost.value.transient
    with pytest.raises(EventBusUnavailable) as away:
        pin(topic, mortal.address(), timeout_s=2)
    assert away.value.transient
    with pytest.raises(EventBusUnavailable):
        read_log(impatient.reading(whole(impatient), (TX,)))
    mortal.start()
    patient = planned.stretches[0].read()
    found = [next(patient).event_id for _ in range(100)]
    mortal.kill()
    back = after(1, mortal.start)
    found += [one.event_id for one in patient]
    back.join()
    assert found == [name for name, _, _ in expected]
    assert read_log(planned) == (expected, {})


def test_a_broker_that_begins_anew_is_asked_until_it_knows_who_leads(mortal):
    """Who asked before it was killed asks again right after: the driver knows of no leader, and the answer is there a moment later.

    broker   ──50──✕   ├─ no leader ─┤──50──▶
    """
    topic = mortal.new_topic()
    mortal.produce(topic, values(0, 50))
    cluster = Cluster(KafkaAccess(mortal.address(), KafkaSecurity(), timeout_s=25), lambda *_: "")
    before = cluster.ends(topic, [0])
    mortal.kill()
    mortal.start()
    assert cluster.ends(topic, [0]) == before
    assert before[0].end == 50


def test_a_broker_that_hangs_is_waited_for_only_so_long(broker):
    """Connections stay open and nobody answers: no longer than the time that is allowed, before and while it is read."""
    topic = broker.new_topic()
    broker.produce(topic, [b"x" * 100_000] * 100)
    pinned = pin(topic, broker.address(), timeout_s=3, buffer_mb=1)
    batches = pinned.connect(pinned.access).read(topic, 0, 0, 100)
    next(batches)
    broker.pause()
    try:
        began = time.monotonic()
        with pytest.raises(EventBusUnavailable, match="silent for 3 s"):
            list(batches)
        with pytest.raises(EventBusUnavailable):
            pin(topic, broker.address(), timeout_s=3)
        assert time.monotonic() - began < 20
    finally:
        broker.resume()
    again = pinned.connect(pinned.access).read(topic, 0, 0, 100)
    next(again)
    broker.pause()
    back = after(1, broker.resume)
    assert sum(len(batch) for batch in again) < 100  # the rest of them, after a pause
    back.join()


def test_a_slow_or_broken_network_costs_time_and_nothing_else(broker):
    """As long as something comes, it is waited for; connections that end are made again, from the offset that was reached."""
    topic = broker.new_topic()
    broker.produce(topic, [value.replace(b"{", b'{"padding": "' + b"x" * 2_000 + b'", ', 1) for value in values(0, 700)],
                   batch_size=20_000)
    with Network(int(broker.address("proxied").split(":")[1]), int(broker.address("slow").split(":")[1])) as network:
        pinned = pin(topic, broker.address("proxied"), timeout_s=8, buffer_mb=1)
        network.bytes_per_s = 400_000
        cuts = [after(at, network.cut) for at in (1, 2)]
        found, left_out = read(pinned, [part(pinned, 0, 700)])
        for one in cuts:
            one.join()
    assert ([offset for _, _, offset in found], left_out) == (list(range(700)), {})


def test_messages_are_taken_up_to_a_limit(broker):
    """Longer than a document may be: undecodable, and counted. Longer than may come at all: an error that says where and which setting."""
    topic = broker.new_topic(max_message_bytes="20000000")
    large = values(0, 1)[0][:-1] + b', "x": "' + b"a" * 17_000_000 + b'"}'
    broker.produce(topic, [large, *values(1, 3)], message_max_bytes=20_000_000)
    found, left_out = read(pin(topic, broker.address()))
    assert ([offset for _, _, offset in found], left_out) == ([1, 2], {"undecodable": 1})
    small = pin(topic, broker.address(), max_message_mb=4, timeout_s=4)
    with pytest.raises(ResourceExceeded, match="max_message_mb") as refused:
        read(small)
    assert refused.value.path == f"{topic}/0"
    assert refused.value.fields["reached"] == "0"


def test_who_reads_slowly_stops_the_bus(broker):
    """A topic of 160 MB beside a buffer of 4 MB: what is fetched ahead waits at the broker, whatever the basis is."""
    topic = broker.new_topic()
    broker.produce(topic, [os.urandom(100_000) for _ in range(100)] * 16, compression_type="none")
    pinned = pin(topic, broker.address(), buffer_mb=4)
    batches = pinned.connect(pinned.access).read(topic, 0, 0, 1_600)
    next(batches)
    before = resident()
    time.sleep(3)
    assert resident() - before < 60_000_000
    assert sum(len(batch) for batch in batches) > 1_000
    del batches


def resident():
    """The memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- who may read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("way", ["sasl", "sasl_tls"])
def test_a_reader_is_let_in_by_a_secret_that_is_only_named(broker, mechanism, way, monkeypatch, tmp_path):
    """In a variable or in a file; it may read topics, and join no group."""
    topic = broker.new_topic("open")
    broker.produce(topic, values(0, 3))
    (tmp_path / "secret").write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("BUS_PASSWORD", PASSWORD)
    tls = {"tls": True, "ca_file": str(broker.certificate)} if way == "sasl_tls" else {}
    for named in ({"password_env": "BUS_PASSWORD"}, {"password_file": str(tmp_path / "secret")}):
        security = KafkaSecurity(mechanism=mechanism, username=READER, **named, **tls)
        found, left_out = read(pin(topic, broker.address(way), security=security))
        assert ([offset for _, _, offset in found], left_out) == ([0, 1, 2], {})


def test_a_wrong_password_ends_at_once_and_stays_secret(broker, monkeypatch):
    """It is no reason to wait, and no message repeats it."""
    monkeypatch.setenv("BUS_PASSWORD", "hunter2")
    security = KafkaSecurity(mechanism="SCRAM-SHA-256", username=READER, password_env="BUS_PASSWORD")  # noqa: S106 - its name
    began = time.monotonic()
    with pytest.raises(EventBusUnavailable, match="does not know this account") as refused:
        pin("open", broker.address("sasl"), security=security, timeout_s=30)
    assert time.monotonic() - began < 15
    assert not refused.value.transient
    assert "hunter2" not in str(refused.value) + str(refused.value.describe())
    assert READER not in str(refused.value)


def test_who_may_not_read_is_told_what_to_grant(broker, monkeypatch):
    """A topic outside of an account's rights."""
    topic = broker.new_topic("closed")
    monkeypatch.setenv("BUS_PASSWORD", PASSWORD)
    security = KafkaSecurity(mechanism="PLAIN", username=READER, password_env="BUS_PASSWORD")  # noqa: S106 - its name
    with pytest.raises(EventBusUnavailable, match="may not do this") as refused:
        pin(topic, broker.address("sasl"), security=security)
    assert "Grant it Read" in refused.value.fix
    assert not refused.value.transient


@pytest.mark.parametrize(("security", "error"), [
    (KafkaSecurity(tls=True), EventBusUnavailable), (KafkaSecurity(tls=True, ca_file=__file__), SettingsInvalid)])
def test_a_certificate_that_nobody_vouches_for_or_that_is_none_is_told(broker, security, error):
    """An authority that is not the system's, a file that is no certificate."""
    with pytest.raises(error) as refused:
        source_of("open", broker.address("tls"), security=security, timeout_s=10).pin("open")
    assert refused.value.fix


def test_a_server_that_wants_tls_is_no_server_without_it(broker):
    """Spoken to in plain, it hangs up, and nothing is heard; so the advice says what it may be."""
    with pytest.raises(EventBusUnavailable) as refused:
        pin("open", broker.address("tls"), timeout_s=3)
    assert "TLS" in refused.value.fix
