"""Plain tables: the user's own files as events, without offsets (`decisions.md` D14, D16)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from offline_feature_plane.contracts.plan import SourceFile, SourcePlan
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.domain.basis import Range, Selector
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.completeness import Completeness, TableEvidence, assess
from offline_feature_plane.domain.extraction import to_instant
from offline_feature_plane.domain.identity import files_log_id
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.domain.zones import named_zone
from offline_feature_plane.errors import (
    ReplayEventInvalid,
    SelectorUnresolved,
    SettingsInvalid,
    SourceColumnUnknown,
    SourceTypeMismatch,
    TimeZoneUndeclared,
)
from offline_feature_plane.filesets import FileSet, first_value, openable_files, pin_files, read_batches
from offline_feature_plane.ports.inputs import PlainTable

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
    arrival: str | None = None


class PlainTableSource:
    """Pins plain tables. Their basis is the whole pinned set of files; there are no selectors."""

    name = "files"
    version = "1"

    def __init__(self, mappings: Mapping[str, TableMapping]) -> None:
        self._mappings = mappings

    @classmethod
    def of(cls, settings: Settings) -> PlainTableSource:
        """The source of a plane's `events:`."""
        return cls({topic: TableMapping(Path(one.path), one.time, one.id, one.zone,
                                        None if one.history_start is None else parse_instant(one.history_start), one.format, one.arrival)
                    for topic, one in settings.events.items()})

    @property
    def topics(self) -> Collection[str]:
        """The event types that are mapped."""
        return self._mappings.keys()

    def mixes_types(self, topic: str) -> bool:  # noqa: ARG002 - every table is alike
        """A table holds the events of the type that it is named after."""
        return False

    def history_start_us(self, topic: str) -> int | None:
        """From when on the table is declared complete."""
        return self._mappings[topic].history_start_us

    def file_names(self, topic: str) -> Collection[str]:
        """As `ports.inputs.SourceOfFiles`."""
        return openable_files(self._mappings[topic].path)

    def pin(self, topic: str) -> PinnedTable:
        """Pin the table of an event type. Raises as `pin_table`."""
        return PinnedTable(pin_table(topic, self._mappings[topic]))


@dataclass(frozen=True)
class PinnedTable:
    """A pinned plain table, as planning looks at it."""

    table: PlainTable

    @property
    def topic(self) -> str:
        """The event type."""
        return self.table.topic

    @property
    def log_ids(self) -> tuple[str, ...]:
        """The digest of its files: what its rows count in."""
        return (self.table.log_id,)

    @property
    def names_events(self) -> bool:
        """Is an id mapped?"""
        return self.table.id_column is not None

    @property
    def knows_arrival(self) -> bool:
        """Is a column mapped that says it?"""
        return self.table.arrival_column is not None

    @property
    def table_files(self) -> tuple[Path, ...]:
        """Its files: their columns are its fields."""
        return tuple(file.path for file in self.table.files)

    def basis(self) -> list[dict[str, Any]]:
        """The one entry that it is in a replay basis."""
        return [{"topic": self.table.topic, "files": [file.relative for file in self.table.files], "log_id": self.table.log_id}]

    def resolve(self, selector: Selector) -> tuple[Range, ...]:
        """Raises SelectorUnresolved: a plain table has no log time."""
        raise SelectorUnresolved(f"{selector.topic} is a plain table, which has no log time.", path="replay_basis",
                                 fix="Leave the selector out, and narrow the rows by splits.")

    def completeness(self, ranges: Sequence[Range]) -> Completeness:
        """Complete relative to its files (`decisions.md` H); a range of it is covered by nothing, for it has no offsets."""
        asked = assess([one for one in ranges if one.topic == self.table.topic], [])
        said = TableEvidence(self.table.topic, self.table.log_id, len(self.table.files), self.table.rows)
        return replace(asked, kind="pinned_files", tables=(said,))

    def reading(self, ranges: Sequence[Range], sources: Sequence[Source]) -> PlainTable:  # noqa: ARG002 - the port's: a table is read whole
        """The table itself."""
        for source in sources:
            if self.table.topic in source.event_types:
                self.table.check_columns(source)
        return self.table

    def describe(self, ranges: Sequence[Range], read_by: str) -> SourcePlan:  # noqa: ARG002 - as above
        """All of its files."""
        files = [SourceFile(path=one.relative, sha256=one.sha256, rows=one.rows, size_bytes=one.size) for one in self.table.files]
        return SourcePlan(name=self.table.topic, kind="plain_table", read_by=read_by, log_id=self.table.log_id, files=files, ranges=[])


