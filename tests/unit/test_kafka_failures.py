"""Whatever Kafka's driver says becomes an error of ours, with a code and what to do."""

import pytest
from confluent_kafka import KafkaError

from offline_feature_plane.errors import EventBusUnavailable, OfsError, all_codes
from offline_feature_plane.sources.kafka.failures import _BY_NAME, explain, meaning_of

CODES = {name: getattr(KafkaError, name) for name in dir(KafkaError) if name.isupper() and isinstance(getattr(KafkaError, name), int)}


def test_every_code_of_the_driver_is_known_by_its_name():
    """What the table names, the driver has: a renamed code would be forgotten silently."""
    named = [name for names in _BY_NAME.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) <= CODES.keys()
    assert len(CODES) > 150


@pytest.mark.parametrize("name", sorted(CODES))
def test_every_code_of_the_driver_becomes_an_error_of_ours(name):
    """A stable code, a place, one sentence and advice; only what may pass by itself is tried again."""
    error = KafkaError(CODES[name])
    found = explain(error, "tx/0", reached="5")
    assert isinstance(found, OfsError)
    assert all_codes()[found.code] is type(found)
    assert (found.path, found.fields["reached"], bool(found.fix)) == ("tx/0", "5", True)
    assert found.transient == (meaning_of(error) in {"away", "nothing"})


@pytest.mark.parametrize(("name", "code"), [
    ("_ALL_BROKERS_DOWN", "EVENT_BUS_UNAVAILABLE"), ("_AUTHENTICATION", "EVENT_BUS_UNAVAILABLE"), ("_SSL", "EVENT_BUS_UNAVAILABLE"),
    ("TOPIC_AUTHORIZATION_FAILED", "EVENT_BUS_UNAVAILABLE"), ("UNKNOWN_TOPIC_OR_PART", "SOURCE_UNREADABLE"),
    ("OFFSET_OUT_OF_RANGE", "REPLAY_BASIS_GAP"), ("_AUTO_OFFSET_RESET", "REPLAY_BASIS_GAP"), ("_LOG_TRUNCATION", "REPLAY_BASIS_MISMATCH"),
    ("MSG_SIZE_TOO_LARGE", "RESOURCE_EXCEEDED"), ("_BAD_MSG", "SOURCE_UNREADABLE"), ("UNSUPPORTED_VERSION", "EVENT_BUS_UNAVAILABLE")])
def test_what_an_error_means_decides_its_code(name, code):
    """Whoever must act is told by the family: the operator, the data's owner, or who asks."""
    assert explain(KafkaError(CODES[name]), "tx/0").code == code


def test_a_code_that_nobody_knows_is_no_reason_to_try_again():
    """What is neither known nor said to pass is told as it is."""
    found = explain(KafkaError(CODES["INVALID_TXN_STATE"]), "tx/0")
    assert isinstance(found, EventBusUnavailable)
    assert not found.transient
    assert "INVALID_TXN_STATE" in found.what
