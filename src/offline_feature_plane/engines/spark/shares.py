"""What one task reads of the inputs: a file of a plain table, or a partition of a log; typed by the laws of `domain.extraction`.

share ──▶ batches ──▶ lowered ──▶ rows of EVENTS, then a note: what was left out, or why the share is refused
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa

from offline_feature_plane.contracts.events import SCANNED_COLUMNS
from offline_feature_plane.domain.admission import Scope
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.identity import row_id
from offline_feature_plane.domain.rows import Task
from offline_feature_plane.engines.local.columns import fill_for, marks, name_offender, nullable, raw_of, refuse_types
from offline_feature_plane.engines.local.lowering import Suspect
from offline_feature_plane.engines.spark.remote import told
from offline_feature_plane.engines.spark.wire import NOTE, Shape, field_columns, kind_of, make_batch
from offline_feature_plane.errors import OfsError
from offline_feature_plane.filesets import read_pinned
from offline_feature_plane.ports.inputs import PlainTable, RecordLog, Told

OUT_OF_SCOPE = -1  # the source of a record that no source of the closure admits, but whose id counts
_WAITING = 2       # batches between a log and the task
_ROWS = 1 << 14

# Where an event stands: its input (in the order of topics), partition, offset (its length, then its digits: so texts order as numbers do),
# its row in a plain table, its id as a number and as text. `kind` and `said`: type and hash of a record.
PLACE: Shape = (("inp", "int"), ("part", "int"), ("off", "string"), ("num", "long"), ("id", "string"))


@dataclass(frozen=True)
class TableShare:
    """One file of a plain table: the first of its rows has this number among all rows of the table."""

    number: int
    place: int
    table: PlainTable
    source: int
    file: int
    first_row: int


@dataclass(frozen=True)
class LogShare:
    """Some partitions of a log."""

    number: int
    place: int
    log: RecordLog


@dataclass(frozen=True)
class Reading:
    """All shares of a build, and the task that says how they are typed; `whole`: every id is an integer."""

    task: Task
    shares: tuple[TableShare | LogShare, ...]
    whole: bool


def events_shape(task: Task) -> Shape:
    """The columns of what is read."""
    fields = tuple((column, kind_of(kind)) for column, kind in field_columns(task.closure).values())
    return (*PLACE, ("src", "int"), ("ts", "long"), ("arr", "long"), ("row", "long"), ("share", "int"), ("kind", "string"),
            ("said", "string"), *fields, *NOTE)


def read(reading: Reading, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The task: each row of `batches` names a share."""
    shape = events_shape(reading.task)
    for batch in batches:
        for number in batch.column(0).to_pylist():
            share = reading.shares[number]
            report = Told()
            refused, count = None, 0
            try:
                rows = _read_table(share, reading) if isinstance(share, TableShare) else _read_log(share, reading, report)
                for n, columns in rows:
                    yield make_batch(shape, n, {"inp": share.place, "share": number, "part": 0, "off": "", "num": 0, "id": "", **columns})
                    count += n
            except OfsError as wrong:
                refused = told(wrong)
            note = {"share": number, "rows": count, "left_out": report.left_out, "refused": refused, "compared": report.compared,
                    "scenarios": report.scenarios, "ends": [one.document() for one in report.ends],
                    "findings": [one.describe() for one in report.findings]}
            yield make_batch(shape, 1, {"note": json.dumps(note)})


Rows = Iterator[tuple[int, dict[str, Any]]]


def _read_table(share: TableShare, reading: Reading) -> Rows:
    table, task = share.table, reading.task
    source, own = task.closure.sources[share.source], marks(table, task.visibility)
    fields = (*own, *source.fields)
    names = field_columns(task.closure)
    columns = sorted({table.column_of(field) for field in fields})
    row = share.first_row
    for batch in read_pinned((table.files[share.file],), table.form, columns):
        refuse_types(batch, fields, table)
        n = len(next(iter(batch.values())))
        found: list[Any] = []
        for field in fields:
            fill = fill_for(field, n)
            try:
                fill.put(raw_of(batch[table.column_of(field)], field), table.zone)
            except Suspect:
                raise name_offender(table, field) from None
            found.append(_column(fill.done()))
        marked = {field.name: one for field, one in zip(own, found, strict=False)}
        made = {"src": share.source, "ts": marked[table.time_column], "row": np.arange(row, row + n, dtype=np.int64)}
        if task.visibility == "arrival" and table.arrival_column in marked:
            made["arr"] = marked[table.arrival_column]
        if table.id_column is None:
            prefix = row_id(table.log_id, 0)[:-1]
            made["id"] = [f"{prefix}{at}" for at in range(row, row + n)]
        elif table.id_type.is_integer:
            made["num"] = marked[table.id_column]
            if not reading.whole:
                made["id"] = marked[table.id_column].cast(pa.string())
        else:
            made["id"] = marked[table.id_column]
        made |= {names[source.name, field.name][0]: one for field, one in zip(source.fields, found[len(own):], strict=True)}
        yield n, made
        row += n


