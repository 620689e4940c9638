"""Record archives: proved complete, read once per coordinate, and every coordinate accounted for."""

import gzip
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Admission, decode
from offline_feature_plane.domain.basis import Range, Selector
from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES, load_json, sha256_of
from offline_feature_plane.domain.closure import Closure, Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.completeness import refusal
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.rows import LabelTask, Task
from offline_feature_plane.engines.local.connection import Database
from offline_feature_plane.engines.local.history.places import Memory
from offline_feature_plane.engines.local.history.storing import store_events
from offline_feature_plane.engines.local.sizes import fit
from offline_feature_plane.errors import (
    EventSchemaMissingFields,
    RefScopeInvalid,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ReplayDuplicateOffsetMismatch,
    ReplayEventIdConflict,
    ReplayEventsEmpty,
    SelectorUnresolved,
    SourceUnreadable,
)
from offline_feature_plane.ports.inputs import Lane
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.logs import records as log_records
from offline_feature_plane.testing.archives import archived, write_archive

TX = Source("tx", ("transaction",), (Field("who", ColumnType("string"), ("card", "who")),
                                     Field("amount", ColumnType("decimal", 9, 2), ("amount",), nullable=True)))
LOGIN = Source("login", ("login",), (Field("who", ColumnType("string"), ("who",)),))


@pytest.fixture(autouse=True, params=["one by one", "in batches"])
def decoding(request, monkeypatch):
    """Few records are decoded one by one, many in batches: every law here holds for both."""
    monkeypatch.setattr(log_records, "WORTH_A_COMPILER", 0 if request.param == "in batches" else 20_000)


def record(offset, **changes):
    """One archived record whose id, time and payload follow its offset."""
    payload = changes.pop("payload", {"card": {"who": f"c{offset % 3}"}, "amount": offset})
    return archived(changes.pop("event_id", f"e{offset}"), changes.pop("ts_us", offset * 1000), payload, offset=offset, **changes)


def task(*sources):
    """A task over some sources."""
    closure = Closure("p", "r", "s", "v1", sources, (), (), ())
    return Task("run1", (), closure, "tx", None, (), LabelTask(0, "r", ()), None, None, "mark", (), None)


def pin(root, topic="transaction"):
    """Pin an archive's topic."""
    return ArchiveSource({topic: ArchiveMapping(root)}).pin(topic)


def read_events(database, inputs, wanted):
    """All events of some inputs in memory, and what is told of them."""
    history, facts = store_events(database, inputs, wanted, Memory(), fit(wanted, 0, 10**9))
    return replace(history.window(0, history.n), ids=history.ids.slice(0, history.n)), facts


def read(root, ranges=None, sources=(TX,), scenarios=()):
    """Read an archive, or some ranges of it."""
    archive = pin(root)
    wanted = replace(task(*sources), scenario_run_ids=scenarios)
    with Database(root) as database:
        return read_events(database, [archive.reading(ranges or archive.ranges(), sources)], wanted)


def edit_index(root, change):
    """Rewrite an index."""
    index = json.loads((root / "index.json").read_text())
    change(index["segments"])
    (root / "index.json").write_text(json.dumps(index))


def part(start, end, partition=0):
    """A range of the topic under test."""
    return Range("transaction", partition, "kafka_offset", "log1", str(start), str(end))


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
@pytest.mark.parametrize("per_segment", [1, 4, 100])
def test_segmentation_and_form_change_nothing(tmp_path, form, per_segment):
    """How an archive is cut and stored is evidence; the events and their digest are the same."""
    records = [record(n, partition=n % 2) for n in range(10)]
    for name, way in (("a", {"form": form, "per_segment": per_segment}), ("b", {})):
        write_archive(tmp_path / name, records, **way)
    (events, facts), (others, expected) = read(tmp_path / "a"), read(tmp_path / "b")
    assert events.ids.to_pylist() == others.ids.to_pylist() == [f"e{n}" for n in range(10)]
    assert (facts.events_digest, facts.events_read) == (expected.events_digest, 10)
    assert events.fields["tx", "amount"].data.tolist() == [n * 100 for n in range(10)]
    who = events.fields["tx", "who"]
    assert [who.dictionary[code].as_py() for code in who.data] == [f"c{n % 3}" for n in range(10)]


