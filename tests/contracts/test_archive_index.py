"""An index made from files: it proves what they hold, is made in one piece, and reads nothing twice."""

import gzip
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane import text_files
from offline_feature_plane.archive_jobs import index_archive
from offline_feature_plane.archive_jobs import write_archive as copy_archive
from offline_feature_plane.cli.showing_archives import indexed
from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.completeness import refusal
from offline_feature_plane.errors import (
    ArchiveIndexConflict,
    OfsError,
    RefScopeInvalid,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ResourceExceeded,
    SourceUnreadable,
    StorageIoFailure,
)
from offline_feature_plane.settings import settings_from
from offline_feature_plane.sources.archives import file_runs
from offline_feature_plane.sources.archives import indexing as archive_indexing
from offline_feature_plane.sources.archives.places import FolderPlace
from offline_feature_plane.sources.archives.segments import Segment
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs.stretches import read_in_order
from offline_feature_plane.testing.archives import archived, write_archive, write_index


def records(*offsets, partition=0):
    """Records at these offsets."""
    return [archived(f"e{partition}-{n}", n * 1_000, {"amount": n}, offset=n, partition=partition) for n in offsets]


def write(path, *lines):
    """A file of JSON Lines; bytes are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines))
    return path


def entries(root):
    """The index."""
    return json.loads((root / "index.json").read_text())["segments"]


def spans(root):
    """What it covers, segment by segment."""
    return [(one["path"], one["partition"], int(one["first_offset"]), int(one["next_offset"]), one["record_count"])
            for one in entries(root)]


def pin(root, members=None):
    """The archive as a build pins it."""
    return ArchiveSource({"transaction": ArchiveMapping(root, "UTC", members=members, run="run1")}).pin("transaction")


def read(root, members=None):
    """Everything that can be read, by offset; None for what cannot be decoded."""
    return [(one.partition, one.number) if isinstance(one, Record) else None for one in items(pin(root, members))]


def items(archive):
    """Everything that reading a pinned archive gives."""
    return [one for _, one in read_in_order(archive.segments, archive.ranges())]


def reads(monkeypatch):
    """The names of files that are decoded from now on."""
    seen = []
    genuine = file_runs.records_of
    monkeypatch.setattr(file_runs, "records_of", lambda file, lifting: (seen.append(file.relative), genuine(file, lifting))[1])
    return seen


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_an_index_from_files_is_the_one_that_their_archiver_would_have_written(tmp_path, form):
    """For a log without holes both say the same of every segment, but for who says it."""
    write_archive(tmp_path, [*records(*range(7)), *records(*range(5), partition=1)], per_segment=3, form=form)
    before = entries(tmp_path)
    (tmp_path / "index.json").unlink()
    report = index_archive(tmp_path, log_id="log1")
    assert [{**one, "evidence": "files"} for one in before] == entries(tmp_path)
    assert (report.records, report.segments, report.files_read, report.was_written) == (12, 5, 5, True)
    assert len(read(tmp_path)) == 12


@pytest.mark.parametrize("text", ["[\n{0},\n{1}\n]\n", "[{0},\n{1}]", "[{0},{1}]\n", "\n [\r\n{0}\r\n,{1}]"])
@pytest.mark.parametrize("offset", [0, 100])
def test_one_array_of_records_is_told_as_what_it_is(tmp_path, text, offset):
    """Some tools write their objects so by default. Without a word for it, all but one were undecodable, and that one stood anywhere."""
    one, other = (json.dumps(record) for record in records(offset, offset + 1))
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(text.replace("{0}", one).replace("{1}", other).encode()))
    with pytest.raises(SourceUnreadable, match="one JSON array, not one record a line"):
        index_archive(tmp_path)


def test_a_line_that_begins_with_a_bracket_is_a_line(tmp_path):
    """Garbage between records is garbage, also where it is an array."""
    write(tmp_path / "a.jsonl", *records(0), b"[1]\n", *records(2))
    assert index_archive(tmp_path).lanes[0].undecodable == 1


def test_why_a_record_of_another_tool_cannot_be_decoded_is_told(tmp_path):
    """Of a few files what the first one has that cannot be, and where it stands; nobody searches for it."""
    members = {"partition": "p", "offset": "o", "event_id": "id", "ts_utc": "at", "log_time_utc": {"member": "t", "unit": "ms"}}
    asked = settings_from({"plane": "run1", "archives": {"transaction": {"path": ".", "zone": "UTC", "records": members}}}, tmp_path)
    for number in range(5):
        line = {"p": number, "o": 0, "id": "e", "at": "2026-03-01T10:00:00Z", "t": 5}
        write(tmp_path / f"{number}.jsonl", line, {**line, "o": 1, "at": "yesterday"}, {**line, "o": 2, "t": "late"})
    report = index_archive(tmp_path, asked)
    assert report.troubles == tuple(f"transaction/{n}@1 in {n}.jsonl has no time that can be read in ts_utc" for n in range(3))
    assert "    transaction/0@1 in 0.jsonl has no time that can be read in ts_utc" in indexed(report)
    assert index_archive(tmp_path, asked).troubles == ()


@pytest.mark.parametrize("much", [1 << 40, 0], ids=["one by one", "in batches"])
def test_a_null_value_is_of_its_own_partition(tmp_path, monkeypatch, much):
    """In a file with several partitions, as topics with deletions are archived: it is none of the one whose record stands before it.

    0/0  1/0  0/1 null  1/1  0/2  1/2 null
    """
    monkeypatch.setattr(archive_indexing, "_MUCH", much)
    def null(partition, offset):
        return {"topic": "transaction", "partition": partition, "offset_kind": "kafka_offset", "offset": str(offset), "payload": None}
    (zero, two), (other, one) = records(0, 2), records(0, 1, partition=1)
    write(tmp_path / "a.jsonl", zero, other, null(0, 1), one, two, null(1, 2))
    write(tmp_path / "b.jsonl", null(0, 3))
    report = index_archive(tmp_path)
    assert [(lane.partition, lane.records, lane.gaps, lane.undecodable) for lane in report.lanes] == [(0, 4, 0, 0), (1, 3, 0, 0)]
    assert spans(tmp_path) == [("a.jsonl", 0, 0, 3, 3), ("b.jsonl", 0, 3, 4, 1), ("a.jsonl", 1, 0, 3, 3)]
    assert [one.number for one in items(pin(tmp_path))] == [0, 1, 2, 3, 0, 1, 2]


def test_what_is_missing_between_offsets_is_a_gap_until_somebody_declares_it_lawful(tmp_path):
    """Files do not know whether the log had a record there.

    a.jsonl   0 1 . 3         b.jsonl   . . 6 7         gaps [2, 3) and [4, 6)
    """
    write(tmp_path / "a.jsonl", *records(0, 1, 3))
    write(tmp_path / "b.jsonl", *records(6, 7))
    report = index_archive(tmp_path)
    assert report.lanes[0].first_gaps == (("2", "3"), ("4", "6"))
    assert spans(tmp_path) == [("a.jsonl", 0, 0, 2, 2), ("a.jsonl", 0, 3, 4, 1), ("b.jsonl", 0, 6, 8, 2)]
    archive = pin(tmp_path)
    assert isinstance(refusal(archive.completeness(archive.ranges())), ReplayBasisGap)
    report = index_archive(tmp_path, holes_are_lawful=True)
    assert (report.files_read, report.lanes[0].gaps, report.lanes[0].unfilled) == (0, 0, 3)
    assert pin(tmp_path).completeness(pin(tmp_path).ranges()).is_complete
    assert read(tmp_path) == [(0, n) for n in (0, 1, 3, 6, 7)]
    assert {one["evidence"] for one in entries(tmp_path)} == {"declared"}


def test_a_log_that_is_named_is_never_passed_over_in_silence(tmp_path):
    """Segments that are known keep their log; a name that nothing would count in is a conflict until it is meant to replace theirs."""
    write(tmp_path / "a.jsonl", *records(0, 1))
    index_archive(tmp_path, log_id="wrong")
    with pytest.raises(ArchiveIndexConflict, match="all segments count in log wrong, none in log1"):
        index_archive(tmp_path, log_id="log1")
    assert {one["log_id"] for one in entries(tmp_path)} == {"wrong"}
    write(tmp_path / "b.jsonl", *records(2, 3))
    index_archive(tmp_path, log_id="log2")
    assert index_archive(tmp_path, log_id="wrong").was_written is False
    assert sorted(one["log_id"] for one in entries(tmp_path)) == ["log2", "wrong"]
    report = index_archive(tmp_path, log_id="log1", replace=True)
    assert (report.files_read, {one["log_id"] for one in entries(tmp_path)}) == (0, {"log1"})


def test_partitions_in_one_file_are_segments_of_their_own(tmp_path):
    """Archivers that write one file an hour put all partitions into it; each is proved and read for itself."""
    mixed = [one for pair in zip(records(0, 1, 2), records(5, 6, 7, partition=1), strict=True) for one in pair]
    write(tmp_path / "hour=0.jsonl", *mixed)
    index_archive(tmp_path)
    assert spans(tmp_path) == [("hour=0.jsonl", 0, 0, 3, 3), ("hour=0.jsonl", 1, 5, 8, 3)]
    assert read(tmp_path) == [(0, 0), (0, 1), (0, 2), (1, 5), (1, 6), (1, 7)]


def test_every_line_of_a_shared_file_is_read_once(tmp_path):
    """A line that cannot be decoded belongs to the record before it, for the index and for the reader.

    0/0  1/5  ?  0/2  1/6        ? stands behind 1/5, and offset 1/6 leaves no room: it is no record of a log
    0/0  ?  0/2  1/6             ? is 0/1
    """
    write(tmp_path / "a.jsonl", *records(0), *records(5, partition=1), b"garbage\n", *records(2), *records(6, partition=1))
    with pytest.raises(SourceUnreadable, match="only 0 offsets are missing"):
        index_archive(tmp_path)
    write(tmp_path / "a.jsonl", *records(0), b"garbage\n", *records(2), *records(6, partition=1))
    report = index_archive(tmp_path, undecodable_are_known=True)
    assert spans(tmp_path) == [("a.jsonl", 0, 0, 3, 3), ("a.jsonl", 1, 6, 7, 1)]
    assert [one.undecodable for one in report.lanes] == [1, 0]
    assert read(tmp_path) == [(0, 0), None, (0, 2), (1, 6)]
    changed = entries(tmp_path)
    changed[0]["record_count"] = 2
    (tmp_path / "index.json").write_text(json.dumps({"segments": changed, "schema_version": "learning.archive_segment_index.v1"}))
    with pytest.raises(ReplayBasisMismatch, match="holds 3 or more records"):
        read(tmp_path)


def test_undecodable_records_are_told_and_declared_only_when_asked(tmp_path):
    """That a file rotted is no evidence; that somebody knows of it is."""
    write(tmp_path / "a.jsonl", *records(0), b'{"no": "record"}\n', *records(2))
    report = index_archive(tmp_path)
    assert (report.lanes[0].undecodable, report.lanes[0].undeclared) == (1, 1)
    assert "--declare-undecodable" in indexed(report)
    assert pin(tmp_path).completeness(pin(tmp_path).ranges()).declared("undecodable") == 0
    report = index_archive(tmp_path, undecodable_are_known=True)
    assert (report.files_read, report.was_written, report.lanes[0].undecodable, report.lanes[0].undeclared) == (0, True, 1, 0)
    assert "--declare-undecodable" not in indexed(report)
    assert pin(tmp_path).completeness(pin(tmp_path).ranges()).declared("undecodable") == 1


def test_a_file_that_is_one_long_line_is_told_as_that(tmp_path, monkeypatch):
    """Objects side by side without line ends, as some streams deliver them, have no line for each."""
    for module, name in ((text_files, "_LONGEST_LINE"), (file_runs, "MAX_DOCUMENT_BYTES")):
        monkeypatch.setattr(module, name, 100)
    (tmp_path / "all.json").write_bytes(b"".join(json.dumps(one).encode() for one in records(0, 1, 2)) + b"\n")
    with pytest.raises(SourceUnreadable, match=r"its first line has more than 100 bytes.*one record per line"):
        index_archive(tmp_path)


def test_more_holes_than_an_index_has_room_for_are_a_compacted_log(tmp_path, monkeypatch):
    """Every hole would be an entry: so many are told as what they are, with the word that makes them lawful (`docs/decisions/0040`)."""
    monkeypatch.setattr("offline_feature_plane.domain.archive_chain.MOST_RUNS", 3)
    write(tmp_path / "a.jsonl", *records(0, 2, 4, 6))
    with pytest.raises(SourceUnreadable, match=r"a\.jsonl is no part of a log: it has more than 3 holes .*--declare-holes"):
        index_archive(tmp_path)
    assert index_archive(tmp_path, holes_are_lawful=True).segments == 1


def test_overlaps_are_told_and_left_to_the_reader(tmp_path):
    """An archiver that wrote something twice may be right both times."""
    write(tmp_path / "a.jsonl", *records(0, 1, 2))
    write(tmp_path / "b.jsonl", *records(1, 2, 3))
    assert index_archive(tmp_path).lanes[0].first_overlaps == (("1", "3"),)
    assert read(tmp_path) == [(0, n) for n in range(4)]


def test_files_that_are_known_are_hashed_and_not_read_again(tmp_path, monkeypatch):
    """An archive grows: only what is new is decoded, and the index says the same as if it were made at once."""
    write(tmp_path / "a.jsonl", *records(0, 1))
    index_archive(tmp_path)
    write(tmp_path / "b.jsonl", *records(2))
    seen = reads(monkeypatch)
    report = index_archive(tmp_path)
    assert (seen, report.files_read, report.files_known) == (["b.jsonl"], 1, 1)
    once = (tmp_path / "index.json").read_bytes()
    assert not index_archive(tmp_path).was_written
    (tmp_path / "index.json").unlink()
    index_archive(tmp_path)
    assert (tmp_path / "index.json").read_bytes() == once


def test_a_changed_or_lost_segment_is_refused_until_it_is_meant(tmp_path):
    """An index is what datasets were built by: what it says of a file does not change by itself."""
    write(tmp_path / "a.jsonl", *records(0, 1))
    write(tmp_path / "b.jsonl", *records(2))
    index_archive(tmp_path)
    before = (tmp_path / "index.json").read_bytes()
    write(tmp_path / "a.jsonl", *records(0))
    (tmp_path / "b.jsonl").unlink()
    with pytest.raises(ArchiveIndexConflict) as caught:
        index_archive(tmp_path)
    assert [one.path for one in caught.value.problems] == ["a.jsonl", "b.jsonl"]
    assert (tmp_path / "index.json").read_bytes() == before
    index_archive(tmp_path, replace=True)
    assert spans(tmp_path) == [("a.jsonl", 0, 0, 1, 1)]


def test_what_an_archiver_said_stays(tmp_path):
    """Its segments may cover offsets that no file holds, since it read the log."""
    write_archive(tmp_path, records(0, 3, 9), per_segment=1)
    write(tmp_path / "new.jsonl", *records(10))
    index_archive(tmp_path)
    assert [(begin, end) for _, _, begin, end, _ in spans(tmp_path)] == [(0, 3), (3, 9), (9, 10), (10, 11)]
    assert {one["log_id"] for one in entries(tmp_path)} == {"log1"}


@pytest.mark.parametrize(("name", "data", "code"), [
    ("b.jsonl", [*records(5), *records(4)], SourceUnreadable), ("b.jsonl", [*records(4), *records(4)], SourceUnreadable),
    ("b.jsonl", [b"garbage\n"], SourceUnreadable), ("b.jsonl.gz", [gzip.compress(b"{}" * 999)[:-20]], SourceUnreadable),
    ("b.jsonl.zst", [b"no zstd"], SourceUnreadable), ("b.parquet", [b"PAR1nonsense"], SourceUnreadable),
    ("b.jsonl.gz", [gzip.compress(b" " * 10_000_000) * 60], ResourceExceeded),
    ("b.jsonl", [{**records(4)[0], "payload": {"amount": 5}}], ReplayBasisMismatch)], ids=[
        "going back", "twice", "garbage", "cut gzip", "no zstd", "no Parquet", "a bomb", "changed"])
def test_broken_files_are_all_told_and_nothing_is_half_done(tmp_path, name, data, code):
    """Each file has a code and a reason; the good ones are not read again, and the index is as it was."""
    write(tmp_path / "a.jsonl", *records(0))
    write(tmp_path / name, *data)
    write(tmp_path / "c.jsonl", *records(9, 8))
    with pytest.raises(OfsError) as caught:
        index_archive(tmp_path)
    assert [one.path for one in caught.value.problems] == [name, "c.jsonl"]
    assert (type(caught.value), caught.value.problems[0].code) == (code, code.code)
    assert not (tmp_path / "index.json").exists()
    (tmp_path / name).unlink()
    (tmp_path / "c.jsonl").unlink()
    assert index_archive(tmp_path).files_known == 1


def test_a_job_that_was_killed_goes_on_where_it_was(tmp_path, monkeypatch):
    """What was read is kept beside the index until that is written, and counts only if it was read with the same eyes."""
    for n in range(6):
        write(tmp_path / f"{n}.jsonl", *records(n))
    monkeypatch.setattr(archive_indexing, "KEEP_EVERY", 0)

    class Killed(BaseException):
        """No chance to clean up: what is kept was kept before."""

    def die(step, done, total):
        if done > total // 2:
            raise Killed

    with pytest.raises(Killed):
        index_archive(tmp_path, progress=die)
    assert not (tmp_path / "index.json").exists()
    seen = reads(monkeypatch)
    report = index_archive(tmp_path)
    assert 0 < len(seen) < 6
    assert (report.files_read + report.files_known, report.records) == (6, 6)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".jsonl")] == ["index.json"]


def test_two_jobs_do_not_mix(tmp_path):
    """The second on this machine is told at once; an index that somebody else replaced meanwhile is not overwritten."""
    write(tmp_path / "a.jsonl", *records(0))
    with FolderPlace(tmp_path).alone(), pytest.raises(ArchiveIndexConflict, match="another process"):
        index_archive(tmp_path)

    def meddle(step, done, total):
        (tmp_path / "index.json").write_text(json.dumps({"segments": []}))

    with pytest.raises(ArchiveIndexConflict, match="changed by somebody else"):
        index_archive(tmp_path, progress=meddle)
    assert entries(tmp_path) == []


def test_files_that_are_no_segments_are_named_and_left_out(tmp_path):
    """Notes, markers and empty files prove nothing."""
    write(tmp_path / "a.jsonl", *records(0))
    for name in ("README.md", "_SUCCESS", "empty.jsonl", ".hidden.jsonl"):
        (tmp_path / name).write_bytes(b"")
    assert index_archive(tmp_path).ignored == ("README.md", "empty.jsonl")


def test_a_folder_without_any_segment_is_told(tmp_path):
    """Some tools name their files without a form: that there is nothing to index is no success, and the way out is a name."""
    write(tmp_path / "2026-03-01--10/part-0-0", *records(0))
    with pytest.raises(SourceUnreadable, match=r"none is a segment: 2026-03-01--10/part-0-0\. .*let those of segments end in \.parquet"):
        index_archive(tmp_path)
    assert not (tmp_path / "index.json").exists()
    write(tmp_path / "2026-03-01--10/part-0-1.jsonl", *records(0))
    assert index_archive(tmp_path).ignored == ("2026-03-01--10/part-0-0",)


@pytest.mark.parametrize("much", [1 << 40, 0], ids=["one by one", "in batches"])
@pytest.mark.parametrize("name", ["EXPORT.PARQUET", "a.Parquet", "a.pq"])
def test_a_table_is_one_in_letters_of_either_case(tmp_path, monkeypatch, name, much):
    """What an index takes for a table is read, copied and built from as one."""
    monkeypatch.setattr(archive_indexing, "_MUCH", much)
    write_archive(tmp_path / "a", records(*range(5)), form="parquet")
    (path,) = (tmp_path / "a").rglob("*.parquet")
    path.rename(tmp_path / "a" / name)
    (tmp_path / "a/index.json").unlink()
    assert index_archive(tmp_path / "a").records == 5
    assert read(tmp_path / "a") == [(0, n) for n in range(5)]
    (batch,) = pin(tmp_path / "a").segments[0].batches(Wanted(()))
    assert batch.decoded.all()
    assert copy_archive(tmp_path / "b", "transaction", source=tmp_path / "a").copied[0].records == 5


def test_an_archive_is_a_folder_that_can_be_written(tmp_path):
    """A wrong path is told; so are links that lead out, and a folder where nothing can be written."""
    with pytest.raises(SourceUnreadable, match="there is no folder"):
        index_archive(tmp_path / "nowhere")
    with pytest.raises(SourceUnreadable, match="is no folder"):
        index_archive(write(tmp_path / "file.jsonl", *records(0)))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/a.jsonl").symlink_to(tmp_path / "file.jsonl")
    with pytest.raises(RefScopeInvalid):
        index_archive(tmp_path / "linked")
    (tmp_path / "full").mkdir()
    write(tmp_path / "full/a.jsonl", *records(0))
    (tmp_path / "full/.index.json.aside").mkdir()
    with pytest.raises(StorageIoFailure, match="cannot be written"):
        index_archive(tmp_path / "full")


# --- archives of other tools ----------------------------------------------------------------------------------

CONNECT = {"partition": "partition", "offset": "offset", "log_time_utc": {"member": "timestamp", "unit": "ms"}, "event_id": "value.id",
           "ts_utc": "value.at", "payload": "value"}
FLAT = {"partition": {"folder": "partition"}, "offset": "kafka_offset", "log_time_utc": "kafka_timestamp", "event_id": "id", "ts_utc": "at"}


def plane_for(root, members):
    """A plane that maps an archive of another tool."""
    return settings_from({"plane": "run1", "archives": {"transaction": {"path": str(root), "zone": "UTC", "records": members}}}, root)


def test_json_lines_of_a_connector_are_indexed_and_read(tmp_path):
    """A mapping in plane.yaml says where the members are; the index and the build read with it, and no byte order mark costs a record."""
    write(tmp_path / "a.json", b"\xef\xbb\xbf", *({"partition": 0, "offset": n, "timestamp": 1_767_225_600_000 + n,
                                  "value": {"id": f"e{n}", "at": "2026-01-01T00:00:00", "amount": n}} for n in range(4)))
    settings = plane_for(tmp_path, CONNECT)
    assert index_archive(tmp_path, settings).records == 4
    assert entries(tmp_path)[0]["first_log_time_utc"] == "2026-01-01T00:00:00.000000Z"
    members = settings.archives["transaction"].records.places()
    archive = pin(tmp_path, members)
    found = items(archive)
    assert [(one.event_type, one.platform_run_id, one.payload["amount"]) for one in found] == [("transaction", "run1", n) for n in range(4)]


def flat_table(offsets, **more):
    """A table with the payload's fields as columns."""
    return pa.table({"kafka_offset": pa.array(offsets, pa.int64()), "id": [f"e{n}" for n in offsets],
                     "kafka_timestamp": pa.array([n * 1_000 for n in offsets], pa.timestamp("us", "UTC")),
                     "at": pa.array([n * 1_000 for n in offsets], pa.timestamp("ms")), "amount": [n / 4 for n in offsets], **more})


