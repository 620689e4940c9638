"""Files behind a source: which they are, what they hold, and the digest of their bytes (`decisions.md` D9, D14).

One Parquet, CSV or JSON Lines file, or a folder of them, becomes a pinned `FileSet`; CSV and JSON Lines may be packed
(`text_files`). A file is hashed when it is pinned and again just before it is read; what is read must still be what was hashed.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from offline_feature_plane.budgets import MOST_COLUMNS
from offline_feature_plane.errors import OfsError, ReplayBasisMismatch, ResourceExceeded, SourceUnreadable, StorageIoFailure
from offline_feature_plane.found_files import find_files, form_of, told
from offline_feature_plane.parquet_files import MOST_ROWS, describe_parquet, parquet_batches, parquet_members
from offline_feature_plane.plain_files import as_found, open_in_place
from offline_feature_plane.ports.inputs import Form, PinnedFile
from offline_feature_plane.text_files import check_csv, csv_batches, csv_columns, ragged_row, read_json_lines, too_large, unreadable
from offline_feature_plane.threads import two_at_once

Batch = dict[str, pa.Array | list[Any]]

_BLOCK = 1 << 20
_JSON_ROWS = 16_384
_RECOUNT = ("If it is a segment of an archive, correct its entry in index.json, or make that again (`ofs archive index`); else write a new "
            "intent that pins the file as it is.")


@dataclass(frozen=True)
class FileSet:
    """The pinned files of one source, sorted by relative path, and their common columns (name, Arrow type text).

    Columns of CSV are `string`, those of JSON Lines `json`. `members` are what lies inside of Parquet structs, by dotted name.
    """

    form: Form
    files: tuple[PinnedFile, ...]
    columns: tuple[tuple[str, str], ...]
    members: tuple[tuple[str, str], ...] = ()

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """Everything that a mapping can name: columns, and what lies inside of structs."""
        return (*self.columns, *self.members)

    @property
    def rows(self) -> int:
        """Rows of all files together."""
        return sum(file.rows for file in self.files)


def openable_files(path: Path) -> list[str]:
    """The listed names of the files at `path`, each of which can be opened; nothing is read of them.

    Raises:
        SourceUnreadable, RefScopeInvalid: as `found_files.find_files`. StorageIoFailure: one cannot be opened.
    """
    found = find_files(path)
    for _, file in found:
        try:
            open_in_place(file).close()
        except OSError as wrong:
            raise StorageIoFailure(f"{as_found(file)} cannot be opened: {wrong.strerror or wrong}.", path=as_found(file),
                                   fix="Give this user the right to read it.") from wrong
    return [name for name, _ in found]


def pin_files(path: Path, form: str | None = None, *, may_be_empty: bool = False) -> FileSet:
    """Find, hash (`sha256:<hex>`), count and describe the files at `path`: a file, or a folder read recursively without hidden files.

    Raises:
        SourceUnreadable: nothing there, an empty or broken file, mixed formats, different columns, no rows
            (unless there may be none).
        ResourceExceeded: it decodes to far more than is stored. ReplayBasisMismatch: it changes meanwhile.
        RefScopeInvalid: a link that leads out of the folder, or any linked folder.
    """
    found = find_files(path)
    forms = {form_of(file, form) for _, file in found}
    if len(forms) > 1:
        raise SourceUnreadable(f"{as_found(path)} holds files of several formats: {', '.join(sorted(forms))}.", path=as_found(path),
                               fix="Keep one format in a folder, or map each format separately.")
    (kind,) = forms
    begun = [told(file.stat, file) for _, file in found]
    for stat, (_, file) in zip(begun, found, strict=True):
        if not stat.st_size:
            raise SourceUnreadable(f"{as_found(file)} is empty.", path=as_found(file), fix="Write the file again; it has no bytes.")
    described = [_describe(file, kind) for _, file in found]  # what is no such file shows before much of it is hashed
    digests = list(two_at_once(digest_of, [file for _, file in found]))
    for stat, (_, file) in zip(begun, found, strict=True):
        if _HASHED[file][1] != _which(stat):
            raise ReplayBasisMismatch(f"{as_found(file)} changed while it was looked at.", path=as_found(file),
                                      fix="Wait until it is written, then run again.")
    pinned = tuple(PinnedFile(relative, file, digest, rows, stat.st_size)
                   for (relative, file), digest, (rows, _), stat in zip(found, digests, described, begun, strict=True))
    columns = _merged_columns(kind, [(file.relative, columns) for file, (_, columns) in zip(pinned, described, strict=True)])
    if not may_be_empty and not any(file.rows for file in pinned):
        raise SourceUnreadable(f"{as_found(path)} holds no rows.", path=as_found(path), fix="Name a file with at least one row.")
    is_nested = kind == "parquet" and any(text.startswith("struct<") for _, text in columns)
    return FileSet(kind, pinned, columns, _members(pinned[0].path) if is_nested else ())


def parquet_rows(path: Path) -> int:
    """How many rows a Parquet file has, as its footer says. Raises SourceUnreadable, ResourceExceeded."""
    return _describe(path, "parquet")[0]


def check_pins(files: Sequence[PinnedFile]) -> None:
    """Hash every file again and compare it with its pin; call it just before reading.

    Raises:
        ReplayBasisMismatch: a file's bytes are not the pinned ones, or it is gone.
    """
    def matches(file: PinnedFile) -> str | None:
        try:
            return digest_of(file.path)
        except OfsError:
            return None
    for file, digest in zip(files, two_at_once(matches, files), strict=True):
        if digest != file.sha256:
            found = "it cannot be read any more" if digest is None else f"its bytes now are {digest[:19]}…"
            raise ReplayBasisMismatch(f"{as_found(file.path)} was pinned as {file.sha256[:19]}…, {found}.",
                                      path=file.relative, pinned=file.sha256, found=digest)


def read_pinned(files: Sequence[PinnedFile], form: Form, columns: Sequence[str], dictionary: Sequence[str] = ()) -> Iterator[Batch]:
    """Hold every file against its pin, then yield their rows in order; arguments and errors as `read_batches` and `check_pins`."""
    check_pins(files)
    for file in files:
        yield from read_batches(file, form, columns, dictionary)


def read_batches(file: PinnedFile, form: Form, columns: Sequence[str], dictionary: Sequence[str] = (), *,
                 most: int = MOST_ROWS, groups: Mapping[int, int] | None = None) -> Iterator[Batch]:
    """Yield a file's rows in order, as columns: Arrow arrays, or for JSON Lines lists of Python values.

    Args:
        file: a file whose pin was checked.
        form: `parquet`, `csv` or `jsonl`.
        columns: names to read; for JSON Lines a name that a line lacks reads as None.
        dictionary: Parquet text columns to hand out dictionary-encoded.
        most: rows of a batch from Parquet, at most.
        groups: which row groups of Parquet to read, each with its rows; None: all.

    Raises:
        ReplayBasisMismatch: the file changed while it was read, or has more or fewer rows than its pin says.
        SourceUnreadable: it is broken.
    """
    before = stamp_as_hashed(file)
    count = 0
    try:
        for batch in _scan(file.path, form, columns, dictionary, most, None if groups is None else list(groups)):
            count += len(next(iter(batch.values())))
            yield batch
    except SourceUnreadable:
        if _stamp(file) == before:
            raise
    rows = file.rows if groups is None else sum(groups.values())
    if _stamp(file) != before:
        raise ReplayBasisMismatch(f"{as_found(file.path)} changed while it was read.", path=file.relative)
    if count != rows:
        raise ReplayBasisMismatch(f"{as_found(file.path)} has {count} rows; {rows} are pinned.", path=file.relative, fix=_RECOUNT)


def stamp_as_hashed(file: PinnedFile) -> tuple[int, ...]:
    """Which file is there now: the very one that was hashed last, with the pinned digest. Take it before reading, and compare it after.

    Raises:
        ReplayBasisMismatch: another file, or a changed one, is there.
    """
    digest, hashed = _HASHED.get(file.path, ("", None))
    now = _stamp(file)
    if hashed is not None and (digest, hashed) != (file.sha256, now):
        raise ReplayBasisMismatch(f"{as_found(file.path)} changed after it was hashed, before it was read.", path=file.relative)
    return now


def first_value(files: FileSet, column: str) -> Any:
    """The first value of a column that is not null; None if there is none. Raises as `read_batches`."""
    for file in files.files:
        for batch in read_batches(file, files.form, [column]):
            values = batch[column]
            for value in values if isinstance(values, list) else values.drop_null()[:1].to_pylist():
                if value is not None:
                    return value
    return None


# By path: the digest that a file was last found to have, and which file it was then. What is read must be what was hashed, although
# all files of a source are hashed before the first of them is read.
_HASHED: dict[Path, tuple[str, tuple[int, ...]]] = {}


def digest_of(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes; it is remembered as the file that was hashed last. Raises SourceUnreadable."""
    digest = hashlib.sha256()
    try:
        with open_in_place(path) as stream:
            begun = _which(os.fstat(stream.fileno()))
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as wrong:
        unreadable(path, wrong)
    found = f"sha256:{digest.hexdigest()}"
    _HASHED[path] = found, begun
    return found


