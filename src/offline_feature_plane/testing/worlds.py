"""Small worlds for holding one engine against another: tables, an archive, label timelines, and the task about them.

They are drawn by `testing.drawing`; `write` makes files of one, and gives engines the inputs that name those files.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from offline_feature_plane.arrow_types import arrow_type
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.identity import files_log_id
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.domain.sampling import unit_text
from offline_feature_plane.filesets import FileSet, pin_files
from offline_feature_plane.ports.inputs import EventInput, LabelTable, PlainTable
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.testing.archives import SegmentForm, archived, write_archive

__all__ = ["ARRIVED", "RUN", "SECOND", "START", "Archive", "Labels", "Stored", "Table", "World"]

START, SECOND = 1_767_225_600_000_000, 1_000_000  # 2026-01-01T00:00:00Z, a Thursday
INT, TEXT = ColumnType("int64"), ColumnType("string")
RUN = "worlds"
ARRIVED = "arrived"  # the column that says when an event of a table arrived, where it has one
_SAFE = 2**53
Form = Literal["parquet", "csv", "jsonl"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """One table of events or assertions: values in the inner form, by column, in `parts` files.

    `id_type` is that of the column `event_id`; a table of events without one has row numbers for ids.
    """

    name: str
    form: Form
    columns: Mapping[str, ColumnType]
    rows: tuple[Row, ...]
    id_type: ColumnType | None = None
    parts: int = 1

    def write(self, folder: Path) -> FileSet:
        """The table as pinned files of its form."""
        place = folder / self.name if self.parts > 1 else folder
        place.mkdir(parents=True, exist_ok=True)
        each = -(-len(self.rows) // self.parts)
        for number in range(self.parts):
            name = f"part-{number}" if self.parts > 1 else self.name
            self._write(place / f"{name}.{self.form}", self.rows[number * each:(number + 1) * each])
        return pin_files(place if self.parts > 1 else place / f"{self.name}.{self.form}")

    def _write(self, path: Path, rows: Sequence[Row]) -> None:
        if self.form == "parquet":
            pq.write_table(pa.table({name: _arrow([row[name] for row in rows], kind) for name, kind in self.columns.items()}), path,
                           row_group_size=max(1, len(rows) // 2))
            return
        texts = [{name: _plain(row[name], kind, self.form) for name, kind in self.columns.items()} for row in rows]
        with path.open("w", encoding="utf-8", newline="") as out:
            if self.form == "csv":
                writer = csv.DictWriter(out, list(self.columns), lineterminator="\n")
                writer.writeheader()
                writer.writerows(texts)
            else:
                out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in texts)


@dataclass(frozen=True)
class Stored:
    """One record of an archive: its lane, what it says of itself, its fields by type (None: a null value), its run and scenario run."""

    topic: str
    partition: int
    event_type: str
    row: Row
    kinds: Mapping[str, ColumnType]
    run: str = RUN
    empty: bool = False
    log_us: int | None = None
    scenario: str | None = None


@dataclass(frozen=True)
class Archive:
    """Records in the order in which their lanes took them, `per_segment` of a lane in each segment."""

    records: tuple[Stored, ...]
    form: SegmentForm = "jsonl"
    offset_kind: str = "kafka_offset"
    first_offset: int = 0
    per_segment: int = 4

    def write(self, folder: Path, sources: Sequence[Source]) -> tuple[EventInput, ...]:
        """The archive as segments below `folder`, and its topics ready to be read for some sources."""
        offsets: dict[tuple[str, int], count[int]] = {}
        records = []
        for one in self.records:
            offset = next(offsets.setdefault((one.topic, one.partition), count(self.first_offset)))
            sparse = len(str(one.row["event_id"])) % 2  # to be absent is to be null
            payload = None if one.empty else {name: _told(one.row[name], kind) for name, kind in one.kinds.items()
                                              if one.row[name] is not None or not sparse}
            records.append(archived(str(one.row["event_id"]), one.row["at"], payload, topic=one.topic, partition=one.partition,
                                    offset=offset, offset_kind=self.offset_kind, platform_run_id=one.run, event_type=one.event_type,
                                    log_us=one.log_us, scenario_run_id=one.scenario))
        write_archive(folder, records, per_segment=self.per_segment, form=self.form)
        archive = ArchiveSource({one.topic: ArchiveMapping(folder, "UTC") for one in self.records})
        pinned = [archive.pin(topic) for topic in sorted(archive.topics)]
        return tuple(one.reading(one.ranges(), sources) for one in pinned)


@dataclass(frozen=True)
class Labels:
    """A label type and what the columns of its table mean, as `ports.LabelTable` says it."""

    label_type: str
    table: Table
    event: str = "event"
    value: str | None = "value"
    constant: str | None = None
    meanings: tuple[tuple[str, str], ...] | None = None
    observed: str | None = "observed"
    after_us: int | None = None
    event_time: str | None = None
    effective: str | None = "effective"
    source: str | None = "source"
    source_constant: str = "SYSTEM"
    id: str | None = "id"
    supersedes: str | None = "supersedes"
    min_lag_us: int | None = None
    entity_field: str | None = None

    def write(self, folder: Path) -> LabelTable:
        """The timeline as pinned files."""
        found = self.table.write(folder)
        return LabelTable(
            label_type=self.label_type, log_id=_log_id(found), form=found.form, files=found.files, columns=found.columns,
            event_column=self.event, value_constant=self.constant, value_column=self.value, value_map=self.meanings,
            observed_column=self.observed, observed_after_us=self.after_us, event_time_column=self.event_time,
            effective_column=self.effective, source_column=self.source, source_constant=self.source_constant, id_column=self.id,
            supersedes_column=self.supersedes, zone=None, min_lag_us=self.min_lag_us,
            entity_field=self.entity_field)


@dataclass(frozen=True)
class World:
    """A task, the events and the assertions it is about; a plain table of labels has the usual columns."""

    task: Task
    events: tuple[Table | Archive, ...]
    labels: tuple[Labels | Table, ...]

    def write(self, folder: Path) -> tuple[list[EventInput], list[LabelTable]]:
        """Everything as files below `folder`, as engines get them; the same inputs may be read again."""
        events: list[EventInput] = []
        for item in self.events:
            if isinstance(item, Archive):
                events += item.write(folder / "archive", self.task.closure.sources)
            else:
                found = item.write(folder / "events")
                events.append(PlainTable(
                    topic=item.name, log_id=_log_id(found), form=found.form, files=found.files, time_column="at", zone=None,
                    id_column="event_id" if "event_id" in item.columns else None, id_type=item.id_type or TEXT, columns=found.columns,
                    arrival_column=ARRIVED if ARRIVED in item.columns else None))
        labels = [one if isinstance(one, Labels) else Labels(one.name, one) for one in self.labels]
        return events, [one.write(folder / "labels" / one.label_type) for one in labels]


def _log_id(found: FileSet) -> str:
    return files_log_id([(file.relative, file.rows, file.sha256) for file in found.files])


def _arrow(values: Sequence[Any], kind: ColumnType) -> pa.Array:
    if kind.kind == "decimal":
        values = [None if value is None else Decimal(value).scaleb(-kind.scale) for value in values]
    return pa.array(values, arrow_type(kind))


def _plain(value: Any, kind: ColumnType, form: Form) -> Any:
    if value is None:
        return "" if form == "csv" else None
    if form == "jsonl" and kind.kind in ("bool", "int64", "float64"):
        return value
    return format_instant(value) if kind.kind == "timestamp" else unit_text(value, kind)


def _told(value: Any, kind: ColumnType) -> Any:
    """A value as payloads carry it: what JSON numbers cannot hold is text."""
    if value is None or isinstance(value, bool | str):
        return value
    if kind.kind == "float64":
        return Decimal(repr(value))
    if kind.kind in ("timestamp", "decimal") or abs(value) > _SAFE:
        return format_instant(value) if kind.kind == "timestamp" else unit_text(value, kind)
    return value