def pin_table(topic: str, mapping: TableMapping) -> PlainTable:
    """Find the files, hash them, and check the mapping against their columns.

    Args:
        topic: the event type that plane.yaml gives the table.
        mapping: where it is and which columns matter.

    Raises:
        SourceUnreadable, RefScopeInvalid: the files. SourceColumnUnknown: a mapped column does not exist.
        TimeZoneUndeclared: times without zone. SourceTypeMismatch: the time or id column is of no such type.
        SettingsInvalid: one column mapped twice, or no such zone.
    """
    where = f"events.{topic}"
    if mapping.id is not None and mapping.id == mapping.time:
        raise SettingsInvalid(f"{mapping.id} is mapped both as id and as time.", path=where, fix="Map two columns, or leave `id` out.")
    if mapping.zone is not None and mapping.zone != "UTC":
        named_zone(mapping.zone)
    files = pin_files(mapping.path, mapping.form)
    columns = dict(files.named)
    for role, column in (("time", mapping.time), ("id", mapping.id), ("arrival", mapping.arrival)):
        if column is not None and column not in columns:
            raise unknown_column(column, columns, f"{where}.{role}", str(mapping.path))
    for role, column in (("time", mapping.time), ("arrival", mapping.arrival)):
        if column is not None:
            _check_time(files, column, mapping.zone, columns[column], f"{where}.{role}")
    id_type = ColumnType("string") if mapping.id is None else _id_type(files, mapping.id, columns[mapping.id], f"{where}.id")
    log_id = files_log_id((file.relative, file.rows, file.sha256) for file in files.files)
    return PlainTable(topic, log_id, files.form, files.files, mapping.id, id_type, mapping.time, mapping.zone, tuple(columns.items()),
                      mapping.arrival)


def unknown_column(column: str, known: Any, path: str, place: str) -> SourceColumnUnknown:
    """The error for a column that does not exist, with the nearest names."""
    near = difflib.get_close_matches(column, list(known), n=2, cutoff=0.5)
    fix = f"Did you mean {' or '.join(near)}?" if near else f"Columns: {', '.join(known)}."
    return SourceColumnUnknown(f"{place} has no column {column!r}.", path=path, fix=fix)


def _check_time(files: FileSet, column: str, zone: str | None, kind: str, path: str) -> None:
    if kind.startswith("timestamp"):
        if "tz=" not in kind and zone is None:
            raise TimeZoneUndeclared(f"{column} is {kind}, without a zone.", path=path)
        return
    if kind.startswith("date"):
        raise SourceTypeMismatch(f"{column} is {kind}: a day, not an instant.", path=path,
                                 fix="Write the moment that is meant as a timestamp; if that is the day's first one, cast the column to "
                                     "a timestamp and declare its `zone:`.")
    if not _TEXT.fullmatch(kind) and kind != "json":
        raise SourceTypeMismatch(f"{column} is {kind}, which is not a time.", path=path,
                                 fix="Map a timestamp column, or text in RFC 3339.")
    value = first_value(files, column)
    try:
        if value is not None:
            to_instant(value, zone, column)
    except TimeZoneUndeclared as wrong:
        raise TimeZoneUndeclared(wrong.what, path=path) from wrong
    except ReplayEventInvalid as wrong:
        raise SourceTypeMismatch(f"the first value is not a time: {wrong.what}", path=path, fix=wrong.fix) from wrong


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
