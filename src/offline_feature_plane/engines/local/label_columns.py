"""Label files read into columns: subjects, values, instants, sources and ids of every assertion, checked and lowered.

The files' bytes are compared with their pins first. A missing value where one is needed, an unmapped value, an unknown source or a time
that cannot be read refuses the whole timeline and names the first offender.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.closure import Field
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extraction import convert
from offline_feature_plane.domain.resolution import SOURCES
from offline_feature_plane.engines.local.lowering import Suspect, lower, plain, python_values
from offline_feature_plane.errors import (
    EngineFailed,
    LabelPolicyInvalid,
    LabelStoreUnavailable,
    NumericOverflow,
    OfsError,
    ReplayEventInvalid,
    TimeZoneUndeclared,
)
from offline_feature_plane.filesets import read_pinned
from offline_feature_plane.ports.inputs import LabelTable

Int64s = npt.NDArray[np.int64]
Batches = Sequence[pa.Array | list[Any]]

_INSTANT, _INTEGER = ColumnType("timestamp"), ColumnType("int64")
_SHOWN = 5


@dataclass(frozen=True)
class AssertionColumns:
    """All `n` assertions of one label file set, in file order.

    `subjects` int64 or text, as the event ids are. `value` codes into `values`. Instants in µs; `observed` None: the event's time plus the
    declared delay; `effective` None: not mapped. `event_time` only if its column is mapped. `source` is the place in `SOURCES`. Texts
    are large_string arrays; `ids` and `supersedes` are None if not mapped.
    """

    n: int
    subjects: Int64s | pa.Array
    value: npt.NDArray[np.int32]
    values: tuple[str, ...]
    observed: Int64s | None
    effective: Int64s | None
    event_time: Int64s | None
    source: npt.NDArray[np.int8]
    ids: pa.Array | None
    supersedes: pa.Array | None

    def take(self, rows: Int64s) -> AssertionColumns:
        """What some assertions say, without their instants; columns are taken side by side."""
        def taken(column: Any) -> Any:
            return None if column is None else column[rows] if isinstance(column, np.ndarray) else column.take(pa.array(rows))
        with ThreadPoolExecutor(2) as pool:
            ids, supersedes, subjects, value, source = pool.map(taken, (self.ids, self.supersedes, self.subjects, self.value, self.source))
        return AssertionColumns(len(rows), subjects, value, self.values, None, None, None, source, ids, supersedes)


def read_assertions(table: LabelTable, id_type: ColumnType) -> AssertionColumns:
    """Read one label table.

    Args:
        table: pinned files and what their columns mean.
        id_type: the type of the event ids; the subjects are read in it.

    Raises:
        ReplayBasisMismatch: the bytes are no longer the pinned ones.
        LabelStoreUnavailable: an event, value, time or source is missing, or cannot be read.
        LabelPolicyInvalid: a value that the map does not name, an unknown source.
        TimeZoneUndeclared: a time without offset and no zone.
        SourceUnreadable: a broken file.
    """
    column = _Columns(table)
    texts = id_type.kind == "string"
    with ThreadPoolExecutor(2) as pool:  # lowering is Arrow and numpy: it runs beside itself
        subjects: Future[Any] = pool.submit(column.texts if texts else column.integers, table.event_column)
        observed, effective, event_time = (None if name is None else pool.submit(column.instants, name) for name in (
            table.observed_column, table.effective_column, table.event_time_column if table.observed_column is None else None))
        value, values = _read_values(table, column)
        source = _read_sources(table, column)
        return AssertionColumns(
            column.rows, subjects.result(), value, values, None if observed is None else observed.result(),
            None if effective is None else effective.result(), None if event_time is None else event_time.result(), source,
            None if table.id_column is None else column.texts(table.id_column, nullable=True),
            None if table.supersedes_column is None else column.texts(table.supersedes_column, nullable=True))


class _Columns:
    """The batches of a table's mapped columns, each read once."""

    def __init__(self, table: LabelTable) -> None:
        self._table = table
        names = dict.fromkeys(name for name in (
            table.event_column, table.value_column, table.observed_column or table.event_time_column, table.effective_column,
            table.source_column, table.id_column, table.supersedes_column) if name is not None)
        kinds = dict(table.columns)
        ids = {table.event_column, table.id_column, table.supersedes_column}
        coded = [name for name in (table.value_column, table.source_column)
                 if name is not None and name not in ids and kinds[name] in {"string", "large_string"}]
        self._batches: dict[str, list[pa.Array | list[Any]]] = {name: [] for name in names}
        self.rows = sum(file.rows for file in table.files)
        for batch in read_pinned(table.files, table.form, list(names), dictionary=coded):
            for name, part in batch.items():
                self._check_text(name, part)
                self._batches[name].append(part)

    def batches(self, name: str, *, nullable: bool = False) -> Batches:
        """A column's batches. Raises LabelStoreUnavailable if a needed value is missing."""
        found = self._batches[name]
        if not nullable:
            count = sum(part.count(None) if isinstance(part, list) else part.null_count for part in found)
            if count:
                first = self._table.place(self._first_missing(found))
                raise LabelStoreUnavailable(
                    f"{count} of {self.rows} {self._table.label_type} labels have no {name!r}, the first in {first}.",
                    fix="Leave such rows out of the label file, or correct them.", path=self._table.mapped_at(name), missing=count)
        return found

    def instants(self, name: str) -> Int64s:
        """A time column in µs since the epoch."""
        return self._lower(name, _INSTANT)

    def integers(self, name: str) -> Int64s:
        """An id column as int64."""
        return self._lower(name, _INTEGER)

    def texts(self, name: str, *, nullable: bool = False) -> pa.Array:
        """An id column as text; integers as their decimal text."""
        parts = [pa.nulls(0, pa.large_string())]  # a timeline of which nothing was known yet has no batch
        for part in self.batches(name, nullable=nullable):
            if isinstance(part, list):
                try:
                    parts.append(pa.array([None if one is None else _id_text(one) for one in part], pa.large_string()))
                except ValueError as wrong:
                    raise LabelStoreUnavailable(f"a {self._table.label_type} label has a {name!r} that is not an id: {wrong}.",
                                                path=self._table.mapped_at(name), fix="Write ids as text or integers.") from wrong
            else:
                parts.append(plain(part).cast(pa.large_string()))
        return pa.concat_arrays(parts)

    def _fix_of_ids(self) -> str:
        field = self._table.entity_field
        held = "The event ids are integers" if field is None else f"The field {field!r} holds integers"
        return f"{held}; label rows must name them as integers."

    def _check_text(self, name: str, part: pa.Array | list[Any]) -> None:
        if isinstance(part, list):
            return
        try:
            part.validate(full=True)
        except pa.ArrowInvalid as wrong:
            raise LabelStoreUnavailable(f"the column {name!r} of the {self._table.label_type} labels is broken: {wrong}.",
                                        path=self._table.mapped_at(name), fix="Write the file again; its texts must be UTF-8.") from wrong

    def _first_missing(self, found: Batches) -> int:
        row = 0
        for part in found:
            if isinstance(part, list):
                if None in part:
                    return row + part.index(None)
            elif part.null_count:
                return row + int(np.argmin(part.is_valid().to_numpy(zero_copy_only=False)))
            row += len(part)
        return row

    def _lower(self, name: str, kind: ColumnType) -> Int64s:
        field = Field(name, kind, (name,))
        found = np.empty(self.rows, np.int64)
        row = 0
        for part in self.batches(name):
            try:
                found[row:row + len(part)] = lower(part, field, self._table.zone)[0]
            except Suspect:
                raise self._name_offender(name, kind, part, row) from None
            row += len(part)
        return found

    def _name_offender(self, name: str, kind: ColumnType, part: pa.Array | list[Any], start: int) -> OfsError:
        """The error of the first value that the scalar law refuses."""
        for row, value in enumerate(part if isinstance(part, list) else python_values(part), start):
            try:
                convert(value, kind, "exact", self._table.zone, name)
            except (ReplayEventInvalid, NumericOverflow) as wrong:
                fix = wrong.fix if kind is _INSTANT else self._fix_of_ids()
                return LabelStoreUnavailable(f"in the {self._table.label_type} labels ({self._table.place(row)}) {wrong.what}", fix=fix,
                                            path=self._table.mapped_at(name))
            except TimeZoneUndeclared as wrong:
                return wrong
        return EngineFailed(f"the column {name!r} of the {self._table.label_type} labels was refused by the fast reader "
                            "but not by the reference reader.", path=self._table.mapped_at(name),
                            fix="Please report this.")


