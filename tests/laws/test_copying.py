"""What is written many at a time is what is written one by one: the bytes of lines, the values of tables (`docs/decisions/0042`)."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_decoding import CLOCKS, ENVELOPE, LANE, TEXTS, VALUES, Message, lines, payloads

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Vacant
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE
from offline_feature_plane.sources.archives import segment_rows, stored_files
from offline_feature_plane.sources.archives.stored_files import line_record, members_of_line
from offline_feature_plane.sources.buses.envelopes import Lane, stored_value
from offline_feature_plane.sources.buses.values import rows_of_values
from offline_feature_plane.sources.decoding.batches import members_of_documents, settle, tell_columns
from offline_feature_plane.sources.decoding.lines import Lines
from offline_feature_plane.sources.decoding.stored import Writing
from offline_feature_plane.sources.decoding.stored_cells import COPIED, rows_of_batch
from offline_feature_plane.sources.decoding.stored_rows import rows_one_by_one
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.kafka.messages import held_in

NOTHING = Wanted(())
BUS, SHARD = Lane("tx", 0, "kafka_offset"), Lane("tx", 0, "kinesis_sequence")
FORMS = ("jsonl", "parquet")


def writing(form, lane=LANE):
    """How records of a lane are written."""
    return Writing(form, (lane.topic, lane.partition, lane.offset_kind), "2026-05-05T05:05:05.000000Z")


def told(rows):
    """All that is written of some rows, and all that is said of them."""
    return [(one.numbers.tolist(), one.decoded.tolist(), one.deletions.tolist(), np.where(one.decoded, one.log_us, 0).tolist(),
             one.bounds.tolist(), bytes(one.lines) if one.table is None else b"", None if one.table is None else one.table.to_pylist(),
             one.times, dict(one.odd)) for one in rows]


def assert_written_alike(members, members_of, n):
    """A batch is written as its records are, one by one, in every form."""
    batch, refused = settle(members, LANE, partial(stored_files.standing_at, members_of))
    if refused is not None:
        return
    one = partial(segment_rows._one, members_of)
    for form in FORMS:
        rows = rows_of_batch(members, batch, writing(form), one, is_placed=True)
        alone = rows_one_by_one((one(row)._replace(number=int(batch.numbers[row])) for row in range(n)), writing(form))
        assert told([rows]) == told(alone)


@settings(max_examples=80, deadline=None)
@given(st.lists(lines(), min_size=1, max_size=4))
@example([b'{"archived_at_utc": "", ' + json.dumps({name: json.loads(value) for name, value in ENVELOPE.items()}).encode()[1:-1]
          + b', "offset": "1", "payload": {"a": -0, "b": 0.0000001, "c": 1e5, "d": "\\u00e9\\/\\u0001", "e": [ -0.0, 0.000000 ]}}\n'])
def test_lines_are_written_as_one_by_one(written):
    """Whatever stands in lines of JSON: members of strange types, spellings of numbers and texts, hashes of others, times of archiving."""
    data = np.frombuffer(b"".join(written), np.uint8)
    stops = np.cumsum([len(one) for one in written])
    batch = Lines(data, np.concatenate(([0], stops[:-1])), stops)
    members = members_of_documents(batch.data, batch.begins, batch.stops, COPIED, NOTHING)
    assert_written_alike(members, stored_files.members_of_lines(batch), len(written))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), payloads()), *[st.one_of(st.none(), TEXTS)] * 5, st.integers(0, 50)), min_size=1,
                max_size=4), st.sampled_from([pa.string(), pa.large_string(), pa.int64(), pa.null()]))
def test_columns_are_written_as_one_by_one(rows, archived):
    """Whatever stands in columns of a Parquet segment, of other types than ours among it."""
    def clean(at):
        return [None if row[at] is None else row[at].encode("utf-8", "replace").decode() for row in rows]
    columns = {name: pa.array([json.loads(ENVELOPE.get(name, "null"))] * len(rows), pa.string()) for name in STORED_COLUMNS
               if name not in {"partition", "offset"}}
    columns |= {"partition": pa.array([0] * len(rows), pa.int32()), "offset": pa.array([str(row[-1]) for row in rows], pa.string())}
    columns |= {name: pa.array(clean(at), pa.string()) for at, name in enumerate(
        ("payload", "scenario_run_id", "event_id", "payload_hash", "payload_hash_recipe"))}
    columns["archived_at_utc"] = pa.array(clean(5) if archived not in {pa.int64(), pa.null()} else [None] * len(rows), archived)
    assert_written_alike(tell_columns(columns, COPIED, NOTHING), stored_files.members_of_columns(columns), len(rows))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.just(b""), lines()), CLOCKS), min_size=1, max_size=4),
       st.sampled_from([(BUS, 7), (SHARD, 10**55)]))
def test_messages_are_written_as_one_by_one(sent, placed):
    """Whatever comes from a bus: what is no envelope keeps its bytes, a null value its coordinate, a record its instants.

    That holds for offsets of any length.
    """
    lane, first = placed
    messages = [held_in(Message(first + 2 * at, value, clock)) for at, (value, clock) in enumerate(sent)]
    for form in FORMS:
        alone = rows_one_by_one((stored_value(lane, one) for one in messages), writing(form, lane))
        assert told([rows_of_values(lane, messages, writing(form, lane))]) == told(alone)


@settings(max_examples=150, deadline=None)
@given(st.one_of(VALUES, payloads()),
       st.sampled_from(["archived_at_utc", "payload_hash", "payload_hash_recipe", "scenario_run_id", "payload"]))
def test_what_was_written_is_the_same_record(value, name):
    """Whatever a member of a record is, what is written of it decodes as it did, to the very values and the same hash; and stands there."""
    members = ENVELOPE | {"offset": '"1"', "payload": '{"a": 1}', "archived_at_utc": "null", name: value}
    text = ("{" + ",".join(f'"{key}":{one}' for key, one in members.items()) + "}").replace("\n", " ").encode("utf-8", "surrogatepass")
    expected = line_record(text) or Vacant("tx", 0, "kafka_offset", 1, "undecodable")
    stored = segment_rows._one(lambda _: members_of_line(text), 0)._replace(number=1)
    (rows,) = rows_one_by_one(iter([stored]), writing("jsonl"))
    assert line_record(bytes(rows.lines)) == expected
    (rows,) = rows_one_by_one(iter([stored]), writing("parquet"))
    columns = {name: rows.table[name].combine_chunks() for name in STORED_COLUMNS}
    assert stored_files.standing_at(stored_files.members_of_columns(columns), 0) == expected


def test_what_is_usual_is_written_without_the_law():
    """Ordinary records, with blanks, escapes, fractions and hashes of ours, need no second look."""
    payload = {"b": {"a": 'caf\u00e9 \\ " / \u2028'}, "a": 12.5, "list": [1, -2.5, 0, True, None, {}, []]}
    members = {name: json.loads(value) for name, value in ENVELOPE.items()}
    members |= {"payload": payload, "archived_at_utc": "2026-01-01T00:00:00Z"}
    text = b"".join(json.dumps(members | {"offset": str(at)}, ensure_ascii=bool(at % 2)).encode() + b"\n" for at in range(4))
    stops = np.flatnonzero(np.frombuffer(text, np.uint8) == 10) + 1
    found = members_of_documents(np.frombuffer(text, np.uint8), np.concatenate(([0], stops[:-1])), stops, COPIED, NOTHING)

    def never(row):
        raise AssertionError(row)
    batch, _ = settle(found, LANE, never)
    for form in FORMS:
        rows = rows_of_batch(found, batch, writing(form), never, is_placed=True)
        assert rows.n == 4
    again = [json.loads(line, parse_float=Decimal) for line in bytes(rows_of_batch(found, batch, writing("jsonl"), never,
                                                                                  is_placed=True).lines).splitlines()]
    assert [one["payload"] for one in again] == [json.loads(json.dumps(payload), parse_float=Decimal)] * 4
    assert {one["payload_hash_recipe"] for one in again} == {EVENT_HASH_RECIPE}


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_cut_by_number_and_by_text(form):
    """Each row stands where there is less text before it than a segment takes; an offset belongs to one side of a cut."""
    messages = [Message(10 * at, json.dumps({name: json.loads(value) for name, value in ENVELOPE.items()}
                                            | {"payload": {"a": "x" * at}}).encode(), (1, at)) for at in range(9)]
    rows = rows_of_values(BUS, [held_in(one) for one in messages], writing(form))
    sizes = np.diff(rows.bounds)
    assert [rows.fitting(most, 1 << 40) for most in (0, 4, 99)] == [0, 4, 9]
    assert [rows.fitting(99, most) for most in (0, 1, int(sizes[0]), int(sizes[0]) + 1, int(sizes.sum()))] == [0, 1, 1, 2, 9]
    parts = [*rows.between(0, 35), *rows.between(35, 60), *rows.between(60, 1_000)]
    assert [part.numbers.tolist() for part in parts] == [[0, 10, 20, 30], [40, 50], [60, 70, 80]]
    assert sum(part.text_bytes for part in parts) == rows.text_bytes
    if form == "jsonl":
        assert b"".join(bytes(part.lines) for part in parts) == bytes(rows.lines)
    else:
        assert pa.concat_tables([part.table for part in parts]).equals(rows.table)
