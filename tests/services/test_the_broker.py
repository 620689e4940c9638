"""The broker that other tests rely on is a real one."""

import pytest
from confluent_kafka import Consumer, TopicPartition
from kafka_broker import PASSWORD, READER


def consumed(address, topic, count, **settings):
    """The first values of a topic's partition, as an ordinary client gets them."""
    client = Consumer({"bootstrap.servers": address, "group.id": "x", "enable.auto.commit": False, "isolation.level": "read_committed",
                       "log_level": 0, **settings})
    try:
        client.assign([TopicPartition(topic, 0, 0)])
        found = []
        while len(found) < count:
            message = client.poll(20)
            assert message is not None, f"only {found} came"
            if message.error() is None:  # else: who may read topics need not be allowed to join a group
                found.append(message.value())
        return found
    finally:
        client.close()


@pytest.mark.parametrize(("way", "mechanism"), [("plain", None), ("tls", None), ("sasl", "PLAIN"), ("sasl", "SCRAM-SHA-512"),
                                                ("sasl_tls", "PLAIN"), ("sasl_tls", "SCRAM-SHA-256")])
def test_every_way_in_leads_to_the_same_topics(broker, way, mechanism):
    """Plain, with TLS, with a password, and with both."""
    topic = broker.new_topic("open")
    broker.produce(topic, [b"a", b"b"])
    tls = {"ssl.ca.location": str(broker.certificate)} if "tls" in way else {}
    sasl = {"sasl.mechanism": mechanism, "sasl.username": READER, "sasl.password": PASSWORD} if mechanism else {}
    protocol = ("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT")
    assert consumed(broker.address(way), topic, 2, **{"security.protocol": protocol}, **tls, **sasl) == [b"a", b"b"]


def test_a_killed_broker_comes_back_with_its_data(broker):
    """What was acknowledged is still there, and what was aborted stays away."""
    topic = broker.new_topic()
    broker.produce(topic, [b"a"])
    broker.transact(topic, [b"never"], commit=False)
    broker.transact(topic, [b"b"])
    broker.kill()
    broker.start()
    assert consumed(broker.address(), topic, 2) == [b"a", b"b"]