def test_parquet_with_plain_columns_is_indexed_and_read(tmp_path):
    """The payload is what the log did not add: columns of any type, and the partition is a folder's name."""
    for partition in (0, 1):
        (tmp_path / f"partition={partition}").mkdir()
        pq.write_table(flat_table([0, 1, 2], card=pa.array(["A", None, "B"]).dictionary_encode()),
                       tmp_path / f"partition={partition}/part-0.parquet", row_group_size=2)
    settings = plane_for(tmp_path, FLAT)
    assert [(one.partition, one.records) for one in index_archive(tmp_path, settings).lanes] == [(0, 3), (1, 3)]
    archive = pin(tmp_path, settings.archives["transaction"].records.places())
    found = items(archive)
    assert dict(found[1].payload) == {"id": "e1", "at": "1970-01-01T00:00:01", "amount": found[1].payload["amount"]}
    assert str(found[1].payload["amount"]) == "0.25"
    assert (found[0].payload["card"], found[5].partition) == ("A", 1)


def test_a_table_without_a_named_column_is_refused_with_its_columns(tmp_path):
    """The place in plane.yaml and the columns that there are, both are told."""
    (tmp_path / "partition=0").mkdir()
    pq.write_table(flat_table([0]).rename_columns(["offset", "id", "kafka_timestamp", "at", "amount"]), tmp_path / "partition=0/a.parquet")
    with pytest.raises(SourceUnreadable, match=r"no column kafka_offset, which `records` names for offset; it has: offset, id"):
        index_archive(tmp_path, plane_for(tmp_path, FLAT))


