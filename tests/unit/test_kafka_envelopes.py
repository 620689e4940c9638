"""Values on a bus: an envelope is a record, nothing is a deletion, and anything else is undecodable, never an error."""

import json
import random

import pytest

from offline_feature_plane.domain.admission import Record
from offline_feature_plane.sources.buses.envelopes import ENVELOPE, Lane, decode_value
from offline_feature_plane.sources.buses.values import decode_values
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.kafka.messages import held_in
from offline_feature_plane.sources.logs.stretches import Undecodable

SAID = {"platform_run_id": "run1", "event_type": "transaction", "event_id": "e1", "ts_utc": "2026-01-01T00:00:00Z", "schema_version": "v1",
        "payload": {"amount": 5}}
LANE = Lane("transaction", 3, "kafka_offset")


class Sent:
    """A message as the driver gives it."""

    def __init__(self, value, kind=1, time_ms=1_700_000_000_000):
        self._value, self._time = value, (kind, time_ms)

    def offset(self):
        """Where it stands."""
        return 7

    def value(self):
        """What it holds."""
        return self._value

    def timestamp(self):
        """Its time."""
        return self._time

    def leader_epoch(self):
        """Its epoch."""
        return 0


def decoded(value, **time):
    """What a value is."""
    held = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return decode_value(LANE, held_in(Sent(held, **time)))


def test_an_envelope_is_a_record_at_the_brokers_coordinate_and_time():
    """Coordinate and log time are the broker's, whatever the value says of itself; strange members change nothing."""
    found = decoded(SAID)
    assert isinstance(found, Record)
    assert (found.place, found.number, found.offset_kind, found.log_us) == ("transaction/3@7", 7, "kafka_offset", 1_700_000_000_000_000)
    assert (found.event_id, found.payload, found.scenario_run_id) == ("e1", {"amount": 5}, None)
    more = decoded({**SAID, "topic": "another", "offset": "99", "log_time_utc": "1999-01-01T00:00:00Z", "producer": "p", "trace_id": "t"})
    assert more == found
    assert decoded({**SAID, "scenario_run_id": "s1"}).scenario_run_id == "s1"


def test_no_value_and_no_payload_are_deletions():
    """The first says nothing more; the second is still an envelope, whose run is known."""
    assert decoded(None) == Undecodable(7, "null_value")
    assert decoded({**SAID, "payload": None}).payload is None


@pytest.mark.parametrize("value", [
    b"", b"{", b"null", b"[]", b'"text"', b"12", b"\xff\xfe{}", b'{"a":1}' + b"\x00", json.dumps(SAID).encode("utf-16"),
    json.dumps(SAID).encode() + b"{}", json.dumps(SAID).replace('"amount": 5', '"amount": NaN').encode(),
    json.dumps(SAID).replace('"amount": 5', '"amount": 5, "amount": 6').encode(),
    json.dumps(SAID).replace('"event_id": "e1"', '"event_id": "e1", "event_id": "e2"').encode(),
    json.dumps(SAID).replace('{"amount": 5}', "[" * 100_000 + "]" * 100_000).encode(),
    json.dumps(SAID).replace('{"amount": 5}', '{"a":' * 200 + "1" + "}" * 200).encode(),
    json.dumps(SAID).replace('"e1"', '"\\ud800"').encode(), json.dumps({**SAID, "payload": {"x": "a" * (17 << 20)}}).encode()],
    ids=lambda value: f"{value[:24]!r}…{len(value)}")
def test_what_is_no_envelope_is_undecodable(value):
    """Broken text, other text, repeated keys, depth and length: each costs one coordinate and raises nothing."""
    assert decoded(value) == Undecodable(7)


@pytest.mark.parametrize("name", ENVELOPE)
@pytest.mark.parametrize("wrong", ["absent", "", 5, 1.5, True, [], {}, "\x00"])
def test_a_member_that_is_missing_or_of_another_type_makes_it_undecodable(name, wrong):
    """Each member is required, and each but the payload is text; an empty payload is one, and an odd text is text."""
    document = {key: value for key, value in SAID.items() if key != name} if wrong == "absent" else {**SAID, name: wrong}
    lawful = (name == "payload" and wrong == {}) or (wrong == "\x00" and name not in {"payload", "ts_utc"})
    assert isinstance(decoded(document), Record) == lawful


