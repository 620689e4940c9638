"""Records of other tools are decoded in batches as they are one by one (`docs/decisions/0046`)."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_decoding import FIELDS, LANE, SPACES, VALUES, assert_alike, payloads, spelled_text

from offline_feature_plane.domain.foreign_records import V0, Place, lifting_of
from offline_feature_plane.sources.archives.foreign_laws import law_of_foreign_columns, law_of_foreign_lines
from offline_feature_plane.sources.decoding.batches import settle
from offline_feature_plane.sources.decoding.lines import Lines
from offline_feature_plane.sources.decoding.mapped_columns import members_of_mapped_columns
from offline_feature_plane.sources.decoding.mapped_documents import members_of_mapped_documents, written_lines
from offline_feature_plane.sources.decoding.wanted import Wanted

WANTED = Wanted.of(field.path for field in FIELDS)
ZONES = st.sampled_from([None, "UTC", "Europe/Paris"])

COUNTED = {"partition": Place(("p",)), "offset": Place(("o",)), "event_id": Place(("id",)), "ts_utc": Place(("at",)),
           "log_time_utc": Place(("log",), unit="ms")}


def columns_alike(columns, places, relative="a.parquet", zone=None):
    """A batch of some columns says what the law says of each of its rows."""
    lifting = lifting_of(places, "tx", "run1", zone)
    fixed = lifting.fixed(relative)
    n = len(next(iter(columns.values())))
    assert_alike(members_of_mapped_columns(columns, lifting, fixed, WANTED), law_of_foreign_columns(columns, lifting, fixed), n)


def lines_alike(written, places, relative="a.jsonl", zone=None):
    """A batch of some lines says what the law says of each that is not blank."""
    lifting = lifting_of(places, "tx", "run1", zone)
    fixed = lifting.fixed(relative)
    stops = np.cumsum([len(one) for one in written])
    lines = written_lines(Lines(np.frombuffer(b"".join(written), np.uint8), np.concatenate(([0], stops[:-1])), stops))
    assert [lines.line(row) for row in range(len(lines.begins))] == [one for one in written if not one.isspace()]
    assert_alike(members_of_mapped_documents(lines, lifting, fixed, WANTED), law_of_foreign_lines(lines, lifting, fixed),
                 len(lines.begins))


def leaves():
    """A type of a column, and values that it may have."""
    def of(kind, values):
        return st.tuples(st.just(kind), st.just(st.one_of(st.none(), values)))
    texts = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
                      st.sampled_from(["12.50", "-0", "true", "é\u0301", '"\\\n\x00', "2026-01-31T23:59:59Z", "2026-01-31 23:59:59"]))
    return st.one_of(
        *(of(getattr(pa, f"{sign}int{size}")(), st.integers(0 if sign else -(1 << (size - 1)), (1 << (size if sign else size - 1)) - 1))
          for sign in ("", "u") for size in (8, 16, 32, 64)),
        of(pa.float64(), st.floats()), of(pa.float32(), st.floats(width=32)), of(pa.float16(), st.floats(width=16).map(np.float16)),
        of(pa.float64(), st.decimals(-10**6, 10**6, places=2).map(float)),
        of(pa.decimal128(12, 2), st.decimals(-10**9, 10**9, places=2)), of(pa.decimal128(38, 20), st.decimals(-10**9, 10**9, places=20)),
        of(pa.decimal256(60, 30), st.decimals(-10**9, 10**9, places=30)), of(pa.decimal64(9, 0), st.decimals(-10**8, 10**8, places=0)),
        of(pa.bool_(), st.booleans()), of(pa.string(), texts), of(pa.large_string(), texts), of(pa.string_view(), texts),
        of(pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "b", "é", '"'])),
        of(pa.binary(), st.binary(max_size=3)), of(pa.null(), st.none()), of(pa.duration("us"), st.just(dt.timedelta(1))),
        of(pa.timestamp("us"), st.datetimes()), of(pa.timestamp("s"), st.integers(-(2**62), 2**62)),
        of(pa.timestamp("ms", "America/New_York"), st.integers(-(10**13), 10**13)),
        of(pa.timestamp("us", "+05:30"), st.integers(-(2**63), 2**63 - 1)), of(pa.timestamp("ns"), st.integers(-(2**63) + 1, 2**63 - 1)),
        of(pa.timestamp("ns", "UTC"), st.integers(-(10**9), 10**9).map(lambda n: n * 1000)),
        of(pa.timestamp("us", "No/Where"), st.integers(0, 10**15)),
        of(pa.date32(), st.integers(-(2**31), 2**31 - 1)), of(pa.date32(), st.dates()), of(pa.date64(), st.dates()),
        of(pa.time32("ms"), st.integers(-5, 86_400_005)), of(pa.time64("us"), st.times()), of(pa.time64("ns"), st.integers(0, 10**13)))


def nested(inner):
    """Lists, structs and maps of columns."""
    def listed(one):
        kind, values = one
        many = st.one_of(st.none(), st.lists(values, max_size=3))
        pairs = st.lists(st.tuples(st.sampled_from("abé"), values), max_size=2)
        return st.sampled_from([(pa.list_(kind), many), (pa.large_list(kind), many),
                                (pa.map_(pa.string(), kind), st.one_of(st.none(), pairs)),
                                (pa.list_(kind, 2), st.one_of(st.none(), st.lists(values, min_size=2, max_size=2)))])

    def struct(members):
        names = ["a", "b", "é", "\U00010000", "\ufb33"][:len(members)]
        kind = pa.struct([pa.field(name, one[0]) for name, one in zip(names, members, strict=True)])
        values = st.fixed_dictionaries({name: one[1] for name, one in zip(names, members, strict=True)})
        return st.just((kind, st.one_of(st.none(), values)))
    return st.one_of(inner.flatmap(listed), st.lists(inner, max_size=5).flatmap(struct))


EXTENDED = st.sampled_from([(pa.uuid(), st.one_of(st.none(), st.uuids().map(lambda one: one.bytes))),
                            (pa.json_(), st.sampled_from([None, '{"a": 1}', "[", ""]))])
KINDS = st.one_of(st.recursive(leaves(), nested, max_leaves=4), EXTENDED)


@st.composite
def tables(draw):
    """Columns of a table whose records have a lane, and of which some are the payload's; cut out of a longer one."""
    n = draw(st.integers(1, 4))
    columns = {}
    for name in draw(st.lists(st.sampled_from(["a", "b", "c", "é", "%s", "\U00010000", "\ufb33", 'q"']), unique=True, max_size=5)):
        kind, values = draw(KINDS)
        cells = draw(st.lists(values, min_size=n + 2, max_size=n + 2))
        columns[name] = array_of(cells, kind).slice(1, n)
    return columns, n


