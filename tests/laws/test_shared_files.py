"""Segments that share a file are read in batches as they are one by one (`docs/decisions/0052`)."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.foreign_records import Place, lifting_of
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import OfsError, ReplayBasisMismatch, StorageIoFailure
from offline_feature_plane.filesets import digest_of
from offline_feature_plane.sources.archives import dividing, foreign_segments, places, segment_batches, stored_files
from offline_feature_plane.sources.archives.dividing import Room, SharedFile
from offline_feature_plane.sources.archives.indexing import IndexWish, make_index
from offline_feature_plane.sources.archives.places import FolderPlace
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.decoding import lines as text_blocks
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.testing.archives import archived

WANTED = Wanted((("amount",),))
LANES = [("transaction", 0), ("transaction", 1), ("transaction", 7), ("receipt", 1)]
FOREIGN = {"topic": Place(("t",)), "partition": Place(("p",)), "offset": Place(("o",)), "event_id": Place(("id",)),
           "ts_utc": Place(("at",)), "log_time_utc": Place(("log",), unit="ms")}


@st.composite
def files(draw):
    """Lines of a file: records of several lanes as their archiver met them, and what is none between them."""
    numbers, lines = dict.fromkeys(LANES, 0), []
    steps = st.sampled_from([1] * 12 + [2, 2, 5, 0])
    odd = st.sampled_from(["record"] * 14 + ["garbage", "garbage", "null", "no id", "wrong hash"])
    for lane in draw(st.lists(st.sampled_from(LANES), min_size=2, max_size=24)):
        what = draw(odd)
        numbers[lane] += draw(steps)
        lines.append((what, *lane, numbers[lane]))
    return lines


def stored(what, topic, partition, number):
    """A line as a document of ours."""
    one = archived(f"e{topic}-{partition}-{number}", number * 1_000, {"amount": number}, offset=number, partition=partition, topic=topic)
    match what:
        case "garbage":
            return {"no": "record"}
        case "null":
            return {name: one[name] if name in ("topic", "partition", "offset_kind", "offset") else None for name in STORED_COLUMNS}
        case "no id":
            return {**one, "event_id": ""}
        case "wrong hash":
            return {**one, "payload": {"amount": -number}}
    return one


def segments_of(root, members=None):
    """The segments that an index of a folder has, those of a file with what they share."""
    mapping = ArchiveMapping(root, "UTC", members=members, run="run1", work=root / "work")
    found = []
    for topic in ("transaction", "receipt"):
        try:
            pinned = ArchiveSource({topic: mapping}).pin(topic)
        except OfsError:
            continue
        found += pinned.segments
    shared = SharedFile(Room(root / "work"), frozenset(one.entry for one in found))
    return [replace(one, shared=shared if one.entries else None) for one in found]


def told(items):
    """What reading a segment gave, up to the error that ended it, if one did."""
    seen = []
    try:
        for item in items:
            if isinstance(item, Decoded):
                gone = [False] * item.n if item.deletions is None else item.deletions.tolist()
                seen += [(int(number), f"sha256:{digest.tobytes().hex()}" if sound else None, is_null, item.payload(row) if sound else None)
                         for row, (number, digest, sound, is_null) in enumerate(
                             zip(item.numbers, item.digests, item.decoded.tolist(), gone, strict=True))]
            elif isinstance(item, Record):
                seen.append((item.number, item.digest, False, dict(item.payload)))
            else:
                seen.append((item.number, None, item.reason == "null_value", None))
    except OfsError as wrong:
        return seen, (type(wrong), str(wrong))
    return seen, None


def read_alike(segment):
    """A segment read both ways; the error that both tell."""
    (law, wrong), (seen, error) = told(segment.read()), told(segment.batches(WANTED))
    assert error == wrong
    assert seen == law if wrong is None else seen == law[:len(seen)]
    return error


def write_lines(root, lines):
    """A file of JSON Lines of ours."""
    (root / "a.jsonl").write_text("".join(f"{json.dumps(stored(*one))}\n" for one in lines))


def write_table(root, lines):
    """A Parquet file of ours."""
    documents = [stored(*one) for one in lines]
    columns = {name: [one.get(name) for one in documents] for name in STORED_COLUMNS}
    columns["payload"] = [None if one is None else json.dumps(one) for one in columns["payload"]]
    pq.write_table(pa.table({name: pa.array(column, pa.int32() if name == "partition" else pa.string())
                             for name, column in columns.items()}), root / "a.parquet")


def write_dump(root, lines):
    """A Parquet file of another tool, one column for each field."""
    rows = [(topic, partition, number, None if what in ("no id", "garbage") else f"e{topic}-{partition}-{number}", number, number)
            for what, topic, partition, number in lines]
    kinds = {"t": pa.string(), "p": pa.int32(), "o": pa.int64(), "id": pa.string(), "log": pa.int64(), "amount": pa.int64()}
    table = pa.table({name: pa.array([row[at] for row in rows], kind) for at, (name, kind) in enumerate(kinds.items())})
    pq.write_table(table.append_column("at", table["o"].cast(pa.timestamp("us", "UTC"))), root / "a.parquet")


def write_flat(root, lines):
    """JSON Lines of another tool, all on one level, with empty lines between them."""
    documents = ["{}" if what in ("no id", "garbage", "null") else
                 json.dumps({"t": topic, "p": partition, "o": number, "id": f"e{topic}-{partition}-{number}", "log": number,
                             "at": f"1970-01-01T00:00:{number:02}Z", "amount": number}) for what, topic, partition, number in lines]
    (root / "a.jsonl").write_text("".join(f"{one}\n" + "\n" * (at % 3) for at, one in enumerate(documents)))


def index(root, write, lines, members, change, *, are_lawful=True):
    """Write a file and its index, of which one entry says something else; what a record is worth is changed afterwards."""
    before = root / "before"
    before.mkdir()
    write(before, [("record" if what == "wrong hash" else what, *lane) for what, *lane in lines])
    lifting = None if members is None else lifting_of(members, "transaction", "run1", "UTC")
    make_index(FolderPlace(before), IndexWish(holes_are_lawful=are_lawful, lifting=lifting), lambda *_: None)
    write(root, lines)
    document = json.loads((before / "index.json").read_text())
    (path,) = root.glob("a.*")
    for one in document["segments"]:
        one["sha256"], one["size"] = digest_of(path), path.stat().st_size
    if change is not None:
        at = change[0] % len(document["segments"])
        if change[1] == "gone":
            del document["segments"][at]
        else:
            one = document["segments"][at]
            one["record_count"] += change[1]
            one["next_offset"] = str(int(one["next_offset"]) + max(change[1], 0))  # so that there is room for one more
    (root / "index.json").write_text(json.dumps(document))


FORMS = st.sampled_from([(write_lines, None), (write_table, None), (write_dump, FOREIGN), (write_flat, FOREIGN)])
CHANGES = st.none() | st.tuples(st.integers(0, 9), st.sampled_from([1, -1, "gone"]))
ROWS = st.sampled_from([1, 3, 16_384])
BYTES = st.sampled_from([1, 500, 8 << 20])


def hold_together(lines, form, change, rows, size, are_lawful):
    """Read all segments of a file twice, both ways."""
    write, members = form
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for module, name, value in ((stored_files, "_ROWS", rows), (foreign_segments, "_ROWS", rows), (dividing, "_ENOUGH", rows),
                                    (dividing, "_TOGETHER", size), (dividing, "_WORTH", 2), (text_blocks, "_BLOCK", size)):
            patch.setattr(module, name, value)
        try:
            index(Path(folder), write, lines, members, change, are_lawful=are_lawful)
        except OfsError:  # null values that leave no room for what follows
            return
        for segment in [*segments_of(Path(folder), members)] * 2:
            read_alike(segment)


@settings(max_examples=15, deadline=None)
@given(files(), FORMS, CHANGES, ROWS, BYTES, st.booleans())
def test_segments_of_one_file_are_read_as_one_by_one(lines, form, change, rows, size, are_lawful):
    """Whatever lanes, holes, garbage, null values, changed records share a file, and whatever its index says: both ways tell the same."""
    hold_together(lines, form, change, rows, size, are_lawful)


@pytest.mark.long
@settings(max_examples=3_000, deadline=None)
@given(files(), FORMS, CHANGES, ROWS, BYTES, st.booleans())
def test_segments_of_many_files_are_read_as_one_by_one(lines, form, change, rows, size, are_lawful):
    """As above, three thousand files."""
    hold_together(lines, form, change, rows, size, are_lawful)


@pytest.mark.parametrize(("write", "members"), [(write_lines, None), (write_table, None), (write_dump, FOREIGN)])
@pytest.mark.parametrize(("change", "words"), [
    ((2, "gone"), "holds transaction/7@1, which is in no entry of its index"),
    ((2, 1), "holds 6 records, but the index says 7|has 6 rows; 7 are pinned"),
    ((2, -1), "holds 6 records, but the index says 5|has 6 rows; 5 are pinned")])
def test_a_file_that_holds_other_records_than_its_entries_is_refused(tmp_path, write, members, change, words):
    """A record of no entry, and one more or less than all entries count, by whichever of its segments the file is read, both ways.

    file      0/1 1/1 7/1 0/2 1/2 7/2          index   0 [1, 3)  1 [1, 3)  and nothing of 7, or three of them
    """
    lines = [("record", "transaction", partition, number) for number in (1, 2) for partition in (0, 1, 7)]
    index(tmp_path, write, lines, members, change)
    found = segments_of(tmp_path, members)
    assert len(found) == (2 if change[1] == "gone" else 3)
    for segment in found[:2]:
        kind, said = read_alike(segment)
        assert kind is ReplayBasisMismatch
        assert re.search(words, said)
        assert "index.json" in said


@pytest.mark.parametrize("write", [write_lines, write_table])
def test_what_is_no_record_belongs_to_what_is_before_it(tmp_path, write):
    """Garbage names no segment; it is counted in that of the record before it, at the beginning in that of the first one.

    file   ! ! 0/2 1/1 ! 0/3 !       of 0 there are two records and three that are none, of 1 one and one
    """
    garbage = ("garbage", "transaction", 0, 0)
    zero, one, more = (("record", "transaction", partition, number) for partition, number in ((0, 2), (1, 1), (0, 3)))
    index(tmp_path, write, [garbage, garbage, zero, one, garbage, more, garbage], None, None)
    found = []
    for segment in segments_of(tmp_path):
        assert read_alike(segment) is None
        seen, _ = told(segment.read())
        found.append("".join("!" if digest is None else str(number) for number, digest, *_ in seen))
    assert found == ["!!23!", "1!"]


def counting(monkeypatch):
    """How many rows are decoded in batches for each segment, by partition and first offset; it is told which one is read next."""
    decoded, genuine, reading = Counter(), segment_batches.settle, []

    def settle(members, *more):
        decoded[reading[-1]] += members.n
        return genuine(members, *more)
    monkeypatch.setattr(segment_batches, "settle", settle)
    return decoded, lambda segment: reading.append(segment.entry[1:])


@pytest.mark.parametrize("write", [write_lines, write_table])
def test_stretches_of_one_partition_may_share_a_file(tmp_path, monkeypatch, write):
    """A file of one partition with holes between its offsets has an entry for each stretch, and is decoded once for all of them.

    offsets   1 2 3 · · · 7 8 · 20        three segments: of the first six rows are decoded, of the others two and one
    """
    index(tmp_path, write, [("record", "transaction", 0, number) for number in (1, 2, 3, 7, 8, 20)], None, None, are_lawful=False)
    decoded, read = counting(monkeypatch)
    segments = segments_of(tmp_path)
    for segment in segments:
        read(segment)
        assert read_alike(segment) is None
    assert [segment.evidence.span for segment in segments] == [(1, 4), (7, 9), (20, 21)]
    assert decoded == {(0, 1): 6, (0, 7): 2, (0, 20): 1}


def test_entries_of_one_file_that_overlap_are_read_by_the_law(tmp_path):
    """An offset that two entries of a file claim is in both segments: such a file is not divided.

    entries   [1 2 3)          holds 1 2 3 4
                  [3 4)
    """
    index(tmp_path, write_lines, [("record", "transaction", 0, number) for number in (1, 2, 3, 4)], None, None)
    document = json.loads((tmp_path / "index.json").read_text())
    (one,) = document["segments"]
    third = format_instant(3_000)
    document["segments"] = [{**one, "last_offset": "3", "next_offset": "4", "record_count": 3, "last_log_time_utc": third},
                            {**one, "first_offset": "3", "record_count": 2, "first_log_time_utc": third}]
    (tmp_path / "index.json").write_text(json.dumps(document))
    first, second = segments_of(tmp_path)
    for segment in (first, second):
        assert "holds 4 records, but the index says 5" in read_alike(segment)[1]
    assert [number for number, *_ in told(first.read())[0]] == [1, 2, 3]
    assert [number for number, *_ in told(second.read())[0]] == [3, 4]


@pytest.mark.parametrize("odd", ["record", "garbage"])
@pytest.mark.parametrize("write", [write_lines, write_table])
def test_a_file_of_many_partitions_is_decoded_once(tmp_path, monkeypatch, write, odd):
    """Who is read first decodes all of it, and whoever follows the own rows alone, what cannot be decoded with the row before it.

    file   0/1 1/1 2/1 0/2 1/2 2/2 … 2/4        of 0 nine rows are decoded, of 1 three, of 2 three
    """
    lines = [("record", "transaction", partition, number) for number in (1, 2, 4) for partition in (0, 1, 2)]
    lines[4] = (odd, *lines[4][1:])
    index(tmp_path, write, lines, None, None)
    decoded, read = counting(monkeypatch)
    for segment in segments_of(tmp_path):
        read(segment)
        assert read_alike(segment) is None
    assert decoded == {(0, 1): 9, (1, 1): 3 if odd == "record" else 2, (2, 1): 3}
    assert list((tmp_path / "work").iterdir()) == []


def test_a_file_of_two_partitions_is_not_written_once_more(tmp_path):
    """Two decode it, each for itself; and so does one whose log is read in another process."""
    index(tmp_path, write_lines, [("record", "transaction", partition, 1) for partition in (0, 1)], None, None)
    assert [read_alike(segment) for segment in segments_of(tmp_path)] == [None] * 2
    index_of_three = [("record", "transaction", partition, 1) for partition in (0, 1, 7)]
    (tmp_path / "three").mkdir()
    index(tmp_path / "three", write_lines, index_of_three, None, None)
    travelled = pickle.loads(pickle.dumps(segments_of(tmp_path / "three")))  # noqa: S301 - our own
    assert [read_alike(segment) for segment in travelled] == [None] * 3
    assert not (tmp_path / "work").exists()
    assert not (tmp_path / "three/work").exists()


def test_a_shared_file_is_hashed_once(tmp_path, monkeypatch):
    """However many of its segments are read, its bytes are held against its pin once; where they are others, every segment says so."""
    index(tmp_path, write_lines, [("record", "transaction", partition, 1) for partition in (0, 1, 7)], None, None)
    hashed, genuine = [], places.check_pins
    monkeypatch.setattr(places, "check_pins", lambda files: (hashed.extend(files), genuine(files))[1])
    segments = segments_of(tmp_path)
    for segment in segments:
        segment.check()
    assert len(hashed) == 1
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("\n")
    for segment in segments_of(tmp_path):
        with pytest.raises(OfsError, match="its bytes now are"):
            segment.check()


def test_no_room_to_keep_rows_apart_is_told(tmp_path):
    """Where the work folder cannot be written, the reading fails with the place and what to do.

    work   a file instead of a folder
    """
    index(tmp_path, write_lines, [("record", "transaction", partition, 1) for partition in (0, 1, 7)], None, None)
    (tmp_path / "work").write_text("")
    with pytest.raises(StorageIoFailure, match="a scratch file of the build failed") as failed:
        list(segments_of(tmp_path)[0].batches(WANTED))
    assert failed.value.path == str(tmp_path / "work")
    assert "set `work`" in failed.value.fix
