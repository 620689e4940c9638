"""Archives that are written: the same records and the same proof as their source, nothing half done, nothing copied twice."""

import gc
import hashlib
import json
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_cluster import MockCluster
from s3_servers import BUCKET, ENVIRONMENT, open_store, place_at

from offline_feature_plane import archive_jobs
from offline_feature_plane.__main__ import run
from offline_feature_plane.archive_jobs import index_archive, write_archive
from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.completeness import refusal
from offline_feature_plane.domain.record_texts import json_text
from offline_feature_plane.errors import (
    ArchiveIndexConflict,
    BasisUnresolved,
    OfsError,
    ReplayBasisGap,
    ReplayBasisMismatch,
    SettingsInvalid,
    SourceUnreadable,
    StorageIoFailure,
)
from offline_feature_plane.settings import settings_from
from offline_feature_plane.sources.archives import segment_files
from offline_feature_plane.sources.archives import source as archive
from offline_feature_plane.sources.archives.notes import folder_of
from offline_feature_plane.sources.archives.places import FolderPlace
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.buses import held_batches
from offline_feature_plane.sources.decoding import stored_rows
from offline_feature_plane.sources.logs.stretches import read_in_order
from offline_feature_plane.testing.archives import archived, write_mixed_archive
from offline_feature_plane.testing.archives import write_archive as make_archive
from offline_feature_plane.testing.asking import ManualClock
from offline_feature_plane.testing.envelopes import envelope
from offline_feature_plane.text_files import load_object


def record(n, **changes):
    """One archived record; `n` is its offset."""
    return archived(f"e{n}", n * 1_000, changes.pop("payload", {"card": "A", "amount": n}), offset=n, **changes)


def pin(root):
    """The archive as a build pins it."""
    return ArchiveSource({"transaction": ArchiveMapping(root)}).pin("transaction")


def items(root):
    """Everything that reading an archive gives, without the place that it is read from."""
    pinned = pin(root)
    return [one for _, one in read_in_order(pinned.segments, pinned.ranges())]


def spans(root):
    """What the index covers, by segment."""
    return [(one["partition"], int(one["first_offset"]), int(one["next_offset"]), one["record_count"])
            for one in json.loads((root / "index.json").read_text())["segments"]]


@pytest.fixture(params=["one by one", "in batches"])
def way(request, monkeypatch):
    """Both ways to copy, whatever the size."""
    for module in (archive, held_batches):
        monkeypatch.setattr(module, "WORTH_A_COMPILER", 0 if request.param == "in batches" else 1 << 40)
    return request.param