def _which(found: os.stat_result) -> tuple[int, ...]:
    """Which file it is, in which state: another file, or a written one, has another stamp."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _stamp(file: PinnedFile) -> tuple[int, ...]:
    try:
        found = file.path.stat()
    except OSError as wrong:
        raise ReplayBasisMismatch(f"{as_found(file.path)} is missing: {wrong.strerror or wrong}.", path=file.relative) from wrong
    return _which(found)


def _describe(path: Path, form: Form) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Count a file's rows and name its columns; CSV and JSON Lines are parsed to the end, so that broken text shows at once."""
    columns: tuple[tuple[str, str], ...] = ()
    rows = 0
    if form == "jsonl":
        names: dict[str, None] = {}
        for _, document in read_json_lines(path):
            rows += 1
            names.update(dict.fromkeys(document))
        return rows, tuple((name, "json") for name in sorted(names))
    try:
        if form == "parquet":
            rows, columns = describe_parquet(path)
        else:
            check_csv(path)
            columns = tuple((name, "string") for name in csv_columns(path))
        _check_names(path, [name for name, _ in columns])
        if form == "csv":
            rows = sum(batch.num_rows for batch in csv_batches(path, [name for name, _ in columns], None))
    except pa.ArrowInvalid as wrong:
        if form == "csv" and columns and (ragged := ragged_row(path, len(columns))) is not None:
            raise ragged from wrong
        unreadable(path, wrong)
    except MemoryError as wrong:
        too_large(path, wrong)
    except (pa.ArrowException, OSError, EOFError, ValueError, zlib.error) as wrong:
        unreadable(path, wrong)
    return rows, columns