def test_ranges_are_half_open_and_splitting_them_changes_nothing(tmp_path):
    """The end of a range is not inside it.

    offsets  0 1 [2 3 4 5) 6 7     2 is in, 6 is not
    """
    write_archive(tmp_path, [record(n) for n in range(8)], per_segment=3)
    events, facts = read(tmp_path, (part(2, 6),))
    assert events.ids.to_pylist() == ["e2", "e3", "e4", "e5"]
    assert facts.events_read == 4
    assert read(tmp_path, (part(2, 4), part(4, 6)))[1].events_digest == facts.events_digest


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_what_has_no_record_is_counted_where_it_stands(tmp_path, form):
    """Behind a hole, too: a range has the null value, and the record that nobody can decode, that its bus has there, and no other one.

    0 1 . null 4 . ? 7        3 and 6 stand behind a transaction's mark
    """
    lane = dict.fromkeys(STORED_COLUMNS) | {"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset"}
    null, odd = lane | {"offset": "3"}, lane | {"offset": "6", "payload": "cGluZw=="}
    write_archive(tmp_path, [record(0), record(1), null, record(4), odd, record(7)], form=form)
    null_value, undecodable = {"null_value": 1}, {"undecodable": 1}
    for (start, end), expected in {(0, 8): null_value | undecodable, (3, 7): null_value | undecodable, (1, 3): {}, (1, 4): null_value,
                                   (3, 6): null_value, (4, 6): {}, (4, 8): undecodable, (6, 8): undecodable, (7, 8): {}}.items():
        _, facts = read(tmp_path, (part(start, end),))
        assert {name: count for name, count in facts.dispositions.items() if count} == expected, (start, end)


def test_every_coordinate_is_counted_once_by_the_first_reason_that_matches(tmp_path):
    """Foreign run, null value, duplicate, other scope and undecodable add up with the events to the coordinates read."""
    records = [record(0), record(1, platform_run_id="run2"), record(2, payload=None),
               record(3, event_id="e0", ts_us=0, payload=record(0)["payload"]), record(4, event_type="ping"),
               {**record(5), "ts_utc": "yesterday"}, record(6, event_type="login", payload={"who": "w"})]
    write_archive(tmp_path, records)
    events, facts = read(tmp_path, sources=(TX, LOGIN))
    assert events.ids.to_pylist() == ["e0", "e6"]
    assert facts.dispositions == {"foreign_run": 1, "null_value": 1, "duplicate": 1, "other_scope": 1, "undecodable": 1}
    assert facts.events_read == 7
    assert facts.events_admitted + sum(facts.dispositions.values()) == 7


def test_the_published_record_keeps_its_hash():
    """A stored record decodes to the hash beside it, in this release and in every later one."""
    text = (Path(__file__).parents[1] / "golden/events/archived_record.json").read_bytes()
    found = decode(load_json(text, numbers="decimal"))
    assert found is not None
    assert found.digest == load_json(text, numbers="decimal")["payload_hash"]
    assert (found.place, found.ts_us) == ("transaction/0@42", 1_788_220_800_000_001)


def test_lines_that_are_no_json_are_undecodable_not_fatal(tmp_path):
    """One broken line costs one coordinate, and it shows."""
    for form in ("jsonl", "parquet"):
        root = tmp_path / form
        write_archive(root, [record(0), {**record(1), "payload": {"amount": float("nan")}}, record(2)], form=form)
        events, facts = read(root)
        assert (events.n, facts.dispositions) == (2, {"undecodable": 1})


def test_scenarios_narrow_the_run(tmp_path):
    """A record of another scenario is of a foreign run."""
    write_archive(tmp_path, [record(0, scenario_run_id="s1"), record(1, scenario_run_id="s2"), record(2)])
    events, facts = read(tmp_path, scenarios=("s1",))
    assert (events.ids.to_pylist(), facts.dispositions) == (["e0"], {"foreign_run": 2})


def test_a_duplicate_keeps_the_smallest_coordinate_and_other_content_is_a_conflict(tmp_path):
    """One semantic key, one content."""
    again = {"event_id": "e5", "ts_us": 5000, "payload": record(5)["payload"]}
    write_archive(tmp_path / "same", [record(5), record(9, **again), record(2, partition=1, **again)])
    events, facts = read(tmp_path / "same")
    assert (events.n, facts.dispositions) == (1, {"duplicate": 2})
    write_archive(tmp_path / "other", [record(5), record(9, **again | {"ts_us": 5001})])
    with pytest.raises(ReplayEventIdConflict, match="e5"):
        read(tmp_path / "other")


