"""Segments that are broken under a sound index: a code, the segment, and not half of it; whatever reads them, one by one or in batches."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane import budgets, text_files
from offline_feature_plane.archive_jobs import index_archive
from offline_feature_plane.archive_jobs import write_archive as copy_archive
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.errors import OfsError, ReplayBasisMismatch, ResourceExceeded, SourceUnreadable
from offline_feature_plane.sources.archives import source as archive
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.decoding.wanted import Wanted
from offline_feature_plane.sources.logs import records
from offline_feature_plane.sources.logs.stretches import Undecodable
from offline_feature_plane.testing.archives import archived, write_archive

TX = Source("tx", ("transaction",), (Field("amount", ColumnType("int64"), ("amount",)),))


def make(root, form, count=400):
    """An archive of one segment, and its path."""
    found = [archived(f"event-{n:05}", n * 1_000, {"amount": n}, offset=n, platform_run_id="run1") for n in range(count)]
    write_archive(root, found, per_segment=count, form=form)
    return root / f"transaction/0/00000.{form}"


def repin(root, path, data, **claims):
    """Write other bytes, and let the index pin them; it may also claim something else of them."""
    path.write_bytes(data)
    index = json.loads((root / "index.json").read_text())
    index["segments"][0] |= {"sha256": sha256_of(data), "size": len(data), **claims}
    (root / "index.json").write_text(json.dumps(index))


def one_by_one(root):
    """Offsets, as the law reads them."""
    pinned = ArchiveSource({"transaction": ArchiveMapping(root)}).pin("transaction")
    return [one.number for segment in pinned.segments for one in segment.read()]


def in_batches(root):
    """Offsets, as engines read them: by kernels, as far as these vouch for what they find."""
    pinned = ArchiveSource({"transaction": ArchiveMapping(root)}).pin("transaction")
    wanted = Wanted.of(path for one in TX.fields for path in (one.path,))
    return [int(number) for segment in pinned.segments for batch in segment.batches(wanted) for number in batch.numbers]


WAYS = pytest.mark.parametrize("read", [one_by_one, in_batches])


@WAYS
@pytest.mark.parametrize("form", ["jsonl.gz", "jsonl.zst", "parquet"])
@pytest.mark.parametrize("share", [0.5, 0.98])
def test_a_cut_segment_is_unreadable(tmp_path, read, form, share):
    """The index pins bytes that end too early: the archive was broken before it was indexed."""
    path = make(tmp_path, form)
    data = path.read_bytes()
    repin(tmp_path, path, data[:int(len(data) * share)])
    with pytest.raises(SourceUnreadable, match="00000") as caught:
        read(tmp_path)
    assert caught.value.path is not None


@WAYS
@pytest.mark.parametrize("form", ["jsonl.gz", "jsonl.zst", "parquet"])
def test_a_damaged_frame_or_page_is_no_other_data(tmp_path, read, form):
    """A flipped byte anywhere: an error, or records that are what their hashes say, and none is missing."""
    path = make(tmp_path, form)
    data = path.read_bytes()
    for at in range(12, len(data), max(1, len(data) // 40)):
        repin(tmp_path, path, data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1:])
        try:
            found = read(tmp_path)
        except OfsError as wrong:
            assert wrong.code in {"SOURCE_UNREADABLE", "REPLAY_BASIS_MISMATCH", "RESOURCE_EXCEEDED"}  # noqa: PT017 - or there is none
        else:
            assert len(found) == 400


@WAYS
@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_a_segment_that_is_replaced_is_refused_by_its_digest(tmp_path, read, form):
    """Sound records, and not the pinned ones."""
    path = make(tmp_path / "a", form)
    path.write_bytes(make(tmp_path / "b", form, count=399).read_bytes())
    with pytest.raises(ReplayBasisMismatch):
        read(tmp_path / "a")


def test_a_record_that_is_too_long_is_one_that_cannot_be_decoded(tmp_path):
    """A line of more than 16 MB costs its own record, as on a bus and in Parquet, by kernels as by the law.

    0 ── 1 ── 2 ████████ 17 MB ── 3
    """
    found = [archived(f"event-{n}", n * 1_000, {"amount": n, "note": "x" * (17 << 20 if n == 2 else 1)}, offset=n) for n in range(4)]
    write_archive(tmp_path, found)
    (segment,) = ArchiveSource({"transaction": ArchiveMapping(tmp_path)}).pin("transaction").segments
    assert [(one.number, isinstance(one, Undecodable)) for one in segment.read()] == [(0, False), (1, False), (2, True), (3, False)]
    batches = list(segment.batches(Wanted.of([("amount",)])))
    assert [number for one in batches for number in one.numbers.tolist()] == [0, 1, 2, 3]
    assert [decoded for one in batches for decoded in one.decoded.tolist()] == [True, True, False, True]


@WAYS
def test_a_bomb_is_not_unpacked_to_its_end(tmp_path, monkeypatch, read):
    """Six hundred lines of a megabyte in half a megabyte, and an index that has room for them: the budget of the file ends it."""
    monkeypatch.setattr(budgets, "FREE_BYTES", 1 << 20)
    path = make(tmp_path, "jsonl.gz")
    data = path.read_bytes() + gzip.compress((b" " * 1_000_000 + b"\n") * 10) * 60
    repin(tmp_path, path, data, record_count=1_000, last_offset="999", next_offset="1000")
    with pytest.raises(ResourceExceeded, match="decodes to more than"):
        read(tmp_path)


@WAYS
def test_statistics_that_lie_change_nothing(tmp_path, read):
    """Statistics of Parquet are claims; no reader of segments looks at them.

    statistics of offset    said: 9 … 9        there are 0 … 399, and all of them are read
    """
    path = make(tmp_path, "parquet")
    pq.write_table(pq.read_table(path), path, row_group_size=100, compression="none", use_dictionary=False)
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    forged = data[:footer] + data[footer:].replace(b"event-00000", b"event-00399").replace(b"event-00100", b"event-00399")
    assert forged != data
    repin(tmp_path, path, forged)
    statistics = pq.ParquetFile(pa.BufferReader(forged)).metadata.row_group(0).column(7).statistics
    assert statistics.min == "event-00399"
    assert sorted(read(tmp_path)) == list(range(400))


@WAYS
def test_a_footer_that_counts_wrongly_is_refused(tmp_path, read):
    """What the index counts is what there must be."""
    path = make(tmp_path, "parquet")
    pq.write_table(pq.read_table(path).slice(0, 399), path)
    repin(tmp_path, path, path.read_bytes())
    with pytest.raises(ReplayBasisMismatch):
        read(tmp_path)


def copied(root):
    """Offsets, as a copy has them."""
    copy_archive(root.parent / "copy", "transaction", source=root)
    return one_by_one(root.parent / "copy")


def packed(text, form):
    """A text as a segment."""
    if form == "jsonl.gz":
        return gzip.compress(text)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(text)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("read", [one_by_one, in_batches, copied])
@pytest.mark.parametrize("worth", [0, 1 << 40])
@pytest.mark.parametrize("line", [b"\n", b"{\n", b"[]\n", b'{"topic":"t","partition":0,"offset_kind":"kafka_offset"}\n'])
def test_lines_without_records_are_not_read_to_their_end(tmp_path, monkeypatch, read, line, worth):
    """Millions of them pack into nothing, and each takes as long as a record: neither an index nor a build waits for that."""
    monkeypatch.setattr(budgets, "FREE_MISSES", 1_000)
    for module in (archive, records):
        monkeypatch.setattr(module, "WORTH_A_COMPILER", worth)
    root = tmp_path / "a"
    path = make(root, "jsonl.zst", count=3)
    repin(root, path, packed(line * 20_000, "jsonl.zst"), record_count=20_000, next_offset="20000", last_offset="19999")
    with pytest.raises(ResourceExceeded, match="hold no record"):
        read(root)
    (root / "index.json").unlink()
    with pytest.raises(ResourceExceeded, match="hold no record"):
        index_archive(root)


@pytest.mark.parametrize("form", ["jsonl.zst", "parquet"])
def test_what_a_log_held_is_no_bomb(tmp_path, monkeypatch, form):
    """A log of null values and of garbage, each at its own offset, is copied and indexed, however well it packs."""
    monkeypatch.setattr(budgets, "FREE_MISSES", 100)
    lane = {"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset"}
    rows = [{**lane, "offset": str(n), "payload": "cGluZw==" if n % 2 else None} for n in range(30_000)]
    (tmp_path / "a").mkdir()
    text = "".join(json.dumps(one) + "\n" for one in [archived("e", 1, {"amount": 1}), *rows[1:]]).encode()
    (tmp_path / "a/all.jsonl.gz").write_bytes(gzip.compress(text, 9))
    assert index_archive(tmp_path / "a").records == 30_000
    (copy,) = copy_archive(tmp_path / "b", "transaction", source=tmp_path / "a", form=form).copied
    assert (copy.records, copy.undecodable, copy.null_values) == (30_000, 15_000, 14_999)
    (tmp_path / "b/index.json").unlink()
    assert index_archive(tmp_path / "b").records == 30_000


# --- how files begin ------------------------------------------------------------------------------------------

PACKED = {"jsonl": bytes, "jsonl.gz": gzip.compress, "jsonl.zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True)}


@WAYS
@pytest.mark.parametrize("form", PACKED)
def test_a_byte_order_mark_costs_no_record(tmp_path, read, form):
    """Some tools begin a text of UTF-8 with one, packed or not: it is no part of the first record, and a file of it alone has none."""
    path = make(tmp_path, "jsonl", count=3)
    data = PACKED[form](b"\xef\xbb\xbf" + path.read_bytes())
    index = json.loads((tmp_path / "index.json").read_text())
    index["segments"][0]["path"] = f"transaction/0/00000.{form}"
    (tmp_path / "index.json").write_text(json.dumps(index))
    repin(tmp_path, path.with_name(f"00000.{form}"), data)
    assert read(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize("line", [b"123456789\n", b"1234567890\n", b"1234567890", b"12345678901\n", b"123456789012345\n", b"1\n"])
def test_a_byte_order_mark_makes_no_line_longer(tmp_path, monkeypatch, line):
    """A record may be as long behind a mark as without one."""
    monkeypatch.setattr(text_files, "_LONGEST_LINE", 10)
    for name, mark in (("plain", b""), ("marked", b"\xef\xbb\xbf")):
        (tmp_path / name).write_bytes(mark + line + b"next\n")
    plain, marked = (list(text_files.read_lines(tmp_path / name, cuts=True)) for name in ("plain", "marked"))
    assert plain == marked


def test_a_byte_order_mark_alone_is_an_empty_file(tmp_path):
    """There is no record in it, so no index has it."""
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf")
    assert index_archive(tmp_path).ignored == ("a.jsonl",)


@WAYS
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_text_of_utf16_is_told_as_what_it_is(tmp_path, read, encoding):
    """Not as so many records that nobody can decode."""
    path = make(tmp_path, "jsonl", count=3)
    repin(tmp_path, path, path.read_text().encode(encoding))
    with pytest.raises(SourceUnreadable, match=r"00000\.jsonl is UTF-16; only UTF-8 is read"):
        read(tmp_path)


# --- log times ------------------------------------------------------------------------------------------------

@WAYS
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(("which", "row"), [("first", 0), ("last", 2)])
def test_log_times_that_are_not_the_records_are_told(tmp_path, read, form, which, row):
    """A span of log time is found by the index: where that lies, the span has other records.

    records      00:00.000 … .002
    the index    00:00.000 … .009      a span up to .005 would stop short of the next segment
    """
    make(tmp_path, form, count=3)
    index = json.loads((tmp_path / "index.json").read_text())
    index["segments"][0][f"{which}_log_time_utc"] = "1970-01-01T00:00:00.009000Z"
    (tmp_path / "index.json").write_text(json.dumps(index))
    told = rf"the log took the {which} record of transaction/0/00000\.{form} at 1970-01-01T00:00:00\.00{row}000Z, but .* says .*\.009000Z"
    with pytest.raises(ReplayBasisMismatch, match=told) as caught:
        read(tmp_path)
    assert caught.value.path == f"transaction/0/00000.{form}"


@WAYS
def test_an_index_may_say_no_log_times_and_those_of_what_nobody_can_decode(tmp_path, read):
    """An archiver knows when the log took a record that is broken; its file does not."""
    path = make(tmp_path, "jsonl", count=3)
    lines = path.read_bytes().splitlines(keepends=True)
    repin(tmp_path, path, b"".join([b"x\n", lines[1], b"x\n"]))
    assert 1 in read(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    index["segments"][0] |= {"first_log_time_utc": None, "last_log_time_utc": None}
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert 1 in read(tmp_path)


@WAYS
def test_log_times_of_a_segment_that_shares_its_file_are_its_own(tmp_path, read):
    """Each entry says when the log took its first and last record, whatever stands between these in the file.

    file      0@0  1@0  0@1  1@1          the index of 1: from 1@0 on, until long behind 1@1
    """
    found = [archived(f"e{n}-{partition}", n * 1_000, {"amount": n}, offset=n, partition=partition, platform_run_id="run1",
                      log_us=n * 1_000 + partition) for n in range(2) for partition in range(2)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in found))
    index_archive(tmp_path)
    assert sorted(read(tmp_path)) == [0, 0, 1, 1]
    index = json.loads((tmp_path / "index.json").read_text())
    index["segments"][1]["last_log_time_utc"] = "1970-01-01T01:00:00.000000Z"
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(ReplayBasisMismatch, match=r"the last record of a\.jsonl at .*00:00\.001001Z, but the index says .*01:00"):
        read(tmp_path)