def array_of(cells, kind):
    """An array, dictionaries included."""
    if pa.types.is_dictionary(kind):
        return pa.array(cells, kind.value_type).dictionary_encode()
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(cells, kind.storage_type))
    return pa.array(cells, kind)


def of_the_log(n, **other):
    """Columns of a record of a log: five of them, some other than usual."""
    return {"p": pa.array([0] * n, pa.int32()), "o": pa.array(range(n), pa.int64()), "id": pa.array([f"e{row}" for row in range(n)]),
            "at": pa.array([dt.datetime(2026, 1, 31, 23, 59, 59, row, tzinfo=dt.UTC) for row in range(n)], pa.timestamp("us", "UTC")),
            "log": pa.array([1_769_903_999_000 + row for row in range(n)]), **other}


@settings(max_examples=60, deadline=None)
@given(tables(), ZONES)
def test_columns_of_every_type_are_told_as_by_the_law(table, zone):
    """Whatever types the columns of a payload have, nested ones and what JSON has no form for, its hash and its fields are the law's."""
    columns, n = table
    columns_alike({**of_the_log(n), **columns}, COUNTED, zone=zone)


@settings(max_examples=50, deadline=None)
@given(tables(), st.data())
def test_a_struct_is_a_payload_too(table, data):
    """A payload that is one column, a struct, a text, or whatever else, null or not, is what the law makes of it."""
    columns, n = table
    if columns and data.draw(st.booleans()):
        mask = pa.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        whole = pa.StructArray.from_arrays(list(columns.values()), list(columns), mask=mask)
    else:
        kind, values = data.draw(KINDS)
        whole = array_of(data.draw(st.lists(values, min_size=n, max_size=n)), kind)
    columns_alike({**of_the_log(n), "value": whole}, {**COUNTED, "payload": Place(("value",))})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), payloads()), min_size=1, max_size=4))
@example(['{"a":1e400}'])
def test_a_column_of_json_is_a_payload_too(texts):
    """The JSON text of a payload in a column is read as it is one by one."""
    clean = [None if one is None else one.encode("utf-8", "replace").decode() for one in texts]
    columns_alike({**of_the_log(len(texts)), "value": pa.array(clean, pa.string())}, {**COUNTED, "payload": Place(("value",))})


