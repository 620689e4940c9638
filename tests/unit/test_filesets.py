"""Files behind a source: found, hashed, counted, and refused when they are not whole."""

import gzip
import hashlib
import os
import re
import socket
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_feature_plane import parquet_files, text_files
from offline_feature_plane.errors import OfsError, RefScopeInvalid, ReplayBasisMismatch, ResourceExceeded, SourceUnreadable
from offline_feature_plane.filesets import check_pins, pin_files, read_batches


def parquet(path, **columns):
    """Write a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def zstd(text):
    """A text as one frame."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as frame:
        frame.write(text)
    return sink.getvalue().to_pybytes()


def packed(name, text):
    """A text as a file of this name holds it."""
    return gzip.compress(text) if name.endswith("gz") else zstd(text) if name.endswith("zst") else text


def test_a_file_is_pinned_by_the_digest_of_its_bytes(tmp_path):
    """The pin says form, rows, size, columns and `sha256:<hex>`."""
    path = parquet(tmp_path / "a.parquet", id=[1, 2], name=["x", None])
    pinned = pin_files(path)
    (file,) = pinned.files
    assert (pinned.form, pinned.rows, pinned.columns) == ("parquet", 2, (("id", "int64"), ("name", "string")))
    assert (file.relative, file.sha256) == ("a.parquet", f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")


def test_a_folder_is_read_recursively_in_path_order_without_hidden_files(tmp_path):
    """Order is by relative path, so it does not depend on the file system."""
    for name in ("b.parquet", "a/z.parquet", "a.parquet"):
        parquet(tmp_path / name, id=[1])
    for name in (".hidden.parquet", "_SUCCESS", ".git/x.parquet"):
        parquet(tmp_path / name, other=["x"])
    assert [file.relative for file in pin_files(tmp_path).files] == ["a.parquet", "a/z.parquet", "b.parquet"]


def test_csv_is_text_and_an_empty_field_is_null(tmp_path):
    """Quotes and line ends inside fields follow RFC 4180; nothing is guessed."""
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffid,"a ""b""",c\r\n007,"x\ny",\r\n1,"",é\r\n'.encode())
    pinned = pin_files(path)
    assert pinned.columns == (("id", "string"), ('a "b"', "string"), ("c", "string"))
    (batch,) = read_batches(pinned.files[0], "csv", ["id", 'a "b"', "c"])
    assert [column.to_pylist() for column in batch.values()] == [["007", "1"], ["x\ny", None], [None, "é"]]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_json_lines_keep_numbers_exact_and_know_every_key(tmp_path, name):
    """Eighteen digits survive; a key that a line lacks reads as absent; blank lines are no rows."""
    text = b'{"a": 1234567890123456.78}\n\n{"b": {"c": 12345678901234567890}}\n'
    (tmp_path / name).write_bytes(packed(name, text))
    pinned = pin_files(tmp_path / name)
    assert (pinned.rows, pinned.columns) == (2, (("a", "json"), ("b", "json")))
    (batch,) = read_batches(pinned.files[0], "jsonl", ["a", "b"])
    assert batch == {"a": [Decimal("1234567890123456.78"), None], "b": [None, {"c": 12345678901234567890}]}


@pytest.mark.parametrize(("name", "data"), [
    ("a.csv", b""), ("a.csv", b"a,b\n"), ("a.csv", b"a,b\n1\n"), ("a.csv", b"a,b\n1,\xff\n"), ("a.csv", b"a,a\n1,2\n"),
    ("a.csv", b"\xff\n1\n"),
    ("a.csv.zst", b"no zstd"), ("a.csv.zst", zstd(b"a\n1\n" * 99)[:-1]), ("a.csv.zst", zstd(b"a\n1\n") + b"more"),
    ("a.jsonl.zst", zstd(b'{"a": 1}\n')[:-1]), ("a.jsonl.zst", zstd(b'{"a": 1}\n') + b"more"), ("a.jsonl.zst", b""),
    ("a.csv.gz", b"no gzip"), ("a.csv.gz", gzip.compress(b"a\n1\n" * 99, mtime=0)[:-9]), ("a.jsonl", b"{"), ("a.jsonl", b"[1]\n"),
    ("a.jsonl", b'{"a": NaN}\n'),
    ("a.jsonl", b'{"a": 1, "a": 2}\n'), ("a.jsonl", b'{"a": "\xff"}\n'), ("a.jsonl", b"[" * 100_000), ("a.jsonl", b"\n\n"),
    ("a.parquet", b"PAR1"),
    ("a.parquet", b"x" * 100), ("a.xlsx", b"x")])
def test_broken_empty_and_foreign_files_are_refused_with_advice(tmp_path, name, data):
    """Bad input ends in SOURCE_UNREADABLE with a place and a remedy, never in a foreign traceback."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceUnreadable) as caught:
        pin_files(tmp_path / name)
    assert caught.value.path
    assert caught.value.fix


@pytest.mark.parametrize(("data", "words"), [
    (b"a;b\n1,5;2\n", "separated by semicolons; only commas"), (b"a\tb\n1\t2\n", "separated by tabs"), (b"a|b\n1|2\n", "separated by bars"),
    (b"a,b\n1,2\n\xe9,3\n", "not UTF-8: line 3 holds the byte 0xe9"), (b"a,b\n1,\xc3", "not UTF-8: line 2"),
    ("a,b\n1,2\n".encode("utf-16"), "not UTF-8: line 1 holds the byte 0xff"),
    (b'a,b\n"C"1,2\n', "line 2 of .*text follows a closing quote"), (b'a,b\n"x\ny" ,2\n', "line 3 of .*text follows"),
    (b'"a"x,b\n1,2\n', "line 1 of .*text follows"), (b'a,b\n1,2\n"3,4\n5,6\n', "line 3 of .*never closes")])
def test_csv_that_a_lenient_reader_would_mend_is_refused_by_line(tmp_path, data, words):
    """Other separators, other encodings and text behind a closing quote are named for what they are."""
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(SourceUnreadable, match=words) as caught:
        pin_files(tmp_path / "a.csv")
    assert re.search(r"a\.csv:\d+$", caught.value.path)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_lawful_quotes_are_read_wherever_blocks_end(tmp_path, monkeypatch, block):
    """Doubled quotes, line ends in fields, quotes inside of bare fields, no line end at the end: all RFC 4180 or harmless."""
    monkeypatch.setattr(text_files, "_BLOCK", block)
    (tmp_path / "a.csv").write_bytes(b'"a;b",b\r\n"x ""y""",5" pipe\r\n"1\r\n2",""""\r\nc""d,"z"')
    text_files.check_csv(tmp_path / "a.csv")
    monkeypatch.undo()
    pinned = pin_files(tmp_path / "a.csv")
    (batch,) = read_batches(pinned.files[0], "csv", ["a;b", "b"])
    assert [column.to_pylist() for column in batch.values()] == [['x "y"', "1\r\n2", 'c""d'], ['5" pipe', '"', "z"]]


def test_a_parquet_file_that_is_cut_anywhere_never_reads(tmp_path):
    """Truncation is found when the file is pinned."""
    data = parquet(tmp_path / "a.parquet", id=list(range(100))).read_bytes()
    for keep in range(0, len(data), 37):
        (tmp_path / "cut.parquet").write_bytes(data[:keep])
        with pytest.raises(SourceUnreadable):
            pin_files(tmp_path / "cut.parquet")


def test_mixed_forms_unlike_columns_and_missing_paths_are_refused(tmp_path):
    """A folder holds one kind of file with one set of columns."""
    parquet(tmp_path / "mixed/a.parquet", id=[1])
    (tmp_path / "mixed/b.csv").write_text("id\n1\n")
    parquet(tmp_path / "unlike/a.parquet", id=[1])
    parquet(tmp_path / "unlike/b.parquet", id=["1"])
    (tmp_path / "empty").mkdir()
    for name, words in (("mixed", "several formats"), ("unlike", "id is string in b.parquet and int64 in a.parquet"),
                        ("nothing", "there is no file"), ("empty", "no file")):
        with pytest.raises(SourceUnreadable, match=words):
            pin_files(tmp_path / name)


def test_links_out_of_the_folder_are_refused(tmp_path):
    """A folder never opens anything outside of itself."""
    outside = parquet(tmp_path / "outside/a.parquet", id=[1])
    parquet(tmp_path / "inside/b.parquet", id=[1])
    (tmp_path / "inside/link.parquet").symlink_to(outside)
    with pytest.raises(RefScopeInvalid):
        pin_files(tmp_path / "inside")
    (tmp_path / "inside/link.parquet").unlink()
    (tmp_path / "inside/folder").symlink_to(outside.parent)
    with pytest.raises(RefScopeInvalid):
        pin_files(tmp_path / "inside")


def test_a_file_that_changed_after_it_was_pinned_is_not_read(tmp_path):
    """Same size and same times do not help: bytes are hashed again. A file that is gone is a mismatch too."""
    path = tmp_path / "a.csv"
    path.write_text("id\n1\n")
    files = pin_files(path).files
    check_pins(files)
    times = path.stat()
    path.write_text("id\n2\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ReplayBasisMismatch):
        check_pins(files)
    path.unlink()
    with pytest.raises(ReplayBasisMismatch):
        check_pins(files)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path):
    """What was hashed is what is read, from the first batch to the last."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 20_000)
    (file,) = pin_files(path).files
    batches = read_batches(file, "jsonl", ["a"])
    next(batches)
    with path.open("a") as stream:
        stream.write('{"a": 2}\n')
    with pytest.raises(OfsError) as caught:
        list(batches)
    assert caught.value.code == "REPLAY_BASIS_MISMATCH"


def test_names_are_listed_composed_and_must_be_text(tmp_path):
    """A decomposed file name is listed composed, as it would be on another system; a name that is no UTF-8 is refused."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "zahlungen-u\u0308ber.csv").write_text("id\n1\n")
    assert [file.relative for file in pin_files(folder).files] == ["zahlungen-\u00fcber.csv"]
    Path(os.fsdecode(os.fsencode(folder) + b"/x\xff.csv")).write_text("id\n1\n")
    with pytest.raises(SourceUnreadable, match="not UTF-8"):
        pin_files(folder)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst"])
def test_a_ragged_row_is_told_with_its_line(tmp_path, name):
    """Quoted line ends count, blank lines too: the line is the one that an editor shows."""
    text = b'a,b\n1,"x\ny"\n\n1,2,3\n4\n'
    (tmp_path / name).write_bytes(packed(name, text))
    with pytest.raises(SourceUnreadable, match=r"line 5 of .* has 3 fields, the header 2") as caught:
        pin_files(tmp_path / name)
    assert caught.value.path == f"{tmp_path / name}:5"


def test_a_column_that_one_file_lacks_is_told_with_both_files(tmp_path):
    """Unlike files name the column, and which file has it."""
    parquet(tmp_path / "a.parquet", id=[1])
    parquet(tmp_path / "b.parquet", id=[1], more=[2])
    with pytest.raises(SourceUnreadable, match=r"more is in b\.parquet, but not in a\.parquet"):
        pin_files(tmp_path)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path):
    """A pipe that nobody writes to, a socket or a device is told at once, alone or in a folder of data."""
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data/pipe.parquet")
    parquet(tmp_path / "more/a.parquet", id=[1])
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.path.relpath(tmp_path / "more/b.parquet"))
        for path in ("data/pipe.parquet", "data", "more", "/dev/null"):
            with pytest.raises(SourceUnreadable, match="a pipe, a socket or a device"):
                pin_files(tmp_path / path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_a_line_without_an_end_is_not_read_to_its_end(tmp_path, name, monkeypatch):
    """What is longer than a record may be is refused with file and line."""
    monkeypatch.setattr(text_files, "_LONGEST_LINE", 100)
    text = b'{"a": 1}\n' + b" " * 1_000
    (tmp_path / name).write_bytes(packed(name, text))
    with pytest.raises(ResourceExceeded, match="line 2 of") as caught:
        pin_files(tmp_path / name)
    assert caught.value.path == f"{tmp_path / name}:2"


def test_a_file_that_changes_after_all_were_hashed_is_not_read(tmp_path):
    """Between the hash of the last file and the read of it, it is rewritten, replaced, or touched: what is read is what was hashed."""
    for change in ("rewrite", "replace"):
        folder = tmp_path / change
        for name in ("a.parquet", "b.parquet"):
            parquet(folder / name, id=[1, 2])
        files = pin_files(folder).files
        check_pins(files)
        list(read_batches(files[0], "parquet", ["id"]))
        parquet(folder / ("b.parquet" if change == "rewrite" else ".c.parquet"), id=[3, 4])
        if change == "replace":
            (folder / ".c.parquet").rename(folder / "b.parquet")
        with pytest.raises(ReplayBasisMismatch, match="after it was hashed"):
            list(read_batches(files[1], "parquet", ["id"]))


def test_a_touched_file_is_the_same_file_once_it_is_hashed_again(tmp_path):
    """Another time stamp on the same bytes is no other basis."""
    path = parquet(tmp_path / "a.parquet", id=[1, 2])
    (file,) = pin_files(path).files
    os.utime(path)
    check_pins([file])
    assert list(read_batches(file, "parquet", ["id"]))


@pytest.mark.parametrize("error", [MemoryError(), pa.ArrowMemoryError("realloc of size 1 failed")])
def test_too_little_memory_is_a_refusal(tmp_path, monkeypatch, error):
    """A file that this machine cannot take is refused with advice, while it is described and while it is read."""
    path = parquet(tmp_path / "a.parquet", id=[1, 2])
    (file,) = pin_files(path).files
    def fail(*_, **__):
        raise error
    monkeypatch.setattr(parquet_files.pq, "ParquetFile", fail)
    for act in (lambda: pin_files(path), lambda: list(read_batches(file, "parquet", ["id"]))):
        with pytest.raises(ResourceExceeded, match="more memory"):
            act()


def test_texts_stored_as_differences_are_read_like_others(tmp_path):
    """Columns that are wanted as dictionaries come as they can: Arrow makes none of texts that are stored as differences."""
    table = pa.table({"a": ["x", "y", "x"], "b": ["u", "u", "v"]})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=["b"], column_encoding={"a": "DELTA_BYTE_ARRAY"})
    (file,) = pin_files(tmp_path / "a.parquet").files
    (batch,) = read_batches(file, "parquet", ["a", "b"], dictionary=["a", "b"])
    assert [batch["a"].to_pylist(), batch["b"].to_pylist()] == [["x", "y", "x"], ["u", "u", "v"]]
    assert [str(batch[name].type).startswith("dictionary") for name in ("a", "b")] == [False, True]


def test_rows_are_decoded_few_at_a_time_until_they_are_known_to_be_small(tmp_path):
    """Batches grow while rows are small, and shrink when they are large: rows of a megabyte never come by the thousand."""
    parquet(tmp_path / "a.parquet", small=["x"] * 400_000)
    pq.write_table(pa.table({"large": ["x" * 1_000_000] * 120}), tmp_path / "b.parquet", use_dictionary=False, compression="none")
    for name, most in (("a", 131_072), ("b", 67)):
        (file,) = pin_files(tmp_path / f"{name}.parquet").files
        sizes = [len(next(iter(batch.values()))) for batch in read_batches(file, "parquet", ["small" if name == "a" else "large"])]
        assert sizes[:2] == [8, 32]
        assert max(sizes) <= most
        assert sum(sizes) == file.rows


def test_frames_of_zstd_follow_each_other_and_a_frame_may_be_skipped(tmp_path):
    """Parallel compressors write many frames, and frames for their own use between them."""
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(zstd(b'{"a": 1}\n{"a"') + b"\x50\x2a\x4d\x18\x02\x00\x00\x00hi" + zstd(b": 2}\n"))
    (batch,) = read_batches(pin_files(path).files[0], "jsonl", ["a"])
    assert batch == {"a": [1, 2]}


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_what_unpacks_to_far_more_than_is_stored_is_refused(tmp_path, name):
    """Half a gigabyte of blanks in a few kilobytes is not unpacked to its end."""
    (tmp_path / name).write_bytes(packed(name, b'{"a": 1}\n' + (b" " * 1_000_000 + b"\n") * 500))
    with pytest.raises(ResourceExceeded, match="decodes to more than"):
        pin_files(tmp_path / name)