def test_a_mapping_that_changes_is_told_before_anything_is_read_and_indexed_anew(tmp_path):
    """An index says by which mapping it was made: under another one it holds nothing until the files are read again.

    What plane.yaml says of runs, and of other archives, is not in it.
    """
    (tmp_path / "partition=0").mkdir()
    pq.write_table(flat_table([0, 1], other=pa.array([7, 8])), tmp_path / "partition=0/a.parquet")
    before, now = (plane_for(tmp_path, FLAT | more) for more in ({}, {"offset": "other"}))
    index_archive(tmp_path, before, log_id="mine")
    places = now.archives["transaction"].records.places()
    with pytest.raises(ArchiveIndexConflict, match=r"with other words under `records` of transaction: .*a\.parquet need") as caught:
        pin(tmp_path, places)
    assert caught.value.path == "archives.transaction.records"
    with pytest.raises(ArchiveIndexConflict, match="with a mapping under `records`"):
        pin(tmp_path)
    report = index_archive(tmp_path, now)
    assert (report.files_read, report.files_reread, report.files_known) == (1, 1, 0)
    assert "1 of these files it knew, but their records are read in another way now" in indexed(report)
    assert read(tmp_path, places) == [(0, 7), (0, 8)]
    assert [one["log_id"] for one in entries(tmp_path)] == ["mine"]
    renamed = settings_from({"plane": "another", "archives": now.model_dump(mode="json", exclude_none=True)["archives"]}, tmp_path)
    assert index_archive(tmp_path, renamed).files_known == 1