def test_a_record_that_was_changed_after_archiving_is_refused_by_its_hash(tmp_path):
    """Hashes of our recipe are recomputed from what is read; those of unknown recipes are not compared."""
    forged = {**record(0), "payload": {"card": {"who": "mallory"}, "amount": 1}}
    write_archive(tmp_path / "ours", [forged])
    with pytest.raises(ReplayBasisMismatch, match="transaction/0@0"):
        read(tmp_path / "ours")
    write_archive(tmp_path / "theirs", [{**forged, "payload_hash_recipe": "someone.elses.v7"}])
    assert read(tmp_path / "theirs")[0].n == 1


def test_a_segment_that_was_changed_after_indexing_is_refused(tmp_path):
    """The index pins the bytes of every segment."""
    write_archive(tmp_path, [record(0), record(1)])
    (tmp_path / "transaction/0/00000.jsonl").write_text(json.dumps(record(0)) + "\n")
    with pytest.raises(ReplayBasisMismatch):
        read(tmp_path)


@pytest.mark.parametrize(("change", "words"), [
    ({"record_count": 3, "next_offset": "9"}, r"holds 2 records up to 5, but the index says 3 up to 5|parquet has 2 rows; 3 are pinned"),
    ({"record_count": 1, "last_offset": "0"}, "holds 2 or more records up to 0, but the index says 1 up to 0"),
    ({"last_offset": "4"}, "holds 2 records up to 5, but the index says 2 up to 4"),
    ({"first_offset": "1"}, r"transaction/0@0 where transaction/0 \[1, 6\) of kafka_offset is indexed"),
    ({"last_offset": "2", "next_offset": "3"}, r"transaction/0@5 where transaction/0 \[0, 3\) of kafka_offset is indexed"),
    ({"partition": 7}, r"transaction/0@0 where transaction/7 \[0, 6\)"),
    ({"offset_kind": "file_line"}, r"transaction/0@0, a kafka_offset, where transaction/0 \[0, 6\) of file_line is indexed")], ids=str)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_an_index_that_says_other_things_than_its_segment_is_refused(tmp_path, form, change, words):
    """Count, bounds, partition and kind of every segment are held against its records, and the error says which of them is at odds.

    records   0         5          the index: [0, 6), two of them, the last at 5
    """
    write_archive(tmp_path, [record(0), record(5)], form=form)
    edit_index(tmp_path, lambda segments: segments[0].update(change))
    with pytest.raises(ReplayBasisMismatch, match=words) as told:
        read(tmp_path)
    assert "index.json" in told.value.fix


@pytest.mark.parametrize("change", [
    {"first_offset": "9"}, {"next_offset": "0"}, {"last_offset": "2"}, {"last_offset": None}, {"record_count": 0}, {"record_count": 9},
    {"size": 1}, {"next_offset": str(1 << 63)}, {"next_offset": str(10**30)}, {"partition": 2**31}, {"partition": 2**64}], ids=str)
def test_an_index_that_contradicts_itself_is_refused_while_planning(tmp_path, change):
    """No segment is dropped for a slip of its entry: bounds, last offset, count and size must go together."""
    write_archive(tmp_path, [record(n) for n in range(4)], per_segment=2)
    edit_index(tmp_path, lambda segments: segments[0].update(change))
    with pytest.raises((ReplayBasisMismatch, SourceUnreadable)):
        pin(tmp_path).reading([part(0, 4)], (TX,))


@pytest.mark.parametrize("name", ["transaction/0/00001.jsonl", "transaction/0/00001.jsonl.gz"])
def test_a_segment_may_hold_nothing(tmp_path, name):
    """A stretch of offsets without a record is proved by an empty segment."""
    write_archive(tmp_path, [record(0), record(1)])
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    data = (tmp_path / name).read_bytes()
    edit_index(tmp_path, lambda segments: segments.append({**segments[0], "path": name, "first_offset": "2", "next_offset": "5",
                                                           "last_offset": None, "record_count": 0, "sha256": sha256_of(data),
                                                           "size": len(data), "first_log_time_utc": None, "last_log_time_utc": None}))
    events, facts = read(tmp_path)
    assert (events.n, facts.events_read, pin(tmp_path).ranges()) == (2, 2, (part(0, 5),))


def test_overlapping_segments_count_a_coordinate_once_and_must_agree(tmp_path):
    """A coordinate that two segments hold is one event, or a conflict of evidence.

    segment a  [0 1 2 3)
    segment b      [2 3 4 5)     2 stands in both
    """
    def overlap(root, second):
        write_archive(root, [record(0), record(1), record(2)])
        write_archive(root / "more", second)
        extra = json.loads((root / "more/index.json").read_text())["segments"][0]
        extra.update(path=f"more/{extra['path']}", first_offset="2")
        edit_index(root, lambda segments: segments.append(extra))
        return read(root)
    events, facts = overlap(tmp_path / "same", [record(2), record(3)])
    assert (events.ids.to_pylist(), facts.events_read, facts.dispositions) == (["e0", "e1", "e2", "e3"], 4, {})
    with pytest.raises(ReplayDuplicateOffsetMismatch, match="transaction/0@2"):
        overlap(tmp_path / "other", [record(2, event_id="another"), record(3)])


