"""Decoding many records at a time gives what the law gives one by one (`docs/decisions/0042`)."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Record, Vacant, decode
from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extractors import extractor
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE
from offline_feature_plane.errors import OfsError
from offline_feature_plane.sources.archives.column_values import values_of
from offline_feature_plane.sources.archives.stored_files import line_record, stored_record
from offline_feature_plane.sources.buses.envelopes import Lane, decode_value
from offline_feature_plane.sources.buses.values import decode_values
from offline_feature_plane.sources.decoding.batches import STORED, Expected, members_of_documents, settle, tell_columns
from offline_feature_plane.sources.decoding.typed import typed_column
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.kafka.messages import held_in
from offline_feature_plane.sources.logs.stretches import Undecodable

LANE = Expected("tx", 0, "kafka_offset")
KINDS = ("string", "bool", "int8", "int64", "float64", "decimal(6,2)", "decimal(18,6)", "timestamp")
FIELDS = tuple(Field(f"f{at}", ColumnType.parse(kind), path, **more) for at, (kind, path, more) in enumerate(
    (kind, path, more) for kind in KINDS for path in (("a",), ("b", "a")) for more in ({}, {"nullable": True})))
STANDING_IN = (Field("s", ColumnType("string"), ("a",), missing="x"), Field("n", ColumnType("int64"), ("a",), missing="7"))
WANTED = Wanted.of(field.path for field in FIELDS)

NUMBERS = st.one_of(
    st.sampled_from(["0", "-0", "0.0", "-0.00", "1.50", "1.5", "150e-2", "1E+2", "1e5", "9007199254740993", "1e400", "1e-400", "0.1",
                     "01", "1.", ".5", "-", "+1", "1e", "NaN", "-Infinity", "123456789012345678901234567890", "999999999999999999",
                     "9223372036854775807", "9223372036854775808", "-9223372036854775808", "127", "128", "-129", "1e999999999",
                     "0." + "0" * 310 + "1", "1" * 401, "10000.00", "99999.999", "4.35", "0.30000000000000004", "1e22", "5e-324"]),
    st.integers(-10**20, 10**20).map(str), st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr))
TEXTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["é", "e\u0301", "\u2028", "𝄞", "\x7f", "a/b", '"', "\\", "\n", "\x00", "\x1f", "true", "12",
                                          "12.50", "-7", "007", "1e5", "2026-01-31T23:59:59Z", "2026-02-30T00:00:00Z", "1", "0",
                                          "2026-01-31T23:59:59.123456+02:00", "2026-01-31 23:59:59Z", "0001-01-01T00:00:00+01:00",
                                          "2024-02-29T12:00:00.5Z", "2026-01-31T23:59:60Z", "2026-01-31T23:59:59.1234567Z"]))


@st.composite
def spelled_text(draw):
    """A JSON text in one of its spellings, or in one that is none."""
    text = draw(TEXTS)
    spelling = draw(st.sampled_from(["ascii", "utf8", "escaped", "broken"]))
    if spelling == "broken":
        return draw(st.sampled_from(['"\\ud800"', '"\\ud83d\\ude00"', '"\\x"', '"\\u12"', '"a\tb"', '"', '"\\', '"\\/"', '"\\u002f\\u0022"',
                                     '"\\uD83D"', '"\\u00E9\\u0000\\u001F\\u0008"']))
    if spelling == "escaped":
        return '"' + "".join(f"\\u{ord(one):04x}" if ord(one) < 0x10000 else one for one in text) + '"'
    return json.dumps(text, ensure_ascii=spelling == "ascii")


SPACES = st.sampled_from(["", "", "", " ", "\t", "\r\n", "  "])
KEYS = st.sampled_from(["a", "a", "b", "b", "c", "", "é", "aa", "ab", "%s", "k\\u0061", "z\\n", "e\u0301", "ж", "字", "\ud7ff", "\ufb33",
                        "\U00010000"])


def spelled(values):
    """Containers of spelled values, as somebody else may write them."""
    @st.composite
    def array(draw):
        inner = draw(st.lists(values, max_size=3))
        return f"[{draw(SPACES)}{f'{draw(SPACES)},'.join(inner)}{draw(SPACES)}{draw(st.sampled_from(['', '', '', ',']))}]"

    @st.composite
    def mapping(draw):
        members = [f'{draw(SPACES)}"{draw(KEYS)}"{draw(SPACES)}:{draw(SPACES)}{draw(values)}{draw(SPACES)}'
                   for _ in range(draw(st.integers(0, 4)))]
        return "{" + ",".join(members) + draw(SPACES) + "}"
    return st.one_of(array(), mapping())


VALUES = st.recursive(st.one_of(NUMBERS, spelled_text(), st.sampled_from(["true", "false", "null", "nul", "True", ""])), spelled,
                      max_leaves=12)


@st.composite
def payloads(draw):
    """A payload, mostly an object."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(VALUES, st.just("null"), st.just("[" * 70 + "]" * 70), st.just('{"a":' * 70 + "1" + "}" * 70)))
    members = [(draw(KEYS), draw(VALUES)) for _ in range(draw(st.integers(0, 4)))]
    return "{" + ",".join(f'"{key}":{value}' for key, value in members) + "}"


