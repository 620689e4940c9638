"""Chunks of rows as Arrow record batches with exactly the dataset's columns (`domain.rows.row_columns`).

No value becomes a Python object here, but distinct identifiers on their way to tokens. Texts leave as dictionary arrays over the
dictionaries they live in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.arrow_types import arrow_type, bitmap, settled_decimals
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import Task, row_columns
from offline_feature_plane.domain.sampling import unit_text
from offline_feature_plane.domain.tokens import tokens
from offline_feature_plane.engines.local.events import Events, Key, Values
from offline_feature_plane.engines.local.features import Chunk
from offline_feature_plane.engines.local.labels import STATUSES, ResolvedType
from offline_feature_plane.engines.local.row_access import pick
from offline_feature_plane.engines.local.selection import UNKNOWN, Selected

__all__ = ["BatchBuilder", "arrow_array"]

Bools = npt.NDArray[np.bool_]
_TOKEN = 32  # characters
_REMEMBERED = 1 << 20  # tokens of numbers


class BatchBuilder:
    """Turns chunks into record batches; remembers the tokens it made."""

    def __init__(self, task: Task, id_type: ColumnType) -> None:
        self._task, self._id_type = task, id_type
        self._columns = row_columns(task, id_type)
        self._splits = pa.array([split.name for split in task.splits] or ["all"], pa.string())
        self._tokens = {column.name: _Tokens(task.token_key.secret, column.identifier)
                        for column in task.closure.columns() if column.identifier is not None and task.token_key is not None}
        self._veiled, self._days = task.veiled, {} if task.calendar is None else task.calendar.ends()
        if self._veiled is not None and task.token_key is not None:
            self._tokens["event_id"] = _Tokens(task.token_key.secret, str(self._veiled.identifier))

    @property
    def reads(self) -> Collection[Key]:
        """The fields of a chunk's events that it reads."""
        return () if self._veiled is None else ((self._task.subject, self._veiled.name),)

    def build(self, chunk: Chunk, events: Events, selected: Selected, labels: Mapping[str, ResolvedType]) -> pa.RecordBatch:
        """The chunk's rows, with every column of the dataset; `events` and `labels` are those of the chunk's positions only."""
        rows, positions = chunk.rows, chunk.positions - chunk.start
        arrays: dict[str, pa.Array] = {"event_id": self._ids(positions, events), "ts": _instants(events.ts[positions])}
        for column in self._task.closure.columns():
            values = chunk.columns[column.name]
            arrays[column.name] = self._tokens[column.name].of(values) if column.name in self._tokens else arrow_array(values)
        for name in self._task.labels.types:
            arrays |= _label_arrays(name, labels[name], positions)
        target = selected.target[rows]
        arrays["target"] = pa.array(target, mask=target == UNKNOWN)
        arrays["split"] = pa.DictionaryArray.from_arrays(selected.split[rows].astype(np.int32), self._splits)
        arrays["mature"], arrays["cold"] = pa.array(selected.mature[rows]), pa.array(selected.cold[rows])
        if selected.weight is not None:
            arrays["weight"] = pa.array(selected.weight[rows])
        return pa.RecordBatch.from_pydict({column.name: arrays[column.name] for column in self._columns})

    def _ids(self, positions: npt.NDArray[np.int64], events: Events) -> pa.Array:
        if self._veiled is not None:
            who = self._tokens["event_id"].of(pick(events.fields[self._task.subject, self._veiled.name], positions))
            instants, which = np.unique(events.ts[positions], return_inverse=True)
            names = pa.array([self._days[at_us] for at_us in instants.tolist()], pa.string())
            return pc.binary_join_element_wise(who, names.take(pa.array(which)), "@")
        found = events.ids.slice(0, events.n)
        if len(positions) < events.n:
            found = found.take(pa.array(positions))
        found = found.cast(arrow_type(self._id_type))
        return found.chunk(0) if found.num_chunks == 1 else found.combine_chunks()


def arrow_array(values: Values) -> pa.Array:
    """A column as an Arrow array of its type; texts as a dictionary array.

    >>> arrow_array(Values(ColumnType("decimal", 5, 2), np.array([-105, 0]), np.array([True, False]))).to_pylist()
    [Decimal('-1.05'), None]
    """
    kind, null = values.type, None if values.valid is None else ~values.valid
    if kind.kind == "decimal":
        return settled_decimals(values.data.astype(np.int64, copy=False), kind, values.valid)
    if kind.kind == "string":
        texts = pa.array([], pa.string()) if values.dictionary is None else values.dictionary
        return pa.DictionaryArray.from_arrays(pa.array(values.data.astype(np.int32, copy=False), mask=null), texts, safe=False)
    if kind.kind == "bool":
        return pa.array(values.data != 0, mask=null)
    if kind.kind == "timestamp":
        return _instants(values.data.astype(np.int64, copy=False), null)
    return pa.array(values.data.astype(kind.kind, copy=False), mask=null)


