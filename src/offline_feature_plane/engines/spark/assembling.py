"""Whole leaves in tasks: derived columns, tokens, the dataset's columns, and their digests (`decisions.md` F)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.content import LEAF_ROWS, Leaf
from offline_feature_plane.domain.rows import Task, row_columns
from offline_feature_plane.engines.local.features import Chunk, complete
from offline_feature_plane.engines.local.record_batches import BatchBuilder
from offline_feature_plane.engines.local.selection import UNKNOWN, Selected
from offline_feature_plane.engines.spark.assertions import resolved_from
from offline_feature_plane.engines.spark.wire import Key, Shape, flags, make_batch, numbers, one_value, read_events
from offline_feature_plane.errors import DigestMismatch, EngineFailed
from offline_feature_plane.leaves import ColumnsBroken, leaves_of, settle

# A leaf: its number, its rows, how many of them have hidden events, its column digests, its rows as an Arrow stream, and that one's digest.
LEAF: Shape = (("leaf", "long"), ("n", "long"), ("hidden", "long"), ("digests", "array<string>"), ("stream", "binary"), ("sha", "binary"))


@dataclass(frozen=True)
class Assembling:
    """The task with its token key, label types by their place, the columns of fields and features."""

    task: Task
    types: tuple[str, ...]
    id_type: ColumnType
    fields: dict[Key, tuple[str, ColumnType]]
    made: tuple[tuple[str, str, ColumnType], ...]
    hidden: tuple[str, ...]


def assemble(how: Assembling, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows sorted by `row_no`, whole leaves of them, as rows of LEAF."""
    held: list[pa.RecordBatch] = []
    leaf, builder = None, BatchBuilder(how.task, how.id_type)
    for batch in batches:
        number = numbers(batch.column(batch.schema.get_field_index("row_no")))[0] // LEAF_ROWS
        cuts = [0, *(np.flatnonzero(number[1:] != number[:-1]) + 1).tolist(), len(number)]
        for start, end in pairwise(cuts):
            if end == start:
                continue
            if leaf is not None and number[start] != leaf:
                yield _leaf(how, builder, leaf, held)
                held = []
            leaf = int(number[start])
            held.append(batch.slice(start, end - start))
    if leaf is not None:
        yield _leaf(how, builder, leaf, held)


def _leaf(how: Assembling, builder: BatchBuilder, number: int, held: list[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(held)
    task, n = how.task, len(table)
    at = np.arange(n, dtype=np.int64)
    if numbers(table["row_no"])[0].tolist() != list(range(number * LEAF_ROWS, number * LEAF_ROWS + n)):
        raise EngineFailed(f"leaf {number} has other rows than its own.", fix="Please report this.")
    events = read_events(table, how.fields, task, how.id_type)
    columns = {name: one_value(table[column], kind) for name, column, kind in how.made}
    weight = None if task.sampling is None else numbers(table["weight"], np.float64)[0]
    selected = Selected(at, _targets(table["target"]), numbers(table["split"], np.int32)[0].astype(np.int16),
                        flags(table["mature"]), flags(table["cold"]), weight)
    labels = {name: resolved_from(table, name, how.types.index(name), stepped=False) for name in task.labels.types}
    hidden = int(np.count_nonzero(np.any([flags(table[column]) for column in how.hidden], axis=0))) if how.hidden else 0
    chunk = Chunk(0, n, slice(0, n), at, complete(columns, events, task, at, 0, n), hidden)
    batch = builder.build(chunk, events, selected, labels)
    dataset = row_columns(task, how.id_type)
    try:
        settled = settle(dataset, pa.Table.from_batches([batch]))
        (one,) = leaves_of(dataset, settled)
    except ColumnsBroken as broken:
        raise EngineFailed(f"the rows do not match their declaration: {broken}.", fix="Please report this.") from broken
    stream = _written(settled)
    return make_batch(LEAF, 1, {"leaf": [number], "n": [n], "hidden": [hidden], "digests": [list(one.digests)], "stream": [stream],
                                "sha": [hashlib.sha256(stream).digest()]})


def _targets(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    found, valid = numbers(column, np.int32)
    return (found if valid is None else np.where(valid, found, UNKNOWN)).astype(np.int8)


def _written(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as out:
        out.write_batch(batch)
    return bytes(sink.getvalue())


def received(number: int, n: int, digests: list[str], stream: bytes, sha: bytes) -> tuple[pa.RecordBatch, Leaf]:
    """A leaf as it arrived. Raises DigestMismatch: it is not what the task sent."""
    if hashlib.sha256(stream).digest() != bytes(sha):
        raise DigestMismatch(f"leaf {number} arrived damaged.", fix="Run again; if it happens again, check the network and the machines.")
    table = pa.ipc.open_stream(stream).read_all()
    (batch,) = table.to_batches()
    if batch.num_rows != n:
        raise EngineFailed(f"leaf {number} has {batch.num_rows} rows, not {n}.", fix="Please report this.")
    return batch, Leaf(n, tuple(digests))