@settings(max_examples=40, deadline=None)
@given(st.data(), ZONES)
def test_members_in_columns_of_any_type_are_lifted_as_by_the_law(data, zone):
    """Whatever type somebody gave to partitions, offsets, ids and times: numbers, their digits, times with and without a zone."""
    n = data.draw(st.integers(1, 3))
    other = {}
    for name in data.draw(st.lists(st.sampled_from(["p", "o", "id", "at", "log", "v", "run", "s"]), unique=True, max_size=3)):
        usual = [(pa.string(), st.sampled_from(["0", "7", "007", "-1", "", "x", "2026-01-31T23:59:59Z", "2026-07-31 23:59:59.5",
                                                "0001-01-01T00:00:00", "2026-03-29T02:30:00"])),
                 (pa.int64(), st.integers(-2, 3)), (pa.uint64(), st.sampled_from([0, 2**64 - 1])),
                 (pa.timestamp("us"), st.datetimes()), (pa.int64(), st.integers(-(2**63), 2**63 - 1))]
        kind, values = data.draw(st.one_of(st.sampled_from(usual), KINDS))
        other[name] = array_of(data.draw(st.lists(values, min_size=n, max_size=n)), kind)
    places = {**COUNTED, "log_time_utc": Place(("log",), unit=data.draw(st.sampled_from([None, "s", "ms", "us"])))}
    places |= {member: Place((name,)) for member, name in (("schema_version", "v"), ("platform_run_id", "run"), ("scenario_run_id", "s"))
               if name in other}
    columns_alike(of_the_log(n, **other), places, zone=zone)


def test_members_lie_within_structs_and_in_folders():
    """A member may lie within a struct that is null at times; one in the path is the same for all records of a file.

    kafka {offset, ts}   tx {id, at, amount}        in partition=0/
    """
    rows = [{"id": 7, "at": dt.datetime(2026, 7, 1, 12), "amount": Decimal("1.50")}, None,  # noqa: DTZ001 - a reading of a wall
            {"id": 8, "at": dt.datetime(2026, 3, 29, 2, 30), "amount": None}]  # noqa: DTZ001 - which never was, in Paris
    columns = {"kafka": pa.array([{"offset": "5", "ts": 1_769_903_999}, {"offset": "6", "ts": 1}, {"offset": "7", "ts": None}]),
               "tx": pa.array(rows, pa.struct([("id", pa.int64()), ("at", pa.timestamp("us")), ("amount", pa.decimal128(9, 2))]))}
    places = {"partition": Place(folder="partition"), "offset": Place(("kafka", "offset")), "event_id": Place(("tx", "id")),
              "ts_utc": Place(("tx", "at")), "log_time_utc": Place(("kafka", "ts"), unit="s"), "payload": Place(("tx",)),
              "schema_version": Place(value=3), "event_type": Place(value="paid")}
    for folder in ("partition=0/a.parquet", "partition=00/a.parquet", "a.parquet"):
        columns_alike(columns, places, folder, "Europe/Paris")
    columns_alike(columns, {**places, "ts_utc": Place(("kafka", "ts"), unit="s"), "topic": Place(value=7)}, "partition=0/a.parquet")


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.timestamp("ms", "UTC"), pa.date32(), pa.time64("us"), pa.decimal128(20, 0),
                                  pa.float64(), pa.bool_()], ids=str)
@pytest.mark.parametrize("member", ["event_id", "schema_version", "platform_run_id", "scenario_run_id", "offset", "partition"])
def test_a_name_is_text_or_a_whole_number(kind, member):
    """A date, a time, a fraction or a truth value names nothing, however it could be spelled."""
    zero = pa.array([0], pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)
    columns_alike(of_the_log(1, x=zero), {**COUNTED, member: Place(("x",))})


def enveloped():
    """Texts as values of a bus are: envelopes, and what is none."""
    members = st.fixed_dictionaries({"id": st.sampled_from(["e", 7, None]), "at": st.just("2026-01-31T23:59:59Z"), "s": st.just("deep"),
                                     "in": st.sampled_from([{"a": 1}, None, "x", '{"a": "b"}'])})
    return st.one_of(members.map(json.dumps), payloads(), st.sampled_from(["", "null", "[1]", "no JSON", '{"id": "e", "id": "f"}']))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), enveloped()), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_members_inside_of_texts_are_lifted_as_by_the_law(texts, is_name_inside, is_bytes):
    """The envelope as the text, or the bytes, that stood on the bus: some of the members in it, or all; in columns as in lines."""
    clean = [None if one is None else one.encode("utf-8", "replace").decode() for one in texts]
    places = {**COUNTED, "scenario_run_id": Place(("value", "s")), "payload": Place(("value", "in"))}
    if is_name_inside:
        places |= {"event_id": Place(("value", "id")), "ts_utc": Place(("value", "at"))}
    values = pa.array([None if one is None else one.encode() for one in clean], pa.binary()) if is_bytes else pa.array(clean, pa.string())
    columns_alike({**of_the_log(len(clean)), "value": values}, places)
    usual = {"p": 0, "at": "2026-01-31T23:59:59Z", "log": 1_769_903_999_000}
    lines_alike([json.dumps({**usual, "o": n, "id": f"e{n}", "value": one}).encode() + b"\n" for n, one in enumerate(clean)], places)