def test_a_missing_segment_in_the_chain_is_a_gap(tmp_path):
    """Completeness is judged from the index before anything is read."""
    write_archive(tmp_path, [record(n) for n in range(9)], per_segment=3)
    edit_index(tmp_path, lambda segments: segments.pop(1))
    archive = pin(tmp_path)
    error = refusal(archive.completeness([part(0, 9)]))
    assert isinstance(error, ReplayBasisGap)
    assert (error.fields["start_offset"], error.fields["end_offset"]) == ("3", "6")
    assert archive.ranges() == (part(0, 9),)  # a basis that nobody stated spans the hole, and is refused as well
    assert isinstance(refusal(archive.completeness(archive.ranges())), ReplayBasisGap)
    assert archive.completeness([part(0, 3), part(6, 9)]).is_complete  # whoever names ranges may leave it out


def test_a_record_that_nobody_can_read_counts_once_and_only_in_its_range(tmp_path):
    """Its offset is unknown; it takes the first one that may be its own.

    offsets   0  1  ?  3      basis [0, 2)  ──▶ 2 read      basis [0, 4) ──▶ 4 read, 1 undecodable
    """
    write_archive(tmp_path, [record(n) for n in range(4)], per_segment=9)
    segment = tmp_path / "transaction/0/00000.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:2], b"garbage\n", *lines[3:]]))
    edit_index(tmp_path, lambda segments: segments[0].update(sha256=sha256_of(segment.read_bytes()), size=segment.stat().st_size))
    for ranges, counted in (([part(0, 2)], (2, {})), ([part(0, 4)], (4, {"undecodable": 1})), ([part(3, 4)], (1, {}))):
        _, facts = read(tmp_path, ranges)
        assert (facts.events_read, facts.dispositions) == counted
    twice = tmp_path / "transaction/0/00001.jsonl"
    twice.write_bytes(segment.read_bytes())
    edit_index(tmp_path, lambda segments: segments.append({**segments[0], "path": "transaction/0/00001.jsonl"}))
    _, facts = read(tmp_path, [part(0, 4)])
    assert (facts.events_read, facts.dispositions) == (4, {"undecodable": 1})


def test_a_selector_takes_the_first_offsets_at_or_after_its_ends(tmp_path):
    """Selectors are about log time, and half-open.

    log time  0  10  10  20  30       offsets 0 2 4 6 8
    [10, 30)  ───[2──────────)8       sparse offsets are fine
    """
    write_archive(tmp_path, [record(n * 2, log_us=at) for n, at in enumerate((0, 10, 10, 20, 30))], per_segment=2)
    archive = pin(tmp_path)
    assert archive.resolve(Selector("transaction", 10, 30)) == (part(2, 8),)
    assert archive.resolve(Selector("transaction", 11, 21)) == (part(6, 8),)
    assert archive.resolve(Selector("transaction", -5, 10)) == (part(0, 2),)


@pytest.mark.parametrize(("times", "span"), [
    ((0, 10, 20), (5, 21)), ((0, 10, 20), (20, 20)), ((0, 10, 20), (11, 15)), ((0, 20, 10), (5, 15)), ((10, 20, 30), (5, 25))])
def test_a_selector_that_cannot_be_settled_is_unresolved(tmp_path, times, span):
    """Beyond the end, empty, between two records, a clock that runs backwards, a log whose beginning is gone: never a guess."""
    begin = 5 if times[0] == 10 else 0
    write_archive(tmp_path, [record(begin + n, log_us=at) for n, at in enumerate(times)], per_segment=1)
    if begin:
        edit_index(tmp_path, lambda segments: segments[0].update(first_offset=str(begin)))
    with pytest.raises(SelectorUnresolved):
        pin(tmp_path).resolve(Selector("transaction", *span))