ENVELOPE = {"topic": '"tx"', "partition": "0", "offset_kind": '"kafka_offset"', "platform_run_id": '"run1"', "scenario_run_id": "null",
            "event_type": '"tx"', "event_id": '"e1"', "ts_utc": '"2026-01-31T23:59:59.000001Z"', "schema_version": '"v1"',
            "payload_hash": "null", "payload_hash_recipe": "null", "log_time_utc": '"2026-01-31T23:59:59Z"'}


@st.composite
def lines(draw):
    """A stored record as a line, with some members spelled otherwise, left out, strange, or twice; sometimes with a byte that is wrong."""
    members = dict(ENVELOPE) | {"offset": f'"{draw(st.integers(0, 50))}"', "payload": draw(payloads())}
    for name in draw(st.lists(st.sampled_from(sorted(members)), max_size=2)):
        members[name] = draw(st.one_of(VALUES, spelled_text()))
    if draw(st.integers(0, 5)) == 0:
        del members[draw(st.sampled_from(sorted(members)))]
    if draw(st.booleans()):
        members["payload_hash_recipe"] = f'"{EVENT_HASH_RECIPE}"'
    if draw(st.integers(0, 5)) == 0:
        members[draw(st.sampled_from(["producer", "archived_at_utc", "é"]))] = draw(VALUES)
    order = draw(st.permutations(sorted(members))) if draw(st.booleans()) else list(members)
    if draw(st.integers(0, 9)) == 0:
        order = [*order, draw(st.sampled_from(order))]
    space = draw(SPACES)
    text = space + "{" + ",".join(f'{space}"{name}":{space}{members[name]}' for name in order) + "}" + space
    data = text.replace("\n", " ").encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0 and data:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.sampled_from([b"", b"\xff", b"\xc3", b'"', b"}", b",", b"\x00", b" ", b"\xed\xa0\x80", b"\xf0\x9f"])) + \
            data[at + draw(st.integers(0, 1)):]
    return data.replace(b"\n", b" ") + b"\n"


def by_law(lawful, rows):
    """What the law says of every record, up to the first that it refuses."""
    found = []
    for row in range(rows):
        try:
            found.append(lawful(row))
        except OfsError as wrong:
            return found, (row, wrong.code, wrong.what)
    return found, None


def assert_alike(members, lawful, rows, lane=LANE):
    """A batch says what the law says of its records, fields included."""
    expected, refused_by_law = by_law(lawful, rows)
    batch, refused = settle(members, lane, lawful)
    assert (None if refused is None else (refused.row, refused.error.code, refused.error.what)) == refused_by_law
    for row, record in enumerate(expected):
        assert bool(batch.decoded[row]) == isinstance(record, Record), row
        assert batch.vacant.get(row) == (record if isinstance(record, Vacant) else None), row
        is_null = isinstance(record, Vacant) and record.reason == "null_value"
        assert (batch.deletions is not None and bool(batch.deletions[row])) == is_null, row
        assert not isinstance(record, Vacant) or batch.numbers[row] == record.number, row
        if isinstance(record, Record):
            assert (batch.numbers[row], batch.ts_us[row], batch.log_us[row]) == (record.number, record.ts_us, record.log_us)
            assert f"sha256:{batch.digests[row].tobytes().hex()}" == record.digest
            assert bool(batch.has_payload[row]) == (record.payload is not None)
            said = [column[row].as_py() for column in (batch.runs, batch.scenarios, batch.types, batch.ids)]
            assert said == [record.platform_run_id, record.scenario_run_id, record.event_type, record.event_id]
    kept = [row for row, record in enumerate(expected) if isinstance(record, Record) and record.payload is not None]
    for field in (*FIELDS, *STANDING_IN):
        extracted = extractor(field)
        for row in kept:
            def read(row=row, field=field, extracted=extracted):
                return typed_column(field, extracted, batch.found, WANTED.slot(field.path), np.array([row]), batch.payload)
            assert outcome(read, lambda column: plain(column[0])) == outcome(
                lambda extracted=extracted, row=row: extracted(expected[row].payload), lambda value: value)