def test_what_an_archiver_says_does_not_depend_on_how_records_are_read(tmp_path):
    """It read the log; so a mapping that gives other coordinates is refused by what is read, and the index stays."""
    (tmp_path / "partition=0").mkdir()
    pq.write_table(flat_table([0, 1], other=pa.array([7, 8])), tmp_path / "partition=0/a.parquet")
    index_archive(tmp_path, plane_for(tmp_path, FLAT))
    write_index(tmp_path, [{**one, "evidence": "archiver"} for one in entries(tmp_path)])
    other = plane_for(tmp_path, FLAT | {"offset": "other"})
    assert index_archive(tmp_path, other).files_known == 1
    with pytest.raises(ReplayBasisMismatch):
        read(tmp_path, other.archives["transaction"].records.places())


def test_what_was_read_by_another_mapping_and_changed_since_is_a_conflict_all_the_same(tmp_path):
    """Another mapping is no leave to take other bytes; nor to read them one by one where a job that was stopped had."""
    (tmp_path / "partition=0").mkdir()
    pq.write_table(flat_table([0, 1], other=pa.array([7, 8])), tmp_path / "partition=0/a.parquet")
    index_archive(tmp_path, plane_for(tmp_path, FLAT))
    pq.write_table(flat_table([0, 1, 2], other=pa.array([7, 8, 9])), tmp_path / "partition=0/a.parquet")
    other = plane_for(tmp_path, FLAT | {"offset": "other"})
    with pytest.raises(ArchiveIndexConflict, match="is not what the index says"):
        index_archive(tmp_path, other)
    assert index_archive(tmp_path, other, replace=True).files_reread == 1
    assert spans(tmp_path) == [("partition=0/a.parquet", 0, 7, 10, 3)]