def _id_text(raw: Any) -> str:
    if isinstance(raw, str) or (isinstance(raw, int) and not isinstance(raw, bool)):
        return str(raw)
    raise ValueError(repr(raw))


def _read_values(table: LabelTable, column: _Columns) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Label values as codes into their texts, sorted by UTF-8 bytes."""
    if table.value_column is None:
        return np.zeros(column.rows, np.int32), (table.value_constant or "",)
    known = dict(table.value_map) if table.value_map is not None else None
    raw_texts: dict[str, int] = {}
    try:
        codes = _encode(column.batches(table.value_column), lambda raw: raw_texts.setdefault(_raw_text(raw), len(raw_texts)), column.rows)
    except ValueError as wrong:
        raise LabelPolicyInvalid(f"a {table.label_type} label holds {wrong}, which cannot be a label value.",
                                 path=f"labels.{table.label_type}.value",
                                 fix="Map a column of texts, integers or truth values.") from wrong
    unfit = [text for text in raw_texts if (text not in known if known is not None else not text or text != text.strip())]
    if unfit:
        counts = np.bincount(codes, minlength=len(raw_texts))
        first = int(np.argmax(np.isin(codes, [raw_texts[text] for text in unfit])))
        count = int(sum(counts[raw_texts[text]] for text in unfit))
        listed = ", ".join(map(repr, sorted(unfit)[:_SHOWN])) + (" …" if len(unfit) > _SHOWN else "")
        fault = "not mapped" if known is not None else "blank, or begin or end with spaces"
        raise LabelPolicyInvalid(
            f"values of {count} {table.label_type} labels are {fault}: {listed}, the first in {table.place(first)}.",
            path=f"labels.{table.label_type}.value", values=sorted(unfit)[:_SHOWN],
            fix=f"Map it in `value:` (mapped are {', '.join(known)}), or correct the file." if known else
                "Correct the file, or map them in `value:`.")
    meanings = [known[text] if known is not None else text for text in raw_texts]
    values = tuple(sorted(set(meanings)))
    place = {value: code for code, value in enumerate(values)}
    return np.array([place[meaning] for meaning in meanings], np.int32)[codes], values


def _raw_text(raw: Any) -> str:
    """A raw value as maps spell it: truth values as `true` and `false`, whole numbers as decimal text. Raises ValueError for others."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int) or (isinstance(raw, float | Decimal) and math.isfinite(raw) and raw == int(raw)):
        return str(int(raw))
    if isinstance(raw, str):
        raw.encode()  # a lone surrogate is a ValueError too
        return raw
    raise ValueError(repr(raw))