@pytest.mark.parametrize("time", [{"kind": 0}, {"time_ms": -(1 << 62)}, {"time_ms": 1 << 60}, {"time_ms": 253_402_300_800_000}])
def test_a_record_without_a_time_of_the_log_cannot_be_placed(time):
    """No timestamp at all, or one beyond every calendar."""
    assert decoded(SAID, **time) == Undecodable(7)


def test_no_bytes_whatever_raise():
    """Ten thousand damaged envelopes: each is a record or a reason."""
    draw, sound = random.Random(7), json.dumps(SAID).encode()
    for _ in range(10_000):
        damaged = bytearray(sound)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        assert isinstance(decoded(bytes(damaged[:draw.randint(1, len(damaged))])), Record | Undecodable)


def odd_envelopes(count):
    """Envelopes of many kinds, every third damaged somewhere, with deletions and odd times among them."""
    draw, found = random.Random(11), []
    for n in range(count):
        document = {**SAID, "event_id": f"e{n}", "ts_utc": draw.choice(["2026-01-01T00:00:00Z", "2026-01-01T01:02:03.5+01:00", "now"]),
                    "payload": draw.choice([{"amount": n, "card": {"who": "é"}}, {"amount": 1.5}, {"amount": "12"}, None, [], {}]),
                    "payload_hash": "sha256:of nothing", "payload_hash_recipe": draw.choice(["ofs.event_hash.v1", "another"]),
                    **draw.choice([{}, {"scenario_run_id": "s1"}, {"scenario_run_id": ""}, {"producer": {"deep": [1, {"a": None}]}}])}
        value = bytearray(json.dumps(document, ensure_ascii=draw.random() < 0.5).encode())
        if n % 3 == 0:
            value[draw.randrange(len(value))] = draw.randrange(256)
        found.append(Sent(draw.choice([bytes(value)] * 20 + [None, b"", b"{}"]), kind=draw.choice([1] * 20 + [2, 0]),
                          time_ms=draw.choice([1_700_000_000_000 + n] * 20 + [1 << 60, -(1 << 60), 0])))
    return found


def test_many_at_a_time_are_what_each_of_them_is():
    """Kernels and the law say the same of every message: decoded or not, its names, times, hash and payload, at its own offset."""
    messages = odd_envelopes(5_000)
    for number, one in enumerate(messages):
        one.offset = lambda number=number: 100 + number
    batch = decode_values(LANE, [held_in(one) for one in messages], Wanted.of([("amount",), ("card", "who")]))
    expected = [decode_value(LANE, held_in(one)) for one in messages]
    assert batch.numbers.tolist() == [100 + n for n in range(len(messages))]
    assert batch.decoded.tolist() == [isinstance(one, Record) for one in expected]
    assert 1_000 < sum(batch.decoded) < 4_900
    assert batch.deletions.tolist() == [one.value() is None for one in messages]
    texts = [column.to_pylist() for column in (batch.ids, batch.types, batch.runs, batch.scenarios)]
    for row, one in enumerate(expected):
        if isinstance(one, Record):
            assert [column[row] for column in texts] == [one.event_id, one.event_type, one.platform_run_id, one.scenario_run_id]
            assert (batch.ts_us[row], batch.log_us[row], batch.digests[row].tobytes().hex()) == (one.ts_us, one.log_us, one.digest[7:])
            assert bool(batch.has_payload[row]) == (one.payload is not None)
            assert one.payload is None or batch.payload(row) == one.payload


def test_a_batch_of_nothing_but_deletions_and_giants_is_one():
    """No document is left for the kernels, and none is too large for them."""
    giant = json.dumps({**SAID, "payload": {"x": "a" * (17 << 20)}}).encode()
    batch = decode_values(LANE, [held_in(Sent(one)) for one in (None, giant, b"")], Wanted.of([("amount",)]))
    assert (batch.decoded.tolist(), batch.deletions.tolist(), batch.numbers.tolist()) == ([False] * 3, [True, False, False], [7] * 3)