@pytest.mark.parametrize(("harm", "words"), [
    (lambda segments: segments[1].update(first_offset="1"), "segments of transaction/0 overlap"),
    (lambda segments: segments[0].update(last_log_time_utc="1970-01-01T00:00:00.000099Z"), "the log times of transaction/0 run backwards"),
    (lambda segments: segments[1].update(first_log_time_utc="1970-01-01T00:00:00.000099Z"), "the log times of transaction/0 run backwards"),
    (lambda segments: [one.update(first_log_time_utc=None, last_log_time_utc=None) for one in segments], "is archived up to nothing only")],
    ids=["overlap", "between segments", "within one", "no times"])
def test_an_index_that_does_not_say_when_settles_no_selector(tmp_path, harm, words):
    """Where segments overlap a moment has two offsets, where times run backwards it may have any (`decisions.md` D16).

    log time  0  10│20  30       offsets 0 1│2 3
    """
    write_archive(tmp_path, [record(n, log_us=n * 10) for n in range(4)], per_segment=2)
    assert pin(tmp_path).resolve(Selector("transaction", 5, 25)) == (part(1, 3),)
    edit_index(tmp_path, harm)
    with pytest.raises(SelectorUnresolved, match=words):
        pin(tmp_path).resolve(Selector("transaction", 5, 25))


@pytest.mark.parametrize(("times", "offset"), [((0, 30, 10, 40), 2), ((30, 10, 0, 40), 1)])
def test_a_segment_whose_log_times_run_backwards_settles_no_selector(tmp_path, times, offset):
    """The index says the first and the last log time of a segment; where they run backwards between them, only its records show it."""
    write_archive(tmp_path, [record(n, log_us=at) for n, at in enumerate(times)], per_segment=4)
    said = {"first_log_time_utc": format_instant(min(times)), "last_log_time_utc": format_instant(max(times))}
    edit_index(tmp_path, lambda segments: segments[0].update(said))
    with pytest.raises(SelectorUnresolved, match=f"run backwards at {offset}"):
        pin(tmp_path).resolve(Selector("transaction", 0, 35))


def test_a_selector_looks_only_into_the_pinned_segment(tmp_path):
    """What an end is found by is hashed before it is read, and records without a time of their own are passed over."""
    write_archive(tmp_path, [record(n, log_us=n * 10) for n in range(4)], per_segment=4)
    segment = tmp_path / "transaction/0/00000.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([lines[0], b"garbage\n", *lines[2:]]))
    with pytest.raises(ReplayBasisMismatch):
        pin(tmp_path).resolve(Selector("transaction", 5, 25))
    edit_index(tmp_path, lambda segments: segments[0].update(sha256=sha256_of(segment.read_bytes()), size=segment.stat().st_size))
    assert pin(tmp_path).resolve(Selector("transaction", 5, 25)) == (part(2, 3),)


def test_events_of_one_instant_stand_by_partition_and_offset(tmp_path):
    """Within one instant the log's own coordinates decide.

    ts 7    partition 0: offset 9, 10      partition 1: offset 2      order: 0@9, 0@10, 1@2
    """
    write_archive(tmp_path, [record(10, ts_us=7), record(9, ts_us=7), record(2, ts_us=7, partition=1), record(3, ts_us=6, partition=1)])
    assert read(tmp_path)[0].ids.to_pylist() == ["e3", "e9", "e10", "e2"]


def test_a_topic_of_several_sources_is_decoded_once_and_counted_once(tmp_path):
    """One pass hands each source its events; reading again finds the same; no coordinate counts twice.

    offset   0    1      2    3 (of neither)
    source   tx   login  tx
    """
    write_archive(tmp_path, [record(0), record(1, event_type="login", payload={"who": "w"}), record(2), record(3, event_type="ping")])
    archive = pin(tmp_path)
    log = archive.reading(archive.ranges(), (TX, LOGIN))
    for _ in range(2):
        found = []
        told = log.read(Admission("run1", (), (TX, LOGIN)), lambda name, batch, found=found: found.append((name, batch["event_id"])))
        assert {name: ids.to_pylist() for name, ids in found} == {"tx": ["e0", "e2"], "login": ["e1"]}
        assert told.left_out == {"other_scope": 1}
    assert log.lanes == (Lane(0, "kafka_offset", "log1"),)


