"""CSV and JSON Lines files, plain or packed, read strictly: UTF-8, RFC 4180 with commas and a header, one JSON object a line.

Every CSV column is text and an empty field is null. JSON numbers are kept exact (`int`, else `Decimal`).
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, NoReturn, cast

import pyarrow as pa
import pyarrow.csv

from offline_feature_plane.budgets import RECORD_BYTES, Budget
from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES, load_json
from offline_feature_plane.domain.usual_json import Unusual, read_usual
from offline_feature_plane.errors import ResourceExceeded, SchemaInvalid, SourceUnreadable
from offline_feature_plane.plain_files import as_found, open_in_place

Packing = Literal["plain", "gz", "zst"]

_BLOCK = 1 << 20
_LONGEST_LINE = MAX_DOCUMENT_BYTES
_LONGEST_FIELD = 8 * _BLOCK  # Arrow's reader takes no longer ones either
_QUOTED = re.compile(rb'"(?:[^"]++|"")*+"')
_SOUND = re.compile(rb'(?:[^"]++|(?<=[^,\r\n])"|' + _QUOTED.pattern + rb"(?=[,\r\n]))*+")  # a quote inside of a bare field is text
_WIDE, _WIDE_BRACES = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), (b"{\0", b"\0{")  # how texts of UTF-16 begin
_SEPARATORS = {b";": "semicolons", b"\t": "tabs", b"|": "bars"}


def unreadable(path: Path, wrong: BaseException) -> NoReturn:
    """Raise SourceUnreadable for what a reader or the file system said."""
    said = (getattr(wrong, "strerror", None) or str(wrong).strip() or type(wrong).__name__).removesuffix(".")
    said = re.sub(r"(CSV parse error: .*?, got \d+):.*", r"\1", said, flags=re.DOTALL)  # what follows is the row
    raise SourceUnreadable(f"{as_found(path)} cannot be read: {said}.", path=as_found(path),
                           fix="Check that the file is whole, readable, and of the format that its name or `format:` in plane.yaml says."
                           ) from wrong


def too_large(path: Path, wrong: BaseException) -> NoReturn:
    """Raise ResourceExceeded for a file that this machine's memory cannot take."""
    raise ResourceExceeded(f"{as_found(path)} needs more memory than this machine has.", path=as_found(path),
                           fix="Write the file with smaller row groups or in several files, or take a larger machine.") from wrong


def load_object(line: bytes | str) -> dict[str, Any]:
    """Read one JSON object strictly, its numbers exactly (`int` or `Decimal`).

    Raises:
        SchemaInvalid: not one. ResourceExceeded: beyond the budgets of `load_json`.
    """
    try:
        text = line.decode() if isinstance(line, bytes) else line if line.isascii() else line.encode().decode()  # no half surrogate passes
        document = read_usual(text, exact=True) if len(line) <= MAX_DOCUMENT_BYTES else None
    except (Unusual, ValueError, ArithmeticError, RecursionError):
        document = None
    if document is None:  # something needs a second look
        document = load_json(line, numbers="decimal")
    if not isinstance(document, dict):
        raise SchemaInvalid(f"an object is expected, not {type(document).__name__}.")
    return document


def may_be_object(line: bytes) -> bool:
    """Can a line be a JSON object? Quick: a file may have millions of lines that are none.

    >>> may_be_object(b' {"a": 1}'), may_be_object(b"  "), may_be_object(b"[1]")
    (True, False, False)
    """
    return line.lstrip(b" \t\r\n").startswith(b"{")


def packing_of(name: str) -> Packing:
    """How a text file is packed, as its name says.

    >>> packing_of("a.jsonl.zst"), packing_of("a.csv")
    ('zst', 'plain')
    """
    name = name.lower()
    return "gz" if name.endswith(".gz") else "zst" if name.endswith(".zst") else "plain"


def without_mark(begin: bytes, path: Path) -> bytes:
    r"""The first bytes of a text without the byte order mark that some tools put there.

    Raises:
        SourceUnreadable: it is UTF-16.

    >>> without_mark(b"\xef\xbb\xbf{}", Path("a.jsonl"))
    b'{}'
    """
    if begin.startswith(_WIDE) or begin[:2] in _WIDE_BRACES:
        raise SourceUnreadable(f"{as_found(path)} is UTF-16; only UTF-8 is read.", path=as_found(path), fix="Save the file as UTF-8.")
    return begin.removeprefix(codecs.BOM_UTF8)