def _read_sources(table: LabelTable, column: _Columns) -> npt.NDArray[np.int8]:
    if table.source_column is None:
        return np.full(column.rows, SOURCES.index(table.source_constant), np.int8)
    names: dict[str, int] = {name: place for place, name in enumerate(SOURCES)}
    codes = _encode(column.batches(table.source_column), lambda raw: names.setdefault(str(raw), len(names)), column.rows)
    unknown = sorted(set(names) - set(SOURCES))
    if unknown:
        first = int(np.argmax(codes >= len(SOURCES)))
        listed = ", ".join(map(repr, unknown[:_SHOWN])) + (" …" if len(unknown) > _SHOWN else "")
        raise LabelPolicyInvalid(
            f"{int((codes >= len(SOURCES)).sum())} {table.label_type} labels come from unknown sources: {listed}, "
            f"the first in {table.place(first)}.", path=table.mapped_at(table.source_column), sources=unknown[:_SHOWN],
            fix=f"Write one of {', '.join(SOURCES)}.")
    return codes.astype(np.int8)


def _encode(batches: Batches, code_of: Callable[[Any], int], rows: int) -> npt.NDArray[np.int32]:
    """Codes of a column, asking `code_of` once per distinct value and batch."""
    codes = np.empty(rows, np.int32)
    at = 0
    for part in batches:
        if isinstance(part, list):
            codes[at:at + len(part)] = [code_of(one) for one in part]
        elif len(part):
            encoded = part if pa.types.is_dictionary(part.type) else part.dictionary_encode()
            used = np.zeros(len(encoded.dictionary), np.bool_)
            indices = encoded.indices.to_numpy()
            used[indices] = True
            distinct = zip(encoded.dictionary.to_pylist(), used.tolist(), strict=True)
            codes[at:at + len(part)] = np.array([code_of(one) if seen else -1 for one, seen in distinct], np.int32)[indices]
        at += len(part)
    return codes