def outcome(act, told):
    """What something gives, with its type, or the error that it raises."""
    try:
        found = act()
    except OfsError as wrong:
        return type(wrong), wrong.what
    return type(told(found)), told(found)


def plain(value):
    """An Arrow value as the law has it."""
    if pa.types.is_timestamp(value.type):
        return value.cast(pa.int64()).as_py()
    found = value.as_py()
    return int(found.scaleb(value.type.scale)) if isinstance(found, Decimal) else found


def hold_together(written):
    """A batch of lines is what each of them is."""
    data = np.frombuffer(b"".join(written), np.uint8)
    stops = np.cumsum([len(one) for one in written])
    begins = np.concatenate(([0], stops[:-1]))
    assert_alike(members_of_documents(data, begins, stops, STORED, WANTED), lambda row: line_record(written[row]), len(written))


@settings(max_examples=80, deadline=None)
@given(st.lists(lines(), min_size=1, max_size=4))
def test_lines_are_decoded_as_one_by_one(written):
    """Whatever stands in lines of JSON, a batch of them is what each of them is: decoded or not, hashed, and with the same fields."""
    hold_together(written)


@pytest.mark.long
@settings(max_examples=5_000, deadline=None)
@given(st.lists(lines(), min_size=1, max_size=4))
def test_many_lines_are_decoded_as_one_by_one(written):
    """As above, five thousand batches."""
    hold_together(written)


SEQUENCES = st.sampled_from(["49590338271490256608559692538361571095921575989136588898", "0", "00", "7", "-1", "", "\u0661", "9" * 128,
                             "9" * 129, "12x"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(SEQUENCES.map(json.dumps), st.just("5"), st.just("null")), min_size=1, max_size=4))
def test_sequences_of_kinesis_are_decoded_as_one_by_one(offsets):
    """Numbers of 56 digits, and whatever is none, are offsets in batches as they are one by one."""
    written = []
    for one in offsets:
        members = dict(ENVELOPE) | {"offset_kind": '"kinesis_sequence"', "offset": one, "payload": '{"a": 1}'}
        written.append(("{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}\n").encode())
    data, stops = np.frombuffer(b"".join(written), np.uint8), np.cumsum([len(one) for one in written])
    members = members_of_documents(data, np.concatenate(([0], stops[:-1])), stops, STORED, WANTED)
    assert_alike(members, lambda row: line_record(written[row]), len(written), Expected("tx", 0, "kinesis_sequence"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), payloads()), st.one_of(st.none(), TEXTS), TEXTS, st.integers(0, 50)), min_size=1,
                max_size=4), st.sampled_from([pa.int32(), pa.int64(), pa.string()]))
def test_columns_are_decoded_as_one_by_one(rows, partitions):
    """Whatever stands in columns of a Parquet segment, a batch of them is what each row is."""
    encoded = [None if payload is None else payload.encode("utf-8", "replace").decode() for payload, *_ in rows]
    clean = [(None if scenario is None else scenario.encode("utf-8", "replace").decode(), text.encode("utf-8", "replace").decode(), at)
             for _, scenario, text, at in rows]
    columns = {name: pa.array([json.loads(ENVELOPE.get(name, "null"))] * len(rows), pa.string()) for name in STORED_COLUMNS
               if name not in {"partition", "offset"}}
    columns |= {"partition": pa.array([0] * len(rows)).cast(partitions), "payload": pa.array(encoded, pa.string()),
                "scenario_run_id": pa.array([scenario for scenario, _, _ in clean], pa.string()),
                "event_id": pa.array([text for _, text, _ in clean], pa.string()),
                "offset": pa.array([str(at) for _, _, at in clean], pa.string())}
    values = [values_of(columns[name]) for name in STORED_COLUMNS]
    assert_alike(tell_columns(columns, STORED, WANTED), lambda row: stored_record(*(column[row] for column in values)), len(rows))