def read_lines(path: Path, *, packing: Packing | None = None, cuts: bool = False) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of every line, none of which is read further than a record may be long.

    Args:
        path: the file.
        packing: as in `opened`.
        cuts: of a line that is longer one byte more than that is given, which no reader of records decodes; else it is an error.

    Raises:
        SourceUnreadable: as `without_mark`.
        ResourceExceeded: a line is too long, or the file decodes to more than its budget. OSError, EOFError, zlib.error: it is broken.
    """
    with opened(path, packing=packing) as stream:
        budget = Budget(path, path.stat().st_size)
        for number, line in enumerate(iter(partial(stream.readline, _LONGEST_LINE + 1), b""), 1):
            if number == 1 and not (line := _first(stream, line, path)):
                return
            is_long = len(line) > _LONGEST_LINE
            if is_long and not cuts:
                raise _too_long(path, number)
            budget.take(max(len(line), RECORD_BYTES))
            if is_long:
                _pass_over(stream, line, budget)
            yield number, line


def _first(stream: IO[bytes], line: bytes, path: Path) -> bytes:
    """The first line, as long as any may be without the mark before it. Raises as `without_mark`."""
    text = without_mark(line, path)
    return text if len(text) == len(line) or text.endswith(b"\n") else text + stream.readline(len(line) - len(text))


def _pass_over(stream: IO[bytes], line: bytes, budget: Budget) -> None:
    """Read to the end of a line."""
    while line and not line.endswith(b"\n"):
        line = stream.readline(_BLOCK)
        budget.take(len(line))


def _too_long(path: Path, line: int) -> ResourceExceeded:
    """The error about a line that is longer than any record may be."""
    return ResourceExceeded(f"line {line} of {as_found(path)} is longer than {_LONGEST_LINE:,} bytes.", path=f"{as_found(path)}:{line}",
                            fix="Write one record per line, with a line end after each, and check that this is the right file.")


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number (from 1) and object of every line that is not blank.

    Raises:
        SourceUnreadable: a line that is not a JSON object, text that is not UTF-8, a broken gzip stream.
        ResourceExceeded: as `read_lines`.
    """
    number = 0
    try:
        for number, line in read_lines(path):
            if line.isspace():
                continue
            try:
                document = load_object(line)
            except (SchemaInvalid, ResourceExceeded) as wrong:
                raise SourceUnreadable(f"line {number} of {as_found(path)}: {wrong.what}", path=f"{as_found(path)}:{number}",
                                       fix="Write one JSON object per line, in UTF-8, without NaN or repeated keys.") from wrong
            yield number, document
    except (OSError, EOFError, zlib.error) as wrong:
        unreadable(path, wrong)


def check_csv(path: Path) -> None:
    """Look for what a CSV reader would silently correct or report unclearly.

    Raises:
        SourceUnreadable: text that is not UTF-8, text behind a closing quote, a quote that never closes; with the line.
        ResourceExceeded: a line that never ends.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, rest, before = 1, b"", b"\n"  # lines so far; an open quoted field, and the byte in front of it
    unended = 0  # bytes since the last line end
    with opened(path) as stream:
        while True:
            block = stream.read(_BLOCK)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as wrong:
                line = lines + rest.count(b"\n") + wrong.object.count(b"\n", 0, wrong.start)
                raise SourceUnreadable(f"{as_found(path)} is not UTF-8: line {line} holds the byte 0x{wrong.object[wrong.start]:02x}.",
                                       path=f"{as_found(path)}:{line}", fix="Save the file as UTF-8.") from None
            data = before + rest + (block.removeprefix(codecs.BOM_UTF8) if before == b"\n" and lines == 1 and not rest else block)
            end = _sound_until(path, data, lines, last=not block)
            if not block:
                return
            lines, rest, before = lines + data.count(b"\n", 1, end), data[end:], data[end - 1:end]
            ended = max(block.rfind(b"\n"), block.rfind(b"\r"))
            unended = len(block) - 1 - ended + (unended if ended < 0 else 0)
            if unended > _LONGEST_LINE:
                raise _too_long(path, lines)


def _sound_until(path: Path, data: bytes, line: int, *, last: bool) -> int:
    """Up to where the quotes of some CSV text are in order; what follows, if anything, is a quoted field that is not over yet.

    Args:
        path: for the message.
        data: one byte that was read before, then text that begins outside of quotes.
        line: the line in which it begins.
        last: nothing follows.
    """
    found = _SOUND.match(data, 1) if b'"' in data else None
    end = len(data) if found is None else found.end()
    if end == len(data):
        return end
    quoted = _QUOTED.match(data, end)
    if quoted is not None and quoted.end() < len(data):
        what, at = "text follows a closing quote", quoted.end()
    elif (last and quoted is None) or len(data) - end > _LONGEST_FIELD:
        what, at = "a quote opens and never closes", end
    else:
        return end
    line += data.count(b"\n", 1, at)
    raise SourceUnreadable(f"line {line} of {as_found(path)}: {what}.", path=f"{as_found(path)}:{line}",
                           fix='Write a quote inside of a quoted field twice (""), and nothing between the closing quote and the comma.')


def csv_columns(path: Path) -> list[str]:
    """The names in a CSV file's header. Raises SourceUnreadable if something other than commas separates them."""
    with opened(path) as stream:
        header = stream.readline(_BLOCK).removeprefix(codecs.BOM_UTF8)
    bare = _QUOTED.sub(b"", header)
    other = max(_SEPARATORS, key=bare.count)
    if b"," not in bare and other in bare:
        raise SourceUnreadable(f"the header of {as_found(path)} is separated by {_SEPARATORS[other]}; only commas are read.",
                               path=f"{as_found(path)}:1",
                               fix="Write the file with commas between its fields.")
    texts = {f"f{number}": pa.string() for number in range(header.count(b",") + 1)}
    table = pyarrow.csv.read_csv(pa.BufferReader(header),
                                 read_options=pyarrow.csv.ReadOptions(autogenerate_column_names=True, use_threads=False),
                                 convert_options=pyarrow.csv.ConvertOptions(column_types=texts))
    return [column[0].as_py() or "" for column in table.columns]