def test_a_new_partition_counts_in_the_log_of_its_topic(tmp_path):
    """A topic has one id: what --log-id said of it holds for partitions that come later."""
    write(tmp_path / "a.jsonl", *records(0, 1))
    index_archive(tmp_path, log_id="mine")
    write(tmp_path / "b.jsonl", *records(0, partition=1))
    index_archive(tmp_path)
    assert {one["log_id"] for one in entries(tmp_path)} == {"mine"}


def test_a_segment_can_be_pickled(tmp_path):
    """Engines read partitions in other processes."""
    write(tmp_path / "a.jsonl", *records(0))
    index_archive(tmp_path)
    (segment,) = pin(tmp_path).segments
    again = pickle.loads(pickle.dumps(segment))  # noqa: S301 - our own
    assert isinstance(again, Segment)
    assert [one.number for one in again.read()] == [0]


@pytest.mark.parametrize("name", ["a\nb.jsonl", "a\\b.jsonl", "\u202e.jsonl", "e\u0301.jsonl", f"{3 * ('x' * 200 + '/')}a.jsonl"],
                         ids=ascii)
def test_an_index_names_only_files_that_every_reader_finds(tmp_path, name):
    """A name that no segment may have is told while the index is made, not when a build needs it."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(archived("e0", 0, {"card": "A"})) + "\n")
    with pytest.raises(OfsError) as told:
        index_archive(tmp_path)
    assert told.value.code in {"REF_INVALID", "SOURCE_UNREADABLE"}
    assert not (tmp_path / "index.json").exists()


def test_what_an_index_has_no_room_for_is_told_with_its_file(tmp_path):
    """A topic or a log of a thousand characters is the file's problem, and no defect; so is a link to nothing."""
    (tmp_path / "a.jsonl").write_text(json.dumps(archived("e0", 0, {"card": "A"}, topic="x" * 1_000)) + "\n")
    with pytest.raises(SourceUnreadable, match="topic"):
        index_archive(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps(archived("e0", 0, {"card": "A"})) + "\n")
    with pytest.raises(SourceUnreadable, match="log_id"):
        index_archive(tmp_path, log_id="x" * 1_000)
    (tmp_path / "b.jsonl").symlink_to("nowhere.jsonl")
    with pytest.raises(SourceUnreadable, match="nowhere"):
        index_archive(tmp_path)
    assert not (tmp_path / "index.json").exists()


@pytest.mark.parametrize("data", [b"", b"[]", b'{"schema_version": "v9", "segments": []}', b"\xff", b"[" * 100_000])
def test_an_index_that_nobody_can_read_is_made_anew_when_that_is_meant(tmp_path, data):
    """The advice leads somewhere: a broken index is told, kept, and replaced with `--replace`."""
    write(tmp_path / "a.jsonl", *records(0, 1))
    (tmp_path / "index.json").write_bytes(data)
    with pytest.raises(SourceUnreadable) as told:
        index_archive(tmp_path)
    assert "--replace" in told.value.fix
    assert (tmp_path / "index.json").read_bytes() == data
    index_archive(tmp_path, replace=True)
    assert read(tmp_path) == [(0, 0), (0, 1)]