def test_ordinary_tables_need_no_law():
    """A table as tools write it is decoded without asking the law once: numbers, decimals, texts, times, nested values."""
    def never(row):
        raise AssertionError(row)
    columns = of_the_log(3, amount=pa.array([Decimal("1.50"), None, Decimal("-2.00")]), price=pa.array([1.25, 0.1, None]),
                         when=pa.array([dt.datetime(2026, 1, 1)] * 3),  # noqa: DTZ001 - a reading of a wall
                         place=pa.array([{"city": "é", "tags": ["a", None]}, None, {"city": None}]))
    for places in (COUNTED, {**COUNTED, "payload": Place(("place",))}):
        lifting = lifting_of(places, "tx", "run1", "Europe/Paris")
        batch, refused = settle(members_of_mapped_columns(columns, lifting, lifting.fixed("a.parquet"), WANTED), LANE, never)
        assert refused is None
        assert batch.decoded.all()


CONNECT = {"partition": Place(("partition",)), "offset": Place(("offset",)), "event_id": Place(("value", "a")),
           "ts_utc": Place(("timestamp",), unit="ms"), "log_time_utc": Place(("timestamp",), unit="ms"), "payload": Place(("value",))}
FLAT = {"partition": Place(("p",)), "offset": Place(("o",)), "event_id": Place(("a",)), "ts_utc": Place(("at",)),
        "log_time_utc": Place(("log",), unit="ms")}
DEEP = {**{name: place for name, place in V0.items() if name != "payload_hash"}}
TIMES = st.sampled_from(['"2026-01-31T23:59:59.000001Z"', '"2026-01-31T23:59:59"', '"2026-03-29 02:30:00"', '"2026-07-31 23:59:59.5"',
                         '"0001-01-01T00:00:00"', "5", "null", "1769903999000", "1e3", "-5"])
USUAL = {"connect": {"partition": "0", "offset": "7", "timestamp": "1769903999000", "value": '{"a": "e1", "b": {"a": 1.50}}'},
         "flat": {"p": "0", "o": '"7"', "at": '"2026-01-31T23:59:59Z"', "log": "1769903999000", "a": "12", "b": "null", "c": '"x"'},
         "v0": {"origin_offset": '{"topic": "tx", "partition": 0, "offset": "3", "offset_kind": "kafka_offset"}',
                "platform_run_id": '"run1"', "event_type": '"tx"', "event_id": '"e1"',
                "ts_utc": '"2026-01-31T23:59:59Z"', "archived_at_utc": '"2026-01-31T23:59:59Z"',
                "envelope": '{"schema_version": "v1", "payload": {"a": 1, "b": {"a": "x"}}}'}}
PLACES = {"connect": CONNECT, "flat": FLAT, "v0": DEEP}


@st.composite
def foreign_lines(draw, form):
    """A record of another tool as a line, with some members otherwise, left out, or twice; sometimes with a byte that is wrong."""
    members = dict(USUAL[form])
    for name in draw(st.lists(st.sampled_from([*sorted(members), "d", "é"]), max_size=3)):
        members[name] = draw(st.one_of(VALUES, spelled_text(), TIMES, payloads(), payloads().map(json.dumps)))
    if draw(st.integers(0, 5)) == 0:
        del members[draw(st.sampled_from(sorted(members)))]
    order = draw(st.permutations(sorted(members))) if draw(st.booleans()) else list(members)
    if draw(st.integers(0, 9)) == 0:
        order = [*order, draw(st.sampled_from(order))]
    space = draw(SPACES)
    text = space + "{" + ",".join(f'{space}"{name}":{space}{members[name]}{space}' for name in order) + "}" + space
    data = text.replace("\n", " ").encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(data) - 1))
        wrong = draw(st.sampled_from([b"", b"\xff", b'"', b"}", b"{", b",", b"\x00", b" ", b"\xed\xa0\x80"]))
        data = data[:at] + wrong + data[at + draw(st.integers(0, 1)):]
    if draw(st.integers(0, 9)) == 0:
        data = draw(st.sampled_from([b"", b" ", b"\t\x0b\x0c\r", b"{}", b"[]", b"null"]))
    return data.replace(b"\n", b" ") + b"\n"