def csv_batches(path: Path, names: Sequence[str], wanted: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """Some columns, or all, of a CSV file with these names."""
    with opened(path) as stream, pyarrow.csv.open_csv(
            pa.PythonFile(stream, "r"),
            read_options=pyarrow.csv.ReadOptions(block_size=4 * _BLOCK),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True,
                include_columns=list(wanted) if wanted is not None else None)) as batches:
        yield from batches


def ragged_row(path: Path, width: int) -> SourceUnreadable | None:
    """The first row of a CSV file that has more or fewer fields than the header, reported with its line; None if no row has."""
    try:
        with opened(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            rows = csv.reader(text)
            begin = 1
            for row in rows:
                if row and len(row) != width:
                    return SourceUnreadable(f"line {begin} of {as_found(path)} has {len(row)} fields, the header {width}.",
                                            path=f"{as_found(path)}:{begin}",
                                            fix="Give every line as many fields as the header; put quotes around text with a comma.")
                begin = rows.line_num + 1
    except (csv.Error, OSError, EOFError, ValueError, zlib.error):  # the caller has already reported the broken file
        pass
    return None


def opened(path: Path, *, packing: Packing | None = None) -> IO[bytes]:
    """The bytes of a text file at a resolved path, unpacked as the caller says, else as its name does. Raises OSError.

    Reading raises ResourceExceeded when they unpack to more than the file's budget; OSError, EOFError or zlib.error where a stream is cut
    off or damaged.
    """
    stream = open_in_place(path)
    packed = packing_of(path.name) if packing is None else packing
    if packed == "plain":
        return io.BufferedReader(cast("io.RawIOBase", stream), _BLOCK)
    budget = Budget(path, os.fstat(stream.fileno()).st_size)
    return io.BufferedReader(_Unzipped(stream, budget) if packed == "gz" else _Unpacked(stream, budget), _BLOCK)


class _Unzipped(gzip.GzipFile):
    """Spends a budget, and closes the file that it reads, too."""

    def __init__(self, stream: BinaryIO, budget: Budget) -> None:
        self._budget = budget
        super().__init__(fileobj=stream, mode="rb")

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes. Raises ResourceExceeded."""
        data = super().read(size)
        self._budget.take(len(data))
        return data

    def close(self) -> None:
        """Close both."""
        inner: Any = self.fileobj
        super().close()
        if inner is not None:
            inner.close()


class _Unpacked(io.RawIOBase):
    """The frames of a zstd file, one after the other. Arrow unpacks them, and says where one is cut off."""

    def __init__(self, stream: BinaryIO, budget: Budget) -> None:
        self._stream, self._budget = stream, budget
        self._frames = pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes. Raises OSError, ResourceExceeded."""
        data = self._frames.read(len(buffer))
        self._budget.take(len(data))
        buffer[:len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file, too."""
        if not self.closed:
            self._frames.close()
            self._stream.close()
        super().close()