def _column(filled: Any) -> pa.Array:
    if isinstance(filled, pa.ChunkedArray):
        return filled
    data, valid = filled
    return pa.array(data, mask=None if valid is None else ~valid)


def _read_log(share: LogShare, reading: Reading, report: Told) -> Rows:
    task = reading.task
    sources = {source.name: (place, source) for place, source in enumerate(task.closure.sources)}
    scope = Scope.of(task.platform_run_id, task.scenario_run_ids, task.closure.sources)
    names = field_columns(task.closure)

    def work(put: Callable[[Any], None]) -> None:
        def take(name: str | None, batch: pa.RecordBatch) -> None:
            for start in range(0, batch.num_rows, _ROWS):
                part = batch.slice(start, _ROWS)
                put((part.num_rows, _out_of_scope(part) if name is None else _typed(part, *sources[name], task, names)))
        report.add(share.log.scan(scope, take))
    yield from _pulled(work)


def _out_of_scope(batch: pa.RecordBatch) -> dict[str, Any]:
    """Records that no source admits are rows too: their ids count."""
    return {"src": OUT_OF_SCOPE, "ts": 0, **_placed(batch)}


def _typed(batch: pa.RecordBatch, place: int, source: Source, task: Task, names: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"src": place, "ts": batch["ts"], **_placed(batch)}
    if task.visibility == "arrival":
        made["arr"] = batch["arrival"]
    for at, field in enumerate(source.fields, len(SCANNED_COLUMNS)):
        fill = fill_for(nullable(field), batch.num_rows)
        fill.put(batch.column(at), "UTC")
        made[names[source.name, field.name][0]] = _column(fill.done())
    return made


def _placed(batch: pa.RecordBatch) -> dict[str, Any]:
    """Where records stand, and which they are."""
    return {"part": batch["partition"], "off": [_offset(text) for text in batch["offset"].to_pylist()], "id": batch["event_id"],
            "kind": batch["event_type"].dictionary_decode(), "said": [f"sha256:{one.hex()}" for one in batch["payload_hash"].to_pylist()]}


def _offset(text: str) -> str:
    return f"{len(text):03d}{text}"


def _pulled(work: Callable[[Callable[[Any], None]], None]) -> Iterator[Any]:
    """What `work` hands to its callback, as an iterator: it runs on a thread of its own, a few items ahead."""
    held: Queue[Any] = Queue(_WAITING)
    ended, stop = object(), Event()

    class _Stopped(BaseException):
        pass

    def put(item: Any) -> None:
        if stop.is_set():
            raise _Stopped
        held.put(item)

    def run() -> None:
        said: Any = ended
        try:
            work(put)
        except _Stopped:
            pass
        except BaseException as wrong:  # noqa: BLE001 - it is raised again where it is waited for
            said = wrong
        held.put(said)
    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := held.get()) is not ended:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        while thread.is_alive():
            while not held.empty():
                held.get()
            thread.join(0.01)


def shares_of(places: Sequence[tuple[int, PlainTable | RecordLog, int]]) -> tuple[TableShare | LogShare, ...]:
    """Inputs in shares: (place in the order of topics, input, source of a table)."""
    found: list[TableShare | LogShare] = []
    for place, item, source in places:
        if isinstance(item, PlainTable):
            row = 0
            for number, file in enumerate(item.files):
                found.append(TableShare(len(found), place, item, source, number, row))
                row += file.rows
        else:
            found += [LogShare(len(found) + at, place, piece) for at, piece in enumerate(item.by_partition())]
    return tuple(found)