@pytest.mark.parametrize("form", sorted(USUAL))
@settings(max_examples=60, deadline=None)
@given(data=st.data(), zone=ZONES)
def test_lines_of_connectors_are_decoded_as_by_the_law(form, data, zone):
    """Whatever stands in lines of another tool: the payload a member, a text, deeper, or all that is left; and blank lines are none."""
    lines_alike(data.draw(st.lists(foreign_lines(form), min_size=1, max_size=4)), PLACES[form], zone=zone)


@pytest.mark.parametrize("form", sorted(USUAL))
def test_ordinary_lines_need_no_law(form):
    """Lines as tools write them are decoded without asking the law once."""
    def never(row):
        raise AssertionError(row)
    line = ("{" + ",".join(f'"{name}": {value}' for name, value in USUAL[form].items()) + "}\n").encode()
    lines = Lines(np.frombuffer(line, np.uint8), np.array([0]), np.array([len(line)]))
    lifting = lifting_of(PLACES[form], "tx", "run1", None)
    batch, refused = settle(members_of_mapped_documents(lines, lifting, lifting.fixed("a.jsonl"), WANTED), LANE, never)
    assert refused is None
    assert batch.decoded.all()


@st.composite
def envelopes(draw):
    """JSON texts as a bus has them: an envelope with members and a payload, one that lacks some, or none."""
    known = st.sampled_from(['"x"', '"y\\u0041"', '"é"', "7", "-0", "007", "1.5", "null", "true", '""', '{"a": 1}', '"{\\"a\\": 1}"',
                              "[1]"])
    times = st.sampled_from(['"2026-01-31T23:59:59Z"', '"2026-01-31 23:59:59"', "5", "null", '"no time"'])
    members = [f'"id": {draw(known)}', f'"at": {draw(times)}', f'"run": {draw(known)}', f'"payload": {draw(payloads())}',
               f'"more": {{"id": {draw(known)}, "payload": {draw(payloads())}}}']
    text = "{" + ", ".join(draw(st.lists(st.sampled_from(members), max_size=6, unique=draw(st.booleans())))) + "}"
    return draw(st.sampled_from([text] * 8 + [text[:-1], f" {text}\n", f"[{text}]", "null", "", '"text"', "\ufeff" + text]))


def raw_alike(data, zone):
    """A batch of raw values of a bus says what the law says of each."""
    texts = data.draw(st.lists(st.none() | envelopes(), min_size=1, max_size=4))
    held = [None if one is None else one.encode("utf-8", "replace") for one in texts]
    if data.draw(st.integers(0, 9)) == 9:
        held[0] = b'{"id": "\xff"}'
    kind = data.draw(st.sampled_from(["binary", "large_binary", "binary_view", "string", "large_string", "coded", "struct"]))
    array = pa.array([None, *held], pa.binary()).slice(1)
    if kind == "struct":
        array = pa.StructArray.from_arrays([array], ["raw"])
    elif kind == "coded":
        array = array.dictionary_encode()
    elif held[0] != b'{"id": "\xff"}' or "binary" in kind:
        array = array.cast(getattr(pa, kind)())
    base = ("value", "raw") if kind == "struct" else ("value",)
    paths = {name: (*base, *data.draw(st.sampled_from(ways))) for name, ways in (
        ("event_id", [("id",), ("id",), ("more", "id"), ("id", "a")]), ("platform_run_id", [("run",), ("none",)]))}
    payload = data.draw(st.sampled_from([base, (*base, "payload"), (*base, "payload"), (*base, "more", "payload"), (*base, "more"), None]))
    places = {**COUNTED, **{name: Place(path) for name, path in paths.items()}} | ({} if payload is None else {"payload": Place(payload)})
    if data.draw(st.booleans()):
        places |= {"ts_utc": Place((*base, "at"), unit=data.draw(st.sampled_from([None, None, "ms"])))}
    columns_alike({**of_the_log(len(texts)), "value": array}, places, zone=zone)


@settings(max_examples=8, deadline=None)
@given(st.data(), ZONES)
def test_raw_values_of_a_bus_are_opened_as_by_the_law(data, zone):
    """Raw values of a bus, as texts or bytes of any type: members and payloads inside of them are the law's, broken ones included."""
    raw_alike(data, zone)


@pytest.mark.long
@settings(max_examples=2_000, deadline=None)
@given(st.data(), ZONES)
def test_many_raw_values_are_opened_as_by_the_law(data, zone):
    """As above, two thousand batches."""
    raw_alike(data, zone)