def test_a_topic_read_under_another_name_gives_events_of_their_own(tmp_path):
    """The events of one type, by the fields of their own source; each coordinate of both readings is counted once.

    offset           0    1      2 (of another run)   3 (a deletion)   4     5 (the event of 4 once more)
    transaction      tx   login                                       tx
    again            tx   other scope                                 tx
    """
    again = Source("back", ("again",), (Field("who", ColumnType("string"), ("to",)),))
    write_archive(tmp_path, [
        record(0, payload={"card": {"who": "a"}, "to": "b"}), record(1, event_type="login", payload={"who": "w"}),
        record(2, platform_run_id="run2"), record(3, payload=None), record(4, payload={"card": {"who": "b"}, "to": "a"}),
        record(5, event_id="e4", ts_us=4000, payload={"card": {"who": "b"}, "to": "a"})])
    source = ArchiveSource({"transaction": ArchiveMapping(tmp_path), "again": ArchiveMapping(tmp_path, topic="transaction")})
    assert (source.mixes_types("transaction"), source.mixes_types("again")) == (True, False)
    pinned = [source.pin(topic) for topic in source.topics]
    assert [{one.topic for one in topic.ranges()} for topic in pinned] == [{"transaction"}, {"again"}]
    assert pinned[0].log_ids == pinned[1].log_ids
    sources = (TX, LOGIN, again)
    logs = [one.reading(one.ranges(), sources) for one in pinned]
    with Database(tmp_path) as database:
        travelled = [pickle.loads(pickle.dumps(piece)) for log in logs for piece in log.by_partition()]  # noqa: S301 - our own
        events, facts = read_events(database, travelled, task(*sources))
    assert [(name, events.fields[name, "who"].dictionary[code].as_py()) for name, code in (
        (sources[place].name, events.fields[sources[place].name, "who"].data[at]) for at, place in enumerate(events.source))] == [
            ("back", "b"), ("tx", "a"), ("login", "w"), ("back", "a"), ("tx", "b")]
    assert events.ids.to_pylist() == ["e0", "e0", "e1", "e4", "e4"]
    assert facts.dispositions == {"foreign_run": 2, "null_value": 2, "duplicate": 2, "other_scope": 1}
    assert facts.events_read == 12


def test_one_type_of_a_topic_is_taken_by_its_name(tmp_path):
    """`event_type` says which; the one that is named like the topic is then left out with all others."""
    back = Source("back", ("visit",), (Field("who", ColumnType("string"), ("who",)),))
    write_archive(tmp_path, [record(0), record(1, event_type="login", payload={"who": "w"})])
    archive = ArchiveSource({"visit": ArchiveMapping(tmp_path, topic="transaction", event_type="login")}).pin("visit")
    with Database(tmp_path) as database:
        events, facts = read_events(database, [archive.reading(archive.ranges(), (TX, back))], task(TX, back))
    assert (events.ids.to_pylist(), facts.dispositions) == (["e1"], {"other_scope": 1})


def test_one_id_in_two_topics_is_one_event(tmp_path):
    """The first topic by name has it; in the next one it is a duplicate, or a conflict.

    topic a   ──[0 e0]──      topic b   ──[0 e0]──[1 e1]──
    """
    def both(root, **changes):
        logs = []
        for topic, records in (("a", [record(0)]), ("b", [record(0, **changes), record(1)])):
            write_archive(root / topic, [{**one, "topic": topic} for one in records])
            archive = pin(root / topic, topic)
            logs.append(archive.reading(archive.ranges(), (TX,)))
        with Database(root) as database:
            return read_events(database, logs[::-1], task(TX))
    events, facts = both(tmp_path / "same")
    assert (events.ids.to_pylist(), facts.dispositions) == (["e0", "e1"], {"duplicate": 1})
    with pytest.raises(ReplayEventIdConflict, match="e0"):
        both(tmp_path / "other", ts_us=1)


def test_a_parquet_segment_without_a_column_is_refused_and_broken_text_is_undecodable(tmp_path):
    """Neither ends in a foreign error: bytes that are not UTF-8 cost one coordinate, a missing column the segment."""
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"e0", b"\xff\xff"], pa.binary()).buffers())
    for name, change in (("bytes", lambda table: table.set_column(table.schema.get_field_index("event_id"), "event_id", broken)),
                         ("less", lambda table: table.drop_columns(["topic"]))):
        write_archive(tmp_path / name, [record(0), record(1)], form="parquet")
        path = tmp_path / name / "transaction/0/00000.parquet"
        pq.write_table(change(pq.read_table(path)), path)
        data = path.read_bytes()
        edit_index(tmp_path / name, lambda segments, data=data: segments[0].update(sha256=sha256_of(data), size=len(data)))
    events, facts = read(tmp_path / "bytes")
    assert (events.ids.to_pylist(), facts.dispositions) == (["e0"], {"undecodable": 1})
    with pytest.raises(SourceUnreadable, match="topic") as told:
        read(tmp_path / "less")
    assert "`records`" in told.value.fix


