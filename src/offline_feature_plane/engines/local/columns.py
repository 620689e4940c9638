"""Raw columns of one input gathered over its batches: what reading fills and ordering permutes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.arrow_types import refuse_type
from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extraction import extract, extract_mark, extract_path
from offline_feature_plane.domain.visibility import Visibility
from offline_feature_plane.engines.local.lowering import Numbers, Suspect, Valid, as_arrow, lower, plain, python_values
from offline_feature_plane.errors import EngineFailed, OfsError
from offline_feature_plane.filesets import read_batches
from offline_feature_plane.ports.inputs import PlainTable

Integers = npt.NDArray[np.int64]
IdColumn: TypeAlias = Integers | pa.ChunkedArray


@dataclass(frozen=True)
class Loaded:
    """One input, or a piece of it, in memory, in the order in which it was read.

    `ids` int64 or text; `partition` and `offset` None for plain tables; `fields` by name: numbers with
    their mask, or text; `records_digest` is over the records of a log. `standing`: before (−1) or after (1) all others of
    their instant.
    """

    topic: str
    source: int
    ts: Integers
    ids: IdColumn
    partition: Integers | None
    offset: npt.NDArray[Any] | None  # Python integers where one is beyond int64
    fields: dict[str, tuple[Numbers, Valid] | pa.ChunkedArray]
    records_digest: str | None
    arrival: Integers | None = None
    standing: int = 0

    @property
    def n(self) -> int:
        """Rows, duplicates included."""
        return len(self.ts)


class NumberFill:
    """Numbers of one field, put in place batch by batch."""

    def __init__(self, field: Field, rows: int) -> None:
        self.field = field
        self.data: Numbers = np.empty(rows, np.float64 if field.type.kind == "float64" else np.int64)
        self.valid: Valid = None
        self.at = 0

    def put(self, raw: pa.Array | list[Any], zone: str | None) -> None:
        """Lower the next batch. Raises Suspect."""
        values, valid = lower(raw, self.field, zone)
        end = self.at + len(values)
        self.data[self.at:end] = values
        if valid is not None:
            if self.valid is None:
                self.valid = np.ones(len(self.data), np.bool_)
            self.valid[self.at:end] = valid
        self.at = end

    def done(self) -> tuple[Numbers, Valid]:
        """All rows."""
        return self.data, self.valid


class TextFill:
    """Texts of one field, kept as Arrow chunks until they are encoded."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.chunks: list[pa.Array] = []

    def put(self, raw: pa.Array | list[Any], zone: str | None) -> None:  # noqa: ARG002 - one signature with numbers
        """Take the next batch. Raises Suspect."""
        if isinstance(raw, list):
            try:
                array = pa.array([extract(value, self.field) for value in raw], pa.string())
            except OfsError as wrong:
                raise Suspect from wrong
        else:
            array = plain(raw).cast(pa.string())
        if array.null_count:
            if self.field.missing is not None:
                array = array.fill_null(self.field.missing)
            elif not self.field.nullable:
                raise Suspect
        self.chunks.append(array)

    def done(self) -> pa.ChunkedArray:
        """All rows."""
        return pa.chunked_array(self.chunks, pa.string())


def fill_for(field: Field, rows: int) -> NumberFill | TextFill:
    """An empty column for a field."""
    return TextFill(field) if field.type.kind == "string" else NumberFill(field, rows)


def raw_of(batch: pa.Array | list[Any], field: Field) -> pa.Array | list[Any]:
    """A column's raw values for a field: deeper keys are followed in JSON objects."""
    if isinstance(batch, list) and len(field.path) > 1:
        return [extract_path(value, field.path[1:]) for value in batch]
    return batch


def marks(table: PlainTable, visibility: Visibility) -> tuple[Field, ...]:
    """What is read of a table beside the source's fields: time, id and arrival, as far as there are any and they count."""
    instant = ColumnType("timestamp")
    named = {table.time_column: instant} | ({} if table.id_column is None else {table.id_column: table.id_type})
    arrival = {} if table.arrival_column is None or visibility == "event_time" else {table.arrival_column: instant}
    return tuple(Field(name, kind, (name,)) for name, kind in (named | arrival).items())


def refuse_types(batch: dict[str, pa.Array | list[Any]], fields: Iterable[Field], table: PlainTable) -> None:
    """Refuse columns whose type can never carry what is declared. Raises as `refuse_type`."""
    for field in fields:
        array = batch[table.column_of(field)]
        if not isinstance(array, list):
            refuse_type(table.topic, table.column_of(field), array.type, field.name, field.type)


def name_offender(table: PlainTable, field: Field) -> OfsError:
    """Read one column again by the scalar law and return the error that says how many rows are refused, and the first of them."""
    first: OfsError | None = None
    where, count, row = "", 0, 0
    read = extract_mark if field.path in ((table.time_column,), (table.id_column,), (table.arrival_column,)) else extract
    for file in table.files:
        row = 0
        for batch in read_batches(file, table.form, [table.column_of(field)]):
            raw = raw_of(batch[table.column_of(field)], field)
            for value in raw if isinstance(raw, list) else python_values(raw):
                row += 1
                try:
                    read(value, field, table.zone)
                except OfsError as wrong:
                    count += 1
                    if first is None:
                        first, where = wrong, f"{file.relative} row {row}"
    if first is None:
        return EngineFailed(f"{table.topic}: column {field.name} was refused by the fast reader but not by the reference reader.",
                            path=field.name, fix="Please report this.")
    return type(first)(f"{table.topic}: {count} row{'s' if count > 1 else ''} of column {table.column_of(field)} cannot be read; "
                        f"the first is {where}: {first.what}", fix=first.fix, path=table.column_of(field), count=count, first=where)


def as_text(ids: IdColumn) -> pa.ChunkedArray:
    """Ids as text."""
    return ids if isinstance(ids, pa.ChunkedArray) else pa.chunked_array([as_arrow(ids).cast(pa.string())])


def nullable(field: Field) -> Field:
    """The field without its law of absence: for values on which it was applied already."""
    return replace(field, nullable=True, missing=None)
