"""Records written one by one: the law of how an archive has them, which `stored_cells` keeps for many at a time."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.identity import EVENT_HASH_RECIPE
from offline_feature_plane.domain.record_texts import json_text, record_line
from offline_feature_plane.sources.decoding.stored import Rows, Stored, Writing

__all__ = ["ROW_BYTES", "STORED_SCHEMA", "columns_of", "line_of", "rows_one_by_one"]

STORED_SCHEMA: Final = pa.schema([(name, pa.int32() if name == "partition" else pa.string()) for name in STORED_COLUMNS])
ROW_BYTES: Final = 300  # what a row of a table counts beside its payload

_PAYLOAD, _HASH, _RECIPE = (STORED_COLUMNS.index(name) for name in ("payload", "payload_hash", "payload_hash_recipe"))
_MOST, _MOST_TEXT = 1_024, 4 << 20  # rows at a time, and about so many bytes of them


def members_of(one: Stored, writing: Writing) -> list[Any]:
    """What is written for a coordinate, in the order of `STORED_COLUMNS`.

    What cannot be decoded keeps its coordinate, and its bytes if they are known, as a text where an object belongs: no reader decodes it,
    and each counts it. A null value is its coordinate alone (`domain.admission.is_null_value`). A hash that was
    stored stays, under its recipe; where there was none, or what stood there is no text, it is ours.
    """
    if one.record is None or one.members is None:
        topic, partition, kind = writing.lane
        value = None if one.reason == "null_value" else base64.b64encode(one.value or b"").decode()
        found: dict[str, Any] = {"topic": topic, "partition": partition, "offset_kind": kind, "offset": str(one.number), "payload": value}
        return [found.get(name) if name != "archived_at_utc" else writing.archived_at for name in STORED_COLUMNS]
    members = [*one.members, one.archived or writing.archived_at]
    if not isinstance(members[_HASH], str):
        members[_HASH], members[_RECIPE] = one.record.digest, EVENT_HASH_RECIPE
    elif not isinstance(members[_RECIPE], str):
        members[_RECIPE] = None
    return members


def line_of(one: Stored, writing: Writing) -> bytes:
    """A coordinate as a line."""
    return record_line(STORED_COLUMNS, members_of(one, writing))


def columns_of(one: Stored, writing: Writing) -> list[Any]:
    """A coordinate as a row of a table, its payload as text."""
    members = members_of(one, writing)
    if members[_PAYLOAD] is not None:
        members[_PAYLOAD] = json_text(members[_PAYLOAD])
    return members


def rows_one_by_one(items: Iterator[Stored], writing: Writing) -> Iterator[Rows]:
    """What comes one by one, as rows: never more at a time than a little text."""
    as_table = writing.form == "parquet"
    held: list[_Told] = []
    texts: list[Any] = []
    size = 0
    for one in items:
        text: Any = columns_of(one, writing) if as_table else line_of(one, writing)
        said = _Told(one.number, None if one.record is None else one.record.log_us, one.reason == "null_value",
                     _counted(text) if as_table else len(text))
        held.append(said)
        texts.append(text)
        size += said.size
        if len(held) == _MOST or size >= _MOST_TEXT:
            yield _rows(held, texts, as_table=as_table)
            held, texts, size = [], [], 0
    if held:
        yield _rows(held, texts, as_table=as_table)


class _Told(NamedTuple):
    """What is left of a coordinate beside its text."""

    number: int
    log_us: int | None
    is_null: bool
    size: int


def _rows(held: Sequence[_Told], texts: Sequence[Any], *, as_table: bool) -> Rows:
    numbers, times, nulls, sizes = zip(*held, strict=True)
    table = None
    if as_table:
        columns = zip(zip(*texts, strict=True), STORED_SCHEMA, strict=True)
        table = pa.Table.from_arrays([pa.array(column, field.type) for column, field in columns], schema=STORED_SCHEMA)
    return Rows(np.array(numbers, np.int64 if max(numbers) < 1 << 63 else object), np.array([one is not None for one in times], np.bool_),
                np.array(nulls, np.bool_), np.array([one or 0 for one in times], np.int64),
                np.concatenate(([0], np.cumsum(np.array(sizes, np.int64)))), memoryview(b"" if as_table else b"".join(texts)), table)


def _counted(row: Sequence[Any]) -> int:
    return len((row[_PAYLOAD] or "").encode()) + ROW_BYTES