def retyped(root, **columns):
    """An archive of three records in Parquet, whose first segment, of two, has other columns."""
    write_archive(root, [record(0), record(1), record(2)], form="parquet", per_segment=2)
    path = root / "transaction/0/00000.parquet"
    table = pq.read_table(path)
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    pq.write_table(table, path)
    data = path.read_bytes()
    edit_index(root, lambda segments: segments[0].update(sha256=sha256_of(data), size=len(data)))
    return read(root)


def test_columns_of_any_type_are_read_or_cost_their_records(tmp_path):
    """A payload may be binary; what is no text of a record is undecodable, and no type ends in a foreign error."""
    payloads = [json.dumps(record(n)["payload"]).encode() for n in range(2)]
    assert retyped(tmp_path / "binary", payload=pa.array(payloads, pa.binary()))[0].n == 3
    unread = {"struct": {"payload": pa.array([{"card": {"who": "c0"}}] * 2)}, "number": {"payload": pa.array([1, 2])},
              "times": {"ts_utc": pa.array([0, 1], pa.timestamp("us", "UTC"))},
              "far times": {"ts_utc": pa.array([2**62, 2**62], pa.timestamp("ms"))}, "nothing": {"partition": pa.nulls(2)}}
    for name, columns in unread.items():
        events, facts = retyped(tmp_path / name, **columns)
        assert (events.n, facts.dispositions) == (1, {"undecodable": 2}), name


def test_a_payload_beyond_the_limit_of_documents_is_undecodable_in_parquet_too(tmp_path):
    """How many records an archive has, and so which way they are read, decides nothing."""
    large = json.dumps({"card": {"who": "c"}, "filling": "x" * MAX_DOCUMENT_BYTES})
    nothing = pa.nulls(2, pa.string())
    events, facts = retyped(tmp_path, payload=pa.array([large, '{"card": {"who": "c"}}']), payload_hash=nothing,
                            payload_hash_recipe=nothing)
    assert (events.ids.to_pylist(), facts.dispositions) == (["e1", "e2"], {"undecodable": 1})


@pytest.mark.parametrize("kind", ["kinesis_sequence", "kafka_offset"])
def test_what_nobody_can_read_among_the_largest_offsets_is_counted(tmp_path, kind):
    """Offsets beyond 64 bits are numbers like others, also where a batch of lines has no record at all.

    offsets   ·──x──e──x│x│x──▶      x cannot be read, │ ends a block of lines
    """
    first = 10**55 if kind == "kinesis_sequence" else 2**63 - 9
    write_archive(tmp_path, [record(first + 2, offset_kind=kind, ts_us=7, payload={"card": {"who": "c"}})])
    path = tmp_path / "transaction/0/00000.jsonl"
    block = b"x" * (5 << 20) + b"\n"
    data = b"x\n" + path.read_bytes() + b"x\n" + block + block
    path.write_bytes(data)
    edit_index(tmp_path, lambda segments: segments[0].update(sha256=sha256_of(data), size=len(data), first_offset=str(first),
                                                             next_offset=str(first + 8), record_count=5))
    events, facts = read(tmp_path)
    assert (events.n, facts.dispositions) == (1, {"undecodable": 4})


def test_a_record_out_of_order_is_told_in_whichever_block_it_stands(tmp_path):
    """The second block of a segment begins with an offset that is long over."""
    first = 10**55
    write_archive(tmp_path, [record(first, offset_kind="kinesis_sequence", ts_us=7, payload={"card": {"who": "c"}})])
    path = tmp_path / "transaction/0/00000.jsonl"
    data = path.read_bytes() + b"x" * (5 << 20) + b"\n" + json.dumps(record(5, offset_kind="kinesis_sequence")).encode() + b"\n"
    path.write_bytes(data)
    edit_index(tmp_path, lambda segments: segments[0].update(sha256=sha256_of(data), size=len(data), record_count=3))
    with pytest.raises(ReplayBasisMismatch, match="transaction/0@5"):
        read(tmp_path)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(("offsets", "words"), [((0, 2, 1, 3), "0@1 after transaction/0@2"), ((0, 1, 1, 2), "0@1 after transaction/0@1")])
def test_a_segment_holds_each_offset_once_the_smaller_ones_first(tmp_path, form, offsets, words):
    """What goes back, or comes twice, is refused although it lies where the index has it; the advice is about index and segment.

    offsets   ──0──2──1──3──▶        ──0──1──1──2──▶
    """
    write_archive(tmp_path, [record(n) for n in range(4)], form=form)
    path = tmp_path / f"transaction/0/00000.{form}"
    if form == "jsonl":
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[n] for n in offsets))
    else:
        pq.write_table(pq.read_table(path).take(list(offsets)), path)
    data = path.read_bytes()
    edit_index(tmp_path, lambda segments: segments[0].update(sha256=sha256_of(data), size=len(data), first_log_time_utc=None,
                                                             last_log_time_utc=None))
    with pytest.raises(ReplayBasisMismatch, match=words) as told:
        read(tmp_path)
    assert "index.json" in told.value.fix