@pytest.mark.parametrize("source", ["jsonl.zst", "parquet"])
def test_a_copy_of_mixed_files_is_a_chain_for_each_partition(tmp_path, monkeypatch, way, source):
    """Files that hold several partitions, deletions among them, are read once for all of these, and come apart.

    file 0   0/0 1/0 2/0 0/1 1/1 2/1 0/2        partition 0   0 1 2 3 …
    file 1   1/2 2/2 0/3 …                      partition 1   0 1 2 …
    """
    written = [record(n // 3, partition=n % 3, event_type="card") for n in range(24)]
    written[10] |= {"event_id": None, "ts_utc": None, "payload": None, "payload_hash": None}
    write_mixed_archive(tmp_path / "a", written, per_file=7, form=source)
    opened, genuine = [], FolderPlace.at_hand
    monkeypatch.setattr(FolderPlace, "at_hand", lambda place, file: (opened.append(file.relative), genuine(place, file))[1])
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", per_segment=4)
    assert Counter(opened) == {f"0000{n}.{source}": 1 if way == "in batches" else 3 for n in range(4)}
    assert items(tmp_path / "b") == items(tmp_path / "a")
    assert pin(tmp_path / "b").ranges() == pin(tmp_path / "a").ranges()


@pytest.mark.parametrize("source", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
@pytest.mark.parametrize("form", ["jsonl", "jsonl.zst", "parquet"])
@pytest.mark.usefixtures("way")
def test_a_copy_holds_the_same_records_however_it_is_cut(tmp_path, source, form):
    """Every member, hash and log time is the source's; so is what the chain proves."""
    make_archive(tmp_path / "a", [record(n, partition=n % 2, log_us=n * 7) for n in range(11)], per_segment=3, form=source)
    report = write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", form=form, per_segment=4)
    assert items(tmp_path / "b") == items(tmp_path / "a")
    assert pin(tmp_path / "b").ranges() == pin(tmp_path / "a").ranges()
    assert [(one.partition, one.records, one.segments) for one in report.copied] == [(0, 6, 2), (1, 5, 2)]
    assert index_archive(tmp_path / "b").files_known == 4
    again = write_archive(tmp_path / "c", "transaction", source=tmp_path / "b", form=source if source != "jsonl.gz" else "jsonl")
    assert (items(tmp_path / "c"), again.was_written) == (items(tmp_path / "a"), True)


@pytest.mark.parametrize("form", ["jsonl", "jsonl.zst", "parquet"])
def test_a_segment_has_one_digest_whichever_way_it_is_written(tmp_path, monkeypatch, form):
    """How many records come at a time shows neither in lines nor in row groups; what cannot be decoded stands between them."""
    records = [record(n, payload={"n": n, "note": "é" * (n % 7)}) for n in range(60)]
    make_archive(tmp_path / "a", [{**one, "ts_utc": "?"} if n % 13 == 5 else one for n, one in enumerate(records)], per_segment=60)
    monkeypatch.setattr(segment_files, "ROWS", 7)
    monkeypatch.setattr(archive_jobs, "SystemClock", lambda: ManualClock(1_770_000_000_000_000))
    found = []
    for worth, most in ((0, 1_024), (1 << 40, 1_024), (1 << 40, 4)):
        monkeypatch.setattr(archive, "WORTH_A_COMPILER", worth)
        monkeypatch.setattr(stored_rows, "_MOST", most)
        write_archive(tmp_path / f"{worth}-{most}", "transaction", source=tmp_path / "a", form=form, per_segment=25)
        index = json.loads((tmp_path / f"{worth}-{most}/index.json").read_text())
        found.append([(one["path"], one["sha256"], one["size"]) for one in index["segments"]])
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3


@pytest.mark.usefixtures("way")
def test_lawful_holes_are_proved_by_the_chain(tmp_path):
    """Each segment covers its offsets up to the next one's first, the last one up to the end that the source proved.

    source  [0 . . 3 . . . . . 9 . .)      two records a segment      [0 ── 9)[9 ── 12)
    """
    make_archive(tmp_path / "a", [record(0), record(3), record(9)], per_segment=9)
    index = json.loads((tmp_path / "a/index.json").read_text())
    index["segments"][0]["next_offset"] = "12"
    (tmp_path / "a/index.json").write_text(json.dumps(index))
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", per_segment=2)
    assert spans(tmp_path / "b") == [(0, 0, 9, 2), (0, 9, 12, 1)]
    write_archive(tmp_path / "c", "transaction", source=tmp_path / "a", ranges=[(0, 10, 12)])
    assert spans(tmp_path / "c") == [(0, 10, 12, 0)]  # nothing was there, and that is proved
    assert pin(tmp_path / "c").completeness(pin(tmp_path / "c").ranges()).is_complete


def test_an_archive_grows_and_copies_nothing_twice(tmp_path):
    """What the index covers stays as it is, byte for byte; only what is missing is copied, wherever that is.

    b   ── [2 ── 5) ─────────      then everything      [0 ── 2)[2 ── 5)[5 ── 9)
    """
    make_archive(tmp_path / "a", [record(n) for n in range(9)], per_segment=4)
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", ranges=[(0, 2, 5)])
    (first,) = (tmp_path / "b").rglob("*.zst")
    stamp = first.stat().st_mtime_ns
    report = write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", form="parquet")
    assert spans(tmp_path / "b") == [(0, 0, 2, 2), (0, 2, 5, 3), (0, 5, 9, 4)]
    assert [(one.start_offset, one.end_offset, one.records, one.segments) for one in report.known] == [("2", "5", 3, 1)]
    assert first.stat().st_mtime_ns == stamp
    assert items(tmp_path / "b") == items(tmp_path / "a")
    before = (tmp_path / "b/index.json").read_bytes()
    assert not write_archive(tmp_path / "b", "transaction", source=tmp_path / "a").was_written
    assert (tmp_path / "b/index.json").read_bytes() == before


class Stopped(BaseException):
    """A process that ends."""


def test_a_stopped_job_goes_on_behind_its_last_segment(tmp_path):
    """Until its end the index says nothing of it; then what came of two runs is what one would have written."""
    make_archive(tmp_path / "a", [record(n) for n in range(40)], per_segment=10)

    def stop(step, done, total):
        if done >= 20:
            raise Stopped

    with pytest.raises(Stopped):
        write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", per_segment=5, progress=stop)
    assert not (tmp_path / "b/index.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "b").rglob("*.zst")}
    assert len(kept) == 4
    report = write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", per_segment=5)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert [(one.start_offset, one.end_offset, one.records, one.segments) for one in report.copied] == [("0", "40", 40, 8)]
    assert (report.resumed_segments, report.resumed_records) in {(3, 15), (4, 20)}
    assert spans(tmp_path / "b") == [(0, n, n + 5, 5) for n in range(0, 40, 5)]
    assert items(tmp_path / "b") == items(tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["index.json", "transaction"]


def test_another_way_of_cutting_begins_anew(tmp_path):
    """What a stopped job had written, and no index names, goes; another topic's notes stay."""
    make_archive(tmp_path / "a", [record(n, topic=topic) for n in range(40) for topic in ("transaction", "login")], per_segment=10)

    def stop(step, done, total):
        if done >= 20:
            raise Stopped

    for topic in ("transaction", "login"):
        with pytest.raises(Stopped):
            write_archive(tmp_path / "b", topic, source=tmp_path / "a", per_segment=5, progress=stop)
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", per_segment=8)
    assert spans(tmp_path / "b") == [(0, n, n + 8, 8) for n in range(0, 40, 8)]
    assert len(list((tmp_path / "b/transaction").rglob("*.zst"))) == 5
    report = write_archive(tmp_path / "b", "login", source=tmp_path / "a", per_segment=5)
    assert (report.resumed_segments, report.copied[0].records) in {(3, 40), (4, 40)}
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["index.json", "login", "transaction"]


def test_a_killed_process_leaves_nothing_half_done(tmp_path):
    """`kill -9` at any moment: the archive has the old index or the new one, and the same command finishes the work."""
    make_archive(tmp_path / "a", [record(n) for n in range(3_000)], per_segment=1_000)
    command = [sys.executable, "-m", "offline_feature_plane", "archive", "write", str(tmp_path / "b"), "--topic", "transaction", "--from",
               str(tmp_path / "a"), "--segment-records", "20"]
    for number in range(3):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if len(list((tmp_path / "b/transaction").rglob("*.zst"))) > 20 + 40 * number:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        process.wait(60)
        assert not (tmp_path / "b/index.json").exists() or items(tmp_path / "b") == items(tmp_path / "a")
    assert run(command[3:]) == 0
    assert items(tmp_path / "b") == items(tmp_path / "a")
    assert spans(tmp_path / "b") == [(0, n, n + 20, 20) for n in range(0, 3_000, 20)]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["index.json", "transaction"]


def test_an_index_that_is_made_between_two_attempts_stands_in_no_way(tmp_path):
    """Files of a stopped job are indexed as the job noted them: of the log of their source, with the holes that it proved.

    source  [0 1 2 · · · 6 7 8 9 …      stopped behind its fourth segment, indexed, begun again
    """
    make_archive(tmp_path / "a", [record(n) for n in range(40) if n not in {3, 4, 5}], per_segment=50)

    def stop(step, done, total):
        if done >= 20:
            raise Stopped

    with pytest.raises(Stopped):
        write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", per_segment=5, progress=stop)
    (lane,) = index_archive(tmp_path / "b").lanes
    assert (lane.log_id, lane.first_offset, lane.gaps) == ("log1", "0", 0)
    known = (tmp_path / "b/index.json").read_bytes()
    assert not index_archive(tmp_path / "b").was_written
    report = write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", per_segment=5)
    assert (report.resumed_records, sum(one.records for one in (*report.copied, *report.known))) == (0, 37)
    assert (tmp_path / "b/index.json").read_bytes().startswith(known[:-8])
    assert items(tmp_path / "b") == items(tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["index.json", "transaction"]


def test_an_index_of_files_alone_says_which_log_it_may_be(tmp_path):
    """Files do not say their log: whoever knows it is told what to run, and then it goes on."""
    make_archive(tmp_path / "a", [record(n) for n in range(9)], per_segment=50)
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", ranges=[(0, 0, 5)])
    (tmp_path / "b/index.json").unlink()
    index_archive(tmp_path / "b")
    with pytest.raises(ArchiveIndexConflict) as told:
        write_archive(tmp_path / "b", "transaction", source=tmp_path / "a")
    assert f"move index.json away and run `ofs archive index {tmp_path / 'b'} --log-id log1`" in told.value.fix
    (tmp_path / "b/index.json").rename(tmp_path / "away.json")
    index_archive(tmp_path / "b", log_id="log1")
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a")
    assert items(tmp_path / "b") == items(tmp_path / "a")


@pytest.mark.parametrize("step", ["put", "remove"])
def test_whatever_a_job_was_stopped_behind_the_next_one_goes_on(tmp_path, monkeypatch, step):
    """Between two steps on disk there is no moment that costs more than work: nothing is left over, nothing is there twice.

    put     segment ● put, and no more       remove     index ● written, the note about segments still there
    """
    make_archive(tmp_path / "a", [record(n) for n in range(7)], per_segment=10)
    real = getattr(FolderPlace, step)

    def stopping(self, *args):
        real(self, *args) if step == "put" else None
        raise Stopped
    monkeypatch.setattr(FolderPlace, step, stopping)
    with pytest.raises(Stopped):
        write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", per_segment=5)
    monkeypatch.undo()
    make_archive(tmp_path / "a", [record(n) for n in range(12)], per_segment=10)  # the log went on meanwhile
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", per_segment=5)
    assert items(tmp_path / "b") == items(tmp_path / "a")
    assert [(first, end) for _, first, end, _ in spans(tmp_path / "b")] == (
        [(0, 5), (5, 10), (10, 12)] if step == "put" else [(0, 5), (5, 7), (7, 12)])
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["index.json", "transaction"]


@pytest.mark.parametrize("form", ["jsonl", "jsonl.zst", "parquet"])
def test_a_segment_for_which_there_is_no_room_is_told_and_leaves_nothing(tmp_path, form, capfd):
    """Wherever a write fails, the last flush of what is given up included: a code, no index, and the same command goes on later."""
    make_archive(tmp_path / "a", [record(n, payload={"card": hashlib.sha512(b"%d" % n).hexdigest()}) for n in range(600)], per_segment=600)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # bytes of one file
    try:
        with pytest.raises(StorageIoFailure, match="cannot be written"):
            write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", form=form)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    gc.collect()
    assert capfd.readouterr().err == ""  # nor does a library complain
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["_index.copying.transaction.json"]
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", form=form)
    assert items(tmp_path / "b") == items(tmp_path / "a")


@pytest.mark.usefixtures("way")
def test_what_is_not_proved_is_not_copied(tmp_path):
    """A gap, an end that is not there, a segment that has changed: nothing is made, or nothing is indexed."""
    make_archive(tmp_path / "a", [record(n) for n in range(9)], per_segment=3)
    with pytest.raises(ReplayBasisGap):
        write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", ranges=[(0, 5, 20)])
    with pytest.raises(BasisUnresolved, match="no partition 7"):
        write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", ranges=[(7, 5, 20)])
    assert not (tmp_path / "b").exists()
    path = tmp_path / "a/transaction/0/00001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"amount": 4', b'"amount": 5'))
    with pytest.raises(ReplayBasisMismatch):
        write_archive(tmp_path / "b", "transaction", source=tmp_path / "a")
    assert not (tmp_path / "b/index.json").exists()


def test_conflicts_are_told(tmp_path):
    """Another log under the topic's name, another file under a segment's, another writer of the index."""
    make_archive(tmp_path / "a", [record(n) for n in range(4)])
    make_archive(tmp_path / "other", [record(n) for n in range(4)], log_id="log2")
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a")
    with pytest.raises(ArchiveIndexConflict, match="of the log log1; this is the log log2"):
        write_archive(tmp_path / "b", "transaction", source=tmp_path / "other")
    squatter = tmp_path / "c/transaction/0/00000000000000000000.jsonl.zst"
    squatter.parent.mkdir(parents=True)
    squatter.write_bytes(b"mine")
    with pytest.raises(ArchiveIndexConflict, match="holds other bytes"):
        write_archive(tmp_path / "c", "transaction", source=tmp_path / "a")
    assert squatter.read_bytes() == b"mine"

    def meddle(step, done, total):
        (tmp_path / "d/index.json").write_text(json.dumps({"segments": []}))

    with pytest.raises(ArchiveIndexConflict, match="changed by somebody else"):
        write_archive(tmp_path / "d", "transaction", source=tmp_path / "a", progress=meddle)
    (tmp_path / "d/index.json").unlink()
    report = write_archive(tmp_path / "d", "transaction", source=tmp_path / "a")
    assert (report.resumed_records, [one.records for one in report.copied]) == (4, [4])  # all segments were there


@pytest.mark.usefixtures("way")
def test_undecodable_records_are_copied_and_not_laundered(tmp_path):
    """They are declared in the copy only if they were declared in the source."""
    make_archive(tmp_path / "a", [record(0), {**record(1), "ts_utc": "yesterday"}, record(2)])
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a")
    assert [isinstance(one, Record) for one in items(tmp_path / "b")] == [True, False, True]
    assert pin(tmp_path / "b").completeness(pin(tmp_path / "b").ranges()).declared("undecodable") == 0
    index_archive(tmp_path / "b", undecodable_are_known=True)
    index = json.loads((tmp_path / "a/index.json").read_text())
    index["segments"][0]["dispositions"] = {"undecodable": 1}
    (tmp_path / "a/index.json").write_text(json.dumps(index))
    write_archive(tmp_path / "c", "transaction", source=tmp_path / "a")
    assert pin(tmp_path / "c").completeness(pin(tmp_path / "c").ranges()).declared("undecodable") == 1


@pytest.mark.usefixtures("way")
def test_overlapping_segments_become_one_chain_or_a_conflict(tmp_path):
    """A copy holds each coordinate once."""
    for name, second in (("same", record(2)), ("unlike", record(2, payload={"amount": 7}))):
        root = tmp_path / name
        root.mkdir()
        (root / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (record(0), record(1), record(2))))
        (root / "b.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (second, record(3))))
        index_archive(root)
    write_archive(tmp_path / "one", "transaction", source=tmp_path / "same")
    assert spans(tmp_path / "one") == [(0, 0, 4, 4)]
    with pytest.raises(OfsError, match=r"transaction/0@2"):
        write_archive(tmp_path / "none", "transaction", source=tmp_path / "unlike")


def test_what_only_the_overlapping_segment_has_stands_in_its_place(tmp_path):
    """Segments that overlap are copied by offset, not one behind the other.

    segment a  [0 1 . 3 4 5)      its hole is lawful
    segment b      [2 3)
    """
    make_archive(tmp_path / "a", [record(n) for n in (0, 1, 3, 4, 5)], per_segment=10)
    make_archive(tmp_path / "a/more", [record(n) for n in (2, 3)], per_segment=10)
    index, more = (json.loads((tmp_path / name / "index.json").read_text()) for name in ("a", "a/more"))
    extra = {**more["segments"][0], "path": f"more/{more['segments'][0]['path']}"}
    (tmp_path / "a/index.json").write_text(json.dumps({**index, "segments": [*index["segments"], extra]}))
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a")
    assert items(tmp_path / "b") == items(tmp_path / "a")
    assert [one.number for one in items(tmp_path / "b")] == list(range(6))


@pytest.mark.parametrize(("where", "source"), [("a", "a"), ("a", "a/."), ("a/copy", "a"), ("a", "a/copy"), ("s3://b/a/c", "s3://b/a"),
                                               ("s3://b/a", "s3://b/a/")])
def test_an_archive_is_not_copied_into_itself(tmp_path, where, source):
    """Nor does one lie in the other, whose index would then have the files of both; below `_…` nobody looks."""
    make_archive(tmp_path / "a", [record(0)])
    make_archive(tmp_path / "a/copy", [record(0)])
    at = {name: name if "://" in name else str(tmp_path / name) for name in (where, source)}
    with pytest.raises(SettingsInvalid, match=r"copied from|one in the other") as told:
        write_archive(at[where], "transaction", source=at[source])
    assert told.value.path == "--from"
    assert write_archive(tmp_path / "a/_copy", "transaction", source=tmp_path / "a").was_written


def test_topics_never_share_a_folder(tmp_path):
    """Whatever a topic is called, its name becomes a folder of its own, inside of the archive, and not a hidden one."""
    make_archive(tmp_path / "a", [record(n, topic="_hidden") for n in range(2)])
    write_archive(tmp_path / "b", "_hidden", source=tmp_path / "a")
    assert (tmp_path / "b/%5Fhidden/0").is_dir()
    topics = ("a/b", "a_b", "a%2Fb", "../up", "_hidden", ".dot", "ä b", "a b", "a\nb", "x" * 249, "x" * 248 + "y", "ä" * 249)
    names = [folder_of(topic) for topic in topics]
    assert len(set(names)) == len(names)
    assert all("/" not in name and name[0] not in "._" and len(name) <= 202 for name in names)
    (tmp_path / "long").mkdir()
    (tmp_path / "long/all.jsonl").write_text(json.dumps(record(0, topic="ä" * 249)) + "\n")
    index_archive(tmp_path / "long")
    assert write_archive(tmp_path / "c", "ä" * 249, source=tmp_path / "long").was_written
    assert index_archive(tmp_path / "b").files_known == 1


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_what_has_no_record_keeps_its_offset_in_a_copy(tmp_path, form):
    """Null values and garbage that stand behind holes are copied to where they are, and not to the first offset that is free.

    0 . null 3 . ? 6
    """
    lane = dict.fromkeys(record(0)) | {"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset"}
    make_archive(tmp_path / "a", [record(0), lane | {"offset": "2"}, record(3), lane | {"offset": "5", "payload": "cGluZw=="}, record(6)])
    write_archive(tmp_path / "b", "transaction", source=tmp_path / "a", form=form)
    write_archive(tmp_path / "c", "transaction", source=tmp_path / "b")
    for name in "abc":
        odd = [(one.number, one.reason) for one in items(tmp_path / name) if not isinstance(one, Record)]
        assert odd == [(2, "null_value"), (5, "undecodable")], name


# --- from a bus -----------------------------------------------------------------------------------------------


@pytest.fixture
def bus():
    """A topic on librdkafka's mock: records, a deletion, a value that is no envelope; and the plane that maps it."""
    cluster = MockCluster()
    for n in range(6):
        cluster.produce("transaction", 0, envelope(record(n)), 1_000 + n)
    cluster.produce("transaction", 0, None, 1_006)
    cluster.produce("transaction", 0, b"garbage", 1_007)
    cluster.produce("transaction", 0, envelope(record(8, payload={"amount": Decimal("8.25"), "note": "é"})), 1_008)
    cluster.settings = settings_from({"plane": "run1", "kafka": {"transaction": {
        "servers": cluster.address, "log_id": "log1", "cleanup_policy": "delete", "timeout_s": 20}}}, Path())
    return cluster


@pytest.mark.usefixtures("way")
def test_a_bus_is_copied_with_its_log_and_what_nobody_can_read(tmp_path, bus):
    """Ids, offsets and log times are the bus's; a deletion and a value that is no envelope keep their coordinates, and are declared."""
    report = write_archive(tmp_path / "b", "transaction", bus.settings, per_segment=4)
    (lane,) = report.copied
    assert (lane.start_offset, lane.end_offset, lane.records, lane.undecodable, lane.null_values) == ("0", "9", 9, 1, 1)
    pinned = pin(tmp_path / "b")
    assert pinned.log_ids == ("log1",)
    assert refusal(pinned.completeness(pinned.ranges())) is None
    found = [one for one in items(tmp_path / "b") if isinstance(one, Record)]
    assert [(one.number, one.event_id, one.log_us) for one in found] == [(n, f"e{n}", (1_000 + n) * 1_000) for n in (0, 1, 2, 3, 4, 5, 8)]
    assert found[-1].payload == {"amount": Decimal("8.25"), "note": "é"}
    odd = [(one.number, one.reason) for one in items(tmp_path / "b") if not isinstance(one, Record)]
    assert odd == [(6, "null_value"), (7, "undecodable")]
    write_archive(tmp_path / "c", "transaction", source=tmp_path / "b", form="parquet")
    assert items(tmp_path / "c") == items(tmp_path / "b")
    for path in (tmp_path / "b/index.json", tmp_path / "c/index.json"):
        told = [one.get("dispositions", {}) for one in json.loads(path.read_text())["segments"]]
        assert [sum(one.get(name, 0) for one in told) for name in ("null_value", "undecodable")] == [1, 1]
        path.unlink()
        assert index_archive(path.parent, log_id="log1").lanes[0].undecodable == 1
    bus.produce("transaction", 0, envelope(record(9)), 1_009)
    report = write_archive(tmp_path / "b", "transaction", bus.settings, per_segment=4)
    assert [(one.start_offset, one.records) for one in report.copied] == [("9", 1)]


def test_a_topic_that_is_not_mapped_is_told(tmp_path, bus):
    """With what is mapped."""
    with pytest.raises(SettingsInvalid, match="it maps: transaction"):
        write_archive(tmp_path / "b", "transfer", bus.settings)
    with pytest.raises(SettingsInvalid, match="it maps: none"):
        write_archive(tmp_path / "b", "transaction")
    assert not (tmp_path / "b").exists()


# --- in buckets, and by the command line ----------------------------------------------------------------------


def test_archives_are_copied_into_buckets_and_out_of_them(tmp_path, weed, monkeypatch):
    """Segments are created if they are absent, and the index is replaced as one piece, only if it still is the one that was read."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    place = place_at(weed.url)
    settings = settings_from({"plane": "run1", "work": str(tmp_path / "work"), "s3": {"endpoint": weed.url}}, tmp_path)
    make_archive(tmp_path / "a", [record(n, partition=n % 2) for n in range(10)], per_segment=2)
    where = place.uri("lake").rstrip("/")
    write_archive(where, "transaction", settings, source=tmp_path / "a", ranges=[(0, 0, 4)])
    report = write_archive(where, "transaction", settings, source=tmp_path / "a", per_segment=3)
    assert [(one.partition, one.start_offset) for one in report.copied] == [(0, "4"), (1, "0")]
    write_archive(tmp_path / "b", "transaction", settings, source=where)
    assert items(tmp_path / "b") == items(tmp_path / "a")
    client = open_store(place)._bucket._client
    names = [one["Key"] for one in client.list_objects_v2(Bucket=BUCKET, Prefix=place.prefix)["Contents"]]
    assert len([name for name in names if name.endswith(".zst")]) == 4
    assert [name for name in names if not name.endswith(".zst")] == [f"{place.prefix}lake/index.json"]
    assert not write_archive(where, "transaction", settings, source=tmp_path / "b").was_written
    other = place.uri("other").rstrip("/")
    assert [one.segments for one in write_archive(other, "transaction", settings, source=where, per_segment=2).copied] == [3, 3]
    write_archive(tmp_path / "c", "transaction", settings, source=other)
    assert items(tmp_path / "c") == items(tmp_path / "a")
    assert list((tmp_path / "work").iterdir()) == []


def test_errors_about_an_archive_in_a_bucket_say_its_address(tmp_path, weed, monkeypatch):
    """A bucket has many an `index.json`: one that is changed, unreadable or another's is told by its whole address."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    place = place_at(weed.url)
    settings = settings_from({"plane": "run1", "work": str(tmp_path / "work"), "s3": {"endpoint": weed.url}}, tmp_path)
    make_archive(tmp_path / "a", [record(n) for n in range(4)])
    where = place.uri("told").rstrip("/")
    client = open_store(place)._bucket._client

    def put(name, data):
        client.put_object(Bucket=BUCKET, Key=f"{place.prefix}told/{name}", Body=data)
    with pytest.raises(ArchiveIndexConflict, match="changed by somebody else") as told:
        write_archive(where, "transaction", settings, source=tmp_path / "a", progress=lambda *_: put("index.json", b'{"segments": []}'))
    assert told.value.path == f"{where}/index.json"
    put("index.json", b"{")
    for job in (lambda: index_archive(where, settings), lambda: write_archive(where, "transaction", settings, source=tmp_path / "a")):
        with pytest.raises(SourceUnreadable) as told:
            job()
        assert told.value.path == f"{where}/index.json"
    other = place.uri("other").rstrip("/")
    client.put_object(Bucket=BUCKET, Key=f"{place.prefix}other/transaction/0/00000000000000000000.jsonl.zst", Body=b"mine")
    with pytest.raises(ArchiveIndexConflict, match="holds other bytes") as told:
        write_archive(other, "transaction", settings, source=tmp_path / "a")
    assert told.value.path == f"{other}/transaction/0/00000000000000000000.jsonl.zst"
    client.put_object(Bucket=BUCKET, Key=f"{place.prefix}third/_index.copying.transaction.json", Body=b"no notes")
    assert write_archive(place.uri("third"), "transaction", settings, source=tmp_path / "a").was_written
    with pytest.raises(StorageIoFailure) as told:
        index_archive(f"s3://{BUCKET}-that-is-not-there/x", settings)
    assert told.value.path.startswith("s3://")


def test_an_archive_of_another_tool_is_not_written_into(tmp_path):
    """What plane.yaml reads by a mapping would read our records wrongly."""
    make_archive(tmp_path / "a", [record(0)])
    settings = settings_from({"plane": "run1", "archives": {"transaction": {"path": str(tmp_path / "b"), "records": "v0"}}}, tmp_path)
    with pytest.raises(SettingsInvalid, match="another tool"):
        write_archive(tmp_path / "b", "transaction", settings, source=tmp_path / "a")


def test_a_topic_is_copied_by_the_name_that_plane_yaml_has_for_it(tmp_path):
    """In the other archive, or on its bus; else by the name in the records. A name that is none of these is told with what there is."""
    make_archive(tmp_path / "a", [record(n, topic="pay.v1") for n in range(3)])
    bus = {"kafka": {"spending": {"topic": "pay.v1", "servers": "localhost:1"}}}
    for topic, more in (("payment", {}), ("pay.v1", {}), ("spending", bus)):
        mapped = {"payment": {"path": str(tmp_path / "a"), "topic": "pay.v1"}}
        settings = settings_from({"plane": "run1", "archives": mapped, **more}, tmp_path)
        report = write_archive(tmp_path / topic, topic, settings, source=tmp_path / "a")
        assert [(one.topic, one.records) for one in report.copied] == [("pay.v1", 3)]
    with pytest.raises(SourceUnreadable, match=r"no segment of nothing; its topics: pay\.v1") as caught:
        write_archive(tmp_path / "c", "nothing", settings, source=tmp_path / "a")
    assert (caught.value.path, caught.value.fix) == ("--topic", "Name one of these, or as plane.yaml calls it: payment (for pay.v1).")


def test_the_commands_say_what_they_did(tmp_path, monkeypatch, capsys):
    """Text for people, one document with --json; bad input ends with a code, and no traceback."""
    monkeypatch.chdir(tmp_path)
    make_archive(tmp_path / "a", [record(n) for n in range(4)])
    assert run(["archive", "write", "b", "--topic", "transaction", "--from", "a", "--range", "0:1-3"]) == 0
    assert "b/index.json extended: 2 records in 1 segments" in capsys.readouterr().out
    assert run(["archive", "write", "b", "--topic", "transaction", "--from", "a", "--json"]) == 0
    assert [one["records"] for one in json.loads(capsys.readouterr().out)["copied"]] == [1, 1]
    assert run(["archive", "write", "b", "--topic", "transaction", "--from", "a"]) == 0
    assert "up to date" in capsys.readouterr().out
    assert run(["archive", "index", "b"]) == 0
    assert "4 records, 3 segments (0 files read, 3 known)" in capsys.readouterr().out
    assert run(["archive", "index", "b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lanes"][0]["next_offset"] == "4"
    for arguments, status, said in ((["write", "b", "--topic", "x", "--from", "a"], 3, "SOURCE_UNREADABLE"),
                                    (["write", "b", "--topic", "transaction", "--from", "a", "--range", "1-2"], 2, "--range"),
                                    (["write", "b", "--topic", "transaction", "--from", "a", "--range", "0:3-2"], 2, "BASIS_UNRESOLVED"),
                                    (["write", "b", "--topic", "transaction"], 2, "SETTINGS_INVALID"),
                                    (["index", "nowhere"], 3, "SOURCE_UNREADABLE"), (["index", "s3://"], 2, "SETTINGS_INVALID")):
        assert run(["archive", *arguments]) == status
        assert said in capsys.readouterr().err
    with pytest.raises(SourceUnreadable):
        write_archive(tmp_path / "b", "transaction", source=tmp_path / "nowhere")


VALUES = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.decimals(allow_nan=False, allow_infinity=False)),
                      lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)), max_leaves=8)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_is_written_reads_back_to_the_very_values(document):
    """No digit is lost, and no character: hashes of what is copied stay what they were."""
    again = load_object(json_text(document).encode())
    assert again == document
    assert json_text(again) == json_text(load_object(json_text(again).encode()))
