"""Records as typed batches: the fields of a source taken from payloads (`domain.md` §1.5, `decisions.md` D28, D29)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from offline_feature_plane.arrow_types import arrow_type, decimal_array
from offline_feature_plane.contracts.events import RECORD_COLUMNS, SCANNED_COLUMNS
from offline_feature_plane.domain.admission import Record
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.closure_documents import describe_source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.extractors import Extractor, extractor
from offline_feature_plane.errors import OfsError
from offline_feature_plane.sources.decoding.decoded import Decoded
from offline_feature_plane.sources.decoding.wanted import Int64s, Wanted

__all__ = ["Typing", "typings_of"]

_HEAD = tuple(zip(RECORD_COLUMNS, (pa.string(), pa.int64(), pa.int32(), pa.string(), pa.string(), pa.int64()), strict=True))


def typings_of(sources: Sequence[Source], zone: str | None) -> tuple[Typing, ...]:
    """How the records of each source are typed; `zone` is the one of payload times without offset."""
    return tuple(Typing(source, zone) for source in sources)


class Typing:
    """Records of one source as typed batches; each field's extraction is compiled once. `zone`: of payload times without offset."""

    def __init__(self, source: Source, zone: str | None) -> None:
        self.name, self._made_of = source.name, (source, zone)
        self._fields: tuple[tuple[Field, Extractor], ...] = tuple((one, extractor(one, zone)) for one in source.fields)
        self._schema = pa.schema([*_HEAD, *((one.name, arrow_type(one.type)) for one in source.fields)])

    def __reduce__(self) -> tuple[Any, ...]:
        """Compiled extraction is compiled again elsewhere."""
        return Typing, self._made_of

    def document(self) -> dict[str, Any]:
        """All that decides what is taken from payloads."""
        source, zone = self._made_of
        return {**describe_source(source), "zone": zone}

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """Where in payloads its fields are."""
        return tuple(one.path for one, _ in self._fields)

    def scanned(self, head: Sequence[pa.Array], batch: Decoded, rows: Int64s, wanted: Wanted | None, topic: str,
                partition: int) -> pa.RecordBatch:
        """Some records of a batch, whose `SCANNED_COLUMNS` are at hand. Raises as `batch`."""
        try:
            if batch.found is None or wanted is None:
                payloads = [batch.payload(row) for row in rows.tolist()]
                fields = [_column([extracted(payload) for payload in payloads], one.type) for one, extracted in self._fields]
            else:
                from offline_feature_plane.sources.decoding.typed import typed_column  # noqa: PLC0415 - it loads a compiler

                fields = [typed_column(one, extracted, batch.found, wanted.slot(one.path), rows, batch.payload)
                          for one, extracted in self._fields]
        except OfsError:
            for row in rows.tolist():
                self._check(batch.payload(row), f"{topic}/{partition}@{batch.numbers[row]}")
            raise
        return pa.RecordBatch.from_arrays([*head, *fields], names=[*SCANNED_COLUMNS, *(one.name for one, _ in self._fields)])

    def batch(self, records: Sequence[Record], arrived: Sequence[int]) -> pa.RecordBatch:
        """One row per record. Raises what extraction raises, with the coordinate of the first record that it refuses."""
        payloads = [record.payload or {} for record in records]
        try:
            typed = [[extracted(payload) for payload in payloads] for _, extracted in self._fields]
        except OfsError:
            for record, payload in zip(records, payloads, strict=True):
                self._check(payload, record.place)
            raise
        head = [[record.event_id for record in records], [record.ts_us for record in records], [record.partition for record in records],
                [record.offset for record in records], [record.digest for record in records], arrived]
        arrays = [pa.array(values, kind) for values, (_, kind) in zip(head, _HEAD, strict=True)]
        arrays += [_column(values, one.type) for values, (one, _) in zip(typed, self._fields, strict=True)]
        return pa.record_batch(arrays, schema=self._schema)

    def _check(self, payload: Mapping[str, Any], place: str) -> None:
        try:
            for _, extracted in self._fields:
                extracted(payload)
        except OfsError as wrong:
            raise type(wrong)(f"{place}: {wrong.what}", fix=wrong.fix, path=wrong.path, coordinate=place) from wrong


def _column(values: list[Any], kind: ColumnType) -> pa.Array:
    if kind.kind != "decimal":
        return pa.array(values, arrow_type(kind))
    scaled = pa.array(values, pa.int64())
    valid = None if not scaled.null_count else scaled.is_valid().to_numpy(zero_copy_only=False)
    return decimal_array(scaled.fill_null(0).to_numpy(), kind, valid)