def test_an_archive_of_another_run_says_so(tmp_path):
    """Whoever named the wrong run is not sent to the profile: what the records are instead is in the error."""
    write_archive(tmp_path, [record(n, platform_run_id="theirs") for n in range(3)])
    with pytest.raises(ReplayEventsEmpty, match="3 foreign_run") as told:
        read(tmp_path)
    assert "platform_run_id" in told.value.fix


def test_kinesis_sequences_are_read_in_the_order_of_their_numbers(tmp_path):
    """Sequences of 56 digits are compared as numbers and never counted."""
    base = 10**55
    offsets = (base + 10**30, base, 9 * 10**54)
    write_archive(tmp_path, [archived(f"k{n}", 7, {"card": {"who": "c"}}, offset=offset, offset_kind="kinesis_sequence")
                             for n, offset in enumerate(offsets)])
    assert read(tmp_path)[0].ids.to_pylist() == ["k2", "k1", "k0"]


def test_a_required_field_that_is_absent_names_its_coordinate(tmp_path):
    """The error says which event lacks what."""
    write_archive(tmp_path, [record(0), record(1, payload={"amount": 1})])
    with pytest.raises(EventSchemaMissingFields, match="transaction/0@1"):
        read(tmp_path)


def test_payloads_of_several_versions_are_held_against_the_fields_that_are_read(tmp_path):
    """A version decides nothing by itself: what is declared must be there, and one id has one version (`docs/decisions/0055`).

    offset   0 v1   1 v2, one more field   2 v3, without `card`   3 the event of 0 as v2
    """
    more = {"card": {"who": "c"}, "amount": 1, "channel": "web"}
    write_archive(tmp_path / "read", [record(0), record(1, schema_version="v2", payload=more)])
    assert read(tmp_path / "read")[0].ids.to_pylist() == ["e0", "e1"]
    write_archive(tmp_path / "lacks", [record(0), record(2, schema_version="v3", payload={"amount": 1})])
    with pytest.raises(EventSchemaMissingFields, match="transaction/0@2"):
        read(tmp_path / "lacks")
    write_archive(tmp_path / "again", [record(0), record(3, event_id="e0", ts_us=0, payload=record(0)["payload"], schema_version="v2")])
    with pytest.raises(ReplayEventIdConflict, match="transaction/0@3"):
        read(tmp_path / "again")


def test_archives_without_index_topic_or_segment_are_refused_and_paths_stay_inside(tmp_path):
    """A broken archive ends in a typed error with a place."""
    write_archive(tmp_path / "a", [record(0)])
    (tmp_path / "outside.jsonl").write_text("{}\n")
    for change, error in ((lambda segments: segments[0].update(path="../outside.jsonl"), RefScopeInvalid),
                          (lambda segments: segments[0].update(first_offset="-1"), SourceUnreadable),
                          (lambda segments: segments[0].update(surprise=1), SourceUnreadable),
                          (lambda segments: segments.clear(), SourceUnreadable)):
        write_archive(tmp_path / "a", [record(0)])
        edit_index(tmp_path / "a", change)
        with pytest.raises(error):
            pin(tmp_path / "a")
    with pytest.raises(SourceUnreadable):
        pin(tmp_path / "nothing")


def test_a_missing_segment_stands_in_the_way_of_whoever_needs_it(tmp_path):
    """It is told before anything is read, and those who need others are not bothered.

    segments   [0 ─ 2)[2 ─ 4) gone [4 ─ 6)
    """
    write_archive(tmp_path, [record(n) for n in range(6)], per_segment=2)
    gone = sorted((tmp_path / "transaction").rglob("*.jsonl"))[1]
    gone.unlink()
    (whole,) = pin(tmp_path).ranges()
    with pytest.raises(SourceUnreadable, match="cannot be found"):
        pin(tmp_path).reading([whole], (TX,))
    assert read(tmp_path, [replace(whole, start_offset="4")])[0].ids.to_pylist() == ["e4", "e5"]
    assert [(one.stretch.start_offset, one.stretch.end_offset) for one in pin(tmp_path).missing()] == [("2", "4")]
