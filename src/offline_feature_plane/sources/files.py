"""Plain tables: the user's own files as events, without offsets (`decisions.md` D14, D16)."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extraction import to_instant
from offline_feature_plane.domain.identity import files_log_id
from offline_feature_plane.domain.zones import named_zone
from offline_feature_plane.errors import ReplayEventInvalid, SettingsInvalid, SourceColumnUnknown, SourceTypeMismatch, TimeZoneUndeclared
from offline_feature_plane.filesets import FileSet, first_value, pin_files, read_batches
from offline_feature_plane.ports import PlainTable

_INTEGER = re.compile(r"u?int(8|16|32|64)")
_TEXT = re.compile(r"(large_)?string(_view)?|dictionary<values=(large_)?string, .*>")


@dataclass(frozen=True)
class TableMapping:
    """How plane.yaml maps a file or folder to events: which column is the time, which the id, and in which zone times were written.

    `history_start_us` is the declared beginning of complete history (`decisions.md` D19); `form` overrides what the file name says.
    """

    path: Path
    time: str
    id: str | None = None
    zone: str | None = None
    history_start_us: int | None = None
    form: str | None = None


class PlainTableSource:
    """Pins plain tables. Their basis is the whole pinned set of files; there are no selectors."""

    name = "files"
    version = "1"

    def pin(self, name: str, mapping: TableMapping) -> PlainTable:
        """Find the files, hash them, and check the mapping against their columns.

        Args:
            name: the event type that plane.yaml gives the table.
            mapping: where it is and which columns matter.

        Raises:
            SourceUnreadable, RefScopeInvalid: the files. SourceColumnUnknown: a mapped column does not exist.
            TimeZoneUndeclared: times without zone. SourceTypeMismatch: the time or id column is of no such type.
            SettingsInvalid: one column mapped twice, or no such zone.
        """
        where = f"events.{name}"
        if mapping.id is not None and mapping.id == mapping.time:
            raise SettingsInvalid(f"{mapping.id} is mapped both as id and as time.", path=where, fix="Map two columns, or leave `id` out.")
        if mapping.zone is not None and mapping.zone != "UTC":
            named_zone(mapping.zone)
        files = pin_files(mapping.path, mapping.form)
        columns = dict(files.columns)
        for role, column in (("time", mapping.time), ("id", mapping.id)):
            if column is not None and column not in columns:
                raise unknown_column(column, columns, f"{where}.{role}", str(mapping.path))
        _check_time(files, mapping, columns[mapping.time], f"{where}.time")
        id_type = ColumnType("string") if mapping.id is None else _id_type(files, mapping.id, columns[mapping.id], f"{where}.id")
        log_id = files_log_id((file.relative, file.rows, file.sha256) for file in files.files)
        return PlainTable(name, log_id, files.form, files.files, mapping.id, id_type, mapping.time, mapping.zone, files.columns)


def unknown_column(column: str, known: Any, path: str, place: str) -> SourceColumnUnknown:
    """The error for a column that does not exist, with the nearest names."""
    near = difflib.get_close_matches(column, list(known), n=2, cutoff=0.5)
    fix = f"Did you mean {' or '.join(near)}?" if near else f"Columns: {', '.join(known)}."
    return SourceColumnUnknown(f"{place} has no column {column!r}.", path=path, fix=fix)


def _check_time(files: FileSet, mapping: TableMapping, kind: str, path: str) -> None:
    if kind.startswith("timestamp"):
        if "tz=" not in kind and mapping.zone is None:
            raise TimeZoneUndeclared(f"{mapping.time} is {kind}, without a zone.", path=path)
        return
    if kind.startswith("date"):
        raise SourceTypeMismatch(f"{mapping.time} is {kind}: a day, and no instant.", path=path,
                                 fix="Write the moment that is meant as a timestamp; if that is the day's first one, cast the column to "
                                     "a timestamp and declare its `zone:`.")
    if not _TEXT.fullmatch(kind) and kind != "json":
        raise SourceTypeMismatch(f"{mapping.time} is {kind}, which is no time.", path=path,
                                 fix="Map a timestamp column, or text in RFC 3339.")
    value = first_value(files, mapping.time)
    try:
        if value is not None:
            to_instant(value, mapping.zone, mapping.time)
    except TimeZoneUndeclared as wrong:
        raise TimeZoneUndeclared(wrong.what, path=path) from wrong
    except ReplayEventInvalid as wrong:
        raise SourceTypeMismatch(f"the first value is no time: {wrong.what}", path=path, fix=wrong.fix) from wrong


def _id_type(files: FileSet, column: str, kind: str, path: str) -> ColumnType:
    if _INTEGER.fullmatch(kind):
        return ColumnType("int64")
    if _TEXT.fullmatch(kind):
        return ColumnType("string")
    if kind != "json":
        raise SourceTypeMismatch(f"{column} is {kind}; ids are integers or text.", path=path, fix="Map another column, or leave `id` out.")
    whole = all(isinstance(value, int) and not isinstance(value, bool)
                for file in files.files for batch in read_batches(file, files.form, [column]) for value in batch[column])
    return ColumnType("int64" if whole else "string")