def _members(path: Path) -> tuple[tuple[str, str], ...]:
    try:
        return parquet_members(path)
    except MemoryError as wrong:
        too_large(path, wrong)
    except (pa.ArrowException, OSError, EOFError, ValueError) as wrong:
        unreadable(path, wrong)


def _check_names(path: Path, names: Sequence[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise ResourceExceeded(f"{as_found(path)} has {len(names):,} columns; the limit is {MOST_COLUMNS:,}.", path=as_found(path),
                               fix="Write a file with the columns that are needed.")
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise SourceUnreadable(f"{as_found(path)} has several columns named {', '.join(twice)}.", path=as_found(path),
                               fix="Give every column its own name.")


def _merged_columns(form: Form, described: Sequence[tuple[str, tuple[tuple[str, str], ...]]]) -> tuple[tuple[str, str], ...]:
    first_name, first = described[0]
    if form == "jsonl":
        return tuple((name, "json") for name in sorted({name for _, columns in described for name, _ in columns}))
    for name, columns in described[1:]:
        here, there = dict(columns), dict(first)
        unlike = sorted(column for column in {*here, *there} if here.get(column) != there.get(column))
        if unlike:
            column = unlike[0]
            both = column in here and column in there
            told = f"{column} is {here[column]} in {name} and {there[column]} in {first_name}" if both else \
                f"{column} is in {name if column in here else first_name}, but not in {first_name if column in here else name}"
            raise SourceUnreadable(f"the files of a folder have different columns: {told}.", path=name,
                                   fix="All files of a folder need the same columns with the same types.")
    return first


def _scan(path: Path, form: Form, columns: Sequence[str], dictionary: Sequence[str], most: int,
          groups: Sequence[int] | None) -> Iterator[Batch]:
    if form == "jsonl":
        yield from _scan_json(path, columns)
        return
    try:
        if form == "parquet":
            yield from parquet_batches(path, columns, dictionary, most, groups)
        else:
            for batch in csv_batches(path, csv_columns(path), columns):
                if batch.num_rows:
                    yield {name: batch.column(name) for name in columns}
    except MemoryError as wrong:
        too_large(path, wrong)
    except (pa.ArrowException, OSError, EOFError, ValueError, zlib.error) as wrong:
        unreadable(path, wrong)


def _scan_json(path: Path, columns: Sequence[str]) -> Iterator[Batch]:
    lists: dict[str, list[Any]] = {name: [] for name in columns}
    rows = 0
    for _, document in read_json_lines(path):
        for name, values in lists.items():
            values.append(document.get(name))
        rows += 1
        if rows == _JSON_ROWS:
            yield dict(lists)
            lists, rows = {name: [] for name in columns}, 0
    if rows:
        yield dict(lists)