def _instants(at_us: npt.NDArray[np.int64], null: Bools | None = None) -> pa.Array:
    return pa.array(at_us, mask=null).view(arrow_type(ColumnType("timestamp")))


def _label_arrays(name: str, resolved: ResolvedType, positions: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
    status = resolved.status[positions]
    unresolved = status != STATUSES.index("RESOLVED")
    value, assertion = resolved.value[positions], resolved.assertion[positions]
    named = assertion >= 0
    return {f"{name}__value": pa.DictionaryArray.from_arrays(pa.array(value, mask=unresolved), resolved.values, safe=False),
            f"{name}__status": pa.DictionaryArray.from_arrays(status, pa.array(STATUSES, pa.string())),
            f"{name}__observed_time": _instants(resolved.observed[positions], unresolved),
            f"{name}__assertion_id": _spread(resolved.assertion_ids.take(pa.array(assertion[named])).cast(pa.string()), named)}


def _spread(texts: pa.Array, there: Bools) -> pa.Array:
    """Texts at the places where one is, null elsewhere."""
    _, offsets, characters = texts.buffers()
    lengths = np.zeros(len(there) + 1, np.int32)
    if len(texts):
        lengths[1:][there] = np.diff(np.frombuffer(offsets, np.int32)[:len(texts) + 1])
    return pa.Array.from_buffers(pa.string(), len(there), [bitmap(there), pa.py_buffer(np.cumsum(lengths, dtype=np.int32)), characters])


class _Tokens:
    """The tokens of one column, made once per distinct value (`decisions.md` D12)."""

    def __init__(self, secret: bytes, entity: str) -> None:
        self._secret, self._entity = secret, entity
        self._made: dict[str, bytes] = {}
        self._texts: pa.Array | None = None
        self._table = np.empty((0, _TOKEN), dtype=np.uint8)
        self._there = np.empty(0, dtype=np.bool_)

    def of(self, values: Values) -> pa.Array:
        """A column's tokens, null where it is null."""
        if values.type.kind == "string":
            codes, distinct = values.data.astype(np.int32, copy=False), values.dictionary
            if values.valid is not None:
                codes = np.where(values.valid, codes, np.int32(0))
        else:
            encoded = pa.array(values.data, mask=None if values.valid is None else ~values.valid).dictionary_encode()
            codes, distinct = encoded.indices.fill_null(0).to_numpy(), encoded.dictionary
        if distinct is None or not len(distinct):
            return pa.nulls(len(codes), pa.string())
        table = self._by_text(codes, distinct) if values.type.kind == "string" else self._by_value(distinct, values.type)
        return _fixed_texts(table[codes], values.valid)

    def _by_text(self, codes: npt.NDArray[np.int32], texts: pa.Array) -> npt.NDArray[np.uint8]:
        """One row per text of the dictionary; only those that occur are filled."""
        if texts is not self._texts:
            self._texts, self._table = texts, np.empty((len(texts), _TOKEN), dtype=np.uint8)
            self._there = np.zeros(len(texts), dtype=np.bool_)
        new = np.zeros(len(texts), dtype=np.bool_)
        new[codes] = True
        new &= ~self._there
        missing = np.flatnonzero(new)
        if len(missing):
            self._table[missing] = _rows("".join(tokens(self._secret, self._entity, texts.take(pa.array(missing)).to_pylist())).encode())
            self._there |= new
        return self._table

    def _by_value(self, distinct: pa.Array, kind: ColumnType) -> npt.NDArray[np.uint8]:
        if len(self._made) > _REMEMBERED:
            self._made.clear()
        texts = [unit_text(value, kind) for value in distinct.to_pylist()]
        fresh = [text for text in texts if text not in self._made]
        self._made.update(zip(fresh, (made.encode() for made in tokens(self._secret, self._entity, fresh)), strict=True))
        return _rows(b"".join(self._made[text] for text in texts))


def _rows(joined: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, _TOKEN)


def _fixed_texts(characters: npt.NDArray[np.uint8], valid: Bools | None) -> pa.Array:
    """Texts of equal length from their characters."""
    offsets = np.arange(len(characters) + 1, dtype=np.int32) * np.int32(_TOKEN)
    buffers = [bitmap(valid), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(characters))]
    return pa.Array.from_buffers(pa.string(), len(characters), buffers)