def test_texts_that_are_not_utf8_are_left_to_the_law():
    """Bytes in a text column that are no UTF-8 make a record undecodable, and only that one."""
    ids = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"\xff\xfee1")])
    columns = {name: pa.array([json.loads(ENVELOPE.get(name, "null"))] * 2, pa.string()) for name in STORED_COLUMNS if name != "partition"}
    columns |= {"partition": pa.array([0, 0], pa.int32()), "payload": pa.array(['{"a": 1}'] * 2), "event_id": ids,
                "offset": pa.array(["1", "2"])}
    values = [values_of(columns[name]) for name in STORED_COLUMNS]
    batch, refused = settle(tell_columns(columns, STORED, WANTED), LANE, lambda row: stored_record(*(one[row] for one in values)))
    assert refused is None
    assert batch.decoded.tolist() == [False, True]


def test_a_hash_of_our_recipe_that_is_another_one_is_refused_with_its_record():
    """The first record that is not what its hash says ends the batch; those of other recipes are not compared (D15).

    offsets   ──1──2──3──▶      2 says ours and lies, 3 says theirs
    """
    written = []
    for at, recipe in ((1, "null"), (2, f'"{EVENT_HASH_RECIPE}"'), (3, '"theirs.v1"')):
        members = dict(ENVELOPE) | {"offset": f'"{at}"', "payload": '{"a": 1}', "payload_hash": '"sha256:00"',
                                    "payload_hash_recipe": recipe}
        written.append(("{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}\n").encode())
    data, stops = np.frombuffer(b"".join(written), np.uint8), np.cumsum([len(one) for one in written])
    members = members_of_documents(data, np.concatenate(([0], stops[:-1])), stops, STORED, WANTED)
    _, refused = settle(members, LANE, lambda row: line_record(written[row]))
    assert refused is not None
    assert (refused.row, refused.error.code, refused.error.path) == (1, "REPLAY_BASIS_MISMATCH", "tx/0@2")


def test_what_is_usual_needs_no_law():
    """Ordinary records, nested, with escapes and several spellings of instants, are decoded without asking the law once."""
    def never(row):
        raise AssertionError(row)
    payload = {"b": {"a": 'caf\u00e9 \\ " / \u2028'}, "a": 12.5, "list": [1, -2.5e3, True, None, {}, []]}
    written = []
    for at, moment in enumerate(("2026-01-31T23:59:59.000001Z", "2026-01-31T23:59:59Z", "2026-01-31T23:59:59.5+02:00",
                                 "2024-02-29T00:00:00.123Z")):
        members = {name: json.loads(value) for name, value in ENVELOPE.items()} | {"offset": str(at), "payload": payload,
                                                                                  "ts_utc": moment, "producer": {"id": [1]}}
        written.append(json.dumps(members).encode() + b"\n")
    data, stops = np.frombuffer(b"".join(written), np.uint8), np.cumsum([len(one) for one in written])
    members = members_of_documents(data, np.concatenate(([0], stops[:-1])), stops, STORED, WANTED)
    batch, refused = settle(members, LANE, never)
    assert refused is None
    assert batch.decoded.all()
    assert [f"sha256:{one.tobytes().hex()}" for one in batch.digests] == [decode(json.loads(one, parse_float=Decimal)).digest
                                                                          for one in written]


CLOCKS = st.sampled_from([(1, 0), (2, 1_769_903_999_000), (0, 5), (1, 10**17), (1, -(10**14))])


class Message:
    """A message of a bus."""

    def __init__(self, offset, value, clock):
        self.offset, self.value, self.timestamp = lambda: offset, lambda: value, lambda: clock


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.just(b""), lines()), CLOCKS), min_size=1, max_size=4),
       st.sampled_from([("kafka_offset", 7), ("kinesis_sequence", 10**55)]))
def test_messages_are_decoded_as_one_by_one(sent, counted):
    """Whatever stands in messages of a bus, null values and impossible clocks among it, a batch of them is what each of them is.

    That holds for offsets of any length.
    """
    kind, first = counted
    messages = [held_in(Message(first + 2 * at, value, clock)) for at, (value, clock) in enumerate(sent)]
    batch = decode_values(Lane("tx", 0, kind), messages, WANTED)
    for row, message in enumerate(messages):
        record = decode_value(Lane("tx", 0, kind), message)
        assert batch.numbers[row] == message.number
        if isinstance(record, Undecodable):
            assert not batch.decoded[row]
            assert (batch.deletions is not None and bool(batch.deletions[row])) == (record.reason == "null_value")
            continue
        assert batch.decoded[row]
        assert (batch.ts_us[row], batch.log_us[row]) == (record.ts_us, record.log_us)
        assert f"sha256:{batch.digests[row].tobytes().hex()}" == record.digest
        assert bool(batch.has_payload[row]) == (record.payload is not None)
        assert batch.scenarios[row].as_py() == record.scenario_run_id
